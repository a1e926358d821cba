"""Run a model again from a layer on, with other activations there; only the tail computes.

The model is run once. Every module call that ended before the layer's and is not part of another
such call has its output kept. To rerun, these modules return what they kept, laid out for as many
versions as there are, the layer returns the given activations, and what is left is the tail.
Nothing is traced, so work that a network does in its own `forward` (skip connections,
concatenations) is simply done again.

What ended before the layer cannot depend on its activations; what can go wrong is everything else
(state, randomness, work that depends on the batch). So the unchanged activations ride along as the
last row of every rerun, and their outputs must be those of the first run. Where they are not, the
whole network runs for each version, with a warning; where even that does not repeat itself, it is
an error.
"""

from __future__ import annotations

import copy
import dataclasses
import enum
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from seewhy.errors import LayerError, MethodError, ModelError
from seewhy.models.grid import Grid
from seewhy.models.modules import check_hookable, modules_of, unwrap
from seewhy.models.outputs import tensors_in
from seewhy.models.undisturbed import Changed, Grad, lock, no_disturbance, no_inference
from seewhy.models.watch import Layer, check_calls, replacing
from seewhy.progress import report


class _Way(enum.IntEnum):
    """How a model is rerun, from the cheapest to the last resort."""

    TAIL = 0  # kept outputs are views, expanded; what is written in place is copied
    TAIL_ON_COPIES = 1  # for networks that cannot use expanded views
    WHOLE = 2
    ONE_BY_ONE = 3  # for networks whose outputs for an image depend on the others in the batch


class _InexactError(Exception):
    """A rerun that cannot be trusted; the message goes into a sentence."""


class _Seen(BaseException):
    """Ends a run of which no more is wanted; not an Exception, so that no model catches it."""


Behind = Callable[[nn.Module, Callable[[], Any], tuple[Any, ...]], Any]
"""What a module behind the layer does: from the module, its own way, and its arguments."""


@dataclass(eq=False)
class _Kept:
    """What one module call returned in the first run (or the input), never to be changed."""

    module: nn.Module | None
    value: Any
    written: bool = False  # in a rerun, something behind it changes it in place
    tensors: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.tensors = [tensor for _, tensor in tensors_in(self.value)]

    def rows(self, count: int, *, copies: bool) -> Any:
        """The value for a batch of `count`; without `copies` it shares the memory."""

        def laid_out(tensor: Tensor) -> Tensor:
            if tensor.ndim == 0:
                return tensor.clone() if copies else tensor.view(())
            if copies or len(tensor) != 1:
                return torch.cat([tensor] * count)
            return tensor.expand(count, *tensor.shape[1:])

        with no_inference(), torch.no_grad():
            return _mapped(self.value, laid_out)


@dataclass(frozen=True, eq=False)
class FirstLinear:
    """A linear map behind the layer.

    Attributes:
        module: the map.
        inputs, outputs: of two rows: where the layer gives zeros, and unchanged.
    """

    module: nn.Linear
    inputs: Tensor
    outputs: Tensor


class Rerun:
    """A model that can be rerun from a layer on; made by `rerunning`.

    Attributes:
        outputs: what the model gave in the first run.
        outputs_of_zeros: what it gives where the layer gives zeros.
        first_linear: the linear map that the layer's channels first meet in; None where another
            module with parameters than batch normalisation comes first, or only the whole network
            can be rerun. What a network does between its modules is not seen.
        raw: what the layer gave, detached, in its own form and type.
        activations: the same as `(1, channels, *positions)`, float32 (or float64 if the model
            is); in the layer's own form if that does not lie on the picture.
        warnings: what the caller should know about, in words; also issued as warnings.
    """

    outputs: Any
    outputs_of_zeros: Any
    first_linear: FirstLinear | None
    raw: Tensor
    activations: Tensor
    warnings: tuple[str, ...]

    def __init__(self, model: nn.Module, layer: Layer, inputs: Tensor) -> None:
        if inputs.ndim < 1 or len(inputs) != 1:
            raise ModelError(
                "a rerun needs one image, (1, channels, height, width), but inputs have "
                f"shape {tuple(inputs.shape)}."
            )
        self._model = model
        self._layer = layer
        self._containers = _containers(model, layer.module)
        self._input = _Kept(None, _copied(inputs))
        self._kept: list[_Kept] = []
        self._raws: list[Tensor] = [inputs] * len(layer.places)
        self._way = _Way.TAIL_ON_COPIES
        self._failure = ""
        if layer.beside or (layer.stack is not None and layer.stack.along == "rows"):
            self._run_whole("its map is made of several calls, or rows that lie apart")
        self._open = True
        self.warnings = ()
        # What the run in progress is doing:
        self._recording = False
        self._playing = False
        self._inside = False
        self._position = 0
        self._layer_calls = 0
        self._replacement: Tensor | None = None
        self._reached = False
        self._behind: Behind | None = None
        self._look: Behind | None = None
        self._met = False
        self.first_linear = None

    @property
    def exact(self) -> bool:
        """Whether only the tail is rerun; False: the whole network runs for each version."""
        return self._way <= _Way.TAIL_ON_COPIES

    def __call__(self, activations: Tensor) -> Any:
        """The model's outputs with other activations at the layer.

        Activations that require grad give outputs that can be differentiated; otherwise nothing
        is kept for it.

        Args:
            activations: `(versions, channels, *positions)`; not changed. Class and register
                tokens stay as they are.

        Returns:
            What the model returns for a batch of that many.

        Raises:
            MethodError: for activations that do not fit the layer.
            ModelError: if the network gives something else each time it runs.
        """
        if not self._open:
            raise MethodError("a rerun was called after its block had ended; call it inside.")
        if activations.shape[1:] != self.activations.shape[1:]:
            wanted = ", ".join(map(str, self.activations.shape[1:]))
            raise MethodError(
                f"layer '{self._layer}' needs activations of shape (versions, {wanted}), "
                f"not {tuple(activations.shape)}."
            )
        activations = self._back(activations)
        while True:
            try:
                outputs = self._rerun(activations)
            except Exception as error:
                if is_out_of_memory(error):
                    raise
                self._give_way(error)
                continue
            self._tell()
            return outputs

    def into_first_linear(self, activations: Tensor) -> Tensor:
        """What enters `first_linear` for versions of the activations; the run ends there.

        Args:
            activations: `(versions, channels, *positions)`; not changed.
        """
        assert self.first_linear is not None
        found: list[Tensor] = []

        def look(module: nn.Module, run: Callable[[], Any], args: tuple[Any, ...]) -> Any:
            if module is self.first_linear.module:  # type: ignore[union-attr]
                found.append(args[0].detach())
                raise _Seen
            return run()

        with suppress(_Seen):
            self._with(self._back(activations, copy=True), look)
        if not found:
            raise _InexactError("it takes another course when it is rerun")
        return found[0]

    def from_first_linear(self, rows: Tensor) -> Any:
        """The model's outputs where `first_linear` gives `rows`, the last of which is unchanged.

        Returns:
            What the model returns for a batch of all but that last one; it may write into `rows`.

        Raises:
            _InexactError: where the outputs of the unchanged row are not those of the first run.
        """
        given = False

        def give(module: nn.Module, run: Callable[[], Any], args: tuple[Any, ...]) -> Any:  # noqa: ARG001
            nonlocal given
            if given or self.first_linear is None or module is not self.first_linear.module:
                return run()
            given = True
            return rows

        # One row up to there: what lies between does not depend on the version.
        outputs = self._with(self.raw.clone(), give)
        if not given:
            raise _InexactError("it takes another course when it is rerun")
        return self._split(outputs, len(rows))

    def _back(self, activations: Tensor, *, copy: bool = False) -> Tensor:
        """Versions in the layer's own form and type."""
        return self._grid.back(activations.to(self.raw, copy=copy), self.raw)

    def _meet(self, module: nn.Module, run: Callable[[], Any], args: tuple[Any, ...]) -> Any:
        """See, in the first rerun, whether a linear map is what comes first behind the layer."""
        own = any(parameter is not None for parameter in module._parameters.values())
        if self._met or not own or isinstance(module, nn.modules.batchnorm._BatchNorm):
            return run()
        self._met = True
        if type(module) is not nn.Linear or not args:
            return run()
        inputs, output = _copied(args[0]), run()
        self.first_linear = FirstLinear(module, inputs, _copied(output))
        return output

    def alike(self, outputs: Any, others: Any) -> bool:
        """Whether two of the model's outputs are the same, but for rounding."""
        pairs = zip(tensors_in(outputs), tensors_in(others), strict=True)
        return all(_deviation(one, other) <= self._tolerance for (_, one), (_, other) in pairs)

    def _start(self) -> None:
        """The first run, and the proof that a rerun repeats it."""
        if self._layer.call is None:
            self._call = 0
        elif self._layer.call >= 0:
            self._call = self._layer.call
        else:  # counted from the end, so the calls are counted first
            self._call = -1
            self._run(self._input.rows(1, copies=True), differentiate=False)
            check_calls(self._layer, self._layer_calls)
            self._call = self._layer.call + self._layer_calls
        self._recording = True
        try:
            outputs = self._run(self._input.rows(1, copies=True), differentiate=False)
        finally:
            self._recording = False
        check_calls(self._layer, self._layer_calls)
        if self._layer.beside:
            self.raw = torch.cat(self._raws)
        grid = self._layer.find(self.raw.shape, self._input.value.shape)
        several = grid is not None and (grid.form == "frames" or grid.stack is not None)
        if self.raw.ndim == 0 or (len(self.raw) != 1 and not several):
            raise LayerError(
                f"layer '{self._layer}' gives {tuple(self.raw.shape)} for one image, but "
                "its first dimension must be the batch."
            )
        if not any(True for _ in tensors_in(outputs)):
            raise ModelError(
                "the model must return tensors, or tuples, lists, dicts or dataclasses of "
                f"them, but its output, {type(outputs).__name__}, contains no tensor."
            )
        self._versions = self._versions_now()
        self._channels_last = (
            self.raw.ndim == 4
            and not self.raw.is_contiguous()
            and self.raw.is_contiguous(memory_format=torch.channels_last)
        )
        self.outputs = outputs
        self._first = _copied(outputs)  # the caller may write into the other
        self._tolerance = _tolerance([self.raw, *(t for _, t in tensors_in(outputs))])
        self._grid = grid or Grid(tuple(self.raw.shape[2:]))
        activations = self._grid.of(self.raw).clone()
        if activations.dtype in (torch.float16, torch.bfloat16):
            activations = activations.float()
        self.activations = activations
        # Zeros beside the unchanged activations: nothing could differ more, so a network that
        # mixes the images of a batch shows it. And on copies, so that it shows what it writes into.
        self._look = self._meet
        self.outputs_of_zeros = self(torch.zeros_like(self.activations))
        self._look = None
        if not self.exact:
            self.first_linear = None
        if self._way == _Way.TAIL_ON_COPIES:
            self._way = _Way.TAIL

    def _rerun(self, activations: Tensor) -> Any:
        """One batch of versions with the unchanged activations behind them, which are checked."""
        if self._way == _Way.ONE_BY_ONE:
            alone = [self._with(one.clone()) for one in self._grid.each(activations)]
            self._split(self._with(self.raw.clone()), 1)
            return self._joined(alone)
        together = self._grid.joined([activations, self.raw])
        if self._channels_last:
            together = together.contiguous(memory_format=torch.channels_last)
        return self._split(self._with(together), len(together) // len(self.raw))

    def _with(self, activations: Tensor, behind: Behind | None = None) -> Any:
        """The outputs with these activations, which the network may write into, at the layer."""
        count = len(activations) // len(self.raw)
        discover = self._way == _Way.TAIL_ON_COPIES
        self._handed: list[tuple[_Kept, list[Tensor]]] = []
        inputs = self._rows(self._input, count)
        self._replacement, self._behind = activations, behind or self._look
        self._playing = self.exact
        try:
            outputs = self._run(inputs, differentiate=activations.requires_grad)
            if not self._reached:
                raise _InexactError("it takes another course when it is rerun")
        finally:
            self._playing, self._replacement, self._behind = False, None, None
            handed, self._handed = self._handed, []
        if self.exact and self._versions_now() != self._versions:
            raise _InexactError("it writes into what its first part gave")
        if discover:
            for kept, tensors in handed:
                kept.written |= any(tensor._version for tensor in tensors)
        return outputs

    def _rows(self, kept: _Kept, count: int) -> Any:
        if self._way != _Way.TAIL_ON_COPIES:
            return kept.rows(count, copies=kept.written or not self.exact)
        rows = kept.rows(count, copies=True)
        self._handed.append((kept, [tensor for _, tensor in tensors_in(rows)]))
        return rows

    def _run(self, inputs: Tensor, *, differentiate: bool) -> Any:
        thread = threading.get_ident()
        before = _running.get(thread)
        self._position = self._layer_calls = 0
        self._place_calls = [0] * len(self._layer.places)
        self._reached = self._inside = False
        _running[thread] = self
        try:
            with torch.set_grad_enabled(differentiate):
                return self._model(inputs)
        finally:
            _end_of_run(thread, before)

    def at_call(
        self, module: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any
    ) -> Any:
        """What a module's `forward` does on this thread while the model runs for us."""
        if self._playing and not self._reached and self._position < len(self._kept):
            kept = self._kept[self._position]
            if kept.module is module:
                self._position += 1
                assert self._replacement is not None
                return self._rows(kept, len(self._replacement) // len(self.raw))
        if self._behind is not None and self._reached:
            return self._behind(module, partial(forward, *args, **kwargs), args)
        if not self._recording or self._reached or self._inside:
            return forward(*args, **kwargs)
        first = len(self._kept)
        self._inside = module not in self._containers
        try:
            output = forward(*args, **kwargs)
        finally:
            self._inside = False
        if not self._reached:
            try:
                kept = _Kept(module, _copied(output))
            except Exception as error:
                if is_out_of_memory(error):
                    raise
                self._run_whole(f"what a {type(module).__name__} returns cannot be copied")
            else:  # a container that ended before the layer's call stands for its parts
                self._kept[first:] = [kept]
        return output

    def at_layer(self, tensor: Tensor) -> Tensor | None:
        """What the layer gives on; None: what it gave."""
        if _running.get(threading.get_ident()) is not self:
            return None
        self._layer_calls += 1
        if self._playing:
            # Its kept call is the last of them all.
            is_it = not self._reached and self._position == len(self._kept)
        else:
            is_it = self._layer_calls - 1 == self._call
        if not is_it:
            return None
        self._reached = True
        if self._recording:
            self.raw = _copied(tensor.dequantize() if tensor.is_quantized else tensor)
            if self._inside or not self._kept or self._kept[-1].module is not self._layer.module:
                self._run_whole("the layer is called by a module that it is no part of")
        if self._replacement is not None and tensor.is_quantized:
            scale, zero = tensor.q_scale(), tensor.q_zero_point()
            return torch.quantize_per_tensor(self._replacement, scale, zero, tensor.dtype)
        return self._replacement

    def at_place(self, number: int) -> Callable[[Tensor], Tensor | None]:
        """What the layer gives on at one of its several places; None: what it gave."""
        place = self._layer.places[number]

        def at(tensor: Tensor) -> Tensor | None:
            if _running.get(threading.get_ident()) is not self:
                return None
            self._place_calls[number] += 1
            if self._place_calls[number] - 1 != (place.call or 0):
                return None
            self._reached = True
            self._layer_calls = 1 + (self._layer.call or 0)
            if self._recording:
                self._raws[number] = _copied(tensor)
            if self._replacement is None:
                return None
            return self._replacement.chunk(len(self._layer.places))[number]

        return at

    def _split(self, outputs: Any, count: int) -> Any:
        """The outputs without their last row, which must be what the first run gave."""
        first = [tensor for _, tensor in tensors_in(self._first)]
        if len(first) != sum(1 for _ in tensors_in(outputs)):
            raise _InexactError("its output has another form when it is rerun")
        references = iter(first)
        worst, grown = 0.0, False

        def split(tensor: Tensor) -> Tensor:
            nonlocal worst, grown
            reference = next(references)
            rows = len(reference) if reference.ndim else 0
            if rows and tensor.shape == (rows * count, *reference.shape[1:]):
                last, others, grown = tensor[-rows:], tensor[:-rows], True
            elif tensor.shape == reference.shape:  # says nothing about single images
                last = others = tensor
            else:
                raise _InexactError("its output has another shape when it is rerun")
            worst = max(worst, _deviation(last.detach(), reference))
            return others

        outputs = _mapped(outputs, split)
        if not grown:  # a part kept the number of images where no tensor shows it
            raise _InexactError("its output is that of one image, however many are rerun")
        if not worst <= self._tolerance:  # also for NaN
            raise _InexactError(
                f"unchanged activations give outputs that differ by {worst:.1g} of the largest"
            )
        return outputs

    def _joined(self, alone: Sequence[Any]) -> Any:
        """One batch of outputs from those of single versions."""
        if not alone:
            return _mapped(self._first, lambda t: t[:0] if t.ndim else t[None][:0])
        columns = iter(zip(*([t for _, t in tensors_in(one)] for one in alone), strict=True))
        return _mapped(
            alone[0],
            lambda tensor: (torch.cat if tensor.ndim else torch.stack)(list(next(columns))),
        )

    def _give_way(self, error: Exception) -> None:
        """Fall back to the next strategy, or raise."""
        reason = str(error)
        if not isinstance(error, _InexactError):
            first_line = next(iter(reason.splitlines()), "")
            reason = f"{type(error).__name__}: {first_line}"
        if self._way == _Way.TAIL_ON_COPIES:
            self._run_whole(reason)
            return
        if self._way < _Way.ONE_BY_ONE:
            self._way = _Way(self._way + 1)
            return
        if not isinstance(error, _InexactError):
            raise error
        raise ModelError(
            "the network is not deterministic: in a second run with nothing changed, "
            f"{error}. So the effect of a change cannot be measured. Switch off random "
            "layers and state that is kept from run to run, or use a method that runs "
            "the network once, such as grad-cam."
        ) from error

    def _run_whole(self, reason: str) -> None:
        """From here on the whole network is rerun."""
        self._way = _Way.WHOLE
        self._failure = self._failure or reason

    def _tell(self) -> None:
        """A warning, once, that the whole network is rerun."""
        if self.exact or self.warnings:
            return
        how = "" if self._way == _Way.WHOLE else ", one version at a time"
        message = (
            f"the part of the network after layer '{self._layer}' cannot be run alone "
            f"({self._failure}), so the whole network is run for each version{how}. The "
            "map is the same, but it takes longer."
        )
        self.warnings = (message,)
        warnings.warn(message, UserWarning, stacklevel=3)

    def _versions_now(self) -> list[int]:
        """How often each kept tensor was written into; views count for what they are views of."""
        return [tensor._version for kept in (self._input, *self._kept) for tensor in kept.tensors]


def rerunning(model: nn.Module, layer: Layer, inputs: Tensor) -> Changed[Rerun]:
    """Rerun `model` from `layer` on while the block lasts; it comes back exactly as it was.

    Inside the block the model is in eval mode and compiled parts run eagerly, as in `watch`. The
    model may be called for other inputs too, and other threads may use it.

    Args:
        model: any module.
        layer: where activations are exchanged; of several calls or tensors, the chosen one.
        inputs: one image, `(1, channels, height, width)`, on the model's device.

    Raises:
        LayerError: when the layer does not run, or it is not clear which call or tensor is meant.
        ModelError: for a model that cannot be rerun, or gives something else each time.
    """
    model = unwrap(model)
    check_hookable(layer.module)
    rerun = Rerun(model, layer, inputs)
    places = (
        [replacing(place, rerun.at_place(number)) for number, place in enumerate(layer.places)]
        if layer.beside
        else [replacing(layer, rerun.at_layer)]
    )
    led = [Switched(modules_of(model)), *(change for one in places for change in one.changes)]
    return _Rerunning([*no_disturbance(model), Grad(), *led], rerun)


class _Rerunning(Changed[Rerun]):
    """The block in which a model can be rerun: it begins with the first run."""

    def __enter__(self) -> Rerun:
        rerun = super().__enter__()
        try:
            rerun._start()
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return rerun

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.gives._open = False
        super().__exit__(kind, error, traceback)


def in_chunks(
    run: Callable[[Tensor], Tensor],
    count: int,
    make: Callable[[Tensor], Tensor],
    *,
    at_once: int,
) -> Tensor:
    """The results of `run` on `count` versions, so many at a time that they fit into memory.

    Args:
        run: from versions `(n, ...)` to results `(n, ...)`.
        count: how many versions there are.
        make: makes the versions with the given numbers, `(n,)` int64 on the CPU.
        at_once: how many to try at a time; halved for good whenever memory runs out.

    Returns:
        `(count, ...)`. Apart from rounding it does not depend on `at_once`.

    Raises:
        MethodError: if not even one version fits, or for an `at_once` below 1.
    """
    if at_once < 1:
        raise MethodError(f"at_once must be at least 1, not {at_once}.")
    results: list[Tensor] = []
    done = 0
    while done < count or not results:
        which = torch.arange(done, min(done + at_once, count))
        try:
            results.append(run(make(which)))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(which) <= 1:
                raise MethodError(
                    "memory ran out with a single version of the image at a time. Use a "
                    "smaller image, a later layer, or a device with more memory."
                ) from error
        else:
            done += len(which)
            report(done, count)
            continue
        # Outside of the except block the error is released, and the memory of its frames with it.
        at_once = len(which) // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return results[0] if len(results) == 1 else torch.cat(results)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on any device."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        phrase in said
        for phrase in (
            "out of memory",
            "can't allocate memory",
            "cannot allocate memory",
            "not enough memory",
            "alloc_failed",
            "bad_alloc",
        )
    )


class _Switch:
    """Stands in a module's `forward`; the thread that runs a `Rerun` is led through it."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.own = module.__dict__.get("forward")  # a model may itself have put one there
        self.forward = module.forward
        self.holders: list[Switched] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        rerun = _running.get(threading.get_ident())
        if rerun is None:
            return self.forward(*args, **kwargs)
        return rerun.at_call(self.module, self.forward, args, kwargs)


_running: dict[int, Rerun] = {}
_switches: dict[nn.Module, _Switch] = {}


class Switched:
    """Every module's `forward` goes through a switch, until the last holder has left."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        # The forward of TorchScript is no Python: it runs each time.
        self._modules = [one for one in modules if not isinstance(one, torch.jit.ScriptModule)]
        self._thread = threading.get_ident()
        self._before = _running.get(self._thread)

    def do(self) -> None:
        """Put the switches in, or hold those that are there."""
        with lock:
            for module in self._modules:
                switch = _switches.get(module)
                if switch is None:
                    switch = _Switch(module)
                    switch.holders.append(self)
                    _switches[module] = switch
                else:
                    switch.holders.append(self)
                module.__dict__["forward"] = switch

    def undo(self, *, late: bool = False) -> None:
        """Put back what nobody else holds, and nobody has replaced."""
        with lock:
            for module in self._modules:
                switch = _switches.get(module)
                if switch is None or self not in switch.holders:
                    continue
                if len(switch.holders) == 1:
                    if module.__dict__.get("forward") is switch or not late:
                        if switch.own is None:
                            module.__dict__.pop("forward", None)
                        else:
                            module.__dict__["forward"] = switch.own
                    del _switches[module]
                else:
                    switch.holders.remove(self)
            if not late and _running.get(self._thread) is not self._before:
                _end_of_run(self._thread, self._before)


def _end_of_run(thread: int, before: Rerun | None) -> None:
    if before is None:
        _running.pop(thread, None)
    else:
        _running[thread] = before


def _containers(model: nn.Module, part: nn.Module) -> set[nn.Module]:
    """Every module that has `part` somewhere below it."""
    parents: dict[nn.Module, list[nn.Module]] = {}
    for module in modules_of(model):
        for child in module._modules.values():
            if child is not None:
                parents.setdefault(child, []).append(module)
    found: set[nn.Module] = set()
    waiting = [part]
    while waiting:
        for parent in parents.get(waiting.pop(), ()):
            if parent not in found:
                found.add(parent)
                waiting.append(parent)
    return found - {part}


def _copied(value: Any) -> Any:
    """The nested value with tensors of its own that autograd does not know."""
    with no_inference(), torch.no_grad():
        return _mapped(value, lambda tensor: tensor.detach().clone())


def _mapped(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """The nested value with every tensor changed, in the order of `tensors_in`."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        fresh = copy.copy(value)
        for key, part in value.items():
            fresh[key] = _mapped(part, change)  # type: ignore[index]
        return fresh
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [one.name for one in dataclasses.fields(value) if one.init]
        return dataclasses.replace(
            value, **{name: _mapped(getattr(value, name), change) for name in fields}
        )
    if isinstance(value, (tuple, list)):
        items = [_mapped(part, change) for part in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def _deviation(tensor: Tensor, reference: Tensor) -> float:
    """The largest difference, as a part of the largest value; NaN equals NaN."""
    if not reference.is_floating_point() or not reference.numel():
        return 0.0  # an index of the largest of two equal values may jump
    tensor, reference = tensor.double(), reference.double()
    alike = (tensor == reference) | (tensor.isnan() & reference.isnan())
    difference = torch.where(alike, 0.0, (tensor - reference).abs()).nan_to_num(nan=torch.inf)
    finite = torch.where(reference.isfinite(), reference.abs(), 0.0)
    largest = float(finite.amax())
    return float(difference.amax()) / (largest or 1.0)


def _tolerance(tensors: Sequence[Tensor]) -> float:
    """How far outputs may lie apart only because the batch is another size.

    Kernels that sum in another order: measured below 1e-5 on the CPU in float32. Accelerators may
    choose a kernel with TensorFloat-32, and half precision has 8 to 11 bits.
    """
    floating = [tensor for tensor in tensors if tensor.is_floating_point()]
    device = tensors[0].device.type
    if (
        any(tensor.element_size() <= 2 for tensor in floating)
        or torch.is_autocast_enabled(device)
        or torch.get_float32_matmul_precision() != "highest"
    ):
        return 5e-2
    return 1e-4 if device == "cpu" else 5e-3
