"""The files of a data set: which there are, and what their first bytes say."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import struct
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL.Image
from PIL import ExifTags

from seewhy.dataset.records import in_reading_order
from seewhy.errors import DataError

# Pillow knows these by their first bytes only, or needs Ghostscript.
_NOT_READ = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
_ON_ITS_SIDE = 5  # the least EXIF orientation that exchanges the sides
_LEFT_BEHIND = {"Thumbs.db", "desktop.ini", "__MACOSX", "@eaDir", "lost+found"}


class Shelf:
    """Which files there are. The disk is asked once a folder, however many pictures it holds."""

    def __init__(self) -> None:
        self._listed: dict[Path, tuple[frozenset[str], ...]] = {}
        self._stems: dict[Path, dict[str, list[str]]] = {}
        self._json: dict[Path, Any] = {}

    def files(self, folder: Path) -> frozenset[str]:
        """The names of a folder's files; none if it is not there."""
        return self._list(folder)[0]

    def folders(self, folder: Path) -> list[str]:
        """The names of the folders in a folder, those that systems and programs hide excepted."""
        names = (name for name in self._list(folder)[1] if not is_hidden(name))
        return sorted(names, key=in_reading_order)

    def pictures(self, folder: Path) -> list[str]:
        """The names of the pictures in a folder by their endings, hidden ones excepted.

        A link to a file that is gone is among them, so that reading it says so.
        """
        return sorted(self._picture_names(folder), key=in_reading_order)

    def has_pictures(self, folder: Path) -> bool:
        """Whether there is a picture in a folder."""
        return any(True for _ in self._picture_names(folder))

    def _picture_names(self, folder: Path) -> Iterator[str]:
        endings = picture_endings()
        for name in itertools.chain(self.files(folder), self._list(folder)[2]):
            if Path(name).suffix.lower() in endings and not is_hidden(name):
                yield name

    def with_ending(self, folder: Path, *endings: str) -> list[str]:
        """The names of the files in a folder with one of the endings, in upper or lower case."""
        names = (name for name in self.files(folder) if Path(name).suffix.lower() in endings)
        return sorted((name for name in names if not is_hidden(name)), key=in_reading_order)

    def pictures_called(self, folder: Path, stem: str) -> list[str]:
        """The pictures in a folder whose name without its ending is `stem`."""
        if folder not in self._stems:
            by_stem: dict[str, list[str]] = {}
            for name in self.pictures(folder):
                by_stem.setdefault(Path(name).stem, []).append(name)
            self._stems[folder] = by_stem
        return self._stems[folder].get(stem, [])

    def pictures_below(self, folder: Path) -> Iterator[tuple[str, Path]]:
        """The pictures of a folder and of all below it, each with its path from the folder on.

        Links to folders are followed, but not to one that the way leads through.
        """
        yield from self._below(folder, "", frozenset())

    def _below(
        self, folder: Path, start: str, through: frozenset[str]
    ) -> Iterator[tuple[str, Path]]:
        real = os.path.realpath(folder)
        if real in through:
            return
        for name in self.pictures(folder):
            yield f"{start}{name}", folder / name
        for name in self.folders(folder):
            yield from self._below(folder / name, f"{start}{name}/", through | {real})

    def has(self, path: Path) -> bool:
        """Whether there is such a file."""
        return path.name in self.files(path.parent)

    def needs(self, path: Path) -> Path:
        """The path.

        Raises:
            DataError: there is no such file.
        """
        if not self.has(path):
            raise DataError(f"there is no file '{path}'")
        return path

    def json(self, path: Path) -> Any:
        """What a JSON file holds; it is read once, since COCO's can be half a gigabyte.

        Raises:
            DataError: it cannot be read.
        """
        if path not in self._json:
            self._json[path] = read_json(path)
        return self._json[path]

    def _list(self, folder: Path) -> tuple[frozenset[str], ...]:
        """The names of a folder's files, of its folders, and of its links to nothing."""
        if folder not in self._listed:
            files, folders, gone = [], [], []
            # A name that no file can have, with a NUL or half a character, is a ValueError.
            with contextlib.suppress(OSError, ValueError), os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_file():
                        files.append(entry.name)
                    elif entry.is_dir():
                        folders.append(entry.name)
                    elif entry.is_symlink():
                        gone.append(entry.name)
            self._listed[folder] = frozenset(files), frozenset(folders), frozenset(gone)
        return self._listed[folder]


def find_file(name: Any, places: Sequence[Path], shelf: Shelf) -> Path:
    """A file of a data set by the name that it has there, in the first of the folders that has it.

    A name with backslashes, as Windows writes it, is read with slashes where there is no file with
    backslashes in its name.

    Raises:
        DataError: none has it; the message says where it was looked for, and what is there.
    """
    if not isinstance(name, str) or not name:
        raise DataError(f"the name of the file must be text, not {name!r}")
    for said in dict.fromkeys((name, name.replace("\\", "/"))):
        for place in places:
            if shelf.has(place / said):
                return place / said
    if "://" in name:
        raise DataError(
            f"'{name}' is a web address, and seewhy downloads no pictures. Download the "
            "picture, and write the name of its file instead"
        )
    there = [place for place in dict.fromkeys(places) if place.is_dir()]
    said = f"there is no file '{name}' in {', '.join(repr(str(p)) for p in there or places)}"
    if not there:
        raise DataError(f"{said}, which does not exist. Give the folder of the pictures as images")
    last = name.replace("\\", "/").rpartition("/")[2]
    alike = [path for place in there for called, path in _near(place, shelf) if called == last]
    if not alike:
        raise DataError(said)
    if last == name:
        raise DataError(f"{said}. If '{alike[0]}' is meant, give images='{alike[0].parent}'")
    raise DataError(f"{said}. If '{alike[0]}' is meant, correct its path in the annotations")


def _near(place: Path, shelf: Shelf) -> Iterator[tuple[str, Path]]:
    """The pictures of a folder and of those right below it, for a hint."""
    for folder in (place, *(place / name for name in shelf.folders(place)[:20])):
        for name in shelf.pictures(folder):
            yield name, folder / name


def is_hidden(name: str) -> bool:
    """Whether systems hide files of this name, or leave them behind: `.DS_Store`, `Thumbs.db`."""
    return name.startswith(".") or name in _LEFT_BEHIND


@dataclass(frozen=True)
class Stored:
    """How a picture's pixels lie in its file.

    Attributes:
        size: (height, width) as stored.
        orientation: EXIF's, 1 to 8; 1 is upright.
    """

    size: tuple[int, int]
    orientation: int = 1

    @property
    def upright(self) -> tuple[int, int]:
        """(height, width) of the upright picture."""
        height, width = self.size
        return (width, height) if self.orientation >= _ON_ITS_SIDE else self.size


def stored_picture(path: Path) -> Stored:
    """What a picture's first bytes say of its size.

    Raises:
        DataError: it is no picture.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
            with PIL.Image.open(path) as opened:
                width, height = opened.size
                orientation = _orientation(opened, path)
                if opened.format == "TIFF":  # whose size Pillow turns itself, from version 11 on
                    tags: Any = opened
                    width, height = (tags.tag_v2[tag] for tag in (256, 257))
    except Exception as error:  # as in seewhy.images: decoders raise all sorts
        if isinstance(error, PIL.UnidentifiedImageError) and (size := _size_of_other_kind(path)):
            return Stored(size)  # such files are stored upright, or turned by their reader
        reason = error or type(error).__name__
        raise DataError(f"the picture '{path}' cannot be read ({reason})") from error
    return Stored((height, width), orientation)


def _size_of_other_kind(path: Path) -> tuple[int, int] | None:
    """(height, width) of a DICOM or HEIC file where its reader is installed; else None."""
    from seewhy.images.opening import size_of_other_kind  # brings torch, which reading needs not

    try:
        with path.open("rb") as file:
            return size_of_other_kind(file)
    except Exception as error:  # as above
        reason = error or type(error).__name__
        raise DataError(f"the picture '{path}' cannot be read ({reason})") from error


def picture_size(path: Path) -> tuple[int, int]:
    """(height, width) of the upright picture, from the file's first bytes.

    Raises:
        DataError: it is no picture.
    """
    return stored_picture(path).upright


def _orientation(opened: PIL.Image.Image, path: Path) -> int:
    """EXIF's orientation; 1 where there is none or it is damaged."""
    try:
        if opened.format == "PNG" and not _says_more_behind_pixels(path):
            exif = PIL.Image.Image.getexif(opened)  # PNG's own decodes the pixels first
        else:
            exif = opened.getexif()
        said = exif.get(ExifTags.Base.Orientation, 1)
    except Exception:  # the pixels are good
        return 1
    return said if said in range(1, 9) else 1


def _says_more_behind_pixels(path: Path) -> bool:
    """Whether a PNG has EXIF or text behind its pixels, where few programs write it."""
    with path.open("rb") as file:
        file.seek(8)
        pixels = False
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if pixels and kind in (b"eXIf", b"tEXt", b"zTXt", b"iTXt"):
                return True
            pixels |= kind == b"IDAT"
            file.seek(length + 4, os.SEEK_CUR)
    return False


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except RecursionError:
        raise DataError(f"'{path}' cannot be read as JSON (it is nested too deeply).") from None
    except (OSError, ValueError) as error:
        raise DataError(f"'{path}' cannot be read as JSON ({error}).") from error


@functools.cache
def picture_endings() -> frozenset[str]:
    """The endings of the files that Pillow opens, in lower case with their dot."""
    PIL.Image.init()
    return frozenset(
        ending
        for ending, kind in PIL.Image.registered_extensions().items()
        if kind in PIL.Image.OPEN and kind not in _NOT_READ
    )
