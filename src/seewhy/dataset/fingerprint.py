"""What a record is, in a few letters: another picture or annotation has another fingerprint."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from seewhy.dataset.records import Record

_AT_ONCE = 2**20  # bytes of a file


def fingerprint(record: Record) -> str:
    """Of the picture's bytes, the labels, the boxes and the masks; 32 hexadecimal digits.

    Where the files lie and what they are called plays no part, what they hold does. A file that
    cannot be read counts as such: the fingerprint changes when it can.

    Args:
        record: whose picture's file and masks' files are read, not decoded.
    """
    made = hashlib.blake2b(digest_size=16)
    _add(made, record.image)
    _add(made, record.labels)
    _add(made, record.boxes)
    if record.masks is None or dataclasses.is_dataclass(record.masks):
        _add(made, record.masks)
    else:  # of a kind that is not known here: what it says of the pixels
        _add(made, {label: record.masks.of(label) for label in record.labels})
        _add(made, record.masks.ignored())
    return made.hexdigest()


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...


def _add(made: _Hash, value: Any) -> None:
    """Adds a value, so that no two different ones add the same bytes."""
    if isinstance(value, Path):
        _add_file(made, value)
    elif dataclasses.is_dataclass(value):
        _note(made, type(value).__name__)
        for part in dataclasses.fields(value):
            _note(made, part.name)
            _add(made, getattr(value, part.name))
    elif isinstance(value, Mapping):
        _note(made, f"mapping of {len(value)}")
        for name in sorted(value, key=repr):
            _add(made, name)
            _add(made, value[name])
    elif isinstance(value, (list, tuple)):
        _note(made, f"sequence of {len(value)}")
        for one in value:
            _add(made, one)
    elif isinstance(value, np.ndarray):
        _note(made, f"array {value.shape} {value.dtype.str}")
        made.update(np.ascontiguousarray(value).tobytes())
    else:
        _note(made, f"{type(value).__name__} {value!r}")


def _note(made: _Hash, text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    made.update(len(data).to_bytes(8, "big") + data)


def _add_file(made: _Hash, path: Path) -> None:
    own = hashlib.blake2b(digest_size=16)
    try:
        with path.open("rb") as file:
            while part := file.read(_AT_ONCE):
                own.update(part)
    except OSError:
        _note(made, "a file that cannot be read")
    else:
        _note(made, f"file {own.hexdigest()}")
