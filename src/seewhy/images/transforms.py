"""A transform as the user has it → a `Preprocess` that does the same, checked on a picture.

The parts of a torchvision transform are read by their names, as no torchvision need be installed;
whatever they do besides shows when both prepare the same picture.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from seewhy.errors import ImageError
from seewhy.images.configurations import from_configuration, from_transformers, read_configuration
from seewhy.images.preprocess import Preprocess

_DIFFERENCE = 0.02  # on average, of values from 0 to 1: resizing tensors differs by less


def preprocess_from(given: Any) -> Preprocess:
    """The preprocessing that is given, in whichever form.

    Args:
        given: A `Preprocess`; a torchvision transform (`Compose`, a preset of its weights); a
            transformers image processor; a configuration of timm or transformers, as a dictionary
            or a JSON file.

    Raises:
        ImageError: It does something else than resize, crop the middle, scale and normalise, or
            does not do what its parts say.
    """
    if isinstance(given, Preprocess):
        return given
    if isinstance(given, (str, os.PathLike)):
        return _with_notes(*read_configuration(Path(given)))
    if isinstance(given, Mapping):
        return _with_notes(*from_configuration(given, "the configuration given"))
    if hasattr(given, "to_dict") and hasattr(given, "image_mean"):
        made = from_transformers(given.to_dict(), f"that of the {type(given).__name__} given")
        _check(made, lambda image: given(images=image, return_tensors="pt")["pixel_values"][0])
        return made
    if callable(given):
        made = _from_parts(given)
        _check(made, given)
        return made
    raise ImageError(
        "a preprocessing must be a Preprocess, a torchvision transform, a "
        "transformers image processor, or a configuration of timm or transformers, "
        f"not {type(given).__name__}."
    )


def _with_notes(preprocess: Preprocess, notes: tuple[str, ...]) -> Preprocess:
    source = "; ".join((preprocess.source, *notes))
    return dataclasses.replace(preprocess, source=source) if notes else preprocess


def _from_parts(transform: Any) -> Preprocess:
    """What the parts of a torchvision transform say that they do."""
    source = f"that of the {type(transform).__name__} given"
    if hasattr(transform, "resize_size"):  # a preset that comes with weights
        resize = _edge(transform.resize_size)
        crop = _edge(getattr(transform, "crop_size", transform.resize_size))
        return Preprocess(
            size=crop if isinstance(crop, tuple) else (crop, crop),
            resize=resize,
            mean=tuple(transform.mean),
            std=tuple(transform.std),
            interpolation=_kind(transform.interpolation),
            source=source,
        )
    fields: dict[str, Any] = {"mean": (0.0,) * 3, "std": (1.0,) * 3, "resize": None}
    for part in _parts(transform):
        kind = type(part).__name__
        if kind == "Resize":
            fields["resize"] = _edge(part.size)
            fields["interpolation"] = _kind(part.interpolation)
        elif kind == "CenterCrop":
            crop = _edge(part.size)
            fields["size"] = crop if isinstance(crop, tuple) else (crop, crop)
        elif kind == "Normalize":
            fields |= {"mean": _numbers(part.mean), "std": _numbers(part.std)}
        elif kind == "Grayscale" and part.num_output_channels == 1:
            fields |= {"mean": fields["mean"][:1], "std": fields["std"][:1]}
        elif kind.startswith("Random") or kind in ("AutoAugment", "TrivialAugmentWide"):
            raise ImageError(
                f"the transform has {kind}, which is random for each picture. Give the "
                "transform that evaluation uses."
            )
    if "size" not in fields and isinstance(fields["resize"], tuple):
        fields["size"] = fields["resize"]
    if "size" not in fields:
        raise ImageError(
            "the transform gives inputs of different sizes for pictures of different "
            "sizes. Add CenterCrop(size) or Resize((height, width)), or prepare the "
            "picture and give the tensor."
        )
    return Preprocess(**fields, source=source)


def _parts(transform: Any) -> list[Any]:
    """The parts of a transform in their order, those of nested ones too."""
    inner = getattr(transform, "transforms", None)
    if inner is None and isinstance(transform, torch.nn.Sequential):
        inner = list(transform)
    if inner is None:
        return [transform]
    return [one for part in inner for one in _parts(part)]


def _edge(size: Any) -> int | tuple[int, int]:
    if isinstance(size, int):
        return size
    return int(size[0]) if len(size) == 1 else (int(size[0]), int(size[1]))


def _kind(interpolation: Any) -> str:
    """Its name, of which torchvision has an enumeration, and Pillow numbers."""
    value = getattr(interpolation, "value", interpolation)
    return PIL.Image.Resampling(value).name.lower() if isinstance(value, int) else str(value)


def _numbers(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _check(preprocess: Preprocess, transform: Any) -> None:
    """Both must make the same input of the same pictures: one lies and one stands."""
    for size in ((330, 430), (420, 300)):
        picture = _picture(*_evenly(preprocess, *size))
        try:
            wanted = transform(PIL.Image.fromarray(picture))
        except Exception as error:
            raise ImageError(
                f"the transform failed on a PIL image ({type(error).__name__}: {error}). "
                "Give one that accepts PIL images."
            ) from error
        made = preprocess(picture)
        wanted = torch.as_tensor(np.asarray(wanted)) if not isinstance(wanted, Tensor) else wanted
        if wanted.shape != made.shape:
            raise ImageError(_differs(f"gives {tuple(wanted.shape)}, and not {tuple(made.shape)}"))
        std = torch.tensor(preprocess.std)[:, None, None].abs()
        difference = float(((wanted.float() - made) * std).abs().mean())
        if not difference <= _DIFFERENCE:  # NaN fails this too
            raise ImageError(_differs(f"gives values that differ by {difference:.3g} on average"))


def _evenly(preprocess: Preprocess, height: int, width: int) -> tuple[int, int]:
    """A size near to this of which as much is cut off at both sides.

    Libraries round the half pixel differently, which moves the crop by one.
    """
    window = preprocess.window
    for higher, wider in ((i, j) for i in range(12) for j in range(12)):
        seen = window((height + higher, width + wider))
        right = width + wider - seen.right
        below = height + higher - seen.bottom
        if abs(seen.left - right) < 1e-6 and abs(seen.top - below) < 1e-6:
            return height + higher, width + wider
    return height, width


def _picture(height: int, width: int) -> np.ndarray:
    """A smooth picture of many colours, with nothing symmetric in it."""
    coarse = np.random.default_rng(0).integers(0, 256, (7, 9, 3)).astype(np.uint8)
    image = PIL.Image.fromarray(coarse).resize((width, height), PIL.Image.Resampling.BICUBIC)
    return np.array(image)


def _differs(how: str) -> str:
    return (
        "the transform does more than resize, crop the middle, scale to 0..1 and "
        f"normalise: it {how} of what these give. Prepare the picture with it and "
        "give the tensor."
    )
