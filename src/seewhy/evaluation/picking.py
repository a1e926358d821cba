"""Which pictures an evaluation's page shows: those in which its figures can be seen."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from seewhy.evaluation.result import ALL, Evaluation
from seewhy.metrics import METRICS
from seewhy.metrics.accumulate import PerImage

KINDS = ("apart", "worst", "best")
"""Where the methods differ most; the lowest and the highest mean over the methods."""

_METRICS = 3  # of which pictures are shown


def pictures_to_show(evaluation: Evaluation, count: int) -> list[dict[str, Any]]:
    """By each metric that separates the methods, `count` pictures with every method.

    Returns:
        For each picture an entry a method: metric, kind (of `KINDS`), record, label, value. The
        metrics are those by which some difference between two methods passes its test; where none
        does, the one with the most different values. At most three.
    """
    found = []
    for metric in _separating(evaluation)[:_METRICS]:
        values = {
            one["name"]: own
            for one in evaluation.methods
            if not one["baseline"] and (own := evaluation.values.get((one["name"], metric["name"])))
        }
        for id_, kind in _picked(values, count, lower=metric["better"] == "lower").items():
            record, label = id_.split("\t")
            found += [
                {
                    "method": method, "metric": metric["name"], "kind": kind,
                    "record": record, "label": label, "value": float(own[id_]),
                }
                for method, own in values.items()
                if id_ in own.ids
            ]  # fmt: skip
    return found


def _separating(evaluation: Evaluation) -> Sequence[Mapping[str, Any]]:
    # What is measured on several pictures at once tells none of them apart.
    alone = [one for one in evaluation.metrics if METRICS[one["name"]].needs != "collage"]
    plain = {one["name"] for one in evaluation.methods if not one["baseline"]}
    clear = {
        one["metric"]
        for one in evaluation.differences
        if one["subset"] == ALL and {one["method"], one["to"]} <= plain
        and one["p"] is not None and one["p"] < 0.05
    }  # fmt: skip
    separating = [one for one in alone if one["name"] in clear]

    def different(metric: Mapping[str, Any]) -> int:
        own = [one for (_, name), one in evaluation.values.items() if name == metric["name"]]
        return len({round(float(one[id_]), 6) for one in own for id_ in one.ids})

    return separating or sorted(alone, key=different, reverse=True)[:1]


def _picked(values: Mapping[str, PerImage], count: int, *, lower: bool) -> dict[str, str]:
    """The ids of `count` pictures with their kinds, as many of each kind as can be, in order."""
    by_id: dict[str, list[float]] = {}
    for own in values.values():
        for id_ in own.ids:
            if not math.isnan(value := float(own[id_])):
                by_id.setdefault(id_, []).append(value)
    spans = {id_: max(some) - min(some) for id_, some in by_id.items()}
    bad_first = sorted(by_id, key=lambda id_: sum(by_id[id_]) / len(by_id[id_]), reverse=lower)
    orders = {
        "apart": [id_ for id_ in sorted(spans, key=lambda one: -spans[one]) if spans[id_] > 0],
        "worst": bad_first,
        "best": bad_first[::-1],
    }
    found: dict[str, str] = {}
    for kind in itertools.cycle(KINDS):
        if len(found) >= min(count, len(by_id)):
            break
        left = [id_ for id_ in orders[kind] if id_ not in found]
        if left:
            found[left[0]] = kind
    return dict(sorted(found.items(), key=lambda one: KINDS.index(one[1])))
