"""One picture of a batch that holds NaN: its map says so, and the others are explained."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import seewhy
from seewhy.errors import TargetError
from seewhy.images import Preprocess
from seewhy.methods.cam import eigen_cam, eigen_grad_cam, kpca_cam
from seewhy.targets import resolve


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("size", [(3, 2), (4, 9)], ids=["few positions", "many positions"])
@pytest.mark.parametrize("formula", [eigen_cam, kpca_cam])
def test_a_decomposition_of_the_others_goes_on(formula, size: tuple[int, int], bad: float) -> None:
    torch.manual_seed(0)
    whole = torch.rand(3, 8, *size)
    broken = whole.clone()
    broken[1, 2, 0, 1] = bad
    wanted, found = formula(whole), formula(broken)
    assert torch.equal(found[[0, 2]], wanted[[0, 2]])
    assert found[1].isnan().all()
    assert eigen_grad_cam(broken, torch.ones_like(broken))[1].isnan().all()


def test_values_whose_squares_overflow_do_not_end_the_batch() -> None:
    values = torch.rand(2, 4, 3, 3, dtype=torch.float64)
    values[0] *= 1e200
    found = eigen_cam(values)
    assert found[0].isnan().all()
    assert torch.equal(found[1:], eigen_cam(values[1:]))


def test_a_batch_without_a_predicted_class_says_which_picture_has_none() -> None:
    outputs = torch.rand(8, 4)
    outputs[[2, 5], 1] = torch.nan
    with pytest.raises(TargetError, match=r"\(2 of 8 images\).* for image 2, 5 \(counted"):
        resolve(None, outputs)


class OverflowsOnWhite(nn.Module):
    """Divides by zero where a picture is all white."""

    def forward(self, x: Tensor) -> Tensor:
        return x / (x.flatten(1).mean(1) < 1).float()[:, None, None, None]


@pytest.mark.parametrize("method", ["eigen-cam", "eigen-grad-cam", "kpca-cam", "cam", "grad-cam"])
def test_the_broken_picture_is_named_and_the_others_are_explained(method: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        OverflowsOnWhite(), nn.Conv2d(3, 6, 3, padding=1, stride=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4),
    ).eval()  # fmt: skip
    pictures = torch.rand(3, 3, 16, 16)
    pictures[1] = 1
    plain = Preprocess((16, 16), 16, (0.0,) * 3, (1.0,) * 3)
    explainer = seewhy.Explainer(network, method=method, layer="2", preprocess=plain)
    found = list(explainer.many(pictures, 1))
    told = [any("the map contains NaN" in one for one in why.warnings) for why in found]
    assert told == [False, True, False]
    for i in (0, 2):
        assert np.allclose(found[i].map, explainer(pictures[i], 1).map, atol=1e-6)


def test_a_picture_without_a_finite_score_has_no_similar_classes_and_is_named() -> None:
    outputs = torch.rand(8, 4)
    outputs[5, 1] = torch.nan
    with pytest.raises(TargetError, match=r"image 5 \(counted from 0\) of 8 .* class 1 is nan"):
        resolve("finer:1", outputs)
    assert len(resolve("finer:1", outputs[:5]).targets) == 5


def test_a_whole_batch_of_broken_pictures_is_told() -> None:
    network = nn.Sequential(
        OverflowsOnWhite(), nn.Conv2d(3, 6, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, 4),
    ).eval()  # fmt: skip
    found = seewhy.attribute(network, torch.ones(2, 3, 16, 16), 1, method="cam", layer="1")
    assert found.isnan().all()
