"""Pictures with their channels last, and the model that takes them so."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_networks import KINDS, OPTIONS, Classifier
from torch import Tensor, nn

import seewhy
from seewhy.errors import ModelError
from seewhy.models.bound import bind
from seewhy.models.layout import as_given, brought, form_of


class ChannelsLast(Classifier):
    """A network that is given `(batch, height, width, 3)`, as those that came from TensorFlow."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 3, 1, 2))


def like(model: nn.Module) -> Classifier:
    other = Classifier().eval()
    other.load_state_dict(model.state_dict())
    return other


@pytest.mark.parametrize("method", KINDS)
def test_a_map_lies_on_rows_and_columns(method: str) -> None:
    model, x = ChannelsLast().eval(), torch.rand(2, 24, 40, 3)
    for given in (x, {"x": x}, (x,)):
        options = OPTIONS.get(method, {})
        found = seewhy.attribute(model, given, 1, method=method, **options)
        first = seewhy.attribute(like(model), x.permute(0, 3, 1, 2), 1, method=method, **options)
        assert found.shape == first.shape
        assert torch.allclose(found, first, atol=1e-5)


@pytest.mark.parametrize(
    "shape", [(1, 24, 40, 3), (1, 24, 24, 1), (1, 10, 24, 40, 3), (1, 50, 12)], ids=str
)
def test_a_network_that_wants_them_first_says_how_to_turn_them(shape: tuple[int, ...]) -> None:
    kind = {3: nn.Conv1d, 4: nn.Conv2d, 5: nn.Conv3d}[len(shape)]
    model = nn.Sequential(kind(shape[-1], 4, 3, padding=1), nn.ReLU(), nn.Flatten(2))
    order = (0, len(shape) - 1, *range(1, len(shape) - 1))
    message = (
        rf"channels last, and the model does not .* inputs.permute\({', '.join(map(str, order))}"
    )
    with pytest.raises(ModelError, match=message):
        bind(model.eval(), torch.rand(shape))


class Turning(nn.Module):
    """Takes its channels last, in any number of dimensions."""

    def __init__(self, channels: int, dimensions: int) -> None:
        super().__init__()
        kind = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[dimensions]
        self.features, self.head = kind(channels, 8, 3, padding=1), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x.movedim(-1, 1)).relu().flatten(2).mean(2))


@pytest.mark.parametrize("shape", [(2, 50, 12), (2, 24, 40, 13), (2, 6, 12, 10, 3)], ids=str)
@pytest.mark.parametrize("method", ["hires-cam", "saliency"])
def test_signals_and_volumes_too(shape: tuple[int, ...], method: str) -> None:
    model = Turning(shape[-1], len(shape) - 2).eval()
    found = seewhy.attribute(model, torch.rand(shape), 1, method=method)
    assert found.shape == shape[:-1]


class Wide(nn.Module):
    """Its first convolution in order takes as many channels as its pictures have columns."""

    def __init__(self) -> None:
        super().__init__()
        self.late, self.early = nn.Conv2d(40, 3, 1), nn.Conv2d(5, 40, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.late(self.early(x).relu()).mean((2, 3))


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (Wide(), (1, 5, 24, 40)),
        (Classifier(), (1, 3, 32, 3)),
        (Classifier(), (1, 3, 32, 32)),
        (nn.Sequential(nn.Flatten(), nn.Linear(4 * 8 * 3, 2)), (1, 4, 8, 3)),
        (nn.Sequential(nn.Conv3d(3, 4, 1), nn.Flatten(2)), (1, 8, 3, 16, 16)),  # frames first
    ],
)
def test_channels_that_are_first_stay(model: nn.Module, shape: tuple[int, ...]) -> None:
    bound, _ = bind(model.eval(), torch.rand(shape))
    assert not bound.channels_last


def test_a_network_without_convolutions_is_told_by_its_colours() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(24 * 40 * 3, 4)).eval()
    assert seewhy.attribute(model, torch.rand(1, 24, 40, 3), 1, method="saliency").shape == (
        1,
        24,
        40,
    )


def test_torchscript_is_run_to_find_out() -> None:
    model, x = ChannelsLast().eval(), torch.rand(1, 24, 40, 3)
    with pytest.warns((DeprecationWarning, FutureWarning)):
        script = torch.jit.trace(model, x)
    found = seewhy.attribute(script, x, 1, method="saliency")
    assert torch.allclose(found, seewhy.attribute(model, x, 1, method="saliency"), atol=1e-6)


def test_how_pictures_are_taken_is_found_out_once() -> None:
    runs: list[Any] = []
    model, x = ChannelsLast().eval(), torch.rand(1, 24, 40, 3)
    seewhy.attribute(model, x, 1, layer="features")
    model.register_forward_hook(lambda *_: runs.append(1))
    seewhy.attribute(model, x, 1, layer="features")
    assert len(runs) == 1


@pytest.mark.parametrize(
    ("shape", "form"),
    [
        ((1, 5), "as wanted"),
        ((2, 5, 30, 40), "as wanted"),
        ((2, 5, 15, 20), "as wanted"),
        ((2, 15, 20, 5), "classes last"),
        ((2, 60, 80, 5), "classes last"),  # larger than the picture
        ((2, 30, 40), "one map"),
        ((2, 15, 20), "as wanted"),  # positions and a vocabulary, as far as one can see
        ((2, 7, 5, 5), "as wanted"),
    ],
)
def test_the_form_of_scores_by_their_size(shape: tuple[int, ...], form: str) -> None:
    assert form_of(shape, (2, 3, 30, 40)) == form
    scores = torch.rand(shape)
    assert torch.equal(as_given(brought(scores, form), form), scores)  # type: ignore[arg-type]


def test_a_single_image_may_have_no_axis_for_its_batch() -> None:
    assert form_of((), (1, 3, 30, 40)) == "one number"
    assert form_of((30, 40), (1, 3, 30, 40)) == "one map of one image"
    assert form_of((), (2, 3, 30, 40)) == "as wanted"  # of two it is a number for both
    assert brought(torch.tensor(3.0), "one number").tolist() == [3]
    assert brought(torch.rand(30, 40), "one map of one image").shape == (1, 1, 30, 40)
