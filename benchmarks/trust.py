"""Which method to trust for what: every method measured on annotated photographs.

    python benchmarks/trust.py --data shared/data                # all of it, some hours of one core
    python benchmarks/trust.py --data shared/data place faithful # some parts
    python benchmarks/trust.py --data shared/data --limit 40     # a part of the pictures

The ILSVRC pictures are parted in two: on one half the defaults and the advice were chosen, the
other half, which nobody looked at for that, judges them. Each part is some runs of
`seewhy.evaluate`. What they measured stays in seewhy-out/trust: an interrupted run resumes, and the
tables of docs/which-method.md are written again in a minute.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from page import write_part
from torch import Tensor

import seewhy
from seewhy.dataset import Dataset, read_dataset
from seewhy.evaluation.protocol import sample
from seewhy.metrics import METRICS

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "which-method.md"
OUT = ROOT / "seewhy-out" / "trust"

PLAIN = "cam"
"""What the others are compared with."""

CHOSEN_ON = 400
"""The size of the half of the ILSVRC pictures on which was chosen; the rest judges."""


def smoothed_cam(activations: Tensor, class_weights: Tensor) -> Tensor:
    """`cam`, smoothed by a 3 × 3 bell (1, 2, 1), the border repeated."""
    weights = class_weights[..., None, None]
    bell = torch.tensor([1.0, 2.0, 1.0], dtype=activations.dtype, device=activations.device)
    kernel = (bell[:, None] * bell / 16)[None, None]
    maps = (weights * activations).sum(1, keepdim=True)
    padded = torch.nn.functional.pad(maps, (1, 1, 1, 1), mode="replicate")
    return torch.nn.functional.conv2d(padded, kernel)[:, 0]


SAME = {
    "hires-cam": "cam",
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
    "ablation-cam", "recipro-cam", "recipro-cam-gaussian", "saliency", "input-times-gradient",
    "full-grad", "guided-backprop", "deconvnet", "guided-grad-cam",
)  # fmt: skip
MEDIUM = (
    "group-cam", "smooth-grad-cam++", "smooth-grad", "var-grad", "square-grad",
    "integrated-gradients", "occlusion",
)  # fmt: skip
COSTLY = ("score-cam-bounded", "score-cam-increase", "opti-cam", "rise")
# ss-cam and is-cam take thousands of forward passes a map, and are left out.

PLACE = (
    "pointing", "energy", "box-iou", "box-accuracy", "max-box-accuracy", "max-box-accuracy-v2",
)  # fmt: skip
FAITHFUL = ("deletion", "insertion", "drop", "gain", "increase", "road", "saco")
TESTS = ("sanity-cascading", "sanity-class")
ON_MASKS = ("energy", "pointing", "mask-iou", "pxap")

Options = Mapping[str, Mapping[str, Any]]
OPTIONS: Options = {
    # Within the customary 15 pixels every method that knows a layer hits: see `boxes`.
    "pointing": {"tolerance": 0.0},
    # Coarser than the defaults, where forward passes are what is paid.
    "deletion": {"step": 0.1},
    "insertion": {"step": 0.1},
    "road": {"shares": (0.2, 0.4, 0.6, 0.8)},
    "box-accuracy": {"threshold": 0.3},
    "box-iou": {"threshold": 0.3},
}
WITH_TOLERANCE = {metric: options for metric, options in OPTIONS.items() if metric != "pointing"}
MASKS: Options = {"energy": {"on": "mask"}, "pointing": {"on": "mask", "tolerance": 0.0}}


@dataclass(frozen=True)
class Run:
    """One evaluation: methods that cost about the same, on as many pictures as that allows.

    Attributes:
        name: of its folder.
        methods, metrics: as `seewhy.evaluate` takes them.
        limit: how many pictures of each half.
        half: "chosen" or "judged"; None for all pictures of the data.
        data: a folder of the data.
        model: a name.
        options: of the methods.
        metric_options: of the metrics.
        both: labels, where only pictures that show all of them are used, whatever the model says.
    """

    name: str
    methods: tuple[Any, ...]
    metrics: tuple[str, ...]
    limit: int | None
    half: str | None = "judged"
    data: str = "ilsvrc_val"
    model: str = "demo"
    options: Mapping[str, Any] = field(default_factory=dict)
    metric_options: Options = field(default_factory=lambda: OPTIONS)
    both: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where its rows are kept."""
        return OUT / "-".join(filter(None, (self.name, self.half)))

    def chosen(self, limit: int) -> Run:
        """The same on the other half, on so many pictures."""
        return dataclasses.replace(self, half="chosen", limit=limit)

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
            out=self.folder,
            on_error=lambda record, reason: print(f"{record}: {reason}", file=sys.stderr),
        )
        spent = time.perf_counter() - began
        print(f"{self.folder.name}: {spent:.0f} s, {found.counts}", file=sys.stderr, flush=True)
        return found

    def read(self, folder: Path) -> Dataset:
        """The pictures."""
        data = read_dataset(folder / self.data / "annotations.json")
        if self.half:
            chosen = sample(data.records, CHOSEN_ON, 0)
            ids = {record.id for record in chosen}
            rest = [record for record in data.records if record.id not in ids]
            data = dataclasses.replace(
                data,
                name=f"{data.name} ({self.half})",
                records=tuple(chosen if self.half == "chosen" else rest),
            )
        if not self.both:
            return data
        wanted = data.only(self.both)
        records = tuple(r for r in wanted.records if set(self.both) <= set(r.labels))
        return dataclasses.replace(wanted, records=records)


MEDIUM_RUN = Run("medium", (PLAIN, *MEDIUM), (*PLACE, *FAITHFUL), 14)
COSTLY_RUN = Run("costly", (PLAIN, *COSTLY), (*PLACE, *FAITHFUL), 8, options={"masks": 1000})
PLACE_RUN = Run(
    "place", (*CHEAP, smoothed_cam), ("pointing", "energy", "box-iou", "box-accuracy"), 400
)
BOXES_RUN = Run("boxes", CHEAP, PLACE, 120, metric_options=WITH_TOLERANCE)
FAITH_RUN = Run("faith", CHEAP, (*FAITHFUL, "adcc", "coherency", "complexity"), 24)
GRID_RUN = Run(
    "grid", CHEAP, ("grid-pointing",), 400, metric_options={"grid-pointing": {"count": 44}}
)
BOTH_RUN = Run(
    "both", (*CHEAP, "group-cam", "smooth-grad-cam++"), ON_MASKS, None, half=None,
    data="voc_animals", model="demo-cat-dog", both=("cat", "dog"), metric_options=MASKS,
)  # fmt: skip
TESTS_RUN = Run("tests", CHEAP, TESTS, 20)
TESTS_OF_MORE = Run("tests", (PLAIN, "group-cam", "smooth-grad-cam++", "smooth-grad"), TESTS, 6)

PARTS: dict[str, list[tuple[Run, str]]] = {
    "place": [(PLACE_RUN, "place"), (MEDIUM_RUN, "place")],
    "place-costly": [(COSTLY_RUN, "place")],
    "boxes": [(BOXES_RUN, "boxes")],
    "faithful": [(FAITH_RUN, "faithful"), (MEDIUM_RUN, "faithful"), (COSTLY_RUN, "faithful")],
    "grid": [(GRID_RUN, "grid")],
    "both": [(BOTH_RUN, "both")],
    "tests": [(TESTS_RUN, "tests"), (TESTS_OF_MORE, "tests")],
    "place-chosen": [
        (PLACE_RUN.chosen(400), "place"), (MEDIUM_RUN.chosen(12), "place"),
        (COSTLY_RUN.chosen(8), "place"),
    ],
    "faithful-chosen": [
        (FAITH_RUN.chosen(24), "faithful"), (MEDIUM_RUN.chosen(12), "faithful"),
        (COSTLY_RUN.chosen(8), "faithful"),
    ],
    "grid-chosen": [(GRID_RUN.chosen(400), "grid")],
}  # fmt: skip
"""What is run for each part of the page, and the columns that are shown of it."""


# --- The page ------------------------------------------------------------------------------------

Column = tuple[str, str, str]
"""Metric, subset, and what stands above it."""

SMALL = "small object"
COLUMNS: dict[str, list[Column]] = {
    "place": [
        ("pointing", "all", "pointing"), ("pointing", SMALL, "of small objects"),
        ("energy", "all", "energy"), ("energy", SMALL, "of small objects"),
        ("box-iou", "all", "box IoU"), ("box-accuracy", "all", "box IoU ≥ 0.5"),
    ],
    "boxes": [
        ("pointing", "all", "pointing within 15 pixels"),
        ("max-box-accuracy", "all", "MaxBoxAcc"), ("max-box-accuracy-v2", "all", "MaxBoxAccV2"),
    ],
    "faithful": [
        ("deletion", "all", "deletion ↓"), ("insertion", "all", "insertion ↑"),
        ("drop", "all", "drop ↓"), ("gain", "all", "gain ↑"), ("increase", "all", "increase ↑"),
        ("road", "all", "ROAD ↑"), ("saco", "all", "SaCo ↑"), ("adcc", "all", "ADCC ↑"),
    ],
    "tests": [
        ("sanity-cascading", "all", "upper layers drawn anew"),
        ("sanity-class", "all", "another class"),
    ],
    "grid": [("grid-pointing", "all", "its own quarter")],
    "both": [
        ("energy", "several classes", "energy on its own animal"),
        ("energy", "several classes, cat", "the cat's"),
        ("energy", "several classes, dog", "the dog's"),
        ("pointing", "several classes", "pointing"), ("pxap", "several classes", "PxAP"),
    ],
}  # fmt: skip


def title(method: str) -> str:
    """With those that draw the same map."""
    if method == smoothed_cam.__name__:
        return f"{PLAIN}, smoothed by a 3 × 3 bell"
    return ", ".join([method, *(name for name, other in SAME.items() if other == method)])


def mark(found: seewhy.Evaluation, method: str, metric: str, subset: str) -> str:
    """Whether the difference to plain CAM, picture by picture, passes the corrected test."""
    sign = 1 if METRICS[metric].better == "higher" else -1
    for one in found.differences:
        about = (one["method"], one["to"], one["metric"], one["subset"])
        if about == (method, PLAIN, metric, subset):
            clear = one["p"] is not None and one["p"] < 0.05
            return "" if not clear else " ▲" if sign * one["mean"] > 0 else " ▼"
    return ""


def table(found: seewhy.Evaluation, columns: list[Column]) -> str:
    """A row a method, the baselines last; columns of which nothing was measured are left out."""
    cells = {(one["method"], one["metric"], one["subset"]): one for one in found.results}
    columns = [c for c in columns if any(key[1:] == c[:2] for key in cells)]
    size = {
        column[:2]: max(one["n"] for key, one in cells.items() if key[1:] == column[:2])
        for column in columns
    }
    heads = [f"{words}, n {size[metric, subset]}" for metric, subset, words in columns]
    rows = [f"| | {' | '.join(heads)} |", f"|---|{'--:|' * len(columns)}"]
    for method in found.methods:
        name = method["name"]
        texts = []
        for metric, subset, _ in columns:
            one = cells.get((name, metric, subset))
            if one is None:
                texts.append("")
                continue
            said = f" {one['verdict']}" if "verdict" in one else mark(found, name, metric, subset)
            fewer = f" (n {one['n']})" if one["n"] < size[metric, subset] else ""
            texts.append(f"{number(one)}{said}{fewer}")
        if any(texts):
            shown = f"*{name}*" if method["baseline"] else title(name)
            rows.append(f"| {shown} | {' | '.join(texts)} |")
    return "\n".join(rows)


def number(one: Mapping[str, Any]) -> str:
    """A mean with two places."""
    return "undefined" if np.isnan(one["mean"]) else f"{one['mean']:.2f}"


def same(folder: Path, count: int) -> str:
    """How nearly the methods draw the same map, on some pictures of the data."""
    model = seewhy.load_model("demo")
    pictures = sample(read_dataset(folder / "ilsvrc_val" / "annotations.json").records, count, 0)
    apart: dict[str, float] = {}
    for record in pictures:
        inputs = model.preprocess(record.image)[None]
        for name, other in SAME.items():
            if name == "score-cam":  # its bounded form is compared in docs/benchmarks.md
                continue
            maps = [
                seewhy.attribute(model, inputs, method=method)[0].clamp(min=0)
                for method in (name, other)
            ]
            scaled = [one / one.max().clamp(min=1e-12) for one in maps]
            gap = float((scaled[0] - scaled[1]).abs().max())
            apart[name] = max(apart.get(name, 0.0), gap)
    lines = ["| | draws the map of | largest difference |", "|---|---|--:|"]
    lines += [f"| {name} | {SAME[name]} | {gap:.1g} |" for name, gap in apart.items()]
    return "\n".join(lines)


def setting(run: Run, found: seewhy.Evaluation, columns: list[Column]) -> str:
    """Under what the figures were made, where it is not what `seewhy evaluate` does by default."""
    shown = {metric for metric, *_ in columns}
    chosen = [
        f"`{metric}.{name}={':'.join(map(str, value)) if isinstance(value, tuple) else value}`"
        for metric, options in run.metric_options.items()
        if metric in shown & set(found.protocol["metrics"])
        for name, value in options.items()
    ]
    chosen += [f"`{name}={value}`" for name, value in run.options.items()]
    counts = found.counts
    kind = f" with {' and '.join(run.both)}, the model right or wrong" if run.both else ""
    halves = {"judged": " of the half that judges", "chosen": " of the half that was chosen on"}
    half = halves.get(run.half or "", "")
    used = f"{counts['used']} of {counts['records']} pictures{half}{kind}"
    return f"{run.model} on {run.data}, {used}{'; ' if chosen else ''}{', '.join(chosen)}."


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", help=f"same, {', '.join(PARTS)}")
    parser.add_argument("--data", type=Path, required=True, help="with ilsvrc_val and voc_animals")
    parser.add_argument("--limit", type=int, help="at most so many pictures of each run")
    args = parser.parse_args()
    for part in args.parts or ("same", *PARTS):
        if part == "same":
            write_part(PAGE, part, "trust.py", same(args.data, args.limit or 20))
            continue
        blocks = []
        for run, shown in PARTS[part]:
            found = run.measure(args.data, args.limit)
            columns = COLUMNS[shown]
            blocks.append(f"{setting(run, found, columns)}\n\n{table(found, columns)}")
        write_part(PAGE, part, "trust.py", "\n\n".join(blocks))


if __name__ == "__main__":
    main()
