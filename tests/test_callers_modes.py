"""Every method gives its map whatever the caller's mode of autograd is."""

from __future__ import annotations

import pytest
import torch
from interrupting import INPUTS, network

import seewhy
from seewhy.methods import METHODS

FEWER = {"rise": {"masks": 40}, "occlusion": {"window": 4, "stride": 4}}
ATTENTION = ("attention-rollout", "attention-relevance", "legrad")


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_under_the_callers_modes(method: str, mode: type) -> None:
    model = network("attention" if method in ATTENTION else method).eval()
    if method in ATTENTION:
        layer = None
    else:  # class activation mapping, too, is defined here
        model = torch.nn.Sequential(*model[:6], torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
                                    torch.nn.Linear(4, 4)).eval()  # fmt: skip
        layer = "5"
    asked = {"layer": layer, "method": method, **FEWER.get(method, {})}
    wanted = seewhy.attribute(model, INPUTS, 1, **asked)
    with mode():
        grad = torch.is_grad_enabled()
        inputs = INPUTS.clone()  # an inference tensor, under inference mode
        got = seewhy.attribute(model, inputs, 1, **asked)
        assert torch.is_grad_enabled() == grad
    torch.testing.assert_close(got.clone(), wanted, rtol=1e-4, atol=1e-6)
    assert torch.is_grad_enabled()
