"""A sheet of labelled pictures: what lies outside of the objects is faded, boxes are outlined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from seewhy.render.overlay import checked_picture, outline
from seewhy.render.page import LINE, NOTE_COLOR, Page, fitted
from seewhy.render.style import blend
from seewhy.render.text import lettering, wrap

if TYPE_CHECKING:
    from seewhy.render.drawing import Drawing

_SIDE, _GAP, _MARGIN, _SIZE = 130.0, 10.0, 12.0, 8.0  # points
_MOST_PIXELS = 400  # of a side; more cannot be seen
_MOST_COLUMNS = 6
# What is outside of the objects: half its colour, and drawn towards a light grey.
_FADED_COLOR, _FADED_TOWARDS, _FADED = 0.5, 225, 0.4
_EDGE = (255, 210, 0)  # yellow: rarer in photographs than black or white


@dataclass(frozen=True, eq=False)
class Sample:
    """One picture of the sheet, small.

    Attributes:
        image: as it is drawn.
        caption: what is written below it.
    """

    image: Image.Image
    caption: str


def sample(
    picture: np.ndarray,
    mask: np.ndarray,
    boxes: Sequence[tuple[float, float, float, float]],
    caption: str,
) -> Sample:
    """A picture made small and its objects drawn in.

    Args:
        picture: uint8 RGB (height, width, 3).
        mask: bool (height, width): the objects' pixels.
        boxes: x0, y0, x1, y1 to outline, with exclusive ends.
        caption: what is written below it.
    """
    image = Image.fromarray(checked_picture(picture))
    scale = min(1.0, _MOST_PIXELS / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    small = np.asarray(image.resize(size))
    inside = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    drawn = np.where(inside[..., None], small, faded(small))
    drawn[_edge(inside)] = _EDGE
    for x0, y0, x1, y1 in boxes:
        outline(drawn, (x0 * scale, y0 * scale, x1 * scale, y1 * scale))
    return Sample(Image.fromarray(drawn), caption)


def faded(picture: np.ndarray) -> np.ndarray:
    """The picture as it is drawn outside of the objects: paler, and half as colourful."""
    grey = np.asarray(Image.fromarray(picture).convert("L"))[..., None].repeat(3, axis=2)
    paler = blend(grey, picture, _FADED_COLOR)
    return blend(paler, np.full_like(paler, _FADED_TOWARDS), _FADED)


def _edge(inside: np.ndarray) -> np.ndarray:
    """The pixels inside that have a neighbour outside."""
    around = np.pad(inside, 1, mode="edge")
    surrounded = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    edge: np.ndarray = inside & ~surrounded
    return edge


def sheet(samples: Sequence[Sample], note: str = "") -> Drawing:
    """The samples in rows, each with its caption, and a note below them all."""
    columns = min(_MOST_COLUMNS, max(1, len(samples)))
    rows = -(-len(samples) // columns)
    pitch = _SIDE + _GAP
    text = 2 * LINE * _SIZE  # two lines below each picture
    width = 2 * _MARGIN + columns * pitch - _GAP
    written = lettering(note)
    lines = wrap(written, _SIZE, width - 2 * _MARGIN, 3) if written.text else []
    foot = LINE * _SIZE * len(lines)
    page = Page(width, 2 * _MARGIN + rows * (_SIDE + text + _GAP) + foot)
    for place, one in enumerate(samples):
        row, column = divmod(place, columns)
        left, top = _MARGIN + column * pitch, _MARGIN + row * (_SIDE + text + _GAP)
        x, y, w, h = fitted((one.image.height, one.image.width), _SIDE, _SIDE)
        page.show(one.image, left + x, top + y, w, h)
        words = lettering(one.caption)
        if words.text:
            caption = wrap(words, _SIZE, _SIDE, 2)
            page.write(caption, words.font, _SIZE, left + _SIDE / 2, top + _SIDE + 2,
                       align="center")  # fmt: skip
    page.write(lines, written.font, _SIZE, _MARGIN, page.height - _MARGIN - foot, color=NOTE_COLOR)
    return page.figure
