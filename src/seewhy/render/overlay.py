"""A map over its picture: colours and lines, the part that the model saw, and boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from seewhy.errors import ImageError
from seewhy.render.colormap import Limits
from seewhy.render.crop import edge, inside, muted_around
from seewhy.render.isolines import draw_lines
from seewhy.render.scale import Scale, scale_of
from seewhy.render.style import Style, paint, style_of
from seewhy.render.text import pillow_font, plain_font

if TYPE_CHECKING:
    from seewhy.render.takes import Box, Window

_BOX, _BOX_EDGE = 255, 0
_USUAL_SIDE = 400  # pixels of a picture on which lines have their usual width
NOTHING = "the map is 0 everywhere"
_BELOW = "nothing is above the scale's start"


def overlay(
    picture: np.ndarray,
    heatmap: np.ndarray,
    window: Window,
    *,
    style: str | None = None,
    base: str = "picture",
    colormap: str | None = None,
    opacity: float | None = None,
    limits: Limits | None = None,
    scale: str | None = None,
    boxes: Sequence[Box] = (),
) -> Image.Image:
    """The map over the picture; what the model never saw is muted and fenced off.

    Args:
        picture: uint8 RGB (height, width, 3).
        heatmap: (height, width), the map as it lies on the picture; NaN is drawn as stripes.
        window: the part of the picture that the model saw.
        style, base, colormap, opacity: as `seewhy.render.style.style_of` takes them.
        limits: the values of the first and the last colour.
        scale: "zero" or "min", where the colours start; None is 0, but the minimum where that is
            above 25 % of the maximum.
        boxes: outlined on top, each with its edges on its own outermost pixels.

    Raises:
        ImageError: not one map of the picture's size, an unknown style or colour map, limits that
            are no range, or an opacity beyond 0..1.
    """
    picture = checked_picture(picture)
    if np.shape(heatmap) != picture.shape[:2]:
        raise ImageError(
            f"the heatmap is {np.shape(heatmap)} on a picture of {picture.shape[:2]} (height, "
            "width); one value a pixel is wanted."
        )
    chosen = style_of(style, base=base, colormap=colormap, opacity=opacity)
    seen = np.asarray(heatmap)[inside(window, picture.shape[:2])]
    return lay(
        picture, heatmap, window, chosen, scale_of([seen], limits=limits, start=scale), boxes=boxes
    )


def lay(
    picture: np.ndarray,
    heatmap: np.ndarray,
    window: Window,
    style: Style,
    scale: Scale,
    *,
    boxes: Sequence[Box] = (),
) -> Image.Image:
    """What `overlay` draws, of a style and a scale that are known."""
    size = picture.shape[:2]
    seen = inside(window, size)
    shares = scale.shares(np.asarray(heatmap)[seen])
    colored = cover(picture[seen], shares, style, signed=scale.signed, side=max(size))
    if colored.shape == picture.shape:
        drawn = colored
    else:
        drawn = muted_around(picture, seen)
        drawn[seen] = colored
        drawn = edge(drawn, seen)
    for box in boxes:
        outline(drawn, (box.x0, box.y0, box.x1, box.y1))
    image = Image.fromarray(drawn)
    if not shares.any():  # NaN is something
        zero = not np.any(np.asarray(heatmap)[seen])
        _say(image, NOTHING if zero else _BELOW)
    return image


def cover(
    picture: np.ndarray, shares: np.ndarray, style: Style, *, signed: bool, side: int
) -> np.ndarray:
    """Colours and lines over a picture: a new uint8 array (height, width, 3).

    Pictures and keys are drawn by this one function, so that a key's colours are the picture's.

    Args:
        picture: uint8 RGB (height, width, 3).
        shares: float32 (height, width), of the scale.
        style: how.
        signed: whether values below 0 have colours and lines of their own.
        side: pixels of the longer side of the whole, by which lines are wide.
    """
    made = paint(picture, shares, style, signed=signed)
    draw_lines(made, shares, style.lines, signed=signed, width=max(1.0, side / _USUAL_SIDE))
    return made


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


def _say(image: Image.Image, words: str) -> None:
    """Words on a dark band along the lower edge, if they can be read there."""
    size = min(max(image.width, image.height) / 28, 0.9 * image.width * 2 / len(words))
    if size < 8 or 3 * size > image.height:
        return
    font = pillow_font(plain_font(), size)
    band = round(1.6 * size)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, image.height - band, image.width, image.height), (15, 15, 20))
    draw.text((0.5 * size, image.height - band / 2), words, "white", font, anchor="lm")


def checked_picture(picture: np.ndarray) -> np.ndarray:
    """`picture` if it is uint8 RGB with pixels in it."""
    picture = np.asarray(picture)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise ImageError(
            f"the picture is {picture.dtype} {picture.shape}; uint8 RGB (height, width, 3) is "
            "wanted, as read_image gives it."
        )
    return picture
