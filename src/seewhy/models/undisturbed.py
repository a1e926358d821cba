"""A model that is run, looked into, and left exactly as it was: the only hooks in the repository.

`undisturbed` surrounds every run, `hooked` sets forward hooks while a block lasts.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from seewhy.models.modules import modules_of
from seewhy.models.recomputing import without_recomputing

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
