"""The attentions among a picture's tokens, and what they do for a score.

`find_attention` tells which attentions of a network those are, and which modules hand the tokens
on behind them; `attend` runs it and gives them with their gradients. There the head can be put
behind every block: the tokens of all blocks are laid along the batch where the last one ends, so
that one run of the tail reads them all; and each block starts from tokens without a history, so
that one backward pass gives each block's own gradient.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from seewhy.errors import MethodError
from seewhy.models.attending import Attending
from seewhy.models.grid import Grid, find_grid
from seewhy.models.modules import modules_of
from seewhy.models.outputs import replace_tensor, tensors_in
from seewhy.models.undisturbed import given_back, hooked, undisturbed
from seewhy.models.watch import CUTS, WITHOUT_GRADIENT, has_gradient
from seewhy.precision import at_least_float32

INSTEAD = "Use grad-cam, which explains a layer and needs no attention."


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


LAYOUTS = (
    Layout(0, (1,)),  # tokens behind the batch
    Layout(1, (0,)),  # and before it
    Layout(0, (1, 2)),  # maps with their channels last
    Layout(0, (2, 3)),  # and first
    Layout(0, (1, 2, 3)),  # volumes
    Layout(0, (2, 3, 4)),
)


@dataclass(frozen=True, eq=False)
class AttentionPath:
    """The attentions among a picture's tokens, in the order in which they run.

    Attributes:
        calls: their numbers among all attentions of a run.
        pooling: the number of the one behind them with which the head pools the tokens, if any.
        total: how many attentions a run has.
        tokens: how many tokens there are, class and register tokens with them.
        grid: how they lie on the picture.
        blocks: for each, the module that gives the tokens on behind it.
        whole: whether each of these modules gets exactly what the last one gave.
        layout: how the tokens lie in what the blocks give.
    """

    calls: tuple[int, ...]
    pooling: int | None
    total: int
    tokens: int
    grid: Grid
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


@given_back
def find_attention(model: nn.Module, image: Tensor) -> AttentionPath:
    """The attentions among the tokens of a picture `(1, channels, height, width)`.

    Raises:
        MethodError: where a network has none, or they are not among the same tokens all the way.
    """
    image = image.detach().clone().requires_grad_()
    met: list[_Met] = []
    open_calls: list[_Call] = []
    reaching: set[Any] = set()
    sizes: dict[tuple[int, ...], None] = {}
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
            shapes = [tuple(one.shape) for _, one in tensors_in(outputs) if one.ndim == image.ndim]
            sizes.update({shape[2:]: None for shape in shapes})

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
    last, layout = blocks[-1]
    given = layout.find(last.outputs, 1, tokens)
    assert given is not None
    shape = layout.by_token(given[1]).shape
    grid = find_grid(shape, image.shape, last.module, tuple(sizes))
    if grid is None:
        raise MethodError(
            f"this network's attention is among {tokens} tokens that have no place on a "
            f"picture of {tuple(image.shape)}. {INSTEAD}"
        )
    hands_on = [
        _hands_on(call, own, met[number].calls, tokens)
        for (call, own), number in zip(blocks, calls[1:], strict=False)
    ]
    return AttentionPath(
        calls=calls,
        pooling=pooling,
        total=len(met),
        tokens=tokens,
        grid=grid,
        blocks=tuple(call.module for call, _ in blocks),
        whole=all(hands_on) and len({own for _, own in blocks}) == 1,
        layout=layout,
    )


def _among_tokens(met: Sequence[_Met]) -> tuple[tuple[int, ...], int | None]:
    """The numbers of the attentions among a picture's tokens, and of the one that pools them."""
    ours = [number for number, one in enumerate(met) if one.of_picture]
    if not ours:
        raise MethodError(
            "no attention that the picture reaches was found in this network (it has "
            "none, or it is compiled, TorchScript or a kernel from outside torch). "
            f"{INSTEAD}"
        )
    if any(met[number].parts > 1 for number in ours):
        raise MethodError(
            "this network's attention is within windows of the picture (Swin, MaxViT), "
            "not among all of its tokens, so it does not contain what passes between "
            f"windows. {INSTEAD}"
        )
    last = met[ours[-1]].shape
    pooling = ours[-1] if len(ours) > 1 and last[0] != last[1] else None
    calls = ours if pooling is None else ours[:-1]
    (queries, keys), *others = dict.fromkeys(met[number].shape for number in calls)
    if others or queries != keys or (pooling is not None and last[1] != keys):
        shapes = ", ".join(f"{q}×{k}" for q, k in dict.fromkeys(met[n].shape for n in ours))
        raise MethodError(
            "this network's attentions are not all among the same tokens (queries × "
            f"keys: {shapes}), so they cannot be followed from the image to the score. "
            f"{INSTEAD}"
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
        f"no part of this network takes {tokens} tokens and returns the same number "
        f"with one attention in between, so its blocks cannot be found. {INSTEAD}"
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
    """The attentions of one run; made by `attend`.

    Attributes:
        attentions: for each block `(batch, heads, tokens, tokens)`, detached, float32 or better.
        outputs: what the model gave; with the head behind every block of `(blocks * batch, ...)`,
            the first block's rows first.
    """

    attentions: list[Tensor]
    outputs: Any
    _by: list[Tensor]
    _pooling: Tensor | None
    _read: Tensor
    _layout: Layout
    _copies: bool

    def gradients(self, scores: Tensor, *, keep_graph: bool = False) -> list[Tensor]:
        """For each block, how the sum of `scores` changes with the attention.

        With the head behind every block, of each block's own outputs by its own attention; where
        the head pools by attention by that one, as it reads the block's tokens.

        Returns:
            For each block `(batch, heads, queries, tokens)`, float32 or better.
        """
        blocks, batch = len(self.attentions), len(self.attentions[0])
        found = _gradients(scores, self._by, keep_graph)
        if len(found) < blocks:  # by the head's
            found = list(found[0].chunk(blocks))
        elif self._copies:
            found = [one.chunk(blocks)[block] for block, one in enumerate(found)]
        return [one.reshape(batch, -1, *one.shape[-2:]) for one in found]

    def read(self, scores: Tensor, *, keep_graph: bool = False) -> Tensor:
        """How much the head reads of each of the last block's tokens, `(batch, tokens)`; sum 1.

        Where it pools by attention, as much as that says; otherwise alike of all that the score
        depends on: the class token, say, or every token of the picture. Alike of all tokens where
        it depends on none (a head of zeros).
        """
        batch = len(self.attentions[0])
        if self._pooling is not None:
            return self._pooling[-batch:].mean((1, 2))
        (found,) = _gradients(scores, [self._read], keep_graph)
        read = self._layout.by_token(found)[-batch:].ne(0).any(2)
        read = (read | ~read.any(1, keepdim=True)).float()
        return read / read.sum(1, keepdim=True)


@given_back
def attend(
    model: nn.Module,
    inputs: Tensor,
    path: AttentionPath,
    *,
    every: bool,
    mean: bool = False,
    copies: bool = False,
) -> Attended:
    """Run `model` and see its attentions.

    Args:
        model: any eager module.
        inputs: `(batch, channels, height, width)`.
        path: what `find_attention` gave.
        every: puts the head behind every block, which then starts from tokens without a history;
            otherwise the network runs as it is.
        mean: whether the head reads the mean of a block's tokens in the place of each.
        copies: whether the pictures come once for each block from the beginning, for a head that
            puts them beside something else of each picture; otherwise from the last block on.

    Raises:
        MethodError: if the network takes another course than it did, or hands its tokens on in
            a way that no module shows.
    """
    if every and not path.whole:
        raise MethodError(
            "this network changes its tokens between the modules with its attentions, "
            "so the head cannot be applied after every block. Use attention-rollout, "
            "or grad-cam, which explains a layer."
        )
    batch, blocks = len(inputs), len(path.blocks)
    copies = copies and every
    rows = batch * blocks if copies else batch
    numbers = {*path.calls, path.pooling}
    seen: list[Tensor] = []
    given: list[Tensor] = []
    read: list[Tensor] = []
    met = 0
    thread = threading.get_ident()

    def see(probabilities: Tensor, shape: torch.Size) -> None:  # noqa: ARG001
        nonlocal met
        if met in numbers:
            seen.append(probabilities)
        met += 1

    def after(module: nn.Module, args: Any, outputs: Any) -> Any:  # noqa: ARG001
        block = len(given)
        if threading.get_ident() != thread or block == blocks or len(seen) == block:
            return None
        found = path.layout.find(outputs, rows, path.tokens)
        if module is not path.blocks[block] or found is None:
            return None
        where, tokens = found
        own = tokens.chunk(blocks, path.layout.batch)[block] if copies else tokens
        given.append(path.layout.mean(own) if mean else own)
        if len(given) < blocks:
            # A clone, as the next block may write into what it gets.
            return replace_tensor(outputs, where, tokens.detach().clone()) if every else None
        read.append(torch.cat(given if every else given[-1:], path.layout.batch))
        return replace_tensor(outputs, where, read[0].clone())

    hooks = [(module, after) for module in dict.fromkeys(path.blocks)]
    with (
        undisturbed(model),
        torch.enable_grad(),
        hooked(hooks),
        Attending(see, differentiate=True),
    ):
        outputs = model(inputs.repeat(rows // batch, *(1 for _ in inputs.shape[1:])))
    if met != path.total or len(given) != blocks:
        raise MethodError(
            f"the network runs differently with these inputs: {met} attentions, but "
            f"{path.total} for the first image alone. {INSTEAD}"
        )
    of_blocks, of_head = seen[:blocks], seen[blocks:]
    pooling = None
    if of_head:
        pooling = at_least_float32(of_head[0].detach())
        pooling = pooling.reshape(blocks * batch if every else batch, -1, *pooling.shape[-2:])
    shown = [at_least_float32(one.detach()) for one in of_blocks]
    return Attended(
        attentions=[one.reshape(rows, -1, *one.shape[-2:])[:batch] for one in shown],
        outputs=outputs,
        _by=of_head if every and of_head else of_blocks,
        _pooling=pooling,
        _read=read[0],
        _layout=path.layout,
        _copies=copies,
    )


def _gradients(scores: Tensor, tensors: list[Tensor], keep_graph: bool) -> list[Tensor]:
    if not scores.requires_grad or not has_gradient(scores):
        raise MethodError(
            "no gradient of the score reaches the attention, because the network "
            f"interrupts it ({CUTS}). Use a method without gradients: "
            f"{WITHOUT_GRADIENT}."
        )
    # Below 6e-5 float16 loses digits, and gradients of a mean over tokens lie there.
    scale = 1024.0  # a power of two, so no other type loses one by it
    found = torch.autograd.grad(
        scores.sum() * scale, tensors, retain_graph=keep_graph, allow_unused=True
    )
    return [
        torch.zeros_like(one) if gradient is None else at_least_float32(gradient) / scale
        for one, gradient in zip(tensors, found, strict=True)
    ]
