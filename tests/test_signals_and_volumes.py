"""Every method on signals and on volumes, where what the network looks for is known."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import seewhy
from seewhy.errors import MethodError
from seewhy.methods import METHODS, attention

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
POOLS = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}
SIZES = {1: (96,), 2: (24, 24), 3: (16, 16, 16)}
EVENT = {1: 12, 2: 6, 3: 5}  # a side of what is to be found

ATTENTION = sorted(n for n, f in METHODS.items() if f.function.__module__ == attention.__name__)
OTHERS = sorted(set(METHODS) - set(ATTENTION))
CLASS_FREE = ("eigen-cam", "fem", "kpca-cam")
OPTIONS: dict[str, dict[str, Any]] = {
    "occlusion": {"window": 4, "stride": 2},
    "rise": {"masks": 1500, "cells": 6},
    "ss-cam": {"samples": 8},
    "opti-cam": {"steps": 20},
    "smooth-grad": {"samples": 10},
    "var-grad": {"samples": 50},
    "square-grad": {"samples": 10},
}


pytestmark = pytest.mark.usefixtures("one_thread")


def finder(dimensions: int, single: bool = False) -> nn.Module:
    """Class 0 is how much there is above 0.7 in the mean of 3, class 1 how much below −0.7.

    An event gives its class a logit of about 6.
    `single` gives it one more dimension, of which it sees one position at a time.
    """
    shape = (dimensions + 1) if single else dimensions
    kernel = (3,) * dimensions + (1,) * single
    look = CONVOLUTIONS[shape](
        1, 2, kernel, stride=(2,) * dimensions + (1,) * single,
        padding=(1,) * dimensions + (0,) * single,
    )  # fmt: skip
    head = nn.Linear(2, 2)
    with torch.no_grad():
        look.weight[0].fill_(1 / 3**dimensions)
        look.weight[1].fill_(-1 / 3**dimensions)
        look.bias.fill_(-0.7)
        share = math.prod(EVENT[dimensions] / side for side in SIZES[dimensions])
        head.weight.copy_(torch.tensor([[5.0, -0.5], [-0.5, 5.0]]) / share)
        head.bias.zero_()
    return nn.Sequential(look, nn.ReLU(), POOLS[shape](1), nn.Flatten(), head).eval()


def drawn(dimensions: int, events: list[tuple[tuple[int, ...], float]], seed: int = 0) -> Tensor:
    """Noise, with boxes of 2 (class 0) or −2 (class 1) at the given places, of the given signs."""
    generator = torch.Generator().manual_seed(seed)
    values = 0.1 * torch.randn(1, *SIZES[dimensions], generator=generator)
    for start, sign in events:
        values[(0, *box(dimensions, start))] += 2 * sign
    return values


def box(dimensions: int, start: tuple[int, ...], margin: int = 0) -> tuple[slice, ...]:
    side = EVENT[dimensions]
    return tuple(slice(max(0, a - margin), a + side + margin) for a in start)


def strongest_is_inside(map_: Tensor, dimensions: int, start: tuple[int, ...]) -> bool:
    """Whether the greatest value of the map, at the input's size, lies on what was drawn."""
    full = seewhy.resize_map(map_, SIZES[dimensions])
    beyond = full.clone()
    beyond[box(dimensions, start, margin=2)] = -torch.inf
    return float(full.max()) > float(beyond.max())


PLACES = {
    1: [(10,), (70,)],
    2: [(3, 14), (15, 5)],
    3: [(2, 9, 3), (10, 2, 9)],
}


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("name", OTHERS)
def test_every_method_finds_what_was_drawn(name: str, dimensions: int) -> None:
    model = finder(dimensions)
    batch = torch.stack([drawn(dimensions, [(place, 1)], 7) for place in PLACES[dimensions]])
    maps = seewhy.attribute(model, batch, 0, method=name, layer="1", **OPTIONS.get(name, {}))
    assert maps.ndim == 1 + dimensions
    assert maps.isfinite().all()
    found = [
        strongest_is_inside(one, dimensions, place)
        for one, place in zip(maps, PLACES[dimensions], strict=True)
    ]
    if (
        name == "deconvnet"
    ):  # it passes gradients whatever was before the ReLU, and so sees no input
        assert float(maps.amin()) > 0
        torch.testing.assert_close(maps[0], maps[1])
    else:
        assert all(found)


class Attentive(nn.Module):
    """Tokens of two pixels a side look at the bright ones; class 0 is how bright those are."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.patches = CONVOLUTIONS[dimensions](1, 2, 2, stride=2)
        self.attention = nn.MultiheadAttention(2, 1, batch_first=True)
        self.head = nn.Linear(2, 2)
        query, key, value = [[0.0, 1], [0, 0]], [[6.0, 0], [0, 0]], [[1.0, 0], [0, 0]]
        with torch.no_grad():
            self.patches.weight.zero_()[0] += 1 / 2**dimensions  # (brightness, 1)
            self.patches.bias.copy_(torch.tensor([0.0, 1]))
            self.attention.in_proj_weight.copy_(torch.tensor(query + key + value))
            self.attention.in_proj_bias.zero_()
            self.attention.out_proj.weight.copy_(torch.eye(2))
            self.attention.out_proj.bias.zero_()
            self.head.weight.copy_(torch.tensor([[1.0, 0], [-1, 0]]))
            self.head.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).mT
        tokens = tokens + self.attention(tokens, tokens, tokens)[0]
        return self.head(tokens.mean(1))


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("name", ATTENTION)
def test_every_method_of_attention_finds_what_was_drawn(name: str, dimensions: int) -> None:
    model = Attentive(dimensions).eval()
    batch = torch.stack([drawn(dimensions, [(place, 1)], 7) for place in PLACES[dimensions]])
    maps = seewhy.attribute(model, batch, 0, method=name)
    assert maps.shape[1:] == tuple(side // 2 for side in SIZES[dimensions])
    for one, place in zip(maps, PLACES[dimensions], strict=True):
        assert strongest_is_inside(one, dimensions, place)


@pytest.mark.parametrize("dimensions", [1, 3])
@pytest.mark.parametrize("name", sorted(set(OTHERS) - {*CLASS_FREE, "deconvnet"}))
def test_each_class_is_found_where_it_is(name: str, dimensions: int) -> None:
    first, second = PLACES[dimensions]
    both = drawn(dimensions, [(first, 1), (second, -1)])
    options = OPTIONS.get(name, {})
    maps = seewhy.attribute(
        finder(dimensions), both[None], (0, 1), method=name, layer="1", **options
    )
    assert maps.shape[:2] == (1, 2)
    assert strongest_is_inside(maps[0, 0], dimensions, first)
    assert strongest_is_inside(maps[0, 1], dimensions, second)


@pytest.mark.parametrize("dimensions", [1, 2])
@pytest.mark.parametrize("name", sorted(set(OTHERS) - {"recipro-cam-gaussian"}))
def test_one_more_dimension_of_size_one_changes_no_map(name: str, dimensions: int) -> None:
    """A signal's map is that of a picture one pixel wide, a picture's that of a flat volume."""
    first, second = PLACES[dimensions]
    batch = torch.stack([drawn(dimensions, [(first, sign), (second, -sign)]) for sign in (1, -1)])
    options = [dict(OPTIONS.get(name, {})), dict(OPTIONS.get(name, {}))]
    for option in ("window", "stride", "cells"):
        if option in options[1]:
            options[1][option] = (options[1][option],) * dimensions + (1,)
    low = seewhy.attribute(finder(dimensions), batch, 0, method=name, layer="1", **options[0])
    high = seewhy.attribute(
        finder(dimensions, single=True), batch[..., None], 0, method=name, layer="1", **options[1]
    )
    largest = float(low.abs().max())
    torch.testing.assert_close(high[..., 0], low, rtol=1e-4, atol=1e-5 * largest)


@pytest.mark.parametrize("dimensions", [1, 3])
def test_the_layer_is_proposed_and_layers_are_fused(dimensions: int) -> None:
    conv = CONVOLUTIONS[dimensions]
    torch.manual_seed(0)
    model = nn.Sequential(
        conv(1, 4, 3, padding=1), nn.ReLU(), conv(4, 6, 3, stride=2, padding=1), nn.ReLU(),
        POOLS[dimensions](1), nn.Flatten(), nn.Linear(6, 2),
    )  # fmt: skip
    inputs = drawn(dimensions, [(PLACES[dimensions][0], 1)])[None]
    size = SIZES[dimensions]
    maps = seewhy.attribute(model, inputs, 0, method="layer-cam")
    assert maps.shape == (1, *(side // 2 for side in size))
    torch.testing.assert_close(
        maps, seewhy.attribute(model, inputs, 0, method="layer-cam", layer="3")
    )
    fused = seewhy.attribute(model, inputs, 0, method="layer-cam", layer=["1", "3"], fuse="mean")
    assert fused.shape == (1, *size)


def test_a_window_that_does_not_fit_a_short_dimension_says_how_to_choose_one() -> None:
    with pytest.raises(MethodError, match="is larger than an image of 16 × 16 × 16 pixels"):
        seewhy.attribute(finder(3), torch.zeros(1, 1, 16, 16, 16), 0, method="occlusion")


# --- What must hold exactly -----------------------------------------------------------------------


@pytest.mark.parametrize("dimensions", [1, 3])
def test_maps_that_share_out_the_score_add_up_to_it(dimensions: int) -> None:
    conv = CONVOLUTIONS[dimensions]
    torch.manual_seed(0)
    model = nn.Sequential(
        conv(2, 4, 3), nn.ReLU(), conv(4, 6, 3), nn.ReLU(), POOLS[dimensions](1), nn.Flatten(),
        nn.Linear(6, 3),
    ).double()  # fmt: skip
    inputs = torch.randn(2, 2, *(9, 8, 7)[:dimensions], dtype=torch.float64)
    scores, base = model(inputs)[:, 1].detach(), model(torch.zeros_like(inputs))[:, 1].detach()

    def summed(method: str, **options: Any) -> Tensor:
        return seewhy.attribute(model, inputs, 1, method=method, **options).flatten(1).sum(1)

    torch.testing.assert_close(summed("hires-cam", layer="3"), scores - model[6].bias[1].detach())
    ig = summed("integrated-gradients", steps=400)
    torch.testing.assert_close(ig, scores - base, rtol=0.01, atol=0.01)
    cam = seewhy.attribute(model, inputs, 1, method="cam", layer="3")
    hires = seewhy.attribute(model, inputs, 1, method="hires-cam", layer="3")
    torch.testing.assert_close(cam / cam[0].numel(), hires)


@pytest.mark.parametrize("dimensions", [1, 3])
def test_all_parts_of_full_grad_are_found(dimensions: int, monkeypatch) -> None:
    """Else it would note that they do not add up to the score."""
    from seewhy.evidence import Evidence, pixels

    noted: list[tuple[str, ...]] = []
    whole = pixels._full_gradients

    def kept(run: Evidence, copies: Tensor) -> Any:
        found = whole(run, copies)
        noted.append(run.notes)
        return found

    monkeypatch.setattr(pixels, "_full_gradients", kept)
    inputs = torch.stack([drawn(dimensions, [(place, 1)]) for place in PLACES[dimensions]])
    seewhy.attribute(finder(dimensions), inputs, 0, method="full-grad")
    assert noted == [()]
