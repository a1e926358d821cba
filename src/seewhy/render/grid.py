"""Many explanations in rows and columns: methods, layers, targets, models side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seewhy.errors import ImageError
from seewhy.render.colormap import Limits, color_range, default_colormap, value_range
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

_MARGIN, _GAP = 12.0, 8.0
_SIDE_OF_FEW, _SIDE_OF_MANY, _ALL_COLUMNS = 190.0, 110.0, 900.0
_TITLES_LEFT = 92.0  # the width of the row titles
_NARROWEST = 300.0
_TITLE, _LABEL, _NOTE = 10.0, 8.0, 7.0
_TALLEST_BAR = 300.0


@dataclass(frozen=True)
class Cell:
    """What one cell says and how it is coloured, before it is drawn.

    Attributes:
        explanation: what is drawn.
        label: the target in words.
        probability: as printed; empty if the model gives none.
        note: the cell's own largest value; empty where one scale serves all.
        warning: the explanation's first warning, or empty.
        limits: the values of the first and the last colour.
        colormap: matplotlib's name of it.
    """

    explanation: Explained
    label: str
    probability: str
    note: str
    warning: str
    limits: Limits
    colormap: str


def cells(
    rows: Sequence[Sequence[Explained | None]],
    *,
    same_scale: bool = False,
    colormap: str | None = None,
) -> list[list[Cell | None]]:
    """What each cell of the grid says.

    Raises:
        ImageError: no explanation at all, or rows of different lengths.
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
    common: Limits | None = None
    if same_scale:
        common = color_range((one.map for one in present), any(one.signed for one in present))
    return [[None if one is None else _cell(one, common, colormap) for one in row] for row in rows]


def grid(
    rows: Sequence[Sequence[Explained | None]],
    *,
    row_titles: Sequence[str] | None = None,
    column_titles: Sequence[str] | None = None,
    same_scale: bool = False,
    colormap: str | None = None,
    opacity: float = 0.5,
) -> Drawing:
    """Overlays in rows and columns, each with its label and probability.

    Args:
        rows: as many explanations in each; None leaves a cell empty.
        row_titles: one a row, written to its left.
        column_titles: one a column, written above.
        same_scale: one range of values and one colour bar for all; otherwise each cell has its
            own range and prints its largest value.
        colormap: matplotlib's name of one; None chooses by whether a map is signed.
        opacity: the share of the colour in each pixel, 0 to 1.

    Raises:
        ImageError: rows of different lengths, titles that are not one a row or column, nothing to
            draw, or what `overlay` raises.
    """
    table = cells(rows, same_scale=same_scale, colormap=colormap)
    row_titles = _checked_titles(row_titles, len(table), "row")
    column_titles = _checked_titles(column_titles, len(table[0]), "column")
    present = [cell for row in table for cell in row if cell is not None]

    # Cells shrink as columns are added, down to a size at which their labels can still be read.
    side = min(max(_ALL_COLUMNS / len(table[0]), _SIDE_OF_MANY), _SIDE_OF_FEW)
    box_width, box_height = box_of(present[0].explanation.picture.shape[:2], side**2)
    box_width = max(box_width, 80.0)  # narrower, and every word of a label would be broken

    left = _MARGIN + (_TITLES_LEFT + _GAP if any(row_titles) else 0)
    pitch = box_width + _GAP
    bar_left = left + len(table[0]) * pitch
    width = bar_left - _GAP + (_GAP + BAR_ROOM if same_scale else 0) + _MARGIN
    width = max(width, _NARROWEST)

    heads = [_lines(title, _TITLE, box_width, 3) for title in column_titles]
    head_height = LINE * _TITLE * max(len(lines) for lines, _ in heads)
    captions = [
        [None if cell is None else _caption(cell, box_width) for cell in row] for row in table
    ]
    caption_heights = [_tallest(row) for row in captions]
    top = _MARGIN + head_height + (4 if head_height else 0)
    tops = [top]
    for height in caption_heights:
        tops.append(tops[-1] + box_height + 2 + height + _GAP)
    footer = _lines(_in_common(present), _NOTE + 1, width - 2 * _MARGIN, 3)
    page = Page(width, tops[-1] + LINE * (_NOTE + 1) * len(footer[0]) + _MARGIN)

    for column, (lines, font) in enumerate(heads):
        middle = left + column * pitch + box_width / 2
        # Short titles stand on the pictures, not high above them.
        place = _MARGIN + head_height - LINE * _TITLE * len(lines)
        page.write(lines, font, _TITLE, middle, place, align="center")
    for row, cells_of_row in enumerate(table):
        lines, font = _lines(row_titles[row], _TITLE, _TITLES_LEFT, 4)
        place = tops[row] + (box_height - LINE * _TITLE * len(lines)) / 2
        page.write(lines, font, _TITLE, left - _GAP, place, align="right")
        for column, cell in enumerate(cells_of_row):
            if cell is not None:
                box = (left + column * pitch, tops[row], box_width, box_height)
                _draw_cell(page, cell, captions[row][column] or (), box, opacity)
    if same_scale:
        tall = min(tops[-1] - _GAP - caption_heights[-1] - 2 - top, _TALLEST_BAR)
        page.colour_bar(present[0].limits, present[0].colormap, bar_left, top, tall)
    page.write(*footer, _NOTE + 1, _MARGIN, tops[-1], color=NOTE_COLOR)
    return page.figure


def _tallest(captions: Sequence[Sequence[_Written] | None]) -> float:
    """The height of the tallest caption of a row; 0 where there is none."""
    heights = [
        sum(LINE * size * len(lines) for lines, _, size, _ in caption)
        for caption in captions
        if caption
    ]
    return max(heights, default=0.0)


def _draw_cell(
    page: Page,
    cell: Cell,
    caption: Sequence[_Written],
    box: tuple[float, float, float, float],
    opacity: float,
) -> None:
    """An overlay in its box (left, top, width, height) of the page, and its caption below."""
    one = cell.explanation
    left, top, width, height = box
    drawn = overlay(
        one.picture, one.heatmap, one.window,
        colormap=cell.colormap, opacity=opacity, limits=cell.limits,
    )  # fmt: skip
    x, y, w, h = fitted(one.picture.shape[:2], width, height)
    page.show(drawn, left + x, top + y, w, h)
    place = top + height + 2
    for lines, font, size, color in caption:
        page.write(lines, font, size, left + width / 2, place, color=color, align="center")
        place += LINE * size * len(lines)


_Written = tuple[list[str], str, float, str]  # lines, font, size, colour


def _cell(explanation: Explained, common: Limits | None, colormap: str | None) -> Cell:
    limits = common or color_range([explanation.map], explanation.signed)
    largest = value_range([explanation.map], explanation.signed)[1]
    probability = explanation.probability
    note = ("max ±" if limits[0] < 0 else "max ") + short_number(largest)
    if limits[1] < largest:
        note += f", colours to {short_number(limits[1])}"
    return Cell(
        explanation=explanation,
        label=explanation.label,
        probability="" if probability is None else f"p {short_probability(probability)}",
        note="" if common else note,
        warning=explanation.warnings[0] if explanation.warnings else "",
        limits=limits,
        colormap=colormap or default_colormap(limits),
    )


def _caption(cell: Cell, width: float) -> list[_Written]:
    label, label_font = wrap_with_end(cell.label, cell.probability, _LABEL, width, lines=2)
    note, note_font = _lines(cell.note, _NOTE, width, 1)
    warning, warning_font = _lines(cell.warning, _NOTE, width, 2)
    return [
        (label, label_font, _LABEL, "black"),
        (note, note_font, _NOTE, NOTE_COLOR),
        (warning, warning_font, _NOTE, WARNING_COLOR),
    ]


def _lines(text: str, size: float, width: float, lines: int) -> tuple[list[str], str]:
    """The text in lines and its font; no line for no text."""
    line = lettering(text)
    return (wrap(line, size, width, lines) if line.text else []), line.font


def _in_common(present: Sequence[Cell]) -> str:
    """What all cells share, so that the figure says it once."""
    shared = []
    for name in ("method", "layer", "model", "image"):
        values = {getattr(cell.explanation, name) for cell in present}
        if len(values) == 1 and None not in values:
            shared.append(f"{name} {values.pop()}")
    return sentence(shared)


def _checked_titles(titles: Sequence[str] | None, wanted: int, kind: str) -> Sequence[str]:
    if titles is None:
        return [""] * wanted
    if len(titles) != wanted:
        raise ImageError(
            f"{len(titles)} {kind} titles came for {wanted} {kind}s; one for each is wanted."
        )
    return titles
