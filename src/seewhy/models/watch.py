"""Run a model and see its layers, then leave no trace: the only hooks in the repository.

`watch` gives activations and the gradients of a score with respect to them. The forward pass is
run without autograd up to the first watched layer; there a detached leaf takes over, and only what
lies between the layer and the score is differentiated. `trace` runs a model once and tells what
every module gave.
"""

from __future__ import annotations

import math
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from seewhy.errors import LayerError, ModelError
from seewhy.models.exported import as_module, is_program, made_for
from seewhy.models.grid import Grid, Stack, find_grid
from seewhy.models.outputs import replace_tensor, tensors_in
from seewhy.models.recomputing import without_recomputing


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
    known: tuple[tuple[int, ...], ...] = field(default=(), compare=False)
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
                f"{tuple(picture)}; a map needs (batch, channels, ...), channels last, or tokens, "
                f"with more than one position{_why_not(tensor.shape, picture)}. See: seewhy layers."
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
        """What belongs to the places of each layer, from what belongs to each place."""
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
                f"behind layer '{layer}' the network has an operation whose second "
                f"derivative PyTorch does not know ({error}); choose a later layer, or a "
                "method that needs no curvature: grad-cam."
            ) from error
        pairs = zip(tensors, products, strict=True)
        return [torch.zeros_like(one) if p is None else p.detach() for one, p in pairs]

    @property
    def last_linear(self) -> tuple[nn.Linear | nn.Conv2d, Tensor] | None:
        """The last linear map of the run (`Linear` or 1×1 convolution) and its input."""
        return self._linear

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
            f"the score has no gradient with respect to layer {names}: the network cuts it behind "
            f"the layer ({CUTS}), or the layer lies beside the path to the score. Choose another "
            f"layer, or a method that needs no gradient: {WITHOUT_GRADIENT}."
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


@contextmanager
def watch(
    model: nn.Module, layers: Sequence[Layer], *, differentiate: bool = True, linear: bool = False
) -> Iterator[Watch]:
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
    hooks: list[tuple[nn.Module, Callable[..., Any]]]
    hooks = [(place.module, seen.see(index)) for index, place in enumerate(seen.places)]
    if linear:
        hooks += [(module, seen.see_linear) for module in modules_of(model) if _is_linear(module)]
    with undisturbed(model), hooked(hooks), torch.enable_grad():
        try:
            yield seen
        except RuntimeError as error:
            if differentiate and any(parameter.is_inference() for parameter in model.parameters()):
                raise ModelError(
                    "the model was built under torch.inference_mode(), so autograd cannot pass "
                    "through its parameters; build or load it outside of inference_mode."
                ) from error
            raise


@dataclass(frozen=True, eq=False)
class Call:
    """One call of one module in a traced run; one for each tensor where it gives several.

    Attributes:
        name, module: the module.
        path: which tensor of its output, where it gives several.
        shape: of its output; None if that holds no tensor.
        passes_through: its output is its input, untouched (Dropout in eval mode, Identity).
        same_as: the earlier call whose output is this output (a container's last child).
        floating: whether the output is floating-point, or integers that stand for such numbers.
        entered: the shape of the first argument, if that is a tensor.
        order: where a part without weights only puts its tokens `(1, count, channels)` into
            another order: which row each of them was.
    """

    name: str
    module: nn.Module
    path: str
    shape: tuple[int, ...] | None
    passes_through: bool
    same_as: Call | None
    floating: bool
    entered: tuple[int, ...] | None
    order: Tensor | None = None


@dataclass(frozen=True, eq=False)
class _Running:
    """A call that has begun: what its first argument is, and of what shape, if it is a tensor."""

    module: nn.Module
    same: tuple[int, int] | None
    entered: tuple[int, ...] | None


@dataclass
class _Tracer:
    names: dict[nn.Module, str]
    thread: int
    calls: list[Call] = field(default_factory=list)
    running: list[_Running] = field(default_factory=list)
    latest: dict[int, tuple[weakref.ref[Tensor], int, Call]] = field(default_factory=dict)
    rows: Tensor | None = None  # what the part without weights that runs now has taken in

    def before(self, module: nn.Module, args: Any) -> None:
        if threading.get_ident() == self.thread:
            tensor = args[0] if args and isinstance(args[0], Tensor) else None
            same = None if tensor is None else (id(tensor), tensor._version)
            entered = None if tensor is None else tuple(tensor.shape)
            self.running.append(_Running(module, same, entered))
            self.rows = tensor if is_weightless(module) else None

    def after(self, module: nn.Module, args: Any, output: Any) -> None:  # noqa: ARG002
        if threading.get_ident() != self.thread:
            return
        while (begun := self.running.pop()).module is not module:
            pass  # a call that ended in an error, which the model has caught
        tensors: list[tuple[str, Tensor | None]] = list(tensors_in(output)) or [("", None)]
        for path, tensor in tensors:
            made = Call(
                name=self.names[module],
                module=module,
                path=path if len(tensors) > 1 else "",
                shape=None if tensor is None else tuple(tensor.shape),
                passes_through=tensor is not None and begun.same == (id(tensor), tensor._version),
                same_as=None if tensor is None else self._earlier(tensor),
                floating=tensor is not None and _has_numbers(tensor),
                entered=begun.entered,
                order=_order(self.rows, tensor),
            )
            self.calls.append(made)
            if tensor is not None:
                self.latest[id(tensor)] = (weakref.ref(tensor), tensor._version, made)
        self.rows = None

    def _earlier(self, tensor: Tensor) -> Call | None:
        """The call that gave this very tensor."""
        reference, version, call = self.latest.get(id(tensor), (None, None, None))
        known = reference is not None and reference() is tensor and version == tensor._version
        return call if known else None


def trace(
    model: nn.Module, inputs: Tensor, named: nn.Module | None = None
) -> tuple[Any, list[Call]]:
    """Run the model once: its outputs, and every module's call in the order in which they ended.

    `named` is the part of the model whose modules are seen, and in which they have their names.
    """
    check_hookable(named or model)
    names = {
        module: clean_name(name)
        for name, module in (named or model).named_modules()
        if not isinstance(module, torch.jit.ScriptModule)
    }
    tracer = _Tracer(names, threading.get_ident())
    hooks = [(module, tracer.after) for module in names]
    before = [(module, tracer.before) for module in names]
    with undisturbed(model), hooked(hooks, before), torch.no_grad():
        outputs = model(inputs.clone() if inputs.is_inference() else inputs)
    return outputs, tracer.calls


def is_weightless(module: nn.Module) -> bool:
    """Whether it is somebody's own part without weights and parts: it may reorder what it gets."""
    own = type(module).__module__.split(".")[:2] != ["torch", "nn"]
    return own and not module._modules and not module._parameters


def _order(before: Tensor | None, after: Tensor | None) -> Tensor | None:
    """Which row of `before` each row of `after` is, if these are the same rows otherwise."""
    if before is None or after is None or before.ndim != 3 or before.shape != after.shape:
        return None
    if before is after or before.is_meta or len(before) != 1:
        return None
    order = torch.empty(before.shape[1], dtype=torch.int64, device=before.device)
    order[after[0].sum(-1).argsort()] = before[0].sum(-1).argsort()
    moved = not torch.equal(before, after) and torch.equal(before[:, order], after)
    return order.cpu() if moved else None


@contextmanager
def replacing(layer: Layer, replace: Callable[[Tensor], Tensor | None]) -> Iterator[None]:
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

    with hooked([(layer.module, hook)]):
        yield


def check_calls(layer: Layer, count: int) -> None:
    """A layer that ran `count` times in a forward has the one call that is meant.

    Raises:
        LayerError: if it did not run, has no such call, or runs several times and none was chosen.
    """
    if not count:
        raise LayerError(
            f"layer '{layer.name}' did not run in this forward (an auxiliary head is used "
            "only in training; a fused block does not call its parts); choose another."
        )
    if layer.call is None and count > 1:
        raise LayerError(
            f"layer '{layer.name}' is called {count} times in one forward; say which "
            f"call with layer='{layer.name}#0' to '{layer.name}#{count - 1}' (#-1: the "
            "last), or choose a layer that runs once."
        )
    if layer.call is not None and not -count <= layer.call < count:
        raise LayerError(
            f"layer '{layer.name}' has no call #{layer.call}: it is called {count} "
            f"times in one forward, #0 to #{count - 1}."
        )


def check_hookable(module: nn.Module) -> None:
    """A layer, or the model whose layers are looked for, is run by Python.

    Raises:
        ModelError: for TorchScript and exported graphs, which call no hooks.
    """
    if isinstance(module, torch.jit.ScriptModule):
        raise ModelError(
            "the model, or the part with this layer, is TorchScript, whose layers cannot be "
            "watched; take a method that looks at no layer (saliency, integrated-gradients, rise, "
            "occlusion), or the model it was made from."
        )
    if isinstance(module, torch.fx.GraphModule) and made_for(module):
        raise ModelError(
            "the model is program.module() of an exported program, which does not call its "
            "layers; give the program itself."
        )


def unwrap(model: Any) -> nn.Module:
    """The module inside what torch.compile, DataParallel, DDP or torch.export made of it.

    Raises:
        ModelError: for what is no model.
    """
    if is_program(model):
        return as_module(model)
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"model is a {type(model).__name__}; a torch.nn.Module, a torch.export program or a "
            "loaded model is wanted."
        )
    inner: nn.Module = model
    while True:
        if "_orig_mod" in inner._modules:
            inner = inner._orig_mod  # type: ignore[assignment]
        elif isinstance(inner, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            inner = inner.module
        else:
            return inner


def modules_of(model: nn.Module) -> list[nn.Module]:
    """All modules, each once; `model.modules()` takes several times as long, building names."""
    found = {model: None}
    waiting = [model]
    while waiting:
        for child in waiting.pop()._modules.values():
            if child is not None and child not in found:
                found[child] = None
                waiting.append(child)
    return list(found)


WRAPPED = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""What torch.compile, FSDP and activation checkpointing call the module that they wrap."""


def clean_name(name: str) -> str:
    """A module's dotted name without what wrappers put into it."""
    return ".".join(part for part in name.split(".") if part not in WRAPPED)


_lock = threading.Lock()
_held: dict[int, tuple[nn.Module, int, dict[str, Any]]] = {}
_stance: list[Any] = []


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Every module as in eval mode; each gets its own state back when the last thread has left.

    The flags are set one by one: `model.eval()` may be overridden, and in one well-known package
    a call of `train()` starts a training.
    """
    with _lock:
        held = []
        for module in modules_of(model):
            wanted = _eval_state(module)
            own = {name: getattr(module, name, value) for name, value in wanted.items()}
            if own != wanted or id(module) in _held:
                held.append(module)
                _, count, own = _held.get(id(module), (module, 0, own))
                _held[id(module)] = (module, count + 1, own)
                _set(module, wanted)
    try:
        yield
    finally:
        with _lock:
            for module in held:
                _, count, own = _held.pop(id(module))
                if count > 1:
                    _held[id(module)] = (module, count - 1, own)
                else:
                    _set(module, own)


def _eval_state(module: nn.Module) -> dict[str, Any]:
    """The attributes that make a module do what it does in eval mode, and have a gradient.

    cuDNN keeps what the backward pass of a recurrent layer needs in training mode only ("cudnn RNN
    backward can only be called in training mode"). All that this mode changes in PyTorch's own
    recurrent layers is the dropout between their layers: without it they compute the same. To
    switch cuDNN off instead would slow every convolution, in every thread.
    """
    if type(module) in (nn.RNN, nn.LSTM, nn.GRU) and _runs_on_cudnn(module):
        return {"training": True, "dropout": 0.0}
    return {"training": False} if hasattr(module, "training") else {}


def _runs_on_cudnn(module: nn.Module) -> bool:
    return any(
        parameter.is_cuda for parameter in module._parameters.values() if parameter is not None
    )


def _set(module: nn.Module, state: dict[str, Any]) -> None:
    for name, value in state.items():
        setattr(module, name, value)


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """What surrounds every run: eval mode, eager code, no inference mode, nothing left in caches.

    Autograd is on inside if the caller was in inference mode; say which mode is wanted.
    """
    with (
        eval_mode(model),
        _eager(),
        _uncached_autocast(),
        without_recomputing(),
        torch.inference_mode(False),
    ):
        yield


@contextmanager
def hooked(
    after: Sequence[tuple[nn.Module, Callable[..., Any]]],
    before: Sequence[tuple[nn.Module, Callable[..., Any]]] = (),
) -> Iterator[None]:
    """Forward hooks behind and before modules while the block lasts."""
    with ExitStack() as stack:
        with _lock:  # handles number themselves from a shared count, which is not atomic
            handles = [module.register_forward_pre_hook(hook) for module, hook in before]
            handles += [module.register_forward_hook(hook) for module, hook in after]
        stack.callback(_remove, handles)
        yield


def _remove(handles: Sequence[Any]) -> None:
    with _lock:
        for handle in handles:
            handle.remove()


@contextmanager
def _eager() -> Iterator[None]:
    """Compiled code runs as it was written; nothing to do where nothing was ever compiled."""
    if "torch._dynamo" not in sys.modules:
        yield
        return
    with _lock:
        _stance.append(torch.compiler.set_stance("force_eager") if not _stance else None)
    try:
        yield
    finally:
        with _lock:  # the stance is the whole process's: the last to leave puts it back
            if len(_stance) == 1:
                _stance[0].__exit__(None, None, None)
                _stance.clear()
            else:
                _stance.pop()


@contextmanager
def _uncached_autocast() -> Iterator[None]:
    """No weight that is cast under our no_grad stays in the caller's autocast cache.

    From there a later training step would take it, without its gradient.
    """
    enabled = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(enabled)


def _choose(layer: Layer, output: Any) -> tuple[str, Tensor]:
    """The tensor of a layer's output that is meant, and its path."""
    found = {path: tensor for path, tensor in tensors_in(output) if _has_numbers(tensor)}
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
        f"layer '{layer.name}' returns {type(output).__name__} with {len(spatial)} feature "
        f"maps; one is wanted. It gives {shapes or 'no floating-point tensor'}."
    )


def _has_numbers(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_quantized


CUTS = "detach, argmax, inference_mode, a quantised part"
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
            f" ({shape[0] // max(1, picture[0])} rows for an image: tiles, frames, several "
            "pictures, or windows, each a batch of its own; name the block around them, or leave "
            "layer= out, and the picture's rows are looked for)"
        )
    return ""


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or (
        isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1
    )


def at_least_float32(tensor: Tensor) -> Tensor:
    """Half precision widened: the maths of a map is done in float32 or better."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
