"""An evaluation's means: a panel for each metric, a row for each method, its interval as a line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from seewhy.errors import ImageError
from seewhy.render.page import LINE, NOTE_COLOR, Page
from seewhy.render.text import lettering, plain_font, sentence, short_number, wrap

if TYPE_CHECKING:
    from seewhy.render.drawing import Drawing
    from seewhy.render.takes import Measured

ALL = "all"  # the subset that is every picture
_METHOD_COLOR, _BASELINE_COLOR, _GRID = "#0072b2", "#8a8f94", "#dddddd"
_MARGIN, _GAP = 14.0, 22.0
_NAMES, _PLOT, _NUMBERS = 118.0, 200.0, 134.0  # points wide
_ROW, _TITLE, _HEAD, _LABEL, _NOTE = 15.0, 13.0, 10.0, 8.0, 8.0
_ONE_COLUMN = 3  # panels; more stand in two columns


@dataclass(frozen=True)
class Mean:
    """One row of a panel.

    Attributes:
        method: its name.
        baseline: whether it looks at no model.
        mean, low, high: NaN where it is not defined.
        count: of pictures; None where nothing is said.
    """

    method: str
    baseline: bool
    mean: float
    low: float
    high: float
    count: int | None

    def in_words(self) -> str:
        """The mean and its interval, as they are printed."""
        if not math.isfinite(self.mean):
            return "not defined"
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            return f"{short_number(self.mean)} (no interval)"
        return f"{short_number(self.mean)} ({short_number(self.low)} to {short_number(self.high)})"


@dataclass(frozen=True)
class Panel:
    """One metric.

    Attributes:
        title: of the metric.
        means: a row for each method that has a result.
        note: which values are better, and of how many pictures the means are.
    """

    title: str
    means: tuple[Mean, ...]
    note: str

    @property
    def height(self) -> float:
        """In points: a heading, the rows, the axis's numbers."""
        return LINE * _HEAD + 4 + _ROW * len(self.means) + 4 + LINE * _LABEL

    def ends(self) -> tuple[float, float]:
        """The range that holds every mean and every interval."""
        values = [v for one in self.means for v in (one.mean, one.low, one.high)]
        finite = [value for value in values if math.isfinite(value)]
        low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
        room = 0.04 * (high - low) or 0.5
        return low - room, high + room


def panels(measured: Measured) -> tuple[Panel, ...]:
    """What the figure says, before it is drawn."""
    found = {
        (one["method"], one["metric"]): one for one in measured.results if one["subset"] == ALL
    }
    made = []
    for metric in measured.metrics:
        means = tuple(
            _mean(method, found[method["name"], metric["name"]])
            for method in measured.methods
            if (method["name"], metric["name"]) in found
        )
        if means:
            better = f"{metric['better']} is better" if metric.get("better") else None
            made.append(Panel(metric["title"], means, sentence([better, _counts(means)])))
    return tuple(made)


def draw_means(measured: Measured) -> Drawing:
    """Each method's mean by each metric with its interval, over all pictures.

    Args:
        measured: what is drawn; only results of the subset "all".

    Raises:
        ImageError: there is no result.
    """
    drawn = panels(measured)
    if not drawn:
        raise ImageError("the evaluation has no result over all pictures; nothing can be drawn.")
    columns = _in_columns(drawn)
    wide = _NAMES + _PLOT + _NUMBERS
    inner = len(columns) * (wide + _GAP) - _GAP
    protocol = measured.protocol
    title = lettering(sentence([str(protocol["data"]), f"model {protocol['model']}"]))
    head = wrap(title, _TITLE, inner, lines=2)
    note = lettering(
        "dot: the mean over pictures; line: its interval; grey: baselines, which look at no model"
    )
    foot = wrap(note, _NOTE, inner)
    top = _MARGIN + LINE * _TITLE * len(head) + 8
    tallest = max(sum(panel.height + _GAP for panel in column) for column in columns)
    page = Page(inner + 2 * _MARGIN, top + tallest - _GAP + 10 + LINE * _NOTE * len(foot) + _MARGIN)
    page.write(head, title.font, _TITLE, _MARGIN, _MARGIN)
    for number, column in enumerate(columns):
        left, place = _MARGIN + number * (wide + _GAP), top
        for panel in column:
            _draw(page, panel, left, place)
            place += panel.height + _GAP
    page.write(
        foot, note.font, _NOTE, _MARGIN, page.height - _MARGIN - LINE * _NOTE * len(foot),
        color=NOTE_COLOR,
    )  # fmt: skip
    return page.figure


def _mean(method: Any, result: Any) -> Mean:
    mean, low, high = (_number(result.get(part)) for part in ("mean", "low", "high"))
    return Mean(method["name"], bool(method["baseline"]), mean, low, high, result.get("n"))


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _counts(means: Sequence[Mean]) -> str:
    counts = sorted({one.count for one in means if one.count is not None})
    if not counts:
        return ""
    return f"n = {counts[0]}" + (f" to {counts[-1]}" if len(counts) > 1 else "")


def _in_columns(drawn: Sequence[Panel]) -> list[list[Panel]]:
    """One column of a few panels; two of about the same height of many, in reading order."""
    if len(drawn) <= _ONE_COLUMN:
        return [list(drawn)]
    heights = [panel.height + _GAP for panel in drawn]
    splits = range(1, len(drawn))
    split = min(splits, key=lambda at: (max(sum(heights[:at]), sum(heights[at:])), -at))
    return [list(drawn[:split]), list(drawn[split:])]


def _draw(page: Page, panel: Panel, left: float, top: float) -> None:
    from matplotlib.ticker import MaxNLocator

    heading, note = lettering(panel.title), lettering(panel.note)
    page.write(wrap(heading, _HEAD, _NAMES + _PLOT, lines=1), heading.font, _HEAD, left, top)
    right = left + _NAMES + _PLOT + _NUMBERS
    page.write([note.text], note.font, _LABEL, right, top + 2, color=NOTE_COLOR, align="right")
    first = top + LINE * _HEAD + 4
    tall = _ROW * len(panel.means)
    axes = page.figure.add_axes(
        ((left + _NAMES) / page.width, 1 - (first + tall) / page.height,
         _PLOT / page.width, tall / page.height)
    )  # fmt: skip
    low, high = panel.ends()
    axes.set_xlim(low, high)
    axes.set_ylim(len(panel.means), 0)
    axes.set_axis_off()
    marks = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    for mark in (float(mark) for mark in marks if low <= mark <= high):
        zero = abs(mark) < 1e-9 * (high - low)
        axes.axvline(mark, color="#888888" if zero else _GRID, linewidth=0.8, zorder=0)
        x = left + _NAMES + _PLOT * (mark - low) / (high - low)
        words = [short_number(0.0 if zero else mark)]
        page.write(words, plain_font(), _LABEL, x, first + tall + 3,
                   color=NOTE_COLOR, align="center")  # fmt: skip
    for row, one in enumerate(panel.means):
        color = _BASELINE_COLOR if one.baseline else _METHOD_COLOR
        if math.isfinite(one.low) and math.isfinite(one.high):
            axes.plot([one.low, one.high], [row + 0.5] * 2, color=color, linewidth=1.6,
                      solid_capstyle="butt", clip_on=False)  # fmt: skip
        if math.isfinite(one.mean):
            axes.plot([one.mean], [row + 0.5], "o", color=color, markersize=4.5, clip_on=False)
        place = first + _ROW * row + (_ROW - LINE * _LABEL) / 2
        name = lettering(one.method)
        page.write(wrap(name, _LABEL, _NAMES - 8, lines=1), name.font, _LABEL, left, place)
        page.write([one.in_words()], plain_font(), _LABEL, right, place, align="right")
