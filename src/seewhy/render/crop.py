"""Which part of a picture the model saw: the rest is muted, and a tab on the edge says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from seewhy.render.style import blend, greyed
from seewhy.render.text import pillow_font, plain_font

if TYPE_CHECKING:
    from seewhy.render.takes import Window

SEEN = "seen by the model"
# What the model did not see has no colour and is pale, as no map's colours are.
_WHITE = 0.58
_HAIRLINE = (15, 15, 20)
_TAB, _TAB_TEXT = (15, 15, 20), (255, 255, 255)
_SMALLEST_TEXT = 9  # pixels; smaller letters cannot be read, so there is no tab
_TEXT = 1 / 34  # of the picture's longer side


def inside(window: Window, picture_size: tuple[int, int]) -> tuple[slice, slice]:
    """The rows and columns of the pixels whose centre lies in the window."""
    height, width = picture_size

    def between(start: float, end: float, length: int) -> slice:
        centres = np.arange(length) + 0.5
        seen = np.flatnonzero((centres >= start) & (centres <= end))
        return slice(int(seen[0]), int(seen[-1]) + 1) if seen.size else slice(0, 0)

    return between(window.top, window.bottom, height), between(window.left, window.right, width)


def muted_around(picture: np.ndarray, seen: tuple[slice, slice]) -> np.ndarray:
    """A copy of the picture, grey and pale outside of `seen`."""
    rows, columns = seen
    drawn = picture.copy()
    whole = slice(None)
    for strip in (
        (slice(0, rows.start), whole),
        (slice(rows.stop, None), whole),
        (rows, slice(0, columns.start)),
        (rows, slice(columns.stop, None)),
    ):
        part = picture[strip]
        if part.size:
            grey = greyed(np.ascontiguousarray(part))
            drawn[strip] = blend(grey, np.full_like(grey, 255), _WHITE)
    return drawn


def edge(drawn: np.ndarray, seen: tuple[slice, slice], *, tab: bool = True) -> np.ndarray:
    """`drawn` with a double hairline just outside of `seen`, and its tab where it can be read."""
    rows, columns = seen
    if rows.start == rows.stop or columns.start == columns.stop:
        return drawn
    thin = max(1, round(max(drawn.shape[:2]) / 500))
    for away in (0, 2 * thin):
        _hairline(drawn, seen, away, thin)
    return _with_tab(drawn, seen) if tab else drawn


def _hairline(drawn: np.ndarray, seen: tuple[slice, slice], away: int, thin: int) -> None:
    """A line `thin` wide, `away` from what was seen; none on a side that the picture ends at."""
    (top, bottom), (left, right) = ((s.start - away, s.stop + away) for s in seen)
    rows = slice(max(0, top - thin), bottom + thin)
    columns = slice(max(0, left - thin), right + thin)
    drawn[max(0, top - thin) : max(0, top), columns] = _HAIRLINE
    drawn[bottom : bottom + thin, columns] = _HAIRLINE
    drawn[rows, max(0, left - thin) : max(0, left)] = _HAIRLINE
    drawn[rows, right : right + thin] = _HAIRLINE


def _with_tab(drawn: np.ndarray, seen: tuple[slice, slice]) -> np.ndarray:
    """The words on the side where most of the picture was left out, upright or turned."""
    height, width = drawn.shape[:2]
    (top, bottom), (left, right) = ((s.start, s.stop) for s in seen)
    rooms = {"top": top, "left": left, "right": width - right, "bottom": height - bottom}
    side = max(rooms, key=lambda name: rooms[name] + (name == "top"))
    along = right - left if side in ("top", "bottom") else bottom - top
    label = _label(max(height, width) * _TEXT)
    if label is None or label.width > along or 3 * label.height > min(height, width):
        return drawn
    if side in ("left", "right"):
        label = label.transpose(Image.Transpose.ROTATE_90)
    place = {
        "top": (left, top - label.height),
        "bottom": (left, bottom),
        "left": (left - label.width, top),
        "right": (right, top),
    }[side]
    x = min(max(0, place[0]), width - label.width)
    y = min(max(0, place[1]), height - label.height)
    image = Image.fromarray(drawn)
    image.paste(label, (x, y))
    return np.array(image)


def _label(size: float) -> Image.Image | None:
    if size < _SMALLEST_TEXT * 0.6:
        return None
    size = max(size, _SMALLEST_TEXT)
    font = pillow_font(plain_font(), size)
    pad = round(0.35 * size)
    label = Image.new("RGB", (round(font.getlength(SEEN)) + 2 * pad, round(1.2 * size) + 2), _TAB)
    ImageDraw.Draw(label).text((pad, label.height / 2), SEEN, _TAB_TEXT, font, anchor="lm")
    return label
