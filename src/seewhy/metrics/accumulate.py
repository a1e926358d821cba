"""What a measure gave for each image: gathered from batches and workers, and its mean.

Values are kept by the image's id, so that nothing is lost or counted twice when a run is resumed or
its parts are merged, and the result does not depend on the order in which they came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seewhy.errors import MetricError

Statistic = Callable[[np.ndarray], np.ndarray]
"""Of the images' sum (draws, points), what is defined of all of them together: (draws,)."""

_WEIGHTS = 2**22  # of images in draws that are held at once


@dataclass(frozen=True)
class Estimate:
    """A mean over images and how sure it is.

    Attributes:
        value: the mean; NaN of nothing.
        low, high: its bootstrap interval; NaN of fewer than two images.
        count: values that it is the mean of.
        undefined: values that were NaN, or that had no partner.
    """

    value: float
    low: float
    high: float
    count: int
    undefined: int


class PerImage:
    """One measure's value for each image, by its id: a number, or as many as a curve has points.

    An id is any text that is the image's own; where a measure has several values an image, such as
    one a class, each has an id of its own, and `estimate` is told which image it belongs to.
    """

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        self._values: dict[str, np.ndarray] = {}
        self.add((values or {}).keys(), (values or {}).values())

    def add(self, ids: Iterable[str], values: Iterable[Any]) -> None:
        """The values of more images. NaN is kept: it says that the measure is not defined there.

        What is there already may come again, as when a run is resumed.

        Raises:
            MetricError: another value for an id that is there, a curve of another length, an
                infinite value, or not as many ids as values. Nothing is added then.
        """
        ids, values = list(ids), list(values)
        if len(ids) != len(values):
            raise MetricError(f"{len(ids)} ids came with {len(values)} values; as many are wanted.")
        added = dict(self._values)
        for id_, value in zip(ids, values, strict=True):
            array = np.array(value, np.float64)
            shape = next(iter(added.values())).shape if added else array.shape
            if array.ndim > 1 or array.shape != shape or np.isinf(array).any():
                raise MetricError(
                    f"the value of '{id_}' has the shape {array.shape}"
                    f"{' and is infinite' if np.isinf(array).any() else ''}; a number or a curve "
                    f"is wanted, finite or NaN and shaped {shape} as the first."
                )
            if id_ in added and not np.array_equal(added[id_], array, equal_nan=True):
                raise MetricError(
                    f"'{id_}' has two different values; each image has one: give each image an id "
                    "of its own, and merge results of one protocol only."
                )
            added[id_] = array
        self._values = added

    def merge(self, *others: PerImage) -> PerImage:
        """All values of this and of the others, as a new one.

        Raises:
            MetricError: as `add`.
        """
        merged = PerImage()
        for one in (self, *others):
            merged.add(one._values.keys(), one._values.values())
        return merged

    @property
    def ids(self) -> tuple[str, ...]:
        """Sorted."""
        return tuple(sorted(self._values))

    def array(self) -> np.ndarray:
        """The values in the order of `ids`: (images,), or (images, points) of curves."""
        return np.stack([self._values[id_] for id_ in self.ids]) if self._values else np.empty(0)

    def mean(self) -> np.ndarray:
        """Over the images where it is defined: one number, or a curve."""
        values = self.array()
        if values.ndim > 1:
            return np.asarray(values[~np.isnan(values).any(1)].mean(0))
        values = values[~np.isnan(values)]
        return np.asarray(values.mean() if values.size else np.nan)

    def estimate(
        self,
        *,
        classes: Mapping[str, str] | None = None,
        images: Mapping[str, str] | None = None,
        of_sum: Statistic | None = None,
        level: float = 0.95,
        draws: int = 1000,
        seed: int = 0,
    ) -> Estimate:
        """The mean with a percentile bootstrap interval over images (Efron and Tibshirani 1993).

        Args:
            classes: of each id its class: the mean of the classes' means, as in the pointing
                game. A class that a draw misses does not count in that draw.
            images: of each id its image, where images have several values: they are drawn together.
            of_sum: of curves, such as counts of pixels: what the sum over the images gives, in
                place of the mean of numbers.
            level: of the interval.
            draws: how many times the images are drawn anew.
            seed: of the draws.

        Raises:
            MetricError: curves without `of_sum` or numbers with it, or an id that has no class or
                image.
        """
        values = [self.array()]
        return _estimate(self.ids, values, classes, images, of_sum, level, draws, seed)

    def minus(
        self,
        other: PerImage,
        *,
        classes: Mapping[str, str] | None = None,
        images: Mapping[str, str] | None = None,
        of_sum: Statistic | None = None,
        level: float = 0.95,
        draws: int = 1000,
        seed: int = 0,
    ) -> Estimate:
        """The mean of the differences image by image, on the images where both are defined.

        Much narrower than the difference of two means: an image that is hard is hard for both.

        Args:
            other: the same measure of another method.
            classes, images, of_sum, level, draws, seed: as `estimate` takes them.

        Raises:
            MetricError: as `estimate`, or no image in common.
        """
        ids = tuple(sorted(self._values.keys() & other._values.keys()))
        if not ids:
            raise MetricError("the two have no image in common; a paired difference needs some.")
        both = [np.stack([one._values[id_] for id_ in ids]) for one in (self, other)]
        alone = len(self._values.keys() ^ other._values.keys())
        found = _estimate(ids, both, classes, images, of_sum, level, draws, seed)
        return Estimate(found.value, found.low, found.high, found.count, found.undefined + alone)

    def to_json(self) -> dict[str, Any]:
        """By id, as JSON's own types: NaN is null."""
        plain = self.array().tolist()
        return {
            id_: [_null(point) for point in value] if isinstance(value, list) else _null(value)
            for id_, value in zip(self.ids, plain, strict=True)
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PerImage:
        """What `to_json` gave, to the last bit."""
        return cls(
            {
                id_: [_nan(point) for point in value] if isinstance(value, list) else _nan(value)
                for id_, value in values.items()
            }
        )

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, id_: object) -> bool:
        return id_ in self._values

    def __getitem__(self, id_: str) -> np.ndarray:
        return self._values[id_]


def _estimate(
    ids: Sequence[str],
    values: Sequence[np.ndarray],
    classes: Mapping[str, str] | None,
    images: Mapping[str, str] | None,
    of_sum: Statistic | None,
    level: float,
    draws: int,
    seed: int,
) -> Estimate:
    """Of one measure, or of the first less the second."""
    if any((one.ndim > 1) != (of_sum is not None) for one in values if len(one)):
        raise MetricError(
            "an estimate is of one number an image, or of curves with what their sum gives."
        )
    if not 0 < level < 1 or draws < 1:
        raise MetricError(
            f"level={level} and draws={draws} were given; a share below 1 and at least 1 are wanted"
        )
    if not ids:
        return Estimate(np.nan, np.nan, np.nan, 0, 0)
    defined = ~np.any([np.isnan(one.reshape(len(one), -1)).any(1) for one in values], axis=0)
    kept = [id_ for id_, there in zip(ids, defined, strict=True) if there]
    undefined = int((~defined).sum())
    if not kept:
        return Estimate(np.nan, np.nan, np.nan, 0, undefined)
    groups = _numbered(kept, classes, "class") if classes else np.zeros(len(kept), np.int64)
    clusters = _numbered(kept, images, "image") if images else np.arange(len(kept))
    number = int(clusters.max()) + 1
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    parts = [one[defined][order] for one in values]

    def found(weights: np.ndarray) -> np.ndarray:
        """(draws, ids) → (draws,): the mean of the groups that are there."""
        weights = weights[:, order].astype(np.float64)
        size = np.add.reduceat(weights, starts, axis=1)
        if of_sum is None:
            own = parts[0] - parts[1] if len(parts) > 1 else parts[0]
            total = np.add.reduceat(weights * own, starts, axis=1)
            each = np.divide(total, size, out=np.full(size.shape, np.nan), where=size > 0)
        else:
            ends = [*starts[1:], len(order)]
            sides = [
                np.stack(
                    [
                        of_sum(weights[:, a:b] @ part[a:b])
                        for a, b in zip(starts, ends, strict=True)
                    ],
                    axis=1,
                )
                for part in parts
            ]
            each = sides[0] - sides[1] if len(sides) > 1 else sides[0]
        there = ~np.isnan(each)
        count = there.sum(1)
        total = np.where(there, each, 0).sum(1)
        return np.where(count > 0, total / count.clip(1), np.nan)

    value = float(found(np.ones((1, len(kept))))[0])
    if number < 2 or np.isnan(value):
        return Estimate(value, np.nan, np.nan, len(kept), undefined)
    random = np.random.default_rng(seed)
    at_once = max(1, _WEIGHTS // number)
    means = []
    for start in range(0, draws, at_once):
        drawn = [
            np.bincount(random.integers(number, size=number), minlength=number)
            for _ in range(min(at_once, draws - start))
        ]
        means.append(found(np.stack(drawn)[:, clusters]))
    low, high = np.nanquantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high), len(kept), undefined)


def _numbered(ids: Sequence[str], names: Mapping[str, str], kind: str) -> np.ndarray:
    missing = [id_ for id_ in ids if id_ not in names]
    if missing:
        raise MetricError(f"'{missing[0]}' has no {kind}; every id needs one.")
    return np.unique([names[id_] for id_ in ids], return_inverse=True)[1]


def _null(value: float) -> float | None:
    return None if np.isnan(value) else value


def _nan(value: float | None) -> float:
    return np.nan if value is None else value
