"""Sensitivity-n: do the map's sums over random pixels foretell the score's falls without them?

The conventions are those of `scoring`, the baselines those of `baselines`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from seewhy.errors import MetricError
from seewhy.metrics.baselines import Baseline, stand_in_of
from seewhy.metrics.metric import Curve, Metric
from seewhy.metrics.scoring import (
    AT_ONCE,
    Score,
    nan_where_not,
    originals_of,
    prepared,
    scores_of,
    share_of,
)
from seewhy.metrics.similarity import correlation


@dataclass(frozen=True, eq=False)
class SensitivityN:
    """How well the map's sums foretell the score's falls.

    Attributes:
        correlation: `(n,)`, the mean over sizes of Pearson's correlations; 1 is best.
        correlations: `(n, sizes)`; NaN where the sums or the falls do not vary.
        sizes: `(sizes,)`, pixels in a subset.
    """

    correlation: Tensor
    correlations: Tensor
    sizes: Tensor


def sensitivity_n(
    score: Score,
    images: Tensor,
    maps: Tensor,
    *,
    shares: Sequence[float] = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.8),
    samples: int = 100,
    baseline: Baseline = "zero",
    seed: int = 0,
    at_once: int = AT_ONCE,
) -> SensitivityN:
    """Random sets of n pixels taken away: their sum in the map against the score's fall.

    Ancona 2018, with its 100 sets for each n and n spread from few to 80 % of the pixels. Quantus'
    metric of the name takes no random sets: it removes the map's greatest values cumulatively.

    Args:
        score, images, maps, baseline, seed, at_once: see `scoring`.
        shares: of the image's pixels, each giving one n of at least 1.
        samples: sets for each n; at least 2.
    """
    if samples < 2:
        raise MetricError(f"samples={samples} has no correlation; choose at least 2.")
    maps, defined = prepared(images, maps)
    stand_in = stand_in_of(images, baseline, seed)
    pixels = maps[0].numel()
    sizes = torch.tensor([share_of(share, maps) for share in shares])
    generator = torch.Generator().manual_seed(seed)
    count = len(sizes) * samples
    sums = maps.new_zeros(len(images), count)
    flat = maps.flatten(1)
    kept: dict[int, Tensor] = {}

    def without(which: Tensor) -> tuple[Tensor, Tensor]:
        rows, sets = which % len(images), which // len(images)
        for made in [number for number in kept if number < int(sets[0])]:
            del kept[made]
        for number in sorted(set(sets.tolist())):
            if number not in kept:  # in order: the next draw of the generator is this one's
                chosen = torch.randperm(pixels, generator=generator)
                chosen = chosen[: int(sizes[number // samples])].to(maps.device)
                sums[:, number] = flat[:, chosen].sum(1)
                hidden = torch.zeros(pixels, dtype=torch.bool, device=maps.device)
                hidden[chosen] = True
                kept[number] = hidden.reshape(maps.shape[1:])
        hidden = torch.stack([kept[number] for number in sets.tolist()])[:, None]
        return torch.where(hidden, stand_in[rows], images[rows]), rows

    originals = originals_of(score, images, at_once)
    changed = scores_of(score, count * len(images), without, at_once).reshape(count, -1).mT
    falls = originals[:, None] - changed
    correlations = correlation(
        sums.reshape(len(images), len(sizes), samples).cpu(),  # not every device has doubles
        falls.reshape(len(images), len(sizes), samples).cpu(),
    ).to(originals)
    correlations = nan_where_not(defined, correlations)
    return SensitivityN(correlations.nanmean(1), correlations, sizes)


SENSITIVITY_N = Metric(
    title="sensitivity-n",
    better="higher",
    says="how well the map's sums over random pixels foretell the score's falls without them",
    source="Ancona 2018",
    needs="score",
    function=sensitivity_n,
    value=lambda result: result.correlation,
    curve=Curve(
        lambda result: (np.log10(np.asarray(result.sizes)), result.correlations),
        "pixels taken away (power of ten)",
        "correlation",
    ),
    baselines=("random map",),
    bounds=(-1, 1),
)
