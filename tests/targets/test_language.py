"""Tokens and texts: log-probabilities by hand, positions, words and saving."""

from __future__ import annotations

import json

import pytest
import torch

from seewhy.errors import TargetError
from seewhy.targets import (
    Contrast,
    Probability,
    Sentence,
    Token,
    parse_target,
    probability_of,
    resolve,
    target_from_json,
)

ROWS = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
VOCABULARY = ("a", "cat", "on", "the", "mat", ".")


def test_a_text_is_the_sum_of_its_tokens_each_at_its_position() -> None:
    logs = ROWS - ROWS.exp().sum(2, keepdim=True).log()
    assert torch.allclose(Token(3)(ROWS), logs[:, 3, 3])
    assert torch.allclose(Token(3, 1)(ROWS), logs[:, 1, 3])
    assert torch.allclose(Token(3, -4)(ROWS), logs[:, 0, 3])
    assert torch.allclose(Sentence((1, 2))(ROWS), logs[:, 2, 1] + logs[:, 3, 2])
    assert torch.allclose(Sentence((1, 2), 0)(ROWS), logs[:, 0, 1] + logs[:, 1, 2])
    assert torch.allclose(Sentence((1, 2), -3)(ROWS), logs[:, 1, 1] + logs[:, 2, 2])
    assert torch.allclose(Sentence([5], -1)(ROWS), Token(5)(ROWS))
    four = Sentence(torch.tensor([[0, 1, 2, 3]]))
    assert torch.allclose(four(ROWS), sum(Token(i, i)(ROWS) for i in range(4)))


def test_gradients_and_probabilities() -> None:
    rows = ROWS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(Token(3, 1)(rows).sum(), rows)
    expected = torch.zeros_like(ROWS)
    expected[:, 1] = -ROWS[:, 1].softmax(1)
    expected[:, 1, 3] += 1
    assert torch.allclose(gradient, expected)
    assert torch.allclose(Probability(Token(3, 1))(ROWS), ROWS.softmax(2)[:, 1, 3])
    assert probability_of(Token(3), ROWS[0]) == pytest.approx(float(ROWS[0, 3].softmax(0)[3]))
    total = sum(Probability(Token(index))(ROWS) for index in range(6))
    assert torch.allclose(total, torch.ones(2, dtype=torch.float64))


def test_grammar_words_and_saving() -> None:
    assert parse_target("token:4") == Token(4)
    assert parse_target("p:token:4") == Probability(Token(4))
    assert parse_target("token:1 vs token:2") == Contrast(Token(1), Token(2))
    assert parse_target(Token("mat", 2), VOCABULARY) == Token(4, 2)
    for target, words in (
        (Token(4), "mat"),
        (Token(9, 2), "token 9 at position 2"),
        (Sentence((0, 1)), "a, cat"),
        (Sentence((0, 1), label="a cat"), "“a cat”"),
        (Sentence((8, 9)), "token 8, token 9"),
    ):
        assert target.describe(VOCABULARY) == words
        assert target_from_json(json.loads(json.dumps(target.to_json()))) == target
    assert resolve("token:4", ROWS).targets == ((Token(4),), (Token(4),))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (lambda: Token(6)(ROWS), "class 6 is out of range"),
        (lambda: Sentence((1, 6))(ROWS), "class 6 is out of range"),
        (lambda: Token(0, 4)(ROWS), "1 token from position 4 on, .* 4 positions"),
        (lambda: Sentence((0,) * 5)(ROWS), "5 tokens from position -5 on"),
        (lambda: Sentence((0, 1), -1)(ROWS), "2 tokens from position -1 on"),
        (lambda: Sentence(()), "no tokens"),
        (lambda: Sentence((0,), 0.5), "whole number"),
        (lambda: Token(0, None), "whole number"),
        (lambda: Token(0)(ROWS[0]), r"\(batch, positions, vocabulary\)"),
        (lambda: Probability(Token(0), sigmoid=True)(ROWS), "Use 'p:'"),
        (lambda: parse_target("token:cat"), "no number; write 'token:0'"),
        (lambda: resolve("token:6", ROWS), "out of range"),
    ],
)
def test_what_does_not_fit_says_so(target: object, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        target()  # type: ignore[operator]
