"""The sweep's own checks: they pass on small networks that are right, and see what is wrong."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

PATH = Path(__file__).resolve().parent.parent / "benchmarks" / "sweep.py"


@pytest.fixture(scope="module")
def sweep() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sweep", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["sweep"] = module
    spec.loader.exec_module(module)
    return module


SMALL = {  # timm's own for its tests: 0.3 to 0.6 M parameters
    "test_resnet": ("channels first", 0),
    "test_efficientnet": ("channels first", 0),
    "test_byobnet": ("channels first", 0),
    "test_nfnet": ("channels first", 0),
    "test_convnext": ("channels first", 0),
    "test_coatnet": ("channels first", 0),
    "test_mambaout": ("channels last", 0),
    "test_vit": ("tokens", 1),
    "test_vit2": ("tokens", 1),  # a register, and the mean of the others
    "test_vit3": ("tokens", 1),  # pools by attention
}


@pytest.mark.parametrize("name", SMALL)
def test_small_networks_of_every_make_are_right(sweep: ModuleType, name: str) -> None:
    timm = pytest.importorskip("timm")
    model = timm.create_model(name, pretrained=False)
    size = model.pretrained_cfg["input_size"]
    network = sweep.Network("timm", name, lambda: model, size)
    found = sweep.sweep_one(network)
    assert found.wrong == ()
    assert (found.form, found.extra) == SMALL[name]
    assert found.exact


class Patches(nn.Module):
    """Patches of 4×4 as tokens, put into another order before a linear map and the mean."""

    def __init__(self, order: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 6, 4, 4)
        self.mix = nn.Linear(6, 6)
        self.head = nn.Linear(6, 4)
        self.order = order
        self.register_buffer("runs", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.mix(self.order(self.patches(x))).relu().mean(1))


def tokens(maps: Tensor) -> Tensor:
    return maps.flatten(2).mT


ORDERS: dict[str, Callable[[Tensor], Tensor]] = {
    "mirrored": lambda maps: tokens(maps.flip(-1)),
    "upside down": lambda maps: tokens(maps.flip(-2)),
    "turned": lambda maps: tokens(maps.flip(-1, -2)),
    "transposed": lambda maps: tokens(maps.mT),
    "on by one": lambda maps: tokens(maps).roll(1, 1),
    "back by one": lambda maps: tokens(maps).roll(-1, 1),
    "unrolled": lambda maps: tokens(maps).unflatten(1, (8, 2, 8, 2)).permute(0, 2, 4, 1, 3, 5)
    .flatten(1, 4),
}  # fmt: skip


@pytest.mark.parametrize("order", ORDERS)
def test_tokens_in_another_order_are_seen(sweep: ModuleType, order: str) -> None:
    torch.manual_seed(0)
    picture = sweep.make_picture(64, 64)
    assert sweep.misplaced(Patches(tokens), picture, (16, 16), "mix") == []
    assert sweep.misplaced(Patches(ORDERS[order]), picture, (16, 16), "mix") != []


def test_a_network_that_does_not_come_back_as_it_was_is_seen(sweep: ModuleType) -> None:
    class Counts(Patches):
        def forward(self, x: Tensor) -> Tensor:
            self.runs += 1
            return super().forward(x)

    torch.manual_seed(0)
    found = sweep.check(Counts(tokens), sweep.make_picture(32, 32), sweep.Found("", ""))
    assert found.wrong == ("runs has changed",)
    right = sweep.check(Patches(tokens), sweep.make_picture(32, 32), sweep.Found("", ""))
    assert right.wrong == ()


def test_what_cannot_be_done_is_a_line_with_its_reason(sweep: ModuleType) -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.AdaptiveAvgPool2d(8), nn.Flatten(), nn.Linear(192, 4))

    found = sweep.sweep_one(sweep.Network("own", "flat", build, (3, 8, 8)))
    assert found.wrong[0].startswith("LayerError: no layer of this model gives")
    assert "| own: `flat` | LayerError: no layer" in sweep.table([found])
    assert "**0 of 1 networks right**" in sweep.table([found])


def test_the_page_says_what_was_found(sweep: ModuleType) -> None:
    _, rest = sweep.PAGE.read_text("utf-8").split(sweep.START)
    assert rest.split(sweep.END)[0].strip() == sweep.table(sweep.read_found()).strip(), (
        "run: python benchmarks/sweep.py --page"
    )
