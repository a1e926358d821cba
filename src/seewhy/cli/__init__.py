"""The command line: one file a command. Start-up stays light; torch comes when work begins."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from seewhy.cli import (
    compare,
    concepts,
    demo,
    evaluate,
    explain,
    features,
    label,
    layers,
    methods,
    models,
    run,
)
from seewhy.cli.groups import grouped
from seewhy.cli.terminal import say_error
from seewhy.errors import SeewhyError
from seewhy.memory import keep_freed_memory
from seewhy.version import __version__


class Commands(TyperGroup):
    """The commands, in the order of this file; a user's mistake ends as one line and exit 2."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was typed."""
        try:
            return super().invoke(ctx)
        except SeewhyError as error:
            say_error(str(error))
            raise typer.Exit(2) from None

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """In the order in which they are needed, not of the alphabet."""
        return list(self.commands)


app = typer.Typer(
    name="seewhy",
    cls=Commands,
    no_args_is_help=True,
    # Typer's own tracebacks print every local variable, tensors and all.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"seewhy {__version__}")
        raise typer.Exit


@app.callback()
def seewhy(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Shows why a vision model decided: class activation maps for any PyTorch image model."""


app.command("demo")(demo.demo)
app.command("explain")(grouped(explain.explain))
app.command("compare")(grouped(compare.compare))
app.command("features")(grouped(features.features))
app.command("concepts")(grouped(concepts.concepts))
app.command("run")(grouped(run.run))
app.command("label")(grouped(label.label))
app.command("evaluate")(grouped(evaluate.evaluate))
app.command("layers")(grouped(layers.layers))
app.command("methods")(methods.methods)
app.command("models")(models.models)


def main() -> None:
    """The program `seewhy`; ends the process with its exit code."""
    keep_freed_memory()
    for stream in (sys.stdout, sys.stderr):
        # A label in a script that the terminal's encoding lacks is escaped, not an exception.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    try:
        app(prog_name="seewhy")
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read stdout has left; Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
