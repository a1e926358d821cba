"""Plots as SVG within a page: colours come from the page's style, by class."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from seewhy.report.markup import MINUS, Scale, finite, number, text

_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 400.0, 40.0, 112.0, 28.0, 40.0
_LABEL_HEIGHT, _LABEL_LETTERS = 14.0, 16
_MARGIN = 8  # per cent of a strip, on each side of its axis


@dataclass(frozen=True)
class Line:
    """A curve and its band.

    Attributes:
        name: written at its end.
        style: its class.
        x, mean, low, high: of each point; what is not finite leaves a gap.
    """

    name: str
    style: str
    x: Sequence[Any]
    mean: Sequence[Any]
    low: Sequence[Any]
    high: Sequence[Any]

    def points(self) -> list[tuple[float | None, ...]]:
        """(x, mean, low, high) of each point, None for what is not defined."""
        rows = itertools.zip_longest(self.x, self.mean, self.low, self.high)
        return [tuple(map(finite, row)) for row in rows]


def ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers (1, 2 or 5 times a power of ten) that span low to high."""
    span = high - low
    if span <= 0:
        span = abs(low) or 1.0
    raw = span / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * next(one for one in (1, 2, 5, 10) if one * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, max(last, first + 1) + 1)]


def key(style: str) -> str:
    """The sample of a line that stands before a name."""
    return (
        f'<svg class="key {style}" width="22" height="10" aria-hidden="true">'
        '<line class="line" x1="1" x2="21" y1="5" y2="5"/></svg>'
    )


def strip(
    mean: float, low: float | None, high: float | None, at: list[float], style: str, *, clear: bool
) -> str:
    """One row of an interval plot over the marks `at`: the mean, its interval, the zero line.

    A hollow point says that the mean is not `clear` of zero. What lies beyond the marks is an arrow
    at that end.
    """
    marks = "".join(
        f'<line class="{"zero" if abs(mark) < 1e-12 else "grid"}" x1="{_share(mark, at)}" '
        f'x2="{_share(mark, at)}" y1="0" y2="100%"/>'
        for mark in at
    )
    bar = ""
    if low is not None and high is not None:
        ends = (_share(min(max(one, at[0]), at[-1]), at) for one in (low, high))
        bar = '<line class="bar" x1="{}" x2="{}" y1="50%" y2="50%"/>'.format(*ends)
    point = f'<circle class="{"dot" if clear else "ring"}" cx="{_share(mean, at)}" cy="50%" r="4"/>'
    if not at[0] <= mean <= at[-1]:
        # In the margin, clear of the line at the axis's end, which may be the zero line.
        x, side, arrow = ("0%", "start", "◀") if mean < at[0] else ("100%", "end", "▶")
        bar = ""
        point = f'<text class="beyond" x="{x}" y="50%" dy="4" text-anchor="{side}">{arrow}</text>'
    return f'<svg class="strip {style}" aria-hidden="true">{marks}{bar}{point}</svg>'


def strip_axis(at: list[float], scale: Scale) -> str:
    """The numbers under the strips, in the scale's unit."""
    unit = 10.0**scale.power
    scaled = [mark / unit for mark in at]
    # On a narrow screen there is room for three numbers.
    zero = min(range(len(scaled)), key=lambda place: abs(scaled[place]))
    told = [mark for place, mark in enumerate(scaled) if len(scaled) < 4 or (place - zero) % 2 == 0]
    marks = "".join(
        f'<text x="{_share(mark, scaled)}" y="14" text-anchor="middle">{_round(mark, scaled)}'
        "</text>"
        for mark in told
    )
    return f'<svg class="axis" aria-hidden="true">{marks}</svg>'


def _share(position: float, at: list[float]) -> str:
    return f"{_MARGIN + (100 - 2 * _MARGIN) * (position - at[0]) / (at[-1] - at[0]):.2f}%"


def chart(lines: Sequence[Line], *, title: str, x_title: str, y_title: str) -> str:
    """Curves with bands, each with its name at its end; nothing of no defined point."""
    known = [point for line in lines for point in line.points() if None not in point[:2]]
    if not known:
        return ""
    heights = [one for point in known for one in point[1:] if one is not None]
    across = [float(point[0] or 0) for point in known]
    begin, end, x_marks = _range(min(across), max(across))
    # From 0 where that costs little of the height.
    least, most = min(heights), max(heights)
    floor, ceiling, y_marks = _range(0.0 if 0 < least < 0.3 * most else least, most)
    height = max(270.0, _TOP + _BOTTOM + _LABEL_HEIGHT * len(lines))
    left, right, top, bottom = _LEFT, _WIDTH - _RIGHT, _TOP, height - _BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            left + (x - begin) / (end - begin) * (right - left),
            bottom - (y - floor) / (ceiling - floor) * (bottom - top),
        )

    parts = [_axes(x_marks, y_marks, place, (left, right, bottom))]
    parts += [f'<g class="{line.style}">{_band(line, place)}</g>' for line in lines]
    parts += [f'<g class="{line.style}">{_stroke(line, place)}</g>' for line in lines]
    parts += _labels(lines, place, (right, top, bottom))
    parts.append(f'<text x="0" y="11" class="title">{text(y_title)}</text>')
    middle = (left + right) / 2
    parts.append(
        f'<text x="{middle:.0f}" y="{height - 5:.0f}" text-anchor="middle" class="title">'
        f"{text(x_title)}</text>"
    )
    names = ", ".join(line.name for line in lines)
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH:.0f} {height:.0f}" role="img" '
        f'aria-label="{text(f"{title}: {names}")}">{"".join(parts)}</svg>'
    )


def _range(low: float, high: float) -> tuple[float, float, list[float]]:
    """The ends of an axis, and the round numbers between them; a range of nothing is widened."""
    if low == high:
        marks = ticks(low, high, 4)
        return marks[0], marks[-1], marks
    near = 1e-6 * (high - low)
    for count in (4, 6, 12):
        marks = [mark for mark in ticks(low, high, count) if low - near <= mark <= high + near]
        if len(marks) >= 3:
            break
    return low, high, marks


def _axes(
    x_marks: Sequence[float],
    y_marks: Sequence[float],
    place: Any,
    box: tuple[float, float, float],
) -> str:
    left, right, bottom = box
    parts = []
    for mark in y_marks:
        _, y = place(x_marks[0], mark)
        parts.append(
            f'<line class="grid" x1="{left:.0f}" x2="{right:.0f}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{left - 6:.0f}" y="{y + 4:.1f}" text-anchor="end">{_round(mark, y_marks)}'
            "</text>"
        )
    for mark in x_marks:
        x, _ = place(mark, y_marks[0])
        parts.append(
            f'<path class="tick" d="M{x:.1f},{bottom:.0f}v4"/>'
            f'<text x="{x:.1f}" y="{bottom + 17:.0f}" text-anchor="middle">{_round(mark, x_marks)}'
            "</text>"
        )
    parts.append(
        f'<line class="tick" x1="{left:.0f}" x2="{right:.0f}" y1="{bottom:.0f}" y2="{bottom:.0f}"/>'
    )
    return "".join(parts)


def _round(mark: float, marks: Sequence[float]) -> str:
    """A mark with as many decimals as the step between the marks has."""
    decimals = max(0, -math.floor(math.log10(marks[1] - marks[0]) + 1e-9))
    if decimals > 4 or abs(mark) >= 1e5:
        return f"{mark:.2g}".replace("-", MINUS)
    return number(mark, decimals)


def _runs(rows: Sequence[tuple[float | None, ...]]) -> Iterator[list[tuple[float, ...]]]:
    """The stretches in which everything is defined."""
    for whole, run in itertools.groupby(rows, lambda row: None not in row):
        if whole:
            yield [tuple(float(one or 0) for one in row) for row in run]


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "L".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _band(line: Line, place: Any) -> str:
    parts = []
    for run in _runs([(x, low, high) for x, _, low, high in line.points()]):
        upper = [place(x, high) for x, _, high in run]
        lower = [place(x, low) for x, low, _ in reversed(run)]
        parts.append(f'<path class="band" d="M{_path(upper + lower)}Z"/>')
    return "".join(parts)


def _stroke(line: Line, place: Any) -> str:
    parts = []
    for run in _runs([(x, mean) for x, mean, _, _ in line.points()]):
        points = [place(x, mean) for x, mean in run]
        if len(points) == 1:
            parts.append('<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="3"/>'.format(*points[0]))
        else:
            parts.append(f'<path class="line" d="M{_path(points)}"/>')
    return "".join(parts)


def _labels(lines: Sequence[Line], place: Any, box: tuple[float, float, float]) -> list[str]:
    right, top, bottom = box
    ends = []
    for line in lines:
        known = [(x, mean) for x, mean, _, _ in line.points() if x is not None and mean is not None]
        if known:
            ends.append((line, *place(*known[-1])))
    ends.sort(key=lambda end: end[2])
    parts = []
    for (line, x, y), label_y in zip(
        ends, apart([end[2] for end in ends], _LABEL_HEIGHT, top, bottom), strict=True
    ):
        short = line.name
        if len(short) > _LABEL_LETTERS:
            short = f"{short[: _LABEL_LETTERS - 1].rstrip()}…"
        parts.append(
            f'<g class="{line.style}"><title>{text(line.name)}</title>'
            f'<path class="lead" d="M{_path([(x + 2, y), (right + 10, label_y)])}"/>'
            f'<text class="label" x="{right + 13:.0f}" y="{label_y + 4:.1f}">{text(short)}</text>'
            "</g>"
        )
    return parts


def apart(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Sorted places moved as little as one pass down and one up need to be `gap` apart."""
    moved: list[float] = []
    for one in places:
        moved.append(max(one, low, moved[-1] + gap if moved else low))
    limit = high
    for index in reversed(range(len(moved))):
        moved[index] = min(moved[index], limit)
        limit = moved[index] - gap
    return moved
