"""torchvision's detectors and segmenters, end to end on photographs of COCO.

Their weights are random, so where a map lies says nothing (see test_on_shapes.py for that); what is
checked is every path: what is asked, the map's shape, and that the network comes back as it was.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import seewhy
from seewhy.targets import BoxScore, Region

models = pytest.importorskip("torchvision.models")

SIZE = (160, 208)
AS_IT_IS = seewhy.Preprocess(size=SIZE, resize=SIZE, mean=(0.0,) * 3, std=(1.0,) * 3)
SMALL = {"min_size": 160, "max_size": 208}
DETECTORS: dict[str, tuple[str, dict[str, Any]]] = {
    "fasterrcnn_resnet50_fpn": ("backbone.body.layer4", {"box_score_thresh": 0.0, **SMALL}),
    "fasterrcnn_mobilenet_v3_large_320_fpn": (
        "backbone.body.16",
        {"box_score_thresh": 0.0, **SMALL},
    ),
    "retinanet_resnet50_fpn": ("backbone.body.layer4", {"score_thresh": 0.0, **SMALL}),
    "fcos_resnet50_fpn": ("backbone.body.layer4", {"score_thresh": 0.0, **SMALL}),
    "ssd300_vgg16": ("backbone.features", {"score_thresh": 0.0}),
    "ssdlite320_mobilenet_v3_large": ("backbone.features.1", {"score_thresh": 0.0}),
}
SEGMENTERS = {
    "fcn_resnet50": "backbone.layer4",
    "deeplabv3_mobilenet_v3_large": "backbone.16",
    "lraspp_mobilenet_v3_large": "backbone.16",
}
SLOW = ("fasterrcnn_resnet50_fpn", "ssd300_vgg16", "fcn_resnet50")
METHODS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("grad-cam", {}),
    ("layer-cam", {}),
    ("eigen-cam", {}),
    ("rise", {"masks": 6}),  # D-RISE where the target is a box
    ("saliency", {}),
)


@pytest.fixture
def photo(shared_data: Path) -> Path:
    return sorted((shared_data / "tinycoco/images/val2017").glob("*.jpg"))[0]


def left_as_it_was(model: nn.Module, before: dict[str, torch.Tensor]) -> bool:
    return all(
        torch.equal(before[key], now) for key, now in model.state_dict().items()
    ) and not any(
        module._forward_hooks or module._forward_pre_hooks or module.training
        for module in model.modules()
    )


def explanations(name: str, model: nn.Module, photo: Path, layer: str) -> list[seewhy.Explanation]:
    before = {key: value.clone() for key, value in model.state_dict().items()}
    found = [
        seewhy.explain(model, photo, method=method, layer=layer, preprocess=AS_IT_IS, **options)
        for method, options in METHODS
        if name not in SLOW or method in ("layer-cam", "rise")
    ]
    assert left_as_it_was(model, before)
    for one in found:
        assert one.heatmap.shape == one.picture.shape[:2]
        assert torch.from_numpy(one.map).isfinite().all()
        assert one.map.shape == SIZE or one.layer != "input"
    return found


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detectors_highest_box(name: str, photo: Path) -> None:
    layer, options = DETECTORS[name]
    model = getattr(models.detection, name)(weights=None, weights_backbone=None, **options).eval()
    first, *others = explanations(name, model, photo, layer)
    box = first.target
    assert isinstance(box, BoxScore)
    x1, y1, x2, y2 = box.box
    assert -1e-3 <= x1 < x2 <= SIZE[1] + 1e-3
    assert -1e-3 <= y1 < y2 <= SIZE[0] + 1e-3
    with torch.no_grad():
        (raw,) = model([AS_IT_IS(photo)])
    assert first.score == pytest.approx(float(raw["scores"].max()), rel=1e-4)
    assert first.predictions[0].index == int(raw["labels"][raw["scores"].argmax()])
    for one in others:
        assert one.target == box or one.score == pytest.approx(first.score, rel=1e-3)


@pytest.mark.parametrize("name", SEGMENTERS)
def test_a_segmenters_largest_class(name: str, photo: Path) -> None:
    model = getattr(models.segmentation, name)(
        weights=None, weights_backbone=None, num_classes=5
    ).eval()
    first, *_ = explanations(name, model, photo, SEGMENTERS[name])
    region = first.target
    assert isinstance(region, Region)
    with torch.no_grad():
        maps = model(AS_IT_IS(photo)[None])["out"]
    assert maps.shape[2:] == SIZE
    there = maps.argmax(1) == region.index
    assert first.score == pytest.approx(float(maps[:, region.index][there].mean()), rel=1e-3)
    assert f"({int(there.sum()) / there.numel():.0%})" in first.label
