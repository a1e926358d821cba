"""One explanation: the picture, the map over it, and what it shows in words and numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from seewhy.render.colormap import (
    Limits,
    checked_limits,
    color_range,
    default_colormap,
)
from seewhy.render.overlay import overlay
from seewhy.render.page import (
    BAR_ROOM,
    LINE,
    NOTE_COLOR,
    WARNING_COLOR,
    Page,
    box_of,
    fitted,
)
from seewhy.render.text import (
    lettering,
    sentence,
    short_number,
    short_probability,
    wrap,
    wrap_with_end,
)

if TYPE_CHECKING:
    from seewhy.render.drawing import Drawing
    from seewhy.render.takes import Explained

_MARGIN, _GAP = 14.0, 10.0
_AREA = 250.0**2  # square points of each of the two pictures
_NARROWEST = 440.0  # between the margins, for the words beside narrow pictures
_TITLE, _NOTE, _WARNING = 13.0, 8.0, 9.0


@dataclass(frozen=True)
class Content:
    """All that a figure says, before it is drawn.

    Attributes:
        label: the target in words.
        numbers: its probability and score.
        notes: method, layer, model and image; the raw map's size and range.
        warnings: the explanation's.
        limits: the values of the first and the last colour.
        colormap: matplotlib's name of it.
    """

    label: str
    numbers: str
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    limits: Limits
    colormap: str


def content(
    explanation: Explained, *, colormap: str | None = None, limits: Limits | None = None
) -> Content:
    """What the figure of `explanation` says."""
    if limits is None:
        limits = color_range([explanation.map], explanation.signed)
    limits = checked_limits(limits)
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
            raw_range(explanation.map),
        ),
        warnings=explanation.warnings,
        limits=limits,
        colormap=colormap or default_colormap(limits),
    )


def figure(
    explanation: Explained,
    *,
    colormap: str | None = None,
    opacity: float = 0.5,
    limits: Limits | None = None,
) -> Drawing:
    """The picture beside its overlay, with title, colour bar, sources and warnings.

    Args:
        explanation: what to draw.
        colormap: matplotlib's name of one; None chooses by whether the map is signed.
        opacity: the share of the colour in each pixel of the overlay, 0 to 1.
        limits: the values of the first and the last colour; None is 0 to the raw map's largest
            value, or as far below 0 as above for a signed map, but for the 0.5 % of a large map
            that lie furthest from 0.

    Raises:
        ImageError: an unknown colour map, limits that are not a range, an opacity beyond 0..1.
    """
    said = content(explanation, colormap=colormap, limits=limits)
    laid = overlay(
        explanation.picture,
        explanation.heatmap,
        explanation.window,
        colormap=said.colormap,
        opacity=opacity,
        limits=said.limits,
    )
    size = explanation.picture.shape[:2]
    box_width, box_height = box_of(size, _AREA)
    inner = max(_NARROWEST, 2 * box_width + _GAP + BAR_ROOM)

    title, title_font = wrap_with_end(said.label, said.numbers, _TITLE, inner, lines=2)
    notes = [(wrap(line, _NOTE, inner, lines=3), line.font) for line in map(lettering, said.notes)]
    warnings = [
        (wrap(line, _WARNING, inner, lines=4), line.font)
        for line in (lettering(f"Warning: {warning}") for warning in said.warnings)
    ]

    pictures_top = _MARGIN + len(title) * LINE * _TITLE + 4
    notes_top = pictures_top + box_height + 8
    warnings_top = notes_top + LINE * _NOTE * sum(len(lines) for lines, _ in notes) + 4
    bottom = warnings_top + LINE * _WARNING * sum(len(lines) for lines, _ in warnings)
    page = Page(inner + 2 * _MARGIN, bottom + (_MARGIN if warnings else _MARGIN - 4))

    page.write(title, title_font, _TITLE, _MARGIN, _MARGIN)
    x, y, width, height = fitted(size, box_width, box_height)
    overlay_left = _MARGIN + box_width + _GAP
    page.show(Image.fromarray(explanation.picture), _MARGIN + x, pictures_top + y, width, height)
    page.show(laid, overlay_left + x, pictures_top + y, width, height)
    page.colour_bar(
        said.limits, said.colormap, overlay_left + box_width + 6, pictures_top, box_height
    )
    for lines, font in notes:
        page.write(lines, font, _NOTE, _MARGIN, notes_top, color=NOTE_COLOR)
        notes_top += LINE * _NOTE * len(lines)
    for lines, font in warnings:
        page.write(lines, font, _WARNING, _MARGIN, warnings_top, color=WARNING_COLOR)
        warnings_top += LINE * _WARNING * len(lines)
    return page.figure


def numbers(explanation: Explained) -> str:
    """Probability and score, as titles print them."""
    probability = explanation.probability
    return sentence(
        [
            None if probability is None else f"p {short_probability(probability)}",
            f"score {short_number(explanation.score)}",
        ]
    )


def raw_range(raw: np.ndarray) -> str:
    """The raw map's size and range in words, and what its grey means."""
    finite = raw[np.isfinite(raw)]
    size = " × ".join(map(str, raw.shape))
    if not finite.size:
        return f"raw map {size}, no finite value · grey: not a number"
    low, high = short_number(finite.min()), short_number(finite.max())
    return sentence(
        [
            f"raw map {size}, " + (f"{low} everywhere" if low == high else f"{low} to {high}"),
            "grey: not a number" if np.isnan(raw).any() else None,
        ]
    )
