"""The formats of annotated pictures. Each has a file of its own here, and a line in `FORMATS`.

A format's file ends with `FORMAT`, a `Format`: how its data sets are recognised, read and, where
`seewhy label` writes it, written. The list itself imports none of these files, so that the
command line's help needs neither torch nor numpy.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seewhy.dataset.files import Shelf
    from seewhy.dataset.labelled import LabelledFolder
    from seewhy.dataset.records import Dataset

FORMATS: dict[str, str | None] = {
    "coco": "JSON with boxes and masks",
    "voc": "XML with boxes",
    "yolo": "text with boxes",
    "masks": "PNGs whose values are classes",
    "csv": None,
    "table": None,
    "folder": None,
}
"""Each format's name, which is its file's too, and what `seewhy label` writes in it, if it does."""

WRITTEN = tuple(name for name, written in FORMATS.items() if written is not None)
"""The names of the formats that `seewhy label` writes."""


@dataclass(frozen=True)
class Found:
    """One data set that a format recognises.

    Attributes:
        path: the file or folder that the format's `read` takes.
        seen: the evidence, for messages: `annotations/instances_val2017.json`.
        parts: the names of the part (the split) that it is, if it is one of several: `val2017`.
        sure: whether files say so; False where only the names of folders do, which count only
            where no other format is recognised.
    """

    path: Path
    seen: str
    parts: tuple[str, ...] = ()
    sure: bool = True


@dataclass(frozen=True)
class Format:
    """How annotated pictures lie on the disk.

    Attributes:
        name: one of `FORMATS`.
        looks_for: the layout in words, for messages.
        detect: the data sets of this format in a folder, or in a file, from what is there. It looks
            into as few files as it can.
        read: the records; it takes what `Found.path` says, `shelf=`, and what `takes` names.
        takes: what may be said to `read` beside the path: `images`, `split`, `label`.
        write: the data set into an empty folder; None where `seewhy label` does not write it.
    """

    name: str
    looks_for: str
    detect: Callable[[Path, Shelf], Sequence[Found]]
    read: Callable[..., Dataset]
    takes: tuple[str, ...] = ()
    write: Callable[[Path, LabelledFolder], None] | None = None


def load_format(name: str) -> Format:
    """The format of a name in `FORMATS`."""
    module: Any = importlib.import_module(f"seewhy.dataset.{name}")
    format_: Format = module.FORMAT
    return format_
