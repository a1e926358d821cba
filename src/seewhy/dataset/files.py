"""The files of a data set: which there are, and what their first bytes say."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import PIL.Image
from PIL import ExifTags

from seewhy.dataset.records import in_reading_order
from seewhy.errors import DataError

# Pillow knows these by their first bytes only, or needs Ghostscript.
_NOT_READ = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}


class Shelf:
    """Which files there are. The disk is asked once a folder, however many pictures it holds."""

    def __init__(self) -> None:
        self._files: dict[Path, frozenset[str]] = {}

    def files(self, folder: Path) -> frozenset[str]:
        """The names of a folder's files; none if it is not there."""
        if folder not in self._files:
            try:
                with os.scandir(folder) as entries:
                    names = frozenset(entry.name for entry in entries if entry.is_file())
            except OSError:
                names = frozenset()
            self._files[folder] = names
        return self._files[folder]

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


def class_folders(path: Path) -> list[str]:
    """The names of the folders in a folder, hidden ones excepted."""
    with os.scandir(path) as entries:
        names = [entry.name for entry in entries if entry.is_dir()]
    return sorted((name for name in names if not name.startswith(".")), key=in_reading_order)


def picture_endings() -> frozenset[str]:
    """The endings of the files that Pillow opens, in lower case with their dot."""
    PIL.Image.init()
    return frozenset(
        ending
        for ending, kind in PIL.Image.registered_extensions().items()
        if kind in PIL.Image.OPEN and kind not in _NOT_READ
    )
