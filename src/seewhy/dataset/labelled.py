"""Pictures with the objects that were found in them: what the formats write."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seewhy.dataset.records import Box
from seewhy.dataset.segmentation import decode_runs


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
        """Its class in words."""
        return self.box.label

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
