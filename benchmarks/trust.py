"""Which method to trust for what: every method measured on annotated photographs.

    python benchmarks/trust.py --data shared/data place faith

Each part is one `seewhy evaluate`; what it has measured stays in seewhy-out/trust, so that a run
that broke off goes on, and the tables can be written again in a minute.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import seewhy
from seewhy.dataset import read_dataset

ROOT = Path(__file__).resolve().parent.parent
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
"""What draws the same map on this network, whose head is linear behind a mean over the positions;
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

PLACE = (
    "pointing", "energy", "box-iou", "box-accuracy", "max-box-accuracy", "max-box-accuracy-v2",
)  # fmt: skip
FAITH = ("deletion", "insertion", "drop", "gain", "increase", "road", "saco")
STEPS = {
    "deletion": {"step": 0.1},
    "insertion": {"step": 0.1},
    "road": {"shares": (0.2, 0.4, 0.6, 0.8)},
    "box-accuracy": {"threshold": 0.3},
    "box-iou": {"threshold": 0.3},
}
"""Coarser than the defaults, where a forward pass of the network is what is paid."""


@dataclass(frozen=True)
class Part:
    """One evaluation: methods that cost about the same, on as many pictures as that allows."""

    methods: tuple[str, ...]
    metrics: tuple[str, ...]
    limit: int | None
    data: str = "ilsvrc_val"
    model: str = "demo"
    options: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)

    def measure(self, name: str, folder: Path, limit: int | None = None) -> seewhy.Evaluation:
        """What `seewhy evaluate` finds, going on where an earlier run stopped."""
        began = time.perf_counter()
        found = seewhy.evaluate(
            seewhy.load_model(self.model),
            read_dataset(folder / self.data / "annotations.json"),
            methods=self.methods,
            metrics=self.metrics,
            options=self.options,
            metric_options={one: STEPS[one] for one in self.metrics if one in STEPS},
            limit=limit or self.limit,
            pictures=0,
            out=OUT / name,
            on_error=lambda record, reason: print(f"{record}: {reason}", file=sys.stderr),
            **self.more,
        )
        print(f"{name}: {time.perf_counter() - began:.0f} s", found.counts, file=sys.stderr)
        return found


PARTS = {
    "place": Part(CHEAP, PLACE, 400),
    "faith": Part(CHEAP, (*FAITH, "adcc", "coherency", "complexity"), 40),
    "medium": Part((PLAIN, *MEDIUM), (*PLACE, *FAITH), 36),
    "costly": Part((PLAIN, *COSTLY), (*PLACE, *FAITH), 20, options={"masks": 1000}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", help=", ".join(PARTS))
    parser.add_argument("--data", type=Path, required=True, help="with ilsvrc_val and voc_animals")
    parser.add_argument("--limit", type=int, help="fewer pictures of each part")
    args = parser.parse_args()
    for name in args.parts or PARTS:
        PARTS[name].measure(name, args.data, args.limit)


if __name__ == "__main__":
    main()
