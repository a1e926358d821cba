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
from seewhy.cli.help import PlainCommand, paragraphs, print_help
from seewhy.cli.terminal import say_error
from seewhy.errors import SeewhyError
from seewhy.memory import keep_freed_memory
from seewhy.version import __version__

_WRONG_USE: Any = typer.BadParameter.__base__
"""Click's UsageError: newer versions of Typer carry Click inside, under a private name."""


def _in_plain_words(message: str) -> str:
    """Click's message without the words of the library that checks the values."""
    plain = message.replace("Value error, ", "").replace("Input should be", "it must be")
    return plain if plain.endswith((".", "?")) else f"{plain}."


class Commands(TyperGroup):
    """The commands, in the order of this file; a user's mistake ends as one line and exit 2."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """Print the help, with the first paragraph of each command's."""
        says = [(name, paragraphs(self.commands[name])[0][0]) for name in self.list_commands(ctx)]
        print_help(self, ctx, says)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was typed."""
        try:
            return super().invoke(ctx)
        except SeewhyError as error:
            say_error(str(error))
            raise typer.Exit(2) from None
        except _WRONG_USE as error:
            path = error.ctx.command_path if error.ctx else "seewhy"
            say_error(f"{_in_plain_words(error.format_message())} See: {path} --help")
            raise typer.Exit(2) from None

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """List the commands by how early a user needs them, not by the alphabet."""
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
    """Explain the decisions of a PyTorch vision model with class activation maps.

    Example: seewhy demo

    Example: seewhy explain cat.jpg --target tabby
    """


for _command in (
    demo.demo,
    explain.explain,
    compare.compare,
    features.features,
    concepts.concepts,
    run.run,
    label.label,
    evaluate.evaluate,
    layers.layers,
    methods.methods,
    models.models,
):
    app.command(_command.__name__, cls=PlainCommand)(grouped(_command))


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
