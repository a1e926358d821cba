"""Paired differences with their intervals, and curves with their bands."""

from __future__ import annotations

from collections.abc import Sequence

from seewhy.report.markup import Scale, finite, name, text
from seewhy.report.plots import Line, chart, strip, strip_axis, ticks
from seewhy.report.values import ALL, Entry, Measured, Method, Metric, clear_of_zero, entries, names
from seewhy.report.words import exact, named, subset_title, unit, whole

_CURVE_ROWS = 51  # of the numbers under a curve


def paired_differences(evaluation: Measured) -> str:
    """Each method minus the first one, image by image, as intervals around a zero line."""
    if not evaluation.methods or not evaluation.differences:
        return ""
    first = evaluation.methods[0].name
    to = {pair[1] for pair in evaluation.differences}
    first = first if first in to else next(pair[1] for pair in evaluation.differences)
    cards = []
    for subset in (ALL, *evaluation.subsets):
        for metric in evaluation.metrics:
            rows = [
                (method, entry)
                for method in evaluation.methods
                if (entry := evaluation.differences.get((method.name, first, metric.name, subset)))
                and finite(entry.get("mean")) is not None
                and method.name != first
            ]
            if rows:
                cards.append(_interval_plot(metric, subset, rows))
    if not cards:
        return ""
    shown = "".join(cards)
    beyond = " An arrow points to what lies beyond the axis." if 'class="beyond"' in shown else ""
    return (
        f"<p>Each method minus {name(first)}, image by image, with its {evaluation.level}. The "
        "line is no difference; a full point is clear of it at 5 %, corrected for the number of "
        f"all differences, a hollow one is not.{beyond}</p>"
        f'<div class="cards">{shown}</div>'
    )


def _interval_plot(metric: Metric, subset: str, rows: Sequence[tuple[Method, Entry]]) -> str:
    at = _marks(rows)
    scale = metric.scale.finer(
        entry.get(part) for _, entry in rows for part in ("mean", "low", "high")
    )
    sizes = [entry["n"] for _, entry in rows if entry.get("n") is not None]
    size = max(sizes, key=sizes.count) if sizes else None
    lines = []
    for method, entry in rows:
        mean, low, high = (finite(entry.get(part)) for part in ("mean", "low", "high"))
        assert mean is not None
        own = f"n = {whole(entry['n'])}" if entry.get("n") not in (None, size) else ""
        notes = "".join(
            f"<small>{note}</small>" for note in (scale.interval(low, high), own) if note
        )
        drawn = strip(mean, low, high, at, method.style, clear=clear_of_zero(entry))
        lines.append(
            f'<tr><th scope="row">{name(method.name)}</th><td class="where">{drawn}</td>'
            f"<td>{scale.number(mean)}{notes}</td></tr>"
        )
    way = {"higher": "better →", "lower": "← better"}.get(metric.better or "", "")
    axis = f'<tr><td></td><td class="where">{strip_axis(at, scale)}</td><td></td></tr>' + (
        f'<tr><td></td><td class="better">{way}</td><td></td></tr>' if way else ""
    )
    counted = f", n = {whole(size)}" if size is not None else ""
    return (
        f'<div class="card"><h3>{text(metric.title)}{unit(scale)}</h3>'
        f"<h4>{text(subset_title(subset))}{counted}</h4>"
        '<table class="plot"><colgroup><col class="who"><col><col class="figures"></colgroup>'
        f"<tbody>{''.join(lines)}</tbody><tfoot>{axis}</tfoot></table></div>"
    )


def _marks(rows: Sequence[tuple[Method, Entry]]) -> list[float]:
    """The axis of the differences: the methods' own, unless the baselines' are nearly as near.

    A baseline is often so much worse that beside it the methods would lie in one point.
    """
    spans = {True: [0.0], False: [0.0]}
    for method, entry in rows:
        parts = (finite(entry.get(part)) for part in ("mean", "low", "high"))
        spans[method.baseline] += [part for part in parts if part is not None]
    own, both = spans[False], spans[False] + spans[True]
    near = max(both) - min(both) <= 3 * (max(own) - min(own))
    shown = both if near or len(own) == 1 else own
    return ticks(min(shown), max(shown), 3)


def mean_curves(results: Entry, evaluation: Measured) -> str:
    """A chart for each metric that has a curve, with the numbers folded away."""
    curves = entries(results, "curves")
    titles = {metric.name: metric.title for metric in evaluation.metrics}
    cards, drawn = [], set()
    for metric in names(curves, "metric"):
        own = {str(c.get("method")): c for c in curves if str(c.get("metric")) == metric}
        lines = [
            Line(
                method.name,
                method.style,
                *([*(own[method.name].get(part) or ())] for part in ("x", "mean", "low", "high")),
            )
            for method in evaluation.methods
            if method.name in own
        ]
        lines = [line for line in lines if any(None not in point[:2] for point in line.points())]
        if not lines:
            continue
        title = titles.get(metric, metric)
        some = own[lines[0].name]
        picture = chart(
            lines,
            title=title,
            x_title=str(some.get("x_title") or ""),
            y_title=str(some.get("y_title") or ""),
        )
        drawn |= {line.name for line in lines}
        cards.append(
            f'<div class="card"><h3>{text(title)}</h3>{picture}{_curve_numbers(lines)}</div>'
        )
    if not cards:
        return ""
    keys = "".join(
        f"<li>{named(method)}</li>" for method in evaluation.methods if method.name in drawn
    )
    return (
        f"<p>The mean over images; the band is its {evaluation.level} at each point.</p>"
        f'<ul class="legend">{keys}</ul><div class="cards">{"".join(cards)}</div>'
    )


def _curve_numbers(lines: Sequence[Line]) -> str:
    """The numbers that are drawn, folded away; of a long curve every so many points."""
    rows: list[str] = []
    step = max(1, -(-max(len(line.x) for line in lines) // _CURVE_ROWS))
    scale = Scale.of(one for line in lines for point in line.points() for one in point[1:])
    for line in lines:
        points = [point for point in line.points() if point[0] is not None]
        for place, (x, mean, low, high) in enumerate(points):
            if place % step and place < len(points) - 1:
                continue
            rows.append(
                f"<tr><th>{name(line.name)}</th><td>{exact(x)}</td>"
                f"<td>{scale.number(mean)}</td><td>{scale.interval(low, high)}</td></tr>"
            )
    every = f", one point in {step}" if step > 1 else ""
    return (
        f'<details><summary>Numbers{every}</summary><div class="scroll"><table class="numbers">'
        '<thead><tr><th scope="col">Method</th><th scope="col">x</th>'
        f'<th scope="col">Mean{unit(scale)}</th><th scope="col">Interval</th>'
        f"</tr></thead><tbody>{''.join(rows)}</tbody></table></div></details>"
    )
