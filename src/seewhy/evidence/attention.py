"""What a picture's tokens look at: evidence for a batch (methods/attention.py)."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from seewhy.errors import MethodError
from seewhy.evidence.agreement import is_half, near
from seewhy.evidence.table import of_batch
from seewhy.models.attention import Attended, AttentionPath, attend, find_attention
from seewhy.models.undisturbed import no_inference
from seewhy.precision import at_least_float32

if TYPE_CHECKING:
    from seewhy.evidence.run import Evidence


@of_batch(
    "attentions", "the attention of every block", place="attention", cost="attention",
    needs=("attention",), of_target=False,
)  # fmt: skip
def attentions(run: Evidence, layer: int) -> list[Tensor]:  # noqa: ARG001
    """For each block, `(batch * targets, heads, tokens, tokens)`."""
    targets = run.scores.shape[1]
    return [one.repeat_interleave(targets, 0) for one in _attended(run).attentions]


@of_batch(
    "attention_gradients", "the gradient of the score with respect to every block's attention",
    place="attention", cost="attention", needs=("attention",),
)  # fmt: skip
def attention_gradients(run: Evidence, layer: int) -> list[Tensor]:  # noqa: ARG001
    """For each block, the score's gradient with respect to its attention, shaped like that."""
    return _of_attention(run, _attended(run), Attended.gradients)


@of_batch(
    "tokens_read", "which tokens the head reads", place="attention", cost="attention",
    needs=("attention",), of_target=False,
)  # fmt: skip
def tokens_read(run: Evidence, layer: int) -> Tensor:  # noqa: ARG001
    """How much the score reads of each token, `(batch * targets, tokens)`."""
    return _of_attention(run, _attended(run), lambda *a, **k: [Attended.read(*a, **k)])[0]


@of_batch(
    "blockwise_gradients", "the gradient of each block's own score with respect to its attention",
    place="attention", cost="attention", needs=("attention",),
)  # fmt: skip
def blockwise_gradients(run: Evidence, layer: int) -> Callable[..., list[Tensor]]:  # noqa: ARG001
    """A function: for each block, of the score that the head makes of its tokens, or their mean."""

    def of_blocks(*, mean: bool) -> list[Tensor]:
        return _of_attention(run, _attend(run, every=True, mean=mean), Attended.gradients)

    return of_blocks


def on_grid(run: Evidence, relevance: Any, rows: int, method: str) -> Tensor:
    """A map `(rows, *positions)` from the relevance of all tokens, `(rows, tokens)`.

    Raises:
        MethodError: the method gave something else.
    """
    path = _path(run)
    if not isinstance(relevance, Tensor) or relevance.shape != (rows, path.tokens):
        came = tuple(relevance.shape) if isinstance(relevance, Tensor) else type(relevance)
        raise MethodError(
            f"method '{method}' must return the relevance of each token "
            f"{(rows, path.tokens)}, but it returned {came}."
        )
    return path.grid.of(relevance[:, :, None])[:, 0]


def _path(run: Evidence) -> AttentionPath:
    return run.once("attention path", lambda: find_attention(run.model, run.inputs[:1]))


def _attended(run: Evidence) -> Attended:
    return run.once("attended", lambda: _attend(run, every=False))


def _attend(run: Evidence, *, every: bool, mean: bool = False) -> Attended:
    """A run in which attention is seen, and which gives what the network gave."""
    model = copy(run.model)
    model.each = 1  # the pictures come as copies of the batch
    path, copies = _path(run), model.beside
    seen = attend(model, run.inputs, path, every=every, mean=mean, copies=copies)
    outputs, batch = at_least_float32(seen.outputs.detach()), len(run.inputs)
    rows = batch * len(path.calls) if every else batch
    tolerance = 3e-2 if is_half(seen.outputs) else 5e-3  # of the largest
    if len(outputs) != rows or not (
        mean or near(outputs[-batch:].nan_to_num(), run.logits.nan_to_num(), tolerance)
    ):
        raise MethodError(
            "the network returns other scores while its attention is recorded"
            + (" and its head reads the tokens of every block" if every else "")
            + (", so the recorded attention is not the one that the network uses. Use grad-cam.")
        )
    return seen


def _of_attention(run: Evidence, seen: Attended, what: Callable[..., list[Tensor]]) -> list[Tensor]:
    """What a run says of each target's score, targets laid along the batch."""
    with no_inference(), torch.enable_grad():  # whatever the caller's mode is
        logits, batch = at_least_float32(seen.outputs), len(run.inputs)
        columns = [
            torch.stack([one(logits[i::batch]).sum() for i, one in enumerate(column)]).sum()
            for column in zip(*run.targets.targets, strict=True)
        ]
        return run.along_the_batch([what(seen, column, keep_graph=True) for column in columns])
