"""Programs made by `torch.export`, as modules that can be watched."""

from __future__ import annotations

import sys
import weakref
from typing import Any

import torch
from torch import Tensor, nn

from seewhy.errors import ModelError


def is_program(model: object) -> bool:
    """Whether it is what `torch.export.export` gives; nothing is imported to find out."""
    export = sys.modules.get("torch.export")
    return export is not None and isinstance(model, export.ExportedProgram)


def as_module(program: Any) -> nn.Module:
    """The program with the modules it was made from, under their names and with its weights.

    A program is one long list of operations that remembers which module each came from. The
    module is remembered with the program.

    Raises:
        ModelError: for a program that cannot be laid out so, or was exported in training mode.
    """
    if program in _modules:
        return _modules[program]
    if any(_trains(node) for node in program.graph.nodes):
        raise ModelError(
            "the program was exported in training mode, with dropout or batch "
            "normalisation that changes from run to run. Call model.eval() before "
            "torch.export.export()."
        )
    try:
        module = torch.export.unflatten(program)
    except Exception as error:  # it asserts what it expects of a graph
        raise ModelError(
            f"the exported program cannot be split into modules ({error}). Use the "
            "model that it was exported from."
        ) from error
    _modules[program] = module
    return module


def made_for(module: nn.Module) -> tuple[int | None, ...] | None:
    """The shape of the picture that an exported program takes; None where any size will do.

    None for a module that does not say, as every ordinary one.
    """
    graph = getattr(module, "graph", None)
    if not isinstance(graph, torch.fx.Graph):
        return None
    for node in graph.nodes:
        value = node.meta.get("val") if node.op == "placeholder" else None
        if isinstance(value, Tensor) and value.ndim >= 3 and value.is_floating_point():
            return tuple(size if isinstance(size, int) else None for size in value.shape)
    return None


def kind_of(module: nn.Module) -> str:
    """The name of a module's class; in an exported program, of the class it had before."""
    made_of = getattr(module, "type_name", None) if type(module).__module__ == _UNFLATTEN else None
    return (made_of() or "").split(".")[-1] if made_of else type(module).__name__


def is_a(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a module is of that class, or was before it was exported."""
    return isinstance(module, kind) or kind_of(module) == kind.__name__


_UNFLATTEN = "torch.export.unflatten"


def _trains(node: torch.fx.Node) -> bool:
    """Whether it is an operation that was told to do as in training."""
    schema = getattr(node.target, "_schema", None)
    return schema is not None and any(
        argument.name in ("train", "training") and value is True
        for argument, value in zip(schema.arguments, node.args, strict=False)
    )


_modules: weakref.WeakKeyDictionary[Any, nn.Module] = weakref.WeakKeyDictionary()
