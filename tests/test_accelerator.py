"""Maps on a device beside the CPU's; on the CPU alone, that these tests are right themselves."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import seewhy
from seewhy.images import Preprocess

PHOTO = Path(seewhy.__file__).parent / "data" / "photos" / "chelsea.jpg"
PREPROCESS = Preprocess((48, 64), 64, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
NEAR = {"rtol": 1e-2, "atol": 1e-3}  # convolutions may compute in TF32
ON_A_GPU = pytest.param("cuda", marks=pytest.mark.gpu)


def network(width: int = 16) -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 8, 3, padding=1),
            norm=nn.BatchNorm2d(8),
            relu1=nn.ReLU(inplace=True),
            conv2=nn.Conv2d(8, width, 3, stride=2, padding=1),
            relu2=nn.ReLU(inplace=True),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            fc=nn.Linear(width, 6),
        )
    ).eval()


@pytest.fixture(params=["cpu", ON_A_GPU])
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)


@pytest.fixture
def inputs() -> Tensor:
    return torch.randn(3, 3, 48, 64)


def scaled(maps: Tensor) -> Tensor:
    return maps.float().cpu() / maps.float().abs().max().cpu()


@pytest.mark.parametrize("method", ["grad-cam", "ablation-cam", "score-cam", "rise", "saliency"])
def test_a_map_is_the_cpus_and_lies_on_the_models_device(
    method: str, device: torch.device, inputs: Tensor
) -> None:
    options = {"rise": {"masks": 50}}.get(method, {})
    wanted = seewhy.attribute(network(), inputs, (1, 2), method=method, **options)
    model = network().to(device)
    for given in (inputs, inputs.to(device)):
        got = seewhy.attribute(model, given, (1, 2), method=method, **options)
        assert got.device.type == device.type
        torch.testing.assert_close(scaled(got), scaled(wanted), **NEAR)


def test_an_explanation_holds_arrays_wherever_the_model_is(device: torch.device) -> None:
    wanted = seewhy.explain(network(), PHOTO, 2, preprocess=PREPROCESS)
    got = seewhy.explain(network().to(device), PHOTO, 2, preprocess=PREPROCESS)
    assert isinstance(got.heatmap, np.ndarray)
    assert got.heatmap.shape == (300, 451)
    reach = np.ptp(wanted.heatmap)
    assert np.abs(got.heatmap - wanted.heatmap).max() < 1e-2 * reach
    assert got.score == pytest.approx(wanted.score, rel=1e-2, abs=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_a_model_in_half_precision(
    dtype: torch.dtype, device: torch.device, inputs: Tensor
) -> None:
    wanted = seewhy.attribute(network(), inputs, 2)
    got = seewhy.attribute(network().to(device, dtype), inputs, 2)
    assert got.dtype is torch.float32
    assert torch.isfinite(got).all()
    both = torch.stack([got.cpu().flatten(), wanted.flatten()])
    assert torch.corrcoef(both)[0, 1] > 0.99


def test_autocast_is_followed(device: torch.device, inputs: Tensor) -> None:
    model = network().to(device)
    plain = seewhy.attribute(model, inputs, 2)
    with torch.autocast(device.type, torch.bfloat16):
        got = seewhy.attribute(model, inputs, 2)
    assert not torch.equal(got, plain)
    assert torch.corrcoef(torch.stack([got.flatten(), plain.flatten()]))[0, 1] > 0.99


def test_many_runs_in_bf16(device: torch.device, inputs: Tensor) -> None:
    model = network().to(device)
    plain = seewhy.attribute(model, inputs[:1], 2, method="score-cam")
    speed = seewhy.Speed("bf16")
    got = seewhy.attribute(model, inputs[:1], 2, method="score-cam", speed=speed)
    assert torch.corrcoef(torch.stack([got.flatten(), plain.flatten()]))[0, 1] > 0.98


@pytest.mark.parametrize("method", ["grad-cam", "smooth-grad", "rise", "ablation-cam"])
def test_the_devices_random_numbers_and_the_model_are_left_alone(
    method: str, device: torch.device, inputs: Tensor
) -> None:
    model = network().to(device).train()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(5)
    if device.type == "cuda":
        before = torch.cuda.get_rng_state(device)
    cpu = torch.get_rng_state()
    options = {"rise": {"masks": 20}}.get(method, {})
    seewhy.attribute(model, inputs, 2, method=method, **options)
    if device.type == "cuda":
        assert torch.equal(torch.cuda.get_rng_state(device), before)
    assert torch.equal(torch.get_rng_state(), cpu)
    assert model.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name]), name
        assert tensor.device.type == device.type
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.fixture
def little_memory() -> Iterator[int]:
    """Of the card's memory, so much in MiB; torch refuses more."""
    allowed = 512
    torch.cuda.empty_cache()
    whole = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(allowed * 2**20 / whole, 0)
    yield allowed
    torch.cuda.set_per_process_memory_fraction(1.0, 0)
    torch.cuda.empty_cache()


@pytest.mark.gpu
def test_fewer_run_at_once_where_the_card_has_no_room(little_memory: int) -> None:
    """64 channels of 448 × 448 pixels, 64 versions at once: 3 GiB a layer."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 4),
    ).eval()
    image = torch.randn(1, 3, 448, 448)
    wanted = seewhy.attribute(model, image, 1, method="recipro-cam", layer="3")
    got = seewhy.attribute(model.cuda(), image, 1, method="recipro-cam", layer="3")
    torch.testing.assert_close(scaled(got), scaled(wanted), **NEAR)
    assert torch.cuda.max_memory_reserved() <= little_memory * 2**20
