"""What is being explained: values, gradients, words, parsing, resolution and saving of targets."""

from __future__ import annotations

import dataclasses
import json
import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from seewhy.errors import TargetError
from seewhy.targets import (
    Binary,
    Choice,
    ClassScore,
    Contrast,
    Counterfactual,
    Finer,
    Function,
    PerImage,
    Predicted,
    Probability,
    Product,
    Regression,
    Several,
    Sum,
    Target,
    TopK,
    find_class,
    looks_like_probabilities,
    parse_target,
    predictions,
    probability_of,
    resolve,
    target_from_json,
)

LABELS = ("tabby, tabby cat", "tiger cat", "Egyptian cat", "lynx, catamount", "beagle")
CLASSES = len(LABELS)


def gradient(target: Target, outputs: Tensor) -> Tensor:
    outputs = outputs.detach().clone().requires_grad_()
    return torch.autograd.grad(target(outputs).sum(), outputs)[0]


def softmax_gradient(logits: Tensor, index: int) -> Tensor:
    """p_c (δ − p) in float64, with 1 − p_c as the sum of the others so that nothing cancels."""
    p = logits.double().softmax(1)
    own = p[:, index, None]
    expected = -own * p
    others = p.clone()
    others[:, index] = 0
    expected[:, index] = own[:, 0] * others.sum(1)
    return expected


# --- Strategies ---------------------------------------------------------------------------------

indices = st.integers(0, CLASSES - 1)
class_scores = st.builds(ClassScore, indices, st.none() | st.sampled_from(LABELS))
plain = class_scores | st.builds(Regression, indices) | st.builds(Probability, class_scores)
finer = st.builds(
    lambda index, count, gamma: Finer(
        index, [(index + step) % CLASSES for step in range(1, 1 + count)], gamma
    ),
    indices,
    st.integers(1, CLASSES - 1),
    st.floats(0, 2),
)
factors = st.floats(-3, 3).map(lambda number: round(number, 2))
concrete = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.builds(Contrast, inner, inner),
        st.builds(Counterfactual, inner),
        finer,
        st.builds(Sum, inner, inner | factors),
        st.builds(Product, inner, inner),
        st.builds(Product, factors, inner),
    ),
    max_leaves=4,
)
predicted = st.builds(Predicted, indices)
unsettled = (
    predicted
    | st.builds(Probability, predicted)
    | st.builds(Finer, predicted | class_scores, st.integers(1, CLASSES))
)
choices = st.recursive(
    concrete | unsettled | st.builds(TopK, st.integers(1, CLASSES)),
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(lambda some: Several(*some)),
    max_leaves=4,
)
# Distinct and apart, so that finite differences do not cross a tie.
logit_rows = st.lists(st.floats(-4, 4), min_size=CLASSES, max_size=CLASSES)


# --- Values and gradients -----------------------------------------------------------------------


def test_each_target_reads_its_number() -> None:
    outputs = torch.tensor([[1.0, 2.0, 4.0], [0.0, -1.0, 3.0]])
    assert ClassScore(2)(outputs).tolist() == [4, 3]
    assert Regression(1)(outputs).tolist() == [2, -1]
    assert Contrast(2, 0)(outputs).tolist() == [3, 3]
    assert Counterfactual(2)(outputs).tolist() == [-4, -3]
    assert Probability(2)(outputs).tolist() == pytest.approx(outputs.softmax(1)[:, 2].tolist())
    assert Function(lambda z: z.amax(1) - z.amin(1))(outputs).tolist() == [3, 4]
    assert (2 * ClassScore(0) - ClassScore(1) * ClassScore(2) + 1)(outputs).tolist() == [-5, 4]


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_one_number_models_have_two_sides_and_a_value(shape: tuple[int, ...]) -> None:
    outputs = torch.tensor([2.0, -1.0, 0.0]).reshape(shape)
    assert Binary(True)(outputs).tolist() == [2, -1, 0]
    assert Binary(False)(outputs).tolist() == [-2, 1, 0]
    assert Regression()(outputs).tolist() == [2, -1, 0]
    for side in (True, False):
        sign = 1 if side else -1
        expected = (sign * outputs.double()).sigmoid().flatten().tolist()
        assert Probability(Binary(side))(outputs).tolist() == pytest.approx(expected)


@settings(max_examples=60, deadline=None)
@given(concrete, logit_rows)
def test_gradients_agree_with_finite_differences(target: Target, row: list[float]) -> None:
    outputs = torch.tensor([row], dtype=torch.float64)
    step = 1e-5
    moved = outputs + step * torch.eye(CLASSES, dtype=torch.float64)
    back = outputs - step * torch.eye(CLASSES, dtype=torch.float64)
    numeric = (target(moved) - target(back)) / (2 * step)
    graph = outputs.clone().requires_grad_()
    score = target(graph)
    exact = torch.autograd.grad(score.sum(), graph)[0][0]
    scale = max(1.0, float(exact.abs().max()), float(score.detach().abs().max()))
    assert torch.allclose(numeric, exact, atol=1e-6 * scale, rtol=1e-6)


@settings(max_examples=60, deadline=None)
@given(concrete, concrete, factors, factors, logit_rows)
def test_operators_are_linear(a: Target, b: Target, x: float, y: float, row: list[float]) -> None:
    outputs = torch.tensor([row], dtype=torch.float64)
    assert torch.allclose((x * a + b * y)(outputs), x * a(outputs) + y * b(outputs))
    assert torch.allclose(
        gradient(x * a + b * y, outputs), x * gradient(a, outputs) + y * gradient(b, outputs)
    )
    assert torch.equal((x - a)(outputs), x - a(outputs))
    assert torch.equal((a + x)(outputs), (x + a)(outputs))
    assert torch.equal((-a)(outputs), Counterfactual(a)(outputs))
    assert torch.equal((a - b)(outputs), Contrast(a, b)(outputs))
    assert torch.equal((a * b)(outputs), a(outputs) * b(outputs))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("target", [ClassScore(1), Probability(1), Contrast(0, 1), Regression(1)])
def test_scores_are_float32_at_least(dtype: torch.dtype, target: Target) -> None:
    outputs = torch.randn(2, 3).to(dtype)
    wanted = torch.float64 if dtype == torch.float64 else torch.float32
    assert target(outputs).dtype == wanted
    assert gradient(target, outputs).dtype == dtype
    assert Function(lambda z: z[:, 0])(outputs).dtype == wanted


# --- Probabilities at the ends ------------------------------------------------------------------


@pytest.mark.parametrize("rest", [1e-3, 1e-7, 1e-10, 1e-20, 1e-30])
def test_a_saturated_probability_keeps_its_gradient_in_float32(rest: float) -> None:
    z = math.log(1000 / rest)  # p = 1 − rest, nearly, among 1000 others
    logits = torch.randn(2, 1001)
    logits[:, 7] = logits[:, 7] * 0 + z
    exact = softmax_gradient(logits, 7)
    ours = gradient(Probability(7), logits)
    assert ours.dtype == torch.float32
    assert ((ours.double() - exact).abs() <= 1e-5 * exact.abs()).all()
    naive = gradient(Function(lambda z: z.softmax(1)[:, 7]), logits).double()[:, 7]
    if rest <= 1e-10:  # what this is for: the usual way the class's own gradient is 0 or noise
        assert ((naive - exact[:, 7]).abs() > 0.5 * exact[:, 7]).all()


@pytest.mark.parametrize("p", [1e-3, 1e-10, 1e-20, 1e-30])
def test_a_tiny_probability_keeps_its_gradient_in_float32(p: float) -> None:
    logits = torch.randn(2, 50)
    logits[:, 3] = math.log(p) + 4
    exact = softmax_gradient(logits, 3)
    ours = gradient(Probability(3), logits).double()
    # Below float32's smallest normal number (1.2e-38) nothing can be held to a relative error.
    assert ((ours - exact).abs() <= 1e-5 * exact.abs() + 1e-37).all()


@given(st.floats(-80, 80), st.booleans())
def test_the_probability_of_a_side_keeps_its_gradient_in_float32(z: float, side: bool) -> None:
    logit = torch.tensor([[z]])
    exact = (logit.double()).sigmoid() * (-logit.double()).sigmoid() * (1 if side else -1)
    assert torch.allclose(gradient(Probability(Binary(side)), logit).double(), exact, rtol=1e-5)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-90, 90, width=32), min_size=2, max_size=6), st.data())
def test_the_probability_gradient_is_the_closed_form(row: list[float], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(row) - 1))
    logits = torch.tensor([row])
    exact = softmax_gradient(logits, index)
    ours = gradient(Probability(index), logits).double()
    assert ((ours - exact).abs() <= 1e-5 * exact.abs() + 1e-37).all()


def test_minus_infinity_is_a_class_ruled_out() -> None:
    ruled_out = torch.tensor([[1.0, -math.inf, 2.0]])
    assert Probability(0)(ruled_out).item() == pytest.approx(1 / (1 + math.e))
    expected = gradient(Probability(0), ruled_out[:, [0, 2]])
    assert gradient(Probability(0), ruled_out)[:, [0, 2]].allclose(expected)
    assert gradient(Probability(0), ruled_out)[0, 1] == 0
    assert Probability(1)(ruled_out).item() == 0
    assert gradient(Probability(1), ruled_out).tolist() == [[0, 0, 0]]
    assert Probability(0)(torch.tensor([[1.0, -math.inf]])).item() == 1


def test_plus_infinity_has_no_probability() -> None:
    with pytest.raises(TargetError, match=r"contains \+inf.*float32"):
        Probability(0)(torch.tensor([[math.inf, 0.0]]))


# --- What does not fit --------------------------------------------------------------------------


@pytest.mark.parametrize("target", [ClassScore(0), Regression(), Binary(), Probability(0)])
def test_dense_outputs_want_a_function(target: Target) -> None:
    dense = torch.zeros(2, 21, 8, 8)
    with pytest.raises(TargetError, match=r"\(2, 21, 8, 8\).*function of the output"):
        target(dense)
    if isinstance(target, Regression | Binary):
        with pytest.raises(TargetError, match="function of the output"):
            resolve(target, dense)


def test_a_function_reads_dense_outputs() -> None:
    dense = torch.randn(2, 21, 8, 8)
    target = resolve(lambda z: z[:, 12].mean((1, 2)), dense).targets[1][0]
    assert torch.equal(target(dense), dense[:, 12].mean((1, 2)))


@pytest.mark.parametrize("target", [ClassScore(5), Regression(5), Probability(5), Contrast(0, 5)])
def test_an_index_out_of_range_says_how_many_there_are(target: Target) -> None:
    for ask in (lambda: target(torch.zeros(1, 5)), lambda: resolve(target, torch.zeros(1, 5))):
        with pytest.raises(TargetError, match=r"5 is out of range: the network (has|returns) 5"):
            ask()


@pytest.mark.parametrize("index", [True, -1, 2.0, None, np.bool_(True), [1]])
def test_an_index_is_a_whole_number_from_zero(index: object) -> None:
    for kind in (ClassScore, Regression, Predicted, TopK, Probability, Counterfactual):
        with pytest.raises(TargetError):
            kind(index)


def test_a_side_of_a_two_logit_model_is_a_class() -> None:
    with pytest.raises(TargetError, match=r"returns 2.*ClassScore\(1\)"):
        Binary()(torch.zeros(3, 2))
    with pytest.raises(TargetError, match=r"ClassScore\(1\)"):
        resolve("positive", torch.zeros(3, 2))


def test_a_class_of_a_one_number_model_is_ambiguous() -> None:
    for target in (None, 0, "top1", Probability(0), Contrast(Predicted(), 3)):
        with pytest.raises(TargetError, match=r"one number per image\. Use target='positive'"):
            resolve(target, torch.zeros(2, 1))
    with pytest.raises(TargetError, match="one number per image"):
        ClassScore(0)(torch.zeros(2))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"references": "lynx"}, "must be the number .* not 'lynx'"),
        ({"references": ()}, "at least one"),
        ({"references": (1, 1)}, "must differ from the class"),
        ({"references": (0, 1)}, "must differ from the class"),
        ({"references": -1}, "at least 0"),
        ({"gamma": -0.5}, "at least 0"),
        ({"gamma": math.inf}, "at least 0"),
        ({"gamma": "much"}, "at least 0"),
    ],
)
def test_a_finer_target_that_makes_no_sense_says_why(asked: dict, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        Finer(0, **asked)


def test_a_finer_target_needs_classes_to_be_near_to() -> None:
    with pytest.raises(TargetError, match=r"call resolve\(\) first"):
        Finer(0)(torch.zeros(1, 3))
    with pytest.raises(TargetError, match="logit of class 1 is nan"):
        resolve("finer:1", torch.tensor([[1.0, math.nan, 2.0]]))
    with pytest.raises(TargetError, match="no other class to compare class 0"):
        resolve("finer:0", torch.tensor([[1.0, -math.inf, -math.inf]]))
    with pytest.raises(TargetError, match="only one other side"):
        resolve("finer:cat", torch.zeros(2, 1), ("cat", "dog"))
    ruled_out = torch.tensor([[1.0, -math.inf, 9.0]])
    assert resolve("finer:0", ruled_out).targets == ((Finer(0, (2,)),),)


def test_a_probability_belongs_to_a_class() -> None:
    for of in (Regression(), Contrast(0, 1), Function(lambda z: z[:, 0]), Probability(1)):
        with pytest.raises(TargetError, match=r"only a class.* has a probability"):
            Probability(of)


def test_open_targets_are_not_called() -> None:
    with pytest.raises(TargetError, match="resolve"):
        Predicted()(torch.zeros(1, 3))
    with pytest.raises(TargetError, match="still a name"):
        ClassScore("tabby")(torch.zeros(1, 3))


@pytest.mark.parametrize(
    "function",
    [lambda z: z.sum(), lambda z: z, lambda z: z[:1, 0], lambda z: 3.0, lambda z: z[:, :1]],
)
def test_a_function_gives_one_number_an_image(function: object) -> None:
    with pytest.raises(TargetError, match=r"one number per image.*\(4,\)"):
        parse_target(function)(torch.randn(4, 3))


@pytest.mark.parametrize(
    "function",
    [lambda z: z.detach()[:, 0], lambda z: z.argmax(1), lambda z: torch.zeros(len(z))],
)
def test_a_function_is_connected_to_the_output(function: object) -> None:
    with pytest.raises(TargetError, match="without a gradient"):
        parse_target(function)(torch.randn(4, 3, requires_grad=True))


def test_a_function_needs_no_gradient_where_none_is_taken() -> None:
    outputs = torch.randn(4, 3, requires_grad=True)
    with torch.no_grad():
        assert Function(lambda z: z[:, 0])(outputs).shape == (4,)


@pytest.mark.parametrize("outputs", [torch.zeros(2, 3).long(), torch.tensor(1.0), [1.0]])
def test_outputs_are_float_tensors(outputs: object) -> None:
    with pytest.raises(TargetError, match=r"the network's output (is|must be)"):
        ClassScore(0)(outputs)  # type: ignore[arg-type]


@pytest.mark.parametrize("other", [math.inf, math.nan])
def test_targets_combine_with_finite_numbers(other: float) -> None:
    with pytest.raises(TargetError, match="finite"):
        ClassScore(0) * other


@pytest.mark.parametrize("other", ["2", None, True, TopK(2), torch.ones(2)])
def test_targets_combine_with_nothing_else(other: object) -> None:
    with pytest.raises(TypeError):
        ClassScore(0) + other  # type: ignore[operator]
    with pytest.raises(TypeError):
        other * ClassScore(0)  # type: ignore[operator]
    with pytest.raises(TargetError):
        Sum(ClassScore(0), other)  # type: ignore[arg-type]


def test_numpy_numbers_combine_from_both_sides() -> None:
    a = ClassScore(0)
    assert np.float32(0.5) * a == 0.5 * a
    assert a - np.uint8(3) == a - 3
    assert sum([a, ClassScore(1)]) == 0 + a + ClassScore(1)


# --- Values: words, equality ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "words", "with_labels"),
    [
        (ClassScore(0), "class 0", "tabby"),
        (ClassScore(99, "snail, garden snail"), "snail", "snail"),
        (ClassScore("tabby"), "tabby", "tabby"),
        (Contrast(0, 2), "class 0 rather than class 2", "tabby rather than Egyptian cat"),
        (Counterfactual(0), "against class 0", "against tabby"),
        (Probability(0), "probability of class 0", "probability of tabby"),
        (Regression(), "output 0", "output 0"),
        (Binary(True), "positive", "positive"),
        (Binary(False), "negative", "negative"),
        (Function(torch.sum, "area"), "area", "area"),
        (Predicted(), "predicted class", "predicted class"),
        (Predicted(1), "class ranked 2", "class ranked 2"),
        (TopK(5), "top 5 classes", "top 5 classes"),
        (Several(0, TopK(2)), "class 0; top 2 classes", "tabby; top 2 classes"),
        (-ClassScore(0), "−class 0", "−tabby"),
        (ClassScore(0) - ClassScore(3), "class 0 − class 3", "tabby − lynx"),
        (ClassScore(0) + 2 * ClassScore(3), "class 0 + (2 × class 3)", "tabby + (2 × lynx)"),
        (2 * (ClassScore(0) + 1), "2 × (class 0 + 1)", "2 × (tabby + 1)"),
        (ClassScore(0) - 1.5, "class 0 − 1.5", "tabby − 1.5"),
        (
            Counterfactual(Contrast(0, 3)),
            "against (class 0 rather than class 3)",
            "against (tabby rather than lynx)",
        ),
        (
            Finer(0),
            "class 0 − 0.6 × mean(3 nearest classes)",
            "tabby − 0.6 × mean(3 nearest classes)",
        ),
        (
            Counterfactual(Finer(0, (3, 4), 1)),
            "against (class 0 − 1 × mean(class 3, class 4))",
            "against (tabby − 1 × mean(lynx, beagle))",
        ),
    ],
)
def test_a_target_prints_in_words(target: Choice, words: str, with_labels: str) -> None:
    assert str(target) == words
    assert target.describe(LABELS) == with_labels


def test_the_sides_print_as_two_labels() -> None:
    assert Binary(True).describe(("cat", "dog, hound")) == "dog"
    assert Binary(False).describe(("cat", "dog, hound")) == "cat"


@given(choices)
def test_repr_is_a_constructor_and_equality_is_structural(choice: Choice) -> None:
    again = eval(repr(choice))
    assert again == choice
    assert hash(again) == hash(choice)
    assert repr(again) == repr(choice)


def test_targets_differ_by_kind_and_parts_but_not_by_label() -> None:
    assert ClassScore(1) != Regression(1)
    assert Contrast(1, 2) != Contrast(2, 1)
    assert ClassScore(1, "a") == ClassScore(1, "b")
    with pytest.raises(dataclasses.FrozenInstanceError):
        ClassScore(1).index = 2  # type: ignore[misc]


# --- Parsing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "target"),
    [
        (None, Predicted()),
        (3, ClassScore(3)),
        (np.int64(3), ClassScore(3)),
        (np.array(3), ClassScore(3)),
        (torch.tensor(3), ClassScore(3)),
        ("3", ClassScore(3)),
        (" Predicted ", Predicted()),
        ("top5", TopK(5)),
        ("TOP1", TopK(1)),
        ("tabby", ClassScore(0)),
        ("tabby, tabby cat", ClassScore(0)),
        ("EGYPTIAN_cat", ClassScore(2)),
        ("egyptian", ClassScore(2)),
        ("class:Lynx", ClassScore(3)),
        ("probability:lynx", Probability(3)),
        ("p:3", Probability(3)),
        ("p:predicted", Probability(Predicted())),
        ("p:positive", Probability(Binary(True))),
        ("against:tabby", Counterfactual(0)),
        ("tabby vs egyptian cat", Contrast(0, 2)),
        ("predicted VS. 3", Contrast(Predicted(), 3)),
        ("p:tabby vs p:lynx", Contrast(Probability(0), Probability(3))),
        ("against:tabby vs lynx", Counterfactual(Contrast(0, 3))),
        ("finer:tabby", Finer(0, 3, 0.6)),
        ("Finer5:predicted", Finer(Predicted(), 5)),
        ("finer:p:3", Finer(Probability(3))),
        ("against:finer:tabby", Counterfactual(Finer(0))),
        ("finer:tabby vs finer:lynx", Contrast(Finer(0), Finer(3))),
        (Finer("tabby", ["lynx", 4], 1), Finer(0, (3, 4), 1)),
        ("output:2", Regression(2)),
        ("positive", Binary(True)),
        ("Negative", Binary(False)),
        (("tabby", 3, None), Several(0, 3, Predicted())),
        (["tabby", 3, None], PerImage(0, 3, Predicted())),
        ([("tabby", 3), "top2"], PerImage(Several(0, 3), TopK(2))),
        (torch.tensor([1, 2]), PerImage(1, 2)),
        (np.array([1, 2]), PerImage(1, 2)),
        (Contrast("tabby", Predicted()), Contrast(0, Predicted())),
        (Several("lynx", TopK(2)), Several(3, TopK(2))),
        (ClassScore("lynx") * 2 + 1, ClassScore(3) * 2 + 1),
    ],
)
def test_a_target_is_read_as_people_write_it(spec: object, target: Choice) -> None:
    assert parse_target(spec, LABELS) == target


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (True, "whole number"),
        (torch.tensor(True), "whole number"),
        (2.0, "whole number"),
        ("-1", "at least 0, not -1"),
        ("top0", "top1 or more"),
        ("", "class name is empty"),
        ("p:", "class name is empty"),
        ("p:top5", "several targets"),
        ("finer:top5", "several targets"),
        ("finer0:tabby", "at least one similar class"),
        ("finer:output:0", "compares a class with other"),
        ("finer:positive", "only one other side"),
        (Finer("tabby", ("lynx", 0)), "must differ from the class"),
        ("top2 vs tabby", "several targets"),
        ("tabby vs lynx vs beagle", "more than two sides"),
        ("output:x", "output:0"),
        ("output:-1", "output:0"),
        ("p:output:0", "only a class.* has a probability"),
        ((), "at least one"),
        ([[1, 2], [3, 4]], "is inside a tuple"),
        (torch.tensor([[1, 2]]), "one axis of integers"),
        (torch.tensor([0.5, 2.0]), "one axis of integers"),
        (np.array([True]), "one axis of integers"),
        ("cat", r"'cat' matches 3 classes: 0 \(tabby, tabby cat\), 1 \(tiger cat\), 2"),
        ("tabyb", r"did you mean 'tabby' \(0\)"),
        ("class:top5", "no class is called 'top5'"),
        (
            "tabby,lynx",
            r"each of its 2 parts is a class.*repeat --target \(target=\('tabby', 'lynx'\)\)",
        ),
        ("zzzz", "5 labels begin with 'tabby, tabby cat'"),
    ],
)
def test_what_names_no_target_says_why(spec: object, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        parse_target(spec, LABELS)


def test_names_need_labels() -> None:
    for spec in ("tabby", ClassScore("tabby"), Contrast(1, "tabby"), ["tabby"]):
        with pytest.raises(TargetError, match="Give labels, or the index of the class"):
            parse_target(spec)


def test_keywords_win_over_labels_unless_a_class_is_asked_for() -> None:
    labels = ("positive", "top5", "281", "good vs evil", "p:x")
    assert parse_target("positive", labels) == Binary(True)
    assert parse_target("281", labels) == ClassScore(281)
    for index, label in enumerate(labels):
        assert parse_target(f"class:{label}", labels) == ClassScore(index)
    assert parse_target("class:positive vs class:281", labels) == Contrast(0, 2)


def test_a_function_keeps_its_name() -> None:
    def spread(outputs: Tensor) -> Tensor:
        return outputs.std(1)

    assert parse_target(spread) == Function(spread, "spread")
    assert str(parse_target(lambda z: z[:, 0])) == "function of the output"
    assert str(parse_target(torch.nn.Flatten(0))) == "Flatten"


def test_many_matches_are_listed_up_to_eight() -> None:
    with pytest.raises(
        TargetError, match=r"matches 12 classes: 0 \(red 0\).* 7 \(red 7\) and 4 more"
    ):
        find_class("red", [f"red {i}" for i in range(12)])


def test_whole_words_only() -> None:
    assert find_class("cat", ["catamaran", "big cat", "dog"]) == 1


def test_every_imagenet_label_finds_its_class_or_lists_the_duplicates() -> None:
    timm_data = pytest.importorskip("timm.data")
    imagenet = timm_data.ImageNetInfo()
    labels = [imagenet.index_to_description(index) for index in range(imagenet.num_classes())]
    ambiguous = {}
    for index, label in enumerate(labels):
        try:
            found = parse_target(label, labels)
        except TargetError as error:
            ambiguous[index] = str(error)
        else:
            assert found == ClassScore(index)
            assert found.label == label
    # Seven labels are also a name of another class: two cranes, the bird and the machine, ...
    assert {index: labels[index] for index in ambiguous} == {
        86: "partridge",
        134: "crane",
        474: "cardigan",
        517: "crane",
        594: "harp",
        638: "maillot",
        657: "missile",
    }
    assert ambiguous[134] == ambiguous[517]
    assert "matches 2 classes: 134 (crane), 517 (crane). Give the index" in ambiguous[134]
    assert "264 (Cardigan, Cardigan Welsh corgi), 474 (cardigan)" in ambiguous[474]


# --- Resolution ---------------------------------------------------------------------------------

OUTPUTS = torch.tensor([[0.0, 3.0, 2.0, 1.0, -1.0], [5.0, 1.0, 1.0, 0.0, 7.0]])


def test_predicted_and_top_classes_differ_by_image() -> None:
    resolved = resolve(None, OUTPUTS, LABELS)
    assert resolved.targets == ((ClassScore(1),), (ClassScore(4),))
    assert not resolved.several
    assert [str(each) for (each,) in resolved.targets] == ["tiger cat", "beagle"]
    top = resolve("top3", OUTPUTS)
    assert top.several
    assert top.targets == (
        (ClassScore(1), ClassScore(2), ClassScore(3)),
        (ClassScore(4), ClassScore(0), ClassScore(1)),  # equal scores: the lower index first
    )
    assert resolve(Predicted(1), OUTPUTS).targets == ((ClassScore(2),), (ClassScore(0),))


def test_the_similar_classes_are_those_with_the_nearest_logits_of_each_image() -> None:
    for count in (1, 2, 3, 9):
        resolved = resolve(f"finer{count}:0", OUTPUTS, LABELS)
        for row, (target,) in zip(OUTPUTS.tolist(), resolved.targets, strict=True):
            nearest = sorted(range(1, CLASSES), key=lambda i, row=row: (abs(row[i] - row[0]), i))
            assert target == Finer(0, tuple(nearest[:count]))
            mean = sum(row[i] for i in nearest[:count]) / len(nearest[:count])
            assert float(target(torch.tensor([row]))) == pytest.approx(row[0] - 0.6 * mean)
    (first,), (second,) = resolve("finer2:predicted", OUTPUTS, LABELS).targets
    assert str(first) == "tiger cat − 0.6 × mean(Egyptian cat, lynx)"
    assert str(second) == "beagle − 0.6 × mean(tabby, tiger cat)"
    ((of_chances,), _) = resolve("finer2:p:predicted", OUTPUTS).targets
    assert (
        of_chances
        == first.of_probabilities()
        == Finer(Probability(1), (Probability(2), Probability(3)))
    )


def test_a_finer_target_with_gamma_0_is_the_class() -> None:
    outputs = OUTPUTS.double()
    for (target,) in resolve(Finer(Predicted(), gamma=0), outputs).targets:
        assert isinstance(target, Finer)
        assert torch.equal(target(outputs), target.of(outputs))
        assert torch.equal(gradient(target, outputs), gradient(target.of, outputs))


def test_open_classes_are_settled_at_any_depth() -> None:
    target = Contrast(Predicted(), "lynx") + 2 * Probability(Counterfactual(Predicted(1)).of)
    assert resolve(target, OUTPUTS, LABELS).targets == (
        (Contrast(1, 3) + 2 * Probability(2),),
        (Contrast(4, 3) + 2 * Probability(0),),
    )


def test_a_tuple_is_for_every_image_and_a_list_is_one_for_each() -> None:
    both = resolve((0, "top2"), OUTPUTS)
    assert both.several
    assert both.targets == ((*map(ClassScore, (0, 1, 2)),), (*map(ClassScore, (0, 4, 0)),))
    each = resolve([2, None], OUTPUTS)
    assert not each.several
    assert each.targets == ((ClassScore(2),), (ClassScore(4),))
    assert resolve(torch.tensor([2, 3]), OUTPUTS).targets == ((ClassScore(2),), (ClassScore(3),))
    pairs = resolve([(0, 1), "top2"], OUTPUTS)
    assert pairs.several
    assert pairs.targets[1] == (ClassScore(4), ClassScore(0))


@pytest.mark.parametrize("several", ["top1", (0,), [(0,), "top1"]])
def test_one_of_several_still_has_a_target_axis(several: object) -> None:
    assert resolve(several, OUTPUTS).several


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ([1], "has 1 targets, but the batch has 2 images"),
        ([], "0 targets"),
        ([1, 2, 3], "3 targets, but the batch has 2"),
        ([(1, 2), 3], r"different numbers of targets \(2, 1\)"),
        ("top6", "top6 needs 6 classes, but the network has 5 classes"),
        (Predicted(5), "ranked 6 .* 5 classes"),
    ],
)
def test_targets_that_do_not_fit_the_batch_say_so(target: object, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        resolve(target, OUTPUTS)


def test_labels_fit_the_classes() -> None:
    with pytest.raises(TargetError, match="4 labels were given, but the network has 5 classes"):
        resolve(0, OUTPUTS, LABELS[:4])


def test_nan_has_no_predicted_class() -> None:
    outputs = OUTPUTS.clone()
    outputs[1, 2] = math.nan
    with pytest.raises(TargetError, match=r"contains NaN \(1 of 2 images\).*float32"):
        resolve(None, outputs)
    assert resolve(3, outputs).targets == ((ClassScore(3),),) * 2


def test_one_number_and_two_labels_are_a_binary_classifier() -> None:
    outputs = torch.tensor([[0.0], [-2.0]])
    labels = ("cat", "dog")
    assert resolve(None, outputs, labels).targets == ((Binary(True),), (Binary(False),))
    assert resolve("dog", outputs, labels).targets == ((Binary(True),),) * 2
    assert resolve("p:cat", outputs[:, 0], labels).targets == ((Probability(Binary(False)),),) * 2
    assert resolve("top2", outputs, labels).targets[1] == (Binary(False), Binary(True))
    assert str(resolve("negative", outputs, labels).targets[0][0]) == "cat"
    assert str(resolve("dog vs cat", outputs, labels).targets[0][0]) == "dog rather than cat"
    with pytest.raises(TargetError, match="out of range: the network has 2 classes"):
        resolve(2, outputs, labels)
    with pytest.raises(TargetError, match="2 classes"):
        resolve("top3", outputs, labels)


def test_resolving_takes_no_gradient_and_leaves_the_outputs() -> None:
    outputs = OUTPUTS.clone().requires_grad_()
    resolve((None, "top2", 0), outputs, LABELS)
    assert outputs.grad is None
    assert torch.equal(outputs, OUTPUTS)


@settings(max_examples=60, deadline=None)
@given(choices, st.lists(logit_rows, min_size=1, max_size=3))
def test_resolution_is_idempotent_and_gives_numbers(
    choice: Choice, rows: list[list[float]]
) -> None:
    outputs = torch.tensor(rows, dtype=torch.float64)
    resolved = resolve(choice, outputs, LABELS)
    assert len(resolved.targets) == len(rows)
    assert resolved.several == (not isinstance(choice, Target))
    again = resolve(list(resolved.targets), outputs, LABELS)
    assert again.targets == resolved.targets
    for row, targets in zip(outputs, resolved.targets, strict=True):
        for target in targets:
            assert target(row[None]).shape == (1,)
            assert "class" not in str(target)  # every class has its label by now


# --- What the network said ----------------------------------------------------------------------


def test_predictions_are_the_highest_classes_with_their_probability() -> None:
    for row, said in zip(OUTPUTS, predictions(OUTPUTS, k=3), strict=True):
        chances = row.double().softmax(0)
        order = sorted(range(CLASSES), key=lambda index: (-row[index].item(), index))[:3]
        assert said == [(i, row[i].item(), pytest.approx(chances[i].item())) for i in order]
    assert [len(said) for said in predictions(OUTPUTS, k=9)] == [CLASSES, CLASSES]
    assert len(predictions(torch.randn(1, 1000))[0]) == 5


def test_predictions_of_one_number_are_sides_with_two_labels_and_a_value_without() -> None:
    outputs = torch.tensor([-1.0, 3.0])
    assert predictions(outputs) == [[(0, -1.0, None)], [(0, 3.0, None)]]
    sigmoid = 1 / (1 + math.exp(-3))
    assert predictions(outputs[:, None], labels=("cat", "dog"))[1] == [
        (1, 3.0, pytest.approx(sigmoid)),
        (0, -3.0, pytest.approx(1 - sigmoid)),
    ]
    assert predictions(torch.zeros(2, 3, 4)) == [[], []]


def test_predictions_put_nan_last() -> None:
    assert [index for index, _, _ in predictions(torch.tensor([[1.0, math.nan, 2.0]]))[0]] == [
        2,
        0,
        1,
    ]


def test_the_probability_of_what_a_target_is_about() -> None:
    row = torch.tensor([0.0, 1.0, 2.0])
    expected = pytest.approx(row.double().softmax(0)[2].item(), rel=1e-12)
    for target in (ClassScore(2), Probability(2), Counterfactual(2)):
        assert probability_of(target, row) == expected
    for side in (True, False):
        logit = torch.tensor([2.0])
        chance = 1 / (1 + math.exp(-2 if side else 2))
        assert probability_of(Binary(side), logit) == pytest.approx(chance)
        assert probability_of(Probability(Binary(side)), logit[0]) == pytest.approx(chance)
    for target in (Contrast(0, 1), Regression(), 2 * ClassScore(0), Function(lambda z: z[:, 0])):
        assert probability_of(target, row) is None


def test_probabilities_are_told_from_logits() -> None:
    logits = torch.randn(4, 10)
    assert looks_like_probabilities(logits.softmax(1))
    assert looks_like_probabilities(logits.softmax(1).half())
    assert not looks_like_probabilities(logits)
    assert not looks_like_probabilities(logits.log_softmax(1))
    assert not looks_like_probabilities(logits.sigmoid())
    assert not looks_like_probabilities(torch.ones(4, 1))
    assert not looks_like_probabilities(torch.full((2, 3), math.nan))
    assert not looks_like_probabilities(torch.zeros(2, 3, 4, 4))


# --- Finer-CAM beside its peers -----------------------------------------------------------------


@pytest.fixture
def peer_finer_target() -> type:
    with warnings.catch_warnings():  # what the peer's own imports warn of is no concern of ours
        warnings.simplefilter("ignore")
        package = pytest.importorskip("pytorch_grad_cam.utils.model_targets", exc_type=ImportError)
    return package.FinerWeightedTarget


def test_grad_cam_agrees_on_finer_with_one_similar_class(peer_finer_target: type) -> None:
    logits = torch.randn(4, 6, dtype=torch.float64)
    ours, theirs = Finer(2, (5,), 0.7), Function(peer_finer_target(2, [5], 0.7))
    assert torch.allclose(ours(logits), theirs(logits), rtol=1e-6)
    assert torch.allclose(gradient(ours, logits), gradient(theirs, logits), atol=1e-6)


def test_grad_cams_finer_may_ask_for_more_of_a_similar_class(peer_finer_target: type) -> None:
    """Its weights are softmax probabilities inside the gradient, where the paper has a mean.

    A similar class far below the others then counts for little, and the less the better: the
    score rises with that class's logit. In the paper's formula every similar class counts against.
    """
    logits = torch.tensor([[6.0, 5.5, 5.0, 1.0]])
    ours = gradient(Finer(0, (1, 2, 3)), logits)
    assert ours.tolist() == [[1, *[pytest.approx(-0.2)] * 3]]
    theirs = gradient(Function(peer_finer_target(0, [1, 2, 3], 0.6)), logits)
    assert theirs[0, 3] > 0
    assert theirs[0, 1] < -0.4


# --- Saving -------------------------------------------------------------------------------------


@given(choices | st.lists(choices, max_size=3).map(lambda some: PerImage(*some)))
def test_json_round_trip_is_exact(choice: Choice) -> None:
    again = target_from_json(json.loads(json.dumps(choice.to_json())))
    assert again == choice
    assert repr(again) == repr(choice)  # the label too, which equality leaves out


@pytest.mark.parametrize("target", [Binary(False, "cat"), ClassScore("tabby"), Binary()])
def test_sides_and_names_are_saved(target: Target) -> None:
    assert repr(target_from_json(target.to_json())) == repr(target)


def test_a_saved_function_keeps_its_name_and_cannot_be_called() -> None:
    saved = (2 * Function(lambda z: z[:, 0], "area")).to_json()
    again = target_from_json(json.loads(json.dumps(saved)))
    assert str(again) == "2 × area"
    assert again.to_json() == saved
    with pytest.raises(TargetError, match="'area' was loaded from a file"):
        again(torch.zeros(1, 3))  # type: ignore[operator]


@pytest.mark.parametrize(
    "saved",
    [
        None,
        {},
        [],
        {"kind": "Nothing"},
        {"kind": []},
        {"kind": "ClassScore"},
        {"kind": "TopK", "x": 1},
    ],
)
def test_what_is_no_saved_target_is_refused(saved: object) -> None:
    with pytest.raises(TargetError, match="saved"):
        target_from_json(saved)


def test_a_binary_target_is_of_the_positive_side_where_none_is_named() -> None:
    outputs = torch.tensor([[2.0], [-1.0]])
    assert Binary() == Binary(True) != Binary(False)
    assert Binary()(outputs).tolist() == [2, -1]
    assert str(Binary()) == "positive"


def test_what_a_target_is_called_by_itself_and_by_the_labels() -> None:
    assert Binary(True, "dog, hound").describe() == "dog"
    assert Binary(False, "cat").describe(("only one",)) == "cat"
    assert Binary(False).describe(("a", "b", "c")) == "negative"
    assert str(Probability(3, sigmoid=True)) == "sigmoid of class 3"
    assert Probability(0, sigmoid=True).describe(("tabby", "lynx")) == "sigmoid of tabby"
    assert str(Probability(Binary(False))) == "probability of negative"
