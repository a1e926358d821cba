"""Which tensor of a model's output holds the scores, and what detectors return as one tensor."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from seewhy.errors import ModelError
from seewhy.models.detections import CLASSES, ROWS
from seewhy.models.outputs import find_logits


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


# --- By name --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["logits", "out", "logits_per_image", "image_embeds", "pooler_output"]
)
def test_scores_are_found_by_the_name_their_libraries_give_them(name: str) -> None:
    wanted = drawn(2, 5)
    outputs = {"hidden": drawn(2, 7, 5), "other": drawn(2, 3), name: wanted}
    assert find_logits(outputs) is wanted


def test_torchvision_segmentation_is_the_main_output() -> None:
    outputs = OrderedDict(out=drawn(1, 3, 8, 8), aux=drawn(1, 3, 8, 8, seed=1))
    assert find_logits(outputs) is outputs["out"]
    assert find_logits(outputs, "aux") is outputs["aux"]


def test_the_first_name_wins() -> None:
    clip = {
        "logits_per_text": drawn(3, 2),
        "logits_per_image": drawn(2, 3),
        "text_embeds": drawn(3, 8),
        "image_embeds": drawn(2, 8),
        "vision_model_output": {"last_hidden_state": drawn(2, 5, 8), "pooler_output": drawn(2, 8)},
    }
    assert find_logits(clip) is clip["logits_per_image"]
    assert find_logits(clip, "image_embeds") is clip["image_embeds"]
    assert find_logits(clip, "vision_model_output.pooler_output").shape == (2, 8)


def test_what_is_unclear_is_listed() -> None:
    with pytest.raises(ModelError, match=r"not clear .* it contains a \(2, 5, 5\), b \(2, 6, 6\)"):
        find_logits({"a": drawn(2, 5, 5), "b": drawn(2, 6, 6)})
    with pytest.raises(ModelError, match="output='c' is not in the model's output; it contains a"):
        find_logits({"a": drawn(2, 5)}, "c")


# --- Lists of detections --------------------------------------------------------------------------


def listed(*labels: list[int], requires_grad: bool = False) -> list[dict[str, Tensor]]:
    return [
        {
            "boxes": (100 * drawn(len(each), 4, seed=i)).requires_grad_(requires_grad),
            "labels": torch.tensor(each, dtype=torch.int64),
            "scores": drawn(len(each), seed=9 + i).requires_grad_(requires_grad),
            "masks": drawn(len(each), 1, 8, 8),
        }
        for i, each in enumerate(labels)
    ]


def test_a_list_of_detections_is_one_tensor_with_each_score_in_its_labels_column() -> None:
    outputs = listed([3, 90, 3], [], [1])
    found = find_logits(outputs)
    assert found.shape == (3, ROWS, 4 + CLASSES)
    for one, rows in zip(outputs, found, strict=True):
        for row, (box, label, score) in enumerate(
            zip(one["boxes"], one["labels"], one["scores"], strict=True)
        ):
            assert torch.equal(rows[row, :4], box)
            assert rows[row, 4 + int(label)] == score
            assert int(rows[row, 4:].count_nonzero()) == 1
        assert not rows[len(one["labels"]) :].any()


def test_how_many_are_found_does_not_change_the_shape() -> None:
    shapes = {find_logits(listed([label] * count)).shape for label, count in ((1, 0), (7, 300))}
    shapes.add(find_logits(listed([])).shape)
    assert shapes == {(1, ROWS, 4 + CLASSES)}
    assert find_logits(listed([CLASSES] * (ROWS + 1))).shape == (1, 2 * ROWS, 4 + 2 * CLASSES)


def test_autograd_follows_a_detection_back() -> None:
    outputs = listed([2, 5], requires_grad=True)
    found = find_logits(outputs)
    (of_score,) = torch.autograd.grad(found[0, 1, 4 + 5], outputs[0]["scores"], retain_graph=True)
    assert of_score.tolist() == [0, 1]
    (of_box,) = torch.autograd.grad(found[0, 0, :4].sum(), outputs[0]["boxes"])
    assert of_box.tolist() == [[1] * 4, [0] * 4]


def test_a_path_still_reaches_into_the_list() -> None:
    outputs = listed([1, 2])
    assert find_logits(outputs, "0.scores") is outputs[0]["scores"]


# --- Raw heads ------------------------------------------------------------------------------------


def test_yolo_heads_are_known_by_the_feature_maps_beside_them() -> None:
    head = drawn(2, 4 + 3, 8 * 8 + 4 * 4)
    maps = [drawn(2, 70, 8, 8), drawn(2, 70, 4, 4)]
    for rest in (maps, {"feats": maps, "boxes": drawn(2, 64, 80)}):
        found = find_logits((head, rest))
        assert found.shape == (2, 80, 7)
        x, y, width, height = head[:, :4].unbind(1)
        assert torch.allclose(found[..., 0], x - width / 2)
        assert torch.allclose(found[..., 3], y + height / 2)
        assert torch.equal(found[..., 4:], head[:, 4:].transpose(1, 2))
    assert torch.equal(find_logits(head, "yolo"), found)
    assert find_logits(head) is head  # alone its form says nothing
    with pytest.raises(ModelError, match="not clear"):
        find_logits((head, [drawn(2, 70, 8, 8), drawn(2, 70, 5, 5)]))


def test_yolov5_scores_are_scaled_by_the_objectness() -> None:
    head = drawn(1, 3 * (8 * 8 + 4 * 4), 5 + 2)
    found = find_logits((head, [drawn(1, 3, 8, 8, 7), drawn(1, 3, 4, 4, 7)]))
    assert found.shape == (1, 240, 6)
    assert torch.allclose(found[..., 4:], head[..., 4:5] * head[..., 5:])
    assert torch.equal(find_logits(head, "yolov5"), found)


def test_yolov10_rows_are_boxes_with_a_score_and_its_class() -> None:
    rows = torch.tensor([[[1.0, 2.0, 3.0, 4.0, 0.5, 2.0], [5.0, 6.0, 7.0, 8.0, 0.25, 0.0]]])
    found = find_logits(rows, "yolov10")
    assert found.shape == (1, ROWS, 4 + CLASSES)
    assert found[0, :2, :7].tolist() == [[1, 2, 3, 4, 0, 0, 0.5], [5, 6, 7, 8, 0.25, 0, 0]]


@dataclass
class DetrObjectDetectionOutput:
    logits: Tensor
    pred_boxes: Tensor
    last_hidden_state: Tensor


@dataclass
class RTDetrObjectDetectionOutput(DetrObjectDetectionOutput):
    pass


def test_detr_boxes_are_shares_of_the_input_until_its_size_is_known() -> None:
    head = drawn(2, 5, 4), drawn(2, 5, 4)
    found = find_logits(DetrObjectDetectionOutput(*head, drawn(2, 5, 9)), size=(30, 20))
    assert found.shape == (2, 5, 4 + 3)  # without 'no object'
    assert torch.allclose(found[..., 4:], head[0].softmax(2)[..., :-1])
    x, y, width, height = head[1].unbind(2)
    edges = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    shares = torch.stack(edges, 2)
    assert torch.allclose(found[..., :4], shares * torch.tensor([20.0, 30, 20, 30]))
    later = find_logits(RTDetrObjectDetectionOutput(*head, drawn(2, 5, 9)))
    assert torch.allclose(later, torch.cat((shares, head[0].sigmoid()), 2))


@pytest.mark.parametrize("batch", [1, 2])
def test_rows_of_rt_detr_are_shares_with_the_decoders_boxes_beside(batch: int) -> None:
    """Ultralytics: (rows, (boxes and logits of each layer, those of the encoder, nothing))."""
    boxes, logits = torch.rand(1, batch, 30, 4), torch.randn(1, batch, 30, 5)
    rows = torch.cat([boxes[-1], logits[-1].sigmoid()], -1)
    beside = (boxes, logits, torch.rand(batch, 30, 4), torch.randn(batch, 30, 5), None)
    centre, half = boxes[-1, ..., :2], boxes[-1, ..., 2:] / 2
    corners = torch.cat([centre - half, centre + half], -1) * torch.tensor([96.0, 64, 96, 64])
    wanted = torch.cat([corners, logits[-1].sigmoid()], -1)
    for given, output in (((rows, beside), None), (rows, "rt-detr"), ((rows, beside), "rt-detr")):
        torch.testing.assert_close(find_logits(given, output, size=(64, 96)), wanted)


def test_boxes_that_can_be_read_in_two_ways_ask_which() -> None:
    outputs: dict[str, Any] = {
        "pred_logits": drawn(1, 5, 4),
        "pred_boxes": drawn(1, 5, 4),
        "aux_outputs": [{"pred_logits": drawn(1, 5, 4), "pred_boxes": drawn(1, 5, 4)}],
    }
    with pytest.raises(ModelError, match="output='detr' or output='detr-sigmoid'"):
        find_logits(outputs)
    assert find_logits(outputs, "detr").shape == (1, 5, 4 + 3)
    assert find_logits(outputs, "detr-sigmoid").shape == (1, 5, 4 + 4)


@pytest.mark.parametrize("reading", ["boxes", "yolo", "yolov5", "yolov10", "detr", "detr-sigmoid"])
def test_a_reading_that_does_not_fit_says_what_it_wants(reading: str) -> None:
    with pytest.raises(ModelError, match=r"this way of reading boxes needs .*\(2, 5\)"):
        find_logits(drawn(2, 5), reading)
    if reading == "yolov10":
        with pytest.raises(ModelError, match=r"needs \(batch, n, 6\)"):
            find_logits(drawn(2, 5, 5), reading)


# --- Heads that say more than a class and a box ---------------------------------------------------

GRIDS = [(8, 8), (4, 4)]
ANCHORS = sum(height * width for height, width in GRIDS)
FEATS = [drawn(2, 6, *size, seed=i) for i, size in enumerate(GRIDS)]
CLASSES_OF_YOLO = 3


def extras(kind: str) -> Tensor:
    """What stands behind the scores: coefficients of masks, x and y of keypoints, an angle."""
    if kind == "masks":
        return drawn(2, 32, ANCHORS, seed=5) - 0.5
    return 64 * drawn(2, 6, ANCHORS, seed=6) if kind == "pose" else drawn(2, 1, ANCHORS, seed=7)


def yolo_head(kind: str, form: str) -> tuple[Any, Tensor]:
    """As ultralytics returns it, before version 8.4 ("old") and since ("new"); its scores."""
    box, raw = 64 * drawn(2, 4, ANCHORS, seed=1), drawn(2, CLASSES_OF_YOLO, ANCHORS, seed=2) - 3
    more, proto = extras(kind), drawn(2, 32, 16, 16, seed=8)
    predictions = torch.cat([box, raw.sigmoid(), more], 1)
    if form == "old":
        beside = (FEATS, more, proto) if kind == "masks" else (FEATS, more)
        return (predictions, beside), raw.sigmoid()
    name = {"masks": "mask_coefficient", "pose": "kpts", "angle": "angle"}[kind]
    known = {"boxes": drawn(2, 64, ANCHORS), "scores": raw, "feats": FEATS, name: more}
    if kind == "masks":
        return ((predictions, proto), {**known, "proto": proto}), raw.sigmoid()
    return (predictions, known), raw.sigmoid()


@pytest.mark.parametrize("form", ["old", "new"])
@pytest.mark.parametrize("kind", ["masks", "pose", "angle"])
@pytest.mark.parametrize("said", [None, "yolo"])
def test_what_stands_behind_the_scores_is_no_class(kind: str, form: str, said: str | None) -> None:
    outputs, scores = yolo_head(kind, form)
    found = find_logits(outputs, said)
    assert found.shape == (2, ANCHORS, 4 + CLASSES_OF_YOLO)
    assert torch.equal(found[..., 4:], scores.transpose(1, 2))


@pytest.mark.parametrize("kind", ["masks", "pose"])
def test_how_many_are_classes_can_be_said_where_nothing_stands_beside(kind: str) -> None:
    outputs, scores = yolo_head(kind, "old")
    alone = outputs[0]
    with pytest.raises(
        ModelError, match=r"number 3 is not a score from 0 to 1 .* output='yolo:80'"
    ):
        find_logits(alone, "yolo")
    found = find_logits(alone, f"yolo:{CLASSES_OF_YOLO}")
    assert torch.equal(found[..., 4:], scores.transpose(1, 2))
    with pytest.raises(ModelError, match="99 classes were asked for, but the output has"):
        find_logits(alone, "yolo:99")


def test_classes_that_do_not_add_up_are_refused() -> None:
    box, beside = 64 * drawn(2, 4, ANCHORS), drawn(2, 3, ANCHORS)
    with pytest.raises(ModelError, match="says that 1 of them are scores of classes"):
        find_logits((torch.cat([box, 9 * drawn(2, 4, ANCHORS)], 1), (FEATS, beside)))


@pytest.mark.parametrize("more", [0, 1])
def test_a_head_without_duplicates_gives_a_row_for_each_box(more: int) -> None:
    rows = torch.tensor([[10.0, 20, 30, 60, 0.75, 2], [0, 0, 8, 8, 0.5, 0]])[None]
    known: dict[str, Any] = {"scores": drawn(1, 3, ANCHORS)}
    if more:  # an oriented box: a centre, and an angle behind the class
        rows = torch.cat([rows, torch.full((1, 2, 1), 0.3)], 2)
        known["angle"] = drawn(1, 1, ANCHORS)
    found = find_logits((rows, {"one2many": known, "one2one": known}))
    assert found.shape == (1, ROWS, 4 + CLASSES)
    assert found[0, 0, 4:7].tolist() == [0, 0, 0.75]
    assert found[0, 0, :4].tolist() == ([-5, -10, 25, 50] if more else [10, 20, 30, 60])


# --- Which is which -------------------------------------------------------------------------------


def test_the_nearest_to_the_top_comes_first() -> None:
    top = drawn(1, 7)
    nested = {"pooler_output": drawn(1, 32), "logits": drawn(1, 7, seed=3)}
    assert find_logits({"vision": nested, "logits": top, "decoder": nested}) is top
    assert find_logits({"pooler_output": drawn(1, 9), "head": {"logits": top}}) is top
    assert find_logits({"a": {"b": {"out": drawn(1, 2)}}, "out": top}) is top
    with pytest.raises(ModelError, match="not clear"):  # two of a height, and no other name instead
        find_logits({"a": nested, "b": nested, "pooler_output": top})


def test_embeddings_of_every_token_are_not_taken_for_the_pictures() -> None:
    with pytest.raises(ModelError, match="not clear"):
        find_logits({"image_embeds": drawn(1, 17, 32), "last_hidden_state": drawn(1, 4, 32)})


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("make", [lambda z: z.softmax(1), lambda z: z.sigmoid()])
def test_of_logits_and_their_probabilities_the_logits_are_taken(order: int, make: Any) -> None:
    """YOLO's classifiers give both, `(batch, classes)` each."""
    logits = 5 * drawn(2, 5) - 2
    pair = (make(logits), logits)
    assert find_logits(pair if order else pair[::-1]) is logits
    assert find_logits({"probs": pair[0], "raw": logits}) is logits
    with pytest.raises(ModelError, match=r"0 \(2, 5\) \(probabilities\), 1 \(2, 5\)\."):
        find_logits((drawn(2, 5).softmax(1), logits))


@pytest.mark.parametrize("selector", ["loss", lambda outputs: outputs["loss"]])
def test_one_number_for_the_batch_is_no_score(selector: Any) -> None:
    outputs = {"loss": torch.tensor(0.5), "logits": drawn(2, 5)}
    with pytest.raises(ModelError, match="one number for the whole batch"):
        find_logits(outputs, selector)
    assert find_logits(outputs) is outputs["logits"]
    assert find_logits({"loss": torch.tensor(0.5), "other": outputs["logits"]}).shape == (2, 5)
