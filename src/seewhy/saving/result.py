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

_PIXELS = (".png", ".jpg", ".jpeg")
_JPEG = {"quality": 92}  # Pillow's own 75 blurs the letters


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
        image: gives the pixels of `.png` and `.jpg`, where the result is drawn as such.
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
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _write(drawn: Figure | Image.Image, path: Path, kind: str) -> None:
    jpeg = kind in ("jpg", "jpeg")
    if hasattr(drawn, "savefig"):
        options: dict[str, Any] = {"pil_kwargs": _JPEG} if jpeg else {}
        drawn.savefig(path, format=kind, dpi="figure", **options)
    else:
        drawn.save(path, format="JPEG" if jpeg else kind.upper(), **(_JPEG if jpeg else {}))
