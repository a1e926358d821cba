"""Which method is clearly better than which, by the paired differences of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping

from seewhy.report.markup import finite
from seewhy.report.values import ALL, Measured, Metric, clear_of_zero


def clearly_better(evaluation: Measured, one: str, other: str, metric: Metric, subset: str) -> bool:
    """Whether the paired difference, whichever way round it was taken, says so."""
    sign = 1 if metric.better == "higher" else -1
    for pair, way in (((one, other), sign), ((other, one), -sign)):
        entry = evaluation.differences.get((*pair, metric.name, subset), {})
        if clear_of_zero(entry):
            return bool(entry["low"] > 0 if way > 0 else entry["high"] < 0)
    return False


def better_baseline(evaluation: Measured, metric: Metric) -> str | None:
    """The best baseline, where it is as good as the best method or better."""
    winner = _best_baseline(evaluation, metric)
    if winner is None:
        return None
    # Before the methods: of equals the first is the best.
    own = {winner: means(evaluation, metric, ALL, baseline=True)[winner]}
    both = own | means(evaluation, metric, ALL, baseline=False)
    return winner if best_of(both, metric) == winner else None


def rival_baseline(evaluation: Measured, metric: Metric) -> str | None:
    """The best baseline, where no method is known to be clearly better than it."""
    winner = _best_baseline(evaluation, metric)
    if winner is None:
        return None
    known = [
        one
        for one in means(evaluation, metric, ALL, baseline=False)
        if {(one, winner, metric.name, ALL), (winner, one, metric.name, ALL)}
        & evaluation.differences.keys()
    ]
    if not known:
        return better_baseline(evaluation, metric)
    ahead = any(clearly_better(evaluation, one, winner, metric, ALL) for one in known)
    return None if ahead else winner


def _best_baseline(evaluation: Measured, metric: Metric) -> str | None:
    """None where nothing can be compared: no better side, no method or no baseline."""
    baselines = means(evaluation, metric, ALL, baseline=True)
    methods = means(evaluation, metric, ALL, baseline=False)
    if metric.better is None or not methods or not baselines:
        return None
    return best_of(baselines, metric)


def best_of(values: Mapping[str, float], metric: Metric) -> str:
    """The name of the best mean."""
    return (max if metric.better == "higher" else min)(values, key=lambda one: values[one])


def means(evaluation: Measured, metric: Metric, subset: str, *, baseline: bool) -> dict[str, float]:
    """The defined means of the methods, or of the baselines."""
    found = {}
    for method in evaluation.methods:
        entry = evaluation.results.get((method.name, metric.name, subset), {})
        mean = finite(entry.get("mean"))
        if method.baseline == baseline and mean is not None:
            found[method.name] = mean
    return found
