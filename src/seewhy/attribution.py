"""Tensors in, raw maps out: the model is watched, the target scored, the formula applied."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from seewhy.errors import MethodError
from seewhy.evidence import (
    ATTENTION,
    LAYER,
    ONE_IMAGE,
    PIXELS,
    TAIL,
    WHOLE,
    WITH_ONE_IMAGE,
    Evidence,
)
from seewhy.layers import LayerSpec, layers_of
from seewhy.methods import METHODS
from seewhy.methods.fusion import fuse as fuse_maps
from seewhy.models.bound import bind
from seewhy.models.load import LoadedModel
from seewhy.models.many_runs import EXACT, Speed
from seewhy.models.outputs import OutputSelector
from seewhy.models.rerun import Rerun, rerunning
from seewhy.models.undisturbed import given_back
from seewhy.models.watch import Layer, Watch, watch
from seewhy.targets import Resolved, looks_like_probabilities

Method = str | Callable[..., Tensor]
"""A name in METHODS, or a function whose parameters are called after what it needs."""

EVIDENCE = (*LAYER, *PIXELS, *ATTENTION, *ONE_IMAGE)
"""What a method may ask for, by the name of a parameter."""

NO_LAYER = ("input", "attention")
"""What stands for the layer of a method that looks at none."""


def attribute(
    model: nn.Module | LoadedModel,
    inputs: Any,
    target: Any = None,
    *,
    method: Method = "grad-cam",
    layer: LayerSpec | None = None,
    fuse: str | None = None,
    output: OutputSelector | None = None,
    picture: str | int | None = None,
    shared: Sequence[str | int] = (),
    speed: Speed = EXACT,
    **options: Any,
) -> Tensor | list[Tensor]:
    """Raw maps of where a model saw what speaks for a target.

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
        picture: on which of several inputs the maps lie, by number or name, where more than one
            could be meant.
        shared: inputs that belong to all images together, where there are as many as images.
        speed: in which precision, and whether compiled, the network runs for methods that run it
            many times: `Speed("bf16", compiled=True)`. A warning says how well that agrees.
        options: the method's own (`seewhy methods` lists them).

    Returns:
        `(batch, height, width)` at the layer's resolution (or one or three axes, as the inputs),
        float32, signed where the method is; `(batch, targets, height, width)` for several targets
        an image. For several layers without `fuse`, a list with one such tensor a layer.

    Raises:
        LayerError, TargetError, MethodError, ModelError: each with what to do about it.
    """
    made = run(
        model, inputs, target, methods=[method], layer=layer, fuse=fuse, output=output,
        picture=picture, shared=shared, speed=speed, options=options,
    )  # fmt: skip
    maps = [one if made.targets.several else one[:, 0] for one in made.maps[0]]
    return maps[0] if len(maps) == 1 and (fuse is not None or not _several_layers(layer)) else maps


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


@given_back
def run(
    model: nn.Module | LoadedModel,
    inputs: Any,
    target: Any,
    *,
    methods: Sequence[Method],
    layer: LayerSpec | None,
    fuse: str | None,
    output: OutputSelector | None,
    options: dict[str, Any],
    picture: str | int | None = None,
    shared: Sequence[str | int] = (),
    speed: Speed = EXACT,
    labels: Sequence[str] | None = None,
) -> Attribution:
    """One forward pass, and the maps of all methods, layers and targets from it."""
    if isinstance(model, LoadedModel):
        labels = labels or model.labels
        model = model.module
    chosen = [_Chosen.by(method) for method in methods]
    _check_options(chosen, options)
    _check_speed(chosen, speed)
    if fuse is not None:
        for one in chosen:
            if not one.looks_at_layer:
                raise MethodError(
                    f"fuse= makes one map of several layers', and {one.name} looks at the "
                    f"{one.place}."
                )
    needs = {name for one in chosen for name in one.needs}
    bound, inputs = bind(model, inputs, picture=picture, shared=shared, output=output)
    layers: list[Layer] = []
    if any(one.looks_at_layer for one in chosen):
        layers = layers_of(bound, inputs, layer)
    by_method: dict[int, list[tuple[Tensor, tuple[str, ...]]]] = {}
    differentiate = bool(needs & {"gradients", "noisy_gradients", "curvature"})
    linear = "class_weights" in needs
    alone = len(inputs) == len(layers) == 1 and not differentiate and not linear
    with ExitStack() as stack:
        first: Watch | Rerun
        if alone and needs & set(TAIL):  # the run that the reruns set out from is enough
            first = stack.enter_context(rerunning(bound, layers[0], inputs))
        else:
            first = stack.enter_context(
                watch(bound, layers, differentiate=differentiate, linear=linear)
            )
        evidence = Evidence(
            bound, inputs, layers, first, target, labels=labels, needs=needs, speed=speed
        )
        here = {*LAYER, *ONE_IMAGE} - set(WHOLE) if isinstance(first, Rerun) else set(LAYER)
        here.add("note")
        for number, one in enumerate(chosen):
            if set(one.needs) <= here:
                by_method[number] = one.maps(evidence, len(layers), options)
    # What runs the model in a way of its own comes when nobody watches it any more.
    for number, one in enumerate(chosen):
        if number not in by_method:
            by_method[number] = one.maps(evidence, len(layers), options)
    maps, names, warnings = [], [], []
    for number, one in enumerate(chosen):
        made = [m for m, _ in by_method[number]]
        notes = [said for _, said in by_method[number]]
        called = [str(x) for x in layers] if one.looks_at_layer else [one.place] * len(made)
        if fuse is not None:
            made, called = [_fused(made, fuse)], [f"{fuse} of {', '.join(called)}"]
            notes = [tuple(dict.fromkeys(said for some in notes for said in some))]
        maps.append(made)
        names.append(called)
        warnings.append(
            [
                _warnings(m, evidence, index if fuse is None else None, one, said)
                for index, (m, said) in enumerate(zip(made, notes, strict=True))
            ]
        )
    return Attribution(maps, names, evidence.logits, evidence.targets, evidence.scores, warnings)


@dataclass(frozen=True)
class _Chosen:
    """A method: its name, its function, what it needs and what the caller may choose."""

    name: str
    function: Callable[..., Tensor]
    needs: tuple[str, ...]
    options: tuple[str, ...]

    @classmethod
    def by(cls, method: Method) -> _Chosen:
        if isinstance(method, str):
            if method not in METHODS:
                raise MethodError(_unknown(method))
            name, function = method, METHODS[method]
        elif callable(method):
            name, function = getattr(method, "__name__", type(method).__name__), method
        else:
            raise MethodError(
                f"method={method!r} is a {type(method).__name__}; a name or a function is wanted."
            )
        parameters = inspect.signature(function).parameters.values()
        needs = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
        strange = [name for name in needs if name not in EVIDENCE]
        if strange or not needs:
            raise MethodError(
                f"method '{name}' asks for {', '.join(strange) or 'nothing'}; its parameters may "
                f"be called {', '.join(EVIDENCE)}, and its own options are keyword-only."
            )
        apart = [name for name in needs if name not in (*ONE_IMAGE, *WITH_ONE_IMAGE)]
        if apart and set(needs) & set(ONE_IMAGE):
            alone = next(name for name in needs if name in ONE_IMAGE)
            raise MethodError(
                f"method '{name}' asks for {alone}, which is of one image at a time, and for "
                f"{', '.join(apart)}, of a batch; with {alone} there are "
                f"{', '.join((*ONE_IMAGE, *WITH_ONE_IMAGE))}."
            )
        options = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
        return cls(name, function, tuple(needs), tuple(options))

    @property
    def looks_at_attention(self) -> bool:
        """Whether it says how relevant each token is; otherwise it gives a map."""
        return bool(set(self.needs) & set(ATTENTION))

    @property
    def looks_at_layer(self) -> bool:
        """Whether its map is a layer's; otherwise it is the input's."""
        return bool(set(self.needs) & {*LAYER, *TAIL})

    @property
    def place(self) -> str:
        """What to call the layer of a method that looks at none."""
        return NO_LAYER[self.looks_at_attention]

    def maps(
        self, evidence: Evidence, layers: int, options: dict[str, Any]
    ) -> list[tuple[Tensor, tuple[str, ...]]]:
        """For each layer `(batch, targets, height, width)`, and what there is to say about it."""
        own = {name: value for name, value in options.items() if name in self.options}
        found: list[tuple[Tensor, tuple[str, ...]]] = []
        for layer in range(layers if self.looks_at_layer else 1):
            evidence.notes = ()
            found.append((self._map(evidence, layer, own), evidence.notes))
        return found if self.looks_at_layer else found * max(1, layers)

    def _map(self, evidence: Evidence, layer: int, own: dict[str, Any]) -> Tensor:
        batch, targets = evidence.scores.shape
        if set(self.needs) & set(ONE_IMAGE):
            of_images = []
            for image in range(batch):
                with evidence.of_image(image, layer, self.needs) as given:
                    of_images.append(
                        self._checked(self.function(**given, **own), targets, evidence, layer)
                    )
            return torch.stack(of_images).detach()
        if self.needs == ("activations",):  # looks at no target: once is enough for all
            made = self.function(activations=evidence.activations[layer], **own)
            made = self._checked(made, batch, evidence, layer).repeat_interleave(targets, 0)
        else:
            given = {name: evidence.of_batch(name, layer, self.name) for name in self.needs}
            made = self.function(**given, **own)
            made = self._checked(made, batch * targets, evidence, layer)
        return made.detach().reshape(batch, targets, *made.shape[1:])

    def _checked(self, made: Any, count: int, evidence: Evidence, layer: int) -> Tensor:
        if self.looks_at_attention:
            return evidence.on_grid(made, count, self.name)
        sizes = [tuple(evidence.inputs.shape[2:])]
        if self.looks_at_layer:
            sizes.insert(0, tuple(evidence.activations[layer].shape[2:]))
        if not isinstance(made, Tensor) or tuple(made.shape) not in [(count, *s) for s in sizes]:
            came = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
            raise MethodError(
                f"method '{self.name}' gave {came}; a map {(count, *sizes[0])} is wanted."
            )
        return made


def _fused(maps: Sequence[Tensor], how: str) -> Tensor:
    """`(batch, targets, height, width)` from one such tensor a layer."""
    batch, targets = maps[0].shape[:2]
    fused = fuse_maps([one.flatten(0, 1) for one in maps], how)
    return fused.reshape(batch, targets, *fused.shape[1:])


def _several_layers(layer: LayerSpec | None) -> bool:
    return (isinstance(layer, str) and any(c in layer for c in "*?")) or (
        layer is not None and not isinstance(layer, (str, nn.Module))
    )


def _check_options(chosen: Sequence[_Chosen], options: dict[str, Any]) -> None:
    known = {name for one in chosen for name in one.options}
    strange = [name for name in options if name not in known]
    if strange:
        names = ", ".join(one.name for one in chosen)
        raise MethodError(
            f"{names} has no option {', '.join(strange)}; "
            + (f"it has {', '.join(sorted(known))}." if known else "it has none.")
        )


def _check_speed(chosen: Sequence[_Chosen], speed: Speed) -> None:
    if not speed.exact and not any(set(one.needs) & set(WHOLE) for one in chosen):
        names = ", ".join(one.name for one in chosen)
        raise MethodError(
            f"{speed} is for methods that run the whole network many times (score-cam, rise, "
            f"occlusion, ...), and {names} does not; leave it out."
        )


def _unknown(method: str) -> str:
    import difflib

    near = difflib.get_close_matches(method.lower(), METHODS, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return f"method '{method}' is not known; {hint}There are {', '.join(METHODS)}."


def _warnings(
    maps: Tensor, evidence: Evidence, layer: int | None, method: _Chosen, notes: tuple[str, ...]
) -> list[list[tuple[str, ...]]]:
    """What is wrong with each image's and target's map, in words."""
    batch, targets = maps.shape[:2]
    low, high = maps.flatten(2).amin(2).tolist(), maps.flatten(2).amax(2).tolist()
    dead = torch.zeros(batch, targets, dtype=torch.bool)
    if evidence.gradients is not None and layer is not None and "gradients" in method.needs:
        largest = evidence.gradients[layer].abs().flatten(1).amax(1)
        dead = (largest == 0).reshape(batch, targets).cpu()
    broken = (~evidence.logits.isfinite()).flatten(1).any(1).tolist()
    softmax_inside = looks_like_probabilities(evidence.logits)
    found = []
    for i in range(batch):
        row = []
        for t in range(targets):
            said = list(notes)
            if broken[i]:
                said.append(
                    "the network's output holds NaN or infinity: look at the input's values and "
                    "at the network's precision (float32?)"
                )
            if not (low[i][t] - high[i][t] <= 0):  # false for NaN
                said.append("the map holds NaN: the network or its gradient overflowed")
            elif bool(dead[i, t]):
                said.append(
                    "the gradient is zero everywhere, so the map is too: the score is saturated "
                    "or does not depend on this layer here; try another layer, or the logit"
                )
            elif low[i][t] == high[i][t] == 0 and method.looks_at_attention:
                said.append(
                    "the map is zero everywhere: no attention raises the score; try "
                    "attention-rollout, which looks at no target"
                )
            elif low[i][t] == high[i][t] == 0 and not method.looks_at_layer:
                said.append(
                    "the map is zero everywhere: no change of the pixels changes the score (is it "
                    "saturated? try the logit)"
                )
            elif low[i][t] == high[i][t] == 0:
                said.append(
                    "the map is zero everywhere: at this layer everything speaks against the "
                    "target; try hires-cam (signed), layer-cam, an earlier layer, or "
                    "'against:' the target"
                )
            elif low[i][t] == high[i][t]:
                said.append("the map is flat: every position has the same value")
            if softmax_inside:
                said.append(
                    "the outputs are probabilities (a softmax inside the model), so the score is "
                    "one, and its gradient fades where the model is sure; name the logits with "
                    "output= if the model gives them"
                )
            row.append(tuple(said))
        found.append(row)
    return found
