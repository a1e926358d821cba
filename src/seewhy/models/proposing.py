"""The layer that is looked at where none is named, and why."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor, nn

from seewhy.errors import LayerError, ModelError
from seewhy.models.exported import is_a, kind_of
from seewhy.models.grid import Grid, find_grid
from seewhy.models.outputs import find_logits, tensors_in
from seewhy.models.placing import (
    Key,
    holds_for,
    map_sizes,
    named_part,
    placed_calls,
    tokens_of_others,
)
from seewhy.models.trace import Call, trace
from seewhy.models.undisturbed import given_back
from seewhy.models.watch import Layer, has_gradient, watch
from seewhy.precision import at_least_float32


@dataclass(frozen=True)
class Proposal:
    """A layer and why it was chosen."""

    layer: Layer
    reason: str


def propose_layer(model: nn.Module, inputs: Tensor) -> Proposal:
    """The last map or tokens before the head on which the score depends everywhere.

    From one real forward pass, and for tokens from a gradient: behind the last attention a
    classifier reads its class token alone, and what the others hold there says nothing. Never a
    map of one position, nor the map of class scores, nor a pooling, nor a layer that hands its
    input on. Tokens that are read through a normalisation of each are looked at behind it: before
    it their scale has no say, and gradient times activation adds up to zero. The answer is
    remembered as long as the model's modules, the picture's size and the output stay the same.

    Raises:
        LayerError: if the network has no such layer.
    """
    model, named = named_part(model)
    key = holds_for(model, named, inputs)
    known = _proposals.get(named)
    if known is not None and known[0] == key is not None:
        return known[1]
    outputs, calls = trace(model, inputs, named)
    proposal = _propose(model, inputs, calls, [tensor for _, tensor in tensors_in(outputs)])
    _proposals[named] = (key, proposal)
    return proposal


# Remembered outside the models, which stay untouched, and forgotten with them.
_proposals: weakref.WeakKeyDictionary[nn.Module, tuple[Key, Proposal]] = weakref.WeakKeyDictionary()


def _propose(
    model: nn.Module, inputs: Tensor, calls: Sequence[Call], outputs: Sequence[Tensor]
) -> Proposal:
    """The choice, from a trace: the last call whose every position the score depends on."""
    sizes = map_sizes(calls, inputs)
    dense = inputs.ndim  # a segmentation's output has classes for channels too
    class_counts = frozenset(one.shape[1] for one in outputs if one.ndim in (2, dense))
    own = [call for call in calls if not call.name]  # outputs, of which a bound model shows one
    passed_over: list[str] = []

    of_others = cache(partial(tokens_of_others, model, inputs, tuple(calls)))

    def of_picture(call: Call) -> bool:
        assert call.shape is not None
        return call not in of_others(call.shape[1])

    for call, grid, unplaced in _candidates(calls, inputs, class_counts, passed_over):
        if grid.form == "tokens" and not of_picture(call):
            continue
        layer = _layer(call, calls, sizes)
        if unplaced is not None and _as_many(unplaced, grid) and of_picture(unplaced):
            raise LayerError(
                f"the last spatial map, '{layer}' ({grid}), is followed by layers on tokens "
                f"{unplaced.shape} that cannot be laid on the picture, so it does not stand for "
                "the decision; name the layer to look at with layer=."
            )
        # A map that stands alone on the way to a single output is read; one that its layer gives
        # beside others (PiT's, beside the class token) or that may belong to another output is not
        # always.
        alone = grid.form != "tokens" and not call.path and len(own) == 1 and not passed_over
        looked = None if alone else _look(model, inputs, layer)
        if looked is None or _is_read(looked[1], 0.5 if grid.form == "tokens" else 0.0):
            if looked is not None and grid.form == "tokens" and _is_scale_blind(*looked):
                call, grid = _normalised(calls, inputs, call, grid)
                layer = _layer(call, calls, sizes)
            return Proposal(layer, _reason(layer, call, grid, passed_over))
        if grid.form == "tokens" or not call.path:
            passed_over.append(_source(call).name)
    if passed_over:
        raise LayerError(
            f"the score depends on no token of {', '.join(map(repr, passed_over[:3]))} or what "
            "comes before: is the head still zero, or the gradient cut? Name the layer to look at "
            "with layer=."
        )
    raise LayerError(
        "no layer of this model gives a spatial feature map (batch, channels, height, width) "
        "with more than one position, channels last, or tokens; name a layer, or see what there "
        "is: seewhy layers."
    )


def _candidates(
    calls: Sequence[Call],
    inputs: Tensor,
    class_counts: frozenset[int],
    passed_over: Sequence[str],
) -> Iterator[tuple[Call, Grid, Call | None]]:
    """From the last to the first, with tokens behind it whose grid is not known.

    Not what lies inside of a block that was passed over (its input is what is left to look at),
    nor inside of a part that takes tokens in and sums them up, such as an attention pooling; all
    that is only tried when nothing else is left.
    """
    placed = dict(placed_calls(calls, inputs))
    sizes = map_sizes(calls, inputs)
    # A map of scores may be the sum of others, as in FCN: all of them are.
    dense = any(not one.name and len(one.shape or ()) == inputs.ndim for one in calls)
    weights_behind = False
    unplaced: Call | None = None
    summing: list[str] = []
    inside: list[tuple[Call, Grid, Call | None]] = []
    for call in reversed(calls):
        grid = placed.get(call)
        class_scores = False
        # What passes through a dropout was made in the network's own forward where no part gave it:
        # tokens with their places added, say.
        made = not call.passes_through or (
            call.same_as is None and grid is not None and grid.form == "tokens"
        )
        if grid is not None and made:
            assert call.shape is not None
            as_classes = grid.channels(call.shape) in class_counts
            of_each = grid.form == "tokens" and is_a(call.module, nn.Linear)
            class_scores = as_classes and (of_each or not weights_behind)
            if not class_scores and not any(
                _is_pooling(one.module) for one in (call, _source(call))
            ):
                shut = [*passed_over, *(summing if grid.form == "tokens" else ())]
                if any(call.name.startswith(f"{name}.") for name in shut):
                    inside.append((call, grid, unplaced))
                else:
                    yield call, grid, unplaced
        if grid is None and call.name and call.entered is not None:
            taken = find_grid(call.entered, inputs.shape, None, sizes)
            if taken is not None and taken.form == "tokens":
                summing.append(call.name)
        if _has_own_weights(call.module) and not (dense and class_scores):
            weights_behind = True
            if grid is None and call.shape is not None and len(call.shape) == 3:
                unplaced = call
    yield from inside


def _layer(call: Call, calls: Sequence[Call], sizes: tuple[tuple[int, ...], ...]) -> Layer:
    """Where a call's tensor is; of a module that runs several times, its last call."""
    runs = sum(one.module is call.module and one.path == call.path for one in calls)
    return Layer(call.name, call.module, call.path, None if runs == 1 else -1, known=sizes)


def _normalised(calls: Sequence[Call], inputs: Tensor, call: Call, grid: Grid) -> tuple[Call, Grid]:
    """The normalisation behind a call, through which alone its tokens are read."""
    behind = set(calls[calls.index(call) + 1 :])
    for one, other in placed_calls(calls, inputs):
        norm = "norm" in kind_of(one.module).lower()
        if one in behind and norm and not one.passes_through and other.size == grid.size:
            return one, other
    return call, grid


def _source(call: Call) -> Call:
    """The call that first gave a container's output."""
    while call.same_as is not None:
        call = call.same_as
    return call


def _reason(layer: Layer, call: Call, grid: Grid, passed_over: Sequence[str]) -> str:
    assert call.shape is not None
    positions = "×".join(map(str, grid.size))
    holds = f"{grid.channels(call.shape)} channels of {positions}"
    if grid.form != "tokens":
        return f"'{layer}' gives the last spatial feature map before the head: {holds}"
    aside = ""
    if grid.extra:
        aside = f", {grid.extra} class or register token{'s' * (grid.extra > 1)} set aside"
    later = (
        f"; of what '{passed_over[-1]}' gives, the score reads no token of the picture"
        if passed_over
        else ""
    )
    return f"'{layer}' gives the last tokens on which the score depends: {holds}{aside}{later}"


def _is_read(gradient: Tensor, share: float) -> bool:
    """Whether the outputs' gradient reaches more than that share of a layer's positions.

    Where only the class token is read, the others' gradient is exactly zero.
    """
    return bool((gradient != 0).any(1).float().mean() > share)


def _is_scale_blind(activations: Tensor, gradient: Tensor) -> bool:
    """Whether the outputs do not change when a position's activations are all made larger.

    So it is where each position is read through a normalisation of its own. The gradient is then
    orthogonal to the activations: their product, of which many methods are made, adds up to zero.
    """
    products = activations * gradient
    return bool(products.sum(1).abs().sum() < 5e-3 * products.abs().sum())


@given_back
def _look(model: nn.Module, inputs: Tensor, layer: Layer) -> tuple[Tensor, Tensor] | None:
    """A layer's activations, and the gradient by them of the predicted class, or of all outputs.

    The gradient is zeros where the outputs do not depend on the layer; None for a network that
    knows no gradient.
    """
    if inputs.device.type == "meta":
        return None
    with watch(model, [layer]) as seen:
        outputs = seen(inputs)
        (activations,) = seen.activations
        nothing = activations, torch.zeros_like(activations)
        try:
            read = [find_logits(outputs)]
        except ModelError:  # which it is will be said later; here any dependence counts
            read = [tensor for _, tensor in tensors_in(outputs)]
        read = [tensor for tensor in read if has_gradient(tensor)]
        if not read:  # nor does any other output, or the layer lies on the way to another alone
            return nothing if any(has_gradient(one) for _, one in tensors_in(outputs)) else None
        score = sum(_direction(at_least_float32(one)) for one in read)
        assert isinstance(score, Tensor)
        try:
            (gradient,) = seen.gradients(score)
        except LayerError:
            return nothing
    return activations, gradient


def _direction(output: Tensor) -> Tensor:
    """One number of an output that depends on all of it, but of scores for classes the largest.

    All classes together would read tokens of which each class reads only its own (VOLO).
    """
    if output.ndim == 2:
        return output.amax(1).sum()
    generator = torch.Generator().manual_seed(0)
    return (output * torch.randn(output.shape, generator=generator).to(output)).sum()


def _as_many(unplaced: Call, grid: Grid) -> bool:
    assert unplaced.shape is not None
    return 0.2 < unplaced.shape[1] / math.prod(grid.size) < 2


def _is_pooling(module: nn.Module) -> bool:
    return "pool" in kind_of(module).lower() or is_a(module, nn.Upsample)


def _has_own_weights(module: nn.Module) -> bool:
    return any(True for _ in module.parameters(recurse=False))
