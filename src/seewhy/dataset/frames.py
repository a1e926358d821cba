"""The frame that annotations are in: the upright picture, or the pixels as the file stores them.

Phones store a picture lying on its side and say in EXIF how it stands. Half of the programs turn it
before boxes are drawn, and half do not; what they state as its size tells which. A stated size that
is neither belongs to another picture: one that was resized, cropped or exchanged since.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from seewhy.dataset.files import Stored, stored_picture
from seewhy.dataset.records import SLACK, Box, Dataset, Masks, box_in
from seewhy.errors import DataError


@dataclass(frozen=True)
class Frame:
    """Where a picture's annotations are measured.

    Attributes:
        size: (height, width) of the frame.
        orientation: how it must be turned to be upright, as EXIF counts; 1: it is upright.
    """

    size: tuple[int, int]
    orientation: int = 1

    def box(self, corners: Sequence[Any], label: str, *, difficult: bool = False) -> Box:
        """A box of this frame in the upright picture.

        Raises:
            DataError: as `seewhy.dataset.records.box_in`.
        """
        box = box_in(corners, label, self.size, difficult=difficult)
        if self.orientation == 1:
            return box
        xs, ys = _turned(self.orientation, self.size, (box.x0, box.x1), (box.y0, box.y1))
        return replace(box, x0=min(xs), y0=min(ys), x1=max(xs), y1=max(ys))

    def masks(self, masks: Masks | None) -> Masks | None:
        """Masks of this frame in the upright picture."""
        return masks if masks is None or self.orientation == 1 else Turned(masks, self.orientation)


@dataclass(frozen=True)
class Turned:
    """Masks of the stored pixels, turned as the picture is.

    Attributes:
        stored: the masks as they were drawn.
        orientation: EXIF's.
    """

    stored: Masks
    orientation: int

    def of(self, label: str) -> np.ndarray | None:
        """See `seewhy.dataset.records.Masks`."""
        return self._upright(self.stored.of(label))

    def ignored(self) -> np.ndarray | None:
        """See `seewhy.dataset.records.Masks`."""
        return self._upright(self.stored.ignored())

    def _upright(self, mask: np.ndarray | None) -> np.ndarray | None:
        if mask is None:
            return None
        turns: dict[int, Callable[[np.ndarray], np.ndarray]] = {
            2: np.fliplr,
            3: lambda stored: np.rot90(stored, 2),
            4: np.flipud,
            5: np.transpose,
            6: lambda stored: np.rot90(stored, -1),
            7: lambda stored: np.rot90(stored, 2).T,
            8: np.rot90,
        }
        return np.ascontiguousarray(turns[self.orientation](mask))


class Frames:
    """The frames of a data set's pictures, and what was assumed where a size does not tell them."""

    def __init__(self) -> None:
        self._looked: dict[Path, Stored] = {}
        self._upright: set[Path] = set()
        self._stored: set[Path] = set()
        self._doubtful: set[Path] = set()
        self._unstated: set[Path] = set()
        self._doubtful_as_stored = False

    def of(self, image: Path, stated: tuple[int, int] | None = None) -> Frame:
        """The frame of one picture's annotations.

        Args:
            image: the picture's file; its first bytes are read.
            stated: (height, width) as the annotations have it, if they say so.

        Raises:
            DataError: the stated size is not the picture's, or none is stated and the picture
                cannot be read.
        """
        if image not in self._looked:
            try:
                self._looked[image] = stored_picture(image)
            except DataError:
                if stated is None:
                    raise
                return Frame(stated)  # whoever opens the picture says that it is damaged
        picture = self._looked[image]
        if stated is None:
            if picture.orientation != 1:
                self._unstated.add(image)
            return Frame(picture.upright)
        as_upright, as_stored = _alike(stated, picture.upright), _alike(stated, picture.size)
        if not as_upright and not as_stored:
            raise DataError(_of_another(stated, picture))
        if picture.orientation == 1:
            return Frame(picture.size)
        if as_upright and as_stored:
            self._doubtful.add(image)
            as_stored = self._doubtful_as_stored
        else:
            (self._stored if as_stored else self._upright).add(image)
        return Frame(picture.size, picture.orientation) if as_stored else Frame(picture.upright)

    def gathered(self, gather: Callable[[], Dataset]) -> Dataset:
        """The data set that `gather` makes, with notes on what was turned and what was assumed.

        Pictures whose size does not tell their frame are taken as the others of the data set are.
        """
        dataset = gather()
        if self._doubtful and self._stored and not self._upright:
            self._doubtful_as_stored = True
            dataset = gather()
        return replace(dataset, notes=(*dataset.notes, *self._notes()))

    def _notes(self) -> list[str]:
        notes = []
        if self._stored:
            notes.append(
                f"{_pictures(len(self._stored))} stored with an EXIF rotation, and the "
                "stated size is that of the stored pixels: the annotations were rotated "
                "with the picture"
            )
        if self._doubtful:
            assumed = "the stored" if self._doubtful_as_stored else "the upright"
            notes.append(
                f"{_pictures(len(self._doubtful))} stored with an EXIF rotation, and the "
                "size does not show whether the annotations are rotated too: they were "
                f"read as annotations of {assumed} picture"
            )
        if self._unstated:
            notes.append(
                f"{_pictures(len(self._unstated))} stored with an EXIF rotation, and no "
                "size is stated: the annotations were read as annotations of the upright "
                "picture"
            )
        return notes


def _turned(
    orientation: int, size: tuple[int, int], xs: Sequence[float], ys: Sequence[float]
) -> tuple[list[float], list[float]]:
    """Points of the stored pixels of `size` in the upright picture."""
    height, width = size
    if orientation in (2, 3, 7, 8):
        xs = [width - x for x in xs]
    if orientation in (3, 4, 6, 7):
        ys = [height - y for y in ys]
    return (list(ys), list(xs)) if orientation >= 5 else (list(xs), list(ys))


def _alike(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes are one, but for the last pixel of a large picture, which is rounded."""
    return all(abs(a - b) <= min(SLACK, b / 50) for a, b in zip(one, other, strict=True))


def _of_another(stated: tuple[int, int], picture: Stored) -> str:
    height, width = picture.upright
    said = (
        f"the annotation is for a picture of {stated[1]} × {stated[0]} pixels, but "
        f"the file has {width} × {height}"
    )
    if _alike(stated, (width, height)):
        return f"{said}: the sides are exchanged. Correct the size, or the picture"
    return f"{said}, so its boxes would be in the wrong place. Use the picture that was annotated"


def _pictures(count: int) -> str:
    return "1 picture is" if count == 1 else f"{count} pictures are"
