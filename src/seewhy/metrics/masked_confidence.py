"""The score of the image seen through its map: average drop, gain, increase; ADCC and its parts.

The conventions are those of `scoring`, the baselines those of `baselines`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from seewhy.errors import MetricError
from seewhy.metrics.baselines import Baseline, stand_in_of
from seewhy.metrics.metric import Metric
from seewhy.metrics.resizing import positive_part
from seewhy.metrics.scoring import (
    AT_ONCE,
    Score,
    nan_where_not,
    prepared,
    ranked,
    scores_of,
    share_of,
)
from seewhy.metrics.similarity import pearson
from seewhy.scaling import unit_range

Explain: TypeAlias = Callable[[Tensor, Tensor], Tensor]
Scaling: TypeAlias = Literal["min-max", "positive", "none"]


@dataclass(frozen=True, eq=False)
class Masked:
    """The score of the image, Y, and of the image seen through its map, O; each `(n,)`.

    Attributes:
        original: Y.
        masked: O.
        drop: max(0, Y − O) / Y: a share, where papers print percent; small is good. NaN where
            Y < 0, which no probability is; 0 where Y is 0.
        gain: max(0, O − Y) / (1 − Y); great is good. NaN where Y > 1; 0 where Y is 1, to 1e-6.
        increase: 1 where O > Y, otherwise 0.
    """

    original: Tensor
    masked: Tensor
    drop: Tensor
    gain: Tensor
    increase: Tensor


def masked_confidence(
    score: Score,
    images: Tensor,
    maps: Tensor,
    *,
    scaling: Scaling = "min-max",
    keep: float = 1.0,
    baseline: Baseline = "zero",
    seed: int = 0,
    at_once: int = AT_ONCE,
) -> Masked:
    """Average drop and increase in confidence (Grad-CAM++ 2018), average gain (Opti-CAM 2024).

    Images are averaged by the caller. The masked image is m x + (1 − m) baseline, for a map m in
    0..1. With `"zero"` that is the map times the image as the model sees it, which most code does:
    what is hidden takes the mean colour. Multiplying pixels before they are standardised turns
    what is hidden black: `baseline=black(mean, std)`. The papers do not say which they do.

    grad-cam's DropInConfidence is Y − O, not divided by Y.

    Args:
        score: of probabilities; see `scoring`.
        images, maps, baseline, seed, at_once: see `scoring`.
        scaling: of the resized map: `"min-max"` to 0..1 (a constant map becomes 0), `"positive"`
            (negative values 0, then over the greatest; Grad-CAM++'s code), or `"none"`.
        keep: the share of pixels, those of the greatest values, where the map is kept; it is 0
            elsewhere. Score-CAM 2020 keeps 0.5.
    """
    masks, defined = _masks(images, maps, scaling)
    if not 0 < keep <= 1:
        raise MetricError(f"keep={keep} is not a share; choose one above 0 and up to 1.")
    if keep < 1:
        kept = ranked(masks.flatten(1)).reshape(masks.shape) < share_of(keep, masks)
        masks = torch.where(kept, masks, 0)
    stand_in = stand_in_of(images, baseline, seed)

    def seen(which: Tensor) -> tuple[Tensor, Tensor]:
        rows = which % len(images)
        through = _seen_through(images, masks, stand_in, rows)
        return torch.where(
            (which < len(images)).to(images.device)[:, None, None, None], images[rows], through
        ), rows

    both = scores_of(score, 2 * len(images), seen, at_once).reshape(2, -1)
    original, masked = nan_where_not(defined, both.mT).mT
    return Masked(
        original,
        masked,
        _share(original - masked, original),
        # A softmax that rounds to 1 leaves no room for a gain.
        _share(masked - original, torch.where((1 - original).abs() < 1e-6, 0, 1 - original)),
        torch.where(masked.isnan(), masked, (masked > original).to(masked)),
    )


@dataclass(frozen=True, eq=False)
class Adcc:
    """Average drop, coherency and complexity in one; each `(n,)`.

    Attributes:
        adcc: their harmonic mean, 3 / (1/coherency + 1/(1 − complexity) + 1/(1 − drop)); 0 where
            one of the three is. Great is good.
        coherency: (r + 1) / 2, r being Pearson's correlation of the map with the map of the image
            seen through it. NaN where one of the two is constant.
        complexity: the mean of the map in 0..1.
        drop: as in `Masked`.
    """

    adcc: Tensor
    coherency: Tensor
    complexity: Tensor
    drop: Tensor


def adcc(
    score: Score,
    explain: Explain,
    images: Tensor,
    maps: Tensor,
    *,
    scaling: Scaling = "min-max",
    baseline: Baseline = "zero",
    seed: int = 0,
    at_once: int = AT_ONCE,
) -> Adcc:
    """ADCC and its three parts (Poppi 2021).

    The authors' code multiplies by 3 where the paper divides, and takes the confidence of the
    predicted class for Y even where another class is explained; this follows the paper.

    Args:
        score: of probabilities; see `scoring`.
        explain: `explain(images (m, channels, height, width), rows (m,))` gives the maps
            `(m, h, w)` of changed images, for the same targets and by the same method as `maps`.
        images, maps, baseline, seed, at_once: see `scoring`.
        scaling: as in `masked_confidence`; of both maps.
    """
    masks, defined = _masks(images, maps, scaling)
    stand_in = stand_in_of(images, baseline, seed)
    parts = []
    for rows in torch.split(torch.arange(len(images)), at_once):
        parts.append(explain(_seen_through(images, masks, stand_in, rows), rows).detach())
    again, defined_again = _masks(images, torch.cat(parts), scaling)
    # On the CPU, as not every device has doubles.
    coherency = (pearson(masks.cpu(), again.cpu()).to(masks) + 1) / 2
    coherency = nan_where_not(defined & defined_again, coherency)
    complexity = nan_where_not(defined, masks.abs().mean((1, 2)))
    drop = masked_confidence(
        score, images, maps, scaling=scaling, baseline=baseline, seed=seed, at_once=at_once
    ).drop
    complexity, coherency = complexity.to(drop), coherency.to(drop)
    # Division by 0 is meant: it gives infinity, and infinity gives 0.
    harmonic = 3 / (1 / coherency + 1 / (1 - complexity) + 1 / (1 - drop))
    return Adcc(harmonic, coherency, complexity, drop)


def _masks(images: Tensor, maps: Tensor, scaling: Scaling) -> tuple[Tensor, Tensor]:
    maps, defined = prepared(images, maps)
    if scaling == "min-max":
        return unit_range(maps), defined
    if scaling == "positive":
        return positive_part(maps), defined
    if scaling == "none":
        return maps, defined
    raise MetricError(f"scaling={scaling!r} is unknown; choose 'min-max', 'positive' or 'none'.")


def _seen_through(images: Tensor, masks: Tensor, stand_in: Tensor, rows: Tensor) -> Tensor:
    mask = masks[rows][:, None].to(images)
    return mask * images[rows] + (1 - mask) * stand_in[rows]


def _share(part: Tensor, whole: Tensor) -> Tensor:
    """max(0, part) / whole; 0 where the whole is 0, NaN where the whole is negative."""
    share = torch.where(whole == 0, 0, part.relu() / whole)
    return torch.where(whole < 0, torch.nan, share)


DROP = Metric(
    title="average drop",
    better="lower",
    says="the share of the score that is lost when the image is seen through its map",
    source="Chattopadhay 2018 (Grad-CAM++)",
    needs="score",
    function=masked_confidence,
    value=lambda result: result.drop,
    probability=True,
    baselines=("random map",),
    bounds=(0, 1),
)

GAIN = Metric(
    title="average gain",
    better="higher",
    says="the share of what is missing to 1 that is gained when the image is seen through its map",
    source="Zhang 2024 (Opti-CAM)",
    needs="score",
    function=masked_confidence,
    value=lambda result: result.gain,
    probability=True,
    baselines=("random map",),
    bounds=(0, 1),
)

INCREASE = Metric(
    title="increase in confidence",
    better="higher",
    says="how often the score is higher when the image is seen through its map",
    source="Chattopadhay 2018 (Grad-CAM++)",
    needs="score",
    function=masked_confidence,
    value=lambda result: result.increase,
    probability=True,
    baselines=("random map",),
    bounds=(0, 1),
)

ADCC = Metric(
    title="ADCC",
    better="higher",
    says="average drop, coherency and complexity in one",
    source="Poppi 2021",
    needs="score and explain",
    function=adcc,
    value=lambda result: result.adcc,
    probability=True,
    bounds=(0, 1),
)

COHERENCY = Metric(
    title="coherency",
    better="higher",
    says="how alike the map is to that of the image seen through it",
    source="Poppi 2021",
    needs="score and explain",
    function=adcc,
    value=lambda result: result.coherency,
    probability=True,
    bounds=(0, 1),
)

COMPLEXITY = Metric(
    title="complexity",
    better="lower",
    says="how much of the image the map covers",
    source="Poppi 2021",
    needs="score and explain",
    function=adcc,
    value=lambda result: result.complexity,
    probability=True,
    bounds=(0, 1),
)
