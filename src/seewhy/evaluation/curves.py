"""Curves over all pictures, and the values of metrics whose threshold is chosen on others."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from seewhy.metrics.accumulate import PerImage
from seewhy.metrics.intervals import proportion, student
from seewhy.metrics.localisation import box_accuracy_curve, box_hits, choose_thresholds


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


def crossed(overlaps: Mapping[str, Sequence[float]], ious: Sequence[float], seed: int) -> PerImage:
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


def accuracies(
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
    ends = [proportion(one * len(values), len(values)) for one in mean.tolist()]
    return [
        {
            "metric": metric, "method": name, "x": list(map(float, thresholds)),
            "mean": mean.tolist(), "low": [low for low, _ in ends],
            "high": [high for _, high in ends],
            "x_title": "threshold, as a share of the map's range", "y_title": "box accuracy",
        }
    ]  # fmt: skip


def mean_curve(lines: Mapping[str, Any]) -> dict[str, Any]:
    """The mean of all pictures' curves, and Student's t interval at each point."""
    x = next(iter(lines.values()))[0]
    y = np.array([line[1] for line in lines.values() if len(line[1]) == len(x)], np.float64)
    y = y[~np.isnan(y).any(1)] if len(y) else y
    if not len(y):
        nothing = [math.nan] * len(x)
        return {"x": list(x), "mean": nothing, "low": nothing, "high": nothing}
    low, high = student(y)
    return {"x": list(x), "mean": y.mean(0).tolist(), "low": low.tolist(), "high": high.tolist()}
