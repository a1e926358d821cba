"""A class over a part of its map: values, gradients, masks, resolution, words and saving."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from seewhy.errors import TargetError
from seewhy.targets import (
    ClassScore,
    Contrast,
    Function,
    Mask,
    Predicted,
    Probability,
    Region,
    looks_like_probabilities,
    parse_target,
    predictions,
    probability_of,
    resolve,
    target_from_json,
)

LABELS = ("background", "dog", "cat, tabby")
# Class 1 in the left column, class 2 at the lower right, background at the upper right.
MAPS = torch.tensor(
    [[[[0.0, 5.0], [0.0, 1.0]], [[3.0, 0.0], [7.0, 0.0]], [[-1.0, -2.0], [-4.0, 9.0]]]]
)
masks = arrays.arrays(bool, st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple)).filter(
    np.any
)


@settings(deadline=None)
@given(masks)
def test_a_mask_keeps_its_positions_through_runs_and_json(array: np.ndarray) -> None:
    mask = Mask.of(array)
    assert np.array_equal(mask.array(), array)
    assert mask.share == pytest.approx(array.mean())
    assert mask == Mask.of(torch.from_numpy(array))
    again = target_from_json(json.loads(json.dumps(Region(3, array).to_json())))
    assert again == Region(3, array)
    assert hash(again) == hash(Region(3, array))
    weights = mask.weights(array.shape, torch.zeros(1))
    assert torch.allclose(weights, torch.from_numpy(array / array.sum()).float())


@settings(max_examples=50, deadline=None)
@given(masks.filter(lambda array: array.ndim == 2), st.integers(1, 7), st.integers(1, 7))
def test_a_mask_of_another_size_covers_shares_of_positions(
    array: np.ndarray, height: int, width: int
) -> None:
    weights = Mask.of(array).weights((height, width), torch.zeros(1, dtype=torch.float64))
    assert float(weights.sum()) == pytest.approx(1)
    # Repeated pixels are the same mask: at a multiple of its size nothing is lost.
    finer = np.kron(array, np.ones((2, 3), bool)).astype(bool)
    back = Mask.of(finer).weights(array.shape, torch.zeros(1, dtype=torch.float64))
    assert torch.allclose(back, torch.from_numpy(array / array.sum()))


def test_each_region_reads_its_positions() -> None:
    mask = np.array([[True, False], [False, True]])
    assert Region(1, mask)(MAPS).tolist() == [1.5]  # (3 + 0) / 2
    assert Region(2, (1, 1))(MAPS).tolist() == [9]  # x, y
    assert Region(2, (0, 1))(MAPS).tolist() == [-4]
    assert Region(0, (1, 0, 2, 2))(MAPS).tolist() == [3]  # the right column: (5 + 1) / 2
    assert Region(0, (0.4, 0.6, 1.7, 2))(MAPS).tolist() == [0.5]  # the lower row's centres
    settled = Region(1).settled(MAPS)
    assert isinstance(settled.where, Mask)
    assert settled.where.array().tolist() == [[True, False], [True, False]]
    assert settled(MAPS).tolist() == [5]
    assert Region(1, "peak").settled(MAPS) == Region(1, (0, 1))
    assert Region(0, ClassScore(2))
    resolved = resolve(Region(0, ClassScore(2)), MAPS, LABELS)
    assert float(resolved.targets[0][0](MAPS)) == 1  # the background's logit where the cat is


def test_a_region_of_everything_is_the_mean_of_the_map_which_is_the_pooled_logit() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 4, 6, 6, generator=generator, dtype=torch.float64)
    weight = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    maps = torch.einsum("kc,bchw->bkhw", weight, features)
    pooled = features.mean((2, 3)) @ weight.T
    whole = np.ones((6, 6), bool)
    for index in range(3):
        assert torch.allclose(Region(index, whole)(maps), pooled[:, index])
        summed = Function(lambda z, index=index: z[:, index].sum((1, 2)))
        assert torch.allclose(36 * Region(index, whole)(maps), summed(maps))  # as the paper has it


@settings(max_examples=30, deadline=None)
@given(
    arrays.arrays(bool, (3, 4)).filter(np.any),
    arrays.arrays(np.float64, (1, 3, 3, 4), elements=st.floats(-5, 5)),
)
def test_gradients_lie_in_the_region_alone(mask: np.ndarray, values: np.ndarray) -> None:
    maps = torch.from_numpy(values).requires_grad_()
    (gradient,) = torch.autograd.grad(Region(1, mask)(maps).sum(), maps)
    expected = torch.zeros_like(maps)
    expected[0, 1] = torch.from_numpy(mask / mask.sum())
    assert torch.allclose(gradient, expected)
    (chances,) = torch.autograd.grad(Probability(Region(1, mask))(maps).sum(), maps)
    assert not chances[:, :, ~torch.from_numpy(mask)].any()
    p = maps.detach().softmax(1)
    own = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)[None, :, None, None]
    by_hand = (p[:, 1:2] * (own - p)) * torch.from_numpy(mask / mask.sum())
    assert torch.allclose(chances, by_hand, atol=1e-12)


def test_an_infinite_logit_outside_does_not_spoil_a_region() -> None:
    maps = MAPS.clone()
    maps[0, 1, 0, 1] = -math.inf
    assert float(Region(1, np.array([[True, False], [True, False]]))(maps)) == 5


def test_probabilities_of_regions() -> None:
    p = MAPS.double().softmax(1)
    left = np.array([[True, False], [True, False]])
    assert float(Probability(Region(1, left))(MAPS)) == pytest.approx(float(p[0, 1, :, 0].mean()))
    alone = Probability(Region(1, left), sigmoid=True)
    assert float(alone(MAPS)) == pytest.approx(float(MAPS[0, 1, :, 0].sigmoid().mean()))
    assert probability_of(Region(1, left), MAPS[0]) == pytest.approx(float(p[0, 1, :, 0].mean()))
    assert looks_like_probabilities(MAPS.softmax(1))
    assert not looks_like_probabilities(MAPS)


def test_a_class_of_a_segmentation_is_its_predicted_region_of_each_image() -> None:
    both = torch.cat((MAPS, MAPS.flip(3)))
    resolved = resolve("dog", both, LABELS)
    (first,), (second,) = resolved.targets
    assert not resolved.several
    assert isinstance(first, Region)
    assert isinstance(second, Region)
    assert first != second
    assert first(both[:1]).tolist() == second(both[1:]).tolist() == [5]
    assert str(first) == "dog where predicted (50%)"
    # The largest class is what is predicted, then the others.
    ((one,), _) = resolve(None, both, LABELS).targets
    assert one == first
    top = resolve("top3", both, LABELS)
    assert top.several
    assert [str(each) for each in top.targets[0]] == [
        "dog where predicted (50%)",
        "background where predicted (25%)",
        "cat where predicted (25%)",
    ]
    named = predictions(MAPS, labels=LABELS)
    p = MAPS.double().softmax(1)
    assert named == [
        [
            (1, 5.0, pytest.approx(float(p[0, 1, :, 0].mean()))),
            (0, 5.0, pytest.approx(float(p[0, 0, 0, 1]))),
            (2, 9.0, pytest.approx(float(p[0, 2, 1, 1]))),
        ]
    ]


def test_a_contrast_is_read_where_the_first_class_is_predicted() -> None:
    ((target,),) = resolve("cat vs background", MAPS, LABELS).targets
    assert isinstance(target, Contrast)
    assert float(target(MAPS)) == 9 - 1
    assert str(target) == "cat where predicted (25%) rather than background where predicted (25%)"
    ((chances,),) = resolve("p:predicted vs p:cat", MAPS, LABELS).targets
    p = MAPS.double().softmax(1)
    assert float(chances(MAPS)) == pytest.approx(float((p[0, 1] - p[0, 2])[:, 0].mean()))


def test_regions_of_a_single_map_lie_where_it_is_positive() -> None:
    road = torch.tensor([[[[-1.0, 2.0], [-3.0, 4.0]]]])
    ((target,),) = resolve(None, road).targets
    assert float(target(road)) == 3
    expected = float(road[0, 0, :, 1].double().sigmoid().mean())
    assert probability_of(target, road[0]) == pytest.approx(expected)
    with pytest.raises(TargetError, match="finds nothing in this image"):
        resolve(None, -road.abs())


@pytest.mark.parametrize("size", [(5,), (3, 4), (2, 3, 4)])
def test_lines_and_volumes_have_regions_too(size: tuple[int, ...]) -> None:
    maps = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    mask = np.zeros(size, bool)
    mask[0] = True
    expected = maps[:, 2, 0].reshape(2, -1).mean(1)
    assert torch.allclose(Region(2, mask)(maps), expected)
    for image, (target,) in enumerate(resolve(Region(2), maps).targets):
        own = maps[image : image + 1]
        assert float(target(own)) == pytest.approx(float(own[:, 2][own.argmax(1) == 2].mean()))


@pytest.mark.parametrize(
    ("words", "target"),
    [
        ("dog@3,4", Region(1, (3, 4))),
        ("dog @ 3.5, -4", Region(1, (3.5, -4))),
        ("1@1,2,3,4", Region(1, (1, 2, 3, 4))),
        ("tabby@peak", Region(2, "peak")),
        ("dog@cat", Region(1, ClassScore(2))),
        ("p:dog@3,4", Probability(Region(1, (3, 4)))),
        ("sigmoid:dog@cat", Probability(Region(1, ClassScore(2)), sigmoid=True)),
        ("dog@3,4 vs cat@3,4", Contrast(Region(1, (3, 4)), Region(2, (3, 4)))),
        ("dog@predicted", Region(1, Predicted())),
    ],
)
def test_the_grammar_of_places(words: str, target: Region) -> None:
    assert parse_target(words, LABELS) == target
    assert target_from_json(json.loads(json.dumps(target.to_json()))) == target


def test_a_label_may_hold_the_sign() -> None:
    assert parse_target("user@home", ("user@home", "dog")) == ClassScore(0)
    assert parse_target(Region("dog", "peak"), LABELS) == Region(1, "peak")
    assert parse_target(Region("dog", ClassScore("cat")), LABELS) == Region(1, ClassScore(2))


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (Region(1), "dog where predicted"),
        (Region("dog", "peak"), "dog at its peak"),
        (Region(1, (3, 4.25)), "dog at (3, 4.25)"),
        (Region(1, (3, 4, 5, 6)), "dog in box (3, 4, 5, 6)"),
        (Region(1, ClassScore(2)), "dog where cat"),
        (Region(7, np.eye(2, dtype=bool)), "class 7 in the mask (50%)"),
        (Probability(Region(1), sigmoid=True), "sigmoid of dog where predicted"),
        (Region(1, np.eye(200, dtype=bool)), "dog in the mask (0.50%)"),
    ],
)
def test_words(target: Region, words: str) -> None:
    assert target.describe(LABELS) == words


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (lambda: Region(1, (1, 2, 3)), "x, y, or a box"),
        (lambda: Region(1, (3, 1, 2, 2)), "x1 < x2"),
        (lambda: Region(1, (math.nan, 1)), "x, y, or a box"),
        (lambda: Region(1, "here"), "not 'here'"),
        (lambda: Region(1, np.zeros((2, 2), bool)), "empty"),
        (lambda: Region(1, np.zeros((2, 2))), "boolean array .* not float64 of shape"),
        (lambda: Mask((2, 2), (1, 2)), "do not add up"),
        (lambda: Region(1)(MAPS), "call resolve"),
        (lambda: Region(3, (0, 0))(MAPS), "class 3 is out of range"),
        (lambda: Region("dog", (0, 0))(MAPS), "still a name"),
        (lambda: Region(1, (2, 0))(MAPS), r"\(2, 0\) contains no position .* 2 columns and 2 rows"),
        (lambda: Region(1, np.ones(3, bool))(MAPS), "the mask has the size"),
        (lambda: Region(1, (0, 0))(MAPS[0]), "two axes"),
        (lambda: Region(0, (0, 0))(MAPS[0, 0]), "a region is a part of a map"),
        (lambda: resolve("dog@x,y", MAPS, LABELS), "no class is called 'x,y'"),
        (lambda: resolve("dog@1,2e", MAPS, LABELS), "'2e' .* is not a number"),
        (lambda: resolve("p:dog@1,2 vs top2", MAPS, LABELS), "several targets"),
        (lambda: resolve("output:1@0,0", MAPS, LABELS), "no output number"),
        (lambda: resolve("positive@0,0", MAPS, LABELS), "no class before the '@'"),
        (
            lambda: resolve("dog", MAPS, LABELS[:2]),
            "2 labels were given, but the network has 3 classes",
        ),
        (lambda: resolve("top4", MAPS, LABELS), "sees 3 classes in this image"),
        (
            lambda: resolve("finer:dog", MAPS, LABELS),
            "finer compares a class|function of the output",
        ),
        (lambda: Region(1, "peak").settled(MAPS[..., 0]), "two axes"),
    ],
)
def test_what_does_not_fit_says_so(target: object, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        target()  # type: ignore[operator]


def test_a_class_that_is_predicted_nowhere_names_those_that_are() -> None:
    maps = MAPS.clone()
    maps[0, 1] = -9
    found = r"as 'dog', only background, cat\. Ask for.*CLASS@x,y"
    with pytest.raises(TargetError, match=found):
        resolve("dog", maps, LABELS)
    assert float(resolve("dog@0,0", maps, LABELS).targets[0][0](maps)) == -9
