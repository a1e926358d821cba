"""A network that runs many times: laid out for it, or a faster copy that says how it agrees."""

from __future__ import annotations

import copy
import gc
import shutil
import sys
import weakref

import pytest
import torch
from torch import Tensor, nn

from seewhy import Explainer, Speed, attribute
from seewhy.errors import MethodError
from seewhy.models.bound import bind
from seewhy.models.many_runs import EXACT, many_runs
from seewhy.progress import listening


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Dropout(0.5),
        nn.Conv2d(8, 12, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(12, 5),
    )  # fmt: skip


def test_pictures_come_with_their_channels_last_on_a_cpu() -> None:
    model, seen = network().eval(), []
    model[0].register_forward_pre_hook(lambda module, args: seen.append(args[0].stride()))
    images = torch.randn(2, 3, 10, 12)
    with torch.no_grad():
        expected = model(images)
    made = many_runs(model, EXACT, 2)(images)
    torch.testing.assert_close(made, expected)
    assert [strides[1] for strides in seen] == [120, 1]


def test_a_network_that_takes_views_gets_pictures_as_they_were() -> None:
    class Viewing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.runs = nn.Conv2d(3, 4, 3), 0

        def forward(self, x: Tensor) -> Tensor:
            self.runs += 1
            return self.conv(x).view(len(x), -1)

    model = Viewing().eval()
    run, images = many_runs(model, EXACT, 2), torch.randn(2, 3, 6, 6)
    torch.testing.assert_close(run(images), model(images).detach())
    run(images)
    assert model.runs == 2 + 1 + 1  # the first try, the second, ours, and no other try


def test_an_error_of_the_network_is_not_swallowed() -> None:
    class Failing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        many_runs(Failing(), EXACT, 2)(torch.zeros(1, 3, 4, 4))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_another_precision_is_a_copys(precision: str) -> None:
    model = network()
    before = copy.deepcopy(model.state_dict())
    images = torch.rand(2, 3, 16, 16)
    given = {"method": "score-cam", "layer": "5"}
    exact = attribute(model, images, (1, 3), **given)
    fast = attribute(model, images, (1, 3), speed=Speed(precision), **given)
    assert not torch.equal(fast, exact)
    torch.testing.assert_close(fast, exact, rtol=0.02, atol=0.02 * float(exact.max()))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32, torch.int64}


def test_the_agreement_is_measured_and_said() -> None:
    explainer = Explainer(
        network(), method=["score-cam", "grad-cam"], layer="5", speed=Speed("bf16")
    )
    through, once = explainer.many([torch.rand(3, 16, 16)], 1)
    (said,) = [warning for warning in through.warnings if "bf16" in warning]
    assert "on 12 of the versions" in said or "versions the scores are within" in said
    assert "% of their range" in said
    assert not any("bf16" in warning for warning in once.warnings)


def test_a_precision_where_nothing_runs_many_times_is_refused() -> None:
    with pytest.raises(
        MethodError, match=r"bf16 has no effect on grad-cam, ablation-cam; it is for methods"
    ):
        list(
            Explainer(
                network(), method=["grad-cam", "ablation-cam"], layer="5", speed=Speed("bf16")
            ).many([torch.rand(3, 16, 16)], 1)
        )
    with pytest.raises(MethodError, match="precision='int8' is not known; choose float32, bf16"):
        Speed("int8")


def test_a_copy_is_made_anew_when_the_weights_change_and_dies_with_the_model() -> None:
    model, images = network().eval(), torch.rand(1, 3, 16, 16)
    first = many_runs(model, Speed("bf16"), 4)
    assert many_runs(model, Speed("bf16"), 4).func is first.func
    with torch.no_grad():
        model[-1].weight.mul_(2)
    second = many_runs(model, Speed("bf16"), 4)
    assert second.func is not first.func
    doubled = (second(images) - model[-1].bias) / (first(images) - model[-1].bias)
    torch.testing.assert_close(
        doubled.float(), torch.full_like(doubled.float(), 2), rtol=0.1, atol=0
    )
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_a_copy_is_run_with_what_belongs_to_each_image() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network()

        def forward(self, images: Tensor, scale: Tensor) -> Tensor:
            return self.network(images) * scale

    images = torch.rand(2, 3, 16, 16)
    bound, _ = bind(Scaled().eval(), (images, torch.tensor([[1.0], [100.0]])))
    small, large = (many_runs(bound.image(i), Speed("bf16"), 4)(images[:1]) for i in (0, 1))
    runs = [many_runs(bound.image(i), Speed("bf16"), 4) for i in (0, 1)]  # made before either runs
    torch.testing.assert_close(runs[0](images[:1]), small)
    torch.testing.assert_close(runs[1](images[:1]), large)
    assert float(large.abs().sum()) > 50 * float(small.abs().sum())


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.skipif(sys.version_info[:3] == (3, 13, 0), reason="its compiler support is partial")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiled_copy_gives_the_same_and_takes_fewer_than_it_was_made_for() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(  # as few kernels as may be: each takes a C++ compiler five seconds
        nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(),
        nn.Linear(196, 5),
    )  # fmt: skip
    given = {"method": "rise", "masks": 20, "cells": 3}
    images = torch.rand(1, 3, 16, 16)
    exact = attribute(model, images, (1, 3), **given)  # chunks of 16 and 4
    fast = attribute(model, images, (1, 3), speed=Speed(compiled=True), **given)
    torch.testing.assert_close(fast, exact, rtol=1e-4, atol=1e-6)
    assert model.training


def test_whoever_listens_hears_how_far_it_has_come() -> None:
    heard = []
    images = torch.rand(1, 3, 16, 16)
    with listening(lambda done, of: heard.append((done, of))):
        attribute(network(), images, 1, method="rise", masks=40, cells=3)
    attribute(network(), images, 1, method="rise", masks=40, cells=3)
    assert heard == [(16, 40), (32, 40), (40, 40)]
