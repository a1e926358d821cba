"""The verdict on top of an evaluation's page: what its figures say, in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seewhy.report.comparing import best_of, clearly_better, means, rival_baseline
from seewhy.report.markup import finite, name, text
from seewhy.report.values import ALL, Measured, Metric
from seewhy.report.words import counted

_MOST = 3  # figures that a sentence names
_LEAST = 20  # images below which values without bounds have no interval


@dataclass(frozen=True)
class Lost:
    """A method that is clearly worse than the best one by a metric."""

    method: str
    best: str
    metric: Metric


def verdict(evaluation: Measured) -> str:
    """A heading of one sentence, and what supports it; nothing where nothing was compared."""
    methods = [method.name for method in evaluation.methods if not method.baseline]
    metrics = [
        metric
        for metric in evaluation.metrics
        if metric.better and means(evaluation, metric, ALL, baseline=False)
    ]
    if not methods or not metrics:
        return ""
    lost = [one for metric in metrics for one in _lost(evaluation, metric)]
    failed = _by_verdict(evaluation, "fails")
    sentences = [
        *_worse(evaluation, methods, lost),
        *(
            f"<b>{name(method)}</b> fails {_listed(titles)}: its map hardly changes when what the "
            "model has learned is taken away, so do not ask it why the model decided."
            for method, titles in failed.items()
        ),
        *_silent(evaluation, metrics, lost, several=len(methods) > 1),
        *_open(evaluation),
    ]
    items = "".join(f"<li>{one}</li>" for one in sentences)
    heading = _heading(evaluation, methods, metrics, lost, failed)
    return f'<p class="verdict">{heading}</p>' + (f"<ul>{items}</ul>" if items else "")


def _heading(
    evaluation: Measured,
    methods: Sequence[str],
    metrics: Sequence[Metric],
    lost: Sequence[Lost],
    failed: dict[str, list[str]],
) -> str:
    count = _images(evaluation, metrics)
    beaten = {one.method for one in lost} | set(failed)
    standing = [method for method in methods if method not in beaten]
    if len(methods) == 1:
        if failed:
            return f"Do not rely on {name(methods[0])}: it fails a test."
        above = [metric for metric in metrics if _beats_baselines(evaluation, methods[0], metric)]
        if above:
            titles = _listed([metric.title for metric in above])
            return f"{name(methods[0])} is clearly better than every baseline by {titles}."
        return f"{name(methods[0])} was measured; it is not clearly better than the baselines."
    if count is not None and count < _LEAST and not lost:
        return (
            f"No verdict: on {counted(count, 'image')} the methods cannot be told apart. "
            f"Evaluate at least {_LEAST}, better 100."
        )
    if not standing:
        return "No method is best throughout: choose by the metric that matters to you."
    if len(standing) == len(methods):
        return f"No metric clearly separates {_listed(methods)}."
    if len(standing) == 1:
        return f"Use {name(standing[0])}: no other method is clearly better by any metric."
    return f"Use {_listed(standing, 'or')}: none of the others is clearly better by any metric."


def _lost(evaluation: Measured, metric: Metric) -> list[Lost]:
    """The methods that the best one of a metric clearly beats."""
    known = means(evaluation, metric, ALL, baseline=False)
    best = best_of(known, metric)
    return [
        Lost(method, best, metric)
        for method in known
        if method != best and clearly_better(evaluation, best, method, metric, ALL)
    ]


def _worse(evaluation: Measured, methods: Sequence[str], lost: Sequence[Lost]) -> list[str]:
    """A sentence for each method that another one clearly beats."""
    sentences = []
    for method in methods:
        own = [one for one in lost if one.method == method]
        if not own:
            continue
        figures = []
        for one in own[:_MOST]:
            known = means(evaluation, one.metric, ALL, baseline=False)
            mine, other = (one.metric.scale.number(known[m]) for m in (method, one.best))
            figures.append(f"{text(one.metric.title)} ({mine}, {name(one.best)} {other})")
        more = len(own) - _MOST
        rest = f", and by {counted(more, 'more metric')}" if more > 0 else ""
        sentences.append(f"<b>{name(method)}</b> is clearly worse by {'; '.join(figures)}{rest}.")
    return sentences


def _silent(
    evaluation: Measured, metrics: Sequence[Metric], lost: Sequence[Lost], *, several: bool
) -> list[str]:
    """What does not speak for any map: a baseline does as well, or no two methods differ."""
    matched = {
        metric.title: winner for metric in metrics if (winner := rival_baseline(evaluation, metric))
    }
    said = [
        f"{text(title)} says nothing for these maps: no method is clearly better than "
        f"the baseline {name(winner)}, which looks at no model."
        for title, winner in matched.items()
    ]
    separating = {one.metric.name for one in lost}
    level = [
        metric.title
        for metric in metrics
        if metric.name not in separating and metric.title not in matched
    ]
    if several and separating and level:
        said.append(f"No two methods differ clearly by {_listed(level)}.")
    return said


def _open(evaluation: Measured) -> list[str]:
    """The tests that stay open."""
    return [
        f"<b>{name(method)}</b>: {_listed(titles)} stays open; more images would decide it."
        for method, titles in _by_verdict(evaluation, "open").items()
    ]


def _by_verdict(evaluation: Measured, said: str) -> dict[str, list[str]]:
    """By method the titles of the tests that ended so."""
    found: dict[str, list[str]] = {}
    for method in evaluation.methods:
        for metric in evaluation.metrics:
            entry = evaluation.results.get((method.name, metric.name, ALL), {})
            if entry.get("verdict") == said and not method.baseline:
                found.setdefault(method.name, []).append(metric.title)
    return found


def _beats_baselines(evaluation: Measured, method: str, metric: Metric) -> bool:
    baselines = means(evaluation, metric, ALL, baseline=True)
    return bool(baselines) and all(
        clearly_better(evaluation, method, one, metric, ALL) for one in baselines
    )


def _images(evaluation: Measured, metrics: Sequence[Metric]) -> int | None:
    """The most values that a mean is of."""
    counts = [
        int(count)
        for (_, metric, subset), entry in evaluation.results.items()
        if subset == ALL
        and metric in {one.name for one in metrics}
        and (count := finite(entry.get("n"))) is not None
    ]
    return max(counts, default=None)


def _listed(words: Sequence[str], last: str = "and") -> str:
    """Names or titles as a sentence holds them."""
    shown = [name(one) for one in words]
    if len(shown) < 2:
        return "".join(shown)
    return f"{', '.join(shown[:-1])} {last} {shown[-1]}"
