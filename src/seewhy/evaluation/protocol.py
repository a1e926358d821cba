"""What is measured on what: everything that moves the numbers, checked before the work begins."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from seewhy.dataset import Dataset, Record
from seewhy.errors import DataError, MetricError
from seewhy.metrics import METRICS, find_metric
from seewhy.version import __version__

TARGETS = ("label", "predicted")
ROWS_FORMAT = 2  # with fingerprints, and what the model said of each picture


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
        """All of it."""
        return dataclasses.asdict(self)

    @property
    def of_rows(self) -> dict[str, Any]:
        """What all rows of a file have in common.

        Each row has a fingerprint of its picture and of the classes of its labels, so
        corrected data can use the same file.
        """
        common = {name: value for name, value in self.to_json().items() if name != "classes"}
        return {
            **common,
            "data": {name: self.data[name] for name in ("name", "kind")},
            "rows": ROWS_FORMAT,
        }

    @property
    def of_pictures(self) -> dict[str, Mapping[str, Any]]:
        """The metrics that are of one picture at a time, with their options."""
        return {m: o for m, o in self.metrics.items() if METRICS[m].needs != "collage"}

    @property
    def of_collages(self) -> dict[str, Mapping[str, Any]]:
        """The metrics that are of pictures laid side by side, with their options."""
        return {m: o for m, o in self.metrics.items() if METRICS[m].needs == "collage"}

    def needs_masks(self, records: Sequence[Record]) -> bool:
        """Whether masks are read: a metric compares with them, or nothing else says the place."""
        asked = any(METRICS[m].needs == "mask" or o.get("on") == "mask"
                    for m, o in self.metrics.items())  # fmt: skip
        return asked or not any(record.boxes for record in records)


def versions() -> dict[str, str]:
    """Versions of the libraries that compute the numbers."""
    return {"seewhy": __version__, "torch": torch.__version__, "numpy": np.__version__}


def default_metrics(data: Dataset) -> list[str]:
    """What the data allows and does not take long."""
    placed = []
    if any(record.boxes for record in data.records):
        placed = ["pointing", "energy", "box-accuracy"]
    if any(record.masks for record in data.records):
        placed.append("mask-iou")
    return [*placed, "drop", "increase"]


def metrics_with_options(
    names: Sequence[str], given: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Each metric with all its options, those that were given and the defaults of the others.

    Raises:
        MetricError: an unknown metric, option or value, or options of what is not measured.
    """
    chosen = {name: find_metric(name).with_options(given.get(name, {})) for name in names}
    if strange := [name for name in given if name not in chosen]:
        raise MetricError(f"options were given for {', '.join(strange)}, which is not measured.")
    return chosen


def sample(records: Sequence[Record], limit: int | None, seed: int) -> list[Record]:
    """At most `limit` records in their order; a larger limit has all of a smaller one's."""
    if limit is None or limit >= len(records):
        return list(records)
    if limit < 1:
        raise DataError(f"limit must be at least 1, not {limit}.")
    places = np.random.default_rng(seed).permutation(len(records))[:limit]
    return [records[place] for place in sorted(places.tolist())]


def checksum(module: nn.Module) -> str:
    """Of the weights, so that results of two checkpoints of one name are not mixed."""
    number = 0
    for name, tensor in sorted(module.state_dict().items()):
        values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        number = zlib.crc32(memoryview(values.numpy()), zlib.crc32(name.encode(), number))
    return f"{number:08x}"
