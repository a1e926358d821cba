"""Which method is clearly better than which, by the paired differences of an evaluation."""

from __future__ import annotations

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
    methods = means(evaluation, metric, ALL, baseline=False)
    baselines = means(evaluation, metric, ALL, baseline=True)
    if metric.better is None or not methods or not baselines:
        return None
    pick = max if metric.better == "higher" else min
    winner = pick(baselines, key=lambda one: baselines[one])
    best = pick(methods.values())
    return winner if pick(best, baselines[winner]) == baselines[winner] else None


def rival_baseline(evaluation: Measured, metric: Metric) -> str | None:
    """The best baseline, where no method is known to be clearly better than it."""
    methods = means(evaluation, metric, ALL, baseline=False)
    baselines = means(evaluation, metric, ALL, baseline=True)
    if metric.better is None or not methods or not baselines:
        return None
    pick = max if metric.better == "higher" else min
    winner = pick(baselines, key=lambda one: baselines[one])
    known = [
        one
        for one in methods
        if any(
            pair in evaluation.differences
            for pair in ((one, winner, metric.name, ALL), (winner, one, metric.name, ALL))
        )
    ]
    if not known:
        return better_baseline(evaluation, metric)
    ahead = any(clearly_better(evaluation, one, winner, metric, ALL) for one in known)
    return None if ahead else winner


def means(evaluation: Measured, metric: Metric, subset: str, *, baseline: bool) -> dict[str, float]:
    """The defined means of the methods, or of the baselines."""
    found = {}
    for method in evaluation.methods:
        entry = evaluation.results.get((method.name, metric.name, subset), {})
        mean = finite(entry.get("mean"))
        if method.baseline == baseline and mean is not None:
            found[method.name] = mean
    return found
