"""A run that is interrupted, by a clock or at a line that is chosen, and what it left behind.

The changes that a run makes to a model are made in a few files; there an interrupt may come at any
line and call; Python looks for it where a function begins, goes round a loop, or has called
another. It comes in one of two ways: as Ctrl-C does, through the handler of SIGINT, or raised on
the spot, as by another handler or by another thread.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import seewhy
from seewhy.models import rerun, undisturbed

METHODS = ("grad-cam", "ablation-cam", "guided-backprop", "attention-relevance")
FILES = (
    "models/undisturbed.py", "models/watch.py", "models/rerun.py", "models/trace.py",
    "models/attention.py", "models/relu_rules.py", "models/recomputing.py", "contextlib.py",
    "autograd/grad_mode.py", "torch/overrides.py",
)  # fmt: skip
"""Where something is changed and put back; the rest of a run is between these lines."""

INPUTS = torch.linspace(-1, 1, 3 * 16 * 16).reshape(1, 3, 16, 16)


class Block(nn.Module):
    """Attention and a linear map, with what changes in training mode between them."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.mix, self.drop = nn.Linear(8, 24), nn.Linear(8, 8), nn.Dropout(0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = (
            one.unflatten(2, (2, 4)).transpose(1, 2) for one in self.qkv(tokens).chunk(3, 2)
        )
        seen = functional.scaled_dot_product_attention(query, key, value)
        return tokens + self.drop(self.mix(seen.transpose(1, 2).flatten(2)))


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.head = nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).mT
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(tokens.mean(1))


def network(method: str) -> nn.Module:
    """In training mode, but for one part of it that is frozen."""
    torch.manual_seed(0)
    if method.startswith("attention"):
        return Transformer().train()
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Conv2d(6, 4, 3),
        nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.5),
        nn.Linear(16, 4),
    ).train()  # fmt: skip
    model[1].eval()
    model[2].forward = model[2].forward  # somebody's own
    model[3].register_forward_hook(lambda *_: None)
    return model


def explain(model: nn.Module, method: str) -> None:
    layer = {} if method in ("guided-backprop", "attention-relevance") else {"layer": "5"}
    seewhy.attribute(model, INPUTS, 1, method=method, **layer)


def state(model: nn.Module) -> dict[str, Any]:
    """What must be as it was: of the model, of torch, of seewhy, and who hears of Ctrl-C."""
    found: dict[str, Any] = {}
    for name, module in model.named_modules():
        own = module.__dict__
        found[name] = (
            own["training"], own.get("forward"), sorted(own),
            *(list(hooks.items()) for key, hooks in sorted(own.items()) if key.endswith("_hooks")),
        )  # fmt: skip
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        found[f"tensor {name}"] = (id(tensor), tensor._version, tensor.grad, tensor.requires_grad)
    modes = torch.overrides._get_current_function_mode_stack()
    found["torch"] = (
        torch.is_grad_enabled(), torch.is_inference_mode_enabled(),
        torch.is_autocast_cache_enabled(), [id(mode) for mode in modes],
    )  # fmt: skip
    if "torch._dynamo" in sys.modules:
        from torch._dynamo import eval_frame

        found["stance"] = eval_frame._stance
    found["kept"] = (
        list(undisturbed._noted.changes), dict(undisturbed._held), undisturbed.Eager.holders,
        dict(rerun._switches), dict(rerun._running),
    )  # fmt: skip
    found["handler"] = signal.getsignal(signal.SIGINT)
    return found


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [name for name in before if before[name] != after[name]]


class Interrupt:
    """Interrupts at one of the events in `FILES`: lines and calls, counted from 0.

    Args:
        at: which event; None only counts them.
        by_signal: as Ctrl-C; otherwise the exception is raised on the spot.
    """

    def __init__(self, at: int | None, *, by_signal: bool = False) -> None:
        self.at, self.by_signal = at, by_signal
        self.count = 0
        self.where = ""
        self._known: dict[str, bool] = {}

    def __call__(self, frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        name = frame.f_code.co_filename
        if name not in self._known:
            self._known[name] = name.replace("\\", "/").endswith(FILES)
        if not self._known[name]:
            return None
        if event == "return":
            return self
        self.count += 1
        if self.count - 1 == self.at:
            self.where = f"{name.rsplit('/', 1)[-1]}:{frame.f_lineno} {event}"
            if not self.by_signal:
                raise KeyboardInterrupt
            signal.raise_signal(signal.SIGINT)
        return self

    def run(self, model: nn.Module, method: str) -> bool:
        """Whether the interrupt reached the caller."""
        before = sys.gettrace()
        try:
            sys.settrace(self)
            explain(model, method)
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(before)
        return False


def interrupted_after(seconds: float, model: nn.Module, method: str, *, by_signal: bool) -> bool:
    """Whether an interrupt after that time reached the caller, before the run had ended."""

    def ring(number: int, frame: FrameType | None) -> None:
        if by_signal:
            signal.raise_signal(signal.SIGINT)
        else:
            raise KeyboardInterrupt

    assert threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        explain(model, method)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        return True
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return False
