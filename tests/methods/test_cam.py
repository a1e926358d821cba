"""The CAM methods: against loops from the papers, by hand, and by what must hold exactly."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from reference.cam import REFERENCES
from reference.cam import fuse as fuse_reference
from torch import Tensor, nn

from seewhy import methods
from seewhy.errors import MethodError
from seewhy.methods import cam
from seewhy.methods.fusion import fuse

METHODS = {n: f for n, f in methods.METHODS.items() if f.function.__module__ == cam.__name__}

CLASS_FREE = ["eigen-cam", "fem", "kpca-cam"]
GRADIENT_METHODS = sorted(set(METHODS) - {"cam", *CLASS_FREE})
EIGEN_METHODS = ["eigen-cam", "eigen-grad-cam"]
SAMPLES, NOISE, SEED = 4, 0.2, 7


@dataclass(frozen=True)
class Case:
    """What any method may need: a layer's activations and what a score does there."""

    activations: Tensor
    gradients: Tensor
    noisy: Tensor  # (samples, batch, channels, height, width)
    class_weights: Tensor
    curvature: Tensor

    def noisy_gradients(self, samples: int, noise: float, seed: int) -> Iterator[Tensor]:
        assert (samples, noise, seed) == (len(self.noisy), NOISE, SEED)
        yield from self.noisy

    def each(self, change: Callable[[Tensor], Tensor]) -> Case:
        """Changes every tensor that has positions."""
        noisy = torch.stack([change(sample) for sample in self.noisy])
        return replace(
            self,
            activations=change(self.activations),
            gradients=change(self.gradients),
            curvature=change(self.curvature),
            noisy=noisy,
        )

    def to(self, dtype: torch.dtype) -> Case:
        return replace(self.each(lambda t: t.to(dtype)), class_weights=self.class_weights.to(dtype))


def run(table: dict[str, Callable[..., Tensor]], name: str, case: Case) -> Tensor:
    if name == "cam":
        return table[name](case.activations, case.class_weights)
    if name in CLASS_FREE:
        return table[name](case.activations)
    if name == "shapley-cam":
        return table[name](case.activations, case.gradients, case.curvature)
    if name == "smooth-grad-cam++":
        options = {"samples": len(case.noisy), "noise": NOISE, "seed": SEED}
        return table[name](case.activations, case.noisy_gradients, **options)
    return table[name](case.activations, case.gradients)


def random_case(
    seed: int,
    shape: tuple[int, int, int, int] = (2, 3, 4, 5),
    *,
    magnitude: float = 1.0,
    signed: bool = True,
    dtype: torch.dtype = torch.float64,
) -> Case:
    generator = torch.Generator().manual_seed(seed)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    activations = normal(*shape) if signed else normal(*shape).abs()
    gradients = magnitude * normal(*shape)
    noisy = gradients + 0.5 * magnitude * normal(SAMPLES, *shape)
    class_weights, curvature = normal(shape[0], shape[1]), magnitude * normal(*shape)
    return Case(activations, gradients, noisy, class_weights, curvature).to(dtype)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Random layers, with the parts in them that break careless formulas."""
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 4)))
    shape += (draw(st.integers(1, 4)), draw(st.integers(1, 5)))
    magnitude = draw(st.sampled_from([1e-8, 1e-5, 1e-3, 0.1, 1.0, 30.0, 1e3]))
    signed = draw(st.booleans())
    case = random_case(draw(st.integers(0, 2**32)), shape, magnitude=magnitude, signed=signed)
    channels = st.integers(0, shape[1] - 1)
    for dead in draw(st.sets(channels, max_size=2)):
        case.activations[:, dead] = 0
    for unused in draw(st.sets(channels, max_size=2)):
        case.gradients[:, unused] = case.curvature[:, unused] = 0
        case.noisy[:, :, unused] = 0
    if draw(st.booleans()):  # as a ReLU or a max pooling behind the layer leaves it
        closed = case.activations < 0.3
        case.gradients[closed] = case.curvature[closed] = 0
        case.noisy[:, closed] = 0
    if draw(st.booleans()):
        case = replace(case, gradients=case.gradients.abs(), noisy=case.noisy.abs())
    if draw(st.booleans()):
        case.activations[0] = 0
    if draw(st.booleans()):
        case.gradients[-1] = case.curvature[-1] = 0
    return case


def spatial_sum(tensor: Tensor) -> Tensor:
    return tensor.sum((-2, -1), keepdim=True)


def alpha_errors(second: Tensor, third: Tensor, activations: Tensor) -> tuple[Tensor, Tensor]:
    """|alpha| of eq. 19, and by how much a relative slip in each of its terms may move it."""
    denominator = 2 * second + spatial_sum(activations) * third
    terms = 2 * second + spatial_sum(activations.abs()) * third.abs()
    used = second > 0
    # Beside a pole of alpha no floating-point number is right; exact zeros have their own test.
    assume(bool((denominator.abs() > 1e-2 * terms)[used].all()))
    alpha = torch.where(used, second / denominator, 0).abs()
    return alpha, torch.where(used, alpha * (1 + terms / denominator.abs()), 0)


def terms(name: str, case: Case) -> Tensor:
    """The size of what a method adds up at each position: rounding errors are in proportion."""
    a, g = case.activations, case.gradients
    if name == "cam":
        return (case.class_weights.abs()[..., None, None] * a.abs()).sum(1)
    if name == "fem":
        above = a - a.mean((2, 3), keepdim=True) - 2 * a.std((2, 3), correction=0, keepdim=True)
        varies = a.amax((2, 3)) > a.amin((2, 3))
        # A position on the threshold is above it or not as the rounding pleases.
        assume(bool((above.abs().amin((2, 3)) > 1e-4)[varies].all()))
        return a.abs().mean((2, 3)).sum(1)[:, None, None].expand(-1, *a.shape[2:])
    if name == "kpca-cam":
        centred = (a - a.mean((2, 3), keepdim=True)).flatten(2)
        kernel = torch.tanh(centred.mT @ centred / a.shape[1] + 1) - math.tanh(1)
        kernel = kernel - kernel.mean(1, keepdim=True)
        kernel = kernel - kernel.mean(2, keepdim=True)
        values = torch.linalg.eigvalsh(kernel)
        first = values[:, -1]
        second = values[:, -2] if values.shape[1] > 1 else torch.zeros_like(first)
        some = first > 1e-12
        assume(bool((first - second > 0.1 * first)[some].all() and (first[some] > 1e-3).all()))
        return (20 * first.clamp(min=0).sqrt() + 1)[:, None, None].expand(-1, *a.shape[2:])
    if name == "grad-cam":
        weights = g.abs().mean((2, 3), keepdim=True)
    elif name == "shapley-cam":
        weights = (g.abs() + case.curvature.abs()).mean((2, 3), keepdim=True)
    elif name == "grad-cam++":
        alpha, slip = alpha_errors(g**2, g**3, a)
        weights = spatial_sum((alpha + slip) * g.relu())
    elif name == "grad-cam++-normalised":
        alpha, slip = alpha_errors(g**2, g**3, a)
        positive = g > 0
        denominator = 2 * g**2 + spatial_sum(a) * g**3
        total = spatial_sum(torch.where(positive, g**2 / denominator, 0)).abs()
        doubt = spatial_sum(torch.where(positive, alpha + slip, 0))
        assume(bool((total > 1e-2 * doubt)[positive.any(-1).any(-1)].all()))
        weights = torch.where(total > 0, spatial_sum((alpha + slip) * g.relu()) / total, 0)
        weights = weights * torch.where(total > 0, 1 + doubt / total, 0)
    elif name == "smooth-grad-cam++":
        alpha, slip = alpha_errors((case.noisy**2).mean(0), (case.noisy**3).mean(0), a)
        powers = (case.noisy.abs() ** 3).mean(0) * spatial_sum(a.abs())
        second = (case.noisy**2).mean(0)
        denominator = (2 * second + spatial_sum(a) * (case.noisy**3).mean(0)).abs()
        slip = slip + torch.where(second > 0, alpha * powers / denominator, 0)
        weights = spatial_sum((alpha + slip) * case.noisy.abs().mean(0))
    elif name == "xgrad-cam":
        total, size = spatial_sum(a).abs(), spatial_sum(a.abs())
        assume(bool((total > 1e-2 * size)[size > 0].all()))
        weights = torch.where(size > 0, spatial_sum((a * g).abs()) / total * (1 + size / total), 0)
    elif name in EIGEN_METHODS:
        matrix = (a if name == "eigen-cam" else a * g).flatten(2)
        values = torch.linalg.svdvals(matrix)
        first = values[:, 0]
        second = values[:, 1] if values.shape[1] > 1 else torch.zeros_like(first)
        # With two equal singular values the first vector is anyone's choice.
        assume(bool((first - second > 0.1 * first)[first > 0].all()))
        return (20 * first)[:, None, None].expand(-1, *a.shape[2:])
    else:
        return (g.abs() * a.abs()).sum(1)
    return (weights * a.abs()).sum(1)


def allowed_error(name: str, case: Case, dtype: torch.dtype) -> Tensor:
    """A few roundings for each number summed: about 1e-5 in float32, 1e-14 in float64."""
    summed = case.activations[0].numel() + len(case.noisy) + 10
    unit = torch.finfo(dtype)
    return 2 * summed * unit.eps * terms(name, case.to(torch.float64)) + summed * unit.tiny


def test_every_method_has_a_reference_and_every_reference_a_method() -> None:
    assert set(METHODS) == set(REFERENCES)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", sorted(METHODS))
@settings(max_examples=60, deadline=None)
@given(case=cases())
@example(case=random_case(0, (1, 1, 1, 1)))
@example(case=random_case(1, (2, 1, 1, 5)))
@example(case=random_case(2, (1, 3, 7, 1), magnitude=1e-8))
@example(case=random_case(3, (1, 4, 3, 3), magnitude=1e-8, signed=False))
@example(case=random_case(4, (1, 4, 3, 3), magnitude=1e3, signed=False))
@example(case=random_case(5, (1, 9, 2, 2), signed=False))  # more channels than positions
@example(case=random_case(6, (1, 2, 5, 5), signed=False))  # more positions than channels
def test_a_method_equals_its_reference(name: str, dtype: torch.dtype, case: Case) -> None:
    case = case.to(dtype)
    tolerance = allowed_error(name, case, dtype)
    result, expected = run(METHODS, name, case), run(REFERENCES, name, case)
    assert result.dtype == dtype
    assert result.shape == expected.shape
    assert result.isfinite().all()
    difference = (result.double() - expected).abs()
    if name in (*EIGEN_METHODS, "kpca-cam"):  # where a map sums to nothing, either sign is right
        strength = case.activations.double().norm(dim=1) if name == "kpca-cam" else 1
        total, size = (expected * strength).sum((1, 2)).abs(), expected.abs().sum((1, 2))
        undecided = (total < 1e-3 * size)[:, None, None]
        other = (result.double() + expected).abs()
        difference = torch.where(undecided & (other < difference), other, difference)
    assert (difference <= tolerance).all(), (result, expected)


@pytest.mark.parametrize("name", ["grad-cam++", "grad-cam++-normalised", "smooth-grad-cam++"])
@pytest.mark.parametrize("magnitude", [1e-12, 1e-8, 1e-6, 1e-3, 1.0, 1e3])
def test_small_gradients_spoil_no_alpha(name: str, magnitude: float) -> None:
    """An epsilon beside g^2 changes the map once |g| is about its root; here there is none."""
    case = random_case(11, signed=False, magnitude=magnitude)
    case = replace(case, gradients=case.gradients.abs(), noisy=case.noisy.abs())
    expected = run(REFERENCES, name, case)
    single, double = run(METHODS, name, case.to(torch.float32)), run(METHODS, name, case)
    torch.testing.assert_close(double, expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(single.double(), expected, rtol=1e-4, atol=0)
    assert (expected > 0).any()


# --- Worked by hand: one image, two channels, a map of one row and two columns -------------------
#     A1 = [1, 3]   g1 = [1, 0]
#     A2 = [2, 0]   g2 = [-2, 0.5]


def rows(*channels: list[float]) -> Tensor:
    """One image whose channels have one row each."""
    return torch.tensor([[[channel] for channel in channels]], dtype=torch.float64)


ACTIVATIONS = rows([1, 3], [2, 0])
GRADIENTS = rows([1, 0], [-2, 0.5])


def by_hand(actual: Tensor, expected: list[float]) -> None:
    wanted = torch.tensor([[expected]], dtype=torch.float64)
    torch.testing.assert_close(actual, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("table", [METHODS, REFERENCES], ids=["methods", "references"])
class TestByHand:
    def test_cam(self, table) -> None:
        # weights 1 and -1: [1 - 2, 3 - 0]; the negative value stays
        by_hand(table["cam"](ACTIVATIONS, torch.tensor([[1.0, -1.0]]).double()), [-1, 3])

    def test_grad_cam(self, table) -> None:
        # w1 = (1 + 0)/2 = 0.5, w2 = (-2 + 0.5)/2 = -0.75
        # [0.5*1 - 0.75*2, 0.5*3 - 0] = [-1, 1.5], then ReLU
        by_hand(table["grad-cam"](ACTIVATIONS, GRADIENTS), [0, 1.5])

    def test_grad_cam_plus_plus(self, table) -> None:
        # Channel 1, sum 4: at g = 1, alpha = 1/(2 + 4) = 1/6; at g = 0, 0.       w1 = 1/6
        # Channel 2, sum 2: g = -2 is cut; g = 1/2: (1/4)/(1/2 + 2/8) = 1/3.   w2 = 1/3 * 1/2 = 1/6
        # [1/6*1 + 1/6*2, 1/6*3 + 0] = [1/2, 1/2]
        by_hand(table["grad-cam++"](ACTIVATIONS, GRADIENTS), [0.5, 0.5])

    def test_grad_cam_plus_plus_at_a_vanishing_denominator(self, table) -> None:
        # Channel sum -1 - 1 = -2.  g = 1: 2 - 2 = 0, alpha 0.  g = 2: 4/(8 - 16) = -1/2, w = -1
        # -1 * [-1, -1] = [1, 1]
        by_hand(table["grad-cam++"](rows([-1, -1]), rows([1, 2])), [1, 1])

    def test_grad_cam_plus_plus_normalised(self, table) -> None:
        # Channel 1, sum 4, g = [1, 2]: alphas 1/6 and 1/10 make 5/8 and 3/8.  w1 = 5/8 + 6/8 = 11/8
        # Channel 2, sum 2, g = [-2, 1/2]: its one positive position has alpha 1.        w2 = 1/2
        # [11/8*1 + 1/2*2, 11/8*3 + 0] = [19/8, 33/8]
        gradients = rows([1, 2], [-2, 0.5])
        by_hand(table["grad-cam++-normalised"](ACTIVATIONS, gradients), [19 / 8, 33 / 8])

    def test_smooth_grad_cam_plus_plus(self, table) -> None:
        # One channel, sum 4, g = [1, 0] and then [3, -2]:
        # D1 = [2, -1], D2 = [(1 + 9)/2, 4/2] = [5, 2], D3 = [(1 + 27)/2, -8/2] = [14, -4]
        # alpha at the first position = 5/(2*5 + 4*14) = 5/66; the second has D1 < 0
        # w = 5/66 * 2 = 5/33; w * [1, 3] = [5/33, 15/33]
        def noisy_gradients(samples: int, noise: float, seed: int) -> Iterator[Tensor]:
            assert (samples, noise, seed) == (2, 0.3, 5)
            yield rows([1, 0])
            yield rows([3, -2])

        result = table["smooth-grad-cam++"](
            rows([1, 3]), noisy_gradients, samples=2, noise=0.3, seed=5
        )
        by_hand(result, [5 / 33, 15 / 33])

    def test_xgrad_cam(self, table) -> None:
        # w1 = (1*1 + 0*3)/4 = 1/4, w2 = (-2*2 + 0.5*0)/2 = -2
        # [1/4*1 - 2*2, 1/4*3 - 0] = [-15/4, 3/4], then ReLU
        by_hand(table["xgrad-cam"](ACTIVATIONS, GRADIENTS), [0, 0.75])

    def test_xgrad_cam_of_a_channel_that_sums_to_zero(self, table) -> None:
        # The first channel's weight would be x/0: it is left out. w2 = (1*1 + 1*1)/2 = 1
        by_hand(table["xgrad-cam"](rows([1, -1], [1, 1]), rows([1, 2], [1, 1])), [1, 1])

    def test_hires_cam(self, table) -> None:
        # [1*1 - 2*2, 0*3 + 0.5*0]; the negative value stays
        by_hand(table["hires-cam"](ACTIVATIONS, GRADIENTS), [-3, 0])

    def test_layer_cam(self, table) -> None:
        # Channel 1 adds [1*1, 2*3], channel 2 with g = [-2, 1/2] and A = [2, -8] adds [0, -4]
        result = table["layer-cam"](rows([1, 3], [2, -8]), rows([1, 2], [-2, 0.5]))
        by_hand(result, [1, 2])

    def test_layer_cam_cuts_a_negative_sum(self, table) -> None:
        # [1*-1, 1*2] = [-1, 2]
        by_hand(table["layer-cam"](rows([-1, 2]), rows([1, 1])), [0, 2])

    def test_grad_cam_elementwise(self, table) -> None:
        # Products [1, 6] and [-2 * -2, 1/2 * -8] = [4, -4], of which the last is cut
        result = table["grad-cam-elementwise"](rows([1, 3], [-2, -8]), rows([1, 2], [-2, 0.5]))
        by_hand(result, [5, 6])

    def test_eigen_cam(self, table) -> None:
        # Positions x channels: O = [[2, 1], [1, 2]], O'O = [[5, 4], [4, 5]]
        # largest eigenvalue 9 with v1 = (1, 1)/sqrt(2); O v1 = [3, 3]/sqrt(2)
        by_hand(table["eigen-cam"](rows([2, 1], [1, 2])), [3 / 2**0.5, 3 / 2**0.5])

    def test_eigen_cam_of_negative_activations_has_a_positive_sum(self, table) -> None:
        # -O has the same v1 up to sign, and the map's sum is to be >= 0
        by_hand(table["eigen-cam"](rows([-2, -1], [-1, -2])), [3 / 2**0.5, 3 / 2**0.5])

    def test_eigen_cam_is_not_centred(self, table) -> None:
        # Both channels constant: O = [[1, 1], [1, 1]], v1 = (1, 1)/sqrt(2). Centred, all would be 0
        by_hand(table["eigen-cam"](rows([1, 1], [1, 1])), [2**0.5, 2**0.5])

    def test_fem(self, table) -> None:
        # Six positions. A1 = [6, 0, 0, 0, 0, 0]: mean 1, variance 5, 1 + 2 sqrt(5) = 5.47 < 6.
        # A2 = -A1: mean -1, nothing above.  A3 = [4, 10, 4, 4, 4, 4]: mean 5, votes at the second
        # A4 constant: no vote.  [1, 5, 0, 0, 0, 0]
        first = [6, 0, 0, 0, 0, 0]
        channels = [first, [-v for v in first], [4, 10, 4, 4, 4, 4], [0.1] * 6]
        by_hand(table["fem"](rows(*channels)), [1, 5, 0, 0, 0, 0])

    def test_kpca_cam(self, table) -> None:
        # One channel [3, 1], centred [1, -1]: the kernel is [[s, d], [d, s]] with s = tanh 2 and
        # d = tanh 0 = 0. Centred: s/2 [[1, -1], [-1, 1]], eigenvalue s with (1, -1)/sqrt(2)
        # The stronger position is positive: sqrt(s/2) [1, -1]
        value = math.sqrt(math.tanh(2) / 2)
        by_hand(table["kpca-cam"](rows([3, 1])), [value, -value])
        by_hand(table["kpca-cam"](rows([-1, -3])), [-value, value])

    def test_shapley_cam(self, table) -> None:
        # HA1 = [2, 2], HA2 = [-8, 1]: g - HA/2 = [0, -1] and [2, 0]; w = -1/2 and 1
        # [-1/2*1 + 1*2, -1/2*3 + 0] = [3/2, -3/2], then ReLU
        result = table["shapley-cam"](ACTIVATIONS, GRADIENTS, rows([2, 2], [-8, 1]))
        by_hand(result, [1.5, 0])

    def test_eigen_grad_cam(self, table) -> None:
        # Products [1*2, 3*1/3] = [2, 1] and [2*1/2, 4*1/2] = [1, 2]: the matrix above
        result = table["eigen-grad-cam"](rows([1, 3], [2, 4]), rows([2, 1 / 3], [0.5, 0.5]))
        by_hand(result, [3 / 2**0.5, 3 / 2**0.5])


# --- What must hold for every method --------------------------------------------------------------


def close(actual: Tensor, expected: Tensor) -> None:
    scale = float(expected.detach().abs().max())
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-11 * scale)


@pytest.mark.parametrize("name", sorted(METHODS))
@pytest.mark.parametrize("signed", [False, True], ids=["after a ReLU", "signed"])
def test_a_batch_gives_what_each_image_alone_gives(name: str, signed: bool) -> None:
    case = random_case(21, (4, 3, 5, 4), signed=signed)
    together = run(METHODS, name, case)
    for index in range(4):
        alone = case.each(lambda t, i=index: t[i : i + 1])
        alone = replace(alone, class_weights=case.class_weights[index : index + 1])
        close(run(METHODS, name, alone), together[index : index + 1])


@pytest.mark.parametrize("name", sorted(METHODS))
def test_the_order_of_the_channels_does_not_matter(name: str) -> None:
    case = random_case(22, (2, 6, 3, 4))
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    mixed = case.each(lambda t: t[:, order])
    mixed = replace(mixed, class_weights=case.class_weights[:, order])
    close(run(METHODS, name, mixed), run(METHODS, name, case))


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_mirrored_layer_gives_the_mirrored_map(name: str) -> None:
    case = random_case(23, (2, 3, 3, 4))
    mirrored = run(METHODS, name, case.each(lambda t: t.flip(3).transpose(2, 3)))
    close(mirrored, run(METHODS, name, case).flip(2).transpose(1, 2))


@pytest.mark.parametrize("name", sorted(set(METHODS) - {*EIGEN_METHODS, *CLASS_FREE}))
def test_the_unit_a_channel_is_measured_in_does_not_matter(name: str) -> None:
    """A net with a channel times c, and the next layer's weights for it over c, is the same net."""
    case = random_case(24, (2, 3, 3, 4), signed=False)
    unit = torch.tensor([0.01, 1.0, 300.0]).double()[:, None, None]
    same_net = replace(
        case,
        activations=case.activations * unit,
        gradients=case.gradients / unit,
        noisy=case.noisy / unit,
        curvature=case.curvature / unit,
        class_weights=case.class_weights / unit.flatten(),
    )
    close(run(METHODS, name, same_net), run(METHODS, name, case))


@pytest.mark.parametrize(
    "name",
    ["grad-cam", "xgrad-cam", "hires-cam", "layer-cam", "grad-cam-elementwise", "eigen-grad-cam"],
)
@pytest.mark.parametrize("factor", [1e-6, 3.0, 1e4])
def test_a_score_times_c_gives_the_map_times_c(name: str, factor: float) -> None:
    case = random_case(25)
    scaled = replace(case, gradients=case.gradients * factor)
    close(run(METHODS, name, scaled), factor * run(METHODS, name, case))


@pytest.mark.parametrize("name", GRADIENT_METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_gradient_gives_an_empty_map(name: str, dtype: torch.dtype) -> None:
    case = random_case(26, dtype=dtype)
    zero = torch.zeros_like(case.gradients)
    case = replace(case, gradients=zero, curvature=zero, noisy=torch.zeros_like(case.noisy))
    assert torch.equal(run(METHODS, name, case), zero[:, 0])


@pytest.mark.parametrize("name", sorted(METHODS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_dead_layer_gives_an_empty_map(name: str, dtype: torch.dtype) -> None:
    case = random_case(27, dtype=dtype)
    zero = torch.zeros_like(case.activations)
    assert torch.equal(run(METHODS, name, replace(case, activations=zero)), zero[:, 0])


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_method_leaves_its_inputs_as_they_were(name: str) -> None:
    case, untouched = random_case(28), random_case(28)
    run(METHODS, name, case)
    for field in ("activations", "gradients", "noisy", "class_weights", "curvature"):
        assert torch.equal(getattr(case, field), getattr(untouched, field))


def test_one_sample_without_noise_is_grad_cam_plus_plus() -> None:
    case = random_case(29)
    case = replace(case, noisy=case.gradients[None])
    close(run(METHODS, "smooth-grad-cam++", case), run(METHODS, "grad-cam++", case))


# --- On networks ----------------------------------------------------------------------------------


def watched(
    trunk: nn.Module, head: nn.Module, images: Tensor, score: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """A layer's activations, the score's gradient there, and the scores."""
    activations = trunk(images).detach().requires_grad_()
    scores = score(head(activations))
    (gradients,) = torch.autograd.grad(scores.sum(), activations)
    return activations.detach(), gradients, scores.detach()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(3, 3, 9, 8, generator=torch.Generator().manual_seed(31)).double()


@pytest.fixture
def pooled() -> tuple[nn.Module, nn.Module]:
    """Convolutions | global average pooling and one linear map."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(32)
        trunk = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, 6, 3), nn.ReLU())
        head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))
    return trunk.double(), head.double()


@pytest.fixture
def piecewise_linear() -> tuple[nn.Module, nn.Module]:
    """A head with convolution, ReLU, max pooling and two linear maps, all with biases."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(33)
        trunk = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU())
        head = nn.Sequential(
            nn.Conv2d(5, 6, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(6 * 3 * 3, 10),
            nn.ReLU(),
            nn.Linear(10, 4),
        )
    return trunk.double(), head.double()


def before_relu(name: str, activations: Tensor, gradients: Tensor) -> Tensor:
    """Undoes the ReLU of a method linear in the gradient: m = relu(m) - relu(-m)."""
    method = METHODS[name]
    return method(activations, gradients) - method(activations, -gradients)


@pytest.mark.parametrize("name", ["grad-cam", "hires-cam", "xgrad-cam"])
def test_on_pooled_linear_heads_it_is_cam_divided_by_the_number_of_positions(
    name, pooled, images
) -> None:
    a, g, _ = watched(*pooled, images, lambda logits: logits[:, 2])
    row = pooled[1][2].weight[2].detach().expand(3, -1)
    expected = METHODS["cam"](a, row) / a[0, 0].numel()
    signed = METHODS[name](a, g) if name == "hires-cam" else before_relu(name, a, g)
    close(signed, expected)
    if name != "hires-cam":
        close(METHODS[name](a, g), expected.relu())
    assert (expected < 0).any()
    assert (expected > 0).any()


def test_on_pooled_linear_heads_hires_cam_sums_to_the_logit_without_its_bias(
    pooled, images
) -> None:
    a, g, scores = watched(*pooled, images, lambda logits: logits[:, 2])
    bias = pooled[1][2].bias[2].detach()
    close(METHODS["hires-cam"](a, g).sum((1, 2)), scores - bias)


@pytest.mark.parametrize("name", ["layer-cam", "grad-cam-elementwise", "grad-cam++-normalised"])
def test_on_pooled_linear_heads_it_is_cam_of_the_positive_weights(name, pooled, images) -> None:
    a, g, _ = watched(*pooled, images, lambda logits: logits[:, 2])
    row = pooled[1][2].weight[2].detach().relu().expand(3, -1)
    close(METHODS[name](a, g), METHODS["cam"](a, row) / a[0, 0].numel())


def test_on_pooled_linear_heads_grad_cam_plus_plus_damps_each_positive_weight(
    pooled, images
) -> None:
    """Eq. 19 gives relu(w_k) / (2 + w_k F_k), where F_k is the channel's mean activation."""
    a, g, _ = watched(*pooled, images, lambda logits: logits[:, 2])
    row = pooled[1][2].weight[2].detach()
    weights = row.relu() / (2 + row * a.mean((2, 3)))
    close(METHODS["grad-cam++"](a, g), METHODS["cam"](a, weights))


@pytest.mark.parametrize("name", ["grad-cam", "hires-cam", "xgrad-cam"])
@pytest.mark.parametrize("logarithm", [False, True], ids=["softmax", "log-softmax"])
def test_a_softmax_target_is_cam_of_the_row_minus_the_mean_row(
    name, logarithm, pooled, images
) -> None:
    a, g, probability = watched(*pooled, images, lambda logits: logits.softmax(1)[:, 2])
    if logarithm:
        a, g, _ = watched(*pooled, images, lambda logits: logits.log_softmax(1)[:, 2])
    with torch.no_grad():
        probabilities = pooled[1](a).softmax(1)
        rows_of_head = pooled[1][2].weight
        row = rows_of_head[2] - probabilities @ rows_of_head
        if not logarithm:
            row = probability[:, None] * row
    expected = METHODS["cam"](a, row) / a[0, 0].numel()
    close(METHODS[name](a, g) if name == "hires-cam" else before_relu(name, a, g), expected)


def test_between_two_classes_a_softmax_target_is_the_contrast_of_their_rows(images) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(34)
        trunk = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU()).double()
        linear = nn.Linear(5, 2).double()
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear)
    a, g, p1 = watched(trunk, head, images, lambda logits: logits.softmax(1)[:, 0])
    row = (p1 * (1 - p1))[:, None] * (linear.weight[0] - linear.weight[1]).detach()
    close(before_relu("grad-cam", a, g), METHODS["cam"](a, row) / a[0, 0].numel())


def test_a_sigmoid_target_only_scales_the_map(images) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(35)
        trunk = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU()).double()
        linear = nn.Linear(5, 1).double()
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear)
    a, g, p = watched(trunk, head, images, lambda logits: logits.sigmoid()[:, 0])
    row = (p * (1 - p))[:, None] * linear.weight[0].detach()
    close(before_relu("grad-cam", a, g), METHODS["cam"](a, row) / a[0, 0].numel())


@pytest.mark.parametrize("name", ["hires-cam", "xgrad-cam"])
def test_the_map_sums_to_the_score_without_what_later_biases_add(
    name, piecewise_linear, images
) -> None:
    trunk, head = piecewise_linear
    a, g, scores = watched(trunk, head, images, lambda logits: logits[:, 1])
    bias_part = []
    for image in a:
        score = head(image[None])[0, 1]
        biases = [module.bias for module in head if hasattr(module, "bias")]
        parts = torch.autograd.grad(score, biases)
        bias_part.append(sum((b * d).sum() for b, d in zip(biases, parts, strict=True)).detach())
    bias_part = torch.stack(bias_part)
    signed = METHODS[name](a, g) if name == "hires-cam" else before_relu(name, a, g)
    close(signed.sum((1, 2)), scores - bias_part)
    assert (bias_part.abs() > 1e-3).all()


@pytest.mark.parametrize("name", ["hires-cam", "xgrad-cam"])
def test_without_biases_the_map_sums_to_the_score(name, piecewise_linear, images) -> None:
    trunk, head = piecewise_linear
    for module in head:
        if hasattr(module, "bias"):
            nn.init.zeros_(module.bias)
    a, g, scores = watched(trunk, head, images, lambda logits: logits[:, 1])
    close((g * a).sum((1, 2, 3)), scores)
    signed = METHODS[name](a, g) if name == "hires-cam" else before_relu(name, a, g)
    close(signed.sum((1, 2)), scores)


def test_hires_cam_exceeds_grad_cam_by_the_covariance_of_gradient_and_activation(
    piecewise_linear, images
) -> None:
    a, g, _ = watched(*piecewise_linear, images, lambda logits: logits[:, 1])
    covariance = (a * g).mean((2, 3)) - a.mean((2, 3)) * g.mean((2, 3))
    difference = METHODS["hires-cam"](a, g) - before_relu("grad-cam", a, g)
    close(difference.sum((1, 2)), a[0, 0].numel() * covariance.sum(1))


def test_behind_a_general_head_the_methods_are_different_maps(piecewise_linear, images) -> None:
    """Guards the identities above: a method that were a copy of another would pass them too."""
    a, g, _ = watched(*piecewise_linear, images, lambda logits: logits[:, 1])
    names = sorted(set(GRADIENT_METHODS) - {"smooth-grad-cam++", "shapley-cam"})
    maps = {name: METHODS[name](a, g).relu() for name in names}
    maps = {name: m / m.amax((1, 2), keepdim=True).clamp_min(1e-30) for name, m in maps.items()}
    # Behind a ReLU the activations are >= 0, and relu(g) A is relu(g A): these two agree.
    close(maps.pop("grad-cam-elementwise"), maps["layer-cam"])
    for name, one in maps.items():
        for other_name, other in maps.items():
            assert name == other_name or (one - other).abs().max() > 1e-3, (name, other_name)


# --- Eigen-CAM ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(
    "shape", [(2, 40, 3, 3), (2, 4, 9, 8), (2, 9, 3, 3), (1, 1, 4, 4), (1, 6, 1, 1)]
)
def test_eigen_cam_is_the_first_singular_vector_of_the_uncentred_matrix(shape, dtype) -> None:
    case = random_case(41, shape, signed=False, dtype=dtype)
    maps = METHODS["eigen-cam"](case.activations)
    for image, found in zip(case.activations.double(), maps.double(), strict=True):
        matrix = image.flatten(1).T
        _, _, right = torch.linalg.svd(matrix, full_matrices=False)
        expected = matrix @ right[0]
        expected = expected * expected.sum().sign()
        rounding = 1e-5 if dtype == torch.float32 else 1e-12
        torch.testing.assert_close(found.flatten(), expected, rtol=rounding, atol=rounding)
        # The projection's length is the singular value itself.
        torch.testing.assert_close(
            found.norm(), torch.linalg.svdvals(matrix)[0], rtol=rounding, atol=0.0
        )


@pytest.mark.parametrize("name", EIGEN_METHODS)
@pytest.mark.parametrize("shape", [(3, 20, 2, 3), (3, 4, 6, 5)])
def test_eigen_maps_never_come_inverted(name: str, shape) -> None:
    for seed in range(10):
        case = random_case(seed, shape, signed=False)
        case = replace(case, gradients=case.gradients.abs())
        # Activations of one sign have a leading vector of one sign (Perron and Frobenius).
        assert (run(METHODS, name, case) >= 0).all()
        negative = replace(case, activations=-case.activations)
        close(run(METHODS, name, negative), run(METHODS, name, case))


@pytest.mark.parametrize("name", EIGEN_METHODS)
def test_eigen_maps_are_the_same_each_time(name: str) -> None:
    case = random_case(42, (2, 12, 5, 5), dtype=torch.float32)
    state = torch.get_rng_state()
    first = run(METHODS, name, case)
    assert torch.equal(first, run(METHODS, name, case))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("magnitude", [1e-25, 1e-12, 1e25])
def test_eigen_cam_holds_for_very_small_and_very_large_activations(dtype, magnitude) -> None:
    """A Gram matrix squares its numbers, and float32 has none below 1e-45 or above 3e38."""
    activations = random_case(43, signed=False, dtype=dtype).activations
    scaled = METHODS["eigen-cam"](activations * magnitude).double() / magnitude
    expected = METHODS["eigen-cam"](activations).double()
    torch.testing.assert_close(scaled, expected, rtol=1e-4, atol=1e-6)


def test_a_dead_image_in_a_batch_leaves_the_others_alone() -> None:
    case = random_case(44, (3, 5, 3, 3), signed=False)
    alive = METHODS["eigen-cam"](case.activations)
    case.activations[1] = 0
    maps = METHODS["eigen-cam"](case.activations)
    close(maps[[0, 2]], alive[[0, 2]])
    assert not maps[1].any()


# --- FEM, KPCA-CAM --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_a_constant_channel_has_no_vote_in_fem(dtype: torch.dtype) -> None:
    """Its mean may be rounded below its value, which would be more than 2 deviations above it."""
    for value in (0.1, 0.7, 3.3, 1e-3):
        constant = torch.full((1, 2, 7, 9), value, dtype=dtype)
        assert not METHODS["fem"](constant).any()


def test_fem_votes_are_few_and_grow_as_the_threshold_falls() -> None:
    """At most 1/(1 + k^2) of the positions lie more than k deviations above the mean (Cantelli)."""
    activations = random_case(45, (2, 30, 6, 6), signed=False).activations
    mean = activations.mean((2, 3))
    for deviations, bound in [(1.0, 1 / 2), (2.0, 1 / 5), (3.0, 1 / 10)]:
        maps = cam.fem(activations, deviations=deviations)
        assert (maps.sum((1, 2)) <= bound * 36 * mean.sum(1)).all()
    everywhere = cam.fem(activations, deviations=-100.0)
    close(everywhere, mean.sum(1)[:, None, None].expand(-1, 6, 6))


@pytest.mark.parametrize("shape", [(2, 40, 3, 3), (2, 4, 6, 5), (1, 6, 1, 1)])
def test_kpca_cam_is_centred_and_strong_positions_are_positive(shape) -> None:
    activations = random_case(46, shape, signed=False).activations
    maps = METHODS["kpca-cam"](activations)
    assert (maps.sum((1, 2)).abs() < 1e-12).all()
    assert ((maps * activations.norm(dim=1)).sum((1, 2)) >= 0).all()


def test_kpca_cam_with_a_flat_kernel_is_the_centred_principal_component() -> None:
    """tanh(s a + 1) - tanh(1) is s a / cosh(1)^2 for small s: plain PCA, times a constant."""
    activations = random_case(47, (2, 5, 4, 4)).activations
    maps = cam.kpca_cam(activations, slope=1e-9) * math.cosh(1) * math.sqrt(5 / 1e-9)
    centred = (activations - activations.mean((2, 3), keepdim=True)).flatten(2).mT
    _, _, right = torch.linalg.svd(centred, full_matrices=False)
    wanted = (centred @ right[:, 0, :, None])[..., 0]
    strength = activations.norm(dim=1).flatten(1)
    wanted = wanted * (wanted * strength).sum(1, keepdim=True).sign()
    torch.testing.assert_close(maps.flatten(1), wanted, rtol=1e-5, atol=1e-6)


def test_kpca_cam_is_scikit_learns_up_to_its_sign() -> None:
    decomposition = pytest.importorskip("sklearn.decomposition", exc_type=ImportError)
    activations = random_case(48, (3, 12, 5, 4), signed=False).activations
    for slope in (1.0, 0.2):
        maps = cam.kpca_cam(activations, slope=slope)
        for image, found in zip(activations, maps, strict=True):
            points = image.flatten(1).T.numpy()
            kernel = decomposition.KernelPCA(n_components=1, kernel="sigmoid", gamma=slope / 12)
            wanted = torch.from_numpy(kernel.fit_transform(points - points.mean(0)))[:, 0]
            wanted = wanted * (wanted * found.flatten()).sum().sign()
            torch.testing.assert_close(found.flatten(), wanted, rtol=1e-6, atol=1e-8)


def test_kpca_cam_refuses_a_layer_too_large_for_its_kernel() -> None:
    with pytest.raises(MethodError, match=r"65 × 64 positions.*4096.*eigen-cam"):
        cam.kpca_cam(torch.zeros(1, 1, 65, 64))


# --- Shapley-CAM ----------------------------------------------------------------------------------


def hessian_times_activations(
    head: Callable[[Tensor], Tensor], activations: Tensor
) -> tuple[Tensor, Tensor]:
    """The gradient, and H A from the whole Hessian, of each image's score."""
    gradients, products = [], []
    for image in activations:
        gradients.append(torch.autograd.functional.jacobian(head, image))
        hessian = torch.autograd.functional.hessian(head, image)
        size = image.numel()
        product = hessian.reshape(size, size) @ image.flatten()
        products.append(product.reshape(image.shape))
    return torch.stack(gradients), torch.stack(products)


def test_without_curvature_shapley_cam_is_grad_cam() -> None:
    case = random_case(49)
    flat = replace(case, curvature=torch.zeros_like(case.curvature))
    assert torch.equal(run(METHODS, "shapley-cam", flat), run(METHODS, "grad-cam", flat))


def test_of_a_quadratic_score_the_shapley_values_are_exact_and_sum_to_its_rise() -> None:
    """All orders of two positions of two channels, one activation joining after the other."""
    case = random_case(50, (1, 2, 1, 2))
    a = case.activations
    generator = torch.Generator().manual_seed(51)
    bend = torch.randn(4, 4, generator=generator).double()
    slope = torch.randn(4, generator=generator).double()

    def score(image: Tensor) -> Tensor:
        x = image.flatten()
        return x @ bend @ x + slope @ x

    gradients, curvature = hessian_times_activations(score, a)
    values = torch.zeros(4).double()
    orders = list(itertools.permutations(range(4)))
    for order in orders:
        joined = torch.zeros_like(a[0]).flatten()
        for index in order:
            before = score(joined)
            joined[index] = a[0].flatten()[index]
            values[index] += (score(joined) - before) / len(orders)
    close((a * (gradients - curvature / 2)).flatten(), values)
    close(values.sum(), score(a[0]))


# --- Fusion of several layers ---------------------------------------------------------------------

HOW = ["mean", "max", "scaled-max"]


@st.composite
def map_lists(draw: st.DrawFn) -> list[Tensor]:
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    batch = draw(st.integers(1, 3))
    sizes = st.tuples(st.integers(1, 7), st.integers(1, 7))
    maps = [
        torch.rand(batch, *size, generator=generator).double()
        * draw(st.sampled_from([1e-6, 1, 50]))
        for size in draw(st.lists(sizes, min_size=1, max_size=4))
    ]
    if draw(st.booleans()):
        maps[0][0] = 0
    return maps


@pytest.mark.parametrize("how", HOW)
@settings(max_examples=40, deadline=None)
@given(maps=map_lists())
@example(maps=[torch.ones(1, 2, 7).double(), torch.arange(15.0).double().view(1, 5, 3)])
def test_a_fusion_equals_its_reference(how: str, maps: list[Tensor]) -> None:
    fused, expected = fuse(maps, how), fuse_reference(maps, how)
    torch.testing.assert_close(fused, expected, rtol=1e-9, atol=1e-12)
    single = fuse([m.float() for m in maps], how)
    torch.testing.assert_close(single.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("how", HOW)
def test_a_fusion_of_signed_maps_equals_its_reference(how: str) -> None:
    maps = list(random_case(50, (2, 2, 4, 5)).activations.unbind(1))
    maps = [maps[0][:, :3], -maps[1][:, :, :2].abs()]  # mixed signs, and nothing positive at all
    fused = fuse(maps, how)
    torch.testing.assert_close(fused, fuse_reference(maps, how), rtol=1e-9, atol=1e-12)


SMALL = torch.tensor([[[2.0, 4.0]]]).double()
LARGE = torch.tensor([[[10.0, 0.0, 5.0, 0.0]]]).double()


@pytest.mark.parametrize("combine", [fuse, fuse_reference], ids=["fuse", "reference"])
def test_a_mean_worked_by_hand(combine) -> None:
    # [2, 4]/4 = [0.5, 1], at four columns (centres 1/8, 3/8 ... against 1/4, 3/4):
    # [0.5, 0.625, 0.875, 1].  The other /10: [1, 0, 0.5, 0]
    by_hand(combine([SMALL, LARGE], "mean"), [0.75, 0.3125, 0.6875, 0.5])


@pytest.mark.parametrize("combine", [fuse, fuse_reference], ids=["fuse", "reference"])
def test_a_maximum_worked_by_hand(combine) -> None:
    by_hand(combine([SMALL, LARGE], "max"), [1, 0.625, 0.875, 1])


@pytest.mark.parametrize("combine", [fuse, fuse_reference], ids=["fuse", "reference"])
def test_a_scaled_maximum_worked_by_hand(combine) -> None:
    # tanh(2 * [0.5, 1]) = [t, u], t = tanh 1 = 0.761594..., u = tanh 2 = 0.964027...
    # at four columns: [t, (3t + u)/4, (t + 3u)/4, u].  The other: [u, 0, t, 0]
    t, u = 0.7615941559557649, 0.9640275800758169
    by_hand(combine([SMALL, LARGE], "scaled-max"), [u, (3 * t + u) / 4, (t + 3 * u) / 4, u])


@pytest.mark.parametrize("how", HOW)
def test_empty_maps_fuse_to_an_empty_map(how: str) -> None:
    fused = fuse([torch.zeros(2, 3, 3), torch.zeros(2, 5, 4)], how)
    assert torch.equal(fused, torch.zeros(2, 5, 4))


@pytest.mark.parametrize("how", HOW)
def test_a_fusion_does_not_depend_on_the_order_or_the_scale_of_its_maps(how: str) -> None:
    case = random_case(51, (2, 3, 4, 5), signed=False)
    maps = [case.activations[:, 0], case.activations[:, 1, :3], case.activations[:, 2, :, :2]]
    fused = fuse(maps, how)
    close(fuse([maps[2] * 1e5, maps[0], maps[1] * 1e-4], how), fused)


@pytest.mark.parametrize("how", HOW)
def test_a_fusion_treats_each_image_alone(how: str) -> None:
    case = random_case(52, (3, 2, 4, 5), signed=False)
    maps = [case.activations[:, 0], 10 * case.activations[:, 1, :2]]
    for index in range(3):
        alone = fuse([m[index : index + 1] for m in maps], how)
        close(alone, fuse(maps, how)[index : index + 1])
