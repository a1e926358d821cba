"""How a map is laid over a picture: one function that paints pictures and keys alike."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import numpy as np

from seewhy.errors import ImageError
from seewhy.render.colormap import DIVERGING, SEQUENTIAL, colorize, table_of
from seewhy.render.oklab import encoded_of, light_of, ramp

StyleName = Literal["clear", "veil", "print"]
BaseName = Literal["picture", "grey"]

# Found by trying eight renderings on eight kinds of pictures, see docs/why.md: violet-red over
# vermilion to amber, lighter as the value rises; orange for, blue against, which those who see two
# of the three primary colours tell apart too.
_FOR, _FOR_PLACES = ("#8E0E6E", "#E8352B", "#FFC400"), (0.0, 0.5, 1.0)
_PLUS, _MINUS = ("#C2410C", "#FF8A00"), ("#1D4ED8", "#1E90FF")
_COLORLESS = 0.15  # the share of the maximum from which the picture below has no colour left
_OPACITY = {"clear": 0.7, "veil": 0.5, "print": 0.0}
_LINES = {"clear": ((0.5, 1.0),), "veil": (), "print": ((0.25, 0.67), (0.5, 1.07), (0.75, 1.6))}

_STEPS = 256  # of a ramp
_BITS = 7  # of a share in whole numbers: times 255 it fits into 16 bits
_BLOCK = 32768  # pixels at once: they stay in the processor's cache
_STRIPE = 3  # pixels


@dataclass(frozen=True)
class Style:
    """How a map is laid over a picture.

    Attributes:
        name: "clear": the stronger the map, the denser its colour and the less the picture's own;
            where the map says nothing the picture is left as it is. "veil": one colour for every
            value, equally dense everywhere. "print": no colour, lines at 25, 50 and 75 % alone.
        base: "picture", or "grey": the picture without its colours, from which single values are
            read most exactly.
        opacity: of "clear" at the largest value, of "veil" everywhere.
        colormap: one of matplotlib's by name, instead of the style's own colours.
    """

    name: StyleName = "clear"
    base: BaseName = "picture"
    opacity: float = _OPACITY["clear"]
    colormap: str | None = None

    @property
    def lines(self) -> tuple[tuple[float, float], ...]:
        """The shares at which lines of equal value are drawn, and how wide, 1 being usual."""
        return _LINES[self.name]


CLEAR = Style()


def style_of(
    style: str | None = None,
    *,
    base: str = "picture",
    colormap: str | None = None,
    opacity: float | None = None,
) -> Style:
    """The style of these names; a colour map alone means a veil of its colours.

    Raises:
        ImageError: an unknown style, base or colour map, or an opacity beyond 0..1.
    """
    name = style or ("clear" if colormap is None else "veil")
    if name not in get_args(StyleName):
        raise ImageError(f"style is {style!r}; 'clear', 'veil' or 'print' is wanted.")
    if base not in get_args(BaseName):
        raise ImageError(f"base is {base!r}; 'picture' or 'grey' is wanted.")
    if colormap is not None:
        table_of(colormap)
    density = _OPACITY[name] if opacity is None else checked_opacity(opacity)
    return Style(name, base, density, colormap)  # type: ignore[arg-type]


def checked_opacity(opacity: float) -> float:
    """`opacity` if it is a share."""
    if not 0 <= opacity <= 1:
        raise ImageError(
            f"opacity is {opacity}; 0 (the picture alone) to 1 (the map alone) is wanted."
        )
    return float(opacity)


def paint(picture: np.ndarray, shares: np.ndarray, style: Style, *, signed: bool) -> np.ndarray:
    """The map's colours over the picture: uint8 RGB (height, width, 3), a new array.

    Args:
        picture: uint8 RGB (height, width, 3).
        shares: float32 (height, width): 0 to 1, or -1 to 1 of a signed map; NaN is drawn as
            stripes, which no picture under a map looks like.
        style: how.
        signed: whether values below 0 have colours of their own.
    """
    shares = np.asarray(shares, np.float32)
    missing = np.isnan(shares)
    some_missing = bool(missing.any())
    if some_missing:
        shares = np.where(missing, np.float32(0), shares)
    if style.name == "veil":
        base = greyed(picture) if style.base == "grey" else picture
        places = (shares + 1) / 2 if signed else shares
        colors = colorize(places, style.colormap or (DIVERGING if signed else SEQUENTIAL))
        made = blend(base, colors, style.opacity)
    else:
        made = _painted(picture, shares, style, signed)
    if some_missing:
        made[missing] = _stripes(shares.shape)[missing]
    return made


def _painted(picture: np.ndarray, shares: np.ndarray, style: Style, signed: bool) -> np.ndarray:
    """In blocks that stay in the processor's cache: a pixel's grey and value name its colour."""
    table, own = _table(style, signed)
    pixels, values = picture.reshape(-1, 3), shares.reshape(-1)
    made = np.empty(pixels.shape, np.uint8)
    for start in range(0, len(values), _BLOCK):
        block = slice(start, start + _BLOCK)
        below, grey = pixels[block], _grey(pixels[block])
        steps = values[block] * np.float32(_STEPS)
        steps += np.float32(_STEPS + 0.5 if signed else 0.5)
        level = steps.astype(np.int32)
        painted = table.take(grey * np.int32(len(own)) + level).view(np.uint8).reshape(-1, 4)[:, :3]
        made[block] = painted
        kept = own.take(level)
        if not kept.any():
            continue
        grey = grey.astype(np.int16)
        for channel in range(3):  # what is left of the picture's own colour
            colored = below[:, channel].astype(np.int16)
            colored -= grey
            colored *= kept
            colored += 1 << (_BITS - 1)
            colored >>= _BITS
            colored += painted[:, channel]
            np.clip(colored, 0, 255, out=colored)
            made[block, channel] = colored
    return made.reshape(picture.shape)


@lru_cache(maxsize=32)
def _table(style: Style, signed: bool) -> tuple[np.ndarray, np.ndarray]:
    """The colour of every value over every grey, and how much of the picture's own colour is left.

    Returns:
        (greys x levels,) the bytes of a colour in one number each, and (levels,) in 1/2^`_BITS`.
    """
    levels = np.linspace(-1 if signed else 0, 1, (2 if signed else 1) * _STEPS + 1)
    strength = np.abs(levels)
    density = style.opacity * strength[:, None]
    greys = np.arange(256)[:, None, None] / 255
    mixed = greys + density * (_ramp(style.colormap, signed) - greys)
    colors = np.zeros((256, len(levels), 4), np.uint8)
    colors[..., :3] = np.rint(255 * mixed)
    left = np.zeros(len(levels))
    if style.base == "picture":
        colored = strength if style.name == "clear" else 0 * strength
        left = np.maximum(0, 1 - colored / _COLORLESS) * (1 - density[:, 0])
    return colors.view(np.uint32).reshape(-1), np.rint(left * (1 << _BITS)).astype(np.int16)


def _ramp(colormap: str | None, signed: bool) -> np.ndarray:
    """The colours, sRGB from 0 to 1: (steps + 1, 3) from 0 to 1, or (2 steps + 1, 3) from -1."""
    if colormap is not None:
        steps = 2 * _STEPS if signed else _STEPS
        return colorize(np.linspace(0, 1, steps + 1), colormap) / 255
    if not signed:
        return ramp(_FOR, _FOR_PLACES, _STEPS)
    plus, minus = ramp(_PLUS, (0.0, 1.0), _STEPS), ramp(_MINUS, (0.0, 1.0), _STEPS)
    return np.concatenate([minus[:0:-1], plus])


def greyed(picture: np.ndarray) -> np.ndarray:
    """The picture without its colours, as light as it was: uint8 (height, width, 3)."""
    pixels = picture.reshape(-1, 3)
    made = np.empty(len(pixels), np.uint8)
    for start in range(0, len(pixels), _BLOCK):
        block = slice(start, start + _BLOCK)
        made[block] = _grey(pixels[block])
    return made.reshape(picture.shape[:2])[..., None].repeat(3, axis=2)


# Luminance in whole numbers: each channel's share of it, and back to a grey.
_LIGHT = 16_380
_SHARES = np.array([0.2126, 0.7152, 0.0722])
_LUMINANCE = np.rint(_LIGHT * light_of(np.arange(256) / 255) * _SHARES[:, None]).astype(np.uint16)
_GREY = np.rint(255 * encoded_of(np.arange(_LIGHT + 4) / _LIGHT).clip(0, 1)).astype(np.int32)


def _grey(pixels: np.ndarray) -> np.ndarray:
    """The grey that is as light as each pixel (pixels, 3): int32 (pixels,)."""
    light = _LUMINANCE[0].take(pixels[:, 0])
    light += _LUMINANCE[1].take(pixels[:, 1])
    light += _LUMINANCE[2].take(pixels[:, 2])
    grey: np.ndarray = _GREY.take(light)
    return grey


def blend(picture: np.ndarray, colors: np.ndarray, opacity: float) -> np.ndarray:
    """`(1 - opacity) · picture + opacity · colors` of uint8 arrays, rounded to nearest.

    In 16-bit integers, with the opacity in steps of 1/256: a float copy of a large photograph
    takes four times the memory.
    """
    share = round(opacity * 256)
    mixed = picture.astype(np.uint16) * (256 - share)
    mixed += colors.astype(np.uint16) * share
    mixed += 128
    return (mixed >> 8).astype(np.uint8)


def _stripes(size: tuple[int, ...]) -> np.ndarray:
    rows, columns = np.ogrid[: size[0], : size[1]]
    dark = ((rows + columns) // _STRIPE) % 2 == 0
    return np.where(dark, 90, 165).astype(np.uint8)[..., None].repeat(3, axis=2)
