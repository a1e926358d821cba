"""Which method to trust for what: every method measured on annotated photographs.

    python benchmarks/trust.py --data shared/data                # all of it, some hours of one core
    python benchmarks/trust.py --data shared/data place faithful # some parts
    python benchmarks/trust.py --data shared/data --limit 40     # a part of the pictures

Each part is some runs of `seewhy.evaluate`. What they measured stays in seewhy-out/trust: a run that
broke off goes on, and the tables of docs/which-method.md are written again in a minute.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

import seewhy
from seewhy.dataset import Dataset, read_dataset
from seewhy.evaluation.running import sample
from seewhy.metrics.table import METRICS

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "which-method.md"
OUT = ROOT / "seewhy-out" / "trust"

PLAIN = "cam"
"""What the others are compared with."""

SAME = {
    "hires-cam": "cam",
    "recipro-cam": "cam",
    "xgrad-cam": "grad-cam",
    "shapley-cam": "grad-cam",
    "ablation-cam-slope": "grad-cam",
    "grad-cam-elementwise": "layer-cam",
    "grad-cam++-normalised": "layer-cam",
    "ablation-cam-relative": "ablation-cam",
    "score-cam": "score-cam-bounded",
}
"""What draws the same map on a network whose head is linear behind a mean over the positions;
`same` measures how nearly."""

CHEAP = (
    "cam", "grad-cam", "grad-cam++", "layer-cam", "eigen-cam", "eigen-grad-cam", "fem", "kpca-cam",
    "ablation-cam", "recipro-cam-gaussian", "saliency", "input-times-gradient", "full-grad",
    "guided-backprop", "deconvnet", "guided-grad-cam",
)  # fmt: skip
MEDIUM = (
    "group-cam", "smooth-grad-cam++", "smooth-grad", "var-grad", "square-grad",
    "integrated-gradients", "occlusion",
)  # fmt: skip
COSTLY = ("score-cam-bounded", "score-cam-increase", "opti-cam", "rise")
LEFT_OUT = ("ss-cam", "is-cam")  # thousands of forward passes a map

PLACE = (
    "pointing", "energy", "box-iou", "box-accuracy", "max-box-accuracy", "max-box-accuracy-v2",
)  # fmt: skip
FAITHFUL = ("deletion", "insertion", "drop", "gain", "increase", "road", "saco")
TESTS = ("sanity-cascading", "sanity-class")
ON_MASKS = ("energy", "pointing", "mask-iou", "pxap")

Options = Mapping[str, Mapping[str, Any]]
OPTIONS: Options = {
    # Coarser than the defaults, where forward passes are what is paid.
    "deletion": {"step": 0.1},
    "insertion": {"step": 0.1},
    "road": {"shares": (0.2, 0.4, 0.6, 0.8)},
    "box-accuracy": {"threshold": 0.3},
    "box-iou": {"threshold": 0.3},
}
MASKS: Options = {"energy": {"on": "mask"}, "pointing": {"on": "mask"}}


@dataclass(frozen=True)
class Run:
    """One evaluation: methods that cost about the same, on as many pictures as that allows.

    Attributes:
        name: of its folder.
        methods, metrics, limit: as `seewhy.evaluate` takes them.
        data: a folder of the data.
        model: a name.
        options: of the methods.
        metric_options: of the metrics.
        both: labels, where only pictures that show all of them are used, whatever the model says.
    """

    name: str
    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    limit: int | None
    data: str = "ilsvrc_val"
    model: str = "demo"
    options: Mapping[str, Any] = field(default_factory=dict)
    metric_options: Options = field(default_factory=lambda: OPTIONS)
    both: tuple[str, ...] = ()

    def measure(self, folder: Path, limit: int | None) -> seewhy.Evaluation:
        """What is found, going on where an earlier run stopped."""
        began = time.perf_counter()
        found = seewhy.evaluate(
            seewhy.load_model(self.model),
            self.read(folder),
            methods=self.methods,
            metrics=self.metrics,
            options=self.options,
            metric_options={m: o for m, o in self.metric_options.items() if m in self.metrics},
            only_correct=not self.both,
            limit=min(filter(None, (limit, self.limit)), default=None),
            pictures=0,
            out=OUT / self.name,
            on_error=lambda record, reason: print(f"{record}: {reason}", file=sys.stderr),
        )
        spent = time.perf_counter() - began
        print(f"{self.name}: {spent:.0f} s, {found.counts}", file=sys.stderr, flush=True)
        return found

    def read(self, folder: Path) -> Dataset:
        """The pictures."""
        data = read_dataset(folder / self.data / "annotations.json")
        if not self.both:
            return data
        wanted = data.only(self.both)
        records = tuple(r for r in wanted.records if set(self.both) <= set(r.labels))
        return dataclasses.replace(wanted, records=records)


CAT_AND_DOG: dict[str, Any] = {
    "data": "voc_animals", "model": "demo-cat-dog", "both": ("cat", "dog"), "metric_options": MASKS,
}  # fmt: skip
PARTS = {
    "place": [
        Run("place", CHEAP, PLACE, 400),
        Run("medium", (PLAIN, *MEDIUM), (*PLACE, *FAITHFUL), 36),
        Run("costly", (PLAIN, *COSTLY), (*PLACE, *FAITHFUL), 20, options={"masks": 1000}),
    ],
    "faithful": [
        Run("faith", CHEAP, (*FAITHFUL, "adcc", "coherency", "complexity"), 60),
        Run("medium", (PLAIN, *MEDIUM), (*PLACE, *FAITHFUL), 36),
        Run("costly", (PLAIN, *COSTLY), (*PLACE, *FAITHFUL), 20, options={"masks": 1000}),
    ],
    "class": [
        Run("grid", CHEAP, ("grid-pointing",), 400,
            metric_options={"grid-pointing": {"count": 24}}),
        Run("both", (*CHEAP, *MEDIUM, "score-cam-bounded", "opti-cam"), ON_MASKS, None,
            **CAT_AND_DOG),
    ],
    "tests": [
        Run("tests", CHEAP, TESTS, 12),
        Run("tests", (PLAIN, *MEDIUM, "score-cam-bounded", "opti-cam"), TESTS, 5),
    ],
}  # fmt: skip


# --- The page ------------------------------------------------------------------------------------


def title(method: str) -> str:
    """With those that draw the same map."""
    twins = [name for name, other in SAME.items() if other == method]
    return ", ".join([method, *twins])


def mark(found: seewhy.Evaluation, method: str, metric: str, subset: str) -> str:
    """Whether the difference to plain CAM, picture by picture, is clear of 0."""
    sign = 1 if METRICS[metric].better == "higher" else -1
    for one in found.differences:
        about = (one["method"], one["to"], one["metric"], one["subset"])
        if about == (method, PLAIN, metric, subset):
            low, high = sorted((sign * one["low"], sign * one["high"]))
            return " ▲" if low > 0 else " ▼" if high < 0 else ""
    return ""


Column = tuple[str, str, str]  # metric, subset, title


def block(found: seewhy.Evaluation, columns: list[Column], *, repeat_head: bool) -> list[str]:
    """A row a method, the baselines last."""
    cells = {(one["method"], one["metric"], one["subset"]): one for one in found.results}
    sizes = {
        (metric, subset): max(
            (one["n"] for one in found.results if (one["metric"], one["subset"]) == (metric, subset)),
            default=0,
        )
        for metric, subset, _ in columns
    }
    heads = [f"{words}, n {sizes[metric, subset]}" for metric, subset, words in columns]
    rows = [f"| {' | '.join(['', *heads])} |", f"|---|{'--:|' * len(columns)}"]
    if repeat_head:
        rows = ["", *rows]
    names = [m["name"] for m in found.methods]
    for name in names:
        own = [cells.get((name, metric, subset)) for metric, subset, _ in columns]
        if not any(own):
            continue
        texts = []
        for one, (metric, subset, _) in zip(own, columns, strict=True):
            if one is None or np.isnan(one["mean"]):
                texts.append("" if one is None else "undefined")
                continue
            verdict = f" {one['verdict']}" if "verdict" in one else mark(found, name, metric, subset)
            missing = f" (n {one['n']})" if one["n"] < sizes[metric, subset] else ""
            texts.append(f"{one['mean']:.2f}{verdict}{missing}")
        baseline = next(m["baseline"] for m in found.methods if m["name"] == name)
        shown = f"*{name}*" if baseline else title(name)
        rows.append(f"| {shown} | {' | '.join(texts)} |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", help=", ".join(PARTS))
    parser.add_argument("--data", type=Path, required=True, help="with ilsvrc_val and voc_animals")
    parser.add_argument("--limit", type=int, help="at most so many pictures of each part")
    args = parser.parse_args()
    for part in args.parts or PARTS:
        for run in PARTS[part]:
            run.measure(args.data, args.limit)


if __name__ == "__main__":
    main()
