"""Pseudo-labels as a data set that training code reads.

Written by a model about pictures whose objects nobody has marked, for weakly supervised training.
What is written holds for the upright picture, as viewers show it.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from seewhy.dataset.formats import WRITTEN, load_format
from seewhy.dataset.labelled import LabelledFolder, LabelledPicture
from seewhy.dataset.records import named
from seewhy.errors import DataError
from seewhy.saving.files import written_aside

PREVIEW, PROTOCOL = "preview.png", "protocol.json"
_LEFT = ".seewhy-"  # how `seewhy.saving.files` begins the names of what it writes aside
_FILLED = f"{_LEFT}filled"


def write_labels(
    folder: Path,
    pictures: Sequence[LabelledPicture],
    format_: str,
    protocol: Mapping[str, Any],
    *,
    photos: Path,
    out: Path | None = None,
    preview: Image.Image | None = None,
) -> None:
    """Write the data set into an empty folder, with its protocol and a preview.

    Args:
        folder: exists, and is empty.
        pictures: in the order in which they are listed.
        format_: one of `seewhy.dataset.formats.WRITTEN`.
        protocol: model, method, threshold: what made the labels.
        photos: the labelled folder, which the pictures' names are relative to.
        out: where the data set will lie, if it is written elsewhere and moved.
        preview: the sheet of some pictures.

    Raises:
        DataError: the format is not one that is written.
        OSError: the disk is full, or does not let it be written.
    """
    write = load_format(format_).write if format_ in WRITTEN else None
    if write is None:
        raise DataError(f"'{format_}' cannot be written. Choose one of {', '.join(WRITTEN)}.")
    write(folder, LabelledFolder(tuple(pictures), _places(photos, out or folder)))
    (folder / PROTOCOL).write_text(json.dumps(dict(protocol), indent=1), encoding="utf-8")
    if preview is not None:
        preview.save(folder / PREVIEW)


@contextmanager
def whole_or_not_at_all(out: Path) -> Iterator[Path]:
    """An empty folder to write a data set to, which becomes `out` when the block ends well.

    `out` is not there yet, or passes `check_out`. A folder that is there stays the same folder,
    since it may be a mount point or the working folder; what was written is moved into it, the
    protocol last.
    """
    if not out.exists():
        with written_aside(out) as aside:
            aside.mkdir()
            yield aside
        return
    filled = out / _FILLED
    shutil.rmtree(filled, ignore_errors=True)
    with written_aside(filled) as aside:
        aside.mkdir()
        yield aside
    for entry in sorted(filled.iterdir(), key=lambda entry: entry.name == PROTOCOL):
        entry.rename(out / entry.name)
    filled.rmdir()


def check_out(out: Path) -> None:
    """Whether a data set can be written there: asked before hours are spent on what it holds.

    Raises:
        DataError: it is a file, a folder with something in it, or cannot be written to.
    """
    try:
        names = sorted(os.listdir(out))  # noqa: PTH208  # names only
        there = [name for name in names if not name.startswith(_LEFT)]
    except FileNotFoundError:
        there = []
    except OSError as error:
        raise DataError(_cannot(out, error)) from error
    if there:
        raise DataError(
            f"'{out}' already exists and is not an empty folder: it contains "
            f"{named(there, most=3)}. Labels of two runs are not mixed; use another "
            "folder or delete this one."
        )
    above = out
    while not above.exists():
        above = above.parent
    try:
        Path(tempfile.mkdtemp(prefix=_LEFT, dir=above)).rmdir()
    except OSError as error:
        raise DataError(_cannot(out, error)) from error


def _cannot(out: Path, error: OSError) -> str:
    return (
        f"'{out}' cannot be written ({error.strerror or error}). Use a folder on a "
        "disk that you may write to."
    )


def relative_name(path: str, folder: Path) -> str:
    """The picture's path from the folder on, with forward slashes."""
    return Path(os.path.relpath(path, folder)).as_posix()


def _places(photos: Path, out: Path) -> tuple[str, ...]:
    """Where the pictures are, as seen from the data set and from the root.

    The first holds where both are moved together, the second where the data set alone is.
    """
    absolute = photos.resolve()
    try:
        relative = [Path(os.path.relpath(absolute, out.resolve())).as_posix()]
    except ValueError:  # on another drive
        relative = []
    return (*relative, absolute.as_posix())
