"""How a picture becomes the model's input."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from seewhy.errors import ImageError
from seewhy.images.pixels import Picture
from seewhy.images.reading import Readable, read_picture
from seewhy.images.window import Window

ImageSource = Readable | Tensor
"""What can be explained: a file, a Pillow image, an array `(height, width[, channels])`, or a
prepared tensor `(channels, height, width)`. Any number of channels takes `rgb=`."""

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
LARGEST_RESIZED = 100_000_000  # pixels; a strip of 1 × 100,000 px would otherwise fill the memory


@dataclass(frozen=True)
class Preprocess:
    """How a picture becomes the model's input: Pillow's resize, centre crop, mean and std.

    The same numbers to the last bit as torchvision's `Resize`, `CenterCrop`, `ToTensor` and
    `Normalize` on a PIL image (its `_compute_resized_output_size` and `center_crop`).

    Attributes:
        size: (height, width) of the input. Where the resized picture is smaller, black surrounds
            it.
        resize: An int: the shorter side becomes this, the aspect stays. (height, width): squashed
            to this. None: no resize.
        mean: Of each channel, for values from 0 to 1. One value: the picture is first made grey
            (Pillow's "L").
        std: Of each channel, as `mean`.
        interpolation: One of `INTERPOLATIONS`, always with Pillow's antialiasing.
        source: In words, where these numbers come from.
        rgb: For inputs that are no photograph (bands of a satellite, depth, X-rays): the three
            channels, counted from 0, that are drawn as red, green and blue. What is prepared is
            then an array (height, width, channels) in units of its own, which are `mean`'s and
            `std`'s too; zeros surround it where it is smaller than `size`. None: photographs.

    Raises:
        ImageError: A field does not describe a preprocessing.

    Example:
        >>> import seewhy
        >>> prepare = seewhy.Preprocess(
        ...     size=(224, 224), resize=256, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
        ... )
        >>> prepare("cat.jpg").shape
        torch.Size([3, 224, 224])
    """

    size: tuple[int, int]
    resize: int | tuple[int, int] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bilinear"
    source: str = "given"
    rgb: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        def tidy(field: str, value: Any) -> None:
            object.__setattr__(self, field, value)  # the class is frozen for everyone else

        tidy("size", _height_and_width("size", self.size))
        if isinstance(self.resize, (tuple, list)):
            tidy("resize", _height_and_width("resize", self.resize))
        elif self.resize is not None:
            tidy("resize", _pixels("resize", self.resize))
        if self.rgb is not None:
            tidy("rgb", _channels_drawn(self.rgb))
        tidy("mean", _channel_values("mean", self.mean, any_number=self.rgb is not None))
        tidy("std", _channel_values("std", self.std, any_number=self.rgb is not None))
        if len(self.mean) != len(self.std):
            raise ImageError(
                f"mean has {len(self.mean)} values and std has {len(self.std)}, but both "
                "need one per channel."
            )
        if 0 in self.std:
            raise ImageError(
                f"std is {self.std}, but no value of it may be 0, because pictures are "
                "divided by it."
            )
        if self.interpolation not in INTERPOLATIONS:
            raise ImageError(
                f"interpolation {self.interpolation!r} is not known. Choose one of "
                f"{', '.join(INTERPOLATIONS)}."
            )

    def __call__(self, source: Readable) -> Tensor:
        """The model's input, float32 (channels, height, width); of what `read` takes."""
        read = self.read(source)
        height, width = self._resized(read.shape[:2])
        if self.rgb is not None:
            layers = [PIL.Image.fromarray(channel) for channel in read.transpose(2, 0, 1).copy()]
        elif len(self.mean) == 1:
            layers = [PIL.Image.fromarray(read).convert("L")]
        else:
            layers = [PIL.Image.fromarray(read)]
        top, left = _crop_start(height, self.size[0]), _crop_start(width, self.size[1])
        kind, corner = PIL.Image.Resampling[self.interpolation.upper()], (left, top)
        box = (*corner, left + self.size[1], top + self.size[0])
        # Pillow fills with zeros, which are black, what a crop takes from outside the image.
        cropped = [np.array(one.resize((width, height), kind).crop(box)) for one in layers]
        values = torch.from_numpy(
            np.concatenate([one.reshape(*self.size, -1) for one in cropped], 2)
        )
        tensor = values.permute(2, 0, 1).contiguous().to(torch.float32)
        if self.rgb is None:
            tensor.div_(255)
        return tensor.sub_(_by_channel(self.mean)).div_(_by_channel(self.std))

    def read(self, source: Readable) -> np.ndarray:
        """What is prepared: the picture as `read_image` gives it; with `rgb`, the array's channels.

        Those are float32 (height, width, channels), in the units that they came in.
        """
        return self.picture_from(source).pixels

    def picture_from(self, source: Readable) -> Picture:
        """As `read`, with what there is to say of how it was read."""
        if self.rgb is None:
            return read_picture(source)
        return Picture(_channels_of(source, len(self.mean)))

    def view(self, read: np.ndarray) -> np.ndarray:
        """What `read` gave as it is drawn: uint8 RGB (height, width, 3).

        Each channel of `rgb` is black up to its 2nd percentile and full from its 98th on.
        """
        return read if self.rgb is None else _stretched(read, self.rgb)

    def window(self, picture_size: tuple[int, int]) -> Window:
        """What the model sees of a picture of `picture_size` (height, width)."""
        resized = self._resized(picture_size)
        (top, bottom), (left, right) = (
            (start * original / scaled, (start + wanted) * original / scaled)
            for original, scaled, wanted in zip(picture_size, resized, self.size, strict=True)
            for start in [_crop_start(scaled, wanted)]
        )
        return Window(left, top, right, bottom)

    def picture(self, tensor: Tensor) -> np.ndarray:
        """The picture in a prepared input (C, h, w) or (1, C, h, w): uint8 RGB (h, w, 3).

        With `rgb` it is drawn as `view` has it, whatever was done to it.
        """
        values = tensor[0] if tensor.ndim == 4 and len(tensor) == 1 else tensor
        if self.rgb is not None and values.ndim == 3:
            values = values.detach().to("cpu", torch.float32).permute(1, 2, 0)
            return _stretched(values.numpy(), self.rgb)
        channels = len(self.mean)
        if values.ndim != 3 or len(values) != channels or 0 in values.shape:
            raise ImageError(
                f"the prepared image must be ({channels}, height, width), since mean and "
                f"std have {channels} values, not {tuple(tensor.shape)}. Pass one image, "
                "the Preprocess that belongs to it, or, as rgb=, the three channels to "
                "draw."
            )
        values = values.detach().to("cpu", torch.float32)
        if values.isnan().any():
            raise ImageError("the prepared image contains NaN. Check how it was prepared.")
        values = values * _by_channel(self.std) + _by_channel(self.mean)
        pixels = (values * 255).round().clamp(0, 255).to(torch.uint8)
        return pixels.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()

    def describe(self) -> str:
        """In words, what is done to a picture."""
        height, width = self.size
        if self.resize is None:
            resized = "not resized"
        elif isinstance(self.resize, int):
            resized = f"resized so that the shorter side is {self.resize} px ({self.interpolation})"
        else:
            resized = (
                f"resized to {self.resize[0]}×{self.resize[1]} px, whatever their shape "
                f"({self.interpolation})"
            )
        whole = self.resize == self.size
        cropped = "nothing is cut off" if whole else f"the middle {height}×{width} px are taken"
        grey = "made grey, " if len(self.mean) == 1 and self.rgb is None else ""
        mean, std = (
            ", ".join(f"{value:.4g}" for value in values[:3]) + (", …" if len(values) > 3 else "")
            for values in (self.mean, self.std)
        )
        return (
            f"pictures are {grey}{resized}, {cropped}, and values normalised with mean ({mean}) "
            f"and std ({std})"
        )

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON has them; `from_json` gives an equal Preprocess."""
        fields = dataclasses.asdict(self)
        return {name: list(v) if isinstance(v, tuple) else v for name, v in fields.items()}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Preprocess:
        """What `to_json` wrote."""
        try:
            return cls(**fields)
        except TypeError as error:
            known = ", ".join(field.name for field in dataclasses.fields(cls))
            raise ImageError(
                f"a preprocessing was saved as {fields!r}; its fields are {known}."
            ) from error

    def _resized(self, picture_size: Sequence[int]) -> tuple[int, int]:
        height, width = picture_size
        if height < 1 or width < 1:
            raise ImageError(
                f"a picture of {width} × {height} pixels is empty; at least one pixel is needed."
            )
        if self.resize is None:
            return height, width
        if not isinstance(self.resize, int):
            return self.resize
        shorter, longer = sorted((height, width))
        longer = int(self.resize * longer / shorter)  # torchvision rounds down
        if self.resize * longer > LARGEST_RESIZED:
            raise ImageError(
                f"a picture of {width} × {height} pixels is too narrow: with its shorter "
                f"side resized to {self.resize} pixels, the longer side would have "
                f"{longer}. Crop the picture first, or resize it to a fixed size with "
                "resize=(height, width)."
            )
        return (self.resize, longer) if height <= width else (longer, self.resize)


def _crop_start(length: int, wanted: int) -> int:
    """Where a centre crop begins, as torchvision rounds: negative where it pads."""
    if wanted > length:
        return -((wanted - length) // 2)
    return round((length - wanted) / 2)


def _by_channel(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, None, None]


def _pixels(field: str, value: Any) -> int:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < 1:
        raise ImageError(f"{field} must be whole pixels of at least 1, not {value!r}.")
    return int(value)


def _height_and_width(field: str, value: Any) -> tuple[int, int]:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ImageError(f"{field} must be (height, width), not {value!r}.")
    return _pixels(field, value[0]), _pixels(field, value[1])


def _channel_values(field: str, values: Any, *, any_number: bool) -> tuple[float, ...]:
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        numbers = ()
    known = len(numbers) > 0 if any_number else len(numbers) in (1, 3)
    if not known or not all(map(math.isfinite, numbers)):
        raise ImageError(
            f"{field} is {values!r}, but it needs "
            + (
                "a finite number for each channel."
                if any_number
                else "3 finite numbers, or 1 for grey (for other channels, name those to draw: "
                "rgb=(3, 2, 1))."
            )
        )
    return numbers


def _channels_drawn(rgb: Any) -> tuple[int, int, int]:
    try:
        red, green, blue = (int(channel) for channel in rgb)
    except (TypeError, ValueError):
        red = green = blue = -1
    if min(red, green, blue) < 0:
        raise ImageError(
            "rgb must be three channels, counted from 0, such as (3, 2, 1), or (0, 0, "
            f"0) for grey, not {rgb!r}."
        )
    return red, green, blue


def _channels_of(source: Any, count: int) -> np.ndarray:
    """An array (height, width, channels), or (height, width) of one channel, as float32."""
    shape = source.shape if isinstance(source, np.ndarray) else None
    if shape is not None and len(shape) == 2:
        shape = (*shape, 1)
    if shape is None or len(shape) != 3 or shape[2] != count or 0 in shape:
        came = type(source).__name__ if shape is None else f"an array {source.shape}"
        raise ImageError(
            f"with rgb= an image must be an array (height, width, {count}), since mean "
            f"and std have {count} values, or a prepared tensor, not {came}."
        )
    if not (np.issubdtype(source.dtype, np.number) and np.isrealobj(source)):
        raise ImageError(f"the array must contain numbers, not {source.dtype}.")
    values: np.ndarray = source.astype(np.float32).reshape(shape)
    if not np.isfinite(values).all():
        raise ImageError(
            "the array contains NaN or infinity. Replace them before the array is prepared."
        )
    return values


def _stretched(values: np.ndarray, rgb: tuple[int, int, int]) -> np.ndarray:
    """Three channels of (height, width, channels), each from its 2nd to its 98th percentile."""
    if max(rgb) >= values.shape[2]:
        raise ImageError(
            f"rgb is {rgb}, but the image has {values.shape[2]} channels, counted from "
            "0. Name three of those."
        )
    chosen = values[..., list(rgb)]
    if not np.isfinite(chosen).all():
        raise ImageError("the prepared image contains NaN or infinity. Check how it was prepared.")
    low, high = np.percentile(chosen, [2, 98], axis=(0, 1))
    shares = (chosen - low) / np.where(high > low, high - low, 1)
    drawn: np.ndarray = np.rint(shares.clip(0, 1) * 255).astype(np.uint8)
    return drawn
