"""A map of a region, a box or a word falls on its own shape and not on the other one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from shapes import (
    DISC,
    NAMES,
    SIZE,
    SQUARE,
    VOCABULARY,
    CentreDetector,
    Segmenter,
    TwoTowers,
    answering,
    detector,
    draw,
    prefers,
    segmenter,
    share_on,
    two_towers,
)
from torch import Tensor, nn

import seewhy
from seewhy.models.outputs import find_logits
from seewhy.targets import BoxScore, Mask, Region, Sentence, Similarity, Token
from seewhy.targets.boxes import detected, overlaps

COUNT = 8
DRAWN = draw(COUNT, 10**6)  # no step of the training saw these


@pytest.fixture(scope="module")
def segmenting() -> nn.Module:
    return segmenter()


@pytest.fixture(scope="module")
def detecting() -> nn.Module:
    return detector()


@pytest.fixture(scope="module")
def towers() -> TwoTowers:
    return two_towers()


def shares(model: nn.Module, target: Callable[[int, int], Any], **options: Any) -> list[float]:
    """How much of each picture's map lies on its own shape, for `target(image, shape)`."""
    found = []
    for image in range(COUNT):
        for shape in (DISC, SQUARE):
            (map_,) = seewhy.attribute(
                model, DRAWN.pictures[image : image + 1], target(image, shape), **options
            )
            found.append(share_on(map_, DRAWN, image, shape))
    return found


def all_prefer(model: nn.Module, target: Callable[[int, int], Any], **options: Any) -> bool:
    """Whether the maps of methods that change the picture are higher on their own shapes."""
    return all(
        prefers(map_, DRAWN, image, shape)
        for image in range(3)
        for shape in (DISC, SQUARE)
        for map_ in seewhy.attribute(
            model, DRAWN.pictures[image : image + 1], target(image, shape), **options
        )
    )


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


# --- Segmentation ---------------------------------------------------------------------------------


def test_the_segmenter_has_learnt_its_task(segmenting: nn.Module) -> None:
    assert isinstance(segmenting, Segmenter)
    with torch.no_grad():
        predicted = segmenting(DRAWN.pictures)["out"].argmax(1)
    for shape in range(3):
        both = ((predicted == shape) & DRAWN.masks[:, shape]).sum()
        assert both / ((predicted == shape) | DRAWN.masks[:, shape]).sum() > 0.7


@pytest.mark.parametrize(("method", "least"), [("grad-cam", 0.7), ("layer-cam", 0.97)])
@pytest.mark.parametrize(
    "target",
    [
        lambda _, shape: NAMES[shape],
        lambda image, shape: Region(shape, DRAWN.masks[image, shape]),
        lambda image, shape: Region(shape, DRAWN.boxes[image, shape - 1]),
        lambda image, shape: f"{shape}@peak",
    ],
    ids=["predicted", "mask", "box", "peak"],
)
def test_a_regions_map_falls_on_its_shape(
    segmenting: nn.Module, method: str, least: float, target: Callable[[int, int], Any]
) -> None:
    explainer = seewhy.Explainer(segmenting, method=method, layer="features", labels=NAMES)
    found = [
        share_on(torch.from_numpy(one.map), DRAWN, image, shape)
        for image in range(COUNT)
        for shape in (DISC, SQUARE)
        for one in explainer.many([DRAWN.pictures[image]], target(image, shape))
    ]
    assert min(found) > least


def test_the_region_says_which_part_of_the_picture_it_is(segmenting: nn.Module) -> None:
    found = seewhy.explain(segmenting, DRAWN.pictures[0], "disc", layer="features", labels=NAMES)
    assert isinstance(found.target, Region)
    assert isinstance(found.target.where, Mask)
    share = float(DRAWN.masks[0, DISC].float().mean())
    assert found.target.where.share == pytest.approx(share, rel=0.3)
    assert found.label.startswith("disc where predicted (")
    assert found.probability > 0.8
    assert found.predictions[0].label == "background"
    assert len(found.warnings) == 1  # of the preprocessing, which the network does not name


def test_an_explanation_of_a_region_is_saved_with_its_region(
    segmenting: nn.Module, tmp_path: Path
) -> None:
    found = seewhy.explain(segmenting, DRAWN.pictures[0], "disc", layer="features", labels=NAMES)
    for ending in ("npz", "json"):
        again = seewhy.load_explanation(found.save(tmp_path / f"why.{ending}"))
        assert again.target == found.target
        assert again.label == found.label
        with torch.no_grad():
            outputs = segmenting(DRAWN.pictures[:1])["out"]
        assert float(again.target(outputs)) == pytest.approx(found.score)


def test_a_batch_has_a_region_for_each_picture(segmenting: nn.Module) -> None:
    together = seewhy.attribute(segmenting, DRAWN.pictures[:3], (DISC, SQUARE), layer="features")
    assert together.shape[:2] == (3, 2)
    for image in range(3):
        for shape in (DISC, SQUARE):
            own = DRAWN.pictures[image : image + 1]
            (alone,) = seewhy.attribute(segmenting, own, shape, layer="features")
            assert torch.allclose(together[image, shape - 1], alone, atol=1e-6)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("score-cam", {"layer": "features"}),
        ("ablation-cam", {"layer": "features"}),
        ("rise", {"masks": 400, "cells": 8}),
    ],
)
def test_reruns_keep_the_region_of_the_first_run(
    segmenting: nn.Module, method: str, options: dict[str, Any]
) -> None:
    assert all_prefer(segmenting, lambda _, shape: shape, method=method, **options)


# --- Detection ------------------------------------------------------------------------------------


class AfterSuppression(nn.Module):
    """The detector as torchvision's are: a list of what is left after non-maximum suppression."""

    def __init__(self, model: CentreDetector) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> list[dict[str, Tensor]]:
        nms = pytest.importorskip("torchvision.ops").batched_nms
        found = []
        for logits, boxes in zip(*self.model.heads(x), strict=True):
            scores, labels = logits.flatten(1).sigmoid().max(0)
            boxes = boxes.flatten(1).T
            sure = (scores > 0.05).nonzero()[:, 0]
            kept = sure[nms(boxes[sure], scores[sure], labels[sure], 0.5)]
            found.append({"boxes": boxes[kept], "scores": scores[kept], "labels": labels[kept] + 1})
        return found


@pytest.fixture(params=["raw", "list"])
def either(detecting: CentreDetector, request: pytest.FixtureRequest) -> tuple[nn.Module, int]:
    """The detector with raw heads, whose classes are from 0, or with a list, from 1."""
    return (detecting, 1) if request.param == "raw" else (AfterSuppression(detecting), 0)


def test_the_detector_has_learnt_its_task(either: tuple[nn.Module, int]) -> None:
    model, first = either
    with torch.no_grad():
        outputs = find_logits(model(DRAWN.pictures))
    for image in range(COUNT):
        for shape in (DISC, SQUARE):
            ((box, score), *_) = detected(outputs[image : image + 1], 1, shape - first)[0]
            own = DRAWN.boxes[image, shape - 1]
            assert float(overlaps(own, torch.tensor(box.box))) > 0.6
            assert score > 0.5


@pytest.mark.parametrize("method", ["grad-cam", "layer-cam", "hires-cam"])
@pytest.mark.parametrize("by", ["class", "box"])
def test_a_boxs_map_falls_on_its_shape(either: tuple[nn.Module, int], method: str, by: str) -> None:
    model, first = either

    def target(image: int, shape: int) -> Any:
        own = shape - first
        return own if by == "class" else BoxScore(own, DRAWN.boxes[image, shape - 1])

    layer = "features" if first else "model.features"
    assert min(shares(model, target, method=method, layer=layer)) > 0.9


def test_a_score_weighed_by_the_overlap_is_the_detections_where_the_box_is_its_own(
    either: tuple[nn.Module, int],
) -> None:
    model, first = either
    layer = "features" if first else "model.features"
    own = DRAWN.pictures[:1]
    found = seewhy.explain(model, own, DISC - first, layer=layer)
    assert isinstance(found.target, BoxScore)
    with torch.no_grad():
        outputs = find_logits(model(own))
    assert found.score == pytest.approx(float(outputs[0, :, 4 + DISC - first].max()))
    assert found.probability == found.score
    again = seewhy.attribute(model, own, found.target, layer=layer)
    assert torch.equal(again[0], torch.from_numpy(found.map))


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("rise", {"masks": 400, "cells": 8}),  # D-RISE
        ("score-cam", {}),
        ("ablation-cam", {}),
        ("occlusion", {"window": 12, "stride": 4}),
    ],
)
def test_changed_pictures_are_scored_at_the_same_box(
    either: tuple[nn.Module, int], method: str, options: dict[str, Any]
) -> None:
    model, first = either
    if method in ("score-cam", "ablation-cam"):
        options = {**options, "layer": "features" if first else "model.features"}
    assert all_prefer(model, lambda _, shape: shape - first, method=method, **options)


# --- Embeddings -----------------------------------------------------------------------------------


def test_the_towers_have_learnt_their_task(towers: TwoTowers) -> None:
    words = torch.stack([towers.word(index) for index in range(3)]).detach()
    for shape in (DISC, SQUARE):
        seen = towers.pictures(draw(20, 10**7, which=(shape,)).pictures)["image_embeds"]
        assert ((seen @ words.T).argmax(1) == shape).float().mean() > 0.8


@pytest.mark.parametrize("method", ["grad-cam", "hires-cam"])
def test_the_similarity_to_a_word_falls_on_what_it_names(towers: TwoTowers, method: str) -> None:
    found = shares(
        towers.pictures,
        lambda _, shape: Similarity(towers.word(shape), NAMES[shape]),
        method=method,
        layer="features",
    )
    assert mean(found) > 0.85


def test_the_similarity_to_a_picture_falls_on_what_they_share(towers: TwoTowers) -> None:
    with torch.no_grad():
        alike = [
            towers.pictures(draw(1, 10**7, which=(shape,)).pictures)["image_embeds"]
            for shape in (DISC, SQUARE)
        ]
    found = shares(
        towers.pictures,
        lambda _, shape: Similarity(alike[shape - 1], f"a {NAMES[shape]}"),
        layer="features",
    )
    assert mean(found) > 0.85
    explained = seewhy.explain(
        towers.pictures, DRAWN.pictures[0], Similarity(alike[0], "a disc"), layer="features"
    )
    assert explained.label == "similarity to a disc"
    assert explained.probability is None
    assert explained.predictions == ()  # an embedding's numbers are no classes
    assert -1 <= explained.score <= 1


def test_reruns_of_similarities(towers: TwoTowers) -> None:
    options = {"method": "rise", "masks": 400, "cells": 8}
    assert all_prefer(towers.pictures, lambda _, shape: Similarity(towers.word(shape)), **options)


# --- Answers --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vqa() -> nn.Module:
    return answering()


@pytest.mark.parametrize("of", ["token", "sentence"])
def test_an_answer_falls_on_the_half_that_was_asked_about(vqa: nn.Module, of: str) -> None:
    found = []
    for image in range(COUNT):
        for half in (0, 1):
            there = (DRAWN.boxes[image, :, 0] >= SIZE // 2) == bool(half)
            shape = DISC if there[0] else SQUARE
            given = {"x": DRAWN.pictures[image : image + 1], "question": torch.tensor([half])}
            with torch.no_grad():
                answer = vqa(**given)["logits"][0].argmax(1).tolist()
            assert answer == [shape, VOCABULARY.index(".")]
            target = Token(shape, 0) if of == "token" else Sentence(answer)
            (map_,) = seewhy.attribute(vqa, given, target, method="layer-cam", layer="features")
            found.append(share_on(map_, DRAWN, image, shape))
    assert mean(found) > 0.9
    assert min(found) > 0.6
