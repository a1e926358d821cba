"""The command reference: each command's help as Markdown, read from the program itself."""

from __future__ import annotations

from enum import Enum
from typing import Any

OWN = "Options"
"""The heading of the options that belong to no group."""


def command_reference() -> str:
    """Every command of `seewhy`: its usage, what it does, an example, its options by group."""
    import typer

    from seewhy.cli import app

    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    return "\n\n".join(_section(name, command) for name, command in commands.items())


def _section(name: str, command: Any) -> str:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    usage = " ".join(["seewhy", name, *map(_place, arguments), "[OPTIONS]"])
    text, example = _words(command.help or "")
    parts = [f"## seewhy {name}", f"```text\n{usage}\n```", *text]
    if example:
        parts.append(f"```sh\n{example}\n```")
    if arguments:
        rows = "\n".join(f"| `{_name(one)}` | {_says(one)} |" for one in arguments)
        parts.append(f"| argument | what it is |\n|---|---|\n{rows}")
    groups: dict[str, list[Any]] = {}
    for one in command.params:
        if one.param_type_name == "option" and not one.hidden:
            groups.setdefault(one.rich_help_panel or OWN, []).append(one)
    for group, options in groups.items():
        rows = "\n".join(f"| {_option(one)} | {_says(one)} |" for one in options)
        parts.append(f"**{group}**\n\n| option | what it does |\n|---|---|\n{rows}")
    return "\n\n".join(parts)


def _words(text: str) -> tuple[list[str], str]:
    """The paragraphs of a command's help, and the command in its example."""
    paragraphs = [" ".join(one.split()) for one in text.split("\n\n")]
    examples = [one for one in paragraphs if one.startswith("Example: ")]
    example = examples[0].removeprefix("Example: ") if examples else ""
    return [_escaped(one) for one in paragraphs if one not in examples], example


def _name(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _place(argument: Any) -> str:
    """An argument as the usage shows it: what may be left out is in brackets."""
    name = _name(argument) + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _option(option: Any) -> str:
    names = ", ".join(f"`{one}`" for one in sorted(option.opts, key=len, reverse=True))
    others = "".join(f" / `{one}`" for one in option.secondary_opts)
    return f"{names}{others}" + (f" `{option.metavar}`" if option.metavar else "")


def _says(parameter: Any) -> str:
    shown = parameter.show_default
    if isinstance(shown, str):
        default = f" Default: {shown}."
    elif shown and parameter.default not in (None, False, ()) and not callable(parameter.default):
        value = parameter.default
        default = f" Default: `{value.value if isinstance(value, Enum) else value}`."
    else:
        default = ""
    needed = " Required." if parameter.required and parameter.param_type_name == "option" else ""
    return _escaped(" ".join((parameter.help or "").split()) + needed) + _escaped(default)


def _escaped(text: str) -> str:
    for sign in "|*<":
        text = text.replace(sign, f"\\{sign}")
    return text
