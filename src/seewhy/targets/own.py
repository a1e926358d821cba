"""Targets of a user's own classes as plain values: the class by name, its words, its parts."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol, cast

import numpy as np

OWN = "own"
"""The `kind` of a saved target whose class is not one of seewhy's."""


class Described(Protocol):
    """A target, as far as it is needed here."""

    def describe(self) -> str:
        """The target in words."""


def is_own(class_: type) -> bool:
    """Whether the class is a user's."""
    return class_.__module__.partition(".")[0] != "seewhy"


def class_name(class_: type) -> str:
    """The class as `module:qualified name`."""
    return f"{class_.__module__}:{class_.__qualname__}"


def own_to_json(target: Described) -> dict[str, Any]:
    """A target of a user's class, in JSON's own types.

    Its parts are the dataclass's fields; null where there are none that JSON can hold. The words
    are those of no labels.
    """
    name = class_name(type(target))
    try:
        words = str(target.describe())
    except Exception:  # the user's code, which may need labels; words are no reason to lose a map
        words = name
    return {"kind": OWN, "class": name, "words": words, "parts": _parts(target)}


def _parts(target: Any) -> dict[str, Any] | None:
    if not dataclasses.is_dataclass(target):
        return None
    try:
        return {
            entry.name: _plain(getattr(target, entry.name))
            for entry in dataclasses.fields(target)
            if entry.init
        }
    except TypeError:
        return None


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list)):
        return [_plain(each) for each in value]
    if hasattr(value, "to_json"):
        return cast(Any, value.to_json())
    raise TypeError(f"{type(value).__name__} is not a type that JSON has")
