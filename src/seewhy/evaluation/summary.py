"""From rows to means with intervals, differences and curves."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from seewhy.dataset.results import Row
from seewhy.evaluation.cases import SEVERAL_CLASSES, SUBSETS
from seewhy.evaluation.curves import accuracies, crossed, mean_curve
from seewhy.evaluation.decisions import decisions_of
from seewhy.evaluation.kept import OF_RECORD
from seewhy.evaluation.protocol import Protocol
from seewhy.evaluation.result import ALL, Evaluation
from seewhy.metrics import METRICS
from seewhy.metrics.accumulate import Estimate, PerImage, Statistic
from seewhy.metrics.intervals import holm

LEVEL, DRAWS = 0.95, 2000
BASELINES = ("centre point", "centre Gaussian", "whole image", "random map")
MOST_CLASSES = 5  # that are reported one by one
_MAP = (
    "faithfulness: the raw map resized bilinearly to the input, corners not aligned; place: the "
    "raw map on the original picture, bilinear, 0 where the model saw nothing"
)


def summary(
    rows: Iterable[Row],
    protocol: Protocol,
    records: Sequence[str],
    *,
    collages: Mapping[str, Sequence[str]],
    methods: Mapping[str, Mapping[str, Any]],
    labels: Sequence[str] | None,
    changed: Sequence[str],
    problems: Sequence[tuple[str, str]],
    left_out: int,
    by_class: bool,
) -> Evaluation:
    """The figures of some records and methods, from rows that may hold more.

    Args:
        rows: of the store.
        protocol: under which they were made.
        records: ids of those that count.
        collages: of them, by their ids their cells' labels.
        methods: the options of each; the first is what the others are compared with.
        labels: the names of the model's classes.
        changed: records that were computed anew because they no longer match what was kept.
        problems: names and reasons.
        left_out: how many of the problems are of data that is no record.
        by_class: whether means are of the classes' means.
    """
    status, found = _sorted_out(rows, {*records, *collages})
    names = [*methods, *(b for b in BASELINES if b in found and b not in methods)]
    subsets = _subsets_of(status)
    counts = _counts(records, status, problems[left_out:], left_out) | {"explained": len(subsets)}
    counts["computed anew"] = len(changed)
    if collages:
        counts["collages"] = len(collages)
        subsets |= {f"{id_}\t{label}": () for id_, labels in collages.items() for label in labels}
    measured = _Measured()
    for metric in protocol.metrics:
        measured.take(metric, {name: found.get(name, {}) for name in names}, protocol)
    results, differences = _compared(measured, protocol, names, list(methods), subsets, by_class)
    return Evaluation(
        protocol=_in_full(protocol, len(records), by_class),
        counts=counts,
        decisions=decisions_of(status, protocol.classes, labels),
        changed=list(changed),
        problems=[{"record": name, "reason": reason} for name, reason in problems],
        methods=[
            _described(name, methods.get(name), found.get(name, {}).values(), measured, protocol)
            for name in names
        ],
        metrics=[
            {
                "name": metric, "title": METRICS[metric].title, "better": METRICS[metric].better,
                "says": METRICS[metric].says, "source": METRICS[metric].source,
                "passes_below": METRICS[metric].passes_below, "protocol": dict(chosen),
            }
            for metric, chosen in protocol.metrics.items()
        ],
        results=results,
        differences=differences,
        curves=measured.curves,
        images=[],
        values=measured.values,
    )  # fmt: skip


def _sorted_out(
    rows: Iterable[Row], wanted: set[str]
) -> tuple[dict[str, Mapping[str, Any]], dict[str, dict[str, Row]]]:
    """What became of each record that counts; and the rows of each method, by their ids."""
    status: dict[str, Mapping[str, Any]] = {}
    found: dict[str, dict[str, Row]] = {}
    for row in rows:
        if row.record not in wanted:
            continue
        if row.method == OF_RECORD:
            status[row.record] = row.values
        else:
            found.setdefault(row.method, {})[f"{row.record}\t{row.target}"] = row
    return status, found


def _subsets_of(status: Mapping[str, Mapping[str, Any]]) -> dict[str, Sequence[str]]:
    """Map each explained picture and class to its hard subsets."""
    return {
        f"{record}\t{label}": tuple(entry["subsets"])
        for record, values in status.items()
        for label, entry in values.get("labels", {}).items()
    }


def _counts(
    records: Sequence[str],
    status: Mapping[str, Mapping[str, Any]],
    problems: Sequence[tuple[str, str]],
    left_out: int,
) -> dict[str, int]:
    """What became of how many records."""
    kinds = Counter(values["status"] for values in status.values())
    wrong = sum(bool(values["truth"]) and not values["right"] for values in status.values())
    broken = set(records) & {name for name, _ in problems}
    return {
        "records": len(records),
        "used": kinds["used"],
        "misclassified": wrong,
        "misclassified and left out": kinds["misclassified"],
        "no class": kinds["no class"],
        "unreadable": len(broken - status.keys()),
        "failed with a method": len(broken & status.keys()),
        "left out when the data was read": left_out,
    }


@dataclass(eq=False)
class _Measured:
    """What was measured, by method and metric.

    Attributes:
        values: of each picture and class.
        pooled: of metrics of all pictures together, what is summed.
        of_sum: of each metric, what the sum gives; None where values have a mean.
        curves: as `Evaluation` has them.
    """

    values: dict[tuple[str, str], PerImage] = field(default_factory=dict)
    pooled: dict[tuple[str, str], PerImage] = field(default_factory=dict)
    of_sum: dict[str, Statistic | None] = field(default_factory=dict)
    curves: list[dict[str, Any]] = field(default_factory=list)

    def take(self, metric: str, rows: Mapping[str, Mapping[str, Row]], protocol: Protocol) -> None:
        """All that the rows of each method say of one metric."""
        entry = METRICS[metric]
        curves = {name: _part(own, "curves", metric) for name, own in rows.items()}
        numbers = {name: _part(own, "metrics", metric) for name, own in rows.items()}
        if entry.ious:
            self._take_thresholds(metric, curves, protocol)
            return
        self.values |= {(name, metric): PerImage(own) for name, own in numbers.items() if own}
        if entry.pooled:
            self._take_pooled(metric, curves, numbers)
        elif entry.curve is not None:
            titles = {"x_title": entry.curve.x_title, "y_title": entry.curve.y_title}
            self.curves += [
                {"metric": metric, "method": name, **mean_curve(own), **titles}
                for name, own in curves.items()
                if own
            ]

    def _take_thresholds(
        self, metric: str, curves: Mapping[str, Mapping[str, Any]], protocol: Protocol
    ) -> None:
        ious, thresholds = METRICS[metric].ious, protocol.metrics[metric]["thresholds"]
        for name, own in curves.items():
            if own:
                self.values[name, metric] = crossed(own, ious, protocol.seed)
                self.curves += accuracies(name, metric, own, ious, thresholds)

    def _take_pooled(
        self,
        metric: str,
        curves: Mapping[str, Mapping[str, Any]],
        numbers: Mapping[str, Mapping[str, float]],
    ) -> None:
        size = max((len(one) for own in curves.values() for one in own.values()), default=0)
        if not size:
            return
        self.of_sum[metric] = METRICS[metric].pooled
        nothing = [math.nan] * size
        for name, own in numbers.items():
            if own:
                self.pooled[name, metric] = PerImage({i: curves[name][i] or nothing for i in own})

    def of(self, metric: str, names: Sequence[str], ids: set[str]) -> dict[str, PerImage]:
        """By method what its estimate is made of, of some ids; none of a method without them."""
        whole = {
            name: self.pooled.get((name, metric), self.values[name, metric])
            for name in names
            if (name, metric) in self.values
        }
        return {name: some for name in whole if len(some := _only(whole[name], ids))}


def _part(rows: Mapping[str, Row], part: str, metric: str) -> dict[str, Any]:
    """Of one method and metric the numbers or curves, by id."""
    return {i: r.values[part][metric] for i, r in rows.items() if metric in r.values[part]}


def _compared(
    measured: _Measured,
    protocol: Protocol,
    names: Sequence[str],
    methods: Sequence[str],
    subsets: Mapping[str, Sequence[str]],
    by_class: bool,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The results and the differences, of each subset and metric."""
    how: dict[str, Any] = {
        "classes": {id_: id_.split("\t")[1] for id_ in subsets} if by_class else None,
        "images": {id_: id_.split("\t")[0] for id_ in subsets},
        "level": LEVEL, "draws": DRAWS, "seed": protocol.seed,
    }  # fmt: skip
    results, differences = [], []
    for subset, ids in _subsets(subsets).items():
        for metric, options in protocol.metrics.items():
            entry, here = METRICS[metric], measured.of(metric, names, ids)
            how["of_sum"] = measured.of_sum.get(metric)
            how["bounds"] = entry.bounds_with(options)
            estimates = {
                name: one.estimate(tested=entry.passes_below, **how) for name, one in here.items()
            }
            for name, estimate in estimates.items():
                about = {"method": name, "metric": metric, "subset": subset}
                results.append({**about, **_in_words(estimate)})
            for name, to in _pairs(names, methods, entry.better, estimates):
                about = {"method": name, "metric": metric, "subset": subset, "to": to}
                differences.append({**about, **_in_words(here[name].minus(here[to], **how))})
    return _with_verdicts(results), _corrected(differences)


def _corrected(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """With each test's p corrected for the number of all of them (Holm)."""
    return [
        {**one, "p": corrected}
        for one, corrected in zip(rows, holm([one["p"] for one in rows]), strict=True)
    ]


def _with_verdicts(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Results with a verdict where the metric is a test, and no p where it is none."""
    found = []
    for one in _corrected(results):
        limit = METRICS[one["metric"]].passes_below
        if limit is None:
            found.append({name: value for name, value in one.items() if name != "p"})
            continue
        clear = one["p"] is not None and one["p"] < 1 - LEVEL
        said = "passes" if one["mean"] < limit else "fails"
        found.append({**one, "verdict": said if clear else "open"})
    return found


def _in_full(protocol: Protocol, images: int, by_class: bool) -> dict[str, Any]:
    """The protocol with what holds in every evaluation."""
    return {
        **protocol.to_json(),
        "data": protocol.data["name"],
        "kind": protocol.data["kind"],
        "records of the data": protocol.data["records"],
        "images": images,
        "map": _MAP,
        "means over": "classes" if by_class else "pictures and their classes",
        "intervals": {
            "level": LEVEL,
            "over": "pictures",
            "tests": "corrected for their number (Holm)",
            "bootstrap-t draws": DRAWS,
        },
    }


def _described(
    name: str,
    options: Mapping[str, Any] | None,
    rows: Iterable[Row],
    measured: _Measured,
    protocol: Protocol,
) -> dict[str, Any]:
    """A method, or a baseline, which has no options (None)."""
    values = [row.values for row in rows]
    return {
        "name": name,
        "layer": next((one.get("layer") for one in values), None),
        "options": dict(options or {}),
        "seconds": _mean(one.get("seconds") for one in values),
        "baseline": options is None,
        "metric_seconds": {
            metric: _mean(one["metric_seconds"].get(metric) for one in values)
            for metric in protocol.metrics
            if (name, metric) in measured.values
        },
    }


def _pairs(
    names: Sequence[str],
    methods: Sequence[str],
    better: str | None,
    estimates: Mapping[str, Estimate],
) -> list[tuple[str, str]]:
    """All with the first method, and all methods with the best, which says whether it is so."""
    first = methods[0]
    pairs = [(name, first) for name in names if name != first and {name, first} <= set(estimates)]
    known = [m for m in methods if m in estimates and not math.isnan(estimates[m].value)]
    if better is None or not known:
        return pairs
    sign = 1 if better == "lower" else -1
    best = min(known, key=lambda name: sign * estimates[name].value)
    return pairs + [(name, best) for name in known if name != best and best != first]


def _subsets(subsets: Mapping[str, Sequence[str]]) -> dict[str, set[str]]:
    """The ids of each subset that occurs; where several classes are, of each class too."""
    found = {ALL: set(subsets)}
    for name in SUBSETS:
        if ids := {id_ for id_, own in subsets.items() if name in own}:
            found[name] = ids
    several = found.get(SEVERAL_CLASSES, set())
    labels = sorted({id_.split("\t")[1] for id_ in several})
    for label in labels if len(labels) <= MOST_CLASSES else ():
        found[f"{SEVERAL_CLASSES}, {label}"] = {
            id_ for id_ in several if id_.split("\t")[1] == label
        }
    return found


def _only(values: PerImage, ids: set[str]) -> PerImage:
    return PerImage({id_: values[id_] for id_ in values.ids if id_ in ids})


def _in_words(estimate: Estimate) -> dict[str, Any]:
    return {
        "n": estimate.count, "undefined": estimate.undefined, "mean": estimate.value,
        "low": estimate.low, "high": estimate.high, "interval": estimate.how, "p": estimate.p,
    }  # fmt: skip


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
