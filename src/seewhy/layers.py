"""Layers: found by name, or proposed from one real forward pass with the reason in words."""

from __future__ import annotations

import difflib
import re
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from seewhy.errors import LayerError
from seewhy.models.bound import Bound
from seewhy.models.exported import is_a, kind_of
from seewhy.models.grid import Grid
from seewhy.models.landing import Landing, Landings, land
from seewhy.models.modules import (
    WRAPPED,
    check_hookable,
    clean_name,
    is_weightless,
    modules_of,
    unwrap,
)
from seewhy.models.placing import (
    Key,
    holds_for,
    map_sizes,
    named_part,
    placed_calls,
    scattered_calls,
    token_counts,
    tokens_of_others,
    with_layouts,
)
from seewhy.models.proposing import REMEMBERED, propose_layer, reached
from seewhy.models.trace import Call, trace
from seewhy.models.watch import Layer, watch

LayerSpec = str | nn.Module | Sequence[str | nn.Module]
"""A dotted name, a module, a wildcard (`layer*`, `layer4.*.conv2`), or a list of these.

`name#2` is the third call of a module that runs several times (`#-1` the last); `name[1]` or
`name[features]` one tensor of a layer that returns several.
"""


@dataclass(frozen=True)
class Candidate:
    """A layer whose output is a spatial map.

    Attributes:
        name: the module's dotted name, with `#call` where it runs more than once.
        kind: the module's class.
        shape: (channels, height, width), or (channels, *positions) of other inputs.
        form: how the layer itself has them: channels first, channels last, tokens, frames.
        extra: tokens that are set aside (class, registers, a detector's queries).
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
        raise LayerError("layer=[] names no layer. Give at least one, or leave it out.")
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


def list_layers(model: nn.Module, inputs: Tensor) -> list[Candidate]:
    """Every layer whose output lies on the picture, in the order in which they run.

    Not those that hand on what they take in (Identity, Dropout in eval mode), half of a timm ViT's.
    """
    model, named = named_part(model)
    _, calls = trace(model, inputs, named)
    calls = with_layouts(model, inputs, calls)
    try:
        proposed = propose_layer(model, inputs).layer
        chosen = (proposed.name, proposed.path)
    except LayerError:
        chosen = None
    others: set[Call] = set()
    for count in token_counts(calls, inputs):
        others |= tokens_of_others(model, inputs, calls, count)
    placed = [(call, grid) for call, grid in placed_calls(calls, inputs) if call not in others]
    names = [(call.name, call.path) for call, _ in placed]
    seen: dict[tuple[str, str], int] = {}
    candidates = []
    for (call, grid), key in zip(placed, names, strict=True):
        assert call.shape is not None
        number = seen[key] = seen.get(key, -1) + 1
        once = names.count(key) == 1
        if call.passes_through and key != chosen:
            continue
        candidates.append(
            Candidate(
                name=str(Layer(call.name, call.module, call.path, None if once else number)),
                kind=kind_of(call.module),
                shape=(grid.channels(call.shape), *grid.size),
                form=grid.form,
                extra=grid.aside,
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
    model, named = named_part(model)
    norms = any(is_weightless(one) or is_a(one, nn.LayerNorm) for one in modules_of(named))
    if inputs.ndim != 5 and not norms:
        return list(layers)
    where = [(layer.name, layer.path) for layer in layers]
    key = holds_for(model, named, inputs, *where)
    known = _looked_through.get(named)
    if known is None or not (known[0] == key is not None):
        _, calls = trace(model, inputs, named)
        calls = with_layouts(model, inputs, calls)
        refused = {(one.name, one.path): _SCATTERED for one in scattered_calls(calls, inputs)}
        for count in token_counts(calls, inputs, where):
            for one in tokens_of_others(model, inputs, calls, count):
                refused[one.name, one.path] = _OTHERS
        placed = dict(placed_calls(calls, inputs)) if inputs.ndim == 5 else {}
        tokens = any(grid.form == "tokens" for grid in placed.values())
        last = tokens and Landings(model, inputs, placed, calls).time_last(placed)
        known = _looked_through[named] = (key, map_sizes(calls, inputs), refused, last)
    for layer in layers:
        if (layer.name, layer.path) in known[2]:
            raise LayerError(
                f"layer '{layer}' gives {known[2][layer.name, layer.path]}; choose a layer that "
                "is listed by seewhy layers."
            )
    return [replace(layer, known=known[1], time_last=known[3]) for layer in layers]


def check_layers(
    model: Bound, inputs: Tensor, layers: Sequence[Layer]
) -> tuple[tuple[str, ...], ...]:
    """What speaks against each of some named layers, in words; nothing where they are right.

    Tested by intervention, all layers together: the gradient of the predicted class must reach the
    layer, a change in a corner of the picture must show in that corner, and a change of another
    picture that the model takes must not show. It takes at most four forward passes and one
    backward pass, once for a model, layers, size of picture and output; the answer is remembered.

    Args:
        model: bound to what it is called with.
        inputs: the picture, `(batch, channels, *axes)`; the first image is looked at.
        layers: what `layers_of` gave.

    Raises:
        LayerError: for a layer that cannot be laid on the picture at all.
    """
    alone, first = model.image(0), inputs[:1]
    if first.device.type == "meta" or not layers:
        return ((),) * len(layers)
    where = [(layer.name, layer.path, layer.call) for layer in layers]
    key = holds_for(alone, model.module, first, *where)
    known = _checked.setdefault(model.module, {})
    if key is None or key not in known:
        strengths: list[float] = []

        def seen(model: nn.Module, picture: Tensor) -> list[Tensor]:
            if strengths:
                with watch(model, layers, differentiate=False) as run, torch.no_grad():
                    run(picture)
                    return run.activations
            activations, found = reached(model, picture, layers)
            strengths.extend(found)
            return activations

        landed = land(alone, first, seen)
        found = tuple(
            _said(str(layer), one, strength)
            for layer, one, strength in zip(layers, landed, strengths, strict=True)
        )
        if key is None:
            return found
        while len(known) >= REMEMBERED:
            del known[next(iter(known))]
        known[key] = found
    return known[key]


def _said(name: str, landing: Landing, strength: float) -> tuple[str, ...]:
    """What a landing, and the largest gradient, say against a layer."""
    said = []
    if strength == 0:
        said.append(
            f"the score of the predicted class does not depend on layer '{name}' (its "
            "gradient is zero). Choose another layer (seewhy layers lists them)"
        )
    if landing.where == "nowhere":
        said.append(
            f"layer '{name}' gives the same values for another picture, so its map says "
            "nothing about this one. Choose another layer, or choose the right picture "
            "input with picture="
        )
    elif landing.where == "a part":
        said.append(
            f"layer '{name}' does not change with every corner of the picture. It sees "
            "only a part (a tile or a window), but its map is drawn on the whole "
            "picture. Choose another layer, or a method that uses no layer (saliency, "
            "occlusion)"
        )
    elif landing.where == "elsewhere":
        said.append(
            "a change in one corner of the picture appears in another corner of layer "
            f"'{name}'. The layer sees a flipped or turned copy, or has its positions "
            "in another order, so its map is drawn in the wrong place. Choose another "
            "layer, or a method that uses no layer (saliency, occlusion)"
        )
    elif landing.where == "spread":
        said.append(
            f"a change in one corner of the picture changes layer '{name}' everywhere "
            "(attention, or a mean over all positions, spreads it). A bright position "
            "of its map need not be the place in the picture that caused it"
        )
    if landing.mixed:
        said.append(
            f"layer '{name}' also changes with the other pictures of the model's input, "
            "so its map mixes them. An earlier layer sees only this picture"
        )
    return tuple(said)


_SCATTERED = (
    "its tokens in another order than the picture's, into which a part before it has put them"
)
_OTHERS = (
    "tokens of something beside the picture (a text, queries, a table), which have no place on it"
)


# Remembered outside the models, which stay untouched, and forgotten with them.
_looked_through: weakref.WeakKeyDictionary[
    nn.Module, tuple[Key, tuple[tuple[int, ...] | Grid, ...], dict[tuple[str, str], str], bool]
] = weakref.WeakKeyDictionary()


_checked: weakref.WeakKeyDictionary[nn.Module, dict[Key, tuple[tuple[str, ...], ...]]] = (
    weakref.WeakKeyDictionary()
)


_SPEC = re.compile(r"(?P<name>[^\[#]+)(?:\[(?P<path>[^\]]+)\])?(?:#(?P<call>-?\d+))?")


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
            f"the module {type(module).__name__} given as layer= is not part of this "
            "model. Use a module of the model itself, or give its name."
        )
    if not isinstance(spec, str):
        raise LayerError(
            f"layer= must be a name, a module or a list, but {spec!r} is a {type(spec).__name__}."
        )
    parts = _SPEC.fullmatch(spec.strip())
    if parts is None:
        raise LayerError(
            f"layer '{spec}' is not a valid name. Write name, name[output] or "
            "name#call, as in 'layer4', 'backbone[0]', 'layer4.2.relu#2'."
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
    hint = f"; did you mean {' or '.join(repr(one) for one in near)}?" if near else "."
    top = ", ".join(dict.fromkeys(known.split(".")[0] for known in names))
    return f"layer '{name}' not found{hint} The model's parts are {top}. List all: seewhy layers."
