"""The names of metrics as a type, for editors; written by docs/generate.py."""

from __future__ import annotations

from typing import Literal, TypeAlias

MetricName: TypeAlias = Literal[
    "pointing",
    "energy",
    "box-iou",
    "box-accuracy",
    "max-box-accuracy",
    "max-box-accuracy-v2",
    "mask-iou",
    "pxap",
    "grid-pointing",
    "deletion",
    "insertion",
    "pixel-flipping",
    "drop",
    "gain",
    "increase",
    "road",
    "adcc",
    "coherency",
    "complexity",
    "infidelity",
    "infidelity-scaled",
    "sensitivity-n",
    "saco",
    "max-sensitivity",
    "seed-agreement",
    "sanity-cascading",
    "sanity-independent",
    "sanity-class",
]
