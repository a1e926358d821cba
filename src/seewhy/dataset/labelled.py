"""Pictures with the objects that were found in them: what the formats write."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from unicodedata import category

import numpy as np

from seewhy.dataset.records import Box
from seewhy.dataset.segmentation import decode_runs

_NO_TEXT = {"Cc", "Cs", "Zl", "Zp"}  # control, surrogates, separators of lines and paragraphs


def one_line(words: str) -> str:
    """A name as every format can write it: line breaks and control characters become spaces.

    XML has no character for most of them, and half of a pair of surrogates, or the byte of a file's
    name that is not UTF-8, is no character at all.
    """
    plain = "".join(" " if category(c) in _NO_TEXT or c in "\ufffe\uffff" else c for c in words)
    return " ".join(plain.split())


@dataclass(frozen=True, eq=False)
class FoundObject:
    """One object that a map shows.

    Attributes:
        box: the rectangle around it, in the picture's pixels, with its class in words.
        probability: the model's for this class in this picture; None where it has none.
        area: its pixels.
        runs: its mask as run lengths down the columns, beginning with background: COCO's form.
    """

    box: Box
    probability: float | None
    area: int
    runs: np.ndarray

    @property
    def label(self) -> str:
        """Its class in words, as one line."""
        return one_line(self.box.label) or "unnamed"

    def mask(self, size: tuple[int, int]) -> np.ndarray:
        """Its pixels in the picture of `size` (height, width): bool."""
        return decode_runs({"counts": self.runs}, size)


@dataclass(frozen=True, eq=False)
class LabelledPicture:
    """A picture and what was found in it.

    Attributes:
        path: the file.
        name: the file relative to the labelled folder, with forward slashes.
        size: (height, width), upright.
        objects: maybe none.
    """

    path: Path
    name: str
    size: tuple[int, int]
    objects: tuple[FoundObject, ...]


@dataclass(frozen=True, eq=False)
class LabelledFolder:
    """All pictures of a folder with what was found in them.

    Attributes:
        pictures: in the order in which they are listed.
        places: where the folder lies, for formats that leave the pictures there: as seen from the
            data set, and from the root. A reader takes the first that is there.
    """

    pictures: tuple[LabelledPicture, ...]
    places: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of all classes that were found, sorted: their order is their number."""
        return tuple(sorted({found.label for one in self.pictures for found in one.objects}))
