"""Many pictures on one page and one scale: what a model looks at, picture after picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from seewhy.errors import ImageError
from seewhy.render.captions import Written, height_of, write, written
from seewhy.render.colormap import Limits, common_largest
from seewhy.render.grid import Head, column_heads, in_common
from seewhy.render.key import KEY_ROOM, draw_key
from seewhy.render.likeness import likeness
from seewhy.render.page import NOTE_COLOR, WARNING_COLOR, Page, box_of, fitted
from seewhy.render.panel import seen_panel, seen_size
from seewhy.render.scale import Scale, scale_of
from seewhy.render.style import CLEAR, Style
from seewhy.render.text import sentence, short_number, short_probability

if TYPE_CHECKING:
    from seewhy.render.takes import Explained, Truth

_MARGIN, _GAP = 14.0, 9.0
_SIDE, _TILES = 125.0, 6  # points of a tile; tiles in a row
_HEAD, _TITLE, _LABEL, _NOTE = 14.0, 9.5, 8.0, 6.5
_BESIDE = 110.0  # the width of what stands beside a row
_FRAME = 1.6
_KEY_TALL = 190.0
_REACH = 0.75  # of the pictures' maxima: the scale's end
_WEAK = 0.1  # of the scale's end


@dataclass(frozen=True)
class Tile:
    """What one tile says and how it is coloured, before it is drawn.

    Attributes:
        explanation: what is drawn.
        label: the target, where it is not what stands beside the row.
        notes: that the map is weak, and which other tile has the same map.
        scale: the values of the first and the last colour.
    """

    explanation: Explained
    label: str
    notes: tuple[str, ...]
    scale: Scale


@dataclass(frozen=True)
class Row:
    """One picture.

    Attributes:
        predicted: the class that the model named first, with its probability.
        truth: what it really is, in words; empty where that is not known.
        wrong: whether the model named another class.
        name: the file's.
        tiles: one a column.
    """

    predicted: str
    truth: str
    wrong: bool
    name: str
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Content:
    """All that a contact sheet says, before it is drawn.

    Attributes:
        title: how many pictures, and how many of them the model has wrong.
        notes: in which order they stand and what all have in common.
        columns: what stands above the columns.
        rows: the pictures.
        scales: by name, one where all tiles can be compared.
    """

    title: str
    notes: tuple[str, ...]
    columns: tuple[Head, ...]
    rows: tuple[Row, ...]
    scales: dict[str, Scale]


def content(
    rows: Sequence[Sequence[Explained]],
    *,
    truths: Sequence[Truth] = (),
    column_titles: Sequence[str] | None = None,
    limits: Limits | None = None,
    start: str | None = None,
) -> Content:
    """What the sheet says.

    Raises:
        ImageError: no picture, or limits that are no range.
    """
    if not rows or not rows[0]:
        raise ImageError("the sheet has no picture; at least one is wanted.")
    order = _order(rows, truths)
    rows = [rows[place] for place in order]
    truths = [truths[place] for place in order] if truths else []
    groups = {_group(one): one for row in rows for one in row}
    varying = [
        name for name in ("model", "method", "layer")
        if len({getattr(one, name) for one in groups.values()}) > 1
    ]  # fmt: skip
    scales = {
        group: common_scale(
            [o.map for row in rows for o in row if _group(o) == group], limits, start
        )
        for group in groups
    }
    named = {sentence([getattr(one, n) for n in varying]): scales[g] for g, one in groups.items()}
    targets = [{one.label for one in column} for column in zip(*rows, strict=True)]
    titled = [len(labels) == 1 and len(targets) > 1 for labels in targets]
    many = len(rows)
    wrong = sum(not truth.right for truth in truths)
    return Content(
        title=f"{wrong} of {many} wrong" if truths else f"{many} pictures",
        notes=(
            sentence(
                [
                    "wrong ones first, then right ones, both from the least certain"
                    if truths
                    else None,
                    "one scale for all" if len(named) == 1 else "one scale for each method",
                ]
            ),
            in_common([one for row in rows for one in row]),
        ),
        columns=tuple(column_heads(rows, column_titles)) if len(rows[0]) > 1 else (),
        rows=tuple(
            _row(row, truths[place] if truths else None, scales, titled)
            for place, row in enumerate(rows)
        ),
        scales=named,
    )


def common_scale(
    maps: Sequence[np.ndarray], limits: Limits | None = None, start: str | None = None
) -> Scale:
    """One scale for many pictures: it ends where three quarters of their maxima lie below.

    At the largest of all, one strong map would make all others look empty.
    """
    scale = scale_of(maps, limits=limits, start=start)
    if limits is not None or scale.empty:
        return scale
    largest = [common_largest(one, scale.signed) for one in maps]
    high = float(np.quantile([one for one in largest if one > scale.low], _REACH, method="higher"))
    return replace(scale, high=high, low=-high if scale.signed else scale.low)


def page_of(
    rows: Sequence[Sequence[Explained]],
    *,
    truths: Sequence[Truth] = (),
    column_titles: Sequence[str] | None = None,
    limits: Limits | None = None,
    start: str | None = None,
    style: Style = CLEAR,
) -> Page:
    """The sheet: tiles in rows, or a row for each picture where it has several maps.

    Args:
        rows: for each picture its explanations, as many for each.
        truths: one a picture, where they are known: the wrong ones stand first.
        column_titles: one a column.
        limits, start: as `seewhy.render.scale.scale_of` takes them.
        style: how the maps lie over the pictures.

    Raises:
        ImageError: no picture, or limits that are no range.
    """
    said = content(rows, truths=truths, column_titles=column_titles, limits=limits, start=start)
    several = bool(said.columns)
    per_row = len(said.columns) if several else min(_TILES, len(said.rows))
    width, height = box_of(seen_size(said.rows[0].tiles[0].explanation), _SIDE**2)
    width = max(width, 80.0)
    pitch = width + _GAP
    left = _MARGIN + (_BESIDE + _GAP if several else 0)
    key_left = left + per_row * pitch + 4
    page_width = max(key_left + KEY_ROOM + _MARGIN, 360.0)
    inner = page_width - 2 * _MARGIN
    head = [
        written(said.title, _HEAD, inner, 2, strong=True),
        *(written(note, _LABEL, inner, 3, color=NOTE_COLOR) for note in said.notes),
    ]
    titles = [
        [written(one.title, _TITLE, width, 3, strong=True),
         written(one.numbers, _NOTE, width, 2, color=NOTE_COLOR)]
        for one in said.columns
    ]  # fmt: skip
    titles_height = max(map(height_of, titles), default=0.0)
    top = _MARGIN + height_of(head) + 8
    grid_top = top + titles_height + (4 if titles_height else 0)

    lines = [said.rows[at : at + per_row] for at in range(0, len(said.rows), per_row)]
    if several:
        lines = [(row,) for row in said.rows]
    words = [
        [_tile_words(row, tile, width, whole=not several) for row in line for tile in row.tiles]
        for line in lines
    ]
    tops = [grid_top]
    for one in words:
        tops.append(tops[-1] + height + 3 + max(map(height_of, one)) + _GAP)
    keys_bottom = grid_top + len(said.scales) * (_KEY_TALL + 2 * _GAP)
    page = Page(page_width, max(tops[-1], keys_bottom) - _GAP + _MARGIN)
    write(page, head, _MARGIN, _MARGIN)
    for column, title in enumerate(titles):
        write(page, title, left + column * pitch, grid_top - 4 - height_of(title))
    for number, line in enumerate(lines):
        if several:
            write(page, _row_words(line[0]), _MARGIN, tops[number])
        tiles = [(row, tile) for row in line for tile in row.tiles]
        for column, (row, tile) in enumerate(tiles):
            box = (left + column * pitch, tops[number], width, height)
            _draw_tile(page, tile, row.wrong, box, style)
            write(page, words[number][column], box[0], tops[number] + height + 3)
    for number, (name, scale) in enumerate(said.scales.items()):
        place = grid_top + number * (_KEY_TALL + 2 * _GAP)
        named = written(name, _LABEL, KEY_ROOM, 1, strong=True)
        write(page, [named], key_left, place)
        draw_key(
            page, style, scale, key_left, place + named.height + 2, _KEY_TALL - named.height - 2
        )
    return page


def _order(rows: Sequence[Sequence[Explained]], truths: Sequence[Truth]) -> list[int]:
    """As they came; where the truth is known wrong ones first, both from the least certain."""
    if not truths:
        return list(range(len(rows)))
    if len(truths) != len(rows):
        raise ImageError(
            f"{len(truths)} true classes came for {len(rows)} pictures; one for each is wanted."
        )

    def certain(place: int) -> float:
        predictions = rows[place][0].predictions
        probability = predictions[0].probability if predictions else None
        return 1.0 if probability is None else probability

    return sorted(range(len(rows)), key=lambda place: (truths[place].right, certain(place)))


def _group(one: Explained) -> str:
    """What tiles must share for one scale to mean the same in them."""
    return sentence([one.model, one.method, one.layer])


def _row(
    row: Sequence[Explained],
    truth: Truth | None,
    scales: dict[str, Scale],
    titled: Sequence[bool],
) -> Row:
    """A picture's row; of the columns that are `titled` the target stands above."""
    first = row[0].predictions[0] if row[0].predictions else None
    predicted = row[0].label if first is None else first.label
    if first is not None and first.probability is not None:
        predicted += f"  p {short_probability(first.probability)}"
    said = ""
    if truth is not None:
        said = "right" if truth.right else f"is {truth.label}"
    alike = likeness(row)
    tiles = tuple(
        _tile(
            one, scales[_group(one)], same, said_above or first is None or one.label == first.label
        )
        for one, same, said_above in zip(row, alike, titled, strict=True)
    )
    return Row(predicted, said, truth is not None and not truth.right, row[0].image or "", tiles)


def _tile(one: Explained, scale: Scale, same: str, known: bool) -> Tile:
    largest = common_largest(one.map, scale.signed)
    weak = not scale.empty and scale.low <= 0 and 0 < largest < _WEAK * scale.high
    notes = [f"map weak: at most {short_number(largest)}" if weak else "", same]
    label = "" if known else one.label
    return Tile(one, label, tuple(note for note in notes if note), scale)


def _tile_words(row: Row, tile: Tile, width: float, *, whole: bool) -> list[Written]:
    label = written(f"of {tile.label}" if tile.label else "", _LABEL, width, 2)
    notes = [written(note, _NOTE, width, 2, color=NOTE_COLOR) for note in tile.notes]
    return [*(_row_words(row, width) if whole else []), label, *notes]


def _row_words(row: Row, width: float = _BESIDE) -> list[Written]:
    color = WARNING_COLOR if row.wrong else "black"
    return [
        written(row.predicted, _LABEL, width, 2, color=color, strong=True),
        written(row.truth, _LABEL, width, 2, color=color),
        written(row.name, _NOTE, width, 2, color=NOTE_COLOR),
    ]


def _draw_tile(
    page: Page, tile: Tile, wrong: bool, box: tuple[float, float, float, float], style: Style
) -> None:
    left, top, width, height = box
    x, y, w, h = fitted(seen_size(tile.explanation), width, height)
    place = (left + x, top + y, w, h)
    if wrong:
        page.fill(
            place[0] - _FRAME, place[1] - _FRAME, w + 2 * _FRAME, h + 2 * _FRAME, WARNING_COLOR
        )
    page.show(seen_panel(tile.explanation, page.size_of(*place), style, tile.scale), *place)
