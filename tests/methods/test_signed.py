"""What formulas that assume maps from 0 up say of signed layers: by hand, and only where due."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import seewhy
from seewhy.methods import METHODS, backprop

POLES = ["grad-cam++", "grad-cam++-normalised"]
ABLATIONS = ["ablation-cam", "ablation-cam-relative", "ablation-cam-slope"]
WITH_GRADIENTS = [*POLES, "xgrad-cam"]


def rows(*channels: list[float]) -> Tensor:
    """One signal of so many channels."""
    return torch.tensor([channels], dtype=torch.float64)


def noted(name: str, *evidence: Tensor) -> list[str]:
    said: list[str] = []
    made = METHODS[name](*evidence, said.append)
    assert torch.equal(made, METHODS[name](*evidence))  # a note changes nothing
    return said


@pytest.mark.parametrize("name", POLES)
def test_the_pole_of_grad_cam_plus_plus_by_hand(name: str) -> None:
    # ΣA = −2: at g = 1/2 alpha is 1 / (2 − 1), at g = 1 there is the pole, at g = 3 it is 1 / −4,
    # and g = −1 does not count.
    a = rows([-3, 1, 0, 0])
    assert noted(name, a, rows([0.5, 0.9, 0.5, -1])) == []
    (said,) = noted(name, a, rows([0.5, 1, 3, -1]))
    assert "is not defined at 2 of 3 positive gradients" in said
    assert "because its divisor is not above 0 there (the layer's values are signed" in said
    assert "hires-cam, layer-cam or grad-cam" in said
    # The channel's own gradients meet the channel's own sum.
    assert noted(name, rows([-3, 1], [1, 1]), rows([0.5, 0], [3, 3])) == []


def test_the_mean_of_xgrad_cam_by_hand() -> None:
    # Channel 1: (3 · 2 − 2 · −1) / (3 − 2) = 8, where no gradient is beyond 2.
    # Channel 2 has one sign, and its weight is (1 · 5 + 3 · 1) / 4 = 2, between 1 and 5.
    a, g = rows([3, -2], [-1, -3]), rows([2, -1], [5, 1])
    (said,) = noted("xgrad-cam", a, g)
    assert "is not a mean of the gradients in 1 of 2 channels" in said
    # Both signs, and yet a mean: (3 · 2 − 1 · 2) / 2 = 2.
    assert noted("xgrad-cam", rows([3, -1]), rows([2, 2])) == []
    # What sums to nothing has no weight, and no mean either.
    (said,) = noted("xgrad-cam", rows([1, -1]), rows([2, 1]))
    assert "in 1 of 1 channels" in said


def test_the_pole_of_smooth_grad_cam_plus_plus_by_hand() -> None:
    # One channel that sums to 4; g = 1 and then −0.8: moments 0.1, 0.82 and 0.244, and
    # 2 · 0.82 + 4 · 0.244 > 0. With 2, −1.9 and 0 they are 1/30, 2.54, 0.380: fine as well.
    # With 1, 1 and −1.9: 1/30, 1.87 and −1.62, so that 2 · 1.87 − 4 · 1.62 < 0 though A > 0.
    def noted_of(*drawn: float) -> list[str]:
        said: list[str] = []
        METHODS["smooth-grad-cam++"](
            rows([1, 3]), lambda *_: [rows([g, 0]) for g in drawn], said.append, samples=len(drawn)
        )
        return said

    assert noted_of(1, -0.8) == noted_of(2, -1.9, 0) == []
    (said,) = noted_of(1, 1, -1.9)
    assert "is not defined at 1 of 1 positive gradients" in said
    assert "because its divisor is not above 0 there (the mean of g³ has not the sign" in said


@pytest.mark.parametrize("name", ABLATIONS)
def test_the_sign_of_ablation_cam_by_hand(name: str) -> None:
    """y = ΣA: of channels with sums 3 and −3 the fall is 3 and −3, though both count alike."""
    channels, scores = torch.tensor([[1.0, 2], [-1, -2]]), torch.tensor([0.5])

    def noted_of(activations: Tensor) -> list[str]:
        said: list[str] = []

        def without(which: Tensor) -> Tensor:
            return (scores - activations.sum(1)[which])[:, None]

        made = METHODS[name](activations, scores, without, said.append)
        assert torch.equal(made, METHODS[name](activations, scores, without))
        return said

    (said,) = noted_of(channels)
    assert "has the wrong sign in channels whose values sum to less than 0" in said
    assert noted_of(channels.abs()) == noted_of(channels * torch.tensor([[1.0], [0]])) == []
    assert noted_of(channels + 2) == []


@pytest.mark.parametrize("name", WITH_GRADIENTS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), magnitude=st.sampled_from([1e-6, 1.0, 1e3]))
def test_a_layer_behind_a_relu_has_nothing_said_of_it(
    name: str, dtype: torch.dtype, seed: int, magnitude: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(2, 3, 4, 5, generator=generator).relu()
    g = magnitude * torch.randn(2, 3, 4, 5, generator=generator)
    assert noted(name, a.to(dtype), g.to(dtype)) == []


@pytest.mark.parametrize("name", WITH_GRADIENTS)
def test_guided_grad_cam_passes_it_on(name: str) -> None:
    a, g = rows([3, -1, -4]), rows([2, 3, -1])
    said: list[str] = []
    backprop.guided_grad_cam(a, g, torch.ones(1, 1, 6), lambda x: x, said.append, cam=name)
    assert said == noted(name, a, g)
    assert len(said) == 1


class Shifted(nn.Module):
    """A layer of which every value is lowered, and a score that does not see it."""

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 2, 1)
        self.shift = shift
        with torch.no_grad():
            self.layer.weight.fill_(1)
            self.layer.bias.fill_(-shift)

    def forward(self, x: Tensor) -> Tensor:
        return (self.layer(x) + self.shift).relu().sum((2, 3))


@pytest.mark.parametrize("name", [*WITH_GRADIENTS, *ABLATIONS, "guided-grad-cam"])
def test_it_is_among_the_warnings_of_an_explanation(name: str) -> None:
    picture = torch.rand(1, 6, 6, generator=torch.Generator().manual_seed(0))
    preprocess = seewhy.Preprocess(size=(6, 6), resize=None, mean=(0.0,), std=(1.0,))

    options = {"cam": "grad-cam++"} if name == "guided-grad-cam" else {}

    def warned(shift: float) -> bool:
        why = seewhy.explain(
            Shifted(shift), picture, 0, method=name, layer="layer", preprocess=preprocess, **options
        )
        return any("hires-cam, layer-cam or grad-cam" in said for said in why.warnings)

    assert not warned(0)
    # Alpha is 1 / (2 − 36 · 0.5); g = 1 everywhere, so XGrad-CAM's mean is right wherever it lies.
    assert warned(1.0) == (name != "xgrad-cam")
