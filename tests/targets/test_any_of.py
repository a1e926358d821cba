"""Several classes as one target."""

from __future__ import annotations

import pytest
import torch

import seewhy
from seewhy.errors import TargetError
from seewhy.targets import (
    AnyOf,
    ClassScore,
    Probability,
    Several,
    parse_target,
    resolve,
    target_from_json,
)

LABELS = ("tabby, tabby cat", "tiger cat", "lynx, catamount", "dog", "Persian cat")
LOGITS = torch.tensor([[2.0, 1.0, -1.0, 0.5, 0.0], [50.0, -3.0, 4.0, 60.0, 1.0]])
CATS = (0, 1, 4)


def test_its_probability_is_the_sum_of_theirs_and_its_score_their_log_sum():
    target = parse_target("any:cat", LABELS)
    assert target == AnyOf(CATS)
    own = LOGITS[:, list(CATS)].double()
    torch.testing.assert_close(target(LOGITS).double(), own.exp().sum(1).log())
    wanted = LOGITS.double().softmax(1)[:, list(CATS)].sum(1)
    torch.testing.assert_close(Probability(target)(LOGITS).double(), wanted, rtol=1e-6, atol=0)


def test_the_classes_share_the_gradient_as_their_probabilities_are():
    logits = LOGITS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(AnyOf(CATS)(logits).sum(), logits)
    shares = LOGITS[:, list(CATS)].softmax(1)
    torch.testing.assert_close(gradient[:, list(CATS)], shares)
    assert not gradient[:, [2, 3]].any()


def test_it_is_read_said_and_saved():
    assert parse_target("any:cat", LABELS).describe(LABELS) == "any cat (3 classes)"
    numbered = parse_target("any: 0, 3", LABELS)
    assert numbered.describe(LABELS) == "any of tabby, dog"
    assert numbered.describe() == "any of class 0, class 3"
    assert target_from_json((AnyOf(CATS) * 2).to_json()) == AnyOf(CATS) * 2
    assert parse_target("any:dog", LABELS) == ClassScore(3)  # the one that there is
    assert parse_target("0, 3", LABELS) == Several(ClassScore(0), ClassScore(3))
    assert parse_target("p:any:cat vs p:dog", LABELS)(LOGITS)[0] > 0


def test_a_name_that_fits_several_says_how_to_ask_for_them():
    with pytest.raises(
        TargetError, match=r"matches 3 classes: .*'any:cat' for any of them, or sev"
    ):
        parse_target("cat", LABELS)


@pytest.mark.parametrize("words", ["any:horse", "any:"])
def test_no_class_is_no_target(words: str):
    with pytest.raises(TargetError):
        parse_target(words, LABELS)


def test_one_class_or_one_too_many_is_refused():
    with pytest.raises(TargetError, match="at least two classes"):
        AnyOf([3, 3])
    with pytest.raises(TargetError, match="5"):
        AnyOf([0, 9])(LOGITS)
    with pytest.raises(TargetError, match="independent sigmoids"):
        Probability(AnyOf(CATS), sigmoid=True)(LOGITS)


def test_behind_a_softmax_probabilities_are_added():
    resolved = resolve(AnyOf(CATS), LOGITS.softmax(1), ending="softmax").targets[0][0]
    wanted = LOGITS.softmax(1)[:, list(CATS)].sum(1)
    torch.testing.assert_close(resolved(LOGITS.softmax(1)), wanted)


def test_all_classes_are_certain():
    assert Probability(AnyOf(range(5)))(LOGITS).tolist() == [1.0, 1.0]


def test_it_is_explained():
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(), torch.nn.Linear(4, 5),
    ).eval()  # fmt: skip
    maps = seewhy.attribute(model, torch.rand(2, 3, 9, 9), "any:1,2", layer="1")
    assert maps.shape == (2, 7, 7)


def test_what_is_for_printing_alone_makes_no_other_target():
    assert AnyOf(CATS, "cat") == AnyOf(CATS, "animal", "softmax")
    assert repr(AnyOf(CATS, "cat")) == "AnyOf(classes=(0, 1, 4), name='cat')"
    assert Probability(AnyOf(CATS))(LOGITS).shape == (2,)
