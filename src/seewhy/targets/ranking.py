"""What a network predicts, the first first: classes, regions of classes, boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from seewhy.errors import TargetError
from seewhy.targets.boxes import detected
from seewhy.targets.kinds import ClassScore, Target
from seewhy.targets.outputs import (
    Ending,
    checked_outputs,
    class_count,
    ending_of,
    is_detections,
    is_maps,
    ranking,
    without_single_axes,
)
from seewhy.targets.regions import Region, regions


def ranked(
    outputs: Tensor, labels: Sequence[str] | None, most: int, ending: Ending = None
) -> list[list[Target]]:
    """For each image what the network predicts: classes, regions or boxes.

    Args:
        outputs: of any of these kinds.
        labels: the names of the classes, in order.
        most: how many boxes are looked for.
        ending: what the network does to its logits last.
    """
    if is_detections(outputs):
        return [[one for one, _ in some] for some in detected(outputs, most)]
    if is_maps(outputs):
        class_count(outputs, labels)
        return [list(some) for some in regions(outputs, ending)]
    return [[ClassScore(index) for index in some] for some in ranking(outputs, labels, ending)]


def box_of_class(outputs: Tensor, index: int, words: str) -> Target:
    """The highest-scored box of a class in the outputs of one image.

    Raises:
        TargetError: there is none.
    """
    (best,) = detected(outputs, 1, index)
    if best:
        return best[0][0]
    others = {str(one.index): None for one, _ in detected(outputs, 32)[0]}
    there = f"only boxes of class {', '.join(others)}" if others else "nor any other box"
    raise TargetError(
        f"the detector found no box of '{words}', {there}. Lower its score "
        "threshold, or give the box: 'CLASS@x1,y1,x2,y2'"
    )


def predictions(
    outputs: Tensor, k: int = 5, labels: Sequence[str] | None = None, ending: Ending = None
) -> list[list[tuple[int, float, float | None]]]:
    """The k highest classes of each image as (index, score, probability).

    The probability is the softmax in float64. One output an image with two labels is a binary
    classifier: both sides, with the sigmoid; without them it is a bare number, (0, value, None).
    Of maps it is the classes that cover most, with the mean logit and probability over their
    regions; of boxes the highest-scored, whose score is a probability. Outputs of other shapes
    have no classes: an empty list for each image. `ending` is what the network does to its logits
    last (`Resolved` has it): where its outputs are probabilities, those are what is given.
    """
    values = without_single_axes(checked_outputs(outputs.detach()).cpu().double())
    ending = ending or ending_of(values)
    if is_detections(values):
        return [[(cast(int, one.index), x, x) for one, x in some] for some in detected(values, k)]
    if is_maps(values):
        own = zip(values[:, None], regions(values, ending), strict=True)
        return [[_over(one, maps) for one in some[:k]] for maps, some in own]
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2:
        return [[] for _ in values]
    if values.shape[1] == 1 and (labels is None or len(labels) != 2):
        return [[(0, value, None)] for value in values[:, 0].tolist()]
    return _highest(values, k, ending)


def _highest(values: Tensor, k: int, ending: Ending) -> list[list[tuple[int, float, float | None]]]:
    """The k highest of `(batch, classes)`, or the sides of `(batch, 1)`, in order."""
    sides = values.shape[1] == 1
    if sides:
        values = torch.cat((-values if ending is None else 1 - values, values), dim=1)
    probabilities = values
    if ending is None:
        probabilities = values.sigmoid() if sides else values.softmax(dim=1)
    order = values.nan_to_num(nan=-math.inf, posinf=math.inf, neginf=-math.inf).argsort(
        dim=1, descending=True, stable=True
    )[:, :k]
    return [
        [(index, float(row[index]), float(chances[index])) for index in indices]
        for indices, row, chances in zip(order.tolist(), values, probabilities, strict=True)
    ]


def _over(region: Region, maps: Tensor) -> tuple[int, float, float]:
    """A region's class, score and probability in the maps of one image."""
    settled = region.settled(maps)
    return cast(int, region.index), float(settled(maps)), float(settled.chance(maps, False))
