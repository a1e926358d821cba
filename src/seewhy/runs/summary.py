"""A map in a few numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seewhy.boxes import boxes
from seewhy.images import Window, place

_TOP = 0.1  # of the cells
_FINER = 56  # cells of a side at least, for the box
_THRESHOLD = 0.15  # of the largest value: Grad-CAM's, as in Explanation.boxes


@dataclass(frozen=True)
class Summary:
    """What a map says, without its cells. All but `largest` are of what speaks for the target.

    Attributes:
        largest: the largest magnitude in the raw map.
        entropy: 0: all in one cell; 1: the same in every cell.
        top_share: the share that the top tenth of the cells has.
        center: (x, y) of its centre of mass, in pixels of the picture.
        box: (x0, y0, x1, y1) around the largest connected part above 15 % of the largest value, in
            pixels of the picture, cut at its edges.
    """

    largest: float
    entropy: float | None = None
    top_share: float | None = None
    center: tuple[float, float] | None = None
    box: tuple[float, float, float, float] | None = None


def summary_of(map_: np.ndarray, window: Window, picture_size: tuple[int, int]) -> Summary:
    """The summary of a raw map (height, width).

    Args:
        map_: float32.
        window: the part of the picture that the map lies on.
        picture_size: (height, width).
    """
    if not np.isfinite(map_).all():
        return Summary(float("nan"))
    largest = float(np.abs(map_).max(initial=0))
    positive = np.clip(map_, 0, None).astype(np.float64)
    total = positive.sum()
    if not total > 0:
        return Summary(largest)
    shares = positive / total
    cells = shares.size
    some = shares[shares > 0]
    entropy = float(-(some * np.log(some)).sum() / np.log(cells)) if cells > 1 else 0.0
    top = -(-cells // round(1 / _TOP))
    top_share = float(np.partition(shares, cells - top, axis=None)[cells - top :].sum())
    height, width = map_.shape
    x = float((shares.sum(0) * (np.arange(width) + 0.5)).sum()) / width
    y = float((shares.sum(1) * (np.arange(height) + 0.5)).sum()) / height
    across, down = window.right - window.left, window.bottom - window.top
    return Summary(
        largest,
        min(1.0, max(0.0, entropy)),
        min(1.0, top_share),
        (window.left + x * across, window.top + y * down),
        _box(map_, window, picture_size),
    )


def _box(
    map_: np.ndarray, window: Window, picture_size: tuple[int, int]
) -> tuple[float, float, float, float] | None:
    """The box of a map made finer, which is a hundred times cheaper than at the picture's size."""
    height, width = (side * -(-_FINER // side) for side in map_.shape)
    found = boxes(place(map_, Window(0, 0, width, height), (height, width)), threshold=_THRESHOLD)
    if not found:
        return None
    x0, y0, x1, y1 = found[0].as_tuple()
    across, down = (window.right - window.left) / width, (window.bottom - window.top) / height
    tall, wide = picture_size
    return (
        min(max(window.left + x0 * across, 0.0), wide),
        min(max(window.top + y0 * down, 0.0), tall),
        min(max(window.left + x1 * across, 0.0), wide),
        min(max(window.top + y1 * down, 0.0), tall),
    )
