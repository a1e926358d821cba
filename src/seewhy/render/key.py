"""The key of an overlay: every colour that a value has, over every lightness of the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from seewhy.render.overlay import cover
from seewhy.render.page import LINE, NOTE_COLOR
from seewhy.render.text import plain_font, short_number

if TYPE_CHECKING:
    from seewhy.render.page import Page
    from seewhy.render.scale import Scale
    from seewhy.render.style import Style

KEY_WIDTH, KEY_ROOM = 20.0, 82.0  # points; the key with its numbers
NUMBER, NOTE = 7.5, 6.0  # points
_TICK = 3.0
_DARKEST, _LIGHTEST = 20, 242  # of the greys underneath: a photograph's


@dataclass(frozen=True)
class Mark:
    """A number beside the key.

    Attributes:
        share: of the scale.
        text: as it is printed.
    """

    share: float
    text: str


def key_image(width: int, height: int, style: Style, scale: Scale) -> Image.Image:
    """The key in pixels: the last colour above; from left to right the picture grows lighter."""
    low, high = (0.0, 0.0) if scale.empty else scale.ends
    values = np.linspace(high, low, height, dtype=np.float32)[:, None].repeat(width, axis=1)
    greys = np.linspace(_DARKEST, _LIGHTEST, width).round().astype(np.uint8)
    below = np.broadcast_to(greys[None, :, None], (height, width, 3))
    drawn = cover(np.ascontiguousarray(below), values, style, signed=scale.signed, side=height)
    if not scale.signed and scale.low > 0:
        _break(drawn)
    return Image.fromarray(drawn)


def marks(scale: Scale, style: Style, *, own: bool = False) -> tuple[Mark, ...]:
    """The numbers beside the key, from above.

    Args:
        scale: what the key is of.
        style: whose lines have a number each.
        own: whether every picture beside the key has its own scale of this kind.
    """
    if scale.empty:
        return (Mark(0.0, f"{short_number(scale.low)} everywhere"),)
    low, high = scale.ends
    shares = {low, high, 0.0}
    lines = {share for share, _ in style.lines} or {0.5}
    shares |= lines | {-share for share in lines} if scale.signed else lines
    return tuple(
        Mark(share, _own_text(share, scale) if own else _text(share, scale))
        for share in sorted(shares, reverse=True)
        if low <= share <= high
    )


def _text(share: float, scale: Scale) -> str:
    low, high = scale.ends
    text = short_number(scale.value(share))
    if not scale.signed:
        return text + (" or more" if share == high and scale.largest > scale.high else "")
    if share > 0:
        text = f"+{text}"
    return text + (" for" if share == high > 0 else " against" if share == low else "")


def _own_text(share: float, scale: Scale) -> str:
    low, high = scale.ends
    if share == high:
        return "most for" if scale.signed else "own maximum"
    if share == low and low < 0:
        return "most against"
    if share == 0:
        return "own minimum" if not scale.signed and scale.low > 0 else "0"
    return "half" if abs(share) == 0.5 else f"{100 * abs(share):.0f} %"


def notes(style: Style, scale: Scale) -> tuple[str, ...]:
    """What stands below the key."""
    said = ["over dark → light"]
    if len(style.lines) == 1 and not scale.empty:
        whole = scale.low <= 0 and scale.largest <= scale.furthest
        said.append("line: half the maximum" if whole else "line: half of the scale")
    if scale.signed and style.lines:
        said.append("dashed: against")
    return tuple(said)


def draw_key(
    page: Page,
    style: Style,
    scale: Scale,
    x: float,
    top: float,
    height: float,
    *,
    own: bool = False,
) -> None:
    """The key, its numbers and its notes, `KEY_ROOM` wide and `height` high with the notes."""
    below = notes(style, scale)
    tall = height - LINE * NOTE * len(below) - 2
    size = page.size_of(x, top, KEY_WIDTH, tall)
    page.show(key_image(*size, style, scale), x, top, KEY_WIDTH, tall)
    low, high = scale.ends
    for mark in marks(scale, style, own=own):
        place = top + (high - mark.share) / (high - low) * tall
        page.fill(x + KEY_WIDTH, place - 0.25, _TICK, 0.5, "black")
        # The uppermost number hangs from the key's end, the lowest stands on it.
        line = min(max(place - NUMBER * 0.6, top - 1), top + tall - NUMBER * 1.05)
        page.write([mark.text], plain_font(), NUMBER, x + KEY_WIDTH + _TICK + 2, line)
    page.write(below, plain_font(), NOTE, x, top + tall + 3, color=NOTE_COLOR)


def _break(drawn: np.ndarray) -> None:
    """A slanted gap near the lower end: the scale does not start at 0."""
    height, width = drawn.shape[:2]
    if height < 40:
        return
    rows, columns = np.ogrid[:height, :width]
    slant = height - 0.06 * height + 0.02 * height * (0.5 - columns / width)
    drawn[np.abs(rows - slant) < max(1.0, 0.006 * height)] = 255
