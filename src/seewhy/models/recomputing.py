"""Activation checkpointing, passed through while a model is looked at.

The older kind (`torch.utils.checkpoint` with `use_reentrant=True`) runs its part without autograd,
and again with it in the backward pass, which only `.backward()` may start: a gradient by a layer
cannot pass. It saves memory in training and changes nothing else, so on a thread that looks at a
model its part is simply run.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import torch

# The same thread may take it twice: what an interrupt left locked must not keep it waiting.
_lock = threading.RLock()


class WithoutRecomputing:
    """Reentrant checkpoints of the thread that made this run their part directly."""

    holders: tuple[WithoutRecomputing, ...] = ()  # of all threads, as the function is

    def __init__(self) -> None:
        self.thread = threading.get_ident()

    def do(self) -> None:
        """Put a function of ours in the checkpoint's place, where one was ever imported."""
        checkpoint = sys.modules.get("torch.utils.checkpoint")
        if checkpoint is None:
            return
        function = checkpoint.CheckpointFunction
        with _lock:
            WithoutRecomputing.holders = (*WithoutRecomputing.holders, self)
            function.apply = staticmethod(_direct(function))

    def undo(self, *, late: bool = False) -> None:  # noqa: ARG002
        """The last to leave gives the checkpoint its own function back."""
        with _lock:
            if self not in WithoutRecomputing.holders:
                return
            left = tuple(one for one in WithoutRecomputing.holders if one is not self)
            function = sys.modules["torch.utils.checkpoint"].CheckpointFunction
            if not left and "apply" in vars(function):
                del function.apply
            WithoutRecomputing.holders = left


def _direct(function: type[torch.autograd.Function]) -> Callable[..., Any]:
    own = super(function, function).apply  # type: ignore[misc]  # of a class made in C

    def apply(run: Callable[..., Any], preserve: bool, *args: Any) -> Any:
        thread = threading.get_ident()
        if any(one.thread == thread for one in WithoutRecomputing.holders):
            return run(*args)
        return own(run, preserve, *args)

    return apply
