"""What a measure gave for each image: gathered from batches and workers, and its mean.

Values are kept by the image's id, so that nothing is lost or counted twice when a run is resumed or
its parts are merged, and the result does not depend on the order in which they came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from seewhy.errors import MetricError
from seewhy.metrics.intervals import ONE_IMAGE, Interval, Sample, interval

Statistic = Callable[[np.ndarray], np.ndarray]
"""Of the images' sum (draws, points), what is defined of all of them together: (draws,)."""

_NUMBERS = 2**22  # of curves that are held at once


@dataclass(frozen=True)
class Estimate:
    """A mean over images and how sure it is.

    Attributes:
        value: the mean; NaN of nothing.
        low, high: its interval; NaN where none holds.
        count: values that it is the mean of.
        undefined: values that were NaN, or that had no partner.
        p: of the test against a value, not corrected; None where nothing was tested or can be.
        how: which interval it is, or why there is none; see `seewhy.metrics.intervals`.
    """

    value: float
    low: float
    high: float
    count: int
    undefined: int
    p: float | None = None
    how: str = ""


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
        bounds: tuple[float, float] | None = None,
        tested: float | None = None,
        level: float = 0.95,
        draws: int = 2000,
        seed: int = 0,
    ) -> Estimate:
        """The mean with an interval over images that holds; see `seewhy.metrics.intervals`.

        Where images have several values, classes or a common sum, the images' jackknife
        pseudo-values stand for their own values (Efron and Tibshirani 1993, chapter 11).

        Args:
            classes: of each id its class: the mean of the classes' means, as in the pointing
                game.
            images: of each id its image, where images have several values: they count together.
            of_sum: of curves, such as counts of pixels: what the sum over the images gives, in
                place of the mean of numbers.
            bounds: the least and the greatest that a value can be; without them there is no
                interval below 20 images, except of hits.
            tested: a value that the mean is tested against.
            level: of the interval.
            draws: of the bootstrap-t, which values without bounds take.
            seed: of the draws.

        Raises:
            MetricError: curves without `of_sum` or numbers with it, or an id that has no class or
                image.
        """
        how = {"bounds": bounds, "level": level, "draws": draws, "seed": seed, "tested": tested}
        return _estimate(self.ids, [self.array()], classes, images, of_sum, how)

    def minus(
        self,
        other: PerImage,
        *,
        classes: Mapping[str, str] | None = None,
        images: Mapping[str, str] | None = None,
        of_sum: Statistic | None = None,
        bounds: tuple[float, float] | None = None,
        level: float = 0.95,
        draws: int = 2000,
        seed: int = 0,
    ) -> Estimate:
        """The mean of the differences image by image, on the images where both are defined.

        Much narrower than the difference of two means: an image that is hard is hard for both. It
        is tested against 0.

        Args:
            other: the same measure of another method.
            bounds: of a value, not of a difference.
            classes, images, of_sum, level, draws, seed: as `estimate` takes them.

        Raises:
            MetricError: as `estimate`, or no image in common.
        """
        ids = tuple(sorted(self._values.keys() & other._values.keys()))
        if not ids:
            raise MetricError("the two have no image in common; a paired difference needs some.")
        both = [np.stack([one._values[id_] for id_ in ids]) for one in (self, other)]
        alone = len(self._values.keys() ^ other._values.keys())
        how = {"bounds": bounds, "level": level, "draws": draws, "seed": seed, "tested": 0.0}
        found = _estimate(ids, both, classes, images, of_sum, how)
        return replace(found, undefined=found.undefined + alone)

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
    how: Mapping[str, Any],
) -> Estimate:
    """Of one measure, or of the first less the second."""
    if any((one.ndim > 1) != (of_sum is not None) for one in values if len(one)):
        raise MetricError(
            "an estimate is of one number an image, or of curves with what their sum gives."
        )
    level, draws = how["level"], how["draws"]
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
    held = _Held(
        [one[defined] for one in values],
        _numbered(kept, classes, "class") if classes else np.zeros(len(kept), np.int64),
        _numbered(kept, images, "image") if images else np.arange(len(kept)),
        of_sum,
    )
    value = held.value()
    sample = held.sample(value, how["bounds"])
    found = Interval(np.nan, np.nan, None, ONE_IMAGE)
    if sample is not None:
        found = interval(sample, level=level, draws=draws, seed=how["seed"], tested=how["tested"])
    return Estimate(value, found.low, found.high, len(kept), undefined, found.p, found.how)


@dataclass(frozen=True, eq=False)
class _Held:
    """Values with their classes and images.

    Attributes:
        parts: numbers (ids,), or curves (ids, points), of one measure; of two, the first less the
            second counts.
        groups: (ids,), the number of the class.
        clusters: (ids,), the number of the image.
        of_sum: of curves, what their sum gives.
    """

    parts: Sequence[np.ndarray]
    groups: np.ndarray
    clusters: np.ndarray
    of_sum: Statistic | None

    def sample(self, value: float, bounds: tuple[float, float] | None) -> Sample | None:
        """What the interval is made from; None of fewer than two images."""
        count = int(self.clusters.max()) + 1
        hits = self.of_sum is None and all(np.isin(one, (0, 1)).all() for one in self.parts)
        one_each = not self.groups.any() and len(self.clusters) == count
        if self.of_sum is None and one_each:
            values = self._numbers()
        else:
            without = self._without_each()
            values = count * value - (count - 1) * without
        if count < 2 or np.isnan(values).any():
            return None
        of_class = self._of_class()
        there = ~np.isnan(of_class)
        return Sample(
            value,
            values,
            hits=hits and one_each,
            of_class=of_class[there],
            sizes=self._sizes()[there],
            bounds=(0, 1) if hits else bounds,
            paired=len(self.parts) > 1,
        )

    def _sizes(self) -> np.ndarray:
        """(classes,), the images of each."""
        of_class = np.unique(np.stack([self.groups, self.clusters]), axis=1)[0]
        return np.bincount(of_class)

    def _numbers(self) -> np.ndarray:
        """(ids,), or the differences."""
        return self.parts[0] - self.parts[1] if len(self.parts) > 1 else self.parts[0]

    def value(self) -> float:
        """The mean of the classes' values."""
        of_class = self._of_class()
        there = ~np.isnan(of_class)
        return float(of_class[there].mean()) if there.any() else np.nan

    def _of_class(self) -> np.ndarray:
        """(classes,), each class's value."""
        totals, counts = self._totals(self.groups, self.groups.max() + 1)
        return self._given(totals, counts)

    def _without_each(self) -> np.ndarray:
        """(images,), the value when one image is left out; a class that it empties counts not."""
        count = int(self.groups.max()) + 1
        pairs, number = np.unique(self.clusters * count + self.groups, return_inverse=True)
        group, cluster = pairs % count, pairs // count
        totals, counts = self._totals(self.groups, count)
        own, sizes = self._totals(number, len(pairs))
        before = self._given(totals, counts)
        at_once = max(1, _NUMBERS // max(part[0].size for part in self.parts))
        left = [
            self._given(
                [total[group[some]] - one[some] for total, one in zip(totals, own, strict=True)],
                counts[group[some]] - sizes[some],
            )
            for start in range(0, len(pairs), at_once)
            if (some := slice(start, start + at_once))
        ]
        after = np.concatenate(left)
        changed = np.nan_to_num(after) - np.nan_to_num(before)[group]
        gone = (~np.isnan(after)).astype(int) - (~np.isnan(before))[group]
        total = np.nansum(before) + np.bincount(cluster, changed)
        there = (~np.isnan(before)).sum() + np.bincount(cluster, gone)
        nothing = np.full(len(total), np.nan)
        return np.asarray(np.divide(total, there, out=nothing, where=there > 0.5))

    def _totals(self, places: np.ndarray, count: int) -> tuple[list[np.ndarray], np.ndarray]:
        """Of each part the sums by place, and how many there are."""
        sums = []
        for part in [self._numbers()] if self.of_sum is None else self.parts:
            total = np.zeros((count, *part.shape[1:]))
            np.add.at(total, places, part)
            sums.append(total)
        return sums, np.bincount(places, minlength=count)

    def _given(self, totals: Sequence[np.ndarray], counts: np.ndarray) -> np.ndarray:
        """What sums give: means, or what `of_sum` says of them; NaN of nothing."""
        nothing = np.full(len(counts), np.nan)
        if self.of_sum is None:
            return np.asarray(np.divide(totals[0], counts, out=nothing, where=counts > 0))
        sides = [self.of_sum(total) for total in totals]
        given = sides[0] - sides[1] if len(sides) > 1 else sides[0]
        return np.where(counts > 0, given, nothing)


def _numbered(ids: Sequence[str], names: Mapping[str, str], kind: str) -> np.ndarray:
    missing = [id_ for id_ in ids if id_ not in names]
    if missing:
        raise MetricError(f"'{missing[0]}' has no {kind}; every id needs one.")
    return np.unique([names[id_] for id_ in ids], return_inverse=True)[1]


def _null(value: float) -> float | None:
    return None if np.isnan(value) else value


def _nan(value: float | None) -> float:
    return np.nan if value is None else value
