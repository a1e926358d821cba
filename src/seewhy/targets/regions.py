"""A class over a part of a map of classes: segmentation, keypoints, dense predictions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d

from seewhy.errors import TargetError
from seewhy.targets.kinds import (
    Labels,
    Outcome,
    Target,
    class_column,
    class_index,
    class_probability,
    class_words,
    whole_number,
)
from seewhy.targets.outputs import Ending, as_maps, predicted_positions

_POOL = {1: adaptive_avg_pool1d, 2: adaptive_avg_pool2d, 3: adaptive_avg_pool3d}


@dataclass(frozen=True)
class Mask:
    """Which positions of a map belong to a region; `Mask.of` makes it of an array.

    Args:
        size: of the map.
        runs: how many positions lie outside, inside, outside, ... in the array's order.
        name: what it is called in titles.
    """

    size: tuple[int, ...]
    runs: tuple[int, ...]
    name: str = field(default="in the mask", compare=False)

    def __post_init__(self) -> None:
        for key in ("size", "runs"):
            numbers = tuple(whole_number(each, "a length") for each in getattr(self, key))
            object.__setattr__(self, key, numbers)
        if sum(self.runs) != math.prod(self.size):
            raise TargetError(f"the mask's runs do not add up to its size {self.size}")
        if not sum(self.runs[1::2]):
            raise TargetError("the mask is empty. A region needs at least one position")

    @classmethod
    def of(cls, array: np.ndarray | Tensor, name: str = "in the mask") -> Mask:
        """The mask with the positions where a boolean array is true."""
        if isinstance(array, Tensor):
            array = array.detach().cpu().numpy()
        if array.dtype != bool or array.ndim not in _POOL:
            raise TargetError(
                "the mask of a region must be a boolean array with the axes of the map, "
                f"not {array.dtype} of shape {array.shape}. Compare it with a number, as in "
                "mask > 0"
            )
        flat = array.ravel()
        changes = np.flatnonzero(np.diff(flat)) + 1
        bounds = [0, *([0] if flat.size and flat[0] else []), *changes.tolist(), flat.size]
        runs = tuple(b - a for a, b in pairwise(bounds))
        return cls(array.shape, runs, name)

    def array(self) -> np.ndarray:
        """The boolean array."""
        flat = np.zeros(math.prod(self.size), bool)
        edges = [0, *accumulate(self.runs)]
        for begin, end in zip(edges[1::2], edges[2::2], strict=False):
            flat[begin:end] = True
        return flat.reshape(self.size)

    @property
    def share(self) -> float:
        """The part of the map that it covers, 0 to 1."""
        return sum(self.runs[1::2]) / math.prod(self.size)

    def weights(self, size: Sequence[int], like: Tensor) -> Tensor:
        """How much of each position of a map of another size it covers; they add up to 1."""
        inside = torch.from_numpy(self.array()).to(like.device, like.dtype)
        if len(size) != inside.ndim:
            raise TargetError(
                f"the mask has the size {self.size}, but the network returns maps of the "
                f"size {tuple(size)}"
            )
        if inside.shape != tuple(size):
            pool: Any = _POOL[inside.ndim]
            inside = pool(inside[None, None], tuple(size))[0, 0]
        return inside / inside.sum()

    def to_json(self) -> dict[str, Any]:
        """As a target's: plain values."""
        return {
            "kind": "Mask", "size": list(self.size), "runs": list(self.runs), "name": self.name
        }  # fmt: skip


Place: TypeAlias = Mask | np.ndarray | Tensor | Sequence[float] | Target | str | None


@dataclass(frozen=True)
class Region(Outcome):
    """The mean logit of a class over a region of its map: Seg-Grad-CAM's target (Vinogradova 2020).

    The paper adds up the logits of the region's pixels. The region is fixed, so their mean gives
    the same map up to a factor, and the score stays a logit, and the probability a probability.

    Args:
        index: Number of the class, or its name.
        where: None: where the class is predicted (the only class of a network that is predicted
            nowhere: the whole map); another class (a target): where that one is; a boolean array
            with the axes of the map, at its size or any other, such as the picture's; a box x1,
            y1, x2, y2 or one position x, y of the map; `"peak"`: the position where the class's
            map is highest (keypoints). `resolve` settles the first, the second and the last for
            each image, and the region then stays what it is.
        label: The class's label, for printing only.
        ending: see `Outcome`.
    """

    index: int | str
    where: Place = None
    label: str | None = field(default=None, compare=False)
    ending: Ending = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", class_index(self.index))
        object.__setattr__(self, "where", _place(self.where))

    def settled(self, outputs: Tensor, labels: Labels = None) -> Region:
        """With its region found in the outputs of one image."""
        maps = as_maps(outputs)
        index = class_column(self.index, maps.shape[1], one=True)
        label = labels[index] if labels else self.label
        where = self.where
        if where == "peak":
            if maps.ndim != 4:
                raise TargetError(
                    "a peak is a position x, y of a map with two axes. Give a mask instead"
                )
            row, column = divmod(int(maps[0, index].argmax()), maps.shape[3])
            where = (column, row)
        elif isinstance(where, Region):
            where = where.where
        elif where is None:
            where = _where_predicted(maps, index, label, labels, self.ending)
        settled = Region(index, where, label, self.ending)
        settled(outputs.detach())  # raises where it does not fit
        return settled

    def _score(self, outputs: Tensor) -> Tensor:
        maps = as_maps(outputs)
        return self._mean(maps[:, class_column(self.index, maps.shape[1], one=True)])

    def chance(self, outputs: Tensor, sigmoid: bool) -> Tensor:
        """The mean of the class's probability over the region."""
        if self.ending is not None:
            return self(outputs)
        maps = as_maps(outputs)
        column = class_column(self.index, maps.shape[1], one=True)
        return self._mean(class_probability(maps, column, sigmoid))

    def _mean(self, maps: Tensor) -> Tensor:
        """Over the region, of one map an image `(batch, *size)`."""
        size = maps.shape[1:]
        if isinstance(self.where, Mask):
            weights = self.where.weights(size, maps).flatten()
            inside = weights > 0
            return (maps.flatten(1)[:, inside] * weights[inside]).sum(1)
        if not isinstance(self.where, tuple):
            raise TargetError(
                "the predicted region of a class differs between images; call resolve() first"
            )
        if len(size) != 2:
            raise TargetError(
                "a place given as x, y or as a box needs a map with two axes, but this map "
                f"has the size {tuple(size)}. Give a mask instead"
            )
        left, upper, right, lower = (*self.where, *(each + 1 for each in self.where))[:4]
        columns, rows = _within(left, right, size[1]), _within(upper, lower, size[0])
        if columns.start >= columns.stop or rows.start >= rows.stop:
            raise TargetError(
                f"{_told(self.where)} contains no position of the network's map, which has "
                f"{size[1]} columns and {size[0]} rows"
            )
        return maps[:, rows, columns].flatten(1).mean(1)

    def _words(self, labels: Labels) -> str:
        words = class_words(self.index, self.label, labels)
        if isinstance(self.where, Mask):
            share = self.where.share
            return f"{words} {self.where.name} ({share:.{0 if share >= 0.01 else 2}%})"
        if isinstance(self.where, tuple):
            return f"{words} {'in box' if len(self.where) == 4 else 'at'} {_told(self.where)}"
        if isinstance(self.where, Target):
            return f"{words} where {self.where.describe(labels)}"
        return f"{words} at its peak" if self.where else f"{words} where predicted"


def regions(outputs: Tensor, ending: Ending = None) -> list[list[Region]]:
    """For each image the predicted classes, each over its own region, the largest first."""
    maps = as_maps(outputs.detach())
    found = []
    for counts in predicted_positions(maps, ending).flatten(2).sum(2):
        order = counts.argsort(descending=True, stable=True)
        found.append([Region(index, ending=ending) for index in order.tolist() if counts[index]])
    return found


def _where_predicted(
    maps: Tensor, index: int, label: str | None, labels: Labels, ending: Ending
) -> Mask:
    predicted = predicted_positions(maps.detach(), ending)[0]
    inside = predicted[index]
    if not inside.any() and maps.shape[1] == 1:  # there is nothing else that could be named
        return Mask.of(torch.ones_like(inside), "over the whole map, being predicted nowhere")
    if not inside.any():
        others = predicted.flatten(1).any(1).nonzero()[:, 0].tolist()
        named = ", ".join(class_words(other, None, labels) for other in others[:8])
        there = f"only {named}" if others else "nor any other class"
        more = " and more" if len(others) > 8 else ""
        raise TargetError(
            f"no position is predicted as '{class_words(index, label, labels)}', "
            f"{there}{more}. Ask for its highest position with '{index}@peak', for a "
            "position with 'CLASS@x,y', for a box with 'CLASS@x1,y1,x2,y2', or for "
            "Region(class, mask)"
        )
    return Mask.of(inside, "where predicted")


def _within(low: float, high: float, count: int) -> slice:
    """The positions whose centres lie between two edges."""
    return slice(max(0, math.ceil(low - 0.5)), min(count, math.ceil(high - 0.5)))


def _place(where: Place) -> Place:
    if where is None or isinstance(where, Target | Mask):
        return where
    if isinstance(where, str) and where == "peak":
        return where
    if isinstance(where, Tensor | np.ndarray) and (where.ndim > 1 or where.dtype in _BOOLEAN):
        return Mask.of(where)
    if isinstance(where, Tensor | np.ndarray):
        where = where.tolist()
    return _numbers(where)


_BOOLEAN = (torch.bool, np.dtype(bool))


def _numbers(where: Any) -> tuple[float, ...]:
    try:
        numbers = tuple(float(each) for each in where)
        fits = len(numbers) in (2, 4) and all(map(math.isfinite, numbers))
        fits = fits and not isinstance(where, str)
    except (TypeError, ValueError):
        fits = False
    if not fits or (len(numbers) == 4 and (numbers[0] >= numbers[2] or numbers[1] >= numbers[3])):
        raise TargetError(
            "a place must be x, y, or a box x1, y1, x2, y2 with x1 < x2 and y1 < y2, "
            f"or a boolean mask, or 'peak', not {where!r}"
        )
    return numbers


def _told(place: tuple[float, ...]) -> str:
    return f"({', '.join(f'{each:.4g}' for each in place)})"
