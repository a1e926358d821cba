"""Where on a picture the model looked, and a map laid there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from seewhy.errors import ImageError


@dataclass(frozen=True)
class Window:
    """The part of a picture that the model saw, in the picture's pixels: its edges.

    It sticks out of the picture where the input was padded.
    """

    left: float
    top: float
    right: float
    bottom: float


def place(map_: np.ndarray, window: Window, picture_size: tuple[int, int]) -> np.ndarray:
    """A raw map (h, w) laid where the model looked: float32 (height, width) of the picture.

    Bilinear between the centres of the map's cells, level beyond the outermost centres, as
    `F.interpolate(mode="bilinear", align_corners=False)` does, and 0 at pixels whose centre lies
    outside the window. NaN stays NaN wherever its cell has a share.
    """
    values = np.asarray(map_, np.float32)
    if values.ndim != 2 or 0 in values.shape:
        raise ImageError(f"the map must be (height, width), not {values.shape}: pass one map.")
    upper, lower, down, inside_y = _between_cells(
        picture_size[0], window.top, window.bottom, values.shape[0]
    )
    left, right, across, inside_x = _between_cells(
        picture_size[1], window.left, window.right, values.shape[1]
    )
    with np.errstate(invalid="ignore"):  # an infinite cell times 0
        rows = values[upper] * (1 - down)[:, None] + values[lower] * down[:, None]
        placed: np.ndarray = rows.take(left, axis=1)
        placed *= 1 - across
        beyond = rows.take(right, axis=1)
        beyond *= across
        placed += beyond
    placed[~inside_y] = 0
    placed[:, ~inside_x] = 0
    return placed


def _between_cells(
    pixels: int, start: float, end: float, cells: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """For each pixel: the cells before and after it, the share of the latter, whether inside."""
    centres = np.arange(pixels) + 0.5
    position = ((centres - start) * (cells / (end - start)) - 0.5).clip(0, cells - 1)
    before = position.astype(np.intp)
    share = (position - before).astype(np.float32)
    after = np.where(share > 0, before + 1, before)  # no share, no NaN; nor beyond the last cell
    return before, after, share, (centres >= start) & (centres <= end)
