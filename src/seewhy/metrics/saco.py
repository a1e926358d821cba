"""SaCo: do more salient pixels matter more, and by how much more (Wu 2024)?

The conventions are those of `scoring`, the baselines those of `baselines`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from seewhy.errors import MetricError
from seewhy.metrics.baselines import Baseline, stand_in_of
from seewhy.metrics.metric import Metric
from seewhy.metrics.scoring import (
    AT_ONCE,
    Score,
    nan_where_not,
    originals_of,
    prepared,
    ranked,
    scores_of,
)


@dataclass(frozen=True, eq=False)
class SaCo:
    """The salience-guided faithfulness coefficient.

    Attributes:
        coefficient: `(n,)`, in −1..1; 1 is best. NaN where all groups have the same salience.
        salience: `(n, groups)`, the sum of the map over each group, the most salient first.
        falls: `(n, groups)`, of the score where the group is replaced.
    """

    coefficient: Tensor
    salience: Tensor
    falls: Tensor


def saco(
    score: Score,
    images: Tensor,
    maps: Tensor,
    *,
    groups: int = 10,
    baseline: Baseline = "mean",
    seed: int = 0,
    at_once: int = AT_ONCE,
) -> SaCo:
    """SaCo: do more salient groups of pixels matter more, and by how much more (Wu 2024)?

    Pixels fall into equal groups by rank, each replaced on its own by the image's mean colour. Of
    every pair i before j the difference s(i) − s(j) of their salience counts for the map where the
    score falls at least as far without i, and against it otherwise; the sum over the sum of the
    differences.

    Args:
        score: of probabilities; see `scoring`.
        images, maps, baseline, seed, at_once: see `scoring`.
        groups: K.
    """
    if groups < 2:
        raise MetricError(f"groups={groups} has no pairs; choose at least 2.")
    maps, defined = prepared(images, maps)
    stand_in = stand_in_of(images, baseline, seed)
    pixels = maps[0].numel()
    if groups > pixels:
        raise MetricError(f"groups={groups} is more than the {pixels} pixels; choose fewer.")
    members = ranked(maps.flatten(1)) * groups // pixels
    salience = torch.zeros(len(maps), groups, dtype=torch.float64)  # on the CPU: not every device
    salience.scatter_add_(1, members.cpu(), maps.flatten(1).cpu().double())  # has doubles
    salience = salience.to(maps)
    members = members.reshape(maps.shape)

    def without(which: Tensor) -> tuple[Tensor, Tensor]:
        rows, group = which // groups, which % groups
        hidden = members[rows] == group.to(members.device)[:, None, None]
        return torch.where(hidden[:, None], stand_in[rows], images[rows]), rows

    originals = originals_of(score, images, at_once)
    changed = scores_of(score, len(images) * groups, without, at_once).reshape(-1, groups)
    falls = originals[:, None] - changed
    weights = (salience[:, :, None] - salience[:, None, :]).triu()
    holds = falls[:, :, None] >= falls[:, None, :]
    signed = torch.where(holds, weights, -weights).sum((1, 2))
    coefficient = (signed / weights.abs().sum((1, 2))).to(falls)
    return SaCo(
        nan_where_not(defined, coefficient),
        nan_where_not(defined, salience),
        nan_where_not(defined, falls),
    )


SACO = Metric(
    title="SaCo",
    better="higher",
    says="whether pixels with more salience matter more, and by how much more",
    source="Wu 2024",
    needs="score",
    function=saco,
    value=lambda result: result.coefficient,
    probability=True,
    baselines=("random map",),
    bounds=(-1, 1),
)
