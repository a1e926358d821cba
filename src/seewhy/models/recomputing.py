"""Activation checkpointing, passed through while a model is looked at.

The older kind (`torch.utils.checkpoint` with `use_reentrant=True`) runs its part without autograd,
and again with it in the backward pass, which only `.backward()` may start: a gradient by a layer
cannot pass. It saves memory in training and changes nothing else, so on a thread that looks at a
model its part is simply run.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

_lock = threading.Lock()
_looking: Counter[int] = Counter()


@contextmanager
def without_recomputing() -> Iterator[None]:
    """Reentrant checkpoints of this thread run their part directly while the block lasts."""
    checkpoint = sys.modules.get("torch.utils.checkpoint")
    if checkpoint is None:
        yield
        return
    function, thread = checkpoint.CheckpointFunction, threading.get_ident()
    try:
        with _lock:
            _looking[thread] += 1
            function.apply = staticmethod(_direct(function))
        yield
    finally:
        with _lock:
            _looking[thread] -= 1
            if _looking[thread] <= 0:
                del _looking[thread]
            if not _looking and "apply" in vars(function):
                del function.apply


def _direct(function: type[torch.autograd.Function]) -> Callable[..., Any]:
    own = super(function, function).apply  # type: ignore[misc]  # of a class made in C

    def apply(run: Callable[..., Any], preserve: bool, *args: Any) -> Any:
        if threading.get_ident() in _looking:
            return run(*args)
        return own(run, preserve, *args)

    return apply
