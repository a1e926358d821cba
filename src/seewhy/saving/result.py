"""One way to save a result: as a picture or as data, by the ending of the file's name."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seewhy.saving.data_file import write_data
from seewhy.saving.endings import DATA, PICTURES, RESULTS, ending_of
from seewhy.saving.files import written_aside

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

_PIXELS = (".png", ".jpg", ".jpeg", ".webp")
# How Pillow writes each kind. PNG is packed lightly (3 looks for repeated bytes alone): the usual
# way takes several times as long for a tenth less. JPEG keeps the colours' resolution, or thin
# coloured lines would smear.
_PACKED: dict[str, dict[str, Any]] = {
    "PNG": {"compress_level": 1, "compress_type": 3},
    "JPEG": {"quality": 88, "subsampling": 0},
    "WEBP": {"quality": 88, "method": 1},
}


def save(
    path: str | Path,
    what: str,
    *,
    picture: Callable[[], Figure],
    image: Callable[[], Image.Image] | None = None,
    data: Callable[[], tuple[Mapping[str, Any], Mapping[str, np.ndarray]]],
) -> Path:
    """Write a result, as its file's ending says; it is drawn only where that is asked for.

    Args:
        path: the file.
        what: the result in words, for the error.
        picture: gives its figure.
        image: gives the pixels of `.png`, `.jpg` and `.webp`.
        data: gives facts in JSON's own types, and arrays: `.npz` and `.json`.

    Returns:
        The path.

    Raises:
        ImageError: for another ending.
    """
    ending = ending_of(path, what, RESULTS)
    if ending in DATA:
        return write_data(path, *data())
    return save_picture(path, image() if image and ending in _PIXELS else picture())


def save_picture(path: str | Path, drawn: Figure | Image.Image, what: str = "a drawing") -> Path:
    """Write a figure or an image as `.png`, `.jpg`, `.pdf` or (a figure) `.svg`.

    Raises:
        ImageError: for another ending.
    """
    path = Path(path)
    ending = ending_of(path, what, PICTURES)
    with written_aside(path) as aside:
        _write(drawn, aside, ending.removeprefix("."))
    return path


def png_of(image: Image.Image) -> bytes:
    """The image as a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", **_PACKED["PNG"])
    return buffer.getvalue()


def _write(drawn: Figure | Image.Image, path: Path, kind: str) -> None:
    kind = "JPEG" if kind == "jpg" else kind.upper()
    options = _PACKED.get(kind, {})
    if hasattr(drawn, "savefig"):
        pixels: dict[str, Any] = {"pil_kwargs": dict(options)} if options else {}
        drawn.savefig(path, format=kind.lower(), dpi="figure", **pixels)
    else:
        drawn.save(path, format=kind, **options)
