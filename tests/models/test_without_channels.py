"""Without a channel the model gives what the rerun with zeros gives, by shares where they exist."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision_layers import TORCHVISION, torchvision_model

from seewhy import attribute
from seewhy.layers import find_layers
from seewhy.models.rerun import rerunning
from seewhy.models.without_channels import WithoutChannels


def by_definition(tail, channels: Tensor) -> Tensor:
    """One version at a time, each with its channel set to zero."""
    outputs = []
    for channel in channels.tolist():
        activations = tail.activations.clone()
        activations[:, channel] = 0
        outputs.append(tail(activations))
    return torch.cat(outputs)


def is_seen(changed: bool) -> None:
    assert changed, "no channel changes anything: this tests nothing"


def compared(
    model: nn.Module,
    layer: str,
    inputs: Tensor,
    channels: Tensor | None = None,
    seen: Callable[[bool], object] = is_seen,
) -> bool:
    """Whether shares were used; the outputs are held to the definition."""
    with rerunning(model, find_layers(model, layer)[0], inputs) as tail, torch.no_grad():
        if channels is None:
            channels = torch.arange(tail.activations.shape[1])
        without = WithoutChannels(tail)
        made = torch.cat([without(some) for some in channels.split(5)])
        expected = by_definition(tail, channels)
        seen(bool((expected - tail.outputs).abs().amax() > 0))
        # To the rounding of the outputs, which what a channel changes may be a small part of.
        near = 1e-5 * float(expected.abs().max())
        torch.testing.assert_close(made, expected, rtol=1e-4, atol=near)
        assert tail.warnings == ()
        return without.shared


# Channels meet before the first linear map in SqueezeNet's convolution and ConvNeXt's layer norm.
@pytest.mark.parametrize(
    ("name", "shared"),
    [
        ("resnet18", True),
        ("alexnet", True),
        ("vgg11", True),
        ("densenet121", True),
        ("googlenet", True),
        ("efficientnet_b0", True),
        ("mobilenet_v3_small", True),
        ("squeezenet1_0", False),
        ("convnext_tiny", False),
    ],
)
def test_torchvision_classifiers(name: str, shared: bool) -> None:
    inputs = torch.randn(1, 3, 96, 96)
    channels = torch.tensor([0, 1, 7, 30, 31, 40])
    assert compared(torchvision_model(name), TORCHVISION[name], inputs, channels) == shared


def test_a_layer_in_front_of_convolutions_is_rerun() -> None:
    inputs = torch.randn(1, 3, 64, 64)
    assert not compared(torchvision_model("resnet18"), "layer3", inputs, torch.arange(5))


@pytest.mark.parametrize("dimensions", [1, 3])
@pytest.mark.parametrize("shared", [True, False])
def test_signals_and_volumes(dimensions: int, shared: bool) -> None:
    conv = {1: nn.Conv1d, 3: nn.Conv3d}[dimensions]
    pool = {1: nn.AdaptiveAvgPool1d, 3: nn.AdaptiveAvgPool3d}[dimensions]
    between = nn.ReLU() if shared else conv(7, 7, 3, padding=1)
    model = nn.Sequential(
        conv(2, 7, 3, padding=1), between, pool(2), nn.Flatten(), nn.LazyLinear(5), nn.ReLU(),
        nn.Linear(5, 3),
    )  # fmt: skip
    inputs = torch.randn(1, 2, *(5,) * dimensions)
    model(inputs)
    assert compared(model.eval(), "0", inputs) == shared


class Between(nn.Module):
    """What stands between the layer and the linear map is a function's work."""

    def __init__(self, between, channels: int = 6, size: int = 4) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, channels, 3, padding=1)
        self.between = between
        features = self.between(torch.zeros(1, channels, size, size)).shape[1]
        self.linear = nn.Linear(features, 7)
        self.last = nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.relu_(self.linear(self.between(self.layer(x)))))


CHANNELWISE = {
    "mean": lambda a: a.mean((2, 3)),
    "rectified in place": lambda a: F.relu_(a).flatten(1),
    "largest": lambda a: F.adaptive_max_pool2d(a, 2).flatten(1),
    "offset": lambda a: (a + torch.arange(6.0)[:, None, None]).tanh().flatten(1),
    "softmax over positions": lambda a: (a.flatten(2).softmax(2) * a.flatten(2)).flatten(1),
    "normalised by itself": lambda a: F.instance_norm(a).abs().amax((2, 3)),
}
MIXING = {
    "channels last": lambda a: a.permute(0, 2, 3, 1).flatten(1),  # laid out otherwise
    "softmax over channels": lambda a: a.softmax(1).flatten(1),
    "one channel's gate": lambda a: (a * (a[:, 4:5] > 0)).flatten(1),
    "a neighbour": lambda a: (a + 0.1 * a.roll(1, 1)).mean((2, 3)),
    "the largest of all": lambda a: (a / a.abs().amax((1, 2, 3), keepdim=True)).flatten(1),
    "layer norm": lambda a: F.layer_norm(a, a.shape[1:]).flatten(1),
    "fewer": lambda a: a[:, ::2].mean((2, 3)),
    "more": lambda a: torch.cat([a.mean((2, 3)), a.amax((2, 3))], 1),
}


@pytest.mark.parametrize("between", [*CHANNELWISE, *MIXING])
def test_functions_between_layer_and_linear_map(between: str) -> None:
    torch.manual_seed(3)
    model = Between({**CHANNELWISE, **MIXING}[between]).eval()
    shared = compared(model, "layer", torch.randn(1, 3, 4, 4))
    assert shared == (between in CHANNELWISE)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**16), channels=st.integers(2, 9), mixed=st.integers(0, 8))
def test_two_channels_that_meet_are_found(seed: int, channels: int, mixed: int) -> None:
    """Whichever two of them meet, some half takes one away and leaves the other."""
    torch.manual_seed(seed)
    one, other = torch.randperm(channels)[:2].tolist()

    def meeting(a: Tensor) -> Tensor:
        means = a.mean((2, 3))
        extra = torch.zeros_like(means)
        extra[:, one] = means[:, other]
        return means + extra if mixed % 2 else means * (1 + extra)

    model = Between(meeting, channels).eval().double()
    inputs = torch.randn(1, 3, 4, 4, dtype=torch.float64)
    assert not compared(model, "layer", inputs, seen=assume)


def test_a_network_that_reads_the_batch_size_is_rerun_as_a_whole_tail() -> None:
    class Shaped(Between):
        def forward(self, x: Tensor) -> Tensor:
            a = self.layer(x)
            return self.last(self.linear(self.between(a))).reshape(len(a), 3)

    model = Shaped(CHANNELWISE["mean"]).eval()
    assert not compared(model, "layer", torch.randn(1, 3, 4, 4))


def test_a_linear_map_that_is_used_twice() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 6, 3, padding=1)
            self.linear = nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(self.linear(self.layer(x).mean((2, 3))).sigmoid())

    assert compared(Twice().eval(), "layer", torch.randn(1, 3, 4, 4))


def test_a_skip_around_the_linear_map_joins_one_row_to_many() -> None:
    class Skip(nn.Module):
        def __init__(self, together) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 6, 3, padding=1)
            self.linear = nn.Linear(6, 6)
            self.together = together

        def forward(self, x: Tensor) -> Tensor:
            pooled = self.layer(x).mean((2, 3))
            return self.together(pooled, self.linear(pooled))

    torch.manual_seed(0)
    inputs = torch.randn(1, 3, 4, 4)
    for together in (torch.add, lambda a, b: torch.cat([a, b], 1)):
        assert not compared(Skip(together).eval(), "layer", inputs)


def test_a_quantised_or_own_linear_map_is_not_taken_apart() -> None:
    class Own(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).tanh()

    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), Own(6, 3))
    assert not compared(model.eval(), "0", torch.randn(1, 3, 6, 6))


def test_the_versions_memory_is_used_again_unless_the_network_wrote_into_it() -> None:
    class Writing(nn.Module):
        def forward(self, a: Tensor) -> Tensor:
            return a.mul_(2)

    conv = nn.Conv2d(6, 4, 3)
    for between in (nn.Identity(), Writing()):
        model = nn.Sequential(nn.Conv2d(3, 6, 3), between, conv, nn.Flatten()).eval()
        assert not compared(model, "0", torch.randn(1, 3, 8, 8))


def test_dead_channels_change_nothing_and_ablation_cam_is_the_same_map() -> None:
    """Through the door: a head with shares, and the same head hidden from them."""

    class Hidden(nn.Linear):
        pass

    torch.manual_seed(1)
    plain = nn.Sequential(nn.Conv2d(3, 20, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    linear, hidden = nn.Linear(80, 9), Hidden(80, 9)
    hidden.load_state_dict(linear.state_dict())
    inputs = torch.randn(2, 3, 12, 12)
    with torch.no_grad():
        plain[0].bias[:5] = -100.0
    last = nn.Linear(9, 5)
    for target in (4, (0, 3), "top3"):
        shared, rerun = (
            attribute(
                nn.Sequential(*plain, head, nn.ReLU(), last).eval(), inputs, target,
                method="ablation-cam", layer="1",
            )
            for head in (linear, hidden)
        )  # fmt: skip
        torch.testing.assert_close(shared, rerun, rtol=1e-4, atol=1e-5)
        assert float(shared.max()) > 0
