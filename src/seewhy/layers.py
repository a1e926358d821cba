"""Layers: found by name, or proposed from one real forward pass with the reason in words."""

from __future__ import annotations

import difflib
import re
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn

from seewhy.errors import LayerError
from seewhy.models.outputs import tensors_in
from seewhy.models.watch import Call, Layer, clean_name, modules_of, trace, unwrap

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
        shape: (channels, height, width).
        chosen: whether it is the one that is proposed.
    """

    name: str
    kind: str
    shape: tuple[int, int, int]
    chosen: bool


def find_layers(model: nn.Module, spec: LayerSpec) -> list[Layer]:
    """The layers a spec names, in the order given (a wildcard's in the model's order).

    Raises:
        LayerError: for a name or module that is not in the model, with the nearest names.
    """
    model = unwrap(model)
    names = _names(model)
    specs: list[str | nn.Module] = list(spec) if isinstance(spec, (list, tuple)) else [spec]  # type: ignore[list-item]
    if not specs:
        raise LayerError("layer=[] names no layer; give at least one, or leave it out.")
    found = [layer for one in specs for layer in _find(names, one)]
    return list(dict.fromkeys(found))


def propose_layer(model: nn.Module, inputs: Tensor) -> Proposal:
    """The last spatial feature map before the head, from one real forward pass.

    Never a map of one position, nor the map of class scores, nor a pooling, nor a layer that
    hands its input on. The answer is remembered as long as the model's modules stay the same.

    Raises:
        LayerError: if the network has no such map, or goes on with tokens behind it.
    """
    model = unwrap(model)
    modules = tuple(map(id, modules_of(model)))
    known = _proposals.get(model)
    if known is not None and known[0] == modules:
        return known[1]
    outputs, calls = trace(model, inputs)
    proposal = _propose(calls, _class_counts(outputs))
    _proposals[model] = (modules, proposal)
    return proposal


def list_layers(model: nn.Module, inputs: Tensor) -> list[Candidate]:
    """Every layer whose output is a spatial map, in the order in which they run."""
    model = unwrap(model)
    outputs, calls = trace(model, inputs)
    try:
        chosen = _propose(calls, _class_counts(outputs)).layer.name
    except LayerError:
        chosen = None
    spatial = [call for call in calls if call.name and _is_spatial(call)]
    names = [call.name for call in spatial]
    seen: dict[str, int] = {}
    candidates = []
    for call in spatial:
        assert call.shape is not None
        number = seen[call.name] = seen.get(call.name, -1) + 1
        once = names.count(call.name) == 1
        candidates.append(
            Candidate(
                name=call.name if once else f"{call.name}#{number}",
                kind=type(call.module).__name__,
                shape=(call.shape[1], call.shape[2], call.shape[3]),
                chosen=once and call.name == chosen,
            )
        )
    return candidates


# Remembered outside the models, which stay untouched, and forgotten with them.
_proposals: weakref.WeakKeyDictionary[nn.Module, tuple[tuple[int, ...], Proposal]] = (
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
                waiting.append((name if key == "_orig_mod" else prefix + key, child))
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


def _propose(calls: Sequence[Call], class_counts: frozenset[int]) -> Proposal:
    """The choice, from a trace: the last call that gives a feature map."""
    chosen = None
    weights_behind = False
    tokens_behind: tuple[int, ...] | None = None
    # From the end: whether anything with weights still follows tells a class-score map.
    for call in reversed(calls):
        if _is_feature_map(call) and not (
            call.shape is not None and call.shape[1] in class_counts and not weights_behind
        ):
            source = call
            while source.same_as is not None:
                source = source.same_as
            if not _is_pooling(source.module) and not _is_pooling(call.module):
                chosen = call
                break
        if _has_own_weights(call.module):
            weights_behind = True
            if _is_tokens(call):
                tokens_behind = call.shape
    if chosen is None or chosen.shape is None:
        raise LayerError(
            "no layer of this model gives a spatial feature map (batch, channels, height, width) "
            "with more than one position; name a layer, or see what there is: seewhy layers."
        )
    channels, height, width = chosen.shape[1:]
    if tokens_behind is not None:
        raise LayerError(
            f"the last spatial map, '{chosen.name}' ({channels}×{height}×{width}), is followed by "
            f"layers on tokens {tokens_behind}, so it does not stand for the decision; name the "
            "layer to look at with layer=."
        )
    runs = sum(call.module is chosen.module for call in calls)
    layer = Layer(chosen.name, chosen.module, call=None if runs == 1 else -1)
    return Proposal(
        layer,
        f"'{chosen.name}' gives the last spatial feature map before the head: {channels} channels "
        f"of {height}×{width}",
    )


def _is_feature_map(call: Call) -> bool:
    return (
        bool(call.name) and _is_spatial(call) and not call.passes_through and not _is_tokens(call)
    )


def _is_tokens(call: Call) -> bool:
    """Tokens (batch, positions, channels), or a map that has its channels last."""
    shape = call.shape
    if shape is None or not _has_own_weights(call.module):
        return False
    if len(shape) == 3:
        return shape[1] > 1
    norm = call.module
    channels = norm.normalized_shape[-1] if isinstance(norm, nn.LayerNorm) else None
    return len(shape) == 4 and (
        isinstance(norm, nn.Linear) or (channels == shape[3] and channels != shape[1])
    )


def _is_spatial(call: Call) -> bool:
    shape = call.shape
    return shape is not None and len(shape) == 4 and call.floating and shape[2] * shape[3] > 1


def _is_pooling(module: nn.Module) -> bool:
    kind = type(module).__name__.lower()
    return "pool" in kind or isinstance(module, nn.Upsample)


def _has_own_weights(module: nn.Module) -> bool:
    return any(True for _ in module.parameters(recurse=False))


def _class_counts(outputs: Any) -> frozenset[int]:
    return frozenset(t.shape[1] for _, t in tensors_in(outputs) if t.ndim == 2)
