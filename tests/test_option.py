from __future__ import annotations

from collections.abc import Sequence
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from seewhy.option import Option, options_of


def chooser(
    inputs: int, *, window: int | Sequence[int] = 32, noise: float = 0.15, word: str = "mean",
    largest: bool = True, shares: Sequence[float] = (0.1, 0.2), plain=3,
) -> None:  # fmt: skip
    """Every kind of option that a formula has."""


OPTIONS = options_of(chooser)


def test_keyword_only_parameters_are_the_options():
    assert list(OPTIONS) == ["window", "noise", "word", "largest", "shares", "plain"]
    assert OPTIONS["noise"].default == 0.15
    assert OPTIONS["window"].type == "int | Sequence[int]"
    assert OPTIONS["plain"].type == ""


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("window", "16", 16),
        ("window", "16:8", (16, 8)),
        ("window", "16: 8", (16, 8)),
        ("noise", "2", 2.0),
        ("word", "max", "max"),
        ("word", "0.5", 0.5),  # a number may stand for a word: a baseline
        ("largest", "False", False),
        ("shares", "0.5", (0.5,)),
        ("shares", "0.1:0.9", (0.1, 0.9)),
        ("plain", "4", 4),
    ],
)
def test_what_was_typed_is_of_the_defaults_kind(name: str, text: str, value: Any):
    read = OPTIONS[name].read(text)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("noise", "loud", "a value like 0.15 is wanted"),
        ("noise", "0.1:0.2", "a value like 0.15 is wanted"),
        ("window", "16:wide", "a value like 32 is wanted"),
        ("largest", "perhaps", "true or false is wanted"),
    ],
)
def test_another_kind_is_refused(name: str, text: str, says: str):
    with pytest.raises(ValueError, match=says):
        OPTIONS[name].read(text)


def test_an_option_without_a_type_goes_by_its_default():
    assert Option("seeds", (0, 1)).read("4:5:6") == (4, 5, 6)


def test_an_option_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        OPTIONS["noise"].default = 1.0  # type: ignore[misc]
