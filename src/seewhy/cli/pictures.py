"""Files, folders and globs → the pictures to explain."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

# Pillow knows these by their first bytes only, or needs Ghostscript: a folder's are passed over.
_NOT_READ = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}


def find_pictures(arguments: Sequence[str], *, leave_out: Path) -> tuple[list[str], list[str]]:
    """The pictures that the arguments mean, in their order and each once.

    A folder stands for all files below it with the ending of a picture, sorted, hidden ones and
    the folder `leave_out` excepted: results of an earlier run are no pictures to explain. A
    pattern means what it means to a shell (`**`: any folders), unless a file has that very name.

    Returns:
        Paths as they were given, and for each argument without any a sentence. A file that is
        not there counts as a picture; reading it will say so.
    """
    pictures: dict[str, str] = {}
    misses = []
    for argument in arguments:
        found = list(_meant_by(argument, leave_out.resolve()))
        if not found and Path(argument).is_dir():
            misses.append(f"the folder '{argument}' holds no file with the ending of a picture.")
        elif not found:
            misses.append(f"the pattern '{argument}' matches no file.")
        for picture in found:
            pictures.setdefault(_own_place(picture), picture)
    return list(pictures.values()), misses


def _meant_by(argument: str, leave_out: Path) -> Iterator[str]:
    if Path(argument).is_dir():
        yield from _in_folder(argument, leave_out)
    elif Path(argument).exists() or not any(sign in argument for sign in "*?["):
        yield argument
    else:
        for match in sorted(glob.glob(argument, recursive=True)):  # noqa: PTH207  # may be absolute
            if Path(match).is_dir():
                yield from _in_folder(match, leave_out)
            else:
                yield match


def _in_folder(folder: str, leave_out: Path) -> Iterator[str]:
    endings = _endings()
    if Path(folder).resolve() == leave_out:
        return
    for place, folders, files in _walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and Path(place, name).resolve() != leave_out
        )
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in endings:
                yield str(Path(place, name))


def _walk(folder: str) -> Iterator[tuple[str, list[str], list[str]]]:
    """As `os.walk`, and into linked folders too, but into none that the way leads through."""
    through: dict[str, frozenset[str]] = {}
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        above = through.get(str(Path(place).parent), frozenset())
        through[str(Path(place))] = above | {real}
        folders[:] = [
            name for name in folders if os.path.realpath(Path(place, name)) not in above | {real}
        ]
        yield place, folders, files


def _own_place(picture: str) -> str:
    """Where a picture lies: a link lies in its own folder, which may say its class."""
    folder, name = os.path.split(picture)
    return str(Path(os.path.realpath(folder or "."), name))


def _endings() -> frozenset[str]:
    from PIL import Image

    Image.init()
    return frozenset(
        ending
        for ending, kind in Image.registered_extensions().items()
        if kind in Image.OPEN and kind not in _NOT_READ
    )
