"""The help of a command, drawn so that it reads in a narrow terminal too.

Typer's own table has columns for types and short forms; at 60 columns it cuts the names of options.
Here a name and its value stand together, and in a narrow terminal the words are below them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand

ARGUMENTS, DATA, OPTIONS, RESULTS = "Arguments", "Data", "Options", "Results"
DRAWING, SPEED, MODEL = "Drawing", "Device and speed", "Model"
PREPROCESSING = "Preprocessing"
PANELS = (ARGUMENTS, DATA, OPTIONS, RESULTS, DRAWING, SPEED, MODEL, PREPROCESSING)
"""The order of the panels, the same in every command."""

_TWO_COLUMNS = 70
"""The least width, in characters, at which names and words fit side by side."""


class PlainCommand(TyperCommand):
    """A command with this help and this usage line."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """Print the help."""
        print_help(self, ctx)

    def get_usage(self, ctx: Any) -> str:
        """The line that a message about a mistake shows too."""
        return f"Usage: {usage(self, ctx.command_path)}"


def usage(command: Any, path: str) -> str:
    """`seewhy explain PICTURE... [OPTIONS]`."""
    arguments = (one for one in command.params if one.param_type_name == "argument")
    return " ".join([path, *map(_place, arguments), "[OPTIONS]"])


def paragraphs(command: Any) -> tuple[list[str], list[str]]:
    """The paragraphs of a command's help, each on one line, and the commands of its examples."""
    found = [" ".join(one.split()) for one in (command.help or "").split("\n\n")]
    examples = [one.removeprefix("Example: ") for one in found if one.startswith("Example: ")]
    return [one for one in found if not one.startswith("Example: ")], examples


def panels(parameters: Sequence[Any]) -> Mapping[str, list[Any]]:
    """Arguments and options by the panel that they belong to, in the order of PANELS."""
    found: dict[str, list[Any]] = {name: [] for name in PANELS}
    for one in parameters:
        if one.param_type_name == "argument":
            found[ARGUMENTS].append(one)
        elif not one.hidden:
            found[getattr(one, "rich_help_panel", None) or OPTIONS].append(one)
    return {name: own for name, own in found.items() if own}


def argument_name(argument: Any) -> str:
    """`PICTURE...` for an argument that takes several values."""
    dots = "..." if argument.nargs == -1 else ""
    return f"{argument.metavar or argument.name.upper()}{dots}"


def default_of(parameter: Any) -> str:
    """The default as it is shown; empty if there is none to show."""
    shown = parameter.show_default
    if isinstance(shown, str):
        return shown
    if not shown or parameter.default in (None, False, ()) or callable(parameter.default):
        return ""
    return str(getattr(parameter.default, "value", parameter.default))


def print_help(command: Any, ctx: Any, commands: Sequence[tuple[str, str]] = ()) -> None:
    """Print the help of a command, or of a group with its commands, on stdout."""
    console = Console(highlight=False)
    words, examples = paragraphs(command)
    path = f"{ctx.command_path} COMMAND" if commands else ctx.command_path
    usage_line = Text("Usage: ", style="yellow") + Text(usage(command, path), "bold")
    console.print(Padding(usage_line, (1, 1)))
    for paragraph in words:
        console.print(Padding(Text(paragraph), (0, 1, 1, 1)))
    if examples:
        title = "Examples:" if len(examples) > 1 else "Example:"
        lines = [line for one in examples for line in _folded(one, console.width - 4)]
        console.print(
            Padding(Text("\n".join([title, *(f"  {one}" for one in lines)])), (0, 1, 1, 1))
        )
    if commands:
        rows = [(Text(name, style="bold cyan"), Text(says)) for name, says in commands]
        _print_panel(console, "Commands", rows)
    for name, own in panels(command.get_params(ctx)).items():
        _print_panel(console, name, [(_names(one), _words(one)) for one in own])


def _print_panel(console: Console, title: str, rows: Sequence[tuple[Text, Text]]) -> None:
    body: RenderableType
    if console.width < _TWO_COLUMNS and title != "Commands":
        body = Group(
            *(line for names, says in rows for line in (names, Padding(says, (0, 0, 0, 4))))
        )
    else:
        table = Table.grid(padding=(0, 2, 0, 0), expand=True)
        table.add_column(no_wrap=True)
        table.add_column(ratio=1, overflow="fold")
        for row in rows:
            table.add_row(*row)
        body = table
    console.print(Panel(body, title=title, title_align="left", border_style="dim"))


def _names(parameter: Any) -> Text:
    """`-t, --target TARGET`; an option without a short form begins below the long ones."""
    if parameter.param_type_name == "argument":
        return Text(argument_name(parameter), style="bold cyan")
    options = [*parameter.opts, *parameter.secondary_opts]
    names = ", ".join(sorted(options, key=len))
    indent = "" if len(min(options, key=len)) == 2 else "    "
    value = f" {parameter.metavar}" if parameter.metavar else ""
    return Text(indent) + Text(names, style="bold cyan") + Text(value, style="yellow")


def _words(parameter: Any) -> Text:
    words = Text(" ".join((parameter.help or "").split()))
    if parameter.required:
        words.append(" [required]", style="red")
    if default := default_of(parameter):
        words.append(f" [default: {default}]", style="dim")
    return words


def _place(argument: Any) -> str:
    """An argument as the usage line shows it: brackets around an optional one."""
    name = argument_name(argument)
    return name if argument.required else f"[{name}]"


def _folded(command: str, width: int) -> list[str]:
    """A command on lines that a shell reads as one: broken before options, with backslashes."""
    lines: list[str] = []
    for part in re.split(r" (?=--?\w)", command):
        if not lines:
            lines = [part]
        elif len(lines[-1]) + len(part) + 3 > width:
            lines[-1] += " \\"
            lines.append(f"  {part}")
        else:
            lines[-1] += f" {part}"
    return lines
