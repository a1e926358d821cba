"""ROAD's imputation and the metric: against a dense solution, by hand, and by its bounds."""

from __future__ import annotations

import pytest
import reference.faithfulness as reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from seewhy.errors import MetricError
from seewhy.metrics import imputation
from seewhy.metrics.imputation import impute, road

pytestmark = pytest.mark.usefixtures("one_thread")


@st.composite
def pictures(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Images and holes of every density and some shapes; at least one pixel is left in each."""
    count, channels = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    size = draw(st.integers(1, 13)), draw(st.integers(2, 13))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    images = torch.randn(count, channels, *size, generator=generator, dtype=torch.float64)
    share = draw(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]))
    holes = torch.rand(count, *size, generator=generator) < share
    if draw(st.booleans()):  # in one piece
        holes[:, : size[0] // 2] = draw(st.booleans())
    left = torch.randint(size[0] * size[1], (count,), generator=generator)
    holes.flatten(1)[torch.arange(count), left] = False
    return images, holes


@settings(deadline=None, max_examples=60)
@given(pictures())
def test_it_is_the_dense_solution(made: tuple[Tensor, Tensor]) -> None:
    images, holes = made
    ours = impute(images, holes, tolerance=1e-10)
    for image, hole, result in zip(images, holes, ours, strict=True):
        torch.testing.assert_close(result, reference.imputed(image, hole), rtol=0, atol=1e-8)
        assert (result[:, ~hole] == image[:, ~hole]).all()


def test_by_hand() -> None:
    image = torch.tensor([[12.0, 24.0, 0.0], [0.0, 99.0, 6.0], [36.0, 0.0, 48.0]])[None, None]
    hole = torch.zeros(1, 3, 3, dtype=torch.bool)
    hole[0, 1, 1] = True
    # (24 + 0 + 6 + 0) / 6 + (12 + 0 + 36 + 48) / 12
    assert impute(image, hole)[0, 0, 1, 1] == pytest.approx(13.0, abs=1e-3)
    corner = torch.zeros(1, 3, 3, dtype=torch.bool)
    corner[0, 0, 0] = True
    # (24 / 6 + 0 / 6 + 99 / 12) / (1 / 6 + 1 / 6 + 1 / 12)
    assert impute(image, corner)[0, 0, 0, 0] == pytest.approx(29.4, abs=1e-3)


def test_a_plane_is_imputed_as_a_plane() -> None:
    rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(60.0), indexing="ij")
    image = (0.02 * rows - 0.03 * columns)[None, None]
    hole = torch.zeros(1, 40, 60, dtype=torch.bool)
    hole[:, 3:37, 5:57] = True
    torch.testing.assert_close(impute(image, hole, tolerance=1e-5), image, rtol=0, atol=1e-4)


@pytest.mark.parametrize("tolerance", [1e-2, 1e-3, 1e-4])
def test_large_holes_are_within_the_tolerance(tolerance: float) -> None:
    smooth = torch.rand(4, 1, 7, 7)
    maps = torch.nn.functional.interpolate(smooth, (150, 131), mode="bilinear")[:, 0]
    holes = maps > maps.flatten(1).quantile(torch.tensor(0.1), dim=1)[:, None, None]
    images = torch.randn(4, 3, 150, 131) + 1
    exact = impute(images.double(), holes, tolerance=1e-11)
    given_ = impute(images, holes, tolerance=tolerance)
    assert float((given_ - exact).abs().max()) < tolerance
    # One image with a hole that reaches from edge to edge, and one pixel left of all.
    hole = torch.ones(1, 150, 131, dtype=torch.bool)
    hole[0, 70, 11] = False
    alone = impute(images[:1], hole, tolerance=tolerance)
    assert float((alone - images[:1, :, 70, 11, None, None]).abs().max()) < tolerance


@pytest.mark.parametrize("cells", [2, 30, 60, 120])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_few_steps_for_holes_of_every_size(
    cells: int, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many small holes, each seen by several coarse pixels, once made coarse grids diverge."""
    monkeypatch.setattr(imputation, "MOST_STEPS", 12)
    maps = torch.nn.functional.interpolate(torch.rand(2, 1, cells, cells), 120, mode="bilinear")
    maps = maps[:, 0]
    kept = maps.flatten(1).quantile(torch.tensor(1 - share), dim=1)
    images = torch.randn(2, 3, 120, 120)
    holes = maps > kept[:, None, None]
    exact = impute(images.double(), holes, tolerance=1e-3)
    torch.testing.assert_close(impute(images, holes), exact.float(), rtol=0, atol=1e-3)


def test_an_image_does_not_depend_on_the_others() -> None:
    images = torch.randn(5, 3, 40, 33)
    holes = torch.rand(5, 40, 33) < torch.tensor([0.02, 0.3, 0.99, 0.6, 0.0])[:, None, None]
    together = impute(images, holes)
    for k in range(5):
        alone = impute(images[k : k + 1], holes[k : k + 1])
        torch.testing.assert_close(together[k : k + 1], alone, rtol=0, atol=1e-5)
    assert (together[4] == images[4]).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_type_stays(dtype: torch.dtype) -> None:
    images = torch.randn(2, 3, 20, 20)
    holes = torch.rand(2, 20, 20) < 0.5
    ours = impute(images.to(dtype), holes)
    assert ours.dtype == dtype
    torch.testing.assert_close(ours.float(), impute(images, holes), rtol=0.02, atol=0.02)


def test_nothing_left_is_an_error() -> None:
    holes = torch.ones(1, 4, 4, dtype=torch.bool)
    with pytest.raises(MetricError, match="none is left"):
        impute(torch.randn(1, 3, 4, 4), holes)


def test_values_that_are_not_finite_are_an_error() -> None:
    images = torch.randn(1, 3, 30, 30)
    images[0, 0, 3, 3] = torch.inf
    with pytest.raises(MetricError, match="finite"):
        impute(images, torch.rand(1, 30, 30) < 0.9)


# --- The metric ---------------------------------------------------------------------------------


def brightness_of(region: Tensor):
    """The mean of the region's pixels."""

    def score(images: Tensor, rows: Tensor) -> Tensor:
        return images.mean(1)[:, region].mean(1)

    return score


def disc(size: int) -> Tensor:
    places = torch.arange(size) - (size - 1) / 2
    return places[:, None] ** 2 + places**2 < (size / 4) ** 2


def test_road_is_its_loops() -> None:
    images = torch.randn(3, 2, 8, 9, dtype=torch.float64)
    maps = torch.rand(3, 8, 9, dtype=torch.float64)
    weights = torch.randn(2, 8, 9, dtype=torch.float64)

    def score(changed: Tensor, rows: Tensor) -> Tensor:
        return (changed * weights).tanh().sum((1, 2, 3)) + rows

    ours = road(score, images, maps, shares=(0.25, 0.5), noise=0, tolerance=1e-10, at_once=5)
    assert ours.shares.tolist() == [0.25, 0.5]
    for k in range(3):
        order = reference.pixels_by_value(maps[k])
        expected = []
        for places in (order[:18], order[:36], order[-18:], order[-36:]):
            hole = torch.zeros(8, 9, dtype=torch.bool)
            for place in places:
                hole[place] = True
            changed = reference.imputed(images[k], hole)
            expected.append(float((changed * weights).tanh().sum()) + k)
        assert ours.most[k].tolist() == pytest.approx(expected[:2], abs=1e-6)
        assert ours.least[k].tolist() == pytest.approx(expected[2:], abs=1e-6)
        combined = (sum(expected[2:]) - sum(expected[:2])) / 4
        assert float(ours.combined[k]) == pytest.approx(combined, abs=1e-6)


def test_perfect_random_inverted_and_constant_maps() -> None:
    region = disc(24)
    images = region.float().expand(1, 3, 24, 24).clone()
    fine = 1e-3 * torch.rand(1, 24, 24)
    perfect = region.float()[None] + fine
    score = brightness_of(region)
    share = float(region.float().mean())
    given_ = {"shares": (share, 0.5), "noise": 0.0, "tolerance": 1e-4}
    found = road(score, images, perfect, **given_)
    # Removed exactly, the disc is imputed from black; the rest removed, from the disc.
    assert found.most[0].tolist() == pytest.approx([0, 0], abs=1e-3)
    assert found.least[0].tolist() == pytest.approx([1, 1], abs=1e-3)
    assert float(found.combined) == pytest.approx(0.5, abs=1e-3)
    inverted = road(score, images, -perfect, **given_)
    assert float(inverted.combined) == pytest.approx(-0.5, abs=1e-3)
    random = [
        float(road(score, images, torch.rand(1, 24, 24), **given_).combined) for _ in range(20)
    ]
    assert abs(sum(random) / 20) < 0.05
    constant = road(score, images, torch.ones(1, 24, 24), **given_)
    in_reading_order = -torch.arange(576.0).reshape(1, 24, 24)
    assert constant.most.equal(road(score, images, in_reading_order, **given_).most)


def test_an_inverted_map_turns_the_sign() -> None:
    images, maps = torch.randn(2, 3, 20, 21), torch.rand(2, 20, 21)
    score = brightness_of(disc(24)[2:22, 2:23])
    one = road(score, images, maps, noise=0)
    other = road(score, images, -maps, noise=0)
    torch.testing.assert_close(one.combined, -other.combined, rtol=0, atol=1e-4)
    torch.testing.assert_close(one.most, other.least, rtol=0, atol=1e-4)


def test_noise_is_added_where_pixels_are_imputed_and_comes_from_the_seed() -> None:
    images = torch.zeros(2, 3, 30, 30)
    maps = torch.rand(2, 30, 30)
    seen: list[Tensor] = []

    def score(changed: Tensor, rows: Tensor) -> Tensor:
        seen.append(changed)
        return changed.sum((1, 2, 3))

    first = road(score, images, maps, shares=(0.5,), noise=0.1)
    changed = torch.cat(seen)
    touched = changed.ne(0)
    assert touched.float().mean((1, 2, 3)).tolist() == pytest.approx([0.5] * 4)
    assert float(changed[touched].std()) == pytest.approx(0.1, rel=0.05)
    again = road(score, images, maps, shares=(0.5,), noise=0.1, at_once=1)
    torch.testing.assert_close(first.most, again.most)
    alone = road(score, images[1:], maps[1:], shares=(0.5,), noise=0.1)
    torch.testing.assert_close(first.most[1:], alone.most)
    other = road(score, images, maps, shares=(0.5,), noise=0.1, seed=1)
    assert not torch.allclose(first.most, other.most)


def test_a_map_that_is_not_finite_gives_nan_for_its_image_alone() -> None:
    images, maps = torch.randn(3, 3, 16, 16), torch.rand(3, 4, 4)
    maps[1, 2, 2] = torch.nan
    score = brightness_of(disc(16))
    found = road(score, images, maps, shares=(0.3,))
    assert found.combined.isnan().tolist() == [False, True, False]
    rest = road(score, images[::2], maps[::2], shares=(0.3,))
    torch.testing.assert_close(found.combined[::2], rest.combined, rtol=0, atol=1e-4)


@pytest.mark.parametrize("shares", [(), (0.0,), (0.5, 1.0), (1.2,), (1e-6,)])
def test_shares_that_leave_nothing_or_remove_nothing(shares: tuple[float, ...]) -> None:
    with pytest.raises(MetricError, match="shares"):
        road(brightness_of(disc(16)), torch.randn(1, 3, 16, 16), torch.rand(1, 4, 4), shares=shares)
