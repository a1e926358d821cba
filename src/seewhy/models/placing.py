"""Which of a model's calls lie on the picture, told from one traced run of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from seewhy.models.bound import Bound
from seewhy.models.grid import Grid, find_grid
from seewhy.models.modules import modules_of, unwrap
from seewhy.models.trace import Call
from seewhy.models.undisturbed import given_back, undisturbed
from seewhy.models.watch import Layer, replacing

Key = tuple[Any, ...] | None
"""For which runs something holds; see `holds_for`."""


def named_part(model: nn.Module) -> tuple[nn.Module, nn.Module]:
    """What is run, and the caller's module in it, in which layers have their names."""
    model = unwrap(model)
    return model, model.module if isinstance(model, Bound) else model


def holds_for(model: nn.Module, named: nn.Module, inputs: Tensor, *asked: Any) -> Key:
    """For which runs what one of them has shown holds; None: for that one alone.

    Other inputs beside the picture may lead another way, and a function of the output may be
    another one each time.
    """
    output = None
    if isinstance(model, Bound):
        output = model.output
        if model.beside or callable(output):
            return None
    return (*map(id, modules_of(named)), tuple(inputs.shape[1:]), output, *asked)


def placed_calls(calls: Sequence[Call], inputs: Tensor) -> list[tuple[Call, Grid]]:
    """The calls whose output lies on the picture at more than one position, in its order."""
    laid = _laid(calls, inputs)
    scattered = _scattered(laid)
    return [(call, grid) for call, grid in laid if call not in scattered]


def _laid(calls: Sequence[Call], inputs: Tensor) -> list[tuple[Call, Grid]]:
    """The calls whose output can be laid on the picture at more than one position."""
    sizes = map_sizes(calls, inputs)
    found = []
    for call in calls:
        steps = isinstance(call.module, nn.RNNBase)  # of a sequence, and not tokens of a picture
        if call.name and call.floating and call.shape is not None and not steps:
            grid = find_grid(call.shape, inputs.shape, call.module, sizes)
            if grid is not None and math.prod(grid.size) > 1:
                found.append((call, grid))
    parts = _attending(found, inputs, sizes)
    counts = {math.prod(g.size) + g.extra for _, g in found if g.form == "tokens"}
    return [(one, g) for one, g in found if not _is_matrix(one, g, parts, counts, inputs)]


def map_sizes(calls: Sequence[Call], inputs: Tensor) -> tuple[tuple[int, ...], ...]:
    """What maps there are: the tokens of a picture are those of an earlier map."""
    shapes = [call.shape for call in calls if call.shape is not None]
    return tuple({tuple(s[2:]): None for s in shapes if len(s) == inputs.ndim})


def token_counts(
    calls: Sequence[Call], inputs: Tensor, where: Sequence[tuple[str, str]] | None = None
) -> list[int]:
    """How many tokens the calls give that give tokens, each number once; all calls, or some."""
    return list(
        dict.fromkeys(
            call.shape[1]
            for call, grid in _laid(calls, inputs)
            if grid.form == "tokens"
            and call.shape is not None
            and (where is None or (call.name, call.path) in where)
        )
    )


@given_back
def tokens_of_others(
    model: nn.Module, inputs: Tensor, calls: Sequence[Call], count: int
) -> Set[Call]:
    """The calls that give so many tokens which are not the picture's, but a text's or queries.

    By chance these may be as many as fit a grid. They begin where a call takes and gives so many
    tokens and gives the same for another picture. A class token is the same too before the first
    attention; it stands in front, and tokens from the middle and the end are compared.
    """
    if inputs.device.type == "meta":
        return frozenset()
    rows = (len(inputs), count)
    modules = {one.module for one in calls if one.entered is not None and one.entered[:2] == rows}
    candidates = [
        one
        for one in calls
        if one.module in modules and one.name and one.floating and not one.path
        and one.shape is not None and len(one.shape) == 3 and one.shape[:2] == rows
    ]  # fmt: skip
    seen: list[Tensor] = []

    def see(tensor: Tensor) -> None:
        if tensor.ndim == 3 and tensor.shape[:2] == rows:
            seen.append(tensor[:, [count // 2, -1]].clone())

    generator = torch.Generator().manual_seed(0)
    other = inputs + torch.randn(inputs.shape, generator=generator).to(inputs)
    with ExitStack() as stack:
        stack.enter_context(undisturbed(model))
        stack.enter_context(torch.no_grad())
        for one in dict.fromkeys((each.name, each.module) for each in candidates):
            stack.enter_context(replacing(Layer(*one), see))
        model(inputs.clone())
        model(other)
    if len(seen) != 2 * len(candidates):
        return frozenset()
    for call, tensor, again in zip(candidates, seen, seen[len(candidates) :], strict=False):
        # A part that gives every token the same (its weights still zero) tells nothing.
        if torch.equal(tensor, again) and not torch.equal(tensor[:, 0], tensor[:, 1]):
            behind = calls[calls.index(call) :]
            return {one for one in behind if one.shape and one.shape[:-1] == rows}
    return frozenset()


def scattered_calls(calls: Sequence[Call], inputs: Tensor) -> set[Call]:
    """The calls that give tokens in another order than the picture's.

    As behind a part that puts those of a window side by side, so that pooling is a maximum of
    neighbours in memory (Hiera). Behind enough poolings they are in the picture's order again:
    then all that a position is made of lies in its own cell.
    """
    return _scattered(_laid(calls, inputs))


def _scattered(laid: Sequence[tuple[Call, Grid]]) -> set[Call]:
    order: tuple[Tensor, Grid] | None = None
    found = set()
    for call, grid in laid:
        if grid.form != "tokens":
            continue
        if call.order is not None:
            rows = call.order[grid.extra :] - grid.extra
            order = (rows if order is None or order[1] != grid else order[0][rows]), grid
        if order is not None and not _in_order(*order, grid):
            found.add(call)
    return found


def _in_order(order: Tensor, before: Grid, grid: Grid) -> bool:
    """Whether tokens that are pooled from reordered ones lie on the picture row by row.

    Args:
        order: where each of the reordered ones was.
        before: how they lay.
        grid: how the pooled ones would lie.
    """
    count = math.prod(grid.size)
    if len(order) % count or len(grid.size) != 2:
        return False
    (height, width), (rows, columns) = before.size, grid.size
    cells = order // width * rows // height * columns + order % width * columns // width
    wanted = torch.arange(count)
    return any(  # pooled tokens are neighbours in memory, or lie a count apart
        bool((groups == wanted[:, None]).all())
        for groups in (cells.reshape(-1, count).T, cells.reshape(count, -1))
    )


def _attending(
    found: Sequence[tuple[Call, Grid]], inputs: Tensor, sizes: Sequence[tuple[int, ...]]
) -> dict[str, int]:
    """The parts that give as many positions as they take, by name: blocks and attentions."""
    parts = {}
    for call, grid in found:
        if call.entered is not None and grid.fits(inputs.shape):
            taken = find_grid(call.entered, inputs.shape, None, sizes)
            if taken is not None and taken.size == grid.size:
                parts[call.name] = math.prod(grid.size) + grid.extra
    return parts


def _is_matrix(
    call: Call, grid: Grid, parts: Mapping[str, int], counts: Set[int], inputs: Tensor
) -> bool:
    """Whether what looks like a map is tokens by tokens, or by channels, of each attention head.

    Args:
        call, grid: what looks like a map.
        parts: the attentions, by name, and their numbers of tokens.
        counts: of tokens, anywhere in the model.
        inputs: the picture.
    """
    prefixes = [name for name in parts if call.name.startswith(f"{name}.")]
    if grid.form == "tokens" or grid.fits(inputs.shape):
        return any(grid.size == (parts[name], parts[name]) for name in prefixes)
    of_tokens = math.prod(grid.size) not in counts and not counts.isdisjoint(grid.size)
    return bool(prefixes) or of_tokens
