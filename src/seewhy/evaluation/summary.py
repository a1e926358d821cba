"""From rows to means with intervals, differences, curves, and the best and worst pictures."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seewhy.dataset.results import Row
from seewhy.endings import PICTURES, ending_of
from seewhy.evaluation.cases import SEVERAL_CLASSES, SUBSETS
from seewhy.files import written_aside
from seewhy.metrics.accumulate import Estimate, PerImage, Statistic
from seewhy.metrics.localisation import box_accuracy_curve, box_hits, choose_thresholds
from seewhy.metrics.table import METRICS
from seewhy.one_line import one_line

if TYPE_CHECKING:
    from seewhy.render.drawing import Drawing

FORMAT = "seewhy evaluation 1"
ALL = "all"
BOOTSTRAP = {"samples": 1000, "level": 0.95}
BASELINES = ("centre point", "centre Gaussian", "whole image", "random map")
MOST_CLASSES = 5  # that are reported one by one
_MAP = (
    "faithfulness: the raw map resized bilinearly to the input, corners not aligned; place: the "
    "raw map on the original picture, bilinear, 0 where the model saw nothing"
)


@dataclass(frozen=True)
class Protocol:
    """Everything that moves the numbers.

    Attributes:
        model, weights: its name, and a checksum of its weights.
        data: its name, layout and number of records.
        classes: of each label the model's classes.
        target, only_correct, layer, preprocess, seed: as they were asked for.
        options: of the methods.
        metrics: of each all options.
        versions: of what computed it.
    """

    model: str
    weights: str
    data: Mapping[str, Any]
    classes: Mapping[str, Sequence[int]]
    target: str
    only_correct: bool
    layer: str | None
    preprocess: Mapping[str, Any]
    options: Mapping[str, Any]
    metrics: Mapping[str, Mapping[str, Any]]
    versions: Mapping[str, str]
    seed: int

    def to_json(self) -> dict[str, Any]:
        """As the file of rows keeps it."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What `evaluate` found; each attribute is JSON's own types, NaN where nothing is defined.

    Attributes:
        protocol: everything that moves the numbers.
        counts: records, how many were used, and what became of the others.
        problems: `record` and `reason`, of those that could not be used.
        methods: `name`, `layer`, `options`, `seconds` an image, and whether it is a `baseline`.
        metrics: `name`, `title`, `better`, `says`, `source`, and its `protocol`; of tests the
            value that a method `passes_below`.
        results: of `method`, `metric` and `subset`: `n`, `undefined`, `mean`, `low`, `high`; of
            tests also the `verdict`: `passes`, `fails`, or `open` where the interval leaves it so.
        differences: of `method` `to` the first one, and to the best, paired over the images.
        curves: of `metric` and `method`: `x`, `mean`, `low`, `high`, and the axes' titles.
        images: the best and the worst of each method, with a `picture`; empty before it is written.
        values: of each method and metric its values by picture.
    """

    protocol: dict[str, Any]
    counts: dict[str, int]
    problems: list[dict[str, str]]
    methods: list[dict[str, Any]]
    metrics: list[dict[str, Any]]
    results: list[dict[str, Any]]
    differences: list[dict[str, Any]]
    curves: list[dict[str, Any]]
    images: list[dict[str, Any]]
    values: Mapping[tuple[str, str], PerImage]

    def result(self, method: str, metric: str, subset: str = ALL) -> dict[str, Any]:
        """One of the `results`.

        Raises:
            KeyError: there is none.
        """
        for one in self.results:
            if (one["method"], one["metric"], one["subset"]) == (method, metric, subset):
                return one
        raise KeyError((method, metric, subset))

    def figure(self) -> Drawing:
        """Each method's mean by each metric with its interval, over all pictures."""
        from seewhy.render.means import draw_means

        return draw_means(self)

    def save(self, path: str | Path) -> Path:
        """Write the figure (`.png`, `.jpg`, `.pdf`, `.svg`), the table (`.csv`), or all (`.json`).

        The last is what `to_json` gives. `evaluate` writes these and a page into its own folder.

        Raises:
            ImageError: for another ending.
        """
        ending = ending_of(path, "an evaluation", (*PICTURES, ".csv", ".json"))
        if ending in PICTURES:
            return self.figure().save(path)
        if ending == ".csv":
            text = self.table()
        else:
            text = json.dumps(self.to_json(), indent=1, allow_nan=False)
        with written_aside(Path(path)) as aside:
            aside.write_text(text, encoding="utf-8")
        return Path(path)

    def __repr__(self) -> str:
        methods = [one["name"] for one in self.methods if not one["baseline"]]
        names = ", ".join(methods[:3]) + (" and more" if len(methods) > 3 else "")
        data, model = self.protocol["data"], self.protocol["model"]
        return one_line(
            f"<Evaluation of {names} by {len(self.metrics)} metrics on {data}, "
            f"{self.counts['records']} records, with {model}>"
        )

    def _repr_png_(self) -> bytes:
        return self.figure()._repr_png_()

    def to_json(self) -> dict[str, Any]:
        """All but `values`, as evaluation.json has it: what is not defined is null."""
        fields = [f.name for f in dataclasses.fields(self) if f.name != "values"]
        plain: dict[str, Any] = _plain({name: getattr(self, name) for name in fields})
        return {"format": FORMAT, **plain}

    def table(self) -> str:
        """The results as CSV, a row each."""
        text = io.StringIO()
        protocols = {one["name"]: one["protocol"] for one in self.metrics}
        numbers = ["n", "undefined", "mean", "low", "high"]
        names = ["method", "metric", "subset", *numbers, "verdict", "protocol"]
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        for one in self.results:
            said = "; ".join(f"{k}={v}" for k, v in protocols[one["metric"]].items())
            writer.writerow(_plain(one) | {"protocol": said})
        return text.getvalue()

    def with_images(self, images: list[dict[str, Any]]) -> Evaluation:
        """The same with pictures."""
        return dataclasses.replace(self, images=images)

    def extremes(self, count: int) -> list[dict[str, Any]]:
        """Which pictures are each method's best and worst by the first metric, `count` of each."""
        found = []
        # What is measured on several pictures at once tells none of them apart.
        alone = [one for one in self.metrics if METRICS[one["name"]].needs != "collage"]
        if not alone:
            return []
        metric = alone[0]
        for method in self.methods:
            values = self.values.get((method["name"], metric["name"]))
            if method["baseline"] or values is None:
                continue
            sign = 1 if metric["better"] == "lower" else -1
            defined = [(id_, float(values[id_])) for id_ in values.ids]
            order = sorted(
                (pair for pair in defined if not math.isnan(pair[1])), key=lambda p: sign * p[1]
            )
            best = order[:count]
            worst = [pair for pair in reversed(order) if pair not in best][:count]
            for kind, pairs in (("best", best), ("worst", worst)):
                for id_, value in pairs:
                    record, label = id_.split("\t")
                    found.append(
                        {
                            "method": method["name"], "metric": metric["name"], "kind": kind,
                            "record": record, "label": label, "value": value,
                        }
                    )  # fmt: skip
        return found


def summary(
    rows: Iterable[Row],
    protocol: Protocol,
    records: Sequence[str],
    *,
    collages: Mapping[str, Sequence[str]],
    methods: Sequence[str],
    options: Mapping[str, Mapping[str, Any]],
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
        methods: the first is what the others are compared with.
        options: of each method.
        problems: names and reasons.
        left_out: how many of the problems are of data that is no record.
        by_class: whether means are of the classes' means.
    """
    wanted = set(records)
    status: dict[str, Mapping[str, Any]] = {}
    found: dict[str, dict[str, Row]] = {}  # by method and by id
    for row in rows:
        if row.record not in wanted and row.record not in collages:
            continue
        if row.method == "":
            status[row.record] = row.values
        else:
            found.setdefault(row.method, {})[f"{row.record}\t{row.target}"] = row
    names = [*methods, *(b for b in BASELINES if b in found and b not in methods)]
    subsets = {
        f"{record}\t{label}": tuple(entry["subsets"])
        for record, values in status.items()
        for label, entry in values.get("labels", {}).items()
    }
    count = {
        kind: sum(v["status"] == kind for v in status.values())
        for kind in ("used", "misclassified", "no class")
    }
    broken = wanted & {name for name, _ in problems[left_out:]}
    counts = {
        "records": len(records),
        **count,
        "unreadable": len(broken - status.keys()),
        "failed with a method": len(broken & status.keys()),
        "left out when the data was read": left_out,
        "explained": len(subsets),
    }
    if collages:
        counts["collages"] = len(collages)
        subsets |= {f"{id_}\t{label}": () for id_, labels in collages.items() for label in labels}

    values: dict[tuple[str, str], PerImage] = {}
    pooled: dict[tuple[str, str], PerImage] = {}
    of_sum: dict[str, Statistic | None] = {}
    curves: list[dict[str, Any]] = []
    for metric, chosen in protocol.metrics.items():
        entry = METRICS[metric]
        size = max(
            (len(r.values["curves"].get(metric, ())) for own in found.values()
             for r in own.values()), default=0,
        )  # fmt: skip
        of_sum[metric] = entry.pooled if size else None
        for name in names:
            own = found.get(name, {})
            if entry.ious:
                overlaps = {i: r.values["curves"][metric] for i, r in own.items()
                            if metric in r.values["curves"]}  # fmt: skip
                if overlaps:
                    values[name, metric] = _crossed(overlaps, entry.ious, protocol.seed)
                    curves += _accuracies(name, metric, overlaps, entry.ious, chosen["thresholds"])
                continue
            numbers = {i: r.values["metrics"][metric] for i, r in own.items()
                       if metric in r.values["metrics"]}  # fmt: skip
            if numbers:
                values[name, metric] = PerImage(numbers)
            if of_sum[metric] and numbers:
                nothing = [math.nan] * size
                pooled[name, metric] = PerImage(
                    {id_: own[id_].values["curves"][metric] or nothing for id_ in numbers}
                )
            if entry.pooled:
                continue
            lines = {i: r.values["curves"][metric] for i, r in own.items()
                     if metric in r.values["curves"]}  # fmt: skip
            if lines and entry.curve is not None:
                curves.append(
                    {"metric": metric, "method": name, **_mean_curve(lines, protocol.seed),
                     "x_title": entry.curve.x_title, "y_title": entry.curve.y_title}
                )  # fmt: skip

    images = {id_: id_.split("\t")[0] for id_ in subsets}
    classes = {id_: id_.split("\t")[1] for id_ in subsets} if by_class else None
    how: dict[str, Any] = {
        "classes": classes, "images": images, "level": BOOTSTRAP["level"],
        "draws": BOOTSTRAP["samples"], "seed": protocol.seed,
    }  # fmt: skip
    results, differences = [], []
    for subset, ids in _subsets(subsets).items():
        for metric in protocol.metrics:
            whole = {name: pooled.get((name, metric), values[name, metric]) for name in names
                     if (name, metric) in values}  # fmt: skip
            here = {name: some for name in whole if len(some := _only(whole[name], ids))}
            how["of_sum"] = of_sum[metric]
            estimates = {name: one.estimate(**how) for name, one in here.items()}
            for name, estimate in estimates.items():
                about = {"method": name, "metric": metric, "subset": subset}
                limit = METRICS[metric].passes_below
                verdict = {} if limit is None else {"verdict": _verdict(estimate, limit)}
                results.append({**about, **_in_words(estimate), **verdict})
            for name, to in _pairs(names, methods, METRICS[metric].better, estimates):
                about = {"method": name, "metric": metric, "subset": subset, "to": to}
                differences.append({**about, **_in_words(here[name].minus(here[to], **how))})
    return Evaluation(
        protocol={
            **protocol.to_json(),
            "data": protocol.data["name"],
            "kind": protocol.data["kind"],
            "records of the data": protocol.data["records"],
            "images": len(records),
            "map": _MAP,
            "means over": "classes" if by_class else "pictures and their classes",
            "bootstrap": {**BOOTSTRAP, "over": "pictures"},
        },
        counts=counts,
        problems=[{"record": name, "reason": reason} for name, reason in problems],
        methods=[
            {
                "name": name,
                "layer": next((r.values.get("layer") for r in found.get(name, {}).values()), None),
                "options": dict(options.get(name, {})),
                "seconds": _mean(r.values.get("seconds") for r in found.get(name, {}).values()),
                "baseline": name not in methods,
                "metric_seconds": {
                    metric: _mean(
                        r.values["metric_seconds"].get(metric)
                        for r in found.get(name, {}).values()
                    )
                    for metric in protocol.metrics
                    if (name, metric) in values
                },
            }
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
        curves=curves,
        images=[],
        values=values,
    )  # fmt: skip


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


def halves_of(ids: Iterable[str], seed: int) -> tuple[list[str], list[str]]:
    """Two halves, all classes of a picture in the same; drawn by the pictures' names."""
    by_record: dict[str, list[str]] = {}
    for id_ in sorted(ids):
        by_record.setdefault(id_.split("\t")[0], []).append(id_)
    drawn = sorted(by_record, key=lambda record: (zlib.crc32(f"{seed} {record}".encode()), record))
    first, second = (
        [id_ for record in drawn[side::2] for id_ in by_record[record]] for side in (0, 1)
    )
    return first, second


def _crossed(overlaps: Mapping[str, Sequence[float]], ious: Sequence[float], seed: int) -> PerImage:
    """Each half's hits at the thresholds that do best on the other; NaN where it is empty."""
    halves = halves_of(overlaps, seed)
    made = PerImage()
    for own, other in (halves, halves[::-1]):
        there = np.array([overlaps[id_] for id_ in other], np.float64)
        hits: Any = np.full(len(own), np.nan)
        if own and other and not np.isnan(there).any(1).all():
            here = np.array([overlaps[id_] for id_ in own], np.float64)
            hits = box_hits(here, ious=ious, chosen=choose_thresholds(there, ious=ious))
        made.add(own, hits)
    return made


def _accuracies(
    name: str,
    metric: str,
    overlaps: Mapping[str, Sequence[float]],
    ious: Sequence[float],
    thresholds: Sequence[float],
) -> list[dict[str, Any]]:
    """Box accuracy over the threshold, the mean of the IoUs."""
    values = np.array(list(overlaps.values()), np.float64)
    values = values[~np.isnan(values).any(1)]
    if not len(values):
        return []
    mean = box_accuracy_curve(values, ious=ious).mean(0)
    spread = 1.96 * np.sqrt(mean * (1 - mean) / len(values))
    return [
        {
            "metric": metric, "method": name, "x": list(map(float, thresholds)),
            "mean": mean.tolist(), "low": (mean - spread).clip(0).tolist(),
            "high": (mean + spread).clip(max=1).tolist(),
            "x_title": "threshold, as a share of the map's range", "y_title": "box accuracy",
        }
    ]  # fmt: skip


def _mean_curve(lines: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The mean of all pictures' curves, and its bootstrap interval at each point."""
    x = next(iter(lines.values()))[0]
    y = np.array([line[1] for line in lines.values() if len(line[1]) == len(x)], np.float64)
    y = y[~np.isnan(y).any(1)]
    if not len(y):
        nothing = [math.nan] * len(x)
        return {"x": list(x), "mean": nothing, "low": nothing, "high": nothing}
    random = np.random.default_rng(seed)
    draws = random.integers(len(y), size=(200, len(y)))
    means = np.stack([y[draw].mean(0) for draw in draws])
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    return {"x": list(x), "mean": y.mean(0).tolist(), "low": low.tolist(), "high": high.tolist()}


def _only(values: PerImage, ids: set[str]) -> PerImage:
    return PerImage({id_: values[id_] for id_ in values.ids if id_ in ids})


def _in_words(estimate: Estimate) -> dict[str, Any]:
    return {
        "n": estimate.count, "undefined": estimate.undefined, "mean": estimate.value,
        "low": estimate.low, "high": estimate.high,
    }  # fmt: skip


def _verdict(estimate: Estimate, limit: float) -> str:
    if estimate.high < limit:
        return "passes"
    return "fails" if estimate.low > limit else "open"


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
