"""Intervals cover the truth as often as they say, whatever the data; or there is none."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from scipy import stats

from seewhy.metrics import intervals
from seewhy.metrics.accumulate import Estimate, PerImage
from seewhy.metrics.intervals import Interval, Sample, holm, interval, proportion, student

SHARE, ANY = (0.0, 1.0), None
SIZES = (4, 6, 10, 22, 100)
TRIALS, FEWER = 1000, 400  # fewer where classes, images and sums are gone through as well


def least(trials: int) -> float:
    """0.93 less two standard errors of the simulation."""
    return 0.93 - 2 * math.sqrt(0.93 * 0.07 / trials)


# By name: how values are drawn, their mean, and their bounds.
Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]
DATA: dict[str, tuple[Draw, float, tuple[float, float] | None]] = {
    "normal": (lambda r, s: r.normal(3, 2, s), 3, ANY),
    "exponential": (lambda r, s: r.exponential(1, s), 1, ANY),
    "lognormal": (lambda r, s: r.lognormal(0, 1, s), math.exp(0.5), ANY),
    "hits, half": (lambda r, s: (r.random(s) < 0.5) * 1.0, 0.5, ANY),
    "hits, most": (lambda r, s: (r.random(s) < 0.94) * 1.0, 0.94, ANY),
    "hits, few": (lambda r, s: (r.random(s) < 0.02) * 1.0, 0.02, ANY),
    "shares": (lambda r, s: r.random(s), 0.5, SHARE),
    "shares, high": (lambda r, s: r.beta(8, 2, s), 0.8, SHARE),
    "shares, at both ends": (lambda r, s: r.beta(0.5, 0.5, s), 0.5, SHARE),
    "shares, skewed": (lambda r, s: r.beta(1, 0.2, s), 1 / 1.2, SHARE),
    "shares, most 0": (lambda r, s: np.where(r.random(s) < 0.7, 0, r.random(s)), 0.15, SHARE),
    "shares, most 1": (lambda r, s: np.where(r.random(s) < 0.9, 1, r.random(s)), 0.95, SHARE),
}


def each(values: np.ndarray) -> Iterator[PerImage]:
    for row in values:
        yield PerImage({f"{i:03}": value for i, value in enumerate(row)})


def holds(found: Estimate | Interval, truth: float) -> bool:
    return math.isnan(found.low) or found.low <= truth <= found.high


def found_in(
    drawn: np.ndarray, bounds: tuple[float, float] | None, *, hits: bool, paired: bool
) -> list[Interval]:
    """Of each row; that `PerImage` makes the same samples is tested below."""
    return [
        interval(
            Sample(float(row.mean()), row, hits, row.mean()[None], np.array([len(row)]), bounds,
                   paired),
            level=0.95, draws=2000, seed=0, tested=0.0 if paired else None,
        )
        for row in drawn
    ]  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", DATA)
def test_an_interval_covers_the_truth_or_there_is_none(name: str, size: int) -> None:
    draw, truth, bounds = DATA[name]
    drawn = draw(np.random.default_rng(size), (TRIALS, size))
    found = found_in(drawn, bounds, hits=name.startswith("hits"), paired=False)
    assert np.mean([holds(one, truth) for one in found]) >= least(TRIALS)
    none = name in ("normal", "exponential", "lognormal") and size < intervals.LEAST
    missing = np.mean([math.isnan(one.low) for one in found])
    assert missing == none
    if none:
        assert {one.how for one in found} == {"none, fewer than 20 images"}


def test_an_estimate_is_of_the_sample_that_was_simulated() -> None:
    random = np.random.default_rng(0)
    hits, shares = (random.random(22) < 0.7) * 1.0, random.random(22)
    other = random.random(22)
    one, two = each(np.stack([shares, other]))
    (of_hits,) = each(hits[None])
    for estimate, row, bounds, kind in (
        (of_hits.estimate(), hits, ANY, {"hits": True, "paired": False}),
        (one.estimate(), shares, ANY, {"hits": False, "paired": False}),
        (one.estimate(bounds=SHARE), shares, SHARE, {"hits": False, "paired": False}),
        (one.minus(two, bounds=SHARE), shares - other, SHARE, {"hits": False, "paired": True}),
    ):
        (wanted,) = found_in(row[None], bounds, **kind)
        assert (estimate.low, estimate.high) == pytest.approx((wanted.low, wanted.high))
        assert estimate.how == wanted.how


DIFFERENCES: dict[str, tuple[Draw, float, tuple[float, float] | None]] = {
    "normal": (lambda r, s: r.normal(0.5, 1, s), 0.5, ANY),
    "skewed": (lambda r, s: r.exponential(1, s) - 1, 0, ANY),
    "heavy tails": (lambda r, s: r.normal(0, 1, s) ** 3, 0, ANY),
    "of shares": (lambda r, s: r.beta(8, 2, s) - r.beta(4, 4, s), 0.3, SHARE),
    "mostly none": (
        lambda r, s: np.where(r.random(s) < 0.9, 0, r.random(s) - 0.5), 0, SHARE,
    ),
    "mostly none, one side": (
        lambda r, s: np.where(r.random(s) < 0.7, 0, r.random(s)), 0.15, SHARE,
    ),
    "never any": (lambda r, s: np.zeros(s), 0, SHARE),
}  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_paired_difference_covers_the_truth_or_has_no_interval(name: str, size: int) -> None:
    draw, truth, bounds = DIFFERENCES[name]
    drawn = draw(np.random.default_rng(size), (TRIALS, size))
    found = found_in(drawn, bounds, hits=False, paired=True)
    assert np.mean([holds(one, truth) for one in found]) >= least(TRIALS)
    if bounds is not None or size >= intervals.LEAST:
        assert np.mean([math.isnan(one.low) for one in found]) == 0
        assert all(one.high > one.low for one in found)


@pytest.mark.parametrize(("more", "less"), [(0.1, 0.1), (0.3, 0.1), (0.5, 0.3), (0.6, 0), (0, 0)])
@pytest.mark.parametrize("size", SIZES)
def test_a_paired_difference_of_hits(size: int, more: float, less: float) -> None:
    drawn = np.random.default_rng(size).random((TRIALS, size))
    drawn = (drawn < more) * 1.0 - ((drawn >= more) & (drawn < more + less))
    found = found_in(drawn, SHARE, hits=True, paired=True)
    assert np.mean([holds(one, more - less) for one in found]) >= least(TRIALS)
    assert all(one.high > one.low for one in found)


def of_classes(
    random: np.random.Generator, sizes: tuple[int, ...], rates: tuple[float, ...]
) -> tuple[PerImage, dict[str, str]]:
    values, classes = {}, {}
    for name, (size, rate) in enumerate(zip(sizes, rates, strict=True)):
        for number, hit in enumerate(random.random(size) < rate):
            values[f"{name}/{number}"] = float(hit)
            classes[f"{name}/{number}"] = str(name)
    return PerImage(values), classes


@pytest.mark.parametrize(
    ("sizes", "rates"),
    [
        ((5, 5), (0.9, 0.6)),
        ((3, 20), (0.5, 0.95)),
        ((2, 2, 2, 2, 2, 2), (0.9, 0.8, 1.0, 0.7, 0.9, 0.9)),
        ((10, 10, 10), (0.94, 0.94, 0.94)),
        ((1,) * 30, (0.8,) * 30),
        ((40, 4, 8), (0.9, 0.5, 1.0)),
    ],
)
def test_the_mean_of_classes_is_covered(sizes: tuple[int, ...], rates: tuple[float, ...]) -> None:
    random = np.random.default_rng(len(sizes))
    covered = []
    for _ in range(FEWER):
        values, classes = of_classes(random, sizes, rates)
        covered.append(holds(values.estimate(classes=classes), float(np.mean(rates))))
    assert np.mean(covered) >= least(FEWER)


@pytest.mark.parametrize("size", [4, 10, 22, 60])
def test_images_with_several_values_are_covered(size: int) -> None:
    """One to three values an image that are mostly alike, so that images count, not values."""
    random = np.random.default_rng(size)
    covered = []
    for _ in range(FEWER):
        values, images = {}, {}
        for image in range(size):
            rate = random.beta(4, 1)
            for number in range(random.integers(1, 4)):
                values[f"{image}/{number}"] = float(random.random() < rate)
                images[f"{image}/{number}"] = str(image)
        covered.append(holds(PerImage(values).estimate(images=images), 0.8))
    assert np.mean(covered) >= least(FEWER)


@pytest.mark.parametrize("size", [4, 10, 22, 60])
def test_what_a_sum_gives_is_covered(size: int) -> None:
    """The ratio of two sums, as average precision is made of."""
    random = np.random.default_rng(size)
    covered = []
    for _ in range(FEWER):
        whole = random.gamma(3, 1, size)
        part = whole * random.beta(3, 1, size)
        curves = {f"{i:03}": pair for i, pair in enumerate(zip(part, whole, strict=True))}
        found = PerImage(curves).estimate(of_sum=lambda s: s[:, 0] / s[:, 1], bounds=SHARE)
        covered.append(holds(found, 0.75))
    assert np.mean(covered) >= least(FEWER)


@pytest.mark.parametrize(("hits", "count"), [(0, 4), (4, 4), (1, 6), (17, 22), (94, 100)])
def test_a_proportion_is_clopper_and_pearsons(hits: int, count: int) -> None:
    wanted = stats.binomtest(hits, count).proportion_ci(method="exact")
    assert proportion(hits, count) == pytest.approx((wanted.low, wanted.high))
    values = {str(i): float(i < hits) for i in range(count)}
    found = PerImage(values).estimate(tested=0.5)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))
    assert found.how == "Clopper-Pearson"
    assert found.p == pytest.approx(stats.binomtest(hits, count, 0.5).pvalue)


def test_what_is_all_alike_has_an_interval_that_is_no_point() -> None:
    alike = PerImage({str(i): 0.75 for i in range(10)})
    found = alike.estimate(bounds=SHARE)
    unseen = 1 - 0.025**0.1
    assert found.low == pytest.approx(0.75 - unseen * 0.75)
    assert found.high == pytest.approx(0.75 + unseen * 0.25)
    assert math.isnan(alike.estimate().low)
    many = PerImage({str(i): 0.75 for i in range(2000)})
    assert many.estimate().how == "none, too few different values"
    ones = PerImage({str(i): 1.0 for i in range(10)})
    assert ones.estimate().low == ones.estimate(bounds=SHARE).low == proportion(10, 10)[0]
    never = alike.minus(alike, bounds=SHARE)
    assert (never.low, never.high) == pytest.approx((-unseen, unseen))
    assert never.p == 1


def test_intervals_stay_within_the_bounds() -> None:
    values = PerImage({"a": 0.99, "b": 0.7, "c": 1.0})
    found = values.estimate(bounds=SHARE)
    assert found.high == 1
    assert 0 < found.low < 0.7
    assert values.minus(PerImage(dict.fromkeys("abc", 0.0)), bounds=SHARE).high == 1


def test_a_p_and_its_interval_agree() -> None:
    """The interval of level 1 − p ends where the mean is tested."""
    random = np.random.default_rng(3)
    for size, bounds, away in ((8, SHARE, 0.35), (30, ANY, 0.06), (2000, ANY, 0.007)):
        drawn = random.beta(4, 2, size)
        values = PerImage({str(i): v for i, v in enumerate(drawn)})
        limit = drawn.mean() - away
        p = values.estimate(bounds=bounds, tested=limit).p
        assert p is not None
        for level, inside in ((1 - 0.9 * p, True), (1 - 1.1 * p, False)):
            found = values.estimate(bounds=bounds, level=level, tested=limit)
            assert (found.low <= limit <= found.high) == inside


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, None, 0.03]) == pytest.approx([0.03, 0.06, None, 0.06])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []


@pytest.mark.parametrize("size", [6, 22, 50])
@pytest.mark.parametrize("kind", ["shares", "hits", "any"])
def test_where_nothing_differs_hardly_any_page_has_a_difference(size: int, kind: str) -> None:
    """Eight measures that are no better than another: all of them right in 95 of 100 pages."""
    random = np.random.default_rng(size)
    bounds = None if kind == "any" else SHARE
    wrong = 0
    pages = 200
    for _ in range(pages):
        hard = random.normal(0, 1, size)
        drawn = hard + random.normal(0, 1, (9, size))
        if kind == "shares":
            drawn = 1 / (1 + np.exp(-drawn))
        elif kind == "hits":
            drawn = (drawn > 0) * 1.0
        gaps = drawn[1:] - drawn[0]
        found = found_in(gaps, bounds, hits=kind == "hits", paired=True)
        wrong += any(p is not None and p < 0.05 for p in holm([one.p for one in found]))
    assert wrong / pages <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / pages)


def test_students_interval_of_curves() -> None:
    values = np.random.default_rng(0).random((12, 3))
    low, high = student(values)
    for point in range(3):
        wanted = stats.t.interval(0.95, 11, values[:, point].mean(), stats.sem(values[:, point]))
        assert (low[point], high[point]) == pytest.approx(wanted)
    assert np.isnan(student(values[:1])[0]).all()
