"""The faithfulness metrics: against loops from the papers, by hand, and by their bounds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import reference.faithfulness as reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from seewhy.errors import MetricError
from seewhy.metrics import (
    baselines,
    infidelity,
    masked_confidence,
    saco,
    scoring,
    sensitivity_n,
    walk,
)
from seewhy.metrics.resizing import positive_part, to_size
from seewhy.scaling import unit_range

pytestmark = pytest.mark.usefixtures("one_thread")


class Probability:
    """A small network's probability of a class of each image's own; it watches how it is called."""

    def __init__(self, count: int, at_once: int = 16, dtype: torch.dtype = torch.float64) -> None:
        self.network = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)
        ).to(dtype)
        self.classes = torch.arange(count) % 3
        self.at_once = at_once
        self.made = 0

    def __call__(self, images: Tensor, rows: Tensor) -> Tensor:
        assert not torch.is_grad_enabled()
        assert 0 < len(images) <= self.at_once
        self.made += len(images)
        probabilities = self.network(images).softmax(1)
        return probabilities[torch.arange(len(images)), self.classes[rows]]

    def of_image(self, row: int) -> reference.Score:
        def score(image: Tensor) -> float:
            with torch.no_grad():
                return float(self.network(image[None]).softmax(1)[0, self.classes[row]])

        return score


def linear(weights: Tensor) -> scoring.Score:
    return lambda images, rows: (images * weights).sum((1, 2, 3))


def drawn(count: int = 3, size: tuple[int, int] = (8, 10)) -> tuple[Tensor, Tensor]:
    images = torch.randn(count, 3, *size, dtype=torch.float64)
    return images, torch.randn(count, *size, dtype=torch.float64)


# --- Against the loops --------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 7, 1 / 16])
@pytest.mark.parametrize("baseline", ["zero", "mean", "blur"])
@pytest.mark.parametrize("ties", [False, True])
def test_deletion_and_insertion_are_their_loops(step: float, baseline: str, ties: bool) -> None:
    images, maps = drawn()
    if ties:
        maps = maps.round()
    score = Probability(3, at_once=5)
    stand_in = {
        "zero": torch.zeros_like(images),
        "mean": images.mean((2, 3), keepdim=True).expand_as(images),
        "blur": baselines.blurred(images),
    }[baseline]
    options = {"step": step, "baseline": baseline, "at_once": 5}
    gone = walk.deletion(score, images, maps, **options)
    come = walk.insertion(score, images, maps, **options)
    pixels = int(step) if step >= 1 else 5
    for k in range(3):
        of_image = score.of_image(k)
        down = reference.path(of_image, images[k], stand_in[k], maps[k], pixels)
        up = reference.path(of_image, stand_in[k], images[k], maps[k], pixels)
        assert gone.scores[k].tolist() == pytest.approx(down)
        assert come.scores[k].tolist() == pytest.approx(up)
        assert float(gone.area[k]) == pytest.approx(reference.trapezoid(down))
        assert float(come.area[k]) == pytest.approx(reference.trapezoid(up))
    assert gone.shares[0] == 0
    assert gone.shares[-1] == 1
    assert gone.shares.equal(come.shares)


@pytest.mark.parametrize(("region", "flips"), [(1, 200), (3, 100), (3, 4), (9, 100)])
@pytest.mark.parametrize("order", ["most", "least"])
def test_pixel_flipping_is_its_loops(region: int, flips: int, order: str) -> None:
    images, maps = drawn()
    score = Probability(3)
    ours = walk.pixel_flipping(
        score, images, maps, region=region, flips=flips, order=order, baseline="mean"
    )
    stand_in = images.mean((2, 3), keepdim=True).expand_as(images)
    for k in range(3):
        salience = maps[k] if order == "most" else -maps[k]
        expected = reference.region_path(
            score.of_image(k), images[k], salience, stand_in[k], region, flips
        )
        assert ours.scores[k].tolist() == pytest.approx(expected)
        assert float(ours.fall[k]) == pytest.approx(reference.mean_fall(expected))
    assert len(ours.shares) == ours.scores.shape[1]


@pytest.mark.parametrize("black", [False, True])
def test_masked_confidence_is_its_loops(black: bool) -> None:
    images, maps = drawn(6)
    score = Probability(6)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
    baseline = baselines.black(mean, std) if black else "zero"
    ours = masked_confidence.masked_confidence(score, images, maps, baseline=baseline, at_once=5)
    for k in range(6):
        mask = reference.unit_range(maps[k])
        if black:  # multiply the pixels, then standardise again
            scale = torch.tensor(std, dtype=torch.float64)[:, None, None]
            shift = torch.tensor(mean, dtype=torch.float64)[:, None, None]
            masked = (mask * (images[k] * scale + shift) - shift) / scale
        else:
            masked = reference.seen_through(images[k], mask, torch.zeros_like(images[k]))
        y, o = score.of_image(k)(images[k]), score.of_image(k)(masked)
        assert float(ours.original[k]) == pytest.approx(y)
        assert float(ours.masked[k]) == pytest.approx(o, rel=1e-5)
        assert float(ours.drop[k]) == pytest.approx(reference.drop(y, o), rel=1e-4)
        assert float(ours.gain[k]) == pytest.approx(reference.gain(y, o), rel=1e-4)
        assert bool(ours.increase[k]) == (o > y)
    assert 0 < ours.increase.sum() < 6  # both happen


def blob(images: Tensor) -> Tensor:
    """An explanation that depends on what it is given."""
    return (images.tanh() * torch.tensor([1.0, -0.5, 2.0]).to(images)[:, None, None]).sum(1)


def test_adcc_is_its_loops() -> None:
    images, maps = drawn()
    score = Probability(3)
    asked: list[int] = []

    def explain(changed: Tensor, rows: Tensor) -> Tensor:
        asked.extend(rows.tolist())
        return blob(changed)

    ours = masked_confidence.adcc(score, explain, images, maps, at_once=2)
    assert asked == [0, 1, 2]
    for k in range(3):
        expected = reference.adcc(
            score.of_image(k),
            lambda image: blob(image[None])[0],
            images[k],
            maps[k],
            torch.zeros_like(images[k]),
        )
        found = [float(x[k]) for x in (ours.adcc, ours.coherency, ours.complexity, ours.drop)]
        assert found == pytest.approx(list(expected), rel=1e-6)


def test_infidelity_to_squares_is_its_loops() -> None:
    images, maps = drawn()
    score = Probability(3)
    ours = infidelity.infidelity_square(score, images, maps, samples=40, seed=3, at_once=7)
    squares = infidelity._squares(8, 10, 3, 40, 3).tolist()
    for k in range(3):
        of_image, stand_in = score.of_image(k), torch.zeros_like(images[k])
        forecasts, falls = [], []
        for top, left, side in squares:
            square = [(top + i, left + j) for i in range(side) for j in range(side)]
            forecasts.append(reference.sum_over(maps[k], square))
            falls.append(reference.fall_without(of_image, images[k], square, stand_in))
        expected = reference.infidelity(forecasts, falls)
        found = [float(x[k]) for x in (ours.infidelity, ours.scaled, ours.beta)]
        assert found == pytest.approx(list(expected), rel=1e-6)


def test_every_square_is_as_likely() -> None:
    squares = infidelity._squares(3, 4, 2, 20_000, 0)
    found, counts = squares.unique(dim=0, return_counts=True)
    assert len(found) == 3 * 4 + 2 * 3
    assert float((counts / 20_000 * 18 - 1).abs().max()) < 0.15


@pytest.mark.parametrize("around", ["zero", "image"])
def test_infidelity_to_noise_is_its_loops(around: str) -> None:
    images, maps = drawn()
    score = Probability(3)
    baseline = images if around == "image" else "zero"
    ours = infidelity.infidelity_gaussian(
        score, images, maps, samples=20, sigma=0.3, baseline=baseline, seed=5, at_once=7
    )
    generator = torch.Generator().manual_seed(5)
    noises = [torch.randn(3, 8, 10, generator=generator).double() for _ in range(20)]
    for k in range(3):
        forecasts, falls = [], []
        for noise in noises:
            replaced = 0.3 * noise + (images[k] if around == "image" else 0)
            change = images[k] - replaced
            forecasts.append(
                sum(
                    float(change[c, i, j] * maps[k, i, j])
                    for c in range(3)
                    for i in range(8)
                    for j in range(10)
                )
            )
            falls.append(score.of_image(k)(images[k]) - score.of_image(k)(replaced))
        expected = reference.infidelity(forecasts, falls)
        found = [float(x[k]) for x in (ours.infidelity, ours.scaled, ours.beta)]
        assert found == pytest.approx(list(expected), rel=1e-6)


def test_sensitivity_n_is_its_loops() -> None:
    images, maps = drawn()
    score = Probability(3)
    ours = sensitivity_n.sensitivity_n(
        score, images, maps, shares=(0.05, 0.5), samples=6, seed=2, at_once=7
    )
    assert ours.sizes.tolist() == [4, 40]
    generator = torch.Generator().manual_seed(2)
    sets = [torch.randperm(80, generator=generator).tolist() for _ in range(12)]
    for k in range(3):
        expected = []
        for chosen in (sets[:6], sets[6:]):
            size = 4 if len(expected) == 0 else 40
            pixels = [[(p // 10, p % 10) for p in one[:size]] for one in chosen]
            zero = torch.zeros_like(images[k])
            sums = [reference.sum_over(maps[k], one) for one in pixels]
            falls = [
                reference.fall_without(score.of_image(k), images[k], one, zero) for one in pixels
            ]
            expected.append(reference.pearson(sums, falls))
        assert ours.correlations[k].tolist() == pytest.approx(expected, rel=1e-6)
        assert float(ours.correlation[k]) == pytest.approx(sum(expected) / 2, rel=1e-6)


@pytest.mark.parametrize("groups", [2, 10])
def test_saco_is_its_loops(groups: int) -> None:
    images, maps = drawn()
    score = Probability(3)
    ours = saco.saco(score, images, maps, groups=groups, at_once=7)
    for k in range(3):
        stand_in = images[k].mean((1, 2), keepdim=True).expand_as(images[k])
        expected = reference.saco(score.of_image(k), images[k], maps[k], stand_in, groups)
        assert float(ours.coefficient[k]) == pytest.approx(expected, rel=1e-6)


# --- By hand ------------------------------------------------------------------------------------


def counted(region: Tensor) -> scoring.Score:
    """The share of the region's pixels that are 1."""
    return lambda images, rows: images[:, 0][:, region].mean(1)


CORNER = torch.zeros(4, 4, dtype=torch.bool)
CORNER[:2, :2] = True
ONES = torch.ones(1, 1, 4, 4)
FINE = torch.arange(16.0).reshape(1, 4, 4) / 100


def test_deletion_and_insertion_by_hand() -> None:
    score, perfect = counted(CORNER), CORNER.float()[None] + FINE
    gone = walk.deletion(score, ONES, perfect, step=1)
    assert gone.scores[0].tolist() == [1, 0.75, 0.5, 0.25] + [0] * 13
    assert float(gone.area) == (1 / 2 + 0.75 + 0.5 + 0.25) / 16
    come = walk.insertion(score, ONES, perfect, step=1, baseline=0.0)
    assert float(come.area) == 1 - 2 / 16
    assert float(walk.deletion(score, ONES, -perfect, step=1).area) == 1 - 2 / 16
    assert float(walk.insertion(score, ONES, -perfect, step=1, baseline=0.0).area) == 2 / 16
    # Two pixels a step: 1, 1/2, 0, 0 ...; ten a step: 1, 0, 0, the last step a whole one to RISE.
    assert float(walk.deletion(score, ONES, perfect, step=2).area) == (1 / 2 + 1 / 2) / 8
    tens = walk.deletion(score, ONES, perfect, step=10)
    assert float(tens.area) == 1 / 2 / 2
    assert tens.shares.tolist() == [0, 10 / 16, 1]


def test_a_constant_map_goes_in_reading_order() -> None:
    score = counted(CORNER)
    flat = walk.deletion(score, ONES, torch.full((1, 4, 4), 3.0), step=1)
    assert flat.scores[0].tolist() == [1, 0.75, 0.5, 0.5, 0.5, 0.25] + [0] * 11


def test_random_maps_are_half_way() -> None:
    score, images = counted(CORNER), ONES.expand(400, 1, 4, 4)
    maps = torch.rand(400, 4, 4)
    assert float(walk.deletion(score, images, maps, step=1).area.mean()) == pytest.approx(
        0.5, abs=0.02
    )
    coefficients = saco.saco(score, images, maps, groups=4, baseline="zero").coefficient
    assert float(coefficients.mean()) < 0.4  # ties among the falls count for the map
    weights = torch.rand(1, 4, 4)
    coefficients = saco.saco(linear(weights), images, maps, groups=4, baseline="zero").coefficient
    assert float(coefficients.mean()) == pytest.approx(0, abs=0.1)
    forecast = sensitivity_n.sensitivity_n(
        linear(weights), images, maps, shares=(0.25,), samples=20
    )
    assert float(forecast.correlation.mean()) == pytest.approx(0, abs=0.1)


def test_pixel_flipping_by_hand() -> None:
    score = counted(CORNER)
    perfect = CORNER.float()[None] + FINE
    ours = walk.pixel_flipping(score, ONES, perfect, region=2, baseline="zero")
    assert ours.scores[0].tolist() == [1, 0, 0, 0, 0]
    assert float(ours.fall) == pytest.approx(4 / 5)
    ours = walk.pixel_flipping(score, ONES, perfect, region=2, baseline="zero", order="least")
    assert ours.scores[0].tolist() == [1, 1, 1, 1, 0]
    assert float(ours.fall) == pytest.approx(1 / 5)
    # Three pixels a side: the corner, two strips and a last pixel.
    ours = walk.pixel_flipping(score, ONES, perfect, region=3, baseline="zero", flips=1)
    assert ours.scores[0].tolist() == [1, 0]
    assert ours.shares.tolist() == [0, 1 / 4]


def test_uniform_noise_lies_between_the_extremes_of_each_channel() -> None:
    images = torch.randn(2, 3, 30, 30) * torch.tensor([1.0, 5.0, 0.1])[:, None, None]
    seen: list[Tensor] = []

    def score(changed: Tensor, rows: Tensor) -> Tensor:
        seen.append(changed)
        return changed.sum((1, 2, 3))

    walk.deletion(score, images, torch.rand(2, 30, 30), step=900, baseline="uniform")
    replaced = torch.cat(seen)[1::2]
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    places = (replaced - low) / (high - low)
    assert places.min() >= 0
    assert places.max() <= 1
    assert float(places.mean()) == pytest.approx(0.5, abs=0.03)
    torch.testing.assert_close(places[0], places[1])


def masked_by_hand(y: float, o: float) -> masked_confidence.Masked:
    """An image that scores y, and o when its right half is gone."""
    images = torch.ones(1, 1, 1, 2)

    def score(changed: Tensor, rows: Tensor) -> Tensor:
        return torch.where(changed[:, 0, 0, 1] == 1, y, o)

    return masked_confidence.masked_confidence(score, images, torch.tensor([[[1.0, 0.0]]]))


@pytest.mark.parametrize(
    ("y", "o", "drop", "gain", "increase"),
    [
        (0.8, 0.2, 0.75, 0, 0),
        (0.5, 0.75, 0, 0.5, 1),
        (0.5, 0.5, 0, 0, 0),
        (0.0, 0.4, 0, 0.4, 1),
        (1.0, 0.4, 0.6, 0, 0),
        (-1.0, 0.5, None, 0.75, 1),
        (2.0, 1.0, 0.5, None, 0),
    ],
)
def test_drop_gain_and_increase_by_hand(
    y: float, o: float, drop: float | None, gain: float | None, increase: float
) -> None:
    found = masked_by_hand(y, o)
    for value, expected in ((found.drop, drop), (found.gain, gain), (found.increase, increase)):
        if expected is None:
            assert value.isnan()
        else:
            assert float(value) == pytest.approx(expected)


def test_known_masks() -> None:
    images, _ = drawn()
    score = Probability(3)
    everything = masked_confidence.masked_confidence(
        score, images, torch.ones(3, 8, 10), scaling="positive"
    )
    assert everything.drop.tolist() == [0, 0, 0]
    nothing = masked_confidence.masked_confidence(
        score, images, torch.ones(3, 8, 10)
    )  # constant: 0
    zero = [score.of_image(k)(torch.zeros(3, 8, 10).double()) for k in range(3)]
    assert nothing.masked.tolist() == pytest.approx(zero)


def test_half_of_the_map_is_kept() -> None:
    seen: list[Tensor] = []

    def score(changed: Tensor, rows: Tensor) -> Tensor:
        seen.append(changed)
        return changed.sum((1, 2, 3))

    maps = torch.tensor([[[0.0, 1.0], [3.0, 4.0]]])
    masked_confidence.masked_confidence(score, torch.ones(1, 1, 2, 2), maps, keep=0.5)
    assert seen[0][1, 0].tolist() == [[0, 0], [0.75, 1]]


def test_adcc_by_hand() -> None:
    # The map halves the image and comes out the same again: coherent, half complex, half dropped.
    images = torch.ones(1, 1, 2, 2)
    maps = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])

    def score(changed: Tensor, rows: Tensor) -> Tensor:
        return changed.mean((1, 2, 3))

    found = masked_confidence.adcc(score, lambda changed, rows: maps[rows], images, maps)
    parts = [float(x) for x in (found.coherency, found.complexity, found.drop)]
    assert parts == [1, 0.5, 0.5]
    assert float(found.adcc) == pytest.approx(3 / (1 + 2 + 2))
    turned = masked_confidence.adcc(score, lambda changed, rows: -maps[rows], images, maps)
    assert float(turned.coherency) == 0
    assert float(turned.adcc) == 0
    constant = masked_confidence.adcc(score, lambda changed, rows: maps[rows] * 0 + 1, images, maps)
    assert constant.coherency.isnan()
    assert constant.adcc.isnan()
    assert float(constant.drop) == 0.5


def test_forecasts_of_a_linear_score() -> None:
    images, _ = drawn(2)
    weights = torch.randn(3, 8, 10, dtype=torch.float64)
    score = linear(weights)
    contributions = (images * weights).sum(1)
    squares = infidelity.infidelity_square(score, images, contributions, samples=50)
    assert squares.infidelity.tolist() == pytest.approx([0, 0], abs=1e-9)
    wrong = infidelity.infidelity_square(score, images, -3 * contributions, samples=50)
    assert float(wrong.infidelity.min()) > 1
    assert wrong.scaled.tolist() == pytest.approx([0, 0], abs=1e-9)
    assert wrong.beta.tolist() == pytest.approx([-1 / 3] * 2)
    slopes = weights[0].expand(2, 8, 10)
    grey = linear(weights[:1].expand(3, 8, 10))
    noise = infidelity.infidelity_gaussian(grey, images, slopes, samples=50)
    assert noise.infidelity.tolist() == pytest.approx([0, 0], abs=1e-6)
    none = infidelity.infidelity_square(score, images, torch.zeros(2, 8, 10), samples=50)
    torch.testing.assert_close(none.infidelity, none.scaled)
    assert none.beta.tolist() == [0, 0]
    for sign in (1, -1):
        subsets = sensitivity_n.sensitivity_n(score, images, sign * contributions, samples=5)
        expected = torch.full((2, 7), float(sign), dtype=torch.float64)
        torch.testing.assert_close(subsets.correlations, expected)
        groups = saco.saco(score, images, sign * contributions, baseline="zero")
        assert groups.coefficient.tolist() == pytest.approx([sign, sign])


def test_what_is_undefined_is_nan() -> None:
    images, _ = drawn(2)
    flat = torch.full((2, 8, 10), 0.3)
    score = Probability(2)
    assert saco.saco(score, images, flat).coefficient.isnan().all()
    found = sensitivity_n.sensitivity_n(score, images, flat, samples=3, shares=(0.1,))
    assert found.correlation.isnan().all()


def test_saco_by_hand() -> None:
    # Groups of salience 9, 4, 1 whose loss costs 2, 3, 1: the first pair is wrong.
    images = torch.ones(1, 1, 1, 3)
    score = linear(torch.tensor([2.0, 3.0, 1.0]))
    maps = torch.tensor([[[9.0, 4.0, 1.0]]])
    found = saco.saco(score, images, maps, groups=3, baseline="zero")
    assert float(found.coefficient) == pytest.approx((-5 + 8 + 3) / (5 + 8 + 3))
    assert found.salience.tolist() == [[9, 4, 1]]
    assert found.falls.tolist() == [[2, 3, 1]]


# --- Identities and properties ------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**16), st.integers(1, 80), st.integers(1, 9))
def test_a_linear_score_is_deleted_as_far_as_it_is_inserted(
    seed: int, step: int, at_once: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(3, 8, 10, generator=generator, dtype=torch.float64)
    images = torch.randn(2, 3, 8, 10, generator=generator, dtype=torch.float64)
    maps = torch.randn(2, 8, 10, generator=generator)
    options = {"step": step, "baseline": "zero", "at_once": at_once}
    gone = walk.deletion(linear(weights), images, maps, **options)
    come = walk.insertion(linear(weights), images, maps, **options)
    whole = (images * weights).sum((1, 2, 3))
    torch.testing.assert_close(gone.scores + come.scores, whole[:, None].expand_as(come.scores))
    # No order takes away more, sooner, than that of the contributions.
    best = walk.deletion(linear(weights), images, (images * weights).sum(1), **options)
    assert (best.scores <= gone.scores + 1e-9).all()
    assert (best.area <= gone.area + 1e-9).all()


Metric = Callable[..., Any]
METRICS: dict[str, Metric] = {
    "deletion": partial(walk.deletion, step=0.2),
    "insertion": partial(walk.insertion, step=0.2),
    "pixel_flipping": partial(walk.pixel_flipping, region=3),
    "masked_confidence": masked_confidence.masked_confidence,
    "adcc": lambda score, images, maps, **options: masked_confidence.adcc(
        score,
        lambda changed, rows: blob(changed) + rows[:, None, None] * 0.1,
        images,
        maps,
        **options,
    ),
    "infidelity_square": partial(infidelity.infidelity_square, samples=7),
    "infidelity_gaussian": partial(infidelity.infidelity_gaussian, samples=7),
    "sensitivity_n": partial(sensitivity_n.sensitivity_n, samples=3, shares=(0.1, 0.5)),
    "saco": partial(saco.saco, groups=4),
}


def per_image(result: Any, count: int) -> dict[str, Tensor]:
    return {
        k: v for k, v in vars(result).items() if len(v) == count and k not in ("shares", "sizes")
    }


@pytest.mark.parametrize("name", METRICS)
def test_an_image_depends_neither_on_the_others_nor_on_how_many_go_at_once(name: str) -> None:
    images, _ = drawn(4)
    maps = torch.randn(4, 3, 5)  # at a layer's size
    score = Probability(4)
    together = per_image(METRICS[name](score, images, maps), 4)
    assert together
    for at_once in (1, 3, 100):
        score.at_once = at_once
        few = per_image(METRICS[name](score, images, maps, at_once=at_once), 4)
        for key, values in together.items():
            torch.testing.assert_close(few[key], values, equal_nan=True)
    score.at_once = 16
    if name == "adcc":
        return  # its explanation here knows its place
    alone = per_image(METRICS[name](score, images[:1], maps[:1]), 1)
    for key, values in alone.items():
        if len(together.get(key, ())) == 4:
            torch.testing.assert_close(values, together[key][:1])


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_map_that_is_not_finite_gives_nan_for_its_image_alone(name: str, bad: float) -> None:
    images, maps = drawn(3)
    maps[1, 2, 2] = bad
    found = METRICS[name](Probability(3), images, maps)
    for key, values in per_image(found, 3).items():
        expected = values[1].new_full(values[1].shape, torch.nan)
        torch.testing.assert_close(values[1], expected, equal_nan=True, msg=key)
        assert values[::2].isfinite().all(), key


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_any_floating_type(name: str, dtype: torch.dtype) -> None:
    images, maps = drawn(2)

    def score(changed: Tensor, rows: Tensor) -> Tensor:
        assert changed.dtype == dtype
        return (changed.float().tanh().mean((1, 2, 3)) + 1).div(2).to(dtype)

    found = per_image(METRICS[name](score, images.to(dtype), maps.to(dtype)), 2)
    for values in found.values():
        assert values.dtype == torch.float32
        assert values.isfinite().all()


@pytest.mark.parametrize("name", METRICS)
def test_what_was_given_stays(name: str) -> None:
    images, maps = drawn(2)
    images.requires_grad_()
    maps.requires_grad_()
    before = images.detach().clone(), maps.detach().clone()
    score = Probability(2)
    state = torch.get_rng_state()
    found = METRICS[name](score, images, maps)
    assert images.equal(before[0])
    assert maps.equal(before[1])
    assert torch.get_rng_state().equal(state)
    assert not any(values.requires_grad for values in vars(found).values())


@pytest.mark.parametrize(
    ("name", "forwards"),
    [("deletion", 6), ("insertion", 6), ("masked_confidence", 2), ("saco", 5), ("adcc", 2)],
)
def test_no_more_forwards_than_needed(name: str, forwards: int) -> None:
    images, maps = drawn(3)
    score = Probability(3)
    METRICS[name](score, images, maps)
    assert score.made == 3 * forwards


@pytest.mark.parametrize(
    "name", ["pixel_flipping", "infidelity_square", "infidelity_gaussian", "sensitivity_n"]
)
def test_the_seed_decides(name: str) -> None:
    images, maps = drawn(2)
    score = Probability(2)
    first, same, other = (
        per_image(METRICS[name](score, images, maps, seed=seed), 2) for seed in (4, 4, 5)
    )
    for key in first:
        torch.testing.assert_close(first[key], same[key], rtol=0, atol=0)
    assert any(not torch.allclose(first[key], other[key]) for key in first)


def test_several_baselines_are_averaged() -> None:
    images, maps = drawn(2)
    score = Probability(2)
    black = baselines.black((0.4, 0.5, 0.6), (0.2, 0.3, 0.25))
    for metric in (walk.deletion, partial(walk.pixel_flipping, region=3)):
        one, other = (metric(score, images, maps, baseline=b) for b in ("blur", black))
        both = metric(score, images, maps, baseline=["blur", black])
        torch.testing.assert_close(both.scores, (one.scores + other.scores) / 2)


# --- Baselines and sizes ------------------------------------------------------------------------


def test_rises_kernel() -> None:
    """Its code: scipy's Gaussian filter of a spike in 11 × 11 values, and a padded convolution."""
    import numpy as np
    from scipy.ndimage import gaussian_filter

    spike = np.zeros((11, 11))
    spike[5, 5] = 1
    kernel = torch.from_numpy(gaussian_filter(spike, 5))
    images = torch.randn(2, 3, 20, 9, dtype=torch.float64)
    expected = nn.functional.conv2d(images.reshape(6, 1, 20, 9), kernel[None, None], padding=5)
    torch.testing.assert_close(baselines.blurred(images), expected.reshape(images.shape))


def test_black_is_what_black_pixels_become() -> None:
    black = baselines.black((0.4, 0.5), (0.2, 0.3))
    torch.testing.assert_close(black[:, 0, 0], torch.tensor([(0 - 0.4) / 0.2, (0 - 0.5) / 0.3]))


def test_sizes_and_ranges() -> None:
    maps = torch.tensor([[[0.0, 4.0]], [[-2.0, -2.0]], [[-3.0, 1.0]]])
    assert to_size(maps, (2, 4))[0].tolist() == [[0, 1, 3, 4]] * 2
    assert to_size(maps.half(), (1, 2)).dtype == torch.float32
    assert unit_range(maps)[:, 0].tolist() == [[0, 1], [0, 0], [0, 1]]
    assert positive_part(maps)[:, 0].tolist() == [[0, 1], [0, 0], [0, 1]]
    assert positive_part(torch.tensor([[[-1.0, 2.0, 4.0]]])).tolist() == [[[0, 0.5, 1]]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step": 0}, "step=0"),
        ({"step": 2.5}, "step=2.5"),
        ({"baseline": "grey"}, "'grey' is unknown"),
        ({"baseline": torch.zeros(7)}, "broadcasts"),
        ({"baseline": []}, "no baseline"),
        ({"at_once": 0}, "at_once must be at least 1, not 0"),
    ],
)
def test_errors_of_deletion(options: dict[str, Any], message: str) -> None:
    images, maps = drawn(2)
    with pytest.raises(MetricError, match=message):
        walk.deletion(Probability(2), images, maps, **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s, x, m: walk.deletion(s, x, m[:1]), "2 images came with 1 maps"),
        (lambda s, x, m: walk.deletion(s, x[0], m), "images came with the shape"),
        (lambda s, x, m: walk.deletion(s, x, m[0]), "maps came with the shape"),
        (lambda s, x, m: walk.deletion(s, x[:0], m[:0]), "0 images"),
        (lambda s, x, m: walk.deletion(lambda y, r: y, x, m), "a number an image"),
        (lambda s, x, m: walk.pixel_flipping(s, x, m, order="first"), "order='first'"),
        (
            lambda s, x, m: walk.pixel_flipping(s, x, m, region=0),
            "region must be at least 1, not 0",
        ),
        (
            lambda s, x, m: masked_confidence.masked_confidence(s, x, m, scaling="max"),
            "scaling='max'",
        ),
        (lambda s, x, m: masked_confidence.masked_confidence(s, x, m, keep=0), "keep=0"),
        (lambda s, x, m: infidelity.infidelity_square(s, x, m, largest=2), "largest=2"),
        (
            lambda s, x, m: infidelity.infidelity_gaussian(s, x, m, samples=0),
            "samples must be at least 1, not 0",
        ),
        (lambda s, x, m: sensitivity_n.sensitivity_n(s, x, m, samples=1), "samples=1"),
        (lambda s, x, m: sensitivity_n.sensitivity_n(s, x, m, shares=(2,)), "2 is not a share"),
        (lambda s, x, m: saco.saco(s, x, m, groups=1), "groups=1"),
        (lambda s, x, m: saco.saco(s, x, m, groups=81), "groups=81"),
    ],
)
def test_errors(call: Any, message: str) -> None:
    images, maps = drawn(2)
    with pytest.raises(MetricError, match=message):
        call(Probability(2), images, maps)


@pytest.mark.parametrize("measure", [walk.deletion, walk.insertion])
def test_a_step_is_one_224th_of_the_pixels_where_none_is_named(measure: Any) -> None:
    """RISE's 224 pixels of 224 × 224; here two of 16 × 28."""
    images = torch.rand(1, 1, 16, 28)
    curve = measure(lambda versions, rows: versions.sum((1, 2, 3)), images, images[:, 0])
    assert len(curve.shares) == 225
    assert curve.shares[:3].tolist() == pytest.approx([0, 2 / 448, 4 / 448])
