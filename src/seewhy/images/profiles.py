"""Colours under an ICC profile → sRGB, in which models are trained and pictures are shown."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np
import PIL.Image

_SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}  # a mode → the space its profile is made for
_ROUNDING = 2  # of 255: profiles of sRGB by different makers differ by no more


def to_srgb(image: PIL.Image.Image) -> tuple[PIL.Image.Image, str | None]:
    """An RGB, L or CMYK image whose colours are sRGB, and in words what was done to them.

    An image without a profile, or with one of sRGB, comes back as it is.
    """
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in _SPACES:
        return image, None
    transform, said = _transform(bytes(profile), image.mode)
    if transform is None:
        return image, said
    return transform.apply(image), said


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> tuple[Any, str | None]:
    """What turns colours into sRGB, or None where nothing does or need do; and what to say."""
    from PIL import ImageCms  # LittleCMS, which some builds of Pillow lack

    try:
        opened = ImageCms.getOpenProfile(io.BytesIO(profile))
        name = ImageCms.getProfileDescription(opened).strip() or "without a name"
        space = opened.profile.xcolor_space.strip()
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        return None, f"its ICC profile is damaged and was ignored ({error})"
    if space != _SPACES[mode]:
        return None, (
            f"its ICC profile '{name}' was ignored: it is made for {space} and the picture is "
            f"{_SPACES[mode]}"
        )
    try:
        transform = ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), mode, "RGB")
    except ImageCms.PyCMSError as error:
        return None, f"its ICC profile '{name}' cannot be used and was ignored ({error})"
    if mode != "CMYK":
        patches = _patches(mode)
        plain = np.asarray(patches.convert("RGB")).astype(int)
        if np.abs(np.asarray(transform.apply(patches)) - plain).max() <= _ROUNDING:
            return None, None
    return transform, (
        f"its colours were converted from the ICC profile '{name}' to sRGB. Many "
        "training pipelines ignore profiles; to ignore it too, pass the pixels as "
        "an array"
    )


def _patches(mode: str) -> PIL.Image.Image:
    """Every grey, or 9 steps of each of red, green and blue."""
    if mode == "L":
        return PIL.Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(27, 27, 3)
    return PIL.Image.fromarray(colours)
