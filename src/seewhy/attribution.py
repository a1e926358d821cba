"""Tensors in, raw maps out: the model is watched, the target scored, the formula applied."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from seewhy.errors import LayerError, MethodError, ModelError
from seewhy.layers import LayerSpec, find_layers, propose_layer
from seewhy.methods import METHODS
from seewhy.methods.fusion import fuse as fuse_maps
from seewhy.models.load import LoadedModel
from seewhy.models.outputs import OutputSelector, find_logits
from seewhy.models.watch import Layer, Watch, watch
from seewhy.targets import Resolved, looks_like_probabilities, resolve

Method = str | Callable[..., Tensor]
"""A name in METHODS, or a function whose parameters are called after what it needs."""

EVIDENCE = ("activations", "gradients", "class_weights", "noisy_gradients")
"""What a method may ask for, by the name of a parameter."""


def attribute(
    model: nn.Module | LoadedModel,
    inputs: Tensor,
    target: Any = None,
    *,
    method: Method = "grad-cam",
    layer: LayerSpec | None = None,
    fuse: str | None = None,
    output: OutputSelector | None = None,
    **options: Any,
) -> Tensor | list[Tensor]:
    """Raw maps of where a model saw what speaks for a target.

    Args:
        model: a module, or what `load_model` gave. It comes back exactly as it was.
        inputs: prepared images `(batch, channels, height, width)`; moved to the model's device
            and floating type.
        target: what to explain: None (the predicted class), a class index or name, `"top5"`, a
            `Target`, a function of the logits, a list (one for each image), or a tuple (several
            for every image). See `seewhy.targets`.
        method: a name in `METHODS`, or a function of `activations`, `gradients`, ...
        layer: a name, a module, a wildcard or a list; None proposes the last feature map.
        fuse: makes one map of several layers': `"mean"`, `"max"` or `"scaled-max"`.
        output: where the logits are, for a model that returns more than one tensor.
        options: the method's own (`seewhy methods` lists them).

    Returns:
        `(batch, height, width)` at the layer's resolution, float32, signed where the method is;
        `(batch, targets, height, width)` for several targets an image. For several layers
        without `fuse`, a list with one such tensor a layer.

    Raises:
        LayerError, TargetError, MethodError, ModelError: each with what to do about it.
    """
    made = run(
        model, inputs, target, methods=[method], layer=layer, fuse=fuse, output=output,
        options=options,
    )  # fmt: skip
    maps = [one if made.targets.several else one[:, 0] for one in made.maps[0]]
    return maps[0] if len(maps) == 1 and (fuse is not None or not _several_layers(layer)) else maps


@dataclass(frozen=True, eq=False)
class Attribution:
    """Everything that one run of a model gave.

    Attributes:
        maps: for each method, for each layer, `(batch, targets, height, width)`.
        layers: what to call each layer; one name if they were fused.
        logits: `(batch, classes)`, or `(batch,)`, detached, at least float32.
        targets: the concrete targets, for each image.
        scores: `(batch, targets)`.
        warnings: for each method, layer, image and target, in words.
    """

    maps: list[list[Tensor]]
    layers: list[str]
    logits: Tensor
    targets: Resolved
    scores: Tensor
    warnings: list[list[list[list[tuple[str, ...]]]]]


def run(
    model: nn.Module | LoadedModel,
    inputs: Tensor,
    target: Any,
    *,
    methods: Sequence[Method],
    layer: LayerSpec | None,
    fuse: str | None,
    output: OutputSelector | None,
    options: dict[str, Any],
    labels: Sequence[str] | None = None,
) -> Attribution:
    """One forward pass, and the maps of all methods, layers and targets from it."""
    if isinstance(model, LoadedModel):
        labels = labels or model.labels
        model = model.module
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"model is a {type(model).__name__}; a torch.nn.Module or a loaded model is wanted."
        )
    chosen = [_Chosen.by(method) for method in methods]
    _check_options(chosen, options)
    needs = {name for one in chosen for name in one.needs}
    inputs = to_model(model, inputs)
    if layer is None:
        layers = [propose_layer(model, inputs[:1]).layer]
    else:
        layers = find_layers(model, layer)
    differentiate = bool(needs & {"gradients", "noisy_gradients"})
    with watch(model, layers, differentiate=differentiate, linear="class_weights" in needs) as seen:
        evidence = _Evidence(seen, layers, inputs, target, labels, output, needs)
        maps = [
            [one.map(evidence, index, options) for index in range(len(layers))] for one in chosen
        ]
    names = [str(one) for one in layers]
    if fuse is not None:
        maps = [[_fused(one, fuse)] for one in maps]
        names = [f"{fuse} of {', '.join(names)}"]
    warnings = [
        [_warnings(m, evidence, index if fuse is None else None) for index, m in enumerate(one)]
        for one in maps
    ]
    return Attribution(
        maps, names, evidence.logits.detach(), evidence.targets, evidence.scores.detach(), warnings
    )


def to_model(model: nn.Module, inputs: Tensor) -> Tensor:
    """The inputs on the model's device and in its floating type, after a look at their shape."""
    if not isinstance(inputs, Tensor):
        raise ModelError(
            f"inputs are {type(inputs).__name__}; a prepared tensor (batch, channels, height, "
            "width) is wanted. seewhy.explain() takes paths, pictures and arrays."
        )
    if inputs.ndim != 4 or 0 in inputs.shape:
        raise ModelError(
            f"inputs have shape {tuple(inputs.shape)}; (batch, channels, height, width) is "
            "wanted. A single image takes inputs[None]."
        )
    if not inputs.is_floating_point():
        raise ModelError(
            f"inputs are {inputs.dtype}; prepared floating-point values are wanted. "
            "seewhy.explain() prepares a picture as the model expects it."
        )
    parameter = next((p for p in model.parameters() if p.is_floating_point()), None)
    if parameter is None:
        return inputs
    autocast = torch.is_autocast_enabled(parameter.device.type)
    return inputs.to(parameter.device, inputs.dtype if autocast else parameter.dtype)


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
        options = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
        return cls(name, function, tuple(needs), tuple(options))

    def map(self, evidence: _Evidence, layer: int, options: dict[str, Any]) -> Tensor:
        """`(batch, targets, height, width)`."""
        given = {name: evidence.of(name, layer, self.name) for name in self.needs}
        activations = evidence.activations[layer]
        batch, targets = evidence.scores.shape
        if self.needs == ("activations",):  # looks at no target: once is enough for all
            given["activations"] = activations
        own = {name: value for name, value in options.items() if name in self.options}
        made = self.function(**given, **own)
        maps = batch if self.needs == ("activations",) else batch * targets
        wanted = (maps, *activations.shape[2:])
        if not isinstance(made, Tensor) or tuple(made.shape) != wanted:
            came = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
            raise MethodError(f"method '{self.name}' gave {came}; a map {wanted} is wanted.")
        if maps < batch * targets:
            made = made.repeat_interleave(targets, 0)
        return made.detach().reshape(batch, targets, *wanted[1:])


class _Evidence:
    """What one run offers to the methods.

    Several targets of an image are laid along the batch, image by image, so that a formula never
    hears of them: `(batch * targets, channels, height, width)`.
    """

    def __init__(
        self,
        seen: Watch,
        layers: Sequence[Layer],
        inputs: Tensor,
        target: Any,
        labels: Sequence[str] | None,
        output: OutputSelector | None,
        needs: set[str],
    ) -> None:
        self._seen, self._layers, self._inputs, self._output = seen, layers, inputs, output
        self.logits = self._forward(inputs)
        self.linear = seen.last_linear
        self.activations = seen.activations
        for layer, activations in zip(layers, self.activations, strict=True):
            if activations.ndim != 4 or activations[0, 0].numel() < 2:
                raise LayerError(
                    f"layer '{layer}' gives {tuple(activations.shape)}; a map needs (batch, "
                    "channels, height, width) with more than one position. See: seewhy layers."
                )
        self.targets = resolve(target, self.logits, labels)
        self.scores = self._score(self.logits)
        self.gradients = self._gradients(self.scores) if "gradients" in needs else None

    def of(self, name: str, layer: int, method: str) -> Any:
        """The evidence called `name` at one layer."""
        if name == "activations":
            return self.activations[layer].repeat_interleave(self.scores.shape[1], 0)
        if name == "gradients":
            assert self.gradients is not None
            return self.gradients[layer]
        if name == "class_weights":
            return self._class_weights(layer, method)
        return lambda *choice: self._noisy_gradients(layer, *choice)

    def _forward(self, inputs: Tensor) -> Tensor:
        logits = find_logits(self._seen(inputs), self._output)
        return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits

    def _score(self, logits: Tensor) -> Tensor:
        """`(batch, targets)`."""
        columns = []
        for column in zip(*self.targets.targets, strict=True):
            if len(set(column)) == 1:
                columns.append(column[0](logits))
            else:
                rows = [target(logits[i : i + 1]) for i, target in enumerate(column)]
                columns.append(torch.cat(rows))
        return torch.stack(columns, 1)

    def _gradients(self, scores: Tensor) -> list[Tensor]:
        last = scores.shape[1] - 1
        by_target = [
            self._seen.gradients(scores[:, t], keep_graph=t < last) for t in range(last + 1)
        ]
        if last == 0:
            return by_target[0]
        return [torch.stack(layer, 1).flatten(0, 1) for layer in zip(*by_target, strict=True)]

    def _noisy_gradients(
        self, layer: int, samples: int, noise: float, seed: int
    ) -> Iterator[Tensor]:
        """Gradients at one layer for one noisy copy of the images after another.

        Each image of a batch gets the same noise, so that its map does not depend on the others.
        """
        generator = torch.Generator().manual_seed(seed)
        inputs = self._inputs
        spread = noise * (inputs.amax((1, 2, 3), True) - inputs.amin((1, 2, 3), True))
        for _ in range(samples):
            drawn = torch.randn(inputs.shape[1:], generator=generator).to(inputs)
            yield self._gradients(self._score(self._forward(inputs + spread * drawn)))[layer]

    def _class_weights(self, layer: int, method: str) -> Tensor:
        """The linear head's row for each target: how the score changes with a channel's mean.

        Raises:
            MethodError: unless the logits are one linear map of the layer's global average.
        """
        if self.linear is not None:
            module, pooled = self.linear
            weight = module.weight.detach().flatten(1).to(self.logits.dtype)
            bias = None if module.bias is None else module.bias.detach().to(weight)
            pooled = pooled.flatten(1).to(weight)
            means = self.activations[layer].mean((2, 3)).to(weight)
            if (
                pooled.shape == means.shape
                and self.logits.shape == (len(pooled), len(weight))
                and torch.allclose(pooled, means, rtol=1e-3, atol=1e-4 * float(means.abs().max()))
                and torch.allclose(linear(pooled, weight, bias), self.logits, rtol=1e-3, atol=1e-3)
            ):
                free = self.logits.detach().requires_grad_()
                scores = self._score(free)
                rows = [
                    torch.autograd.grad(scores[:, t].sum(), free, retain_graph=True)[0] @ weight
                    for t in range(scores.shape[1])
                ]
                return torch.stack(rows, 1).flatten(0, 1)
        raise MethodError(
            f"method '{method}' is defined only where the layer feeds global average pooling and "
            f"one linear map, and '{self._layers[layer]}' does not; grad-cam is the same map there "
            "and works at any layer."
        )


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


def _unknown(method: str) -> str:
    import difflib

    near = difflib.get_close_matches(method.lower(), METHODS, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return f"method '{method}' is not known; {hint}There are {', '.join(METHODS)}."


def _warnings(maps: Tensor, evidence: _Evidence, layer: int | None) -> list[list[tuple[str, ...]]]:
    """What is wrong with each image's and target's map, in words."""
    batch, targets = maps.shape[:2]
    low, high = maps.amin((2, 3)).tolist(), maps.amax((2, 3)).tolist()
    dead = torch.zeros(batch, targets, dtype=torch.bool)
    if evidence.gradients is not None and layer is not None:
        largest = evidence.gradients[layer].abs().amax((1, 2, 3))
        dead = (largest == 0).reshape(batch, targets).cpu()
    broken = (~evidence.logits.isfinite()).flatten(1).any(1).tolist()
    softmax_inside = looks_like_probabilities(evidence.logits)
    found = []
    for i in range(batch):
        row = []
        for t in range(targets):
            said = []
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
