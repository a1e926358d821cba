"""The help of every command: readable in a narrow terminal, in one order."""

from __future__ import annotations

import re

import pytest
import typer
from tiny_networks import TINY
from typer.testing import CliRunner

from seewhy.cli import app
from seewhy.cli.help import OPTIONS, PANELS, panels, usage
from seewhy.cli.layers import to_try
from seewhy.layers import Candidate

COMMANDS = typer.main.get_command(app).commands
NAMES = sorted(COMMANDS)


def words_of(text: str) -> str:
    """The text without frames and folds."""
    return " ".join(re.sub("[│╭╮╰╯─]", " ", text).split())


def options_of(command):
    return [one for one in command.params if one.param_type_name == "option" and not one.hidden]


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("name", NAMES)
def test_no_option_value_or_word_is_cut(name, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    said = CliRunner().invoke(app, [name, "--help"]).stdout
    assert all(len(line) <= width for line in said.splitlines())
    assert "…" not in said
    assert not re.search("<(bool|str|path|list)", said)
    for one in options_of(COMMANDS[name]):
        line = f"{', '.join(sorted(one.opts, key=len))} {one.metavar or ''}".strip()
        assert any(line in printed for printed in said.splitlines()), line
        assert " ".join((one.help or "").split()) in words_of(said)


@pytest.mark.parametrize("name", NAMES)
def test_the_panels_of_every_command_have_one_order(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    said = CliRunner().invoke(app, [name, "--help"]).stdout
    titles: list[str] = re.findall("╭─ (.+?) ─", said)
    assert titles == [panel for panel in PANELS if panel in titles]
    assert OPTIONS in titles


@pytest.mark.parametrize("name", NAMES)
def test_a_help_line_is_a_sentence_and_starts_with_a_capital(name):
    for one in options_of(COMMANDS[name]):
        assert re.fullmatch(r"[A-Z].*\.", one.help), one.opts


def test_the_method_has_a_short_form_in_every_command_that_takes_it():
    taken = [one for name in NAMES for one in COMMANDS[name].params if "--method" in one.opts]
    assert len(taken) == 5
    assert all("-M" in one.opts for one in taken)


def test_an_argument_is_shown_as_it_is_typed():
    assert usage(COMMANDS["explain"], "x") == "x PICTURE... [OPTIONS]"
    assert usage(COMMANDS["models"], "x") == "x [PART] [OPTIONS]"
    assert "Arguments" in panels(COMMANDS["label"].params)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("explan",), "No such command 'explan'. Did you mean 'explain'?"),
        (("explain", "a.png", "--fuse", "sum"), "'sum' is not one of 'mean', 'max'"),
        (("explain", "a.png", "--opacity", "2"), "Invalid value for '--opacity'"),
        (("explain", "a.png", "--output", "grid.png"), "For the file use --out grid.png."),
        (("label",), "Missing argument 'FOLDER'"),
    ],
)
def test_a_mistake_in_the_words_is_one_line_that_names_the_help(seewhy, words, said):
    result = seewhy(*words)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    for alien in ("Value error", "Input should", "│"):
        assert alien not in result.stderr


def layer(name: str, side: int, *, chosen: bool = False) -> Candidate:
    return Candidate(name, "Conv2d", (8, side, side), "channels first", 0, chosen)


def test_the_layers_to_try_begin_with_the_default():
    layers = [
        layer("stem", 16), layer("blocks.1.norm", 8), layer("blocks.1.conv", 8),
        layer("blocks.2.norm", 4), layer("blocks.2.conv", 4, chosen=True), layer("late", 4),
    ]  # fmt: skip
    assert [one.name for one in to_try(layers)] == [
        "blocks.2.conv", "stem", "blocks.1.conv", "late",
    ]  # fmt: skip


def test_layers_shows_the_rest_on_demand(seewhy):
    few, all_ = (seewhy("layers", TINY[1], *TINY[2:], *more).stdout for more in ((), ("--all",)))
    assert "features.1" in all_
    assert "and 3 more layers. List them: seewhy layers tiny_networks:Colours --all" in few
    assert "more layers" not in all_
    assert few.index("mixed") < few.index("Default layer: mixed")
