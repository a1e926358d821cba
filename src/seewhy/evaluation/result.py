"""What an evaluation found, as plain values that everything else only reads."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seewhy.evaluation.decisions import Decisions
from seewhy.metrics.accumulate import PerImage
from seewhy.one_line import one_line
from seewhy.saving.endings import PICTURES, ending_of
from seewhy.saving.files import written_aside

if TYPE_CHECKING:
    from seewhy.render.drawing import Drawing

FORMAT = "seewhy evaluation 1"
ALL = "all"


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What `evaluate` found; each attribute is JSON's own types, NaN where nothing is defined.

    Attributes:
        protocol: everything that moves the numbers.
        counts: records, how many were used, and what became of the others.
        decisions: how often the model is right, what it confuses, and the pictures it gets wrong.
        changed: records whose picture or annotation is another one than in an earlier run into the
            same folder; they were computed anew.
        problems: `record` and `reason`, of those that could not be used.
        methods: `name`, `layer`, `options`, `seconds` an image, and whether it is a `baseline`.
        metrics: `name`, `title`, `better`, `says`, `source`, and its `protocol`; of tests the
            value that a method `passes_below`.
        results: of `method`, `metric` and `subset`: `n`, `undefined`, `mean`, `low`, `high`, and
            which `interval` these are, see `seewhy.metrics.intervals`; of tests also the `p`,
            corrected for the number of tests, and the `verdict`: `passes`, `fails`, or `open`
            where too few pictures, or too equal ones, leave it so.
        differences: of `method` `to` the first one, and to the best, paired over the images; `p`
            is corrected for the number of all differences: below 0.05 it is clear of 0.
        curves: of `metric` and `method`: `x`, `mean`, `low`, `high`, and the axes' titles.
        images: the best and the worst of each method, with a `picture` of the map for the class
            that is `explained`; empty before it is written.
        values: of each method and metric its values by picture.
    """

    protocol: dict[str, Any]
    counts: dict[str, int]
    decisions: Decisions
    changed: list[str]
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
        found = {name: getattr(self, name) for name in fields}
        plain: dict[str, Any] = _plain({**found, "decisions": self.decisions.to_json()})
        return {"format": FORMAT, **plain}

    def table(self) -> str:
        """The results as CSV, a row each."""
        text = io.StringIO()
        protocols = {one["name"]: one["protocol"] for one in self.metrics}
        numbers = ["n", "undefined", "mean", "low", "high", "interval", "p"]
        names = ["method", "metric", "subset", *numbers, "verdict", "protocol"]
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        for one in self.results:
            said = "; ".join(f"{k}={v}" for k, v in protocols[one["metric"]].items())
            writer.writerow(_plain(one) | {"protocol": said})
        return text.getvalue()

    def with_images(self, images: list[dict[str, Any]], decisions: Decisions) -> Evaluation:
        """The same with pictures."""
        return dataclasses.replace(self, images=images, decisions=decisions)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
