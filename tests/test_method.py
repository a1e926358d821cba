"""A method is one value, whatever it is made from, and the same everywhere."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import seewhy
from seewhy.errors import MethodError
from seewhy.evidence import COSTS, DECLARED, TABLE
from seewhy.methods import FORMULAS, METHODS, method_of
from seewhy.methods.cam import grad_cam
from seewhy.methods.method import Method


class Scaled:
    """Grad-CAM times a number, as an object that can be called."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, activations: Tensor, gradients: Tensor, *, power: int = 1) -> Tensor:
        return self.factor * grad_cam(activations, gradients) ** power


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
    ).eval()


PICTURE = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_says_what_it_is(name: str):
    method = METHODS[name]
    assert method.name == name
    assert method.paper, "the first line of its docstring ends with the paper in brackets"
    assert method.paper in method.says
    assert method.cost in COSTS
    assert method.evidence == tuple(TABLE[need] for need in method.needs)
    assert method_of(name) is method is METHODS[name] is method_of(method)


def test_names_are_known_without_torch():
    code = (
        "import sys; from seewhy.methods import METHODS, FORMULAS, check_known;"
        "from seewhy.metrics import METRICS;"
        "assert 'grad-cam' in METHODS and list(METHODS) == list(FORMULAS) and len(list(METRICS));"
        "check_known('rise'); repr(METHODS);"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_formula_is_listed_once():
    assert len(set(FORMULAS.values())) == len(FORMULAS)
    with pytest.raises(KeyError):
        METHODS["grad_cam"]


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("grad-cam", "grad-cam"),
        (grad_cam, "grad_cam"),
        (partial(grad_cam), "grad_cam"),
        (partial(partial(Scaled(2.0)), power=1), "Scaled"),
        (Scaled(2.0), "Scaled"),
        (METHODS["grad-cam"], "grad-cam"),
    ],
)
def test_whatever_can_be_called_works_everywhere(method, name, tmp_path):
    """`functools.partial` and objects have no `__name__`, and ended after the map was made."""
    model = network()
    factor = 2.0 if name == "Scaled" else 1.0
    expected = factor * seewhy.explain(model, PICTURE, 1, layer="1").map
    explained = seewhy.explain(model, PICTURE, 1, method=method, layer="1")
    assert explained.method == name
    np.testing.assert_allclose(explained.map, expected, rtol=1e-6)
    (many,) = seewhy.Explainer(model, method=[method], layer="1").many([PICTURE], 1)
    np.testing.assert_allclose(many.map, expected, rtol=1e-6)
    compared = seewhy.compare(model, PICTURE, 1, method=[method, "hires-cam"], layer="1")
    assert compared.column_titles[0] == name
    images = torch.zeros(2, 3, 32, 32)
    assert seewhy.attribute(model, images, 1, method=method, layer="1").shape == (2, 15, 15)


def test_the_options_of_a_partial_are_its_own_defaults():
    method = Method.of(partial(Scaled(1.0), power=3))
    assert method.options["power"].default == 3


def test_an_unknown_name_is_refused_in_one_way():
    with pytest.raises(MethodError, match="'grad_cam' is not known; did you mean grad-cam"):
        method_of("grad_cam")
    with pytest.raises(MethodError, match=r"method must be a name or a function, but 3 is a int"):
        method_of(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "cost", "place", "one_image", "looks_at_target"),
    [
        ("eigen-cam", "one forward", "layer", False, False),
        ("fem", "one forward", "layer", False, False),
        ("kpca-cam", "one forward", "layer", False, False),
        ("cam", "one forward", "layer", False, True),
        ("grad-cam", "gradient", "layer", False, True),
        ("shapley-cam", "gradient", "layer", False, True),
        ("saliency", "gradient", "input", False, True),
        ("guided-grad-cam", "gradient", "layer", False, True),
        ("ablation-cam", "reruns", "layer", True, True),
        ("score-cam", "whole forwards", "layer", True, True),
        ("rise", "whole forwards", "input", True, True),
        ("attention-rollout", "attention", "attention", False, False),
        ("legrad", "attention", "attention", False, True),
    ],
)
def test_what_the_table_says_of_a_method(name, cost, place, one_image, looks_at_target):
    method = METHODS[name]
    found = (method.cost, method.place, method.of_one_image, method.looks_at_target)
    assert found == (cost, place, one_image, looks_at_target)


def test_evidence_of_a_batch_and_of_one_image_do_not_mix():
    def mixed(inputs: Tensor, rerun: object) -> Tensor:
        return inputs

    with pytest.raises(MethodError, match="asks for rerun, which is of one image at a time, and"):
        Method.of(mixed)


class StandIn(nn.Module):
    """What stands in for a model of another framework, which cannot show everything."""

    def __init__(self, **lacking: str) -> None:
        super().__init__()
        self.inner = network()
        setattr(self, DECLARED, lacking)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


def test_what_a_stand_in_cannot_give_is_refused_from_the_table():
    model = StandIn(
        curvature="this framework does not compute", guided_gradients="this framework hides"
    )
    images = torch.rand(1, 3, 32, 32)
    assert seewhy.attribute(model, images, 1, layer="inner.1").shape == (1, 15, 15)
    with pytest.raises(MethodError) as curvature:
        seewhy.attribute(model, images, 1, method="shapley-cam", layer="inner.1")
    assert str(curvature.value) == (
        "method 'shapley-cam' needs the product of the score's Hessian with the activations, "
        "which this framework does not compute. Use grad-cam, grad-cam++, grad-cam++-normalised, "
        "or see: seewhy methods."
    )
    with pytest.raises(MethodError, match=r"which this framework hides\. Use saliency, input-"):
        seewhy.attribute(model, images, 1, method="guided-backprop")
    with pytest.raises(ValueError, match=r"StandIn.lacking_evidence names gradient, but the table"):
        seewhy.attribute(StandIn(gradient="?"), images, 1, layer="inner.1")
