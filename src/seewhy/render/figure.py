"""One explanation: the picture, the map over it, and what it shows in words and numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from seewhy.render.key import KEY_ROOM, draw_key
from seewhy.render.overlay import checked_picture
from seewhy.render.page import (
    LINE,
    NOTE_COLOR,
    WARNING_COLOR,
    Page,
    box_of,
    fitted,
)
from seewhy.render.panel import heat_panel, panel, resized_to
from seewhy.render.scale import Scale, scale_of
from seewhy.render.style import CLEAR, Style
from seewhy.render.text import (
    bold,
    lettering,
    sentence,
    short_number,
    short_probability,
    text_width,
    wrap,
)

if TYPE_CHECKING:
    from seewhy.render.takes import Explained

_MARGIN, _GAP = 14.0, 10.0
_AREA = 250.0**2  # square points of each of the two pictures
_NARROWEST = 440.0  # between the margins, for the words beside narrow pictures
_TITLE, _NUMBERS, _NOTE, _WARNING = 14.0, 9.5, 8.0, 9.0


@dataclass(frozen=True)
class Content:
    """All that a figure says, before it is drawn.

    Attributes:
        label: the target in words.
        numbers: its probability and score.
        notes: method, layer, model and image; the raw map's size and range, and the scale.
        warnings: the explanation's.
        scale: the values of the first and the last colour.
    """

    label: str
    numbers: str
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    scale: Scale


def content(explanation: Explained, scale: Scale | None = None) -> Content:
    """What the figure of `explanation` says."""
    scale = scale or scale_of([explanation.map])
    return Content(
        label=explanation.label,
        numbers=numbers(explanation),
        notes=(
            sentence(
                [
                    f"method {explanation.method}",
                    f"layer {explanation.layer}",
                    f"model {explanation.model}",
                    f"image {explanation.image}" if explanation.image else None,
                ]
            ),
            sentence([raw_range(explanation.map), scale.words()]),
        ),
        warnings=explanation.warnings,
        scale=scale,
    )


def page_of(
    explanation: Explained,
    *,
    style: Style = CLEAR,
    scale: Scale | None = None,
    heat: bool = False,
) -> Page:
    """The picture beside its overlay, with title, key, sources and warnings.

    Args:
        explanation: what to draw.
        style: how the map lies over the picture.
        scale: the values of the first and the last colour; None takes the map's own.
        heat: whether to draw the map alone as well.
    """
    said = content(explanation, scale)
    picture = checked_picture(explanation.picture)
    size = picture.shape[:2]
    box_width, box_height = box_of(size, _AREA)
    panels = 3 if heat else 2
    inner = max(_NARROWEST, panels * (box_width + _GAP) + KEY_ROOM)

    title = _Title(said.label, said.numbers, inner)
    notes = [(wrap(line, _NOTE, inner, lines=3), line.font) for line in map(lettering, said.notes)]
    warnings = [
        (wrap(line, _WARNING, inner, lines=4), line.font)
        for line in (lettering(f"Warning: {warning}") for warning in said.warnings)
    ]

    pictures_top = _MARGIN + title.height + 6
    notes_top = pictures_top + box_height + 8
    warnings_top = notes_top + LINE * _NOTE * sum(len(lines) for lines, _ in notes) + 4
    bottom = warnings_top + LINE * _WARNING * sum(len(lines) for lines, _ in warnings)
    page = Page(inner + 2 * _MARGIN, bottom + (_MARGIN if warnings else _MARGIN - 4))

    title.draw(page, _MARGIN, _MARGIN)
    x, y, width, height = fitted(size, box_width, box_height)
    lefts = [_MARGIN + number * (box_width + _GAP) + x for number in range(panels)]
    top = pictures_top + y
    pixels = page.size_of(lefts[0], top, width, height)
    small = resized_to(picture, pixels)
    shown = [Image.fromarray(small), panel(explanation, small, style, said.scale)]
    if heat:
        shown.append(heat_panel(explanation, pixels, style, said.scale))
    for one, left in zip(shown, lefts, strict=True):
        page.show(one, left, top, width, height)
    key_left = _MARGIN + panels * (box_width + _GAP)
    draw_key(page, style, said.scale, key_left, pictures_top, box_height)
    for lines, font in notes:
        page.write(lines, font, _NOTE, _MARGIN, notes_top, color=NOTE_COLOR)
        notes_top += LINE * _NOTE * len(lines)
    for lines, font in warnings:
        page.write(lines, font, _WARNING, _MARGIN, warnings_top, color=WARNING_COLOR)
        warnings_top += LINE * _WARNING * len(lines)
    return page


class _Title:
    """The label in bold, and its numbers behind it, or below where they do not fit."""

    def __init__(self, label: str, numbers: str, width: float) -> None:
        line = lettering(label)
        self.font = bold(line.font)
        shown = type(line)(line.text, self.font)
        self.lines = wrap(shown, _TITLE, width, lines=2) if line.text else []
        self.numbers, self.numbers_font = numbers, lettering(numbers).font
        self.end = text_width(self.lines[-1], self.font, _TITLE) + 8 if self.lines else 0.0
        room = text_width(numbers, self.numbers_font, _NUMBERS)
        self.below = self.end + room > width
        self.height = LINE * _TITLE * len(self.lines)
        if self.below or not self.lines:
            self.height += LINE * _NUMBERS

    def draw(self, page: Page, x: float, top: float) -> None:
        page.write(self.lines, self.font, _TITLE, x, top)
        if self.below or not self.lines:
            place, left = top + LINE * _TITLE * len(self.lines), x
        else:  # on one baseline
            place = top + LINE * _TITLE * (len(self.lines) - 1) + 0.95 * (_TITLE - _NUMBERS)
            left = x + self.end
        page.write([self.numbers], self.numbers_font, _NUMBERS, left, place, color=NOTE_COLOR)


def numbers(explanation: Explained) -> str:
    """Probability and score, as titles print them."""
    probability = explanation.probability
    return sentence(
        [
            None if probability is None else f"p {short_probability(probability)}",
            f"score {short_number(explanation.score)}",
        ]
    )


def raw_range(raw: np.ndarray, missing: str = "stripes") -> str:
    """The raw map's size and range in words, and as what its missing values are drawn."""
    finite = raw[np.isfinite(raw)]
    size = " × ".join(map(str, raw.shape))
    if not finite.size:
        return f"raw map {size}, no finite value · {missing}: not a number"
    low, high = short_number(finite.min()), short_number(finite.max())
    return sentence(
        [
            f"raw map {size}, " + (f"{low} everywhere" if low == high else f"{low} to {high}"),
            f"{missing}: not a number" if np.isnan(raw).any() else None,
        ]
    )
