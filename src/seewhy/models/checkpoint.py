"""The model or the weights in what a training script saved."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seewhy.errors import ModelError
from seewhy.models.exported import as_module, is_program

# Under what names training scripts keep the weights; an average of them over training comes last.
_ENTRIES = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params")
_AVERAGED_ENTRIES = ("state_dict_ema", "model_ema", "ema")
_NAMED_IN_ERRORS = 5


@dataclass(frozen=True, eq=False)
class Weights:
    """A state dict with what came with it.

    Attributes:
        tensors: By name, in the file's order.
        versions: PyTorch's record of which layout each module was saved in, if the file has it.
        notes: In words, where in the file they were found.
    """

    tensors: dict[str, Tensor]
    versions: dict[str, Any] | None
    notes: tuple[str, ...] = ()

    def under(self, prefix: str) -> Weights:
        """Those whose names begin with the prefix, without it."""
        tensors = {
            short: tensor
            for name, tensor in self.tensors.items()
            if (short := within(name, prefix)) is not None
        }
        versions = None
        if self.versions is not None:
            versions = {
                short: version
                for name, version in self.versions.items()
                if (short := within(name, prefix)) is not None
            }
        return Weights(tensors, versions, self.notes)


def module_in(content: object) -> nn.Module | None:
    """The module, whole or exported, or under one of the usual names in a dictionary."""
    if is_program(content):
        return as_module(content)
    if isinstance(content, Mapping):
        content = next(
            (
                content[name]
                for name in (*_ENTRIES, *_AVERAGED_ENTRIES)
                if isinstance(content.get(name), nn.Module)
            ),
            None,
        )
    if isinstance(content, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        content = content.module
    return content if isinstance(content, nn.Module) else None


def weights_in(content: object, path: Path, wanted: str | None = None) -> Weights:
    """The state dict in what a training script saved.

    Args:
        content: What the file holds.
        path: The file, for messages.
        wanted: The name under which the weights are kept, or the part of their names before the
            first dot; None: under the usual names.

    Raises:
        ModelError: There is none, or several under names that do not say which one counts, or
            none under the name that is wanted.
    """
    entries: list[str] = []
    seen: list[str] = []
    for _ in range(4):  # {"model": {"state_dict": ...}} happens; deeper does not
        if not isinstance(content, Mapping):
            break
        if content and all(isinstance(value, Tensor) for value in content.values()):
            break
        found = [
            name
            for name, value in content.items()
            if isinstance(value, Mapping) and _holds_tensors(value)
        ]
        if not found:
            break
        entry, others = _entry(found, wanted, path)
        aside = f" (and not {listed(others)}: --weights NAME chooses)" if others else ""
        entries.append(f"{entry!r}{aside}")
        seen += [str(name) for name in found]
        wanted = None if entry == wanted else wanted
        content = content[entry]
    weights = Weights(_tensors_of(content, path), getattr(content, "_metadata", None))
    if wanted is not None:
        weights = _named_part(weights, wanted, path, seen)
        entries.append(repr(wanted))
    notes = (f"weights taken from the checkpoint's {' → '.join(entries)}",) if entries else ()
    return dataclasses.replace(weights, notes=notes)


def _entry(found: Sequence[Any], wanted: str | None, path: Path) -> tuple[Any, list[str]]:
    """Which of the entries that hold tensors is the model, and the others that might be."""
    if wanted in found:
        return wanted, []
    usual = [name for name in (*_ENTRIES, *_AVERAGED_ENTRIES) if name in found]
    if len(found) > 1 and not usual:
        names = [str(name) for name in found]
        raise ModelError(
            f"{path} has several sets of tensors: {listed(names)}. None of these names "
            "says that it is the model. Choose one with --weights NAME "
            f"(weights={names[0]!r})"
        )
    if wanted is not None and usual:
        usual = [name for name in usual if name not in _AVERAGED_ENTRIES] or usual
    entry = (usual or found)[0]
    return entry, [name for name in usual if name != entry]


def _tensors_of(content: object, path: Path) -> dict[str, Tensor]:
    """The tensors in a dictionary by name, each with its values at hand."""
    tensors = (
        {name: value for name, value in content.items() if isinstance(value, Tensor)}
        if isinstance(content, Mapping)
        else {}
    )
    if not tensors or not all(isinstance(name, str) for name in tensors):
        came = (
            f"a dictionary with {listed([str(name) for name in content])}"
            if isinstance(content, Mapping) and content
            else f"an empty {type(content).__name__}"
            if isinstance(content, Mapping)
            else f"a {type(content).__name__}"
        )
        raise ModelError(f"{path} contains {came}, but no tensors by name. Save model.state_dict()")
    if empty := [name for name, tensor in tensors.items() if tensor.is_meta]:
        raise ModelError(
            f"{path} contains tensors on PyTorch's device 'meta', which have shapes but "
            f"no values ({listed(empty)}). Load the weights into the model, then save "
            "its state dict"
        )
    return {
        name: tensor if tensor.layout is torch.strided else tensor.to_dense()
        for name, tensor in tensors.items()
    }


def _named_part(weights: Weights, wanted: str, path: Path, entries: Sequence[str]) -> Weights:
    """The weights whose names begin with what is wanted, without it."""
    part = weights.under(f"{wanted}.")
    if not part.tensors:
        first = list(dict.fromkeys(name.split(".", 1)[0] for name in weights.tensors))
        kept_under = f"there are entries {listed(entries)}, and " if entries else ""
        raise ModelError(
            f"{path} has no weights under {wanted!r}: {kept_under}the names of its weights begin "
            f"with {listed(first)}; choose one of those with --weights, or leave it out"
        )
    return part


def _holds_tensors(value: Mapping[Any, Any], depth: int = 2) -> bool:
    """Whether tensors lie in it, by name (an optimizer numbers its own)."""
    return any(
        isinstance(name, str)
        and (
            isinstance(entry, Tensor)
            or (depth > 0 and isinstance(entry, Mapping) and _holds_tensors(entry, depth - 1))
        )
        for name, entry in value.items()
    )


def listed(names: Sequence[str]) -> str:
    """The first five names, and how many more there are."""
    shown = ", ".join(names[:_NAMED_IN_ERRORS])
    more = len(names) - _NAMED_IN_ERRORS
    return f"{shown} and {more} more" if more > 0 else shown


def within(name: str, prefix: str) -> str | None:
    """The name without the prefix; the prefix's own module is '' as in `_metadata`."""
    if not prefix:
        return name
    if name == prefix.removesuffix("."):
        return ""
    return name.removeprefix(prefix) if name.startswith(prefix) else None
