"""`seewhy methods`: the formulas, what each needs and what can be set."""

from __future__ import annotations

import inspect
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from seewhy.cli.terminal import progress, say, say_json, show_table


@dataclass(frozen=True)
class MethodEntry:
    """A method as its function describes itself.

    Attributes:
        name: what to call it by.
        says: the first line of its docstring, which holds the paper.
        needs: what it asks of the model.
        options: what can be set, with the values it has otherwise.
    """

    name: str
    says: str
    needs: tuple[str, ...]
    options: dict[str, Any]


def list_methods() -> list[MethodEntry]:
    """Every method of METHODS."""
    from seewhy.methods import METHODS

    entries = []
    for name, function in METHODS.items():
        parameters = inspect.signature(function).parameters.values()
        entries.append(
            MethodEntry(
                name,
                (inspect.getdoc(function) or "").splitlines()[0],
                tuple(p.name for p in parameters if p.kind is not p.KEYWORD_ONLY),
                {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY},
            )
        )
    return entries


def methods(
    as_json: Annotated[
        bool, typer.Option("--json", metavar="", help="One line of JSON a method.")
    ] = False,
) -> None:
    """List the methods, what each needs and what can be set."""
    with progress("looking for methods", stdout_is_data=as_json):
        entries = list_methods()
    if as_json:
        for entry in entries:
            say_json(asdict(entry))
        return
    show_table(
        ["method", "what it draws", "needs"],
        [
            (entry.name, _described(entry), ", ".join(entry.needs).replace("_", " "))
            for entry in entries
        ],
        whole=("method",),
    )
    say("\ntry: seewhy explain PICTURE --method grad-cam,layer-cam")


def _described(entry: MethodEntry) -> str:
    options = ",".join(f"{name}={value}" for name, value in entry.options.items())
    return f"{entry.says}\n--set {options}" if options else entry.says
