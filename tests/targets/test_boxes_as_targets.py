"""A class's score at a box: values, the kink of the overlap, resolution, words and saving."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from seewhy.errors import TargetError
from seewhy.targets import (
    BoxScore,
    Contrast,
    Predicted,
    Probability,
    Region,
    parse_target,
    predictions,
    probability_of,
    resolve,
    target_from_json,
)
from seewhy.targets.boxes import overlaps

LABELS = ("background", "dog", "cat")
FOUND = torch.tensor(
    [
        [
            [0.0, 0.0, 10.0, 10.0, 0.0, 0.6, 0.0],
            [20.0, 0.0, 40.0, 10.0, 0.0, 0.9, 0.0],
            [20.0, 0.0, 40.0, 10.0, 0.0, 0.0, 0.7],
            [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        ]
    ]
)
boxes = st.tuples(st.floats(0, 90), st.floats(0, 90), st.floats(2, 40), st.floats(2, 40)).map(
    lambda box: (box[0], box[1], box[0] + box[2], box[1] + box[3])
)


def by_hand(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    width = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return width * height / (sum(areas) - width * height)


@settings(deadline=None)
@given(boxes, st.lists(st.tuples(boxes, st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=5))
def test_the_best_of_overlap_times_score(
    box: tuple[float, ...], rows: list[tuple[tuple[float, ...], float, float]]
) -> None:
    outputs = torch.tensor([[[*each, a, b] for each, a, b in rows]], dtype=torch.float64)
    wanted = max(by_hand(box, each) * b for each, _, b in rows)
    assert float(BoxScore(1, box)(outputs)) == pytest.approx(wanted)
    exact = overlaps(torch.tensor(box, dtype=torch.float64), outputs[0, :, :4])
    assert exact.tolist() == pytest.approx([by_hand(box, each) for each, _, _ in rows])


def test_probabilities_of_something_else_are_no_boxes() -> None:
    """A sigmoid for each position of a signal, or a vocabulary's softmax, may rise by chance."""
    rising = torch.tensor([[[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]]])
    with pytest.raises(TargetError, match=r"Region\(class, mask\) for \(batch, classes, length\)"):
        resolve(0, rising)
    with pytest.raises(TargetError, match="not of this form"):
        BoxScore(0, (0.1, 0.2, 0.3, 0.4))(rising)
    assert float(BoxScore(1, (0, 0, 9, 9))(torch.zeros_like(FOUND))) == 0  # nothing was found
    shares = rising.expand(1, 8, 6)  # a head that gives shares of the picture has many rows
    assert float(BoxScore(0, (0.1, 0.2, 0.3, 0.4))(shares)) == pytest.approx(0.5)


def test_a_box_that_is_the_only_detection_scores_what_the_detection_does() -> None:
    alone = FOUND[:, 1:2].clone().requires_grad_()
    target = BoxScore(1, (20, 0, 40, 10))
    assert torch.equal(target(alone), alone[:, 0, 5])
    (gradient,) = torch.autograd.grad(target(alone).sum(), alone)
    expected = torch.zeros(7)
    expected[5] = 1
    assert torch.equal(gradient[0, 0], expected)  # nothing from the overlap


def test_a_gradient_is_the_best_detections_score_weighed_by_its_overlap() -> None:
    rows = torch.tensor([[[0.0, 0.0, 8.0, 10.0, 0.2, 0.5], [0.0, 0.0, 2.0, 10.0, 0.0, 0.9]]])
    target = BoxScore(1, (0, 0, 10, 10))
    assert float(target(rows)) == pytest.approx(0.8 * 0.5)
    rows.requires_grad_()
    (gradient,) = torch.autograd.grad(target(rows).sum(), rows)
    assert gradient[0].tolist() == [[0, 0, 0, 0, 0, pytest.approx(0.8)], [0] * 6]


def test_a_class_is_its_highest_scored_box_and_boxes_have_ranks() -> None:
    ((dog,),) = resolve("dog", FOUND, LABELS).targets
    assert dog == BoxScore(1, (20, 0, 40, 10))
    assert str(dog) == "dog in box (20, 0, 40, 10)"
    ((first,),) = resolve(None, FOUND, LABELS).targets
    assert first == dog
    assert parse_target("box:1") == Predicted(1)
    ((second,),) = resolve("box:1", FOUND, LABELS).targets
    assert second == BoxScore(2, (20, 0, 40, 10))
    top = resolve("top3", FOUND, LABELS)
    assert top.several
    assert [each.index for each in top.targets[0]] == [1, 2, 1]
    assert predictions(FOUND, 2) == [
        [(1, pytest.approx(0.9), pytest.approx(0.9)), (2, pytest.approx(0.7), pytest.approx(0.7))]
    ]
    ((chance,),) = resolve("p:cat", FOUND, LABELS).targets
    assert chance == Probability(second)
    assert float(chance(FOUND)) == pytest.approx(0.7)
    assert probability_of(second, FOUND[0]) == pytest.approx(0.7)
    ((contrast,),) = resolve("dog vs cat", FOUND, LABELS).targets
    assert contrast == Contrast(dog, second)


def test_a_class_in_a_box_is_a_detection_or_a_region_as_the_network_has_it() -> None:
    ((box,),) = resolve("dog@0,0,10,9", FOUND, LABELS).targets
    assert box == BoxScore(1, (0, 0, 10, 9))
    assert float(box(FOUND)) == pytest.approx(0.9 * 0.6)
    assert parse_target("dog@0,0,10,9", LABELS) == Region(1, (0, 0, 10, 9))


def test_boxes_that_are_one_object_count_once() -> None:
    rows = torch.tensor(
        [
            [0.0, 0.0, 10.0, 10.0, 0.9, 0.0],
            [0.0, 0.0, 10.0, 9.0, 0.8, 0.0],  # the same object once more
            [0.0, 0.0, 10.0, 9.0, 0.0, 0.7],  # of another class
            [0.0, 0.0, 10.0, 6.0, 0.6, 0.0],  # overlaps by 0.6
            [5.0, 5.0, 5.0, 9.0, 0.5, 0.0],  # no box
        ]
    )[None]
    found = [score for _, score, _ in predictions(rows)[0]]
    assert found == [pytest.approx(each) for each in (0.9, 0.7, 0.6)]


def test_each_image_has_boxes_of_its_own() -> None:
    both = torch.cat((FOUND, FOUND.flip(1)))
    both[1, 2, 5] = 0.1  # the wide dog is no longer the first
    (one,), (other,) = resolve("dog", both, LABELS).targets
    assert one == BoxScore(1, (20, 0, 40, 10))
    assert other == BoxScore(1, (0, 0, 10, 10))


def test_saving_brings_the_box_back() -> None:
    target = 2 * BoxScore(1, (0.1, 0.2, 3.5, 4), "dog") - BoxScore(0, torch.tensor([0, 0, 1, 1]))
    again = target_from_json(json.loads(json.dumps(target.to_json())))
    assert again == target
    assert str(again) == "(2 × dog in box (0.1, 0.2, 3.5, 4)) − class 0 in box (0, 0, 1, 1)"


def logits() -> Tensor:
    return torch.randn(1, 4, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (lambda: BoxScore(1, (0, 0, 1)), "x1 < x2"),
        (lambda: BoxScore(1, (2, 0, 1, 1)), "x1 < x2"),
        (lambda: BoxScore(1, (0, 0, 1, 1))(logits()), "not of this form.*output="),
        (lambda: BoxScore(1, (0, 0, 1, 1))(torch.zeros(1, 3)), r"\(1, 3\) is not of this form"),
        (lambda: BoxScore(3, (0, 0, 1, 1))(FOUND), "class 3 is out of range: .* 3 classes"),
        (lambda: BoxScore("dog", (0, 0, 1, 1))(FOUND), "still a name"),
        (lambda: resolve("box:3", FOUND), "ranked 4 .* finds 3 boxes in this image"),
        (lambda: resolve("background", FOUND, LABELS), "no box of 'background', only boxes of"),
        (lambda: resolve("dog", 0 * FOUND, LABELS), "no box of 'dog', nor any other.*threshold"),
        (lambda: resolve(None, 0 * FOUND), "finds nothing in this image"),
        (lambda: resolve("box:x", FOUND), "no number; write 'box:0'"),
        (lambda: resolve(None, logits()), r"token:NUMBER.*output= \('yolo'"),
    ],
)
def test_what_does_not_fit_says_so(target: object, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        target()  # type: ignore[operator]
