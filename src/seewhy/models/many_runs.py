"""A network that is run many times, made fast for it: the pictures' layout, their type, compiling.

The caller's model is not touched: what has to be changed is changed on a copy.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from seewhy.errors import MethodError
from seewhy.models.bound import Bound
from seewhy.models.rerun import is_out_of_memory
from seewhy.models.undisturbed import given_back, no_inference, undisturbed

PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Speed:
    """How a network is run many times.

    Attributes:
        precision: of the network's copy: float32 (the model's own), bf16 or fp16.
        compiled: whether the copy is compiled by torch.compile, its weights frozen: that takes
            tens of seconds, once for a model and a size of picture.

    Example:
        >>> import seewhy
        >>> why = seewhy.explain(
        ...     seewhy.load_model("demo-cat-dog"), "cat.jpg", method="occlusion",
        ...     stride=56, window=56, speed=seewhy.Speed("bf16"),
        ... )
    """

    precision: Literal["float32", "bf16", "fp16"] | str = "float32"
    compiled: bool = False

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise MethodError(
                f"precision={self.precision!r} is not known; choose {', '.join(PRECISIONS)}."
            )

    @property
    def exact(self) -> bool:
        """Whether it is the model itself that runs."""
        return self.precision == "float32" and not self.compiled

    def __str__(self) -> str:
        return " and ".join(
            [self.precision] * (self.precision != "float32") + ["compiled"] * self.compiled
        )


EXACT = Speed()


def many_runs(model: nn.Module, speed: Speed, at_once: int) -> Callable[[Tensor], Any]:
    """A function from pictures `(n, channels, height, width)` to the model's outputs.

    It runs without autograd. The outputs may have more rows than there were pictures.

    Args:
        model: eager, unwrapped; or bound to what else it is called with.
        speed: how to run it.
        at_once: the usual number of pictures, which compiled code is made for.
    """
    if speed.exact:
        return _Plain(model)
    module = model.module if isinstance(model, Bound) else model
    key = (speed, [(one.data_ptr(), one._version) for one in _tensors_of(module)])
    made = _fast.get(module)
    if made is None or made[0] != key:
        made = _fast[module] = (key, _Copy(module, speed))
    # What a copy is run for is not the copy's: other images and threads have the same one.
    return partial(made[1], at_once=at_once, bound=model if isinstance(model, Bound) else None)


class ChannelsLast:
    """The model, run on a copy of the pictures that has, on a CPU, the channels last in memory.

    Convolutions there are 1.0 to 1.4 times as fast, and give the same to the last digits.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._bears_it = True

    def __call__(self, images: Tensor) -> Any:
        """The model's outputs; it may write into its input."""
        if self._bears_it and images.device.type == "cpu" and images.ndim == 4:
            try:
                return self._model(images.clone(memory_format=torch.channels_last))
            except RuntimeError as error:
                if is_out_of_memory(error):
                    raise
                self._bears_it = False  # its forward takes a view of what it computed
        return self._model(images.clone())


class _Plain:
    """The model itself, without autograd."""

    def __init__(self, model: nn.Module) -> None:
        self._model, self._run = model, ChannelsLast(model)

    @given_back
    def __call__(self, images: Tensor) -> Any:
        with undisturbed(self._model), torch.no_grad():
            return self._run(images)


class _Copy:
    """A copy of the model in another precision, or compiled."""

    def __init__(self, model: nn.Module, speed: Speed) -> None:
        self._dtype = PRECISIONS[speed.precision]
        self._speed = speed
        with no_inference():
            module = copy.deepcopy(model).requires_grad_(False)
            if speed.precision != "float32":
                module = module.to(self._dtype)
        module.to(memory_format=torch.channels_last)
        for part in module.modules():
            part.training = False
        self._run: Callable[..., Any] = module
        if speed.compiled:
            self._run = torch.compile(module, dynamic=False, options={"freezing": True})

    def __call__(self, images: Tensor, *, at_once: int, bound: Bound | None) -> Any:
        if self._speed.precision != "float32":
            images = images.to(self._dtype)
        missing = at_once - len(images)
        if self._speed.compiled and missing > 0:  # another size would be compiled anew
            images = torch.cat([images, images[-1:].expand(missing, *images.shape[1:])])
        if images.ndim == 4:
            images = images.contiguous(memory_format=torch.channels_last)
        with no_inference(), torch.no_grad():
            try:
                return bound.run(self._run, images) if bound else self._run(images)
            except Exception as error:
                if is_out_of_memory(error) or not self._speed.compiled:
                    raise
                first_line = next(iter(str(error).splitlines()), "")
                raise MethodError(
                    "the network could not be compiled or run compiled "
                    f"({type(error).__name__}: {first_line}). Leave out compiled (--compile)."
                ) from error


_fast: weakref.WeakKeyDictionary[nn.Module, tuple[Any, _Copy]] = weakref.WeakKeyDictionary()


def _tensors_of(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]
