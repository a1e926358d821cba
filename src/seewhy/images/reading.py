"""A picture from a file, a PIL image or an array."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import PIL.Image

from seewhy.errors import ImageError
from seewhy.images import tiff
from seewhy.images.arrays import bytes_of
from seewhy.images.opening import opened
from seewhy.images.pixels import Picture, picture_of
from seewhy.signatures import special

_EMPTY = "{} is empty (0 bytes). Copy or download it again."


@dataclass(frozen=True, eq=False)
class PictureBytes:
    """A picture's file that is in memory already: of an archive, or of a store far away.

    Attributes:
        data: all of the file.
        name: what messages and results call it.
    """

    data: bytes
    name: str


Readable = str | os.PathLike[str] | PIL.Image.Image | np.ndarray | PictureBytes


def read_image(source: Readable) -> np.ndarray:
    """The picture as uint8 RGB (height, width, 3), upright, in memory of its own.

    A file or PIL image is turned as its EXIF orientation says. What is transparent lies on white.
    Colours under an ICC profile are converted to sRGB. 16-bit channels keep their high byte, as
    Pillow reads 16-bit RGB (12-bit values stored in 16 bits come out dark: scale them first). Of an
    animation or a file of several pages it is the first, of an open PIL image the frame it stands
    at. `read_picture` says in words what was assumed.

    Args:
        source: A file, a PIL image, or an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), either
            uint8 or float from 0 to 1. Neither image nor array is changed. DICOM files are read
            where pydicom is installed, HEIC where pillow-heif is.

    Raises:
        ImageError: It is missing, no picture, damaged, cut off, too large for Pillow's limit, or
            holds values whose range is unknown. A file that was cut off is refused unless the
            program itself has set Pillow's `LOAD_TRUNCATED_IMAGES`.
    """
    return read_picture(source).pixels


def read_picture(source: Readable) -> Picture:
    """As `read_image`, with what there is to say of how it was read."""
    if isinstance(source, np.ndarray):
        return picture_of(PIL.Image.fromarray(bytes_of(source)), "the array")
    if isinstance(source, PIL.Image.Image):
        name = Path(str(getattr(source, "filename", ""))).name
        return _decode(source, f"the PIL image '{name}'" if name else "the PIL image")
    if isinstance(source, (str, os.PathLike)):
        return _read_file(Path(source))
    if isinstance(source, PictureBytes):
        if not source.data:
            raise ImageError(_EMPTY.format(f"'{source.name}'"))
        return _decode(io.BytesIO(source.data), f"'{source.name}'")
    raise ImageError(
        "an image must be a path, a PIL image or an array, not "
        f"{type(source).__name__} (open bytes with PIL.Image.open(io.BytesIO(...)))."
    )


def _read_file(path: Path) -> Picture:
    try:
        if path.is_dir():
            raise ImageError(f"'{path}' is a folder, not a picture. Name the files in it.")
        if kind := special(path):
            raise ImageError(f"'{path}' is {kind}, not a file. Save its content to a file first.")
        with path.open("rb") as file:
            if not file.peek(1):
                raise ImageError(_EMPTY.format(f"'{path}'"))
            return _decode(file, f"'{path}'")
    except FileNotFoundError:
        raise ImageError(
            f"there is no file '{path}'; check the path (web addresses are not fetched)."
        ) from None
    except ImageError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise ImageError(
            f"'{path}' cannot be opened ({getattr(error, 'strerror', None) or error}). "
            "Check its name and your permission to read it."
        ) from error


def _decode(source: BinaryIO | PIL.Image.Image, name: str) -> Picture:
    """An open file or a PIL image → a picture; whatever a decoder raises becomes one sentence."""
    try:
        if isinstance(source, PIL.Image.Image):
            return _of_pil(source, name)
        with opened(source) as found:
            picture = picture_of(found.image, name, found.layout)
            return Picture(picture.pixels, (*found.notes, *picture.notes))
    except ImageError as error:
        text = str(error)
        raise ImageError(text if text.startswith(name) else f"{name} {text}") from error.__cause__
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
        reason = str(error).partition(", could")[0]
        raise ImageError(
            f"{name} is too large and is refused as a possible decompression bomb "
            f"({reason}). Save it smaller with a picture editor, since a model sees a "
            "few hundred pixels of it. In Python, PIL.Image.MAX_IMAGE_PIXELS sets the "
            "limit."
        ) from error
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, zlib.error, …
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(
            f"{name} is damaged or incomplete and cannot be decoded ({reason}). Copy or "
            "download it again, or open it in a viewer and save it again."
        ) from error


def _of_pil(image: PIL.Image.Image, name: str) -> Picture:
    """A PIL image, of which Pillow may already have misread the samples."""
    layout = tiff.layout_in(image)
    if layout is None or not layout.is_misread:
        return picture_of(image, name, layout)
    file = getattr(image, "fp", None)
    if file is None or not image.tile:  # type: ignore[attr-defined]
        raise ImageError(
            f"{name} is {layout.describe()}, which Pillow reads wrongly, and it is "
            "already loaded. Give the file instead."
        )
    place = file.tell()
    try:
        return picture_of(tiff.page(layout, file), name)
    finally:
        file.seek(place)
