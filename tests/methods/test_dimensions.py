"""Every formula in one, two and three dimensions: a dimension of size 1 says nothing, and how
positions are laid out says nothing to what only counts them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from seewhy.errors import MethodError
from seewhy.methods import METHODS, attention, cam, perturbation
from seewhy.methods.fusion import FUSIONS, fuse

TARGETS = 2
OPTIONS: dict[str, dict[str, Any]] = {
    "smooth-grad-cam++": {"samples": 3},
    "score-cam-bounded": {"error": 0.0},
    "ss-cam": {"samples": 2},
    "is-cam": {"steps": 2},
    "group-cam": {"groups": 2},
    "rise": {"masks": 9},
    "opti-cam": {"steps": 3},
    "smooth-grad": {"samples": 2},
    "var-grad": {"samples": 3},
    "square-grad": {"samples": 2},
    "integrated-gradients": {"steps": 3},
}
WITH_POSITIONS = sorted(
    name for name, method in METHODS.items() if method.function.__module__ != attention.__name__
)
"""Those of attention know tokens, which the pipeline lays out."""

FREE_OF_SHAPE = sorted(
    [name for name, method in METHODS.items() if method.function.__module__ == cam.__name__]
    + ["ablation-cam", "ablation-cam-relative", "ablation-cam-slope", "recipro-cam"]
)
DRAWN = ("rise", "ss-cam", "smooth-grad", "var-grad", "square-grad")
"""Their noise lies where it was drawn, and is not turned with the input."""


pytestmark = pytest.mark.usefixtures("one_thread")


def normal(seed: int, *size: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*size, generator=generator, dtype=torch.float64)


@dataclass(frozen=True)
class Layout:
    """Values of a fixed number of positions, laid out by `change`, and scores blind to that.

    `change` gets `(rows, channels, *spatial)` as first drawn; `back` undoes it, so that a score,
    which weighs every value by where it was first, is the same whatever the layout.
    """

    size: tuple[int, ...]  # of the layer
    input_size: tuple[int, ...]
    seed: int
    change: Callable[[Tensor], Tensor]
    back: Callable[[Tensor], Tensor]

    def drawn(self, number: int, rows: int, channels: int, size: tuple[int, ...]) -> Tensor:
        return self.change(normal(self.seed + number, rows, channels, *size))

    def scores(self, values: Tensor) -> Tensor:
        flat = self.back(values).flatten(1)
        weights = normal(self.seed + flat.shape[1], flat.shape[1], TARGETS)
        return 3 * torch.tanh(flat @ weights / flat.shape[1] ** 0.5)

    def versions(self, count: int, make: Callable[[Tensor], Tensor]) -> Tensor:
        return torch.cat([self.scores(make(which)) for which in torch.arange(count).split(3)])

    def probabilities(self, count: int, make: Callable[[Tensor], Tensor]) -> Tensor:
        return self.versions(count, make).softmax(1)

    def gradients_of(self, inputs: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = inputs.detach().clone().requires_grad_()
            return torch.autograd.grad(self.scores(leaf)[:, 0].sum(), leaf)[0]

    def run(self, name: str, **options: Any) -> Tensor:
        needs = METHODS[name].needs
        rows = 1 if METHODS[name].of_one_image else 3
        activations = self.drawn(1, rows, 4, self.size)
        gradients = self.drawn(2, TARGETS if rows == 1 else rows, 4, self.size)
        inputs = self.drawn(3, rows, 2, self.input_size)
        parts = [self.drawn(4, rows, 3, self.size), normal(self.seed + 5, rows, 6)]

        def without_channels(channels: Tensor) -> Tensor:
            versions = activations.repeat(len(channels), *(1,) * (activations.ndim - 1))
            versions[torch.arange(len(channels)), channels] = 0
            return self.scores(versions)

        def noisy_gradients(samples: int, noise: float, seed: int) -> Iterator[Tensor]:
            for number in range(samples):
                yield gradients + 0.3 * self.drawn(10 + number, rows, 4, self.size)

        evidence = {
            "activations": activations if rows > 1 else activations[0],
            "gradients": gradients,
            "class_weights": normal(self.seed + 6, rows, 4),
            "curvature": self.drawn(7, rows, 4, self.size),
            "noisy_gradients": noisy_gradients,
            "inputs": inputs,
            "image": inputs[0],
            "input_gradients": self.gradients_of,
            "guided_gradients": self.gradients_of,
            "deconvnet_gradients": self.gradients_of,
            "full_gradients": lambda inputs: (self.gradients_of(inputs), parts),
            "input_scores": lambda inputs: self.scores(inputs)[:, 0],
            "note": lambda said: None,
            "scores": self.scores(inputs)[0],
            "rerun": self.versions,
            "without_channels": without_channels,
            "forward": self.versions,
            "forward_probability": self.probabilities,
        }
        given_ = {need: evidence[need] for need in needs}
        return METHODS[name](**given_, **{**OPTIONS.get(name, {}), **options})


def close(name: str, made: Tensor, expected: Tensor) -> None:
    # A mask of two positions is the same whatever the mixture: Adam divides its gradient, rounding
    # errors of 1e-16 or so, by no more than they and 1e-8 are.
    atol = 1e-5 if name == "opti-cam" else 1e-11
    torch.testing.assert_close(made, expected, rtol=1e-9, atol=atol)


def as_it_is(values: Tensor) -> Tensor:
    return values


sizes = st.lists(st.integers(2, 4), min_size=1, max_size=2)


def larger(size: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(2 * side + 1 for side in size)


@pytest.mark.parametrize("name", sorted(set(WITH_POSITIONS) - {"recipro-cam-gaussian"}))
@settings(max_examples=12, deadline=None)
@given(size=sizes, seed=st.integers(0, 2**16), data=st.data())
def test_a_dimension_of_size_one_changes_nothing(
    name: str, size: list[int], seed: int, data: st.DataObject
) -> None:
    """A signal is a picture of height 1, or of width 1, and a picture a volume of depth 1."""
    low = Layout(tuple(size), larger(tuple(size)), seed, as_it_is, as_it_is)
    place = data.draw(st.integers(0, len(size)))
    if name == "rise":  # whose shifts are drawn dimension by dimension
        place = len(size)
    high = Layout(
        low.size,
        low.input_size,
        seed,
        lambda values: values.unsqueeze(2 + place),
        lambda values: values.squeeze(2 + place),
    )
    options: list[dict[str, Any]] = [{}, {}]
    each = {"occlusion": {"window": 3, "stride": 2}, "rise": {"cells": 3}}.get(name, {})
    for option, value in each.items():
        sides = [value] * len(size)
        options[0][option] = sides
        options[1][option] = [*sides[:place], 1, *sides[place:]]
    expected = low.run(name, **options[0])
    made = high.run(name, **options[1])
    assert expected.ndim == 1 + len(size)
    close(name, made.squeeze(1 + place), expected)
    assert float(expected.abs().max()) > 0 or name not in ("occlusion", "rise", "saliency")


@pytest.mark.parametrize("name", sorted(set(WITH_POSITIONS) - set(DRAWN)))
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**16), order=st.permutations([0, 1, 2]))
def test_a_turned_volume_gives_the_turned_map(name: str, seed: int, order: list[int]) -> None:
    """All three dimensions are treated alike."""
    dims = [0, 1, *(2 + d for d in order)]
    undo = sorted(range(5), key=dims.__getitem__)
    straight = Layout((2, 3, 4), (5, 7, 6), seed, as_it_is, as_it_is)
    turned = Layout(
        (2, 3, 4), (5, 7, 6), seed, lambda v: v.permute(dims), lambda v: v.permute(undo)
    )
    options = {"occlusion": {"window": 3, "stride": 2}}.get(name, {})
    expected = straight.run(name, **options).permute(0, *(1 + d for d in order))
    close(name, turned.run(name, **options), expected)


@pytest.mark.parametrize("name", FREE_OF_SHAPE)
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_what_only_counts_positions_is_the_same_in_any_layout(name: str, seed: int) -> None:
    """A volume of 2 × 3 × 4 positions is a picture of 6 × 4 is a signal of 24."""
    flat = Layout((24,), (24,), seed, as_it_is, as_it_is)
    expected = flat.run(name)
    for shape in ((6, 4), (2, 3, 4)):
        laid = Layout(
            (24,), (24,), seed, lambda v, s=shape: v.unflatten(2, s), lambda v: v.flatten(2)
        )
        close(name, laid.run(name).flatten(1), expected)


@pytest.mark.parametrize("how", sorted(FUSIONS))
@settings(max_examples=10, deadline=None)
@given(size=sizes, seed=st.integers(0, 2**16), data=st.data())
def test_fused_maps_of_any_number_of_dimensions(
    how: str, size: list[int], seed: int, data: st.DataObject
) -> None:
    maps = [normal(seed, 2, *size), normal(seed + 1, 2, *larger(tuple(size)))]
    place = 1 + data.draw(st.integers(0, len(size)))
    expected = fuse(maps, how)
    assert expected.shape == maps[1].shape
    made = fuse([one.unsqueeze(place) for one in maps], how)
    torch.testing.assert_close(made.squeeze(place), expected, rtol=1e-10, atol=1e-12)


# --- By hand ------------------------------------------------------------------------------------


def sums(count: int, make: Callable[[Tensor], Tensor]) -> Tensor:
    """y = the sum of all values."""
    return make(torch.arange(count)).flatten(1).sum(1, keepdim=True)


def test_occlusion_of_a_signal_by_hand() -> None:
    # Windows of 2 at 0, 2 and 4 hide 1 + 2, 3 + 4 and 5 (the last reaches over the end).
    signal = torch.tensor([[1.0, 2, 3, 4, 5]])
    made = perturbation.occlusion(signal, torch.tensor([15.0]), sums, window=2, stride=2)
    assert made.tolist() == [[3, 3, 7, 7, 5]]


def test_occlusion_of_a_volume_by_hand() -> None:
    # Two slices of one row of 2 pixels; windows of 1 × 1 × 2: each slice's sum, 3 and 30.
    volume = torch.tensor([[[[1.0, 2]], [[10, 20]]]])
    made = perturbation.occlusion(volume, torch.tensor([33.0]), sums, window=(1, 1, 2), stride=1)
    assert made.tolist() == [[[[3, 3]], [[30, 30]]]]


def test_recipro_gaussian_of_a_signal_by_hand() -> None:
    # Half of the position and a quarter of each neighbour: 4 + 4 and so on.
    signal = torch.tensor([[8.0, 16, 32]])
    made = perturbation.recipro_cam_gaussian(signal, sums)
    assert made.tolist() == [[4 + 4, 2 + 8 + 8, 4 + 16]]
    # Cut off at the edges: of a picture of height 1 it keeps half of that.
    assert torch.equal(perturbation.recipro_cam_gaussian(signal[:, None], sums)[:, 0], made / 2)


def test_recipro_gaussian_of_a_volume_keeps_a_64th_of_a_corner() -> None:
    # 1/2 · 1/2 · 1/2 of the position itself, halved with each dimension in which one is beside it.
    volume = torch.zeros(1, 3, 3, 3)
    volume[0, 1, 1, 1] = 64
    made = perturbation.recipro_cam_gaussian(volume, sums)[0]
    assert made[1].tolist() == [[2, 4, 2], [4, 8, 4], [2, 4, 2]]
    assert made[0].tolist() == made[2].tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"window": (2, 2)},
            "has 2 numbers, but it needs one, or one for each of the 3 dimensions",
        ),
        ({"window": 3}, "2 × 4 × 5 pixels; choose at most 2, or one for each of 2 × 4 × 5."),
        ({"window": (2, 4, 5), "stride": (1, 1, 6)}, "stride=(1, 1, 6) leaves pixels"),
        ({"window": (2, 0, 2)}, "window must be at least 1, not 0"),
    ],
)
def test_windows_that_do_not_fit_a_volume(options: dict[str, Any], said: str) -> None:
    options = {"stride": 1, **options}
    with pytest.raises(MethodError) as caught:
        perturbation.occlusion(torch.zeros(1, 2, 4, 5), torch.zeros(1), sums, **options)
    assert said in str(caught.value)


def test_a_kernel_over_too_many_positions_of_a_volume_is_refused() -> None:
    with pytest.raises(MethodError, match="32 × 32 × 32 positions"):
        cam.kpca_cam(torch.zeros(1, 1, 32, 32, 32))
