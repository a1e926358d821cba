"""What configurations of timm and transformers say of a preprocessing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seewhy.errors import ImageError
from seewhy.images.preprocess import Preprocess

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_RESAMPLING = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # Pillow's numbers


def from_timm(config: Mapping[str, Any], source: str) -> tuple[Preprocess, tuple[str, ...]]:
    """The preprocessing of timm's `pretrained_cfg`, and what of it could not be said exactly.

    What it leaves out is timm's own default.
    """
    try:
        _, height, width = config["input_size"]
        share = float(config.get("crop_pct") or 0.875)
        # As timm computes it: rounded down.
        scaled = (math.floor(height / share), math.floor(width / share))
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ImageError(
            "a configuration of timm has input_size: [3, height, width] and crop_pct, a share; "
            f"this one has {config.get('input_size')!r} and {config.get('crop_pct')!r}."
        ) from error
    mode = config.get("crop_mode") or "center"
    notes: tuple[str, ...] = ()
    resize: int | tuple[int, int] = scaled
    if mode == "center" and height == width:
        resize = scaled[0]
    elif mode != "squash":
        notes = (
            f"timm prepares pictures for this model with crop_mode {mode!r} at "
            f"{height} x {width}, which is not available: they are squashed instead",
        )
    preprocess = Preprocess(
        size=(height, width),
        resize=resize,
        mean=tuple(config.get("mean") or IMAGENET_MEAN),
        std=tuple(config.get("std") or IMAGENET_STD),
        interpolation=config.get("interpolation") or "bicubic",
        source=source,
    )
    return preprocess, notes


def from_transformers(config: Mapping[str, Any], source: str) -> Preprocess:
    """The preprocessing of a transformers image processor (`preprocessor_config.json`).

    Raises:
        ImageError: It does something else than resize, crop the middle, scale and normalise, or
            its inputs have no fixed size.
    """
    for field in ("do_pad", "do_flip_channel_order", "do_thumbnail", "rescale_offset",
                  "do_image_splitting", "do_align_long_axis", "include_top"):  # fmt: skip
        if config.get(field):
            raise ImageError(_beyond(f"{field} is set"))
    size, resize = _sizes(config)
    resample = config.get("resample")
    number = 2 if resample is None else int(resample)
    if not 0 <= number < len(_RESAMPLING):
        raise ImageError(_beyond(f"resample is {resample!r}"))
    if resample is None and resize is not None:
        source += "; it names no interpolation: bilinear is assumed"
    channels = 3
    mean, std = (0.0,) * channels, (1.0,) * channels
    if config.get("do_normalize", True):
        mean = _channels(config.get("image_mean", IMAGENET_MEAN))
        std = _channels(config.get("image_std", IMAGENET_STD))
    # Here values are divided by 255 first; another factor is brought to that.
    factor = config.get("rescale_factor", 1 / 255) if config.get("do_rescale", True) else 1.0
    scale = 255 * float(factor)
    if abs(scale - 1) > 1e-6:
        mean, std = tuple(m / scale for m in mean), tuple(s / scale for s in std)
    return Preprocess(size, resize, mean, std, _RESAMPLING[number], source)


def read_configuration(path: Path) -> tuple[Preprocess, tuple[str, ...]]:
    """The preprocessing in a JSON file of timm (`config.json`) or transformers.

    Raises:
        ImageError: It cannot be read, or is neither.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise ImageError(
            f"'{path}' cannot be read as JSON ({error or type(error).__name__}). Give a "
            "preprocessor_config.json, or timm's config.json."
        ) from error
    return from_configuration(content, str(path))


def from_configuration(content: object, source: str) -> tuple[Preprocess, tuple[str, ...]]:
    """The preprocessing in a configuration of timm or transformers, whichever it is."""
    if isinstance(content, Mapping):
        if isinstance(nested := content.get("pretrained_cfg"), Mapping):
            content = nested
        if isinstance(nested := content.get("image_processor"), Mapping):
            content = nested
        if "input_size" in content:
            return from_timm(content, source)
        if content.keys() & {"do_resize", "do_normalize", "image_mean", "image_processor_type"}:
            return from_transformers(content, source), ()
        if content.keys() >= {"size", "resize", "mean", "std"}:
            return Preprocess.from_json(dict(content)), ()
    raise ImageError(
        f"{source} is not a preprocessing. Give a configuration of timm "
        "(input_size, mean, ...) or of a transformers image processor (do_resize, "
        "image_mean, ...)."
    )


def _sizes(config: Mapping[str, Any]) -> tuple[tuple[int, int], int | tuple[int, int] | None]:
    """The input's size, and the resize before it is cropped."""
    resize: int | tuple[int, int] | None = None
    if config.get("do_resize", True):
        resize = _edge(config.get("size", 224), squashed=not config.get("do_center_crop"))
    if config.get("crop_pct") and isinstance(resize, int):  # ConvNeXt
        if resize >= 384:
            return (resize, resize), (resize, resize)
        return (resize, resize), int(resize / float(config["crop_pct"]))
    if config.get("do_center_crop"):
        crop = _edge(config.get("crop_size", resize), squashed=True)
        if isinstance(crop, tuple):
            return crop, resize
    if isinstance(resize, tuple):
        return resize, resize
    raise ImageError(
        _beyond(f"its inputs have no fixed size (size {config.get('size')!r}, without a crop)")
    )


def _edge(size: Any, *, squashed: bool) -> int | tuple[int, int]:
    """A size as transformers writes it: one number, or named sides."""
    if isinstance(size, Mapping):
        if {"height", "width"} <= size.keys():
            return int(size["height"]), int(size["width"])
        if set(size) == {"shortest_edge"}:
            return int(size["shortest_edge"])
    elif isinstance(size, int):
        return (size, size) if squashed else size
    elif isinstance(size, (tuple, list)) and len(size) == 2:
        return int(size[0]), int(size[1])
    raise ImageError(_beyond(f"its size is {size!r}"))


def _channels(values: Any) -> tuple[float, ...]:
    return (float(values),) * 3 if isinstance(values, (int, float)) else tuple(values)


def _beyond(reason: str) -> str:
    return (
        f"the configuration of the image processor cannot be used: {reason}. "
        "Prepare the picture with the processor and give the tensor, or give a "
        "Preprocess that does the same."
    )
