"""Opti-CAM: against its loop, by hand, and by what must hold exactly."""

from __future__ import annotations

import pytest
import torch
from reference import optimisation as reference
from torch import Tensor, nn

import seewhy
from seewhy.errors import MethodError
from seewhy.methods.optimisation import opti_cam


def network() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(71)
        return (
            nn.Sequential(
                nn.Conv2d(3, 5, 3, padding=1),
                nn.SiLU(),
                nn.MaxPool2d(2),
                nn.Conv2d(5, 6, 2),
                nn.Tanh(),
                nn.Flatten(),
                nn.Linear(6 * 3 * 2, 4),
            )
            .double()
            .eval()
        )


def images(count: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(72)
    return torch.randn(count, 3, 8, 7, generator=generator, dtype=torch.float64)


def seen_through(maps: Tensor, pictures: Tensor) -> Tensor:
    size = pictures.shape[2:]
    large = nn.functional.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)
    low, high = large.amin((1, 2, 3), True), large.amax((1, 2, 3), True)
    return (large - low) / (high - low) * pictures


@pytest.mark.parametrize(("steps", "rate", "baseline"), [(0, 0.1, 0), (1, 0.1, 0), (9, 0.3, -0.7)])
def test_it_equals_its_loop(steps: int, rate: float, baseline: float) -> None:
    model, pictures, targets = network(), images(), [1, 3, 0]
    maps = seewhy.attribute(
        model, pictures, targets, method="opti-cam", layer="1",
        steps=steps, rate=rate, baseline=baseline,
    )  # fmt: skip
    activations = model[:2](pictures).detach()
    for row, target in enumerate(targets):
        slow = reference.opti_cam(
            activations[row],
            pictures[row],
            lambda image, target=target: model(image[None])[0, target],
            steps,
            rate,
            baseline,
        )
        torch.testing.assert_close(maps[row], slow, rtol=1e-7, atol=1e-9)


def test_a_mask_that_cannot_change_by_hand() -> None:
    """Channels [4, 0] and [0, 2]: at equal weights the mixture is [2, 1].

    Scaled to 0..1 two positions are 1 and 0 whatever the weights: there is no gradient, no step.
    """
    activations = torch.tensor([[[[4.0, 0.0]], [[0.0, 2.0]]]]).double()
    pictures = torch.ones(1, 1, 1, 4).double()
    still = opti_cam(activations, pictures, torch.ones_like, steps=1, rate=0.5)
    torch.testing.assert_close(still, torch.tensor([[[2.0, 1.0]]]).double())


@pytest.mark.parametrize("sign", [1, -1])
def test_one_step_by_hand(sign: int) -> None:
    """Channels [4, 0, 0] and [0, 2, 0] with weights a and b: the mixture is [4a, 2b, 0].

    The image has the layer's size, so the mask is [1, b/2a, 0]. A score that wants to see the
    middle pixel wants more b and less a. Adam's first step is its rate, in that direction:
    u = 0.5 - 0.1 and 0.5 + 0.1. One that wants to see less of it steps the other way.
    """
    activations = torch.tensor([[[[4.0, 0, 0]], [[0, 2.0, 0]]]]).double()
    wants = sign * torch.tensor([[[[0.0, 1.0, 0.0]]]]).double()
    pictures = torch.ones(1, 1, 1, 3).double()
    made = opti_cam(activations, pictures, lambda _: wants, steps=1, rate=0.1)
    a, b = torch.tensor([0.5 - sign * 0.1, 0.5 + sign * 0.1]).double().softmax(0).tolist()
    expected = torch.tensor([[[4 * a, 2 * b, 0]]]).double()
    torch.testing.assert_close(made, expected, rtol=1e-6, atol=0)


def test_the_score_behind_the_mask_rises() -> None:
    model, pictures, targets = network(), images(), [1, 3, 0]
    scores = []
    for steps in (0, 5, 40):
        maps = seewhy.attribute(model, pictures, targets, method="opti-cam", layer="1", steps=steps)
        seen = model(seen_through(maps, pictures))
        scores.append(seen.gather(1, torch.tensor(targets)[:, None])[:, 0])
    assert (scores[0] < scores[1]).all()
    assert (scores[1] < scores[2]).all()


def test_without_steps_it_is_the_mean_of_the_channels() -> None:
    activations = torch.randn(2, 5, 3, 4)
    maps = opti_cam(activations, torch.randn(2, 3, 9, 9), torch.zeros_like, steps=0)
    torch.testing.assert_close(maps, activations.relu().mean(1))


def test_a_dead_layer_gives_an_empty_map_and_asks_for_finite_gradients() -> None:
    def gradients(seen: Tensor) -> Tensor:
        assert not seen.any()
        return torch.ones_like(seen)

    maps = opti_cam(torch.zeros(2, 3, 2, 2), torch.randn(2, 3, 6, 6), gradients, steps=3)
    assert torch.equal(maps, torch.zeros(2, 2, 2))


def test_black_as_baseline_is_masking_before_standardising() -> None:
    """What the authors' code does, whose network standardises pixels of 0..1 itself."""
    mean, spread = 0.45, 0.22

    class Standardised(nn.Module):
        def __init__(self, body: nn.Module) -> None:
            super().__init__()
            self.body = body

        def forward(self, pixels: Tensor) -> Tensor:
            return self.body((pixels - mean) / spread)

    pixels = torch.rand(2, 3, 8, 7, generator=torch.Generator().manual_seed(73)).double()
    model = network()
    options = {"method": "opti-cam", "steps": 6}
    inside = seewhy.attribute(Standardised(model), pixels, 2, layer="body.1", **options)
    prepared = (pixels - mean) / spread
    black = -mean / spread
    ours = seewhy.attribute(model, prepared, 2, layer="1", baseline=black, **options)
    torch.testing.assert_close(ours, inside, rtol=1e-7, atol=1e-10)
    mean_colour = seewhy.attribute(model, prepared, 2, layer="1", **options)
    assert (mean_colour - inside).abs().max() > 1e-3


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_works_under_the_callers_mode_and_for_several_targets(mode) -> None:
    model, pictures = network(), images()
    options = {"method": "opti-cam", "layer": "1", "steps": 4}
    wanted = seewhy.attribute(model, pictures, 2, **options)
    with mode():
        maps = seewhy.attribute(model, images(), (0, 2), **options)
    torch.testing.assert_close(maps[:, 1].clone(), wanted)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"steps": -1}, "at least 0"),
        ({"rate": 0.0}, "positive"),
        ({"baseline": torch.zeros(2)}, "fit|shape"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], says: str) -> None:
    with pytest.raises(MethodError, match=says):
        opti_cam(torch.ones(1, 2, 3, 3), torch.ones(1, 3, 7, 7), torch.ones_like, **options)
