"""The tables of means: all images, and the hard subsets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seewhy.report.comparing import best_of, better_baseline, clearly_better, means
from seewhy.report.markup import NOTHING, finite, name, text
from seewhy.report.values import ALL, Entry, Measured, Method, Metric
from seewhy.report.words import (
    better_side,
    class_attribute,
    heading,
    named,
    subset_title,
    unit,
    whole,
)

_NONE = "none, "  # which begins the reason why there is no interval
_COLUMNS = 9  # of one table; so many fit on a printed page


def main_table(evaluation: Measured) -> str:
    """All metrics over all images, with notes on how to read them."""
    columns = [(metric, ALL) for metric in evaluation.metrics]
    columns = [column for column in columns if _there(evaluation, [column])]
    if not columns:
        return ""
    tables = -(-len(columns) // _COLUMNS)
    size = -(-len(columns) // tables)
    parts = [columns[start : start + size] for start in range(0, len(columns), size)]
    notes = [f"The mean over images, and its {evaluation.level} in brackets."]
    if sum(not method.baseline for method in _there(evaluation, columns)) > 1:
        notes.append(
            "Marked is the best mean of a column where, image by image, its difference to each "
            "other method is clear of 0: its interval is, and so is its test at 5 %, corrected for "
            "the number of all differences (Holm). No mark: no such method, or a pair that was not "
            "compared."
        )
    notes += [
        f"{text(metric.title)} is a test: a method passes if its mean is below "
        f"{metric.scale.number(limit)}, fails if it is above, and the test stays open where that "
        "is not clear at 5 %, corrected for the number of tests (Holm)."
        for metric, _ in columns
        if (limit := finite(metric.entry.get("passes_below"))) is not None
    ]
    notes += [f"No interval: {reason}." for reason in _reasons(evaluation)]
    as_good = [
        f"{text(metric.title)} ({name(winner)})"
        for metric, _ in columns
        if (winner := better_baseline(evaluation, metric))
    ]
    if as_good:
        notes.append(f"A baseline is as good as the best method or better: {', '.join(as_good)}.")
    shown = "".join(_table(evaluation, part, by="metric") for part in parts)
    return shown + "".join(f'<p class="note">{note}</p>' for note in notes)


def _reasons(evaluation: Measured) -> list[str]:
    """Why means have no interval, each reason once with its metrics."""
    titles = {metric.name: metric.title for metric in evaluation.metrics}
    found: dict[str, dict[str, None]] = {}
    for (_, metric, _), entry in evaluation.results.items():
        how = str(entry.get("interval") or "")
        if how.startswith(_NONE):
            found.setdefault(how.removeprefix(_NONE), {})[titles[metric]] = None
    return [f"{text(reason)} ({text(', '.join(own))})" for reason, own in found.items()]


def hard_subsets(evaluation: Measured) -> str:
    """For each metric the means on parts of the images."""
    cards = []
    for metric in evaluation.metrics:
        columns = [(metric, subset) for subset in evaluation.subsets]
        columns = [column for column in columns if _there(evaluation, [column])]
        if columns:
            if _there(evaluation, [(metric, ALL)]):
                columns.insert(0, (metric, ALL))
            cards.append(
                f'<div class="card">{heading(metric)}'
                f"{_table(evaluation, columns, by='subset')}</div>"
            )
    if not cards:
        return ""
    return (
        "<p>The same means on parts of the images, chosen so that a guess at the centre helps "
        f'less.</p><div class="cards wide">{"".join(cards)}</div>'
    )


def _there(evaluation: Measured, columns: Sequence[tuple[Metric, str]]) -> list[Method]:
    """The methods with a result in one of the columns."""
    return [
        method
        for method in evaluation.methods
        if any(
            (method.name, metric.name, subset) in evaluation.results for metric, subset in columns
        )
    ]


def _table(evaluation: Measured, columns: Sequence[tuple[Metric, str]], *, by: str) -> str:
    """Methods as rows, baselines apart; the head of a column is its metric or its subset."""
    there = _there(evaluation, columns)
    heads, cells = [], []
    for metric, subset in columns:
        found = {
            method.name: evaluation.results.get((method.name, metric.name, subset), {})
            for method in there
        }
        sizes = [entry["n"] for entry in found.values() if entry.get("n") is not None]
        size = max(sizes, key=sizes.count) if sizes else None
        title = metric.title if by == "metric" else subset_title(subset)
        better = better_side(metric) if by == "metric" else ""
        note = f"<small>n = {whole(size)}</small>" if size is not None else ""
        first = "ascending" if metric.better == "lower" else "descending"
        heads.append(
            f'<th scope="col" data-first="{first}"><span class="by">{text(title)}</span>'
            f"{better}{unit(metric.scale) if by == 'metric' else ''}{note}</th>"
        )
        best = _best(evaluation, metric, subset)
        cells.append(
            {
                method.name: _cell(found[method.name], metric, size, method.name == best)
                for method in there
            }
        )
    rows = {
        method.name: f'<tr><th scope="row" data-value="{text(method.name)}">{named(method)}</th>'
        + "".join(column[method.name] for column in cells)
        + "</tr>"
        for method in there
    }
    bodies = []
    plain = [rows[method.name] for method in there if not method.baseline]
    baselines = [rows[method.name] for method in there if method.baseline]
    if plain:
        bodies.append(f"<tbody>{''.join(plain)}</tbody>")
    if baselines:
        group = (
            f'<tr class="group"><th colspan="{len(columns) + 1}">Baselines, which look at no '
            "model</th></tr>"
        )
        bodies.append(f"<tbody>{group}{''.join(baselines)}</tbody>")
    return (
        '<div class="scroll"><table class="numbers sorted"><thead><tr>'
        f'<th scope="col" data-first="ascending"><span class="by">Method</span></th>'
        f"{''.join(heads)}</tr></thead>{''.join(bodies)}</table></div>"
    )


def _cell(entry: Entry, metric: Metric, size: Any, best: bool) -> str:
    if not entry:
        return f'<td data-value="">{NOTHING}</td>'
    mean = finite(entry.get("mean"))
    notes = [f"n = {whole(entry['n'])}"] if entry.get("n") not in (None, size) else []
    if entry.get("undefined"):
        notes.append(f"{whole(entry['undefined'])} undefined")
    if entry.get("verdict"):
        notes.append(text(entry["verdict"]))
    spread = metric.scale.interval(entry.get("low"), entry.get("high"))
    return (
        f'<td data-value="{"" if mean is None else repr(mean)}"'
        f"{class_attribute('best' if best else '')}>"
        f"<b>{metric.scale.number(mean)}</b>"
        + (f"<small>{spread}</small>" if spread else "")
        + (f"<small>{', '.join(notes)}</small>" if notes else "")
        + "</td>"
    )


def _best(evaluation: Measured, metric: Metric, subset: str) -> str | None:
    """The best method, if its paired difference to each other one is known and clear of 0."""
    known = means(evaluation, metric, subset, baseline=False)
    if metric.better is None or len(known) < 2:
        return None
    best = best_of(known, metric)
    clear = all(
        clearly_better(evaluation, best, other, metric, subset) for other in known if other != best
    )
    return best if clear else None
