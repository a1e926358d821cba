"""Cosines of embeddings, and one class of several labels an image."""

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
    Binary,
    BoxScore,
    ClassScore,
    Finer,
    Predicted,
    Probability,
    Regression,
    Similarity,
    Token,
    of_probability,
    parse_target,
    resolve,
    target_from_json,
)

vectors = arrays.arrays(np.float64, 4, elements=st.floats(-3, 3)).filter(
    lambda v: np.linalg.norm(v) > 0.1
)


@settings(deadline=None)
@given(vectors, vectors, st.floats(0.1, 10))
def test_the_cosine_of_two_embeddings(own: np.ndarray, other: np.ndarray, scale: float) -> None:
    expected = own @ other / np.linalg.norm(own) / np.linalg.norm(other)
    outputs = torch.from_numpy(own)[None]
    assert float(Similarity(other)(outputs)) == pytest.approx(expected, abs=1e-9)
    assert float(Similarity(scale * other)(outputs)) == pytest.approx(expected, abs=1e-9)
    assert float(Similarity(own)(outputs)) == pytest.approx(1)
    again = target_from_json(json.loads(json.dumps(Similarity(other, "a cat").to_json())))
    assert again == Similarity(other)
    assert str(again) == "similarity to a cat"


def test_its_gradient_turns_the_embedding_and_never_lengthens_it() -> None:
    own = torch.tensor([[3.0, 4.0]], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(Similarity((1, 0))(own).sum(), own)
    assert gradient.tolist()[0] == pytest.approx([16 / 125, -12 / 125])
    assert float((gradient * own.detach()).sum()) == pytest.approx(0, abs=1e-12)


def test_pooled_maps_are_embeddings_too() -> None:
    assert float(Similarity(torch.tensor([[0.0, 2.0]]))(torch.tensor([[[[0.0]], [[3.0]]]]))) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Similarity((0, 0)), "not zero"),
        (lambda: Similarity(torch.ones(2, 2)), r"shape \(2, 2\)"),
        (lambda: Similarity(3.0), r"shape \(\)"),
        (lambda: Similarity((1, math.nan)), "NaN"),
        (lambda: Similarity((1, 2))(torch.zeros(1, 3)), r"has 2 numbers, .* \(3,\) per image"),
        (lambda: resolve(Similarity((1, 2)), torch.zeros(1, 3)), "output="),
    ],
)
def test_what_does_not_fit_says_so(make: object, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        make()  # type: ignore[operator]


# --- Several labels an image ----------------------------------------------------------------------


def test_the_sigmoid_looks_at_its_own_logit_alone() -> None:
    logits = torch.tensor([[2.0, -1.0, 0.5]], requires_grad=True)
    target = parse_target("sigmoid:1")
    assert target == Probability(1, sigmoid=True)
    p = 1 / (1 + math.e)
    assert float(target(logits.detach())) == pytest.approx(p)
    (gradient,) = torch.autograd.grad(target(logits).sum(), logits)
    assert gradient[0].tolist() == pytest.approx([0, p * (1 - p), 0])
    assert target_from_json(json.loads(json.dumps(target.to_json()))) == target
    assert str(target) == "sigmoid of class 1"
    assert Probability(1) != target
    ((settled,),) = resolve("sigmoid:predicted", logits.detach(), ("a", "b", "c")).targets
    assert settled == Probability(0, sigmoid=True)
    assert str(settled) == "sigmoid of a"


def test_both_are_the_same_for_a_side() -> None:
    logits = torch.tensor([1.5, -2.0])
    for side in (True, False):
        alone = Probability(Binary(side), sigmoid=True)(logits)
        assert torch.equal(alone, Probability(Binary(side))(logits))


def test_which_questions_can_be_asked_of_probabilities() -> None:
    assert of_probability(ClassScore(1)) == Probability(1)
    assert of_probability(Probability(1, True)) == Probability(1, True)
    assert of_probability(Finer(0, [1])) == Finer(Probability(0), [Probability(1)])
    assert of_probability(Predicted()) == Probability(Predicted())
    assert of_probability(Similarity((1, 2))) == Similarity((1, 2))
    assert of_probability(BoxScore(0, (0, 0, 1, 1))) == BoxScore(0, (0, 0, 1, 1))
    assert of_probability(Token(1)) == Probability(Token(1))
    assert of_probability(Regression(0)) is None
    assert of_probability(ClassScore(0) + 1) is None
