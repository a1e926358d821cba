"""Concepts in colours over their pictures, and a legend of the classes they speak for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from seewhy.errors import ImageError
from seewhy.render.feature_maps import resized, taps, thumbnail_of
from seewhy.render.overlay import checked_picture
from seewhy.render.style import checked_opacity
from seewhy.render.text import (
    lettering,
    pillow_font,
    plain_font,
    sentence,
    short_number,
    short_probability,
    wrap,
)

if TYPE_CHECKING:
    from seewhy.render.takes import Parts, Window

# Okabe and Ito's, which people who see two of the three primary colours tell apart, and two more.
COLORS = (
    (230, 97, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (204, 102, 177),
    (0, 84, 190),
    (150, 75, 20),
    (170, 240, 170),
)
_GAP, _BETWEEN, _MARGIN = 3, 16, 14  # pixels
_TEXT, _NAME = 17, 14  # pixels: of the words, of a picture's name
_LINE = 25
_NARROWEST = 560
_NAMED = 0.01  # a class less probable is left out, the first excepted
_MARKED = 0.5  # of a concept's largest value: from there a picture carries its number


def draw_concepts(
    concepts: Parts, *, columns: int | None = None, opacity: float = 0.7, tile: int = 250
) -> Image.Image:
    """Each picture beside itself in the colours of its concepts; below, what the colours mean.

    A colour is as dense as its concept is strong there, measured by the concept's largest value
    in all the pictures; where concepts meet, the stronger one's colour prevails. A concept's number
    stands where it is strongest, in each picture that holds half of its largest value.

    Args:
        concepts: what is drawn.
        columns: pictures in a row; None makes rows of up to three.
        opacity: of the colour where a concept is strongest, 0 to 1.
        tile: pixels of a picture's longer side.

    Raises:
        ImageError: more concepts than colours, no picture, or a number out of its range.
    """
    count = len(concepts.directions)
    if count > len(COLORS):
        raise ImageError(
            f"{count} concepts came, and only {len(COLORS)} colours can be told apart; find fewer."
        )
    if not concepts.maps:
        raise ImageError("no picture came; concepts are drawn over at least one.")
    if tile < 40 or (columns is not None and columns < 1):
        raise ImageError(
            f"columns={columns}, tile={tile}: at least 1 column and tiles of at least 40 pixels "
            "are wanted."
        )
    opacity = checked_opacity(opacity)
    pairs = [
        _pair(checked_picture(picture), maps, window, _largest(concepts.maps), opacity, tile)
        for picture, maps, window in zip(
            concepts.pictures, concepts.maps, concepts.windows, strict=True
        )
    ]
    columns = min(columns or 3, len(pairs))
    width = max(pair.width for pair in pairs)
    # Of one picture the name stands above.
    names = [name or "" for name in concepts.images] if len(pairs) > 1 else [""] * len(pairs)
    captions = [_caption(name, pair.width) for name, pair in zip(names, pairs, strict=True)]
    below_pair = _LINE if any(text for text, _ in captions) else 0
    rows = [
        list(zip(pairs, captions, strict=True))[first : first + columns]
        for first in range(0, len(pairs), columns)
    ]
    heights = [max(pair.height for pair, _ in row) + below_pair for row in rows]
    page_width = max(columns * (width + _BETWEEN) - _BETWEEN + 2 * _MARGIN, _NARROWEST)
    room = 0.95 * (page_width - 2 * _MARGIN)  # Pillow sets each letter to whole pixels
    head = _written(header(concepts), room)
    entries = [_written([line], room - 2 * _LINE) for line in legend(concepts)]

    top = _MARGIN + _LINE * len(head) + 4
    below = top + sum(heights) + _BETWEEN * len(rows)
    lines = sum(max(1, len(entry)) for entry in entries)
    page = Image.new("RGB", (page_width, below + (_LINE + 3) * lines + _MARGIN), "white")
    draw = ImageDraw.Draw(page)
    for line, (text, font) in enumerate(head):
        place = (_MARGIN, _MARGIN + _LINE * line + _TEXT)
        draw.text(place, text, "black", pillow_font(font, _TEXT), anchor="ls")
    for row, height in zip(rows, heights, strict=True):
        for column, (pair, (text, font)) in enumerate(row):
            left = _MARGIN + column * (width + _BETWEEN)
            page.paste(pair, (left, top))
            place = (left, top + pair.height + _NAME + 2)
            draw.text(place, text, "#555555", pillow_font(font, _NAME), anchor="ls")
        top += height + _BETWEEN
    for number, entry in enumerate(entries):
        _badge(draw, (_MARGIN + _LINE // 2, below + _LINE // 2), number, radius=_LINE // 2 - 1)
        for text, font in entry:
            place = (_MARGIN + _LINE + 8, below + _LINE // 2)
            draw.text(place, text, "black", pillow_font(font, _TEXT), anchor="lm")
            below += _LINE + 3
    return page


def header(concepts: Parts) -> tuple[str, ...]:
    """What is written above the pictures."""
    count, pictures = len(concepts.directions), len(concepts.maps)
    name = next(iter(concepts.images), None) if pictures == 1 else f"{pictures} pictures"
    return (
        sentence(
            [
                f"{count} concept{'s' if count != 1 else ''} of layer {concepts.layer}",
                f"{100 * concepts.explained:.0f} % of its energy",
                f"model {concepts.model}",
                name,
            ]
        ),
        "p, score: what the network gives the class if its layer has this concept alone",
    )


def legend(concepts: Parts) -> tuple[str, ...]:
    """For each concept the classes that it speaks for alone, with their probabilities."""
    return tuple(
        sentence(
            [
                f"{name} score {short_number(one.score)}"
                if one.probability is None
                else f"{name} p {short_probability(one.probability)}"
                for place, (name, one) in enumerate(zip(names, classes, strict=True))
                if place == 0 or one.probability is None or one.probability >= _NAMED
            ]
        )
        or "the network names no classes"
        for names, classes in zip(concepts.names, concepts.classes, strict=True)
    )


def colored(shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mixed colour of each pixel (height, width, 3), and how dense it is (height, width, 1).

    Args:
        shares: `(concepts, height, width)`, 0 to 1.
    """
    # By their squares, so that a mixture stays near the stronger one's colour and does not go grey.
    weights = shares.astype(np.float64)[..., None] ** 2
    total = weights.sum(0)
    palette = np.array(COLORS, np.float64)[: len(shares), None, None]
    mixed = (weights * palette).sum(0) / np.where(total == 0, 1, total)
    return mixed, shares.max(0)[..., None]


def _pair(
    picture: np.ndarray,
    maps: np.ndarray,
    window: Window,
    largest: np.ndarray,
    opacity: float,
    tile: int,
) -> Image.Image:
    """What the model saw of a picture, and the same in grey under its concepts' colours."""
    seen, window = thumbnail_of(picture, window, tile)
    height, width = seen.shape[:2]
    down = taps(window.top, window.bottom, maps.shape[1], height)
    across = taps(window.left, window.right, maps.shape[2], width)
    shares = np.asarray(maps, np.float32) / np.where(largest == 0, 1, largest)[:, None, None]
    finer = resized(shares, down, across).clip(0, 1)
    mixed, density = colored(finer)
    grey = np.asarray(Image.fromarray(seen).convert("L"), np.float64)[..., None]
    drawn = grey * (1 - opacity * density) + mixed * opacity * density
    pair = Image.new("RGB", (2 * width + _GAP, height), "white")
    pair.paste(Image.fromarray(seen), (0, 0))
    pair.paste(Image.fromarray(drawn.round().astype(np.uint8)), (width + _GAP, 0))
    draw = ImageDraw.Draw(pair)
    for number, share in enumerate(finer):
        if share.max() >= _MARKED:
            row, column = np.unravel_index(share.argmax(), share.shape)
            radius = 9
            x = min(max(int(column), radius + 1), width - radius - 2) + width + _GAP
            y = min(max(int(row), radius + 1), height - radius - 2)
            _badge(draw, (x, y), number, radius=radius)
    return pair


def _largest(maps: Sequence[np.ndarray]) -> np.ndarray:
    """(concepts,) the largest value of each in all pictures."""
    return np.asarray(np.max([one.max((1, 2)) for one in maps], axis=0))


def _caption(name: str, width: int) -> tuple[str, str]:
    """A picture's name on one line below it, and its font."""
    line = lettering(name)
    return (wrap(line, _NAME, 0.95 * width, 1)[0] if line.text else ""), line.font


def _badge(draw: ImageDraw.ImageDraw, center: tuple[int, int], number: int, *, radius: int) -> None:
    """A disc in the concept's colour with its number, from 1."""
    x, y = center
    color = COLORS[number]
    box = (x - radius, y - radius, x + radius, y + radius)
    draw.ellipse(box, fill=color, outline="white" if radius < _LINE // 2 - 1 else "black")
    brightness = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]
    ink = "black" if brightness > 110 else "white"
    font = pillow_font(plain_font(), round(1.3 * radius))
    draw.text((x, y), str(number + 1), ink, font, anchor="mm")


def _written(lines: Sequence[str], room: float) -> list[tuple[str, str]]:
    """The lines broken to the room there is, each with its font."""
    return [
        (piece, line.font) for line in map(lettering, lines) for piece in wrap(line, _TEXT, room)
    ]
