"""Pictures of different classes laid side by side: does each class's map keep to its cell?

Laid together are pictures that the model is sure of, so that each class is seen in its own cell and
in no other (Rao, Böhle and Schiele 2022, the grid pointing game).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seewhy.dataset import Record
from seewhy.errors import MetricError
from seewhy.explainer import Prepared
from seewhy.metrics.localisation import choose_collages, collage
from seewhy.targets import ClassScore


@dataclass(frozen=True)
class Collage:
    """Pictures laid side by side.

    Attributes:
        records: cell by cell along the rows.
        labels: of each its own, none twice.
        classes: of each the model's class.
    """

    records: tuple[Record, ...]
    labels: tuple[str, ...]
    classes: tuple[int, ...]

    @property
    def id(self) -> str:
        """The key of its stored results: the ids of its pictures."""
        return " + ".join(record.id for record in self.records)

    @property
    def targets(self) -> tuple[ClassScore, ...]:
        """Each cell's class."""
        return tuple(ClassScore(index) for index in self.classes)


def choose(
    records: Sequence[Record],
    status: Mapping[str, Mapping[str, Any]],
    *,
    side: int,
    count: int,
    confidence: float,
    seed: int,
) -> list[Collage]:
    """Collages of the pictures that show one class, of which the model is sure.

    Args:
        records: of the data.
        status: what became of each, by its id.
        side: pictures along each side.
        count: the most that are drawn; each picture lies in one at most.
        confidence: the least probability.
        seed: of the draws.

    Raises:
        MetricError: these pictures show too few classes.
    """
    sure = []
    for record in records:
        values = status.get(record.id, {})
        labels = values.get("labels", {})
        if values.get("right") and len(labels) == 1:
            ((label, one),) = labels.items()
            if one["probability"] is not None and one["probability"] >= confidence:
                sure.append((record, label, one["class"]))
    known = len({index for *_, index in sure})
    if known < side**2:
        raise MetricError(
            f"a collage of {side} × {side} pictures needs {side**2} different classes "
            f"that the model gives a probability of at least {confidence:g}. Of "
            f"{len(records)} pictures, {len(sure)} are suitable, of {known} classes. "
            "Give more pictures or a lower grid-pointing.confidence."
        )
    places = choose_collages([index for *_, index in sure], count=count, side=side, seed=seed)
    return [Collage(*zip(*(sure[place] for place in row), strict=True)) for row in places]


def laid_together(pictures: Sequence[Sequence[Prepared]], side: int) -> Tensor:
    """As the model sees them: (n, channels, side·height, side·width)."""
    tensors = torch.stack([one.tensor for cells in pictures for one in cells])
    places = np.arange(len(tensors)).reshape(-1, side**2)
    return collage(tensors, places, side=side)
