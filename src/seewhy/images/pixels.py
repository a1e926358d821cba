"""An image as Pillow has it → uint8 RGB: depth of the samples, colour profile, transparency."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import PIL.Image
from PIL import ExifTags
from PIL.Image import Transpose

from seewhy.errors import ImageError
from seewhy.images.profiles import to_srgb
from seewhy.images.quiet import without_warnings
from seewhy.images.tiff import Layout
from seewhy.images.transparency import key_places, on_white

TURNS = {  # EXIF orientation → what makes it upright
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
_DARK = 65536 // 8  # 16-bit values below this come out as at most an eighth of white


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture as it was read.

    Attributes:
        pixels: uint8 RGB (height, width, 3), upright.
        notes: In words, what was assumed or changed that another program might do otherwise.
    """

    pixels: np.ndarray
    notes: tuple[str, ...] = ()


def picture_of(image: PIL.Image.Image, name: str, layout: Layout | None = None) -> Picture:
    """The picture in an image; `layout` is its TIFF's, if it comes from one.

    Raises:
        ImageError: It has no pixels, or values whose range is unknown.
    """
    if 0 in image.size:
        raise ImageError(
            f"{name} is {image.width} × {image.height} pixels, but a picture needs at "
            "least one pixel."
        )
    if image.mode == "F":
        raise ImageError(
            f"{name} contains floats, whose range is unknown. Scale them to 0..1 and "
            "pass them as an array."
        )
    if layout is not None and layout.sample_format == 2 and image.mode == "L":
        _check_range(np.asarray(image).view(np.int8), name)
    clear = key_places(image)
    if image.mode.startswith("I"):  # "I", "I;16", "I;16B": Pillow's own conversion would clip
        pixels, notes = _high_bytes(image, name, layout)
    else:
        pixels, notes = _colours(image, ignore_key=clear is not None)
    if clear is not None:
        pixels[clear] = 255
    return Picture(_upright(pixels, image), notes)


def _colours(image: PIL.Image.Image, *, ignore_key: bool) -> tuple[np.ndarray, tuple[str, ...]]:
    """Of an image of at most 8 bits a channel, on white; RGB, and what there is to say."""
    profile = image.info.get("icc_profile")
    transparent = image.has_transparency_data and not ignore_key
    mode = image.mode if image.mode in ("L", "CMYK") and not transparent else "RGB"
    if transparent:
        image = image.convert("RGBA")
    plain = image.convert(mode)
    if profile:
        plain.info["icc_profile"] = profile
    converted, said = to_srgb(plain)
    if transparent:
        converted.putalpha(image.getchannel("A"))
        converted = on_white(converted)
    return np.array(converted.convert("RGB")), (said,) if said else ()


def _high_bytes(
    image: PIL.Image.Image, name: str, layout: Layout | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Of an image of 16 or 32 bits, RGB, and what there is to say."""
    values = np.asarray(image)
    if layout is not None and layout.bits == 32 and layout.sample_format == 1:
        values = values.view(np.uint32)  # Pillow has them as signed
    _check_range(values, name)
    notes: tuple[str, ...] = ()
    if 0 < values.max() < _DARK:
        notes = (
            f"it is dark, because its largest value is {values.max()} of "
            "65535. To use the full range, scale the values to 0..1 and pass them as "
            "an array",
        )
    return np.repeat((values >> 8).astype(np.uint8)[..., None], 3, axis=2), notes


def _check_range(values: np.ndarray, name: str) -> None:
    if values.min() < 0 or values.max() > 65535:
        raise ImageError(
            f"{name} must have integers from 0 to 65535, but they are from "
            f"{values.min()} to {values.max()}. Scale them to 0..1 and pass them as a "
            "float array."
        )


def _upright(pixels: np.ndarray, image: PIL.Image.Image) -> np.ndarray:
    """Turned as EXIF says; ImageOps.exif_transpose would also rewrite, and trip over, odd EXIF."""
    try:
        with without_warnings(UserWarning):
            turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged EXIF raises as variously as damaged pixels; the pixels are good
        turn = None
    return pixels if turn is None else np.array(PIL.Image.fromarray(pixels).transpose(turn))
