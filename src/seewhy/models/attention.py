"""Attention as it is computed, with nothing swapped in the module tree.

Every attention of this thread is seen as it is called, fused or not: as
`scaled_dot_product_attention`, inside `nn.MultiheadAttention`, or as a softmax over the last of
`(batch, heads, queries, keys)`. While it is looked at, a fused one is computed openly, so that its
probabilities exist. What cannot be seen: attention inside TorchScript, compiled code, a custom
`autograd.Function` or kernels from outside torch (xformers, flash-attn).

`find_attention` tells which of them run among a picture's tokens, `attend` gives those, and how
they change a score. There the head is put behind every block: the tokens of all blocks are laid
along the batch where the last one ends, so that one run of the tail reads them all; and each block
starts from tokens without a history, so that one backward pass gives each block's own gradient.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import multi_head_attention_forward, scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from seewhy.errors import MethodError
from seewhy.models.outputs import replace_tensor, tensors_in
from seewhy.models.watch import at_least_float32, hooked, modules_of, undisturbed

See = Callable[[Tensor, torch.Size], None]
"""Shown the probabilities of an attention, and their shape `(..., heads, queries, keys)`."""

INSTEAD = "take grad-cam, which looks at a layer and needs no attention."


class Attending(TorchFunctionMode):
    """Shows `see` the probabilities of every attention, in the order of the calls.

    Those of `nn.MultiheadAttention` are shown as torch has them, `(batch * heads, queries, keys)`.

    Args:
        see: what is shown them.
        differentiate: every attention is a new beginning for autograd, which is on from there: what
            is shown are leaves (of `nn.MultiheadAttention`: computed from leaves).
    """

    def __init__(self, see: See, *, differentiate: bool) -> None:
        super().__init__()
        self._see, self._differentiate = see, differentiate

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Called by torch in place of `func`, with this mode switched off meanwhile."""
        kwargs = kwargs or {}
        if func is scaled_dot_product_attention:
            return self._scaled_dot_product(*args, **kwargs)
        if func is multi_head_attention_forward:
            return self._multi_head(*args, **kwargs)
        outputs = func(*args, **kwargs)
        name = getattr(func, "__name__", "").split(".")[0]
        softmax = name in ("softmax", "special_softmax") and "out" not in kwargs
        if softmax and _is_attention(outputs, args, kwargs):
            return self._shown(outputs)
        return outputs

    def _shown(self, probabilities: Tensor) -> Tensor:
        """What runs on in their place."""
        if not self._differentiate:
            self._see(probabilities, probabilities.shape)
            return probabilities
        torch.set_grad_enabled(True)  # until whoever switched it off ends
        leaf = probabilities.detach().requires_grad_()
        self._see(leaf, leaf.shape)
        return leaf.clone()  # what is done to it in place changes it alone

    def _scaled_dot_product(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """What torch computes in one kernel, in float32 or better up to the probabilities."""
        if enable_gqa:
            key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
            value = value.repeat_interleave(query.shape[-3] // value.shape[-3], -3)
        scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
        # Scaled first: in half precision (under autocast) the product may be too large otherwise.
        logits = at_least_float32(at_least_float32(query) * scale @ at_least_float32(key).mT)
        if is_causal:
            attn_mask = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).tril()
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            logits = logits.masked_fill(~attn_mask, -math.inf)
        elif attn_mask is not None:
            logits = logits + attn_mask
        nowhere = None if attn_mask is None else (logits == -math.inf).all(-1, keepdim=True)
        if nowhere is not None:  # a query that may look at no key gets zeros, as from the kernel
            logits = logits.masked_fill(nowhere, 0)
        probabilities = logits.softmax(-1)
        if nowhere is not None:
            probabilities = probabilities.masked_fill(nowhere, 0)
        probabilities = self._shown(probabilities).to(value.dtype)
        if dropout_p > 0:
            probabilities = torch.dropout(probabilities, dropout_p, True)
        return probabilities @ value

    def _multi_head(
        self, query: Tensor, key: Tensor, value: Tensor, *others: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor | None]:
        """By torch's own function, which gives the probabilities where they are asked for."""
        if self._differentiate:
            torch.set_grad_enabled(True)
            # Once each: torch looks whether they are the same tensor.
            once = {id(one): one.detach().requires_grad_() for one in (query, key, value)}
            query, key, value = once[id(query)], once[id(key)], once[id(value)]
        asked = {**kwargs, "need_weights": True, "average_attn_weights": False}
        outputs, weights = multi_head_attention_forward(query, key, value, *others, **asked)
        assert weights is not None
        # What comes back is a view of what was multiplied with the values.
        self._see(weights if weights._base is None else weights._base, weights.shape)
        if not kwargs["need_weights"]:
            return outputs, None
        return outputs, weights.mean(-3) if kwargs["average_attn_weights"] else weights


def _is_attention(outputs: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a softmax is over the last axis of `([batch, [windows,]] heads, queries, keys)`."""
    dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
    return (
        isinstance(outputs, Tensor)
        and outputs.ndim in (3, 4, 5)
        and dim in (-1, outputs.ndim - 1)
        and outputs.shape[-1] > 1
    )


# --- Which attentions are the picture's, and which blocks hand the tokens on ---------------------


@dataclass(frozen=True)
class Layout:
    """Which dimensions of what a block gives are the batch and the tokens."""

    batch: int
    tokens: tuple[int, ...]

    def fits(self, given: Tensor, batch: int, tokens: int) -> bool:
        """Whether a tensor can be `tokens` tokens of each of `batch` pictures."""
        shape = given.shape
        return (
            len(shape) == 2 + len(self.tokens)
            and shape[self.batch] == batch
            and math.prod(shape[dim] for dim in self.tokens) == tokens
        )

    def find(self, outputs: Any, batch: int, tokens: int) -> tuple[str, Tensor] | None:
        """The first tensor in a module's output that fits, and its path."""
        found = (pair for pair in tensors_in(outputs) if self.fits(pair[1], batch, tokens))
        return next(found, None)

    def by_token(self, given: Tensor) -> Tensor:
        """What a block gives as `(batch, tokens, channels)`."""
        first = max(1, self.tokens[0])
        rows = given.movedim(self.batch, 0).flatten(first, first + len(self.tokens) - 1)
        return rows.movedim(first, 1)

    def mean(self, given: Tensor) -> Tensor:
        """The mean of the tokens in the place of each."""
        return given.mean(self.tokens, keepdim=True).expand_as(given)


# Tokens behind the batch and before it; maps of them with their channels last and first.
LAYOUTS = (Layout(0, (1,)), Layout(1, (0,)), Layout(0, (1, 2)), Layout(0, (2, 3)))


@dataclass(frozen=True, eq=False)
class AttentionPath:
    """The attentions among a picture's tokens, in the order in which they run.

    Attributes:
        calls: their numbers among all attentions of a run.
        pooling: the number of the one behind them with which the head pools the tokens, if any.
        total: how many attentions a run has.
        tokens: how many tokens there are, class and register tokens with them.
        blocks: for each, the module that gives the tokens on behind it.
        whole: whether each of these modules gets exactly what the last one gave.
        layout: how the tokens lie in what the blocks give.
    """

    calls: tuple[int, ...]
    pooling: int | None
    total: int
    tokens: int
    blocks: tuple[nn.Module, ...]
    whole: bool
    layout: Layout


@dataclass(eq=False)
class _Call:
    """One call of one module, with the numbers of the attentions inside."""

    module: nn.Module
    inputs: Tensor | None
    attentions: list[int] = field(default_factory=list)
    outputs: Any = None


@dataclass(frozen=True, eq=False)
class _Met:
    """One attention of a run.

    Attributes:
        shape: `(queries, keys)`.
        parts: how many there are of one picture; more than one: in windows.
        of_picture: whether it depends on the picture, as far as autograd can tell.
        calls: the module calls it runs in, from the model down.
    """

    shape: tuple[int, int]
    parts: int
    of_picture: bool
    calls: tuple[_Call, ...]


def find_attention(model: nn.Module, image: Tensor) -> AttentionPath:
    """The attentions among the tokens of a picture `(1, channels, height, width)`.

    Raises:
        MethodError: where a network has none, or they are not among the same tokens all the way.
    """
    image = image.detach().clone().requires_grad_()
    met: list[_Met] = []
    open_calls: list[_Call] = []
    reaching: set[Any] = set()
    thread = threading.get_ident()

    def see(probabilities: Tensor, shape: torch.Size) -> None:
        of_picture = not torch.is_grad_enabled() or _reaches(probabilities, image, reaching)
        if of_picture:
            for call in open_calls:
                call.attentions.append(len(met))
        parts = math.prod(shape[:-3]) if len(shape) > 3 else 1
        met.append(_Met((shape[-2], shape[-1]), parts, of_picture, tuple(open_calls)))

    def before(module: nn.Module, args: tuple[Any, ...]) -> None:
        if threading.get_ident() == thread:
            first = args[0] if args and isinstance(args[0], Tensor) else None
            open_calls.append(_Call(module, first))

    def after(module: nn.Module, args: Any, outputs: Any) -> None:  # noqa: ARG001
        if threading.get_ident() == thread:
            while (call := open_calls.pop()).module is not module:
                pass  # a call that ended in an error, which the model has caught
            call.outputs = outputs

    modules = modules_of(model)
    with (
        undisturbed(model),
        torch.enable_grad(),
        hooked([(m, after) for m in modules], [(m, before) for m in modules]),
        Attending(see, differentiate=False),
    ):
        model(image.clone())
    calls, pooling = _among_tokens(met)
    tokens = met[calls[0]].shape[0]
    blocks = [_block(met[number].calls, number, tokens) for number in calls]
    hands_on = [
        _hands_on(call, layout, met[number].calls, tokens)
        for (call, layout), number in zip(blocks, calls[1:], strict=False)
    ]
    return AttentionPath(
        calls=calls,
        pooling=pooling,
        total=len(met),
        tokens=tokens,
        blocks=tuple(call.module for call, _ in blocks),
        whole=all(hands_on) and len({layout for _, layout in blocks}) == 1,
        layout=blocks[-1][1],
    )


def _among_tokens(met: Sequence[_Met]) -> tuple[tuple[int, ...], int | None]:
    """The numbers of the attentions among a picture's tokens, and of the one that pools them."""
    ours = [number for number, one in enumerate(met) if one.of_picture]
    if not ours:
        raise MethodError(
            "no attention that the picture reaches was seen in this network (it has none, or it is "
            f"compiled, TorchScript or a kernel from outside torch); {INSTEAD}"
        )
    if any(met[number].parts > 1 for number in ours):
        raise MethodError(
            "this network's attention is within windows of the picture (Swin, MaxViT), not among "
            f"all of its tokens, so what passes between windows is not in it; {INSTEAD}"
        )
    last = met[ours[-1]].shape
    pooling = ours[-1] if len(ours) > 1 and last[0] != last[1] else None
    calls = ours if pooling is None else ours[:-1]
    (queries, keys), *others = dict.fromkeys(met[number].shape for number in calls)
    if others or queries != keys or (pooling is not None and last[1] != keys):
        shapes = ", ".join(f"{q}×{k}" for q, k in dict.fromkeys(met[n].shape for n in ours))
        raise MethodError(
            "this network's attentions are not among the same tokens all the way (queries × keys: "
            f"{shapes}), so they cannot be followed from the image to the score; {INSTEAD}"
        )
    return tuple(calls), pooling


def _block(calls: Sequence[_Call], number: int, tokens: int) -> tuple[_Call, Layout]:
    """The largest part of the network with this attention alone that takes and gives tokens."""
    for call in calls:
        if call.attentions == [number] and call.inputs is not None:
            for layout in LAYOUTS:
                if layout.fits(call.inputs, 1, tokens) and layout.find(call.outputs, 1, tokens):
                    return call, layout
    raise MethodError(
        f"no part of this network takes {tokens} tokens and gives as many with one attention in "
        f"between, so its blocks cannot be told apart; {INSTEAD}"
    )


def _hands_on(block: _Call, layout: Layout, calls: Sequence[_Call], tokens: int) -> bool:
    """Whether one of the calls that lead to the next attention gets what `block` gave."""
    found = layout.find(block.outputs, 1, tokens)
    return found is not None and any(
        call.inputs is not None
        and call.inputs.shape == found[1].shape
        and torch.equal(call.inputs, found[1])
        for call in calls
    )


def _reaches(probabilities: Tensor, image: Tensor, reaching: set[Any]) -> bool:
    """Whether autograd leads from an attention to the image, or to one in `reaching`."""
    begin = probabilities.grad_fn
    waiting, seen = [begin], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        if node in reaching or getattr(node, "variable", None) is image:
            reaching.add(begin)
            return True
        seen.add(node)
        waiting.extend(following for following, _ in node.next_functions)
    return False


# --- The attentions of a batch, and what they do for a score -------------------------------------


@dataclass(frozen=True, eq=False)
class Attended:
    """The attentions of one run, and the head behind every block.

    Attributes:
        attentions: for each block `(batch, heads, tokens, tokens)`, detached, float32 or better.
        pooling: `(blocks * batch, heads, queries, tokens)` where the head pools by attention.
        outputs: what the model gave, of `(blocks * batch, ...)`: the first block's rows first.
    """

    attentions: list[Tensor]
    pooling: Tensor | None
    outputs: Any
    _differentiated: list[Tensor]
    _read: Tensor
    _layout: Layout

    def gradients(self, scores: Tensor, *, keep_graph: bool = False) -> list[Tensor]:
        """For each block, what the sum of `scores` changes by with the attention in that block.

        Where the head pools by attention it is that attention, reading that block's tokens.

        Returns:
            For each block `(batch, heads, queries, tokens)`.
        """
        found = _gradients(scores, self._differentiated, keep_graph)
        if self.pooling is not None:
            return list(found[0].reshape(self.pooling.shape).chunk(len(self.attentions)))
        return [one.reshape(a.shape) for one, a in zip(found, self.attentions, strict=True)]

    def read(self, scores: Tensor, *, keep_graph: bool = False) -> Tensor:
        """How much the head reads of each of the last block's tokens, `(batch, tokens)`; sum 1.

        Where it pools by attention, as much as that says; otherwise alike of all that the score
        depends on: the class token, say, or every token of the picture. Alike of all tokens where
        it depends on none (a head of zeros).
        """
        batch = len(self.attentions[0])
        if self.pooling is not None:
            return self.pooling[-batch:].mean((1, 2))
        (found,) = _gradients(scores, [self._read], keep_graph)
        read = self._layout.by_token(found)[-batch:].ne(0).any(2)
        read = (read | ~read.any(1, keepdim=True)).float()
        return read / read.sum(1, keepdim=True)


def attend(
    model: nn.Module, inputs: Tensor, path: AttentionPath, *, every: bool, mean: bool = False
) -> Attended:
    """Run `model` and see its attentions, with the head behind every block or behind the last.

    Args:
        model: any eager module.
        inputs: `(batch, channels, height, width)`.
        path: what `find_attention` gave.
        every: whether the head reads the tokens of every block, or, as ever, of the last.
        mean: whether it reads the mean of a block's tokens in the place of each.

    Raises:
        MethodError: if the network takes another course than it did, or hands its tokens on in
            a way that no module shows.
    """
    if every and not path.whole:
        raise MethodError(
            "this network changes its tokens between the modules that hold its attentions, so "
            "the head cannot be put behind every block; take attention-rollout, or grad-cam, which "
            "looks at a layer."
        )
    batch = len(inputs)
    numbers = {*path.calls, path.pooling}
    seen: list[Tensor] = []
    given: list[Tensor] = []
    joined: list[Tensor] = []
    met = 0
    thread = threading.get_ident()

    def see(probabilities: Tensor, shape: torch.Size) -> None:  # noqa: ARG001
        nonlocal met
        if met in numbers:
            seen.append(probabilities)
        met += 1

    def after(module: nn.Module, args: Any, outputs: Any) -> Any:  # noqa: ARG001
        block = len(given)
        if threading.get_ident() != thread or block == len(path.blocks) or len(seen) == block:
            return None
        found = path.layout.find(outputs, batch, path.tokens)
        if module is not path.blocks[block] or found is None:
            return None
        where, tokens = found
        given.append(tokens)
        if len(given) < len(path.blocks):
            # A clone, as the next block may write into what it gets.
            return replace_tensor(outputs, where, tokens.detach().clone())
        behind = given if every else given[-1:]
        behind = [path.layout.mean(one) for one in behind] if mean else behind
        joined.append(torch.cat(behind, path.layout.batch))
        return replace_tensor(outputs, where, joined[0])

    hooks = [(module, after) for module in dict.fromkeys(path.blocks)]
    with (
        undisturbed(model),
        torch.enable_grad(),
        hooked(hooks),
        Attending(see, differentiate=True),
    ):
        outputs = model(inputs.clone())
    if met != path.total or len(given) != len(path.blocks):
        raise MethodError(
            f"the network takes another course with these inputs: {met} attentions where there "
            f"were {path.total} for the first image alone; {INSTEAD}"
        )
    blocks = len(path.blocks)
    rows = blocks * batch if every else batch
    found = [one.reshape(batch, -1, *one.shape[-2:]) for one in seen[:blocks]]
    pooling = None if path.pooling is None else seen[blocks]
    if pooling is not None:
        pooling = pooling.detach().reshape(rows, -1, *pooling.shape[-2:])
    return Attended(
        attentions=[at_least_float32(one.detach()) for one in found],
        pooling=None if pooling is None else at_least_float32(pooling),
        outputs=outputs,
        _differentiated=seen[:blocks] if path.pooling is None else seen[blocks:],
        _read=joined[0],
        _layout=path.layout,
    )


def _gradients(scores: Tensor, tensors: list[Tensor], keep_graph: bool) -> list[Tensor]:
    if not scores.requires_grad:
        raise MethodError(
            "the network cuts the gradient between its last attention and the score (detach, "
            "argmax, inference_mode); take a method that needs no gradient, such as recipro-cam."
        )
    # Below 6e-5 float16 loses digits, and gradients of a mean over tokens lie there.
    scale = 1024.0 if any(one.dtype == torch.float16 for one in tensors) else 1.0
    found = torch.autograd.grad(
        scores.sum() * scale, tensors, retain_graph=keep_graph, allow_unused=True
    )
    return [
        torch.zeros_like(one) if gradient is None else at_least_float32(gradient) / scale
        for one, gradient in zip(tensors, found, strict=True)
    ]
