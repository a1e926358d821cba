"""Lines of equal value: white in a dark casing, which any picture and any printer shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_CORE, _CASING = 1.5, 1.1  # pixels wide: the white line, and the dark one on either side
_CASING_COLOR, _CASING_OPACITY = (15, 15, 20), 0.75
# A map of single pixels, such as saliency, crosses a level at every speck: nothing but lines would
# be seen. Specks have fewer pixels than their edges; so few edges are those of a small picture.
_FEW_EDGES = 200
_DASH = 5  # pixels of a dash and of a gap, of lines 1.5 pixels wide


def draw_lines(
    drawn: np.ndarray,
    shares: np.ndarray,
    levels: Sequence[tuple[float, float]],
    *,
    signed: bool,
    width: float = 1.0,
) -> None:
    """Draw lines of equal value into `drawn` itself; those below 0 are dashed.

    Args:
        drawn: uint8 RGB (height, width, 3).
        shares: float32 (height, width); NaN has no line.
        levels: the shares at which to draw, and how wide each line is, 1 being usual.
        signed: whether to draw at the same shares below 0 too.
        width: of all of them: more on a picture that will be made smaller.
    """
    if min(shares.shape) < 2:
        return
    for level, wide in levels:
        for side in (1, -1) if signed else (1,):
            _draw_line(drawn, shares, side * level, wide * width)


def _draw_line(drawn: np.ndarray, shares: np.ndarray, level: float, width: float) -> None:
    core, casing = width * _CORE / 2, width * _CASING
    near = _near(shares, level, int(np.ceil(core + casing + 0.5)))
    if not near.size:
        return
    rows, columns = np.unravel_index(near, shares.shape)
    height, length = shares.shape
    up, down = np.maximum(rows - 1, 0), np.minimum(rows + 1, height - 1)
    left, right = np.maximum(columns - 1, 0), np.minimum(columns + 1, length - 1)
    slope_down = (shares[down, columns] - shares[up, columns]) / (down - up)
    slope_across = (shares[rows, right] - shares[rows, left]) / (right - left)
    slope = np.hypot(slope_down, slope_across)
    # Where the map is nearly level, a line at its very value would be a blot.
    slope = np.maximum(slope, 0.25 * np.nanmedian(slope) + 1e-9)
    distance = np.abs(shares.reshape(-1)[near] - level) / slope  # pixels
    distance[np.isnan(distance)] = np.inf
    white = np.clip(core + 0.5 - distance, 0, 1)
    dark = np.clip(core + casing + 0.5 - distance, 0, 1) * _CASING_OPACITY
    if level < 0:
        # Along the axis that the line follows more closely.
        along = np.where(np.abs(slope_down) > np.abs(slope_across), columns, rows)
        on = (along / (_DASH * width)).astype(np.intp) % 2 == 0
        white, dark = white * on, dark * on
    flat = drawn.reshape(-1, 3)
    pixels = flat[near].astype(np.float32)
    pixels += dark[:, None] * (np.array(_CASING_COLOR, np.float32) - pixels)
    pixels += white[:, None] * (255 - pixels)
    flat[near] = np.rint(pixels).astype(np.uint8)


def _near(shares: np.ndarray, level: float, reach: int) -> np.ndarray:
    """The pixels (flat) within `reach` rows or columns of where the map crosses the level."""
    above = shares >= level
    crossed = np.zeros(shares.shape, bool)
    across = above[1:] != above[:-1]
    crossed[1:] |= across
    crossed[:-1] |= across
    across = above[:, 1:] != above[:, :-1]
    crossed[:, 1:] |= across
    crossed[:, :-1] |= across
    edges, beyond = np.count_nonzero(crossed), np.count_nonzero(above)
    of_specks = edges > _FEW_EDGES and min(beyond, above.size - beyond) < edges
    if not edges or of_specks:
        return np.empty(0, np.intp)
    rows = np.flatnonzero(crossed.any(1))
    columns = np.flatnonzero(crossed.any(0))
    top, bottom = max(0, rows[0] - reach), min(shares.shape[0], rows[-1] + reach + 1)
    left, right = max(0, columns[0] - reach), min(shares.shape[1], columns[-1] + reach + 1)
    part = crossed[top:bottom, left:right]
    for _ in range(reach):
        part = _grown(part)
    inside = np.flatnonzero(part)
    row, column = np.divmod(inside, part.shape[1])
    near: np.ndarray = (row + top) * shares.shape[1] + column + left
    return near


def _grown(marked: np.ndarray) -> np.ndarray:
    grown = marked.copy()
    grown[1:] |= marked[:-1]
    grown[:-1] |= marked[1:]
    grown[:, 1:] |= grown[:, :-1].copy()
    grown[:, :-1] |= grown[:, 1:].copy()
    return grown
