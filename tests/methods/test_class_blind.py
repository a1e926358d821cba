"""Which methods the target plays no part in, and that their maps say so."""

from __future__ import annotations

import pytest
import torch
from small_networks import OPTIONS, Classifier

import seewhy
from seewhy.cli.demo import METHODS as SHOWN
from seewhy.methods import METHODS

SAID = "this map does not depend on the target 'class 1': eigen-cam gives the same map for every"


def test_what_needs_nothing_of_the_target_is_class_blind() -> None:
    blind = {name for name, method in METHODS.items() if not method.looks_at_target}
    assert blind == {"eigen-cam", "fem", "kpca-cam", "attention-rollout"}


@pytest.mark.parametrize("method", ["eigen-cam", "fem", "kpca-cam", "grad-cam", "saliency"])
def test_maps_of_two_classes_are_one_where_the_method_is_blind(method: str) -> None:
    x = torch.rand(1, 3, 32, 32)
    maps = seewhy.attribute(
        Classifier().eval(), x, (0, 1), method=method, **OPTIONS.get(method, {})
    )
    assert torch.equal(maps[:, 0], maps[:, 1]) is not METHODS[method].looks_at_target


def test_the_demo_shows_no_such_method_for_three_classes() -> None:
    assert all(METHODS[name].looks_at_target for name in SHOWN)


def test_a_map_says_that_the_target_played_no_part() -> None:
    explainer = seewhy.Explainer(Classifier().eval(), method=["eigen-cam", "grad-cam"])
    blind, looking = explainer.many([torch.rand(3, 32, 32)], 1)
    assert any(one.startswith(SAID) for one in blind.warnings)
    assert not any("does not depend on the target" in one for one in looking.warnings)
    predicted, _ = explainer.many([torch.rand(3, 32, 32)])
    assert not any("does not depend on the target" in one for one in predicted.warnings)
