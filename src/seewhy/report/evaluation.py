"""The page of an evaluation: one HTML file from the values of its `evaluation.json`, nothing else.

It stands by itself: style, script and pictures are in it, it names no address, and the browser is
told to fetch none. Without its script everything is there but sorting.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seewhy.errors import DataError
from seewhy.report.markup import (
    NOTHING,
    Scale,
    finite,
    name,
    settings,
    text,
    value,
)
from seewhy.report.plots import Line, chart, key, strip, strip_axis, ticks
from seewhy.report.style import SCRIPT, STYLE, baseline_style, method_style

FORMAT = "seewhy evaluation 1"
_ALL = "all"
_COLUMNS = 9  # of one table; so many fit on a printed page
_CURVE_ROWS = 51  # of the numbers under a curve
# The only pictures that go onto the page: an address would be fetched from elsewhere.
_PICTURE = re.compile(r"data:image/(?:jpeg|png|webp|gif);base64,[A-Za-z0-9+/]+=*")

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class _Method:
    name: str
    style: str
    baseline: bool
    entry: Entry


@dataclass(frozen=True)
class _Metric:
    name: str
    title: str
    better: str | None
    scale: Scale
    entry: Entry


@dataclass(frozen=True)
class _Evaluation:
    """What the JSON says, by name; methods before baselines."""

    methods: tuple[_Method, ...]
    metrics: tuple[_Metric, ...]
    subsets: tuple[str, ...]
    results: Mapping[tuple[str, str, str], Entry]  # method, metric, subset
    differences: Mapping[tuple[str, str, str, str], Entry]  # method, to, metric, subset
    level: str
    draws: int | None


def evaluation_page(results: dict[str, Any]) -> str:
    """The page of what `evaluation.json` holds.

    Args:
        results: the JSON's values. A part that is missing or empty has no place on the page; null
            and NaN are not defined and shown as a dash.

    Returns:
        The text of the HTML file, to be written as UTF-8.

    Raises:
        DataError: these are no values of an evaluation.
    """
    if not isinstance(results, dict) or results.get("format") != FORMAT:
        came = results.get("format") if isinstance(results, dict) else type(results).__name__
        raise DataError(
            f"an evaluation of the format {came!r} came; '{FORMAT}' is wanted, as "
            "`seewhy evaluate` writes it to evaluation.json."
        )
    evaluation = _read(results)
    sections = [
        ("results", "Results", _main(evaluation)),
        ("hard", "Hard subsets", _hard(evaluation)),
        ("differences", "Paired differences", _differences(evaluation)),
        ("curves", "Curves", _curves(results, evaluation)),
        ("images", "Best and worst images", _images(results, evaluation)),
        ("problems", "Records and problems", _problems(results)),
        ("protocol", "Protocol", _protocol(results, evaluation)),
    ]
    sections = [section for section in sections if section[2]]
    links = "".join(f'<a href="#{place}">{title}</a>' for place, title, _ in sections)
    body = "".join(
        f'<section><h2 id="{place}">{title}</h2>{inner}</section>'
        for place, title, inner in sections
    )
    allowed = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{allowed}'; base-uri 'none'; form-action 'none'"
    )
    protocol = _mapping(results, "protocol")
    model, data = (protocol.get(part) for part in ("model", "data"))
    heading = " on ".join(name(part) for part in (model, data) if part) or "Evaluation"
    title = " on ".join(str(part) for part in (model, data) if part) or "evaluation"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)} · seewhy evaluation</title><style>{STYLE}</style></head>\n<body>"
        f'<header><p class="over">seewhy evaluation</p><h1>{heading}</h1>'
        f"{_measured(results, evaluation)}<nav>{links}</nav></header>\n<main>{body}</main>\n"
        '<footer class="note">Written by seewhy from evaluation.json, which has these numbers in '
        f"full.</footer><script>{SCRIPT}</script></body></html>\n"
    )


def _read(results: Entry) -> _Evaluation:
    rows = _entries(results, "results")
    gaps = _entries(results, "differences")
    described = {str(entry.get("name")): entry for entry in _entries(results, "methods")}
    parts = ("results", "differences", "curves", "images")
    others = _names([entry for part in parts for entry in _entries(results, part)], "method")
    entries = described | {one: {} for one in others if one not in described}
    plain = [one for one, entry in entries.items() if not entry.get("baseline")]
    baselines = [one for one, entry in entries.items() if entry.get("baseline")]
    methods = [
        _Method(one, method_style(place), False, entries[one]) for place, one in enumerate(plain)
    ] + [
        _Method(one, baseline_style(place), True, entries[one])
        for place, one in enumerate(baselines)
    ]
    measured = {str(entry.get("name")): entry for entry in _entries(results, "metrics")}
    found = _names([*rows, *gaps, *_entries(results, "images")], "metric")
    measured |= {one: {} for one in found if one not in measured}
    metrics = []
    for one, entry in measured.items():
        better = entry.get("better")
        values = [
            row.get(part)
            for row in rows
            if str(row.get("metric")) == one
            for part in ("mean", "low", "high")
        ]
        metrics.append(
            _Metric(
                one,
                str(entry.get("title") or one),
                better if better in ("higher", "lower") else None,
                Scale.of(values),
                entry,
            )
        )
    bootstrap = _mapping(_mapping(results, "protocol"), "bootstrap")
    level, draws = finite(bootstrap.get("level")), finite(bootstrap.get("samples"))
    return _Evaluation(
        tuple(methods),
        tuple(metrics),
        tuple(one for one in _names([*rows, *gaps], "subset") if one != _ALL),
        {
            (str(row.get("method")), str(row.get("metric")), str(row.get("subset", _ALL))): row
            for row in rows
        },
        {
            (
                str(row.get("method")),
                str(row.get("to")),
                str(row.get("metric")),
                str(row.get("subset", _ALL)),
            ): row
            for row in gaps
        },
        f"{100 * level:g} % interval" if level is not None else "interval",
        int(draws) if draws is not None else None,
    )


def _measured(results: Entry, evaluation: _Evaluation) -> str:
    """One sentence: what was measured on what."""
    protocol, counts = _mapping(results, "protocol"), _mapping(results, "counts")
    methods = sum(not method.baseline for method in evaluation.methods)
    baselines = len(evaluation.methods) - methods
    who = f"{_count(methods, 'method')}" + (
        f" and {_count(baselines, 'baseline')}" if baselines else ""
    )
    used, records = counts.get("used", protocol.get("images")), counts.get("records")
    images = ""
    if finite(used) is not None and finite(records) is not None and records != used:
        images = f" on {_whole(used)} of {_count(records, 'image')}"
    elif finite(used) is not None:
        images = f" on {_count(used, 'image')}"
    if protocol.get("only_correct"):
        images += " (those that the model classifies correctly)"
    target = protocol.get("target")
    known = {
        "label": "the class that the image is labelled with",
        "predicted": "the class that the model predicts",
    }
    aim = f"; each map is for {known.get(str(target), name(target))}" if target else ""
    return (
        f'<p class="lead-in">The maps of {who}, measured by '
        f"{_count(len(evaluation.metrics), 'metric')}{images}{aim}.</p>"
    )


# ---------------------------------------------------------------- tables of means


def _main(evaluation: _Evaluation) -> str:
    columns = [(metric, _ALL) for metric in evaluation.metrics]
    columns = [column for column in columns if _there(evaluation, [column])]
    if not columns:
        return ""
    tables = -(-len(columns) // _COLUMNS)
    size = -(-len(columns) // tables)
    parts = [columns[start : start + size] for start in range(0, len(columns), size)]
    draws = f", bootstrap of {evaluation.draws:,} draws over images" if evaluation.draws else ""
    notes = [f"The mean over images, and its {evaluation.level} in brackets{draws}."]
    if sum(not method.baseline for method in _there(evaluation, columns)) > 1:
        notes.append(
            "Marked is the best mean of a column where, image by image, its difference to each "
            f"other method is clear of 0 (the {evaluation.level} of the paired difference; not "
            "corrected for the number of comparisons). No mark: no such method, or a pair that was "
            "not compared."
        )
    for metric, _ in columns:
        if (limit := finite(metric.entry.get("passes_below"))) is not None:
            notes.append(
                f"{text(metric.title)} is a test: a method passes if its {evaluation.level} lies "
                f"below {metric.scale.number(limit)}, and fails if it lies above."
            )
    as_good = [
        f"{text(metric.title)} ({name(winner)})"
        for metric, _ in columns
        if (winner := _better_baseline(evaluation, metric))
    ]
    if as_good:
        notes.append(f"A baseline is as good as the best method or better: {', '.join(as_good)}.")
    shown = "".join(_table(evaluation, part, by="metric") for part in parts)
    return shown + "".join(f'<p class="note">{note}</p>' for note in notes)


def _hard(evaluation: _Evaluation) -> str:
    cards = []
    for metric in evaluation.metrics:
        columns = [(metric, subset) for subset in evaluation.subsets]
        columns = [column for column in columns if _there(evaluation, [column])]
        if columns:
            if _there(evaluation, [(metric, _ALL)]):
                columns.insert(0, (metric, _ALL))
            cards.append(
                f'<div class="card">{_heading(metric)}'
                f"{_table(evaluation, columns, by='subset')}</div>"
            )
    if not cards:
        return ""
    return (
        "<p>The same means on parts of the images, chosen so that a guess at the centre helps "
        f'less.</p><div class="cards wide">{"".join(cards)}</div>'
    )


def _there(evaluation: _Evaluation, columns: Sequence[tuple[_Metric, str]]) -> list[_Method]:
    """The methods with a result in one of the columns."""
    return [
        method
        for method in evaluation.methods
        if any(
            (method.name, metric.name, subset) in evaluation.results for metric, subset in columns
        )
    ]


def _table(evaluation: _Evaluation, columns: Sequence[tuple[_Metric, str]], *, by: str) -> str:
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
        title = metric.title if by == "metric" else _subset(subset)
        better = _better(metric) if by == "metric" else ""
        note = f"<small>n = {_whole(size)}</small>" if size is not None else ""
        first = "ascending" if metric.better == "lower" else "descending"
        heads.append(
            f'<th scope="col" data-first="{first}"><span class="by">{text(title)}</span>'
            f"{better}{_unit(metric.scale) if by == 'metric' else ''}{note}</th>"
        )
        best = _best(evaluation, metric, subset)
        cells.append(
            {
                method.name: _cell(found[method.name], metric, size, method.name == best)
                for method in there
            }
        )
    rows = {
        method.name: f'<tr><th scope="row" data-value="{text(method.name)}">{_named(method)}</th>'
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


def _cell(entry: Entry, metric: _Metric, size: Any, best: bool) -> str:
    if not entry:
        return f'<td data-value="">{NOTHING}</td>'
    mean = finite(entry.get("mean"))
    notes = [f"n = {_whole(entry['n'])}"] if entry.get("n") not in (None, size) else []
    if entry.get("undefined"):
        notes.append(f"{_whole(entry['undefined'])} undefined")
    if entry.get("verdict"):
        notes.append(text(entry["verdict"]))
    spread = metric.scale.interval(entry.get("low"), entry.get("high"))
    return (
        f'<td data-value="{"" if mean is None else repr(mean)}"{_class("best" if best else "")}>'
        f"<b>{metric.scale.number(mean)}</b>"
        + (f"<small>{spread}</small>" if spread else "")
        + (f"<small>{', '.join(notes)}</small>" if notes else "")
        + "</td>"
    )


def _best(evaluation: _Evaluation, metric: _Metric, subset: str) -> str | None:
    """The best method, if its paired difference to each other one is known and clear of 0."""
    means = _means(evaluation, metric, subset, baseline=False)
    if metric.better is None or len(means) < 2:
        return None
    best = (max if metric.better == "higher" else min)(means, key=lambda one: means[one])
    clear = all(
        _clearly_better(evaluation, best, other, metric, subset) for other in means if other != best
    )
    return best if clear else None


def _clearly_better(
    evaluation: _Evaluation, one: str, other: str, metric: _Metric, subset: str
) -> bool:
    """Whether the paired difference, whichever way round it was taken, says so."""
    sign = 1 if metric.better == "higher" else -1
    for pair, way in (((one, other), sign), ((other, one), -sign)):
        entry = evaluation.differences.get((*pair, metric.name, subset), {})
        low, high = finite(entry.get("low")), finite(entry.get("high"))
        if low is not None and high is not None:
            return low > 0 if way > 0 else high < 0
    return False


def _better_baseline(evaluation: _Evaluation, metric: _Metric) -> str | None:
    methods = _means(evaluation, metric, _ALL, baseline=False)
    baselines = _means(evaluation, metric, _ALL, baseline=True)
    if metric.better is None or not methods or not baselines:
        return None
    pick = max if metric.better == "higher" else min
    winner = pick(baselines, key=lambda one: baselines[one])
    best = pick(methods.values())
    return winner if pick(best, baselines[winner]) == baselines[winner] else None


def _means(
    evaluation: _Evaluation, metric: _Metric, subset: str, *, baseline: bool
) -> dict[str, float]:
    found = {}
    for method in evaluation.methods:
        entry = evaluation.results.get((method.name, metric.name, subset), {})
        mean = finite(entry.get("mean"))
        if method.baseline == baseline and mean is not None:
            found[method.name] = mean
    return found


# ---------------------------------------------------------------- plots


def _differences(evaluation: _Evaluation) -> str:
    if not evaluation.methods or not evaluation.differences:
        return ""
    first = evaluation.methods[0].name
    to = {pair[1] for pair in evaluation.differences}
    first = first if first in to else next(pair[1] for pair in evaluation.differences)
    cards = []
    for subset in (_ALL, *evaluation.subsets):
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
        f"line is no difference; a full point is clear of it, a hollow one is not.{beyond}</p>"
        f'<div class="cards">{shown}</div>'
    )


def _interval_plot(metric: _Metric, subset: str, rows: Sequence[tuple[_Method, Entry]]) -> str:
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
        own = f"n = {_whole(entry['n'])}" if entry.get("n") not in (None, size) else ""
        notes = "".join(
            f"<small>{note}</small>" for note in (scale.interval(low, high), own) if note
        )
        lines.append(
            f'<tr><th scope="row">{name(method.name)}</th>'
            f'<td class="where">{strip(mean, low, high, at, method.style)}</td>'
            f"<td>{scale.number(mean)}{notes}</td></tr>"
        )
    way = {"higher": "better →", "lower": "← better"}.get(metric.better or "", "")
    axis = f'<tr><td></td><td class="where">{strip_axis(at, scale)}</td><td></td></tr>' + (
        f'<tr><td></td><td class="better">{way}</td><td></td></tr>' if way else ""
    )
    counted = f", n = {_whole(size)}" if size is not None else ""
    return (
        f'<div class="card"><h3>{text(metric.title)}{_unit(scale)}</h3>'
        f"<h4>{text(_subset(subset))}{counted}</h4>"
        '<table class="plot"><colgroup><col class="who"><col><col class="figures"></colgroup>'
        f"<tbody>{''.join(lines)}</tbody><tfoot>{axis}</tfoot></table></div>"
    )


def _marks(rows: Sequence[tuple[_Method, Entry]]) -> list[float]:
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


def _curves(results: Entry, evaluation: _Evaluation) -> str:
    curves = _entries(results, "curves")
    titles = {metric.name: metric.title for metric in evaluation.metrics}
    cards, drawn = [], set()
    for metric in _names(curves, "metric"):
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
        f"<li>{_named(method)}</li>" for method in evaluation.methods if method.name in drawn
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
                f"<tr><th>{name(line.name)}</th><td>{_exact(x)}</td>"
                f"<td>{scale.number(mean)}</td><td>{scale.interval(low, high)}</td></tr>"
            )
    every = f", one point in {step}" if step > 1 else ""
    return (
        f'<details><summary>Numbers{every}</summary><div class="scroll"><table class="numbers">'
        '<thead><tr><th scope="col">Method</th><th scope="col">x</th>'
        f'<th scope="col">Mean{_unit(scale)}</th><th scope="col">Interval</th>'
        f"</tr></thead><tbody>{''.join(rows)}</tbody></table></div></details>"
    )


# ---------------------------------------------------------------- images, problems, protocol


def _images(results: Entry, evaluation: _Evaluation) -> str:
    images = _entries(results, "images")
    parts = []
    for method in evaluation.methods:
        cards = []
        for metric in evaluation.metrics:
            own = [
                image
                for image in images
                if (str(image.get("method")), str(image.get("metric")))
                == (method.name, metric.name)
            ]
            rows = "".join(
                f"<h4>{text(kind.capitalize())}</h4>"
                f'<div class="row">{"".join(_picture(image, metric) for image in shown)}</div>'
                for kind in _names(own, "kind")
                if (shown := [image for image in own if str(image.get("kind")) == kind])
            )
            if rows:
                cards.append(f'<div class="card">{_heading(metric)}{rows}</div>')
        if cards:
            parts.append(
                f'<h3 class="method">{_named(method)}</h3><div class="cards">{"".join(cards)}</div>'
            )
    return "".join(parts)


def _picture(image: Entry, metric: _Metric) -> str:
    source = str(image.get("picture") or "")
    record, label = image.get("record"), image.get("label")
    shown = ""
    if _PICTURE.fullmatch(source):
        alt = ", ".join(str(one) for one in (label, record) if one not in (None, ""))
        shown = f'<img src="{source}" alt="{text(alt)}">'
    words = "".join(
        f"<span>{name(one)}</span><br>" for one in (label, record) if one not in (None, "")
    ).removesuffix("<br>")
    measured = metric.scale.number(image.get("value"))
    return f"<figure>{shown}<figcaption><b>{measured}</b>{words}</figcaption></figure>"


def _problems(results: Entry) -> str:
    counts, problems = _mapping(results, "counts"), _entries(results, "problems")
    parts = []
    if counts:
        rows = "".join(
            f"<div><dt>{text(str(one).replace('_', ' '))}</dt><dd>{_whole(count)}</dd></div>"
            for one, count in counts.items()
        )
        parts.append(f'<dl class="counts">{rows}</dl>')
    if problems:
        rows = "".join(
            f'<tr><th scope="row">{name(problem.get("record", NOTHING))}</th>'
            f"<td>{name(problem.get('reason', NOTHING))}</td></tr>"
            for problem in problems
        )
        parts.append(
            '<p>These are in no figure of this page.</p><div class="scroll">'
            '<table class="words"><thead><tr><th scope="col">Record</th>'
            f'<th scope="col">Reason</th></tr></thead><tbody>{rows}</tbody></table></div>'
        )
    return "".join(parts)


def _protocol(results: Entry, evaluation: _Evaluation) -> str:
    parts = []
    protocol = _mapping(results, "protocol")
    cards = []
    if protocol:
        cards.append(f'<div class="card"><h3>The run</h3>{settings(dict(protocol))}</div>')
    for metric in evaluation.metrics:
        entry = metric.entry
        says = f"<p>{text(entry['says'])}</p>" if entry.get("says") else ""
        source = f'<p class="note">{text(entry["source"])}</p>' if entry.get("source") else ""
        options = settings(dict(_mapping(entry, "protocol")))
        if says or source or options:
            cards.append(
                f'<div class="card"><h3>{text(metric.title)}{_better(metric)}</h3>'
                f"{says}{source}{options}</div>"
            )
    if cards:
        parts.append(
            "<p>A number means what its protocol says; with another one it is another number.</p>"
            f'<div class="cards protocol">{"".join(cards)}</div>'
        )
    parts.append(_method_table(evaluation))
    return "".join(parts)


def _method_table(evaluation: _Evaluation) -> str:
    """What each method was run with, and what it cost; columns that say nothing are left out."""
    described = [method for method in evaluation.methods if method.entry]
    scale = Scale.of(method.entry.get("seconds") for method in described)
    columns = {
        "Layer": {m.name: name(m.entry["layer"]) for m in described if m.entry.get("layer")},
        "Options": {
            m.name: ", ".join(
                f"{text(option)}: {value(setting)}"
                for option, setting in m.entry["options"].items()
            )
            for m in described
            if _mapping(m.entry, "options")
        },
        f"Seconds an image {scale.unit}".strip(): {
            m.name: scale.number(m.entry.get("seconds"))
            for m in described
            if finite(m.entry.get("seconds")) is not None
        },
    }
    columns = {title: column for title, column in columns.items() if column}
    if not columns:
        return ""
    side = {title: _class("figure" if title.startswith("Seconds") else "") for title in columns}
    heads = "".join(f'<th scope="col">{title}</th>' for title in columns)
    rows = "".join(
        f'<tr><th scope="row">{_named(method)}</th>'
        + "".join(
            f"<td{side[title]}>{column.get(method.name, NOTHING)}</td>"
            for title, column in columns.items()
        )
        + "</tr>"
        for method in described
    )
    return (
        '<div class="scroll protocol"><table class="words"><thead><tr><th scope="col">Method</th>'
        f"{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


# ---------------------------------------------------------------- words


def _named(method: _Method) -> str:
    return f'<span class="name">{key(method.style)}<span>{name(method.name)}</span></span>'


def _better(metric: _Metric) -> str:
    words = {"higher": "↑ higher is better", "lower": "↓ lower is better"}
    said = words.get(metric.better or "")
    return f' <small class="way">{said}</small>' if said else ""


def _heading(metric: _Metric) -> str:
    return f"<h3>{text(metric.title)}{_better(metric)}{_unit(metric.scale)}</h3>"


def _unit(scale: Scale) -> str:
    return f' <small class="way">{scale.unit}</small>' if scale.unit else ""


def _subset(subset: str) -> str:
    return "All images" if subset == _ALL else subset.capitalize()


def _count(count: Any, thing: str) -> str:
    return f"{_whole(count)} {thing}{'' if count == 1 else 's'}"


def _whole(count: Any) -> str:
    known = finite(count)
    return text(count) if known is None or known != int(known) else f"{int(known):,}"


def _exact(known: float | None) -> str:
    return NOTHING if known is None else f"{known:g}".replace("-", "\u2212")


def _class(style: str) -> str:
    return f' class="{style}"' if style else ""


def _names(entries: Iterable[Entry], part: str) -> list[str]:
    """Each value once, in the order of the entries."""
    return list(dict.fromkeys(str(entry[part]) for entry in entries if part in entry))


def _entries(holder: Entry, part: str) -> list[Entry]:
    return list(holder.get(part) or ())


def _mapping(holder: Entry, part: str) -> Entry:
    found = holder.get(part)
    return found if isinstance(found, Mapping) else {}
