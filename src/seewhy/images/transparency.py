"""What is transparent in a picture lies on white."""

from __future__ import annotations

from typing import Any

import numpy as np
import PIL.Image

_GREY_STEPS = {"L;2": 85, "L;4": 17}  # Pillow stretches these greys to 255, and not their key


def on_white(image: PIL.Image.Image) -> PIL.Image.Image:
    """The image on a white ground, RGB."""
    white = PIL.Image.new("RGBA", image.size, "white")
    return PIL.Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def key_places(image: PIL.Image.Image) -> np.ndarray | None:
    """Where a PNG has its transparent grey or colour, where Pillow's own answer would be wrong.

    That is for greys of 2, 4 and 16 bits and for colours of 16 bits. The image should not be
    loaded yet: how its samples are stored is not known afterwards.

    Returns:
        Whether each pixel is transparent, (height, width); None for all other images.
    """
    key = image.info.get("transparency")
    places: np.ndarray
    if image.mode.startswith("I") and isinstance(key, int):
        places = np.asarray(image) == key
        return places
    tile = getattr(image, "tile", None)
    stored = tile[0][3] if image.format == "PNG" and tile else None
    if isinstance(key, int) and stored in _GREY_STEPS:
        places = np.asarray(image) == key * _GREY_STEPS[stored]
        return places
    if isinstance(key, tuple) and stored == "RGB;16B":
        low, high = _low_bytes(image), np.asarray(image)
        low_key, high_key = ([value >> shift & 255 for value in key] for shift in (0, 8))
        places = ((low == low_key) & (high == high_key)).all(axis=2)
        return places
    return None


def _low_bytes(image: Any) -> np.ndarray:
    """Of a PNG of 16-bit colours, the bytes that Pillow leaves out: a second reading."""
    place = image.fp.tell()
    image.fp.seek(0)
    again: Any
    with PIL.Image.open(image.fp) as again:
        codec, extents, offset, _ = again.tile[0]
        stored = (codec, extents, offset, "RGB;16L")  # the other byte of each pair
        kind = type(again.tile[0])  # a plain tuple before Pillow 11
        again.tile = [stored if kind is tuple else kind(*stored)]
        low = np.array(again)
    image.fp.seek(place)
    return low
