"""The faithfulness metrics beside grad-cam 1.5.7, torchcam 0.5.0 and captum 0.9.0.

Where a peer computes the same thing, our value is the peer's. Where it does not, a test shows the
difference and says what it comes from. Absent peers skip their tests.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seewhy.metrics import infidelity, masked_confidence, walk
from seewhy.metrics.imputation import impute, road
from seewhy.scaling import unit_range

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::SyntaxWarning"),
]

CONFIDENCE = "pytorch_grad_cam.metrics.perturbation_confidence"
CLASSES = torch.tensor([2, 0, 1])


class Case:
    def __init__(self, size: int = 24) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            self.model = nn.Sequential(
                nn.Conv2d(3, 8, 5),
                nn.Tanh(),
                nn.AdaptiveAvgPool2d(3),
                nn.Flatten(),
                nn.Linear(72, 4),
            ).eval()
            self.images = torch.randn(3, 3, size, size)
            self.maps = unit_range(torch.rand(3, size, size))
        with torch.no_grad():
            self.model[4].weight *= 10

    def logit(self, images: Tensor, rows: Tensor) -> Tensor:
        return self.model(images)[torch.arange(len(rows)), CLASSES[rows]]

    def probability(self, images: Tensor, rows: Tensor) -> Tensor:
        return self.model(images).softmax(1)[torch.arange(len(rows)), CLASSES[rows]]


# --- grad-cam -----------------------------------------------------------------------------------


@pytest.fixture
def grad_cam_road() -> Any:
    return pytest.importorskip("pytorch_grad_cam.metrics.road", exc_type=ImportError)


@pytest.fixture
def probabilities() -> list[Any]:
    targets = pytest.importorskip("pytorch_grad_cam.utils.model_targets", exc_type=ImportError)
    return [targets.ClassifierOutputSoftmaxTarget(int(index)) for index in CLASSES]


@pytest.mark.parametrize("percentile", [10, 50, 90])
def test_grad_cam_imputes_the_same(percentile: int, grad_cam_road: Any) -> None:
    images = torch.randn(3, 3, 60, 47)
    smooth = nn.functional.interpolate(torch.rand(3, 1, 5, 5), (60, 47), mode="bilinear")[:, 0]
    smooth[2] = torch.rand(60, 47)  # scattered
    thresholds = np.percentile(smooth.numpy(), percentile, axis=(1, 2))
    holes = smooth >= torch.from_numpy(thresholds)[:, None, None]
    ours = impute(images, holes, tolerance=1e-5)
    peer = grad_cam_road.NoisyLinearImputer(noise=0)
    theirs = torch.stack([peer(x, 1 - h.float()) for x, h in zip(images, holes, strict=True)])
    torch.testing.assert_close(ours, theirs, rtol=0, atol=5e-5)
    quick = impute(images, holes)
    torch.testing.assert_close(quick, theirs, rtol=0, atol=1e-3)


def test_grad_cams_road_is_ours(grad_cam_road: Any, probabilities: list[Any]) -> None:
    case = Case()
    pixels = 24 * 24
    percentiles = [20, 40, 60, 80]
    # Its threshold lies between two values: what is removed is those from the upper one on.
    shares = [(pixels - np.ceil(p / 100 * (pixels - 1))) / pixels for p in percentiles]
    ours = road(case.probability, case.images, case.maps, shares=shares, noise=0, tolerance=1e-6)
    confidence = pytest.importorskip(CONFIDENCE, exc_type=ImportError)
    falls = {}
    for name in ("RemoveMostRelevantFirst", "RemoveLeastRelevantFirst"):
        parts = []
        for percentile in percentiles:
            remove = getattr(confidence, name)(
                percentile, grad_cam_road.NoisyLinearImputer(noise=0)
            )
            metric = confidence.PerturbationConfidenceMetric(remove)
            parts.append(metric(case.images, case.maps.numpy(), probabilities, case.model))
        falls[name] = torch.from_numpy(np.stack(parts, 1))
    with torch.no_grad():
        originals = case.probability(case.images, torch.arange(3))[:, None]
    most, least = falls["RemoveMostRelevantFirst"], falls["RemoveLeastRelevantFirst"]
    torch.testing.assert_close(ours.most - originals, most, rtol=0, atol=1e-5)
    torch.testing.assert_close(ours.least - originals, least, rtol=0, atol=1e-5)
    torch.testing.assert_close(ours.combined, (least - most).mean(1) / 2, rtol=0, atol=1e-5)
    assert ours.combined.abs().min() > 1e-3


def test_grad_cams_noisy_road_is_ours_but_for_the_noise(
    grad_cam_road: Any, probabilities: list[Any]
) -> None:
    case = Case()
    theirs = grad_cam_road.ROADCombined([20, 40])(
        case.images, case.maps.numpy(), probabilities, case.model
    )
    ours = road(case.probability, case.images, case.maps, shares=(0.8, 0.6))
    torch.testing.assert_close(ours.combined, torch.from_numpy(theirs), rtol=0, atol=0.01)


def test_grad_cam_removes_all_of_a_map_with_ties() -> None:
    """A ReLU'd map is 0 over much of the image, and all of its zeros fall to one threshold."""
    confidence = pytest.importorskip(CONFIDENCE, exc_type=ImportError)
    image, flat = torch.randn(3, 6, 6), torch.zeros(6, 6)
    removed: list[float] = []

    def imputer(given: Tensor, mask: Tensor) -> Tensor:
        removed.append(1 - float(mask.mean()))
        return given

    confidence.RemoveMostRelevantFirst(80, imputer)(image, flat)
    assert removed == [1]
    seen = []

    def score(changed: Tensor, rows: Tensor) -> Tensor:
        seen.append((changed != image).any(1).float().mean((1, 2)))
        return changed.sum((1, 2, 3))

    road(score, image[None], flat[None], shares=(0.25,))
    assert torch.cat(seen).tolist() == [0.25, 0.25]


def test_grad_cams_drop_is_not_relative(probabilities: list[Any]) -> None:
    peer = pytest.importorskip("pytorch_grad_cam.metrics.cam_mult_image", exc_type=ImportError)
    case = Case()
    ours = masked_confidence.masked_confidence(
        case.probability, case.images, case.maps, scaling="none"
    )
    drop = peer.DropInConfidence()(case.images, case.maps.numpy(), probabilities, case.model)
    increase = peer.IncreaseInConfidence()(
        case.images, case.maps.numpy(), probabilities, case.model
    )
    absolute = (ours.original - ours.masked).relu()
    torch.testing.assert_close(absolute, torch.from_numpy(drop))
    torch.testing.assert_close(ours.drop, absolute / ours.original)
    assert ours.increase.tolist() == increase.tolist()
    assert absolute.max() > 0.01


# --- torchcam -----------------------------------------------------------------------------------


class Extractor:
    """What torchcam's metrics ask of an extractor, giving maps made beforehand."""

    def __init__(self, case: Case) -> None:
        self.case, self.model = case, case.model

    def __call__(self, class_idx: Any, scores: Any, **_: Any) -> list[Tensor]:
        return [self.case.maps]

    def fuse_cams(self, cams: list[Tensor]) -> Tensor:
        return cams[0]

    def _hooks_off(self) -> Any:
        return nullcontext()


@pytest.fixture
def torchcam_metrics() -> Any:
    return pytest.importorskip("torchcam.metrics", exc_type=ImportError)


@pytest.mark.parametrize("steps", [16, 20])
def test_torchcams_deletion_and_insertion(steps: int, torchcam_metrics: Any) -> None:
    case = Case()
    peer = torchcam_metrics.DeletionInsertionMetric(
        Extractor(case), partial(torch.softmax, dim=-1), steps=steps
    )
    peer.update(case.images, CLASSES.tolist())
    step = -(-576 // steps)
    given = (case.probability, case.images, case.maps)
    gone = walk.deletion(*given, step=step, baseline="zero")
    come = walk.insertion(*given, step=step, baseline="zero")
    theirs = peer.summary()
    for curve, name in ((gone, "deletion_auc"), (come, "insertion_auc")):
        assert len(curve.shares) == -(-576 // step) + 1
        weighed = torch.trapezoid(curve.scores, curve.shares.to(curve.scores), dim=1).mean()
        assert float(weighed) == pytest.approx(theirs[name], abs=1e-6)
        # With a last step that is shorter, RISE's even spacing gives another number.
        same = float(curve.area.mean()) == pytest.approx(theirs[name], abs=1e-6)
        assert same == (steps == 16)


def test_torchcams_drop_and_increase(torchcam_metrics: Any) -> None:
    case = Case()
    peer = torchcam_metrics.ClassificationMetric(Extractor(case), partial(torch.softmax, dim=-1))
    peer.update(case.images, CLASSES.tolist())
    ours = masked_confidence.masked_confidence(
        case.probability, case.images, case.maps, scaling="none"
    )
    theirs = peer.summary()
    assert float(ours.drop.mean()) == pytest.approx(theirs["avg_drop"], rel=1e-4)
    assert float(ours.increase.mean()) == pytest.approx(theirs["conf_increase"])


# --- captum -------------------------------------------------------------------------------------


@pytest.mark.parametrize("normalize", [False, True])
def test_captums_infidelity(normalize: bool) -> None:
    captum_metrics = pytest.importorskip("captum.metrics", exc_type=ImportError)
    case = Case(10)
    generator = torch.Generator().manual_seed(0)
    noise = torch.stack([torch.randn(3, 10, 10, generator=generator) for _ in range(30)])

    def perturb(inputs: Tensor) -> tuple[Tensor, Tensor]:
        replaced = 0.2 * noise.repeat(3, 1, 1, 1)  # captum repeats each image 30 times in a row
        return inputs - replaced, replaced

    theirs = captum_metrics.infidelity(
        case.model,
        perturb,
        case.images,
        case.maps[:, None].expand(3, 3, 10, 10),
        target=CLASSES,
        n_perturb_samples=30,
        normalize=normalize,
    )
    ours = infidelity.infidelity_gaussian(case.logit, case.images, case.maps, samples=30)
    found = ours.scaled if normalize else ours.infidelity
    torch.testing.assert_close(found, theirs, rtol=1e-3, atol=1e-5)
