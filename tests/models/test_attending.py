"""Attention seen as it is called, in every form, with what it gives unchanged."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seewhy.models.attending import Attending

BATCH, HEADS, TOKENS, WIDTH = 2, 4, 6, 8


def three(dtype: torch.dtype = torch.float32, keys: int = TOKENS, heads: int = HEADS) -> Any:
    generator = torch.Generator().manual_seed(1)
    draw = [
        torch.randn(BATCH, count, length, WIDTH, generator=generator).to(dtype)
        for count, length in ((HEADS, TOKENS), (heads, keys), (heads, keys))
    ]
    return [one.requires_grad_() for one in draw]


def bool_mask(queries: int = TOKENS, keys: int = TOKENS) -> Tensor:
    mask = torch.rand(queries, keys, generator=torch.Generator().manual_seed(2)) > 0.4
    mask[1] = False  # a query that may look nowhere
    return mask


FUSED: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "plain": ({}, {}),
    "more keys": ({}, {"keys": 9}),
    "scale": ({"scale": 0.7}, {}),
    "causal": ({"is_causal": True}, {}),
    "bool mask": ({"attn_mask": bool_mask()}, {}),
    "mask for each image and head": ({"attn_mask": torch.randn(BATCH, HEADS, TOKENS, TOKENS)}, {}),
    "float mask": ({"attn_mask": torch.randn(TOKENS, TOKENS)}, {}),
    "float mask of infinities": (
        {"attn_mask": torch.zeros(TOKENS, TOKENS).masked_fill(~bool_mask(), -math.inf)},
        {},
    ),
    "grouped queries": ({"enable_gqa": True}, {"heads": 2}),
}


def seen(run: Callable[[], Any], *, differentiate: bool = True) -> tuple[Any, list[Tensor]]:
    found: list[Tensor] = []

    def see(probabilities: Tensor, shape: torch.Size) -> None:
        assert probabilities.numel() == math.prod(shape)
        found.append(probabilities)

    with Attending(see, differentiate=differentiate):
        return run(), found


@pytest.mark.parametrize("form", FUSED)
def test_a_fused_attention_gives_what_it_gave(form: str) -> None:
    options, shape = FUSED[form]
    query, key, value = three(**shape)

    def run() -> Tensor:
        return F.scaled_dot_product_attention(query, key, value, **options)

    plain = run()
    given, (probabilities,) = seen(run, differentiate=False)
    torch.testing.assert_close(given, plain, rtol=1e-5, atol=1e-6)
    assert probabilities.shape == (BATCH, HEADS, TOKENS, key.shape[2])
    total = probabilities.sum(-1)
    nowhere = torch.zeros(TOKENS, dtype=torch.bool)
    nowhere[1] = form in ("bool mask", "float mask of infinities")
    torch.testing.assert_close(total, (~nowhere).float().expand_as(total))
    # And so do its gradients, where a query that may look nowhere makes no NaN.
    direction = torch.randn_like(plain)
    ours = torch.autograd.grad((given * direction).sum(), (query, key, value))
    theirs = torch.autograd.grad((plain * direction).sum(), (query, key, value))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_holds_large_products(dtype: torch.dtype) -> None:
    query, key, value = three(dtype)
    large = query.detach() * 150  # 8 products of 150 times 150 are beyond float16

    def run() -> Tensor:
        return F.scaled_dot_product_attention(large, key * 150, value)

    given, (probabilities,) = seen(run)
    assert given.dtype == dtype
    assert given.isfinite().all()
    assert probabilities.dtype == torch.float32
    torch.testing.assert_close(given, run(), rtol=2e-2, atol=2e-2)


def test_autocast_is_followed() -> None:
    query, key, value = three()

    def run() -> Tensor:
        return F.scaled_dot_product_attention(query, key, value)

    with torch.autocast("cpu", torch.bfloat16):
        plain = run()
        given, _ = seen(run)
    assert given.dtype == plain.dtype == torch.bfloat16
    torch.testing.assert_close(given, plain, rtol=2e-2, atol=2e-2)


SOFTMAXES: dict[str, Callable[[Tensor], Tensor]] = {
    "Tensor.softmax": lambda x: x.softmax(-1),
    "Tensor.softmax(dim=)": lambda x: x.softmax(dim=3),
    "torch.softmax": lambda x: torch.softmax(x, 3),
    "F.softmax": lambda x: F.softmax(x, -1),
    "F.softmax(dtype=)": lambda x: F.softmax(x, dim=-1, dtype=torch.float32),
    "nn.Softmax": nn.Softmax(dim=-1),
    "torch.special.softmax": lambda x: torch.special.softmax(x, -1),
}


@pytest.mark.parametrize("form", SOFTMAXES)
def test_an_explicit_softmax_is_seen(form: str) -> None:
    logits = torch.randn(BATCH, HEADS, TOKENS, TOKENS)
    given, found = seen(lambda: SOFTMAXES[form](logits))
    assert [one.shape for one in found] == [logits.shape]
    torch.testing.assert_close(given, logits.softmax(-1))


@pytest.mark.parametrize(
    "run",
    [
        lambda x: x.softmax(1),
        lambda x: x.softmax(-2),
        lambda x: x.log_softmax(-1),
        lambda x: x[0, 0].softmax(-1),
        lambda x: x.sigmoid(),
    ],
    ids=["over heads", "over queries", "logarithm", "of class scores", "sigmoid"],
)
def test_what_is_no_attention_is_not_seen(run: Callable[[Tensor], Tensor]) -> None:
    logits = torch.randn(BATCH, HEADS, TOKENS, TOKENS)
    given, found = seen(lambda: run(logits))
    assert found == []
    assert torch.equal(given, run(logits))


@pytest.mark.parametrize("kind", ["self", "cross", "keys that are values"])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize(
    "weights", [{}, {"need_weights": False}, {"average_attn_weights": False}], ids=str
)
@pytest.mark.parametrize("mask", [None, torch.randn(TOKENS, TOKENS)], ids=["", "mask"])
def test_multi_head_attention_gives_what_it_gave(
    kind: str, batch_first: bool, weights: dict[str, bool], mask: Tensor | None
) -> None:
    module = nn.MultiheadAttention(16, HEADS, batch_first=batch_first).eval()
    shape = (BATCH, TOKENS, 16) if batch_first else (TOKENS, BATCH, 16)
    query, other = torch.randn(shape), torch.randn(shape)
    inputs = {
        "self": (query, query, query),
        "cross": (query, other, torch.randn(shape)),
        "keys that are values": (query, other, other),
    }[kind]

    def run() -> Any:
        return module(*inputs, attn_mask=mask, **weights)

    with torch.no_grad():
        plain, plain_weights = run()
        every = module(*inputs, attn_mask=mask, average_attn_weights=False)[1]
        (given, given_weights), (probabilities,) = seen(run)
    torch.testing.assert_close(given, plain, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(probabilities.reshape(every.shape), every, rtol=1e-5, atol=1e-6)
    assert (given_weights is None) == (plain_weights is None)
    if plain_weights is not None:
        torch.testing.assert_close(given_weights, plain_weights, rtol=1e-5, atol=1e-6)
    gradient = torch.autograd.grad(given.square().sum(), probabilities)[0]
    assert gradient.abs().sum() > 0


def test_multi_head_attention_of_a_single_sequence() -> None:
    module = nn.MultiheadAttention(16, HEADS).eval()
    tokens = torch.randn(TOKENS, 16)
    (given, _), (probabilities,) = seen(lambda: module(tokens, tokens, tokens))
    torch.testing.assert_close(given, module(tokens, tokens, tokens)[0])
    assert torch.autograd.grad(given.sum(), probabilities)[0].abs().sum() > 0


@pytest.mark.parametrize(
    "wrap", [lambda layer: layer, lambda layer: nn.TransformerEncoder(layer, 1)]
)
def test_the_encoder_layers_fast_path_is_seen_too(wrap: Callable[[nn.Module], nn.Module]) -> None:
    layer = nn.TransformerEncoderLayer(16, HEADS, 32, batch_first=True).eval()
    network, tokens = wrap(layer).eval(), torch.randn(BATCH, TOKENS, 16)
    with torch.no_grad():
        plain = network(tokens)
        given, (probabilities,) = seen(lambda: network(tokens))
    torch.testing.assert_close(given, plain, rtol=1e-5, atol=1e-5)
    assert probabilities.numel() == BATCH * HEADS * TOKENS * TOKENS


def test_what_is_done_to_probabilities_in_place_changes_them_alone() -> None:
    logits = torch.randn(BATCH, HEADS, TOKENS, TOKENS)
    value = torch.randn(BATCH, HEADS, TOKENS, WIDTH)

    def run() -> Tensor:
        return logits.softmax(-1).mul_(2.0) @ value

    given, (probabilities,) = seen(run)
    torch.testing.assert_close(probabilities.detach(), logits.softmax(-1))
    (gradient,) = torch.autograd.grad(given.sum(), probabilities)
    torch.testing.assert_close(gradient, 2 * value.sum(-1)[:, :, None].expand_as(gradient))


def test_dropout_that_a_network_leaves_on_is_left_on() -> None:
    query, key, value = three()
    given, (probabilities,) = seen(
        lambda: F.scaled_dot_product_attention(query, key, value, dropout_p=0.5)
    )
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(BATCH, HEADS, TOKENS))
    assert not torch.allclose(given, probabilities @ value)
