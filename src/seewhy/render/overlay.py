"""A map's colours over the picture, and which part of the picture the model saw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from seewhy.errors import ImageError
from seewhy.render.colormap import (
    Limits,
    checked_limits,
    colorize,
    default_colormap,
    has_negative,
    to_unit,
    value_range,
)

if TYPE_CHECKING:
    from seewhy.render.takes import Box, Window

# What the model never saw: half its colour, and drawn towards a light grey. The maps' own zero
# darkens the picture, so that fading to light cannot be taken for a low value.
_FADED_COLOR = 0.5
_FADED_TOWARDS, _FADED = 225, 0.4
_BOUNDARY = 255
_BOX, _BOX_EDGE = 255, 0


def overlay(
    picture: np.ndarray,
    heatmap: np.ndarray,
    window: Window,
    *,
    colormap: str | None = None,
    opacity: float = 0.5,
    limits: Limits | None = None,
    boxes: Sequence[Box] = (),
) -> Image.Image:
    """The map's colours over the picture; what the model never saw is faded and fenced off.

    Args:
        picture: uint8 RGB (height, width, 3).
        heatmap: (height, width), the map as it lies on the picture; NaN is drawn grey.
        window: the part of the picture that the model saw.
        opacity: the share of the colour in each pixel: 0 is the picture alone, 1 the map alone.
        colormap: matplotlib's name of one; None chooses by whether the range is centred at 0.
        limits: the values of the first and the last colour; None is 0 to the map's largest value,
            or as far below 0 as above for a map with negative values.
        boxes: outlined on top, each with its edges on its own outermost pixels.

    Raises:
        ImageError: not one map of the picture's size, an unknown colour map, limits that are no
            range, or an opacity beyond 0..1.
    """
    picture, opacity = checked_picture(picture), checked_opacity(opacity)
    if np.shape(heatmap) != picture.shape[:2]:
        raise ImageError(
            f"the heatmap is {np.shape(heatmap)} on a picture of {picture.shape[:2]} (height, "
            "width); one value a pixel is wanted."
        )
    colors = _colors(heatmap, colormap, limits)
    seen = inside(window, picture.shape[:2])
    if colors[seen].shape == colors.shape:
        drawn = blend(picture, colors, opacity)
    else:
        drawn = faded(picture)
        drawn[seen] = blend(picture[seen], colors[seen], opacity)
        fence(drawn, seen, thickness=max(1, round(max(picture.shape[:2]) / 300)))
    for box in boxes:
        outline(drawn, (box.x0, box.y0, box.x1, box.y1))
    return Image.fromarray(drawn)


def outline(drawn: np.ndarray, box: tuple[float, float, float, float]) -> None:
    """Draw a box into `drawn` itself: a white line between black ones, seen on any colours.

    The lines lie on the outermost pixels of the box (x0, y0, x1, y1), whose ends are exclusive.
    """
    thin = max(1, round(max(drawn.shape[:2]) / 400))
    left, top, right, bottom = map(round, box)
    for depth, color in enumerate([_BOX_EDGE] * thin + [_BOX] * 2 * thin + [_BOX_EDGE] * thin):
        rows = slice(max(0, top + depth), max(0, bottom - depth))
        columns = slice(max(0, left + depth), max(0, right - depth))
        if top + depth >= bottom - depth or left + depth >= right - depth:
            return
        for row in (top + depth, bottom - depth - 1):
            if 0 <= row < drawn.shape[0]:
                drawn[row, columns] = color
        for column in (left + depth, right - depth - 1):
            if 0 <= column < drawn.shape[1]:
                drawn[rows, column] = color


def blend(picture: np.ndarray, colors: np.ndarray, opacity: float) -> np.ndarray:
    """`(1 - opacity) · picture + opacity · colors` of uint8 arrays, rounded to nearest.

    In 16-bit integers, with the opacity in steps of 1/256: a float copy of a large photograph
    takes four times the memory.
    """
    share = round(opacity * 256)
    mixed = picture.astype(np.uint16) * (256 - share)
    mixed += colors.astype(np.uint16) * share
    mixed += 128
    return (mixed >> 8).astype(np.uint8)


def inside(window: Window, picture_size: tuple[int, int]) -> tuple[slice, slice]:
    """The rows and columns of the pixels whose centre lies in the window."""
    height, width = picture_size

    def between(start: float, end: float, length: int) -> slice:
        centres = np.arange(length) + 0.5
        seen = np.flatnonzero((centres >= start) & (centres <= end))
        return slice(int(seen[0]), int(seen[-1]) + 1) if seen.size else slice(0, 0)

    return between(window.top, window.bottom, height), between(window.left, window.right, width)


def faded(picture: np.ndarray) -> np.ndarray:
    """The picture as it is drawn where the model did not look: paler, and half as colourful."""
    grey = np.asarray(Image.fromarray(picture).convert("L"))[..., None].repeat(3, axis=2)
    paler = blend(grey, picture, _FADED_COLOR)
    return blend(paler, np.full_like(paler, _FADED_TOWARDS), _FADED)


def fence(drawn: np.ndarray, seen: tuple[slice, slice], thickness: int) -> None:
    """Draw a line around `seen`, on the pixels just outside of it, into `drawn` itself."""
    rows, columns = seen
    top, bottom = rows.start, rows.stop
    left, right = columns.start, columns.stop
    if top == bottom or left == right:
        return
    across = slice(max(0, left - thickness), right + thickness)
    drawn[max(0, top - thickness) : top, across] = _BOUNDARY
    drawn[bottom : bottom + thickness, across] = _BOUNDARY
    drawn[rows, max(0, left - thickness) : left] = _BOUNDARY
    drawn[rows, right : right + thickness] = _BOUNDARY


def checked_picture(picture: np.ndarray) -> np.ndarray:
    """`picture` if it is uint8 RGB with pixels in it."""
    picture = np.asarray(picture)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise ImageError(
            f"the picture is {picture.dtype} {picture.shape}; uint8 RGB (height, width, 3) is "
            "wanted, as read_image gives it."
        )
    return picture


def checked_opacity(opacity: float) -> float:
    """`opacity` if it is a share."""
    if not 0 <= opacity <= 1:
        raise ImageError(
            f"opacity is {opacity}; 0 (the picture alone) to 1 (the map alone) is wanted."
        )
    return float(opacity)


def _colors(heatmap: np.ndarray, colormap: str | None, limits: Limits | None) -> np.ndarray:
    heatmap = np.asarray(heatmap)
    if limits is None:
        limits = value_range([heatmap], signed=has_negative(heatmap))
    limits = checked_limits(limits)
    if colormap is None:
        colormap = default_colormap(limits)
    return colorize(to_unit(heatmap, limits), colormap)
