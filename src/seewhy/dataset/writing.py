"""Pseudo-labels as a data set that training code reads.

Written by a model about pictures whose objects nobody has marked, for weakly supervised training.
What is written holds for the upright picture, as viewers show it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from seewhy.dataset.formats import WRITTEN, load_format
from seewhy.dataset.labelled import LabelledFolder, LabelledPicture
from seewhy.errors import DataError

PREVIEW, PROTOCOL = "preview.png", "protocol.json"


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
        raise DataError(f"'{format_}' is not written; choose one of {', '.join(WRITTEN)}.")
    write(folder, LabelledFolder(tuple(pictures), _places(photos, out or folder)))
    (folder / PROTOCOL).write_text(json.dumps(dict(protocol), indent=1), encoding="utf-8")
    if preview is not None:
        preview.save(folder / PREVIEW)


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
