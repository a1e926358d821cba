"""What an `evaluation.json` holds, by name, as the parts of the page read it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seewhy.report.markup import Scale, finite
from seewhy.report.style import baseline_style, method_style

ALL = "all"

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Method:
    """A row of the tables: its name, the class of its colour, and its entry in the JSON."""

    name: str
    style: str
    baseline: bool
    entry: Entry


@dataclass(frozen=True)
class Metric:
    """A column of the tables; `scale` says how its numbers are written."""

    name: str
    title: str
    better: str | None
    scale: Scale
    entry: Entry


@dataclass(frozen=True)
class Measured:
    """What the JSON says, by name; methods before baselines."""

    methods: tuple[Method, ...]
    metrics: tuple[Metric, ...]
    subsets: tuple[str, ...]
    results: Mapping[tuple[str, str, str], Entry]  # method, metric, subset
    differences: Mapping[tuple[str, str, str, str], Entry]  # method, to, metric, subset
    level: str


def read(results: Entry) -> Measured:
    """The values of an `evaluation.json` by name; a part that is missing is empty."""
    rows, gaps = entries(results, "results"), entries(results, "differences")
    level = finite(mapping(mapping(results, "protocol"), "intervals").get("level"))
    return Measured(
        _methods(results),
        _metrics(results, rows, gaps),
        tuple(one for one in names([*rows, *gaps], "subset") if one != ALL),
        {_key(row, "method", "metric"): row for row in rows},
        {_key(row, "method", "to", "metric"): row for row in gaps},
        f"{100 * level:g} % interval" if level is not None else "interval",
    )


def _methods(results: Entry) -> tuple[Method, ...]:
    """Those that are described, and those that are only named; methods before baselines."""
    described = {str(entry.get("name")): entry for entry in entries(results, "methods")}
    parts = ("results", "differences", "curves", "images")
    others = names([entry for part in parts for entry in entries(results, part)], "method")
    known = described | {one: {} for one in others if one not in described}
    plain = [one for one, entry in known.items() if not entry.get("baseline")]
    baselines = [one for one, entry in known.items() if entry.get("baseline")]
    return (
        *(Method(one, method_style(place), False, known[one]) for place, one in enumerate(plain)),
        *(
            Method(one, baseline_style(place), True, known[one])
            for place, one in enumerate(baselines)
        ),
    )


def _metrics(results: Entry, rows: Sequence[Entry], gaps: Sequence[Entry]) -> tuple[Metric, ...]:
    measured = {str(entry.get("name")): entry for entry in entries(results, "metrics")}
    found = names([*rows, *gaps, *entries(results, "images")], "metric")
    measured |= {one: {} for one in found if one not in measured}
    return tuple(_metric(one, entry, rows) for one, entry in measured.items())


def _metric(called: str, entry: Entry, rows: Sequence[Entry]) -> Metric:
    better = entry.get("better")
    own = [row for row in rows if str(row.get("metric")) == called]
    return Metric(
        called,
        str(entry.get("title") or called),
        better if better in ("higher", "lower") else None,
        Scale.of(row.get(part) for row in own for part in ("mean", "low", "high")),
        entry,
    )


def _key(row: Entry, *parts: str) -> tuple[Any, ...]:
    return (*(str(row.get(part)) for part in parts), str(row.get("subset", ALL)))


def names(rows: Iterable[Entry], part: str) -> list[str]:
    """Each value once, in the order of the entries."""
    return list(dict.fromkeys(str(row[part]) for row in rows if part in row))


def clear_of_zero(difference: Entry) -> bool:
    """Whether it is, by its interval and by its p, which is corrected for the number of tests."""
    low, high, p = (finite(difference.get(part)) for part in ("low", "high", "p"))
    if low is None or high is None or p is None:
        return False
    return p < 0.05 and (low > 0 or high < 0)


def entries(holder: Entry, part: str) -> list[Entry]:
    """A list that is there, or an empty one."""
    return list(holder.get(part) or ())


def mapping(holder: Entry, part: str) -> Entry:
    """A mapping that is there, or an empty one."""
    found = holder.get(part)
    return found if isinstance(found, Mapping) else {}
