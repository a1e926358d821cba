"""Run a model and see what its layers give.

`watch` gives activations and the gradients of a score with respect to them. The forward pass is
run without autograd up to the first watched layer; there a detached leaf takes over, and only what
lies between the layer and the score is differentiated. `replacing` lets a layer give something
else.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from seewhy.errors import LayerError, ModelError
from seewhy.models.grid import Grid, Stack, find_grid
from seewhy.models.modules import check_hookable, modules_of, unwrap
from seewhy.models.outputs import has_numbers, replace_tensor, tensors_in
from seewhy.models.undisturbed import Changed, Grad, Hook, Hooks, no_disturbance
from seewhy.precision import at_least_float32


@dataclass(frozen=True)
class Layer:
    """A place in a model to watch.

    Attributes:
        name: the module's dotted name.
        module: the module itself.
        path: which tensor of its output, where it returns several (`""`: the only one).
        call: which of its calls, counted from 0, where it runs more than once a forward.
        known: sizes of maps seen elsewhere in the model, to place tokens by (see `find_grid`).
        stack: how several rows of what it gives make the map of one image.
        beside: more places whose tensors are further rows: other calls of the module.
        time_last: how the tokens of a video are ordered (see `Grid`).
    """

    name: str
    module: nn.Module
    path: str = ""
    call: int | None = None
    known: tuple[tuple[int, ...] | Grid, ...] = field(default=(), compare=False)
    stack: Stack | None = None
    beside: tuple[Layer, ...] = ()
    time_last: bool = field(default=False, compare=False)

    @property
    def places(self) -> tuple[Layer, ...]:
        """Where the model is looked at: here, and at what lies beside."""
        return (self, *self.beside)

    def find(self, shape: Sequence[int], picture: Sequence[int]) -> Grid | None:
        """How a tensor of that shape lies on a picture of that shape, if it does."""
        grid = find_grid(tuple(shape), picture, self.module, self.known, self.stack)
        if grid is not None and self.time_last and grid.form == "tokens" and len(grid.size) == 3:
            return replace(grid, time_last=True)
        return grid

    def grid(self, tensor: Tensor, picture: Sequence[int]) -> Grid:
        """How what the layer gives lies on a picture of that shape.

        Raises:
            LayerError: if it does not, with what came.
        """
        grid = self.find(tensor.shape, picture)
        if grid is None or math.prod(grid.size) < 2:
            raise LayerError(
                f"layer '{self}' gives {tuple(tensor.shape)} for a picture of "
                f"{tuple(picture)}, but a map needs (batch, channels, ...), channels last, "
                f"or tokens, with more than one position{_why_not(tensor.shape, picture)}. "
                "See: seewhy layers."
            )
        return grid

    def of(self, tensors: Sequence[Tensor], picture: Sequence[int]) -> Tensor:
        """`(batch, channels, *positions)` from the tensors of its places.

        Raises:
            LayerError: if it does not lie on the picture.
        """
        whole = tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))
        return self.grid(whole, picture).of(whole)

    def __str__(self) -> str:
        if self.beside:
            return " + ".join(str(replace(one, beside=())) for one in self.places)
        path = f"[{self.path}]" if self.path else ""
        return f"{self.name}{path}" + (f"#{self.call}" if self.call is not None else "")


class Watch:
    """A model seen at some layers; made by `watch`."""

    def __init__(self, model: nn.Module, layers: Sequence[Layer], differentiate: bool) -> None:
        self._model = model
        self._layers = layers
        self.places = [place for layer in layers for place in layer.places]
        self._differentiate = differentiate
        self._thread = threading.get_ident()
        self._seen: list[list[Tensor]] = [[] for _ in self.places]
        self._linear: tuple[nn.Linear | nn.Conv2d, Tensor] | None = None

    def __call__(self, inputs: Tensor) -> Any:
        """The model's outputs for `inputs`; what the layers gave is kept until the next call."""
        inputs = inputs.detach()
        if inputs.is_inference():  # made under inference_mode: autograd may not touch it
            inputs = inputs.clone()
        outputs = self._run(inputs, torch.no_grad())
        if self._differentiate and not _differentiable(outputs):
            # A network that itself computes a part under no_grad (a frozen backbone) ends our
            # grad mode when it leaves that part. Started with autograd on, it returns to on.
            outputs = self._run(inputs, torch.enable_grad())
        return outputs

    @contextmanager
    def looking_away(self) -> Iterator[None]:
        """Runs of the model inside the block are not seen; what was kept before stays."""
        thread, self._thread = self._thread, 0  # no thread's number
        try:
            yield
        finally:
            self._thread = thread

    @property
    def activations(self) -> list[Tensor]:
        """What each watched layer gave as `(batch, channels, *positions)`, detached.

        float32, or float64 if the model is.

        Raises:
            LayerError: if a layer's output does not lie on the picture.
        """
        kept = self._kept()
        return [at_least_float32(one.detach()) for one in self._on_the_picture(kept)]

    def _on_the_picture(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        return [
            layer.of(some, self._picture)
            for layer, some in zip(self._layers, self._by_layer(tensors), strict=True)
        ]

    def _by_layer(self, tensors: Sequence[Tensor]) -> list[list[Tensor]]:
        """Group a flat list of values, one per place, by layer."""
        rest = iter(tensors)
        return [[next(rest) for _ in layer.places] for layer in self._layers]

    def gradients(self, scores: Tensor, *, keep_graph: bool = False) -> list[Tensor]:
        """The gradient of the sum of `scores` with respect to each layer's activations.

        `keep_graph` allows another call.

        Raises:
            LayerError: if autograd does not reach from the score to a watched layer.
        """
        found, scale = self._differentiated(scores, keep_graph=keep_graph)
        return [at_least_float32(one) / scale for one in self._on_the_picture(found)]

    def curvature(self, scores: Tensor) -> list[Tensor]:
        """The Hessian of the sum of `scores` by each layer's activations, times those activations.

        It takes one more pass through the tail, forth and back; the graph is kept.

        Raises:
            LayerError: if autograd does not reach a layer, or knows no second derivative.
        """
        kept = self._kept()
        found, scale = self._differentiated(scores, keep_graph=True, differentiable=True)
        products: list[Tensor] = []
        by_layer = zip(self._layers, self._by_layer(kept), self._by_layer(found), strict=True)
        for layer, tensors, gradients in by_layer:
            products += self._times_activations(layer, tensors, gradients)
        return [at_least_float32(one) / scale for one in self._on_the_picture(products)]

    def _times_activations(
        self, layer: Layer, tensors: Sequence[Tensor], gradients: Sequence[Tensor]
    ) -> list[Tensor]:
        """The derivative of gradients, times the activations, at the places of one layer."""
        pairs = zip(tensors, gradients, strict=True)
        moving = [(tensor.detach(), one) for tensor, one in pairs if one.requires_grad]
        if not moving:  # the gradients are the same whatever the activations are
            return [torch.zeros_like(one) for one in tensors]
        try:
            products = torch.autograd.grad(
                [one for _, one in moving],
                tensors,
                [activations for activations, _ in moving],
                retain_graph=True,
                allow_unused=True,
            )
        except RuntimeError as error:
            if "not implemented" not in str(error):
                raise
            raise LayerError(
                f"after layer '{layer}' the network has an operation whose second "
                f"derivative PyTorch does not know ({error}). Choose a later layer, or a "
                "method that needs no curvature: grad-cam."
            ) from error
        pairs = zip(tensors, products, strict=True)
        return [torch.zeros_like(one) if p is None else p.detach() for one, p in pairs]

    @property
    def last_linear(self) -> tuple[nn.Linear | nn.Conv2d, Tensor] | None:
        """The last linear map of the run (`Linear` or 1×1 convolution) and its input."""
        return self._linear

    @property
    def built_under_inference_mode(self) -> bool:
        """Whether gradients are wanted that autograd cannot take for that reason."""
        own = self._model.parameters()
        return self._differentiate and any(parameter.is_inference() for parameter in own)

    def _run(self, inputs: Tensor, grad_mode: Any) -> Any:
        self._seen = [[] for _ in self.places]
        self._linear = None
        self._picture = tuple(inputs.shape)
        with grad_mode:
            outputs = self._model(inputs)
        for place, seen in zip(self.places, self._seen, strict=True):
            check_calls(place, len(seen))
        return outputs

    def _kept(self) -> list[Tensor]:
        return [
            seen[0 if place.call is None else place.call]
            for place, seen in zip(self.places, self._seen, strict=True)
        ]

    def _differentiated(
        self, scores: Tensor, *, keep_graph: bool, differentiable: bool = False
    ) -> tuple[tuple[Tensor, ...], float]:
        """Gradients as they come, and what they are to be divided by."""
        kept = self._kept()
        if not has_gradient(scores):
            raise self._no_gradient(self.places)
        scale = 1.0
        if any(tensor.dtype == torch.float16 for tensor in kept):
            scale = 1024.0  # below 6e-5 float16 loses digits, and gradients of a mean lie there
        found = torch.autograd.grad(
            scores.sum() * scale,
            kept,
            retain_graph=keep_graph,
            create_graph=differentiable,
            allow_unused=True,
        )
        pairs = zip(self.places, found, strict=True)
        cut_off = [layer for layer, gradient in pairs if gradient is None]
        if cut_off:
            raise self._no_gradient(cut_off)
        return found, scale

    def _no_gradient(self, layers: Sequence[Layer]) -> LayerError:
        names = ", ".join(f"'{layer}'" for layer in layers)
        return LayerError(
            f"no gradient reaches layer {names}: the network interrupts it after the "
            f"layer ({CUTS}), or the score does not depend on the layer. Choose another "
            f"layer, or a method without gradients: {WITHOUT_GRADIENT}."
        )

    def see(self, index: int) -> Callable[[nn.Module, Any, Any], Any]:
        """The forward hook of the place at `index`."""

        def hook(module: nn.Module, args: Any, output: Any) -> Any:  # noqa: ARG001
            if threading.get_ident() != self._thread:
                return None  # the same model, run by somebody else
            path, tensor = _choose(self.places[index], output)
            if tensor.is_quantized:
                self._seen[index].append(tensor.dequantize())
                return None
            if self._differentiate and not tensor.requires_grad:
                tensor = tensor.detach().requires_grad_()
                torch.set_grad_enabled(True)  # until the no_grad around the forward ends
            self._seen[index].append(tensor)
            # The clone is what runs on: an in-place operation behind the layer changes it alone.
            return replace_tensor(output, path, tensor.clone())

        return hook

    def see_linear(self, module: nn.Linear | nn.Conv2d, args: Any, output: Any) -> None:  # noqa: ARG002
        """The forward hook of every linear map."""
        if threading.get_ident() == self._thread:
            self._linear = (module, args[0].detach())


def watch(
    model: nn.Module, layers: Sequence[Layer], *, differentiate: bool = True, linear: bool = False
) -> Changed[Watch]:
    """Watch `model` at `layers` while the block lasts; it comes back exactly as it was.

    Inside the block the model is in eval mode, autograd is on for what the caller computes from
    the outputs, and compiled parts run eagerly (compiled code does not call hooks). Other threads
    may watch or run the same model.

    Args:
        model: any module.
        layers: where to look; several may lie behind each other or side by side.
        differentiate: whether gradients will be wanted.
        linear: whether to remember the last linear map of a run.

    Raises:
        ModelError: for layers that cannot be watched.
        LayerError: when a layer does not run, runs more than once, or holds several tensors.
    """
    model = unwrap(model)
    for layer in layers:
        check_hookable(layer.module)
    seen = Watch(model, layers, differentiate)
    hooks: list[Hook] = [(place.module, seen.see(index)) for index, place in enumerate(seen.places)]
    if linear:
        hooks += [(module, seen.see_linear) for module in modules_of(model) if _is_linear(module)]
    return _Watching([*no_disturbance(model), Hooks(hooks), Grad()], seen)


class _Watching(Changed[Watch]):
    """The block in which a model is watched."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, traceback)
        if isinstance(error, RuntimeError) and self.gives.built_under_inference_mode:
            raise ModelError(
                "the model was built under torch.inference_mode(), so autograd cannot pass "
                "through its parameters. Build or load it outside of inference_mode."
            ) from error


def replacing(layer: Layer, replace: Callable[[Tensor], Tensor | None]) -> Changed[None]:
    """Every call of a layer on this thread shows `replace` its tensor while the block lasts.

    What `replace` returns runs on in the tensor's place; None leaves it.
    """
    thread = threading.get_ident()

    def hook(module: nn.Module, args: Any, output: Any) -> Any:  # noqa: ARG001
        if threading.get_ident() != thread:
            return None
        path, tensor = _choose(layer, output)
        other = replace(tensor)
        return None if other is None else replace_tensor(output, path, other)

    return Changed([Hooks([(layer.module, hook)])], None)


def check_calls(layer: Layer, count: int) -> None:
    """Check that exactly one call of a layer is selected.

    Raises:
        LayerError: if it did not run, has no such call, or runs several times and none was chosen.
    """
    if not count:
        raise LayerError(
            f"layer '{layer.name}' did not run in the forward pass (an auxiliary head "
            "runs only in training, and a fused block does not call its parts). Choose "
            "another layer."
        )
    if layer.call is None and count > 1:
        raise LayerError(
            f"layer '{layer.name}' is called {count} times in one forward pass. Choose "
            f"a call with layer='{layer.name}#0' to '{layer.name}#{count - 1}' (#-1: "
            "the last), or choose a layer that runs once."
        )
    if layer.call is not None and not -count <= layer.call < count:
        raise LayerError(
            f"layer '{layer.name}' has no call #{layer.call}: it is called {count} "
            f"times in one forward pass, #0 to #{count - 1}."
        )


def _choose(layer: Layer, output: Any) -> tuple[str, Tensor]:
    """The tensor of a layer's output that is meant, and its path."""
    found = {path: tensor for path, tensor in tensors_in(output) if has_numbers(tensor)}
    shapes = ", ".join(f"'{layer.name}[{path}]' {tuple(t.shape)}" for path, t in found.items())
    if layer.path or "" in found:
        if layer.path not in found:
            raise LayerError(
                f"layer '{layer.name}' has no output [{layer.path}]; it gives {shapes or 'none'}."
            )
        return layer.path, found[layer.path]
    for least in (4, 3):  # maps come before tokens
        spatial = {path: tensor for path, tensor in found.items() if tensor.ndim >= least}
        if len(spatial) == 1:
            return next(iter(spatial.items()))
    raise LayerError(
        f"layer '{layer.name}' must return one feature map, but it returns "
        f"{type(output).__name__} with {len(spatial)}. It gives "
        f"{shapes or 'no floating-point tensor'}."
    )


CUTS = "detach, no_grad, inference_mode, argmax, a quantised part"
"""What leaves a score without a gradient, for errors."""


WITHOUT_GRADIENT = "eigen-cam, recipro-cam, ablation-cam, rise, occlusion"
"""Methods that need none, for errors."""


def has_gradient(scores: Tensor) -> bool:
    """Whether autograd knows a derivative of everything that `scores` were computed by.

    Operations without one (integer arithmetic, custom operators) are in the graph too: they pass
    no gradient, and where another way leads around them the rest would be taken for the whole.
    """
    if scores.grad_fn is None:
        return scores.requires_grad
    waiting, met = [scores.grad_fn], {scores.grad_fn}
    while waiting:
        node = waiting.pop()
        if "NotImplemented" in node.name():
            return False
        for behind, _ in node.next_functions:
            if behind is not None and behind not in met:
                met.add(behind)
                waiting.append(behind)
    return True


def _differentiable(outputs: Any) -> bool:
    tensors = [tensor for _, tensor in tensors_in(outputs) if tensor.is_floating_point()]
    return not tensors or any(tensor.requires_grad for tensor in tensors)


def _why_not(shape: Sequence[int], picture: Sequence[int]) -> str:
    if shape and picture and shape[0] != picture[0] and shape[0] % max(1, picture[0]) == 0:
        return (
            f" ({shape[0] // max(1, picture[0])} rows per image: tiles, frames, several "
            "pictures, or windows, each as a separate batch row; name the block around "
            "them, or leave layer= out, and seewhy searches for the rows of the "
            "picture)"
        )
    return ""


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or (
        isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1
    )
