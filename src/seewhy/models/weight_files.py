"""Files and folders of weights, read without running what is in them."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from seewhy.errors import ModelError
from seewhy.models.checkpoint import listed
from seewhy.models.harmless import HARMLESS
from seewhy.signatures import head_of, special
from seewhy.signatures.weights import DISTRIBUTED, INDEX, TENSORFLOW, weights_kind

SUFFIXES = (".safetensors", ".pt", ".pth", ".pt2", ".bin", ".ckpt", ".pth.tar", ".pt.tar")
_USUAL_NAMES = ("model.safetensors", "pytorch_model.bin", "open_clip_pytorch_model.bin")


def is_checkpoint(path: Path) -> bool:
    """Whether the name ends as files of weights do."""
    return path.name.lower().endswith((*SUFFIXES, INDEX))


def read_checkpoint(path: Path, *, trust_pickle: bool) -> object:
    """What a file, a folder or an index of several files holds.

    Nothing in it is run unless `trust_pickle`.

    Raises:
        ModelError: Missing, empty, damaged, no checkpoint, or only readable by running its code.
    """
    try:
        if path.is_dir():
            return read_checkpoint(_file_in(path), trust_pickle=trust_pickle)
        if kind := special(path):
            raise ModelError(f"{path} is {kind}, not a file. Save its content to a file")
        if path.stat().st_size == 0:
            raise ModelError(f"{path} is empty. Copy or save it again")
        head = head_of(path)
    except FileNotFoundError as error:
        raise ModelError(f"there is no file {path}. Check the path of the checkpoint") from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error}). Check its permissions") from error
    if path.name.endswith(INDEX):
        return _read_shards(path, trust_pickle=trust_pickle)
    if found := weights_kind(path, head):
        raise ModelError(f"{path} is {found.name}: {found.advice}")
    if path.suffix.lower() == ".safetensors":
        return _read_safetensors(path)
    for mark, kind, load in _PROGRAMS:
        if _holds_file(path, mark):
            return _read_program(path, kind, load, trust_pickle=trust_pickle)
    return _read_trusted(path) if trust_pickle else _read_safely(path)


def _file_in(folder: Path) -> Path:
    """The file of weights, or the index of several, that a folder is meant by."""
    files = sorted(one for one in folder.iterdir() if one.is_file())
    if any(one.suffix == ".distcp" for one in files):
        raise ModelError(f"{folder} is a distributed checkpoint: {DISTRIBUTED.advice}")
    if (folder / "saved_model.pb").is_file():
        raise ModelError(f"{folder} is {TENSORFLOW.name}: {TENSORFLOW.advice}")
    for name in _USUAL_NAMES:
        if (folder / name).is_file():
            return folder / name
        if (folder / f"{name}{INDEX}").is_file():
            return folder / f"{name}{INDEX}"
    weights = [one for one in files if is_checkpoint(one)]
    if len(weights) == 1:
        return weights[0]
    raise ModelError(
        f"{folder} is a folder with {len(weights)} files of weights "
        f"({listed([one.name for one in weights])}). Give one of them"
        if weights
        else (f"{folder} is a folder without a file of weights ({', '.join(SUFFIXES)}). Give one")
    )


def _read_shards(path: Path, *, trust_pickle: bool) -> dict[str, Tensor]:
    """All weights of an index, each from the file that it names."""
    try:
        places = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        files = sorted({str(file) for file in places.values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"{path} is not an index of files of weights ({type(error).__name__}). Copy it again"
        ) from error
    tensors: dict[str, Tensor] = {}
    for file in files:
        if Path(file).name != file or not path.with_name(file).is_file():
            raise ModelError(
                f"{path} names '{file}', which is not in the same folder. Copy it again"
            )
        content = read_checkpoint(path.with_name(file), trust_pickle=trust_pickle)
        if isinstance(content, dict):
            tensors |= content
    missing = [name for name in places if name not in tensors]
    if missing:
        raise ModelError(
            f"{path} names weights that its files do not contain ({listed(missing)}). "
            "Copy them again"
        )
    return tensors


def _read_safely(path: Path) -> object:
    try:
        with torch.serialization.safe_globals(HARMLESS):
            return torch.load(path, map_location="cpu", weights_only=True)
    # A damaged file can make the reader fail in any way: KeyError, EOFError, RuntimeError, ...
    except Exception as error:
        classes = _refused_classes(path, error)
        if classes is None:
            raise ModelError(
                f"{path} is damaged or not a PyTorch checkpoint ({_first_line(error)}). "
                "Save it with torch.save(model.state_dict(), path) or as .safetensors"
            ) from error
        raise ModelError(
            f"{path} contains Python objects ({listed(classes)}), and loading them runs "
            "code from the file. Save model.state_dict() and load that with --arch. "
            "Only if you trust the source of the file, load it with --trust-pickle "
            "(trust_pickle=True)"
        ) from error


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except Exception as error:  # of a damaged header, besides its own errors, anything
        raise ModelError(
            f"{path} is damaged or not a safetensors file ({_first_line(error)}). Copy "
            "or save it again"
        ) from error


def _read_trusted(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except (ImportError, AttributeError) as error:
        raise ModelError(
            f"{path} needs a class that cannot be imported here ({_first_line(error)}). "
            "Run the command where its source is, or save model.state_dict() and load "
            "that with --arch module:factory"
        ) from error
    except Exception as error:  # the file's own code may raise anything
        raise ModelError(
            f"{path} cannot be unpickled ({_first_line(error)}). Save it again with torch.save"
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
            f"{path} is a {kind} archive, which contains a program and not only "
            "tensors. Load it with --trust-pickle (trust_pickle=True) only if you "
            "trust the source of the file, or save model.state_dict() and load that "
            "with --arch"
        )
    try:
        return load(path)
    except Exception as error:  # a program may have been made by another version of PyTorch
        raise ModelError(
            f"{path} is a {kind} archive that cannot be read ({_first_line(error)}). "
            "Save it again with this version of PyTorch"
        ) from error


def _holds_file(path: Path, name: str) -> bool:
    """Whether it is a zip archive with a file of that name in its folder."""
    try:
        if not zipfile.is_zipfile(path):
            return False
        with zipfile.ZipFile(path) as archive:
            return any(Path(one).name == name for one in archive.namelist())
    except Exception:  # of damaged names, besides its own errors, UnicodeDecodeError and others
        return False


def _refused_classes(path: Path, error: Exception) -> list[str] | None:
    """The classes for which a file was refused; None if it was refused for something else."""
    try:
        with torch.serialization.safe_globals(HARMLESS):
            classes = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # files in the format before 2020, and damaged ones
        classes = []
    if not classes:
        classes = re.findall(r"GLOBAL ([\w.]+) (?:was not|whose module)", str(error))
    if not classes and re.search(r"(?i)unsupported (global|class)|instantiate", str(error)):
        classes = ["of a class that is not known to be harmless"]
    return sorted(classes) or None


def _first_line(error: BaseException) -> str:
    """What went wrong, without PyTorch's advice on its own options."""
    if isinstance(error, KeyError):
        return type(error).__name__
    line = (str(error).strip().splitlines() or [""])[0]
    return line.split(". ")[0] or type(error).__name__
