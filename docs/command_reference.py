"""The command reference: each command's help as Markdown, read from the program itself."""

from __future__ import annotations

from typing import Any


def command_reference() -> str:
    """Every command of `seewhy`: its usage, what it does, an example, its options by group."""
    import typer

    from seewhy.cli import app

    commands: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    return "\n\n".join(_section(name, command) for name, command in commands.items())


def _section(name: str, command: Any) -> str:
    from seewhy.cli.help import ARGUMENTS, argument_name, panels, paragraphs, usage

    text, examples = paragraphs(command)
    parts = [f"## seewhy {name}", f"```text\n{usage(command, f'seewhy {name}')}\n```"]
    parts += map(_escaped, text)
    if examples:
        parts.append("```sh\n" + "\n".join(examples) + "\n```")
    for panel, own in panels(command.params).items():
        if panel == ARGUMENTS:
            rows = "\n".join(f"| `{argument_name(one)}` | {_says(one)} |" for one in own)
            parts.append(f"| argument | what it is |\n|---|---|\n{rows}")
        else:
            rows = "\n".join(f"| {_option(one)} | {_says(one)} |" for one in own)
            parts.append(f"**{panel}**\n\n| option | what it does |\n|---|---|\n{rows}")
    return "\n\n".join(parts)


def _option(option: Any) -> str:
    names = ", ".join(f"`{one}`" for one in sorted(option.opts, key=len, reverse=True))
    others = "".join(f" / `{one}`" for one in option.secondary_opts)
    return f"{names}{others}" + (f" `{option.metavar}`" if option.metavar else "")


def _says(parameter: Any) -> str:
    from seewhy.cli.help import default_of

    shown = default_of(parameter)
    # A default that is typed is code; one that is described is text.
    typed = shown and not isinstance(parameter.show_default, str)
    default = f" Default: `{shown}`." if typed else f" Default: {shown}." if shown else ""
    needed = " Required." if parameter.required and parameter.param_type_name == "option" else ""
    return _escaped(" ".join((parameter.help or "").split()) + needed) + _escaped(default)


def _escaped(text: str) -> str:
    for sign in "|*<":
        text = text.replace(sign, f"\\{sign}")
    return text
