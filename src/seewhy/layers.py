"""Layers: found by name, or proposed from one real forward pass with the reason in words."""

from __future__ import annotations

import difflib
import math
import re
import weakref
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from seewhy.errors import LayerError, ModelError
from seewhy.models.bound import Bound
from seewhy.models.exported import is_a, kind_of
from seewhy.models.grid import Grid, find_grid
from seewhy.models.outputs import find_logits, tensors_in
from seewhy.models.watch import (
    WRAPPED,
    Call,
    Layer,
    at_least_float32,
    check_hookable,
    clean_name,
    has_gradient,
    is_weightless,
    modules_of,
    replacing,
    trace,
    undisturbed,
    unwrap,
    watch,
)

LayerSpec = str | nn.Module | Sequence[str | nn.Module]
"""A dotted name, a module, a wildcard (`layer*`, `layer4.*.conv2`), or a list of these.

`name#2` is the third call of a module that runs several times (`#-1` the last); `name[1]` or
`name[features]` one tensor of a layer that returns several.
"""


@dataclass(frozen=True)
class Proposal:
    """A layer and why it was chosen."""

    layer: Layer
    reason: str


@dataclass(frozen=True)
class Candidate:
    """A layer whose output is a spatial map.

    Attributes:
        name: the module's dotted name, with `#call` where it runs more than once.
        kind: the module's class.
        shape: (channels, height, width), or (channels, *positions) of other inputs.
        form: how the layer itself has them: channels first, channels last, tokens, frames.
        extra: class and register tokens that are set aside.
        chosen: whether it is the one that is proposed.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    form: str
    extra: int
    chosen: bool


def find_layers(model: nn.Module, spec: LayerSpec) -> list[Layer]:
    """The layers a spec names, in the order given (a wildcard's in the model's order).

    Raises:
        LayerError: for a name or module that is not in the model, with the nearest names.
    """
    model = unwrap(model)
    check_hookable(model)
    names = _names(model)
    specs: list[str | nn.Module] = list(spec) if isinstance(spec, (list, tuple)) else [spec]  # type: ignore[list-item]
    if not specs:
        raise LayerError("layer=[] names no layer; give at least one, or leave it out.")
    found = [layer for one in specs for layer in _find(names, one)]
    return list(dict.fromkeys(found))


def layers_of(model: Bound, inputs: Tensor, spec: LayerSpec | None) -> list[Layer]:
    """The layers that a spec names in a model that is called with these inputs; None proposes one.

    Raises:
        LayerError: for a layer that is not there, or cannot be laid on the picture.
    """
    alone, first = model.image(0), inputs[:1]
    if spec is None:
        return [propose_layer(alone, first).layer]
    return beside_maps(alone, first, find_layers(model.module, spec))


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
    model, named = _named(model)
    key = _holds_for(model, named, inputs)
    known = _proposals.get(named)
    if known is not None and known[0] == key is not None:
        return known[1]
    outputs, calls = trace(model, inputs, named)
    proposal = _propose(model, inputs, calls, [tensor for _, tensor in tensors_in(outputs)])
    _proposals[named] = (key, proposal)
    return proposal


def list_layers(model: nn.Module, inputs: Tensor) -> list[Candidate]:
    """Every layer whose output lies on the picture, in the order in which they run.

    Not those that hand on what they take in (Identity, Dropout in eval mode), half of a timm ViT's.
    """
    model, named = _named(model)
    _, calls = trace(model, inputs, named)
    try:
        proposed = propose_layer(model, inputs).layer
        chosen = (proposed.name, proposed.path)
    except LayerError:
        chosen = None
    others: set[Call] = set()
    for count in _counts(calls, inputs):
        others |= _of_others(model, inputs, calls, count)
    placed = [(call, grid) for call, grid in _placed(calls, inputs) if call not in others]
    names = [(call.name, call.path) for call, _ in placed]
    seen: dict[tuple[str, str], int] = {}
    candidates = []
    for (call, grid), key in zip(placed, names, strict=True):
        assert call.shape is not None
        number = seen[key] = seen.get(key, -1) + 1
        once = names.count(key) == 1
        if call.passes_through:
            continue
        candidates.append(
            Candidate(
                name=str(Layer(call.name, call.module, call.path, None if once else number)),
                kind=kind_of(call.module),
                shape=(grid.channels(call.shape), *grid.size),
                form=grid.form,
                extra=grid.extra,
                chosen=once and key == chosen,
            )
        )
    return candidates


def beside_maps(model: nn.Module, inputs: Tensor, layers: Sequence[Layer]) -> list[Layer]:
    """The layers with what only a run of the whole model tells of how their tokens lie.

    These are the sizes of the model's maps: the number of tokens alone leaves open how many belong
    to a frame of a video, or to a row where a picture is not reduced alike along its axes.

    Raises:
        LayerError: for tokens that a part before the layer has put into another order, or that are
            not the picture's.
    """
    model, named = _named(model)
    norms = any(is_weightless(one) or is_a(one, nn.LayerNorm) for one in modules_of(named))
    if inputs.ndim != 5 and not norms:
        return list(layers)
    where = [(layer.name, layer.path) for layer in layers]
    key = _holds_for(model, named, inputs, *where)
    known = _looked_through.get(named)
    if known is None or not (known[0] == key is not None):
        _, calls = trace(model, inputs, named)
        refused = {(one.name, one.path): _SCATTERED for one in _scattered(calls, inputs)}
        for count in _counts(calls, inputs, where):
            for one in _of_others(model, inputs, calls, count):
                refused[one.name, one.path] = _OTHERS
        known = _looked_through[named] = (key, _sizes(calls, inputs), refused)
    for layer in layers:
        if (layer.name, layer.path) in known[2]:
            raise LayerError(
                f"layer '{layer}' gives {known[2][layer.name, layer.path]}; choose a layer that "
                "is listed by seewhy layers."
            )
    return [replace(layer, known=known[1]) for layer in layers]


_SCATTERED = (
    "its tokens in another order than the picture's, into which a part before it has put them"
)
_OTHERS = "tokens of something beside the picture (a text, queries), which have no place on it"

_Key = tuple[Any, ...] | None

# Remembered outside the models, which stay untouched, and forgotten with them.
_proposals: weakref.WeakKeyDictionary[nn.Module, tuple[_Key, Proposal]] = (
    weakref.WeakKeyDictionary()
)

_looked_through: weakref.WeakKeyDictionary[
    nn.Module, tuple[_Key, tuple[tuple[int, ...], ...], dict[tuple[str, str], str]]
] = weakref.WeakKeyDictionary()


def _holds_for(model: nn.Module, named: nn.Module, inputs: Tensor, *asked: Any) -> _Key:
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


_SPEC = re.compile(r"(?P<name>[^\[#]+)(?:\[(?P<path>[^\]]+)\])?(?:#(?P<call>-?\d+))?")


def _named(model: nn.Module) -> tuple[nn.Module, nn.Module]:
    """What is run, and the caller's module in it, in which layers have their names."""
    model = unwrap(model)
    return model, model.module if isinstance(model, Bound) else model


def _names(model: nn.Module) -> dict[str, nn.Module]:
    """Every module below `model` by its clean name, in the model's order; a shared one by each.

    `model.named_modules()` takes ten times as long: a tenth of a small network's forward pass.
    """
    names: dict[str, nn.Module] = {}
    waiting = [("", model)]
    while waiting:
        name, module = waiting.pop()
        if name:
            names[name] = module
        prefix = f"{name}." if name else ""
        for key, child in reversed(module._modules.items()):
            if child is not None:
                waiting.append((name if key in WRAPPED else prefix + key, child))
    return names


def _find(names: dict[str, nn.Module], spec: str | nn.Module) -> list[Layer]:
    if isinstance(spec, nn.Module):
        module = unwrap(spec)
        for name, candidate in names.items():
            if candidate is module or unwrap(candidate) is module:
                return [Layer(name, candidate)]
        raise LayerError(
            f"the module {type(module).__name__} given as layer= is not part of this model; take "
            "it from the model itself, or give its name."
        )
    if not isinstance(spec, str):
        raise LayerError(
            f"layer={spec!r} is a {type(spec).__name__}; a name, a module or a list is wanted."
        )
    parts = _SPEC.fullmatch(spec.strip())
    if parts is None:
        raise LayerError(
            f"layer '{spec}' cannot be read; write name, name[output] or name#call, as in "
            "'layer4', 'backbone[0]', 'layer4.2.relu#2'."
        )
    name = clean_name(parts["name"])
    path, call = parts["path"] or "", None if parts["call"] is None else int(parts["call"])
    if name in names:
        return [Layer(name, names[name], path, call)]
    matches = [candidate for candidate in names if _matches(candidate, name)]
    if not matches:
        raise LayerError(_miss(names, name))
    return [Layer(match, names[match], path, call) for match in matches]


def _matches(name: str, pattern: str) -> bool:
    """Whether a dotted name fits a wildcard, part by part: `layer*` is not `layer4.0`."""
    parts, patterns = name.split("."), pattern.split(".")
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))


def _miss(names: dict[str, nn.Module], name: str) -> str:
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if not near:  # a name that is only too long or too short by a part
        near = [known for known in names if known.endswith(f".{name}")][:3]
    hint = f"did you mean {' or '.join(repr(one) for one in near)}? " if near else ""
    top = ", ".join(dict.fromkeys(known.split(".")[0] for known in names))
    return f"layer '{name}' not found; {hint}The model's parts are {top}. List all: seewhy layers."


def _propose(
    model: nn.Module, inputs: Tensor, calls: Sequence[Call], outputs: Sequence[Tensor]
) -> Proposal:
    """The choice, from a trace: the last call whose every position the score depends on."""
    sizes = _sizes(calls, inputs)
    dense = inputs.ndim  # a segmentation's output has classes for channels too
    class_counts = frozenset(one.shape[1] for one in outputs if one.ndim in (2, dense))
    own = [call for call in calls if not call.name]  # outputs, of which a bound model shows one
    passed_over: list[str] = []

    of_others = cache(partial(_of_others, model, inputs, tuple(calls)))

    def of_picture(call: Call) -> bool:
        assert call.shape is not None
        return call not in of_others(call.shape[1])

    for call, grid, unplaced in _candidates(calls, inputs, class_counts, passed_over):
        if grid.form == "tokens" and not of_picture(call):
            continue
        runs = sum(one.module is call.module and one.path == call.path for one in calls)
        last = None if runs == 1 else -1
        layer = Layer(call.name, call.module, call.path, last, known=sizes)
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
        if alone or _is_read(model, inputs, layer, 0.5 if grid.form == "tokens" else 0.0):
            if grid.form == "tokens" and _is_scale_blind(model, inputs, layer):
                layer, call, grid = _normalised(calls, inputs, layer, call, grid)
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
    placed = dict(_placed(calls, inputs))
    sizes = _sizes(calls, inputs)
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
            call.same_as is None and grid is not None and grid.size != tuple(inputs.shape[2:])
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


def _normalised(
    calls: Sequence[Call], inputs: Tensor, layer: Layer, call: Call, grid: Grid
) -> tuple[Layer, Call, Grid]:
    """What the normalisation behind a layer gives, through which alone its tokens are read."""
    behind = set(calls[calls.index(call) + 1 :])
    for one, other in _placed(calls, inputs):
        norm = "norm" in kind_of(one.module).lower()
        if one in behind and norm and not one.passes_through and other.size == grid.size:
            runs = sum(each.module is one.module for each in calls)
            last = None if runs == 1 else -1
            return Layer(one.name, one.module, one.path, last, known=layer.known), one, other
    return layer, call, grid


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


def _is_read(model: nn.Module, inputs: Tensor, layer: Layer, share: float) -> bool:
    """Whether the outputs' gradient reaches more than that share of a layer's positions.

    Where only the class token is read, the others' gradient is exactly zero. A network that knows
    no gradient tells nothing.
    """
    looked = _look(model, inputs, layer)
    return looked is None or bool((looked[1] != 0).any(1).float().mean() > share)


def _counts(
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


def _of_others(model: nn.Module, inputs: Tensor, calls: Sequence[Call], count: int) -> Set[Call]:
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


def _is_scale_blind(model: nn.Module, inputs: Tensor, layer: Layer) -> bool:
    """Whether the outputs do not change when a position's activations are all made larger.

    So it is where each position is read through a normalisation of its own. The gradient is then
    orthogonal to the activations: their product, of which many methods are made, adds up to zero.
    """
    looked = _look(model, inputs, layer)
    if looked is None:
        return False
    products = looked[0] * looked[1]
    return bool(products.sum(1).abs().sum() < 5e-3 * products.abs().sum())


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


def _placed(calls: Sequence[Call], inputs: Tensor) -> list[tuple[Call, Grid]]:
    """The calls whose output lies on the picture at more than one position, in its order."""
    scattered = _scattered(calls, inputs)
    return [(call, grid) for call, grid in _laid(calls, inputs) if call not in scattered]


def _scattered(calls: Sequence[Call], inputs: Tensor) -> set[Call]:
    """The calls that give tokens in another order than the picture's.

    As behind a part that puts those of a window side by side, so that pooling is a maximum of
    neighbours in memory (Hiera). Behind enough poolings they are in the picture's order again:
    then all that a position is made of lies in its own cell.
    """
    order: tuple[Tensor, Grid] | None = None
    found = set()
    laid = dict(_laid(calls, inputs))
    for call in calls:
        grid = laid.get(call)
        if grid is None or grid.form != "tokens":
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


def _direction(output: Tensor) -> Tensor:
    """One number of an output that depends on all of it, but of scores for classes the largest.

    All classes together would read tokens of which each class reads only its own (VOLO).
    """
    if output.ndim == 2:
        return output.amax(1).sum()
    generator = torch.Generator().manual_seed(0)
    return (output * torch.randn(output.shape, generator=generator).to(output)).sum()


def _laid(calls: Sequence[Call], inputs: Tensor) -> list[tuple[Call, Grid]]:
    """The calls whose output can be laid on the picture at more than one position."""
    sizes = _sizes(calls, inputs)
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


def _sizes(calls: Sequence[Call], inputs: Tensor) -> tuple[tuple[int, ...], ...]:
    """What maps there are: the tokens of a picture are those of an earlier map."""
    shapes = [call.shape for call in calls if call.shape is not None]
    return tuple({tuple(s[2:]): None for s in shapes if len(s) == inputs.ndim})


def _as_many(unplaced: Call, grid: Grid) -> bool:
    assert unplaced.shape is not None
    return 0.2 < unplaced.shape[1] / math.prod(grid.size) < 2


def _is_pooling(module: nn.Module) -> bool:
    return "pool" in kind_of(module).lower() or is_a(module, nn.Upsample)


def _has_own_weights(module: nn.Module) -> bool:
    return any(True for _ in module.parameters(recurse=False))
