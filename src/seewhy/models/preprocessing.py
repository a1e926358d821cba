"""The preprocessing that a user gives, whole or in part, and that a checkpoint brings."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seewhy.errors import ImageError, ModelError
from seewhy.images import Preprocess, preprocess_from

Size = int | tuple[int, int]

_FIELDS = ("size", "resize", "crop", "mean", "std", "interpolation")
_BESIDE = ("preprocessor_config.json", "processor_config.json", "config.json")


def changed(
    preprocess: Preprocess,
    *,
    size: Size | None = None,
    resize: Size | str | None = None,
    crop: Size | str | None = None,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    interpolation: str | None = None,
) -> Preprocess:
    """The preprocessing with the user's own values in place; `load_model` says what they mean.

    Raises:
        ModelError: They contradict each other, or are no preprocessing.
    """
    values = (size, resize, crop, mean, std, interpolation)
    given = [field for field, value in zip(_FIELDS, values, strict=True) if value is not None]
    if not given:
        return preprocess
    changes: dict[str, Any] = {}
    guess = ""
    if size is not None or resize is not None or crop is not None:
        changes["size"], changes["resize"] = _geometry(preprocess, size, resize, crop)
        if resize is None and crop is None and changes["resize"] not in (None, changes["size"]):
            guess = " (the resize is assumed to scale with it)"
    for field, numbers in (("mean", mean), ("std", std)):
        if numbers is not None:
            each = (numbers,) if isinstance(numbers, (int, float)) else tuple(numbers)
            changes[field] = each * 3 if len(each) == 1 else each
    if interpolation is not None:
        changes["interpolation"] = interpolation
    known = {"size" if field == "crop" else field for field in given} | (
        {"resize"} if crop == "none" else set()
    )
    whole = known >= {"size", "resize", "mean", "std", "interpolation"}
    rest = "" if whole else f"; for the rest {preprocess.source}"
    source = f"given in {' and '.join(given)}{guess}{rest}"
    try:
        return dataclasses.replace(preprocess, source=source, **changes)
    except ImageError as error:
        raise ModelError(f"the given preprocessing is not valid: {error}") from error


def _geometry(
    preprocess: Preprocess, size: Size | None, resize: Size | str | None, crop: Size | str | None
) -> tuple[Any, Any]:
    """The input's size and the resize, as far as they are given; the rest follows from them."""
    _check_geometry(size, resize, crop)
    if crop == "none":
        whole = preprocess.size if size is None else _both(size)
        return whole, whole
    chosen = crop if crop is not None else size
    if resize is not None:
        if chosen is None:
            chosen = _fitting(preprocess.size, resize)
        return _both(chosen), None if resize == "none" else resize
    assert chosen is not None
    wanted = _both(chosen)
    if preprocess.resize is None or len(wanted) != 2 or min(wanted) < 1:
        return wanted, preprocess.resize
    if crop is None:
        return wanted, _scaled_with(preprocess, wanted)
    shortest = min(_both(preprocess.resize))
    if max(wanted) > shortest:
        raise ModelError(
            f"the crop {crop} is larger than the {shortest} px that pictures are "
            "resized to. Give the resize too"
        )
    return wanted, preprocess.resize


def _check_geometry(size: Size | None, resize: Size | str | None, crop: Size | str | None) -> None:
    """Refuse what contradicts itself."""
    for field, value in (("resize", resize), ("crop", crop)):
        if isinstance(value, str) and value != "none":
            raise ModelError(f"{field} must be pixels, (height, width) or 'none', not {value!r}")
    if crop == "none" and resize is not None:
        raise ModelError(
            "without a crop the picture is resized to the size of the input. Give "
            "resize and the crop (its size), or size and crop 'none'"
        )
    if None not in (size, crop) and crop != "none" and _both(size) != _both(crop):
        raise ModelError(
            f"size is {size} and crop {crop}, but both mean the size of the input. Give "
            "only one of them"
        )


def _fitting(size: tuple[int, int], resize: Size | str) -> Size:
    """The input's size where the resize alone is given: no larger than what it leaves."""
    if isinstance(resize, tuple):
        return resize
    if isinstance(resize, int) and max(size) > resize:
        return (resize, resize)
    return size


def _scaled_with(preprocess: Preprocess, wanted: tuple[int, int]) -> Size:
    """The resize before a crop to `wanted`, with the same share cut off as before."""
    (old_height, old_width), (height, width) = preprocess.size, wanted
    if isinstance(preprocess.resize, tuple):
        return (
            round(preprocess.resize[0] * height / old_height),
            round(preprocess.resize[1] * width / old_width),
        )
    assert preprocess.resize is not None
    # The shorter side is made long enough for the longer side of the crop: never padded.
    return round(preprocess.resize * max(height, width) / max(old_height, old_width))


def _both(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else tuple(size)


def beside(path: Path, preprocess: Preprocess) -> Preprocess:
    """The preprocessing in a configuration that lies beside a file of weights, or in its folder.

    Where there is none, it is the one that is given; where it does what cannot be done here, the
    one that is given is assumed, and its source says so.
    """
    folder = path if path.is_dir() else path.parent
    for name in _BESIDE:
        if not (folder / name).is_file():
            continue
        try:
            return preprocess_from(folder / name)
        except ImageError as error:
            if name == "config.json":  # which need not say anything of pictures
                continue
            source = f"assumed ({error}) instead of {folder / name}: {preprocess.source}"
            return dataclasses.replace(preprocess, source=source)
    return preprocess


def in_checkpoint(content: object, preprocess: Preprocess) -> Preprocess:
    """The preprocessing with what the training script's own settings say of it.

    The scripts of timm and torchvision keep their arguments as `args` beside the weights.
    """
    args = content.get("args") if isinstance(content, Mapping) else None
    values = vars(args) if isinstance(args, argparse.Namespace) else args
    if not isinstance(values, Mapping):
        return preprocess
    settings: dict[str, Any] = {}
    resize, crop = values.get("val_resize_size"), values.get("val_crop_size")
    if _is_size(resize) and _is_size(crop):  # torchvision's
        settings |= {"resize": resize, "crop": crop}
    sizes = values.get("input_size")
    if isinstance(sizes, (tuple, list)) and len(sizes) == 3:  # timm's
        settings["size"] = (int(sizes[1]), int(sizes[2]))
    elif _is_size(values.get("img_size")):
        settings["size"] = values["img_size"]
    if "crop" not in settings and isinstance(share := values.get("crop_pct"), float) and share > 0:
        height, width = _both(settings.pop("size", preprocess.size))
        settings |= {"resize": int(height / share), "crop": (height, width)}
    for field in ("mean", "std"):
        numbers = values.get(field)
        if isinstance(numbers, (tuple, list)) and len(numbers) in (1, 3):
            settings[field] = tuple(float(number) for number in numbers)
    if isinstance(name := values.get("interpolation"), str) and name not in ("", "random"):
        settings["interpolation"] = name
    if not settings:
        return preprocess
    made = changed(preprocess, **settings)
    return dataclasses.replace(made, source=f"the checkpoint's own args: {made.source}")


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
