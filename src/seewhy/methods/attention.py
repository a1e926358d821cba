"""Methods that look at the attentions among a picture's tokens.

`attentions` is for each block, first to last, `(batch, heads, queries, keys)`: where the queries
look. What a function gives is the relevance of each token, `(batch, tokens)`, with class and
register tokens; the pipeline leaves those out and lays the others on their grid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from seewhy.errors import MethodError

HEAD_FUSIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda attention: attention.mean(1),
    "max": lambda attention: attention.amax(1),
    "min": lambda attention: attention.amin(1),
}


def attention_rollout(
    attentions: Sequence[Tensor],
    tokens_read: Tensor,
    *,
    head_fusion: Literal["mean", "max", "min"] = "mean",
    discard: float = 0.0,
    residual: float = 0.5,
) -> Tensor:
    """Where the tokens that the head reads come from, through all blocks; no target (Abnar 2020).

    Each block hands on `residual` of a token itself and the rest of what it looks at; the blocks'
    matrices are multiplied. The paper takes the mean over heads and drops nothing. The other
    choices are vit-explain's, which divides each column by the sum of the row of that number after
    dropping (0.9 by default), where here each row sums to 1 again, and which reads the first token
    whatever the network's head reads.

    Args:
        attentions: see above.
        tokens_read: `(batch, tokens)`, how much the head reads of each token.
        head_fusion: how the heads of a block become one.
        discard: the share of a block's attention, the weakest, that is set to zero.
        residual: the share of a token that a block's skip connection hands on.

    Raises:
        MethodError: for another fusion, or shares outside of 0 to 1.
    """
    if head_fusion not in HEAD_FUSIONS:
        raise MethodError(f"head_fusion={head_fusion!r} is not one of {', '.join(HEAD_FUSIONS)}.")
    if not (0 <= discard < 1 and 0 <= residual <= 1):
        raise MethodError(
            "discard must be from 0 to below 1 and residual from 0 to 1, not "
            f"discard={discard} and residual={residual}."
        )
    relevance = tokens_read
    for attention in reversed(attentions):
        fused = _without_weakest(HEAD_FUSIONS[head_fusion](attention), discard)
        handed_on = (1 - residual) * fused + residual * torch.eye(len(fused[0])).to(fused)
        total = handed_on.sum(-1, keepdim=True)  # 0 where all was discarded, and nothing is left
        relevance = _through(torch.where(total > 0, handed_on / total, 0), relevance)
    return relevance


def attention_relevance(
    attentions: Sequence[Tensor], attention_gradients: Sequence[Tensor], tokens_read: Tensor
) -> Tensor:
    """Attention times its gradient, the positive part, followed through all blocks (Chefer 2021).

    The rule of "Generic Attention-model Explainability" for self-attention, R ← R + (∇A ⊙ A)⁺ R
    from R = I, averaged over heads. What a token brings as itself (the I) is left out: nothing
    where a class token is read, and a constant where all tokens are.

    Args:
        attentions: see above.
        attention_gradients: of the score, of the same shapes.
        tokens_read: `(batch, tokens)`, how much the head reads of each token.
    """
    relevance = tokens_read
    pairs = zip(reversed(attentions), reversed(attention_gradients), strict=True)
    for attention, gradient in pairs:
        relevance = relevance + _through((gradient * attention).relu().mean(1), relevance)
    return relevance - tokens_read


def legrad(
    blockwise_gradients: Callable[..., list[Tensor]],
    *,
    tokens: Literal["own", "mean"] = "own",
    blocks: int = 0,
) -> Tensor:
    """How the score of each block's tokens grows with the attention to a token (Bousselham 2025).

    The head reads every block's tokens as it reads the last's; the score's gradient by that block's
    attention keeps its positive part, and is averaged over heads, queries and blocks. The
    authors' code for CLIP puts the mean of all tokens, class token too, where the head reads one
    (`tokens="mean"`), looks at the last two blocks (`blocks=2`) and scales the map to 0..1.

    Args:
        blockwise_gradients: gives for each block the gradient of the score that the head makes of
            its tokens, by its attention, `(batch, heads, queries, keys)`.
        tokens: what the head reads: its own choice of tokens, or their mean.
        blocks: how many of the last blocks count; 0: all.

    Raises:
        MethodError: for another choice of tokens, or a number of blocks that there is not.
    """
    if tokens not in ("own", "mean"):
        raise MethodError(f"tokens={tokens!r} is not one of own, mean.")
    gradients = blockwise_gradients(mean=tokens == "mean")
    if not 0 <= blocks <= len(gradients):
        raise MethodError(f"blocks must be from 0 to {len(gradients)}, not {blocks}.")
    of_blocks = [one.relu().mean((1, 2)) for one in gradients[-blocks:]]
    return torch.stack(of_blocks).mean(0)


def _through(matrix: Tensor, relevance: Tensor) -> Tensor:
    """`(batch, keys)` from the relevance of the queries; not `@`, which autocast would round."""
    return (relevance[:, :, None] * matrix).sum(1)


def _without_weakest(attention: Tensor, share: float) -> Tensor:
    """`(batch, queries, keys)` with that share of each image's values, the smallest, at zero."""
    flat = attention.flatten(1)
    weakest = flat.topk(int(share * flat.shape[1]), 1, largest=False).indices
    return flat.scatter(1, weakest, 0.0).reshape(attention.shape)
