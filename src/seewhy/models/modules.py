"""The modules that a model is made of, and what wrappers put around them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from seewhy.errors import ModelError
from seewhy.models.exported import as_module, is_program, made_for
from seewhy.models.pipelines import refuse_pipeline


def unwrap(model: Any) -> nn.Module:
    """The module inside what torch.compile, DataParallel, DDP or torch.export made of it.

    Raises:
        ModelError: for what is no model.
    """
    if is_program(model):
        return as_module(model)
    refuse_pipeline(model)
    if not isinstance(model, nn.Module):
        raise ModelError(
            "model must be a torch.nn.Module, a torch.export program or a loaded "
            f"model, not a {type(model).__name__}."
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


def check_hookable(module: nn.Module) -> None:
    """A layer, or the model whose layers are looked for, is run by Python.

    Raises:
        ModelError: for TorchScript and exported graphs, which call no hooks.
    """
    if isinstance(module, torch.jit.ScriptModule):
        raise ModelError(
            "the model, or the part with this layer, is TorchScript, whose layers "
            "cannot be watched. Use a method that uses no layer (saliency, "
            "integrated-gradients, rise, occlusion), or the model it was made from."
        )
    if isinstance(module, torch.fx.GraphModule) and made_for(module):
        raise ModelError(
            "the model is program.module() of an exported program, which does not call "
            "its layers. Give the program itself."
        )


def is_weightless(module: nn.Module) -> bool:
    """Whether it is somebody's own part without weights and parts: it may reorder what it gets."""
    own = type(module).__module__.split(".")[:2] != ["torch", "nn"]
    return own and not module._modules and not module._parameters
