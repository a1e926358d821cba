"""The files of a data set: which there are, and what their first bytes say."""

from __future__ import annotations

import contextlib
import functools
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import PIL.Image
from PIL import ExifTags

from seewhy.dataset.records import in_reading_order
from seewhy.errors import DataError

# Pillow knows these by their first bytes only, or needs Ghostscript.
_NOT_READ = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
_LEFT_BEHIND = {"Thumbs.db", "desktop.ini", "__MACOSX", "@eaDir"}


class Shelf:
    """Which files there are. The disk is asked once a folder, however many pictures it holds."""

    def __init__(self) -> None:
        self._listed: dict[Path, tuple[frozenset[str], frozenset[str]]] = {}
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
        """The names of the pictures in a folder by their endings, hidden ones excepted."""
        endings = picture_endings()
        names = (name for name in self.files(folder) if Path(name).suffix.lower() in endings)
        return sorted((name for name in names if not is_hidden(name)), key=in_reading_order)

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

    def _list(self, folder: Path) -> tuple[frozenset[str], frozenset[str]]:
        if folder not in self._listed:
            files, folders = [], []
            with contextlib.suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_file():
                        files.append(entry.name)
                    elif entry.is_dir():
                        folders.append(entry.name)
            self._listed[folder] = frozenset(files), frozenset(folders)
        return self._listed[folder]


def find_file(name: str, places: Sequence[Path], shelf: Shelf) -> Path:
    """A file of a data set by the name that it has there, in the first of the folders that has it.

    Raises:
        DataError: none has it; the message says where it was looked for.
    """
    for place in places:
        if shelf.has(place / name):
            return place / name
    listed = ", ".join(f"'{place}'" for place in dict.fromkeys(places))
    raise DataError(f"there is no file '{name}' in {listed}")


def is_hidden(name: str) -> bool:
    """Whether systems hide files of this name, or leave them behind: `.DS_Store`, `Thumbs.db`."""
    return name.startswith(".") or name in _LEFT_BEHIND


def picture_size(path: Path) -> tuple[int, int]:
    """(height, width) of the upright picture, from the file's first bytes.

    Raises:
        DataError: it is no picture.
    """
    try:
        with PIL.Image.open(path) as opened:
            width, height = opened.size
            turned = opened.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
    except Exception as error:  # as in seewhy.images: decoders raise all sorts
        raise DataError(f"the picture '{path}' cannot be read ({error})") from error
    return (width, height) if turned else (height, width)


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
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
