"""Many explanations in rows and columns: methods, layers, targets, models side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seewhy.errors import ImageError
from seewhy.render.captions import Written, height_of, write, written
from seewhy.render.colormap import Limits
from seewhy.render.figure import numbers
from seewhy.render.key import KEY_ROOM, draw_key
from seewhy.render.likeness import likeness
from seewhy.render.page import NOTE_COLOR, WARNING_COLOR, Page, box_of, fitted
from seewhy.render.panel import seen_panel, seen_size
from seewhy.render.scale import Scale, scale_of
from seewhy.render.style import CLEAR, Style
from seewhy.render.text import sentence, short_number

if TYPE_CHECKING:
    from seewhy.render.takes import Explained

_MARGIN, _GAP = 12.0, 8.0
_SIDE_OF_FEW, _SIDE_OF_MANY, _ALL_COLUMNS = 190.0, 110.0, 900.0
_TITLES_LEFT = 92.0  # the width of the row titles
_NARROWEST = 300.0
_TITLE, _LABEL, _NOTE = 10.0, 8.0, 7.0
_TALLEST_KEY, _SHORTEST_KEY = 240.0, 90.0


@dataclass(frozen=True)
class Head:
    """What stands above a column or beside a row.

    Attributes:
        title: what its cells have in common.
        numbers: the probability and the score that they have in common, or empty.
    """

    title: str
    numbers: str


@dataclass(frozen=True)
class Cell:
    """What one cell says and how it is coloured, before it is drawn.

    Attributes:
        explanation: what is drawn.
        label: the target in words, with its numbers; empty where a title has said it.
        note: the cell's own range; empty where one scale serves all.
        same: which earlier cell shows the same map, or empty.
        warning: the explanation's first warning, or empty.
        scale: the values of the first and the last colour.
    """

    explanation: Explained
    label: str
    note: str
    same: str
    warning: str
    scale: Scale


@dataclass(frozen=True)
class Content:
    """All that a grid says, before it is drawn.

    Attributes:
        columns, rows: the heads.
        cells: row by row; None where there is none.
        shared: what all cells have in common.
    """

    columns: tuple[Head, ...]
    rows: tuple[Head, ...]
    cells: tuple[tuple[Cell | None, ...], ...]
    shared: str


def content(
    rows: Sequence[Sequence[Explained | None]],
    *,
    row_titles: Sequence[str] | None = None,
    column_titles: Sequence[str] | None = None,
    same_scale: bool = False,
    limits: Limits | None = None,
    start: str | None = None,
) -> Content:
    """What the grid says.

    Raises:
        ImageError: no explanation at all, rows of different lengths, titles that are not one a
            row or column, or limits that are no range.
    """
    lengths = [len(row) for row in rows]
    if len(set(lengths)) > 1:
        raise ImageError(
            f"the rows of the grid have {', '.join(map(str, lengths))} cells; all need as many: "
            "put None where one is missing."
        )
    present = [one for row in rows for one in row if one is not None]
    if not present:
        raise ImageError("the grid has no explanation; at least one is wanted.")
    row_titles = _checked_titles(row_titles, len(rows), "row")
    heads = column_heads(rows, column_titles)
    sides = [_head(title, cells) for title, cells in zip(row_titles, rows, strict=True)]
    if all(head.numbers for head in heads):
        sides = [Head(side.title, "") for side in sides]
    elif all(side.numbers for side in sides):
        heads = [Head(head.title, "") for head in heads]
    else:
        heads = [Head(head.title, "") for head in heads]
        sides = [Head(side.title, "") for side in sides]
    common = None
    if same_scale or limits is not None:
        common = scale_of((one.map for one in present), limits=limits, start=start)
    alike = iter(likeness([one for row in rows for one in row]))
    cells = tuple(
        tuple(
            _cell(one, same, head, side, common, start)
            for one, head, same in zip(row, heads, alike, strict=False)
        )
        for row, side in zip(rows, sides, strict=True)
    )
    return Content(tuple(heads), tuple(sides), cells, in_common(present))


def page_of(
    rows: Sequence[Sequence[Explained | None]],
    *,
    row_titles: Sequence[str] | None = None,
    column_titles: Sequence[str] | None = None,
    same_scale: bool = False,
    limits: Limits | None = None,
    start: str | None = None,
    style: Style = CLEAR,
) -> Page:
    """Overlays in rows and columns with their titles, ranges and keys.

    Args:
        rows: as many explanations in each; None leaves a cell empty.
        row_titles: one a row, written to its left.
        column_titles: one a column, written above.
        same_scale: one range of values for all; otherwise each cell has its own range and prints
            it.
        limits, start: as `seewhy.render.scale.scale_of` takes them; limits hold for all.
        style: how the maps lie over the pictures.

    Raises:
        ImageError: rows of different lengths, titles that are not one a row or column, nothing to
            draw, or limits that are no range.
    """
    said = content(
        rows, row_titles=row_titles, column_titles=column_titles, same_scale=same_scale,
        limits=limits, start=start,
    )  # fmt: skip
    table = said.cells
    present = [cell for row in table for cell in row if cell is not None]

    # Cells shrink as columns are added, down to a size at which their labels can still be read.
    side = min(max(_ALL_COLUMNS / len(table[0]), _SIDE_OF_MANY), _SIDE_OF_FEW)
    box_width, box_height = box_of(seen_size(present[0].explanation), side**2)
    box_width = max(box_width, 80.0)  # narrower, and every word of a label would be broken

    beside = any(head.title or head.numbers for head in said.rows)
    left = _MARGIN + (_TITLES_LEFT + _GAP if beside else 0)
    pitch = box_width + _GAP
    keys = _keys(present, same_scale or limits is not None)
    key_left = left + len(table[0]) * pitch + 4
    width = max(key_left + KEY_ROOM + _MARGIN, _NARROWEST)

    heads = [_written_head(head, box_width) for head in said.columns]
    head_height = max(map(height_of, heads))
    captions = [
        [None if cell is None else _caption(cell, box_width) for cell in row] for row in table
    ]
    caption_heights = [max((height_of(one) for one in row if one), default=0.0) for row in captions]
    top = _MARGIN + head_height + (4 if head_height else 0)
    tops = [top]
    for height in caption_heights:
        tops.append(tops[-1] + box_height + 2 + height + _GAP)
    tops[-1] = max(tops[-1], top + len(keys) * (_SHORTEST_KEY + _GAP))
    footer = written(said.shared, _NOTE + 1, width - 2 * _MARGIN, 3, color=NOTE_COLOR)
    page = Page(width, tops[-1] + footer.height + _MARGIN)

    for column, head in enumerate(heads):
        # Short titles stand on the pictures, not high above them.
        place = _MARGIN + head_height - height_of(head)
        write(page, head, left + column * pitch, place)
    for row, cells_of_row in enumerate(table):
        words = _written_head(said.rows[row], _TITLES_LEFT, lines=4)
        write(page, words, _MARGIN, tops[row] + max(0, (box_height - height_of(words)) / 2))
        for column, cell in enumerate(cells_of_row):
            if cell is not None:
                box = (left + column * pitch, tops[row], box_width, box_height)
                _draw_cell(page, cell, box, style)
                write(page, captions[row][column] or (), box[0], tops[row] + box_height + 2)
    room = tops[-1] - _GAP - top
    tall = min(max(room / len(keys) - _GAP, _SHORTEST_KEY), _TALLEST_KEY)
    for number, (scale, own) in enumerate(keys):
        draw_key(page, style, scale, key_left, top + number * (tall + _GAP), tall, own=own)
    write(page, [footer], _MARGIN, tops[-1])
    return page


def column_heads(
    rows: Sequence[Sequence[Explained | None]], titles: Sequence[str] | None
) -> list[Head]:
    """What stands above each column."""
    titles = _checked_titles(titles, len(rows[0]), "column")
    columns = zip(*rows, strict=True)
    return [_head(title, cells) for title, cells in zip(titles, columns, strict=True)]


def _head(title: str, cells: Sequence[Explained | None]) -> Head:
    """A title with the numbers of the target, where all cells have the same target."""
    present = [one for one in cells if one is not None]
    said = {(one.label, numbers(one)) for one in present}
    if len(said) != 1:
        return Head(title, "")
    label, figures = said.pop()
    return Head(title, figures if title == label else sentence([label, figures]))


def _cell(
    one: Explained | None,
    same: str,
    head: Head,
    side: Head,
    common: Scale | None,
    start: str | None,
) -> Cell | None:
    if one is None:
        return None
    scale = common or scale_of([one.map], start=start)
    said = head.numbers or side.numbers
    titled = one.label in (head.title, side.title)
    return Cell(
        explanation=one,
        label="" if said else numbers(one) if titled else sentence([one.label, numbers(one)]),
        note="" if common else range_of(scale),
        same=same,
        warning=one.warnings[0] if one.warnings else "",
        scale=scale,
    )


def range_of(scale: Scale) -> str:
    """A map's own range, as the note below it says it."""
    if scale.empty:
        return f"{short_number(scale.low)} everywhere"
    high = short_number(scale.high)
    said = f"-{high} to {high}" if scale.signed else f"{short_number(scale.low)} to {high}"
    if scale.largest > scale.high:
        said += f", largest {short_number(scale.largest)}"
    return said


def _keys(present: Sequence[Cell], common: bool) -> list[tuple[Scale, bool]]:
    """The scales whose keys are drawn, and whether each cell has its own: one of every kind."""
    if common:
        return [(present[0].scale, False)]
    kinds: dict[tuple[bool, bool], Scale] = {}
    for cell in present:
        if not cell.scale.empty:
            kinds.setdefault((cell.scale.signed, cell.scale.low > 0), cell.scale)
    if not kinds:
        return [(present[0].scale, False)]
    return [(scale, len(present) > 1) for scale in kinds.values()]


def _draw_cell(
    page: Page, cell: Cell, box: tuple[float, float, float, float], style: Style
) -> None:
    """What the model saw, under its map, in a box (left, top, width, height) of the page."""
    left, top, width, height = box
    x, y, w, h = fitted(seen_size(cell.explanation), width, height)
    place = (left + x, top + y, w, h)
    page.show(seen_panel(cell.explanation, page.size_of(*place), style, cell.scale), *place)


def _written_head(head: Head, width: float, lines: int = 3) -> list[Written]:
    return [
        written(head.title, _TITLE, width, lines, strong=True),
        written(head.numbers, _NOTE, width, 2, color=NOTE_COLOR),
    ]


def _caption(cell: Cell, width: float) -> list[Written]:
    return [
        written(cell.label, _LABEL, width, 3),
        written(cell.note, _NOTE, width, 2, color=NOTE_COLOR),
        written(cell.same, _NOTE, width, 3, color=WARNING_COLOR),
        written(cell.warning, _NOTE, width, 2, color=WARNING_COLOR),
    ]


def in_common(present: Sequence[Explained]) -> str:
    """What all cells share, so that the figure says it once, and what is drawn."""
    shared: list[str | None] = []
    for name in ("method", "layer", "model", "image"):
        values = {getattr(one, name) for one in present}
        if len(values) == 1 and None not in values:
            shared.append(f"{name} {values.pop()}")
    if any(_left_out(one) for one in present):
        shared.append("only what the model saw is drawn")
    return sentence(shared)


def _left_out(one: Explained) -> bool:
    return seen_size(one) != one.picture.shape[:2]


def _checked_titles(titles: Sequence[str] | None, wanted: int, kind: str) -> Sequence[str]:
    if titles is None:
        return [""] * wanted
    if len(titles) != wanted:
        raise ImageError(
            f"{len(titles)} {kind} titles came for {wanted} {kind}s; one for each is wanted."
        )
    return titles
