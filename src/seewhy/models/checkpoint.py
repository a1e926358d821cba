"""Files of weights, read without running what is in them, and put into a network whole."""

from __future__ import annotations

import argparse
import dataclasses
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from seewhy.errors import ModelError
from seewhy.models.exported import as_module, is_program

SUFFIXES = (".safetensors", ".pt", ".pth", ".pt2", ".bin", ".ckpt", ".pth.tar", ".pt.tar")

# Under what names training scripts keep the weights; an average of them over training comes last.
_ENTRIES = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params")
_AVERAGED_ENTRIES = ("state_dict_ema", "model_ema", "ema")
_NAMED_IN_ERRORS = 5

# What training scripts keep beside the weights and what does nothing when unpickled: settings
# from the command line, and NumPy's numbers (the best accuracy so far).
_NUMPY_SCALAR: Any = np.float64(0).__reduce__()[0]  # type: ignore[no-untyped-call, unused-ignore]
_HARMLESS: list[Any] = [
    argparse.Namespace,
    (_NUMPY_SCALAR, "numpy.core.multiarray.scalar"),
    (_NUMPY_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(name)) for name in ("float64", "float32", "int64", "int32", "bool")),
]


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


def is_checkpoint(path: Path) -> bool:
    """Whether the name ends as files of weights do."""
    return path.name.lower().endswith(SUFFIXES)


def read_checkpoint(path: Path, *, trust_pickle: bool) -> object:
    """What the file holds; nothing in it is run unless `trust_pickle`.

    Raises:
        ModelError: missing, empty, damaged, no checkpoint, or only readable by running its code.
    """
    try:
        if path.is_dir():
            raise ModelError(f"{path} is a folder: give the file of weights in it")
        if path.stat().st_size == 0:
            raise ModelError(f"{path} is empty: copy or save it again")
        with path.open("rb"):
            pass
    except FileNotFoundError as error:
        raise ModelError(f"there is no file {path}: check the path of the checkpoint") from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error}): check its permissions") from error
    if path.suffix.lower() == ".safetensors":
        return _read_safetensors(path)
    for mark, kind, load in _PROGRAMS:
        if _holds_file(path, mark):
            return _read_program(path, kind, load, trust_pickle=trust_pickle)
    if trust_pickle:
        return _read_trusted(path)
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            return torch.load(path, map_location="cpu", weights_only=True)
    # A damaged file can make the reader fail in any way: KeyError, EOFError, RuntimeError, ...
    except Exception as error:
        classes = _refused_classes(path, error)
        if classes is None:
            raise ModelError(
                f"{path} is damaged or no PyTorch checkpoint ({_first_line(error)}): save it with "
                "torch.save(model.state_dict(), path) or as .safetensors"
            ) from error
        raise ModelError(
            f"{path} holds Python objects ({_listed(classes)}), not only tensors, and unpickling "
            "them runs code from the file: save model.state_dict() and load that with --arch, or, "
            "only if you trust where the file comes from, load it with --trust-pickle "
            "(trust_pickle=True)"
        ) from error


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


def weights_in(content: object, path: Path) -> Weights:
    """The state dict in what a training script saved.

    Raises:
        ModelError: there is none, or several under names that do not say which one counts.
    """
    entries: list[str] = []
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
        usual = [name for name in (*_ENTRIES, *_AVERAGED_ENTRIES) if name in found]
        if len(found) > 1 and not usual:
            raise ModelError(
                f"{path} holds tensors under {_listed([str(name) for name in found])}, and none of "
                "these says that it is the model: save the one you want alone"
            )
        if not found:
            break
        entry = (usual or found)[0]
        others = [name for name in usual if name != entry]
        aside = f" (and not {_listed(others)})" if others else ""
        entries.append(f"{entry!r}{aside}")
        content = content[entry]
    tensors = (
        {name: value for name, value in content.items() if isinstance(value, Tensor)}
        if isinstance(content, Mapping)
        else {}
    )
    if not tensors or not all(isinstance(name, str) for name in tensors):
        came = (
            f"a dictionary with {_listed([str(name) for name in content])}"
            if isinstance(content, Mapping) and content
            else f"an empty {type(content).__name__}"
            if isinstance(content, Mapping)
            else f"a {type(content).__name__}"
        )
        raise ModelError(
            f"{path} holds {came}, and no tensors by name were found: save model.state_dict()"
        )
    notes = (f"weights taken from the checkpoint's {' → '.join(entries)}",) if entries else ()
    return Weights(tensors, getattr(content, "_metadata", None), notes)


def load_weights(module: nn.Module, weights: Weights, path: Path) -> tuple[str, ...]:
    """Fill the module with all of the weights, and say in words what was renamed or left.

    The names fit after removing what wrappers put before them (`module.`, `_orig_mod.`, `model.`),
    or are named in the error. A module whose loading failed is half filled: throw it away.

    Raises:
        ModelError: names missing or left over, or shapes that differ.
    """
    own = module.state_dict()
    weights = _renamed(weights, own.keys())
    tensors = weights.tensors
    _check_shapes(own, tensors, path)

    # Counts of batches seen matter to training only, and files from before 2018 lack them.
    counters = {
        name: tensor
        for name, tensor in own.items()
        if name.endswith("num_batches_tracked") and name not in tensors
    }
    state = OrderedDict({**tensors, **counters})
    # Without a record of layouts PyTorch takes them for the oldest; today's is the better guess.
    versions = weights.versions or getattr(own, "_metadata", None)
    if versions is not None:
        state._metadata = versions  # type: ignore[attr-defined]
    try:
        result = module.load_state_dict(state, strict=False)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ModelError(
            f"{path} does not fit the architecture ({reason}): is --arch the right one?"
        ) from error
    missing, unexpected = result.missing_keys, result.unexpected_keys
    if missing or unexpected:
        parts = [
            f"{count} {what}: {_listed(names)}"
            for names, what in ((missing, "missing"), (unexpected, "unexpected"))
            if (count := len(names))
        ]
        raise ModelError(
            f"{path} does not fit the architecture, of whose {len(own)} names are "
            f"{'; '.join(parts)}. Is --arch the right one?"
        )
    return weights.notes


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"{path} is damaged or no safetensors file ({_first_line(error)}): copy or save it "
            "again"
        ) from error


def _read_trusted(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except (ImportError, AttributeError) as error:
        raise ModelError(
            f"{path} needs a class that cannot be imported here ({_first_line(error)}): run where "
            "its source is, or save model.state_dict() and load that with --arch module:factory"
        ) from error
    except Exception as error:  # the file's own code may raise anything
        raise ModelError(
            f"{path} cannot be unpickled ({_first_line(error)}): save it again with torch.save"
        ) from error


def _load_exported(path: Path) -> object:
    import torch.export  # takes long, and few files need it

    return torch.export.load(path)


def _load_scripted(path: Path) -> object:
    loaded: object = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
    return loaded


# What tells an archive with a program from one with weights, what to call it, how to read it.
_PROGRAMS: tuple[tuple[str, str, Callable[[Path], object]], ...] = (
    ("archive_format", "torch.export", _load_exported),
    ("constants.pkl", "TorchScript", _load_scripted),
)


def _read_program(
    path: Path, kind: str, load: Callable[[Path], object], *, trust_pickle: bool
) -> object:
    if not trust_pickle:
        raise ModelError(
            f"{path} is a {kind} archive, which holds a program and not only tensors: load it with "
            "--trust-pickle (trust_pickle=True) only if you trust where the file comes from, or "
            "save model.state_dict() and load that with --arch"
        )
    try:
        return load(path)
    except Exception as error:  # a program may have been made by another version of PyTorch
        raise ModelError(
            f"{path} is a {kind} archive that cannot be read ({_first_line(error)}): save it again "
            "with this version of PyTorch"
        ) from error


def _holds_file(path: Path, name: str) -> bool:
    """Whether it is a zip archive with a file of that name in its folder."""
    if not zipfile.is_zipfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(Path(one).name == name for one in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def _refused_classes(path: Path, error: Exception) -> list[str] | None:
    """The classes for which a file was refused; None if it was refused for something else."""
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            classes = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # files in the format before 2020, and damaged ones
        classes = []
    if not classes:
        classes = re.findall(r"GLOBAL ([\w.]+) (?:was not|whose module)", str(error))
    if not classes and re.search(r"(?i)unsupported (global|class)|instantiate", str(error)):
        classes = ["of a class that is not known to be harmless"]
    return sorted(classes) or None


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


def _renamed(weights: Weights, wanted: Collection[str]) -> Weights:
    """The weights under the architecture's names, as far as removing prefixes leads there."""
    wanted = set(wanted)
    names = list(weights.tensors)
    # (prefix removed, names): as they are, and ever shorter while all share their first part.
    choices: list[tuple[str, list[str]]] = [("", names)]
    without = [_without_compiled(name) for name in names]
    prefix = ""
    if without != names:
        choices.append(("", without))
    while without and all("." in name for name in without):
        first = {name.split(".", 1)[0] for name in without}
        if len(first) > 1:
            break
        prefix += f"{first.pop()}."
        without = [name.split(".", 1)[1] for name in without]
        choices.append((prefix, without))
    # The first of the best: no more is removed than helps.
    prefix, fitting = max(choices, key=lambda choice: len(wanted.intersection(choice[1])))
    compiled = fitting is not names
    fitting = [_present_name(name) if name not in wanted else name for name in fitting]
    notes = list(weights.notes)
    if prefix:
        notes.append(f"the prefix {prefix!r} was removed from the checkpoint's names")
    tensors = dict(zip(fitting, weights.tensors.values(), strict=True))
    versions = weights.versions
    if versions is not None and compiled:
        versions = {
            short: version
            for name, version in versions.items()
            if (short := _within(_without_compiled(name), prefix)) is not None
        }
    renamed = Weights(tensors, versions, tuple(notes))
    if wanted.intersection(fitting):
        return renamed
    return _part(renamed, wanted)


def _part(weights: Weights, wanted: set[str]) -> Weights:
    """The weights under one name, where these are exactly what the architecture wants.

    A Lightning module holds the model beside its loss and metrics, and may hold a second one.
    """
    needed = {name for name in wanted if not name.endswith("num_batches_tracked")}
    fitting = [
        first
        for first in dict.fromkeys(name.split(".", 1)[0] for name in weights.tensors)
        if needed <= _names_within(weights.tensors, f"{first}.") <= wanted
    ]
    if not fitting:
        return weights
    chosen = min(fitting, key=lambda first: "ema" in first or "teacher" in first)
    tensors = {
        short: tensor
        for name, tensor in weights.tensors.items()
        if (short := _within(name, f"{chosen}.")) is not None
    }
    left = sorted({name.split(".", 1)[0] for name in weights.tensors} - {chosen})
    versions = None
    if weights.versions is not None:
        versions = {
            short: version
            for name, version in weights.versions.items()
            if (short := _within(name, f"{chosen}.")) is not None
        }
    note = f"weights taken from the checkpoint's {chosen!r}, leaving {_listed(left)}"
    return dataclasses.replace(
        weights, tensors=tensors, versions=versions, notes=(*weights.notes, note)
    )


def _names_within(tensors: Mapping[str, Tensor], prefix: str) -> set[str]:
    return {short for name in tensors if (short := _within(name, prefix)) is not None}


def _within(name: str, prefix: str) -> str | None:
    """The name without the prefix; the prefix's own module is '' as in `_metadata`."""
    if not prefix:
        return name
    if name == prefix.removesuffix("."):
        return ""
    return name.removeprefix(prefix) if name.startswith(prefix) else None


def _without_compiled(name: str) -> str:
    return name.replace("_orig_mod.", "")


def _present_name(name: str) -> str:
    """DenseNet's names before PyTorch 0.4, as torchvision's own files still have them."""
    return re.sub(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)", r"\1\2", name)


def _check_shapes(own: Mapping[str, Tensor], found: Mapping[str, Tensor], path: Path) -> None:
    different = {
        name: (tuple(found[name].shape), tuple(own[name].shape))
        for name in own
        if name in found and not is_lazy(own[name]) and found[name].shape != own[name].shape
    }
    if not different:
        return
    # A head of another size differs in its first dimension only, and alike in weight and bias.
    heads = {(came[:1], wanted[:1]) for came, wanted in different.values()}
    tails_agree = all(came[1:] == wanted[1:] for came, wanted in different.values())
    if len(heads) == 1 and tails_agree and all(came for came, _ in different.values()):
        ((came_size,), (wanted_size,)) = heads.pop()
        raise ModelError(
            f"the head in {path} has {came_size} classes and that of the architecture "
            f"{wanted_size} ({_listed(list(different))}): add --num-classes {came_size} "
            f"(num_classes={came_size})"
        )
    shapes = [
        f"{name} {came} where {wanted} was wanted" for name, (came, wanted) in different.items()
    ]
    raise ModelError(
        f"{path} does not fit the architecture, {len(different)} tensors have other shapes: "
        f"{_listed(shapes)}. Is --arch the right one?"
    )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED_IN_ERRORS])
    more = len(names) - _NAMED_IN_ERRORS
    return f"{shown} and {more} more" if more > 0 else shown


def _first_line(error: BaseException) -> str:
    """What went wrong, without PyTorch's advice on its own options."""
    if isinstance(error, KeyError):
        return type(error).__name__
    line = (str(error).strip().splitlines() or [""])[0]
    return line.split(". ")[0] or type(error).__name__
