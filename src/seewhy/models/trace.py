"""Run a model once and record the output of every module."""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from seewhy.models.grid import Grid
from seewhy.models.modules import check_hookable, clean_name, is_weightless
from seewhy.models.outputs import has_numbers, tensors_in
from seewhy.models.undisturbed import given_back, hooked, undisturbed


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
        laid: how its tokens lie, where a change of the picture has shown it (see `placing`).
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
    laid: Grid | None = None


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
                floating=tensor is not None and has_numbers(tensor),
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


@given_back
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
