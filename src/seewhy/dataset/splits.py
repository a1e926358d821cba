"""The names of a data set's parts: train, val and test, as each program calls them."""

from __future__ import annotations

import re

_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}


def is_split(name: str) -> bool:
    """Whether a folder or file is called as a part: `train`, `valid`, `val2017`."""
    return _plain(name) is not None


def same_split(one: str, other: str) -> bool:
    """Whether two names mean one part: `val` is `valid` and `val2017`."""
    plain = _plain(one)
    return one == other or (plain is not None and plain == _plain(other))


def _plain(name: str) -> str | None:
    return _NAMES.get(re.sub(r"[-_]?\d*$", "", name.casefold()))
