"""The score along the way as pixels are taken away or put back: deletion, insertion, flipping.

The conventions are those of `scoring`, the baselines those of `baselines`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from seewhy.errors import MetricError, at_least_one
from seewhy.metrics.baselines import Baselines, stand_in_of
from seewhy.metrics.metric import Curve, Metric
from seewhy.metrics.scoring import (
    AT_ONCE,
    Score,
    nan_where_not,
    prepared,
    ranked,
    scores_of,
    share_of,
)


@dataclass(frozen=True, eq=False)
class Walk:
    """Scores along the way from one image to another.

    Attributes:
        area: `(n,)`, under the curve by the trapezoid rule, points taken as evenly spaced:
            (sum − (first + last) / 2) / (points − 1).
        scores: `(n, points)`.
        shares: `(points,)`, of the pixels changed, from 0 to 1.
    """

    area: Tensor
    scores: Tensor
    shares: Tensor


def deletion(
    score: Score,
    images: Tensor,
    maps: Tensor,
    *,
    step: float = 1 / 224,
    baseline: Baselines = "zero",
    seed: int = 0,
    at_once: int = AT_ONCE,
) -> Walk:
    """The score as pixels are taken away, the map's greatest first; small is good (RISE 2018).

    The defaults are RISE's: 224 of 224 × 224 pixels a step, replaced by 0 in standardised space,
    read as probabilities. RISE's area takes the last step for a whole one, also where pixels do
    not divide evenly; torchcam weighs it by its pixels. With 224 × 224 pixels that is the same.

    Args:
        score, images, maps, at_once: see `scoring`.
        step: pixels changed at a time: below 1 their share of the image, from 1 on their number.
        baseline: what replaces pixels; of several, the curves are averaged.
        seed: of the baseline `"uniform"`.
    """
    return _walk(score, images, maps, step, baseline, seed, at_once, inserting=False)


def insertion(
    score: Score,
    images: Tensor,
    maps: Tensor,
    *,
    step: float = 1 / 224,
    baseline: Baselines = "blur",
    seed: int = 0,
    at_once: int = AT_ONCE,
) -> Walk:
    """The score as pixels return to the baseline, the map's greatest first (RISE 2018).

    Great is good. The defaults are RISE's, with the blurred image to begin from; see `deletion`.
    """
    return _walk(score, images, maps, step, baseline, seed, at_once, inserting=True)


@dataclass(frozen=True, eq=False)
class Flipping:
    """How the score falls as regions are replaced.

    Attributes:
        fall: `(n,)`, the mean over the points of f(x) − f(x with regions replaced), the first
            point, where nothing is, among them: the area over the perturbation curve (AOPC).
        scores: `(n, points)`.
        shares: `(points,)`, of the regions replaced.
    """

    fall: Tensor
    scores: Tensor
    shares: Tensor


def pixel_flipping(
    score: Score,
    images: Tensor,
    maps: Tensor,
    *,
    region: int = 9,
    flips: int = 100,
    order: Literal["most", "least"] = "most",
    baseline: Baselines = "uniform",
    seed: int = 0,
    at_once: int = AT_ONCE,
) -> Flipping:
    """Regions replaced one after another, ranked by the map's sum over them (Samek 2017).

    The defaults are Samek's: 9 × 9 pixels, 100 steps, uniform noise. Bach 2015 flips single pixels
    (`region=1`). The grid begins at the upper left; regions cut off by the edge count as regions,
    by the mean of what is left of them. Great is good where the most relevant go first, small
    where the least relevant do.

    Args:
        score, images, maps, baseline, seed, at_once: see `scoring`.
        region: side of the square regions, in pixels.
        flips: how many regions are replaced, at most as many as there are.
        order: whether the most or the least relevant regions go first.
    """
    at_least_one(MetricError, region=region, flips=flips)
    if order not in ("most", "least"):
        raise MetricError(f"order={order!r} is unknown; choose 'most' or 'least'.")
    maps, defined = prepared(images, maps)
    height, width = images.shape[2:]
    rows, columns = (torch.arange(size, device=maps.device) // region for size in (height, width))
    across = int(columns[-1]) + 1
    regions = (rows[:, None] * across + columns).flatten()  # the number of each pixel's region
    count = int(regions[-1]) + 1
    sizes = torch.bincount(regions, minlength=count)
    sums = maps.new_zeros(len(maps), count).index_add_(1, regions, maps.flatten(1))
    means = sums / sizes
    ranks = ranked(means if order == "most" else -means)[:, regions].reshape(maps.shape)
    steps = torch.arange(min(flips, count) + 1)
    scores = _replaced(score, images, ranks, steps, baseline, seed, at_once, inserting=False)
    scores = nan_where_not(defined, scores)
    return Flipping((scores[:, :1] - scores).mean(1), scores, steps / count)


def _walk(
    score: Score,
    images: Tensor,
    maps: Tensor,
    step: float,
    baseline: Baselines,
    seed: int,
    at_once: int,
    *,
    inserting: bool,
) -> Walk:
    maps, defined = prepared(images, maps)
    if step <= 0 or (step > 1 and step != int(step)):
        raise MetricError(
            f"step={step} is neither a share of pixels (below 1) nor a number of pixels; choose "
            "one of these."
        )
    pixels = maps[0].numel()
    stride = int(step) if step >= 1 else share_of(step, maps)
    counts = torch.arange(0, pixels + stride, stride).clamp_(max=pixels)
    ranks = ranked(maps.flatten(1)).reshape(maps.shape)
    scores = _replaced(score, images, ranks, counts, baseline, seed, at_once, inserting=inserting)
    scores = nan_where_not(defined, scores)
    ends = (scores[:, 0] + scores[:, -1]) / 2
    return Walk((scores.sum(1) - ends) / (len(counts) - 1), scores, counts / pixels)


def _replaced(
    score: Score,
    images: Tensor,
    ranks: Tensor,
    counts: Tensor,
    baseline: Baselines,
    seed: int,
    at_once: int,
    *,
    inserting: bool,
) -> Tensor:
    """Scores `(n, counts)` where pixels of ranks below a count have changed sides."""
    baselines = list(baseline) if isinstance(baseline, list | tuple) else [baseline]
    if not baselines:
        raise MetricError("no baseline came; at least one is wanted.")
    total: Tensor | None = None
    for one in baselines:
        stand_in = stand_in_of(images, one, seed)
        start, finish = (stand_in, images) if inserting else (images, stand_in)

        def changed(
            which: Tensor, start: Tensor = start, finish: Tensor = finish
        ) -> tuple[Tensor, Tensor]:
            rows, points = which // len(counts), which % len(counts)
            done = ranks[rows] < counts[points].to(ranks.device)[:, None, None]
            return torch.where(done[:, None], finish[rows], start[rows]), rows

        given = scores_of(score, len(images) * len(counts), changed, at_once)
        total = given if total is None else total + given
    assert total is not None
    return (total / len(baselines)).reshape(len(images), -1)


def _shares_and_scores(result: Any) -> tuple[Any, Any]:
    return result.shares, result.scores


_WALKED = "probability or logit"

DELETION = Metric(
    title="deletion",
    better="lower",
    says="the mean score while pixels are taken away, the map's greatest first",
    source="Petsiuk 2018 (RISE)",
    needs="score",
    function=deletion,
    value=lambda result: result.area,
    curve=Curve(_shares_and_scores, "share of the pixels taken away", _WALKED),
    baselines=("random map",),
    bounds=(0, 1),
)
INSERTION = Metric(
    title="insertion",
    better="higher",
    says="the mean score while pixels return to the blurred image, the map's greatest first",
    source="Petsiuk 2018 (RISE)",
    needs="score",
    function=insertion,
    value=lambda result: result.area,
    curve=Curve(_shares_and_scores, "share of the pixels shown", _WALKED),
    baselines=("random map",),
    bounds=(0, 1),
)
PIXEL_FLIPPING = Metric(
    title="pixel flipping",
    better="higher",
    says="how far the score falls on average as regions are replaced, the most relevant first",
    source="Samek 2017",
    needs="score",
    function=pixel_flipping,
    value=lambda result: result.fall,
    curve=Curve(_shares_and_scores, "share of the regions replaced", _WALKED),
    baselines=("random map",),
    bounds=(-1, 1),
)
