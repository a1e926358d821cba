"""Facts and arrays in one file: `.npz`, which numpy reads, or `.json`, which everything reads.

Facts are JSON's own types. In `.npz` they are one text called `facts`; in `.json` they lie beside
the arrays, of which pictures are PNG files in base64 and all others lists of numbers.
"""

from __future__ import annotations

import base64
import io
import json
import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from seewhy.errors import ImageError
from seewhy.saving.facts import Facts
from seewhy.saving.files import written_aside

FACTS = "facts"
_ANY_FILE = 100_000_000  # bytes that a file of any size may unpack to
_PACKED = 100  # beyond that: times the file's size. Zeros pack 1000 times, photographs 1 to 3


@dataclass(frozen=True)
class Wanted:
    """An array as it must be.

    Attributes:
        dtype: numpy's name of it; "U" is a text of any length.
        shape: of each dimension what it is called, or its length.
    """

    dtype: str
    shape: tuple[str | int, ...]

    def check(self, name: str, dtype: np.dtype[Any], shape: Sequence[int]) -> None:
        """Raise ValueError for an array of another kind."""
        fits = len(shape) == len(self.shape) and all(
            length == side if isinstance(side, int) else length > 0
            for length, side in zip(shape, self.shape, strict=True)
        )
        alike = dtype.kind == "U" if self.dtype == "U" else dtype == np.dtype(self.dtype)
        if not (alike and fits):
            sides = ", ".join(map(str, self.shape))
            kind = "text" if self.dtype == "U" else self.dtype
            raise ValueError(f"its '{name}' must be {kind} ({sides}), not {dtype} {tuple(shape)}")


_TEXT = Wanted("U", ())


def write_data(
    path: str | Path, facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> Path:
    """Write facts and arrays, as the ending says, whole or not at all."""
    path = Path(path)
    with written_aside(path) as aside:
        if path.suffix.lower() == ".npz":
            with aside.open("wb") as file:  # by its name numpy would make x.NPZ to x.NPZ.npz
                together: Any = {**arrays, FACTS: np.array(json.dumps(facts))}
                np.savez_compressed(file, **together)
        else:
            listed = {name: _in_json(array) for name, array in arrays.items()}
            aside.write_text(json.dumps({**facts, **listed}), encoding="utf-8")
    return path


def read_data(
    path: Path, format_: str, wanted: Mapping[str, Wanted]
) -> tuple[Facts, dict[str, np.ndarray]]:
    """The facts and the wanted arrays, as `write_data` wrote them; never runs code from the file.

    What an array is, and how much memory it takes, is known before it is read.

    Args:
        path: the file.
        format_: what its facts must have as their `format`.
        wanted: the arrays.

    Raises:
        ImageError: a file that is missing, damaged, of another format, or holds other arrays.
    """
    read = _from_npz if path.suffix.lower() == ".npz" else _from_json
    with damage_named(path):
        return read(path, format_, wanted)


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Whatever a damaged file makes a reader raise becomes an ImageError that names the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise ImageError(f"there is no file '{path}'; check the path.") from error
    except RecursionError as error:
        raise ImageError(f"{path.name} is nested too deeply to be a file of seewhy's.") from error
    except Exception as error:  # zip, zlib, JSON and PNG readers each raise their own
        reason = str(error) or type(error).__name__
        raise ImageError(
            f"{path.name} is not a file that seewhy saved, or it is damaged: {reason}."
        ) from error


def _in_json(array: np.ndarray) -> Any:
    if array.dtype == np.uint8 and array.ndim == 3:
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, format="PNG")
        return base64.b64encode(buffer.getvalue()).decode()
    return array.tolist()


def _from_npz(
    path: Path, format_: str, wanted: Mapping[str, Wanted]
) -> tuple[Facts, dict[str, np.ndarray]]:
    with zipfile.ZipFile(path) as packed:
        names = packed.namelist()
        if missing := [name for name in (FACTS, *wanted) if f"{name}.npy" not in names]:
            raise ValueError(f"it has no {' and no '.join(map(repr, missing))}")
        members = {name: packed.getinfo(f"{name}.npy") for name in (FACTS, *wanted)}
        _check_size(sum(member.file_size for member in members.values()), path)
        facts = _facts(json.loads(str(_array(packed, members[FACTS], FACTS, _TEXT))), format_)
        return facts, {
            name: _array(packed, members[name], name, one) for name, one in wanted.items()
        }


def _array(
    packed: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, wanted: Wanted
) -> np.ndarray:
    with packed.open(member) as file:
        dtype, shape = _header(file)
    wanted.check(name, dtype, shape)
    if math.prod(shape) * dtype.itemsize > member.file_size:
        raise ValueError(f"its '{name}' is cut off")
    with packed.open(member) as file:
        read: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
    return read


def _header(file: Any) -> tuple[np.dtype[Any], tuple[int, ...]]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    return dtype, shape


def _from_json(
    path: Path, format_: str, wanted: Mapping[str, Wanted]
) -> tuple[Facts, dict[str, np.ndarray]]:
    facts = _facts(json.loads(path.read_text(encoding="utf-8")), format_)
    arrays = {}
    for name, one in wanted.items():
        content = facts.any(name)
        array = (
            _picture(name, content, path) if isinstance(content, str) else _numbers(content, one)
        )
        one.check(name, array.dtype, array.shape)
        arrays[name] = array
    return facts, arrays


def _picture(name: str, content: str, path: Path) -> np.ndarray:
    try:
        opened = Image.open(io.BytesIO(base64.b64decode(content, validate=True)), formats=("PNG",))
    except (ValueError, UnidentifiedImageError) as error:
        raise ValueError(f"its '{name}' is a text, and no PNG file in base64") from error
    with opened:
        _check_size(opened.width * opened.height * len(opened.getbands()), path)
        return np.array(opened)


def _numbers(content: Any, wanted: Wanted) -> np.ndarray:
    array = np.array(content)
    whole = array.dtype.kind in "iu" and array.size > 0
    return array.astype(wanted.dtype) if array.dtype.kind == "f" or whole else array


def _facts(content: Any, format_: str) -> Facts:
    if not isinstance(content, dict):
        raise ValueError(f"it must be a JSON object, but it is a {type(content).__name__}")
    facts = Facts(content)
    if (came := facts.get("format", str)) != format_:
        raise ValueError(f"it has the format '{came}', but this version reads '{format_}'")
    return facts


def _check_size(unpacked: int, path: Path) -> None:
    packed = path.stat().st_size
    if unpacked > max(_ANY_FILE, _PACKED * packed):
        raise ValueError(
            f"its {packed / 1e6:.3g} MB unpack to {unpacked / 1e6:.4g} MB, which no photograph "
            "does; it was not read"
        )
