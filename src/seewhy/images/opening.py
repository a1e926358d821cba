"""An open file → an image in memory, by whichever reader knows its kind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import BinaryIO

import PIL.Image

from seewhy.errors import ImageError
from seewhy.images import dicom, tiff
from seewhy.images.limit import check_size
from seewhy.images.quiet import without_warnings
from seewhy.signatures import HEAD, Kind
from seewhy.signatures.pictures import DICOM, HEIC, RAW, picture_kind


@dataclass(frozen=True, eq=False)
class Opened:
    """An image, which may not be loaded yet.

    Attributes:
        image: As its reader gives it.
        layout: How a TIFF that Pillow reads stores its samples.
        notes: In words, what its reader assumed.
    """

    image: PIL.Image.Image
    layout: tiff.Layout | None = None
    notes: tuple[str, ...] = ()


@contextmanager
def opened(file: BinaryIO) -> Iterator[Opened]:
    """The image in a file, to be used before the file is closed.

    Raises:
        ImageError: Its kind is one that is not read here, or not without another package. The
            message goes on after the file's name.
        Exception: Whatever a reader raises of damaged files.
    """
    kind = picture_kind(_head(file))
    if kind is RAW:
        raise ImageError(f"is {RAW.name}; {RAW.advice}.")
    if kind is DICOM and find_spec("pydicom"):
        image, notes = dicom.read(file)
        yield Opened(image, None, notes)
    elif kind is HEIC and find_spec("pillow_heif"):
        from pillow_heif import HeifImageFile

        with HeifImageFile(file) as heic:
            check_size(*heic.size)
            yield Opened(heic)
    else:
        layout = tiff.layout_of(file) if _head(file).startswith(tiff.OPENINGS) else None
        if layout is not None and layout.is_preview:
            raise ImageError(f"is {RAW.name}; {RAW.advice}.")
        if layout is not None and layout.is_misread:
            yield Opened(tiff.page(layout, file))
        else:
            with _by_pillow(file, kind, layout) as image:
                if layout is not None:
                    _decode(image, layout)
                yield Opened(image, layout)


def size_of_other_kind(file: BinaryIO) -> tuple[int, int] | None:
    """(height, width) of a picture that Pillow does not open, such as DICOM; None for others.

    No pixel is decoded.

    Raises:
        Exception: Whatever a reader raises of damaged files.
    """
    kind = picture_kind(_head(file))
    if kind is DICOM and find_spec("pydicom"):
        return dicom.size(file)
    if kind is HEIC and find_spec("pillow_heif"):
        from pillow_heif import HeifImageFile

        with HeifImageFile(file) as heic:
            return heic.height, heic.width
    return None


@contextmanager
def _by_pillow(
    file: BinaryIO, kind: Kind | None, layout: tiff.Layout | None
) -> Iterator[PIL.Image.Image]:
    """Without Pillow's warning from its limit on: up to twice the limit it is read."""
    with without_warnings(UserWarning, PIL.Image.DecompressionBombWarning):
        try:
            image = PIL.Image.open(file)
        except PIL.UnidentifiedImageError as error:
            raise ImageError(_why_not(kind, layout)) from error
        limit = PIL.Image.MAX_IMAGE_PIXELS
        if limit is not None and image.width * image.height > limit:
            image.load()  # a TIFF warns here again
    with image:
        yield image


def _decode(image: PIL.Image.Image, layout: tiff.Layout) -> None:
    """Load a TIFF, of whose many compressions a Pillow may have been built with a few."""
    try:
        image.load()
    except Exception as error:
        raise ImageError(
            f"cannot be decoded ({error}): it is damaged or incomplete, or this Pillow "
            f"does not support its compression. It is {layout.describe()}. Copy or "
            "download it again, or save it again as PNG."
        ) from error


def _why_not(kind: Kind | None, layout: tiff.Layout | None) -> str:
    """Why Pillow cannot open a file, as far as its first bytes tell."""
    if layout is not None:
        return (
            f"is {layout.describe()}, which Pillow does not support. Save it as PNG or "
            "as a TIFF of 8 bits, or read it in Python (tifffile) and pass an array "
            "from 0 to 1."
        )
    if kind is not None:
        return f"is {kind.name}; {kind.advice}."
    return (
        "is not a readable picture: it is damaged, or not a picture, or in a "
        "format that Pillow does not support. Open it in an image viewer to check, "
        "then save it as PNG or JPEG."
    )


def _head(file: BinaryIO) -> bytes:
    file.seek(0)
    head = file.read(HEAD)
    file.seek(0)
    return head
