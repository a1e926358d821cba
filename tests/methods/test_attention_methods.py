"""Attention's formulas against loops from the papers, by hand, and by their identities."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import attention as reference
from torch import Tensor

from seewhy.errors import MethodError
from seewhy.methods.attention import attention_relevance, attention_rollout, legrad


def attentions(blocks: int, batch: int, heads: int, tokens: int, seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (blocks, batch, heads, tokens, tokens)
    logits = 3 * torch.randn(shape, generator=generator, dtype=torch.float64)
    return list(logits.softmax(-1))


def class_token(batch: int, tokens: int) -> Tensor:
    return torch.eye(tokens, dtype=torch.float64)[:1].repeat(batch, 1)


cases = st.tuples(
    st.integers(1, 3), st.integers(1, 2), st.integers(1, 3), st.integers(2, 5), st.integers(0, 99)
)


@settings(max_examples=40, deadline=None)
@given(
    cases, st.sampled_from(["mean", "max", "min"]), st.floats(0, 0.95), st.floats(0.05, 1)
)  # fmt: skip
def test_rollout_is_the_papers_loop(
    case: tuple[int, int, int, int, int], fusion: str, discard: float, residual: float
) -> None:
    found = attentions(*case)
    batch, tokens = len(found[0]), found[0].shape[-1]
    read = torch.rand(batch, tokens, dtype=torch.float64)
    ours = attention_rollout(
        found, read, head_fusion=fusion, discard=discard, residual=residual
    )  # fmt: skip
    for image in range(batch):
        matrices = [one[image].tolist() for one in found]
        wanted = reference.attention_rollout(
            matrices, read[image].tolist(), fusion, discard, residual
        )
        torch.testing.assert_close(ours[image], torch.tensor(wanted, dtype=torch.float64))


@settings(max_examples=20, deadline=None)
@given(cases)
def test_legrad_is_the_papers_loop(case: tuple[int, int, int, int, int]) -> None:
    gradients = [one - 0.4 for one in attentions(*case)]
    ours = legrad(lambda mean: gradients)
    for image in range(len(ours)):
        wanted = reference.legrad([one[image].tolist() for one in gradients])
        torch.testing.assert_close(ours[image], torch.tensor(wanted, dtype=torch.float64))


@settings(max_examples=20, deadline=None)
@given(cases)
def test_relevance_is_the_papers_loop(case: tuple[int, int, int, int, int]) -> None:
    found = attentions(*case)
    gradients = [torch.randn(one.shape, dtype=torch.float64) for one in found]
    read = torch.rand(len(found[0]), found[0].shape[-1], dtype=torch.float64)
    ours = attention_relevance(found, gradients, read)
    for image in range(len(ours)):
        wanted = reference.attention_relevance(
            *([one[image].tolist() for one in some] for some in (found, gradients)),
            read[image].tolist(),
        )
        torch.testing.assert_close(ours[image], torch.tensor(wanted, dtype=torch.float64))


def test_rollout_by_hand() -> None:
    """One head, three tokens, two blocks; the class token first.

    Block 1: (0 1 0 / 0 1 0 / 0 0 1) becomes (½ ½ 0 / 0 1 0 / 0 0 1);
    block 2: (0 0 1 / ...) has the class token's row (½ 0 ½).
    So the class token is ½ (½ ½ 0) + ½ (0 0 1) = (¼ ¼ ½).
    """
    first = torch.tensor([[0.0, 1, 0], [0, 1, 0], [0, 0, 1]])
    second = torch.tensor([[0.0, 0, 1], [0, 1, 0], [0, 0, 1]])
    found = attention_rollout([first[None, None], second[None, None]], torch.eye(3)[:1])
    assert found.tolist() == [[0.25, 0.25, 0.5]]


def test_legrad_by_hand() -> None:
    """One head, three tokens: positive parts (0 2 1), (0 0 0), (0 1 5) over three queries."""
    gradients = torch.tensor([[0.0, 2, 1], [-1, -2, -3], [-9, 1, 5]])[None, None]
    torch.testing.assert_close(legrad(lambda mean: [gradients]), torch.tensor([[0.0, 1, 2]]))


def test_relevance_by_hand() -> None:
    """One head, three tokens, the class token read; two blocks.

    Attention times gradient: block 1 has rows (0 0 0), (0 0 4), (0 0 0), block 2 (0 ½ 1), ....
    Directly the class token gets (0 ½ 1), and through the second token ½ · 4 more of the third.
    """
    half = torch.full((1, 1, 3, 3), 0.5)
    first = torch.tensor([[0.0, -9, 0], [0, 0, 8], [0, 0, -1]])[None, None]
    second = torch.tensor([[0.0, 1, 2], [3, 0, 0], [0, 0, 0]])[None, None]
    found = attention_relevance([half, half], [first, second], torch.eye(3)[:1])
    assert found.tolist() == [[0.0, 0.5, 3.0]]


def test_relevance_without_positive_gradients_is_nothing() -> None:
    found = attentions(3, 2, 2, 5, 0)
    gradients = [-torch.rand_like(one) for one in found]
    read = class_token(2, 5)
    assert not attention_relevance(found, gradients, read).any()


def test_rollout_of_identity_attentions_is_the_identity() -> None:
    tokens = 6
    read = torch.rand(2, tokens)
    found = attention_rollout([torch.eye(tokens).expand(2, 3, tokens, tokens)] * 4, read)
    torch.testing.assert_close(found, read)


def test_rollout_with_nothing_but_the_residual_is_the_identity() -> None:
    read = torch.rand(2, 5, dtype=torch.float64)
    found = attention_rollout(attentions(3, 2, 2, 5, 0), read, residual=1.0)
    torch.testing.assert_close(found, read)


def test_rollout_spreads_what_is_read_and_loses_none() -> None:
    found = attention_rollout(attentions(4, 2, 3, 6, 1), class_token(2, 6))
    torch.testing.assert_close(found.sum(1), torch.ones(2, dtype=torch.float64))
    assert (found >= 0).all()


def test_one_head_is_fused_with_itself_only() -> None:
    found = attentions(2, 1, 1, 5, 2)
    maps = [
        attention_rollout(found, class_token(1, 5), head_fusion=how)
        for how in ("mean", "max", "min")
    ]
    assert torch.equal(maps[0], maps[1])
    assert torch.equal(maps[0], maps[2])


def test_each_image_drops_its_own_weakest() -> None:
    found = attentions(2, 3, 2, 5, 3)
    read = class_token(3, 5)
    together = attention_rollout(found, read, discard=0.5)
    for image in range(3):
        alone = attention_rollout([one[image : image + 1] for one in found], read[:1], discard=0.5)
        torch.testing.assert_close(together[image : image + 1], alone)


def test_all_discarded_and_no_residual_leaves_nothing_and_no_nan() -> None:
    weak = torch.tensor([[1.0, 0.0], [0.5, 0.5]])[None, None]
    found = attention_rollout([weak], torch.ones(1, 2) / 2, discard=0.75, residual=0.0)
    assert found.tolist() == [[0.5, 0.0]]


def test_legrad_takes_the_last_blocks() -> None:
    gradients = [torch.full((1, 2, 3, 3), float(block)) for block in range(4)]
    assert legrad(lambda mean: gradients).unique().tolist() == [1.5]
    assert legrad(lambda mean: gradients, blocks=2).unique().tolist() == [2.5]
    assert legrad(lambda mean: gradients, blocks=4).unique().tolist() == [1.5]


def test_legrad_asks_for_the_tokens_that_are_chosen() -> None:
    asked = []

    def gradients(*, mean: bool) -> list[Tensor]:
        asked.append(mean)
        return [torch.ones(1, 1, 2, 2)]

    legrad(gradients)
    legrad(gradients, tokens="mean")
    assert asked == [False, True]


@pytest.mark.parametrize(
    "options", [{"head_fusion": "sum"}, {"discard": 1.0}, {"discard": -0.1}, {"residual": 1.5}]
)
def test_choices_that_rollout_does_not_have(options: dict[str, object]) -> None:
    with pytest.raises(MethodError, match=next(iter(options))):
        attention_rollout([torch.eye(3)[None, None]], torch.ones(1, 3), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"tokens": "all"}, {"blocks": 3}, {"blocks": -1}])
def test_choices_that_legrad_does_not_have(options: dict[str, object]) -> None:
    with pytest.raises(MethodError, match=next(iter(options))):
        legrad(lambda mean: [torch.ones(1, 1, 2, 2)] * 2, **options)  # type: ignore[arg-type]
