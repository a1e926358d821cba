"""Files, folders and globs → the pictures to explain."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# Pillow knows these by their first bytes only, or needs Ghostscript: a folder's are passed over.
_NOT_READ = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}


@dataclass
class Found:
    """What the arguments of a command mean.

    Attributes:
        pictures: Paths as they were given, in their order and each once. A file that is not there
            counts as a picture; reading it will say so.
        misses: For each argument that means no picture, a sentence.
        left_out: For each folder of which files are left out, a sentence: how many, of which
            endings, and what to do about those that show a picture.
    """

    pictures: list[str] = field(default_factory=list)
    misses: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def find_pictures(arguments: Sequence[str], *, leave_out: Path) -> Found:
    """The pictures that the arguments mean.

    A folder stands for all files below it with the ending of a picture, and DICOM files without
    an ending where those are read, sorted, hidden ones and the folder `leave_out` excepted: results
    of an earlier run are no pictures to explain. A pattern means what it means to a shell (`**`:
    any folders), unless a file has that very name.
    """
    found = Found()
    pictures: dict[str, str] = {}
    for argument in arguments:
        meant = list(_meant_by(argument, leave_out.resolve(), found))
        if not meant and Path(argument).is_dir():
            found.misses.append(
                f"folder '{argument}' contains no pictures (files such as .jpg or .png)."
            )
        elif not meant:
            found.misses.append(f"the pattern '{argument}' matches no file. Check the path.")
        for picture in meant:
            pictures.setdefault(_own_place(picture), picture)
    found.pictures += pictures.values()
    return found


def _meant_by(argument: str, leave_out: Path, found: Found) -> Iterator[str]:
    if Path(argument).is_dir():
        yield from _in_folder(argument, leave_out, found)
    elif Path(argument).exists() or not any(sign in argument for sign in "*?["):
        yield argument
    else:
        for match in sorted(glob.glob(argument, recursive=True)):  # noqa: PTH207  # may be absolute
            if Path(match).is_dir():
                yield from _in_folder(match, leave_out, found)
            else:
                yield match


def _in_folder(folder: str, leave_out: Path, found: Found) -> Iterator[str]:
    endings = _endings()
    if Path(folder).resolve() == leave_out:
        return
    others: Counter[str] = Counter()
    for place, folders, files in _walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and Path(place, name).resolve() != leave_out
        )
        for name in sorted(files):
            path = Path(place, name)
            if name.startswith("."):
                continue
            if not path.is_file() and path.exists():
                others["pipes and the like"] += 1
            elif _is_picture(path, endings):
                yield str(path)
            else:
                others[_ending(path)] += 1
    if others:
        found.left_out.append(_left_out(folder, others))


def _is_picture(path: Path, endings: frozenset[str]) -> bool:
    from seewhy.signatures import head_of
    from seewhy.signatures.pictures import DICOM, picture_kind, readers

    if path.suffix.lower() in endings:
        return True
    # A hospital's archive names files by numbers.
    if DICOM not in readers().values() or path.suffix.strip(".0123456789"):
        return False
    try:
        return picture_kind(head_of(path)) is DICOM
    except OSError:
        return False


def _left_out(folder: str, others: Counter[str]) -> str:
    """Say how many files of a folder are not pictures, by ending, and what to do."""
    from seewhy.signatures.pictures import BY_ENDING

    parts, rest = [], Counter(others)
    for ending in sorted(others):
        kind = BY_ENDING.get(ending)
        if kind is not None:
            parts.append(f"{rest.pop(ending)} {ending} ({kind.name}: {kind.advice})")
    if rest:
        named = ", ".join(f"{count} {ending}" for ending, count in rest.most_common(5))
        more = sum(rest.values()) - sum(count for _, count in rest.most_common(5))
        parts.append(f"{named}{f' and {more} of other endings' if more else ''}")
    total = sum(others.values())
    files = "1 file is" if total == 1 else f"{total} files are"
    return f"in '{folder}' {files} left out: {'; '.join(parts)}."


def _ending(path: Path) -> str:
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower() or "without an ending"


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

    from seewhy.signatures.pictures import readers

    Image.init()
    return (
        frozenset(
            {
                ending
                for ending, kind in Image.registered_extensions().items()
                if kind in Image.OPEN and kind not in _NOT_READ
            }
        )
        | readers().keys()
    )
