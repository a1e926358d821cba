"""Options that are written once, as a dataclass."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated

import typer
from typer.testing import CliRunner

from seewhy.cli.groups import grouped


@dataclass(frozen=True)
class Place:
    """Where something is."""

    city: Annotated[str, typer.Option("--city", help="Its name.")] = "Bonn"
    number: Annotated[int, typer.Option("--number", min=1)] = 1


def visit(
    who: Annotated[str, typer.Argument()],
    place: Place = Place(),
    twice: Annotated[bool, typer.Option("--twice")] = False,
) -> None:
    """Go there."""
    typer.echo(f"{who} {place} {twice}")


def test_a_group_shows_as_its_fields_where_it_stands():
    assert list(inspect.signature(grouped(visit)).parameters) == ["who", "city", "number", "twice"]


def test_a_command_gets_the_group_as_one_value():
    app = typer.Typer()
    app.command()(grouped(visit))
    done = CliRunner().invoke(app, ["Ann", "--number", "3", "--twice"])
    assert done.stdout == f"Ann {Place('Bonn', 3)} True\n"
    assert CliRunner().invoke(app, ["Ann", "--number", "0"]).exit_code == 2
    assert "Its name." in CliRunner().invoke(app, ["--help"]).stdout
