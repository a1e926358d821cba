"""An object's pixels as COCO writes them: polygons, or run lengths down the columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seewhy.errors import DataError

Segmentation = Sequence[Sequence[float]] | Mapping[str, Any]
"""Polygons `[[x, y, x, y, ...], ...]`, or run lengths `{"size": [h, w], "counts": ...}`."""


@dataclass(frozen=True)
class Segmentations:
    """Masks of a picture's objects as the JSON has them.

    Attributes:
        size: (height, width) of the picture.
        by_label: each label's objects.
    """

    size: tuple[int, int]
    by_label: Mapping[str, tuple[Segmentation, ...]]

    def of(self, label: str) -> np.ndarray | None:
        """See `seewhy.dataset.records.Masks`."""
        if label not in self.by_label:
            return None
        mask = np.zeros(self.size, bool)
        for segmentation in self.by_label[label]:
            mask |= decode(segmentation, self.size)
        return mask if mask.any() else None  # outlines too small to hold the centre of a pixel

    def ignored(self) -> None:
        """COCO has no pixels that count for no class."""


def decode(segmentation: Segmentation, size: tuple[int, int]) -> np.ndarray:
    """One object's mask, (H, W) bool of a picture of `size`.

    Raises:
        DataError: it is neither polygons nor run lengths, or does not fit the picture.
    """
    try:
        if isinstance(segmentation, Mapping):
            return decode_runs(segmentation, size)
        mask = np.zeros(size, bool)
        for polygon in segmentation:  # the parts of an object that something else divides
            mask |= fill_polygon(polygon, size)
    except DataError:
        raise
    except (OverflowError, TypeError, ValueError) as error:  # a text for a number, and so on
        raise DataError(f"a segmentation is not laid out as expected ({error})") from error
    return mask


def decode_runs(runs: Mapping[str, Any], size: tuple[int, int]) -> np.ndarray:
    """COCO's run lengths: outside, inside, outside, ... down the columns, from the left.

    Args:
        runs: `counts` is a list of numbers, or those as text: each number in groups of 5 bits from
            the low end, a character 48 above its group, 32 more where another group follows. The
            last group's highest bit is the sign. From the fourth number on, it is the difference
            from the number two before.
        size: (height, width).

    Raises:
        DataError: the lengths do not add up to the picture.
    """
    counts = runs["counts"]
    if isinstance(counts, (str, bytes)):
        counts = _numbers(counts)
    height, width = size
    lengths = np.asarray(counts, np.int64)
    if list(runs.get("size", size)) != [height, width]:
        raise DataError(f"run lengths of size {runs.get('size')} came for {[height, width]}")
    if lengths.ndim != 1 or (lengths < 0).any() or lengths.sum() != height * width:
        raise DataError(f"run lengths that do not add up to {height} × {width} pixels")
    inside = np.arange(len(lengths)) % 2 == 1
    return np.ascontiguousarray(np.repeat(inside, lengths).reshape(width, height).T)


def run_lengths(mask: np.ndarray) -> np.ndarray:
    """A mask (height, width) as COCO's counts: lengths of runs down the columns, zeros first."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate([[0], changes, [flat.size]])
    lengths = np.diff(edges).astype(np.int32)
    return np.concatenate([np.zeros(1, np.int32), lengths]) if flat[0] else lengths


def fill_polygon(points: Sequence[float], size: tuple[int, int]) -> np.ndarray:
    """The pixels whose centres lie inside a closed polygon, by the even-odd rule.

    pycocotools first rounds the corners to a fifth of a pixel, so that its borders differ from
    these in a few pixels.

    Args:
        points: x, y, x, y, ... in pixels from the picture's corner; pixel x covers x to x + 1.
        size: (height, width).

    Raises:
        DataError: fewer than three corners, or an odd number of coordinates.
    """
    corners = np.asarray(points, np.float64)
    if corners.ndim != 1 or len(corners) < 6 or len(corners) % 2 or not np.isfinite(corners).all():
        raise DataError(
            f"a polygon needs x, y of at least 3 corners, but it has {corners.size} coordinates"
        )
    height, width = size
    corners = corners.reshape(-1, 2)
    crossed = np.zeros((height, width + 1), np.int64)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        # An edge crosses the centre lines of these rows, its lower end excluded: a corner on a
        # centre line is counted once, and a level edge not at all.
        first, last = np.clip(np.ceil(np.sort([y0, y1]) - 0.5), 0, height).astype(int)
        rows = np.arange(first, last)
        if len(rows):
            at = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
            crossed[rows, np.clip(np.ceil(at - 0.5), 0, width).astype(int)] += 1
    inside: np.ndarray = np.cumsum(crossed, axis=1)[:, :width] % 2 == 1
    return inside


def _numbers(text: str | bytes) -> list[int]:
    characters = text if isinstance(text, bytes) else text.encode("ascii")
    numbers: list[int] = []
    value = shift = 0
    for character in characters:
        group = character - 48
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        numbers.append(value + (numbers[-2] if len(numbers) > 2 else 0))
        value = shift = 0
    if shift:
        raise DataError("run lengths that end within a number")
    return numbers


def look_at(segmentation: Any, size: tuple[int, int]) -> None:
    """Refuses what can be seen to be wrong without drawing it.

    Args:
        segmentation: what is said to be one.
        size: (height, width) of the picture.

    Raises:
        DataError: it is neither run lengths of the picture's size nor polygons of at least three
            corners.
    """
    if isinstance(segmentation, Mapping):
        if "counts" not in segmentation:
            raise DataError("a segmentation without counts")
        stated = segmentation.get("size", list(size))
        if not isinstance(stated, list) or stated != list(size):
            raise DataError(f"run lengths of size {stated} came for {list(size)}")
        return
    if not isinstance(segmentation, list) or not all(isinstance(p, list) for p in segmentation):
        raise DataError(
            f"a segmentation must be polygons or run lengths, not a {type(segmentation).__name__}"
        )
    if any(len(polygon) < 6 or len(polygon) % 2 for polygon in segmentation):
        raise DataError("a polygon with fewer than 3 corners")


def extent(segmentation: Segmentation, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 around an object: of its polygons' corners, or of its pixels.

    Raises:
        DataError: as `decode`, or there is no pixel in it.
    """
    if not isinstance(segmentation, Mapping):
        corners = [np.asarray(polygon, np.float64).reshape(-1, 2) for polygon in segmentation]
        points = np.concatenate(corners)
        (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
        return float(x0), float(y0), float(x1), float(y1)
    rows, columns = np.nonzero(decode_runs(segmentation, size))
    if not len(rows):
        raise DataError("run lengths without a pixel inside")
    return (
        float(columns.min()),
        float(rows.min()),
        float(columns.max() + 1),
        float(rows.max() + 1),
    )
