"""Tensors in, raw maps out: the model is watched, the target scored, the formula applied."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from seewhy.errors import MethodError
from seewhy.evidence import COSTS, Evidence, lacking
from seewhy.evidence.attention import on_grid
from seewhy.evidence.changes import of_one_image
from seewhy.evidence.pixels import check_operations
from seewhy.layers import LayerSpec, check_layers, layers_of
from seewhy.meaning import said_of
from seewhy.methods import METHODS
from seewhy.methods.fusion import fuse as fuse_maps
from seewhy.methods.method import Method, MethodLike
from seewhy.models.bound import Bound, bind
from seewhy.models.load import LoadedModel
from seewhy.models.many_runs import EXACT, Speed
from seewhy.models.outputs import OutputSelector
from seewhy.models.rerun import Rerun, rerunning
from seewhy.models.undisturbed import given_back
from seewhy.models.watch import Layer, Watch, watch
from seewhy.request import Request
from seewhy.targets import Counterfactual, Resolved

NO_LAYER = ("input", "attention")
"""Names in place of a layer, for methods that use no layer."""


def attribute(
    model: nn.Module | LoadedModel,
    inputs: Any,
    target: Any = None,
    *,
    method: MethodLike = "grad-cam",
    layer: LayerSpec | None = None,
    fuse: str | None = None,
    output: OutputSelector | None = None,
    picture: str | int | None = None,
    shared: Sequence[str | int] = (),
    speed: Speed = EXACT,
    **options: Any,
) -> Tensor | list[Tensor]:
    """Compute raw attribution maps of a model for a target.

    Args:
        model: a module, or what `load_model` gave. It comes back exactly as it was.
        inputs: prepared images `(batch, channels, height, width)`, signals `(batch, channels,
            length)` or volumes and videos with three axes (a video's channels may also be the
            third axis); or all that the model is called with, a tuple or a mapping. Moved to the
            model's device and floating type.
        target: what to explain: None (the predicted class), a class index or name, `"top5"`, a
            `Target`, a function of the logits, a list (one for each image), or a tuple (several
            for every image). See `seewhy.targets`.
        method: a name in `METHODS`, or a function of `activations`, `gradients`, ...
        layer: a name, a module, a wildcard or a list; None takes the proposed one.
        fuse: makes one map of several layers': `"mean"`, `"max"` or `"scaled-max"`.
        output: where the logits are, for a model that returns more than one tensor.
        picture: the input that is the picture, by number or name, if several inputs could be.
        shared: inputs that belong to all images together, where there are as many as images.
        speed: precision and compilation of the network for methods that run it many times:
            `Speed("bf16", compiled=True)`. A warning says how well that agrees.
        options: the method's own (`seewhy methods` lists them).

    Returns:
        `(batch, height, width)` at the layer's resolution (or one or three axes, as the inputs),
        float32, signed where the method is; `(batch, targets, height, width)` for several targets
        an image. For several layers without `fuse`, a list with one such tensor a layer.

    Raises:
        LayerError, TargetError, MethodError, ModelError: each with what to do about it.

    Example:
        >>> import seewhy, torch
        >>> network = torch.nn.Sequential(
        ...     torch.nn.Conv2d(3, 8, 3, stride=2),
        ...     torch.nn.ReLU(),
        ...     torch.nn.AdaptiveAvgPool2d(1),
        ...     torch.nn.Flatten(),
        ...     torch.nn.Linear(8, 5),
        ... )
        >>> batch = torch.randn(4, 3, 65, 65)
        >>> seewhy.attribute(network, batch, target=3).shape
        torch.Size([4, 32, 32])
    """
    request = Request.of(
        method, layer=layer, fuse=fuse, output=output, picture=picture, shared=shared, speed=speed,
        options=options,
    )  # fmt: skip
    made = answer(model, inputs, target, request)
    maps = [one if made.targets.several else one[:, 0] for one in made.maps[0]]
    return maps if request.several_layers else maps[0]


@dataclass(frozen=True, eq=False)
class Attribution:
    """Everything that one run of a model gave.

    Attributes:
        maps: for each method, for each layer, `(batch, targets, height, width)`.
        layers: for each method, what to call each layer; one name if they were fused, `input` or
            `attention` for a method that looks at no layer.
        logits: `(batch, classes)`, or `(batch,)`, detached, at least float32.
        targets: the concrete targets, for each image.
        scores: `(batch, targets)`.
        warnings: for each method, layer, image and target, in words.
    """

    maps: list[list[Tensor]]
    layers: list[list[str]]
    logits: Tensor
    targets: Resolved
    scores: Tensor
    warnings: list[list[list[list[tuple[str, ...]]]]]


def run(
    model: nn.Module | LoadedModel,
    inputs: Any,
    target: Any,
    *,
    methods: Sequence[MethodLike],
    labels: Sequence[str] | None = None,
    **fields: Any,
) -> Attribution:
    """One forward pass, and the maps of all methods, layers and targets from it.

    `fields` are those of a `Request`.
    """
    return answer(model, inputs, target, Request.of(methods, **fields), labels=labels)


@given_back
def answer(
    model: nn.Module | LoadedModel,
    inputs: Any,
    target: Any,
    request: Request,
    *,
    labels: Sequence[str] | None = None,
) -> Attribution:
    """What was asked of a model: the maps of all methods, layers and targets from one forward."""
    if isinstance(model, LoadedModel):
        labels = labels or model.labels
        model = model.module
    bound, inputs = bind(
        model, inputs, picture=request.picture, shared=request.shared, output=request.output
    )
    methods = request.methods
    _check_given(methods, bound, len(inputs))
    layers: list[Layer] = []
    if any(one.place == "layer" for one in methods):
        layers = layers_of(bound, inputs, request.layer)
    tested = request.tested and request.layer is not None
    against = check_layers(bound, inputs, layers) if tested else ((),) * len(layers)
    rows = tuple(dict.fromkeys(row for one in methods for row in one.evidence))
    needs = {need for row in rows for need in row.needs}
    made: dict[int, list[_Made]] = {}
    with ExitStack() as stack:
        first: Watch | Rerun
        if len(inputs) == len(layers) == 1 and "tail" in needs and not needs & {"gradient", "head"}:
            # The run that the reruns set out from is enough.
            first = stack.enter_context(rerunning(bound, layers[0], inputs))
            here = {"watched", "kept"}
        else:
            first = stack.enter_context(
                watch(bound, layers, differentiate="gradient" in needs, linear="head" in needs)
            )
            here = {"watched"}
        evidence = Evidence(
            bound, inputs, layers, first, target, labels=labels, rows=rows, speed=request.speed
        )
        for number, one in enumerate(methods):
            if all(row.moment in here for row in one.evidence):
                made[number] = _made(one, evidence, request.options_of(one))
    # Evidence that runs the model itself is computed after the watching hooks are removed.
    for number, one in enumerate(methods):
        if number not in made:
            made[number] = _made(one, evidence, request.options_of(one))
    return _gathered([made[number] for number in range(len(methods))], evidence, request, against)


@dataclass(frozen=True)
class _Made:
    """A map `(batch, targets, height, width)`, and what there is to say about it."""

    map: Tensor
    notes: tuple[str, ...]


def _check_given(methods: Sequence[Method], model: Bound, images: int) -> None:
    """Check that the model gives all the evidence that the methods ask for.

    Raises:
        MethodError: it does not; the message names the evidence, the reason and what to take.
    """
    if any("operations" in row.needs for one in methods for row in one.evidence):
        check_operations(model, images)
    absent = lacking(model)
    for one in methods if absent else ():
        for row in one.evidence:
            if row.name in absent:
                able = [m for m in METHODS.values() if not absent.keys() & set(m.needs)]
                # The nearest: at the same place, for a like cost.
                able.sort(key=lambda m: (m.place != one.place, _apart(m, one)))
                instead = [m.name for m in able]
                raise MethodError(
                    f"method '{one.name}' needs {row.says}, which {absent[row.name]}. Use "
                    f"{', '.join(instead[:3])}, or see: seewhy methods."
                )


def _apart(one: Method, other: Method) -> int:
    return abs(COSTS.index(one.cost) - COSTS.index(other.cost))


def _made(method: Method, evidence: Evidence, options: dict[str, Any]) -> list[_Made]:
    """A map for each layer."""
    found = []
    for layer in range(len(evidence.layers) if method.place == "layer" else 1):
        evidence.notes, evidence.asked_by = (), method.name
        found.append(_Made(_map(method, evidence, layer, options), evidence.notes))
    return found if method.place == "layer" else found * max(1, len(evidence.layers))


def _map(method: Method, evidence: Evidence, layer: int, options: dict[str, Any]) -> Tensor:
    batch, targets = evidence.scores.shape
    if method.of_one_image:
        of_images = []
        for image in range(batch):
            with of_one_image(evidence, image, layer, method.evidence) as given:
                made = method(**given, **options)
                of_images.append(_checked(made, method, targets, evidence, layer))
        return torch.stack(of_images).detach()
    if method.needs == ("activations",):  # looks at no target: once is enough for all
        made = method(activations=evidence.activations[layer], **options)
        made = _checked(made, method, batch, evidence, layer).repeat_interleave(targets, 0)
    else:
        given = {row.name: row.of_batch(evidence, layer) for row in method.evidence if row.of_batch}
        made = method(**given, **options)
        made = _checked(made, method, batch * targets, evidence, layer)
    return made.detach().reshape(batch, targets, *made.shape[1:])


def _checked(made: Any, method: Method, count: int, evidence: Evidence, layer: int) -> Tensor:
    """The map, if its shape is right.

    Raises:
        MethodError: it is not.
    """
    if method.place == "attention":
        return on_grid(evidence, made, count, method.name)
    sizes = [tuple(evidence.inputs.shape[2:])]
    if method.place == "layer":
        sizes.insert(0, tuple(evidence.activations[layer].shape[2:]))
    if not isinstance(made, Tensor) or tuple(made.shape) not in [(count, *s) for s in sizes]:
        came = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
        raise MethodError(
            f"method '{method.name}' must return a map of shape {(count, *sizes[0])}, "
            f"but it returned {came}."
        )
    return made


def _gathered(
    made: Sequence[list[_Made]],
    evidence: Evidence,
    request: Request,
    against: Sequence[tuple[str, ...]],
) -> Attribution:
    """The maps of all methods, fused where that was asked for, with names and warnings.

    `against` is what speaks against each of the layers.
    """
    maps, names, warnings = [], [], []
    for method, by_layer in zip(request.methods, made, strict=True):
        called: list[str] = [method.place] * len(by_layer)
        if method.place == "layer":
            called = [str(layer) for layer in evidence.layers]
            by_layer = [
                _Made(one.map, (*one.notes, *said))
                for one, said in zip(by_layer, against, strict=True)
            ]
        if request.fuse is not None:
            said = tuple(dict.fromkeys(note for one in by_layer for note in one.notes))
            fused = _fused([one.map for one in by_layer], request.fuse)
            by_layer, called = [_Made(fused, said)], [f"{request.fuse} of {', '.join(called)}"]
        maps.append([one.map for one in by_layer])
        names.append(called)
        warnings.append(
            [
                _warnings(one, evidence, index if request.fuse is None else None, method)
                for index, one in enumerate(by_layer)
            ]
        )
    return Attribution(maps, names, evidence.logits, evidence.targets, evidence.scores, warnings)


def _fused(maps: Sequence[Tensor], how: str) -> Tensor:
    """`(batch, targets, height, width)` from one such tensor a layer."""
    batch, targets = maps[0].shape[:2]
    fused = fuse_maps([one.flatten(0, 1) for one in maps], how)
    return fused.reshape(batch, targets, *fused.shape[1:])


def _warnings(
    made: _Made, evidence: Evidence, layer: int | None, method: Method
) -> list[list[tuple[str, ...]]]:
    """What is wrong with each image's and target's map, in words."""
    batch, targets = made.map.shape[:2]
    flat = made.map.flatten(2)
    low, high = flat.amin(2).tolist(), flat.amax(2).tolist()
    dead = torch.zeros(batch, targets, dtype=torch.bool)
    if layer is not None and "gradients" in method.needs and "gradients" in evidence.taken:
        largest = evidence.taken["gradients"][layer].abs().flatten(1).amax(1)
        dead = (largest == 0).reshape(batch, targets).cpu()
    broken = (~evidence.logits.isfinite()).reshape(batch, -1).any(1).tolist()
    found = []
    for i in range(batch):
        row = []
        for t in range(targets):
            said = list(made.notes)
            if broken[i]:
                said.append(
                    "the network's output contains NaN or infinity. Check the values of the "
                    "input and the precision of the network (use float32)"
                )
            if evidence.asked is not None and not method.looks_at_target:
                words = evidence.targets.targets[i][t].describe(evidence.labels)
                said.append(
                    f"this map does not depend on the target '{words}': {method.name} gives the "
                    "same map for every target. For a map of this target use grad-cam, "
                    "layer-cam or occlusion"
                )
            against = isinstance(evidence.targets.targets[i][t], Counterfactual)
            said += _of_values(low[i][t], high[i][t], bool(dead[i, t]), method, against)
            ends = said_of(evidence.targets.ending, evidence.targets.targets[i][t])
            if ends is not None:
                said.append(ends)
            said.extend(evidence.assumed)
            row.append(tuple(said))
        found.append(row)
    return found


def _of_values(low: float, high: float, dead: bool, method: Method, against: bool) -> list[str]:
    """What the least and the greatest value of a map say of it."""
    if not (low - high <= 0):  # false for NaN
        return ["the map contains NaN, because a value in the network or its gradient overflowed"]
    if dead:
        return [
            "the map is zero everywhere, because the gradient is zero. The score may "
            "be saturated (explain the logit instead), or it may not depend on this "
            "layer (choose another layer)"
        ]
    if low != high:
        return []
    if low != 0:
        return ["the map is flat: every position has the same value"]
    if method.place == "attention":
        return [
            "the map is zero everywhere, because no attention raises the score. Use "
            "attention-rollout, which does not depend on the target"
        ]
    if method.place == "input":
        return [
            "the map is zero everywhere, because changing the pixels does not change "
            "the score. If the score is saturated, explain the logit instead"
        ]
    if against:
        return [
            "the map is zero everywhere, because this layer has no evidence against "
            "the target. Use hires-cam (signed), layer-cam, an earlier layer, or the "
            "target itself"
        ]
    return [
        "the map is zero everywhere, because all evidence at this layer is against "
        "the target. Use hires-cam (signed), layer-cam, an earlier layer, or "
        "'against:' the target"
    ]
