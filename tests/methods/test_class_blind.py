"""Which methods the target plays no part in, and that the maps say so."""

from __future__ import annotations

import inspect

import pytest
import torch
from small_networks import OPTIONS, Classifier

import seewhy
from seewhy.cli.demo import METHODS as SHOWN
from seewhy.methods import METHODS
from seewhy.methods.class_blind import is_class_blind, target_plays_no_part


def needs(name: str) -> list[str]:
    parameters = inspect.signature(METHODS[name]).parameters.values()
    return [one.name for one in parameters if one.kind is not one.KEYWORD_ONLY]


def test_what_needs_nothing_of_the_target_is_class_blind() -> None:
    blind = {name for name in METHODS if is_class_blind(needs(name))}
    assert blind == {"eigen-cam", "fem", "kpca-cam", "attention-rollout"}
    assert not is_class_blind(["activations", "gradients"])


@pytest.mark.parametrize("method", ["eigen-cam", "fem", "kpca-cam", "grad-cam", "saliency"])
def test_maps_of_two_classes_are_one_where_the_method_is_blind(method: str) -> None:
    x = torch.rand(1, 3, 32, 32)
    maps = seewhy.attribute(
        Classifier().eval(), x, (0, 1), method=method, **OPTIONS.get(method, {})
    )
    assert torch.equal(maps[:, 0], maps[:, 1]) is is_class_blind(needs(method))


def test_the_demo_shows_no_such_method_for_three_classes() -> None:
    assert not any(is_class_blind(needs(name)) for name in SHOWN)


def test_what_is_said() -> None:
    said = target_plays_no_part("eigen-cam", "tabby")
    assert said.startswith("'tabby' plays no part in this map: eigen-cam shows what stands out")
