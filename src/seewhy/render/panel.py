"""An explanation's picture under its map, at the size at which it is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from seewhy.errors import ImageError
from seewhy.render.crop import inside
from seewhy.render.feature_maps import resized, taps
from seewhy.render.overlay import lay

if TYPE_CHECKING:
    from seewhy.render.scale import Scale
    from seewhy.render.style import Style
    from seewhy.render.takes import Explained, Window

_UNDER_HEAT = 245  # a light grey: the key's right edge


@dataclass(frozen=True)
class Edges:
    """A window in the pixels of another size."""

    left: float
    top: float
    right: float
    bottom: float


def panel(explanation: Explained, picture: np.ndarray, style: Style, scale: Scale) -> Image.Image:
    """The whole picture, `resized_to` the size it is drawn at, with its map over it.

    The map is laid at this size: lines stay sharp, and a large photograph costs no more.
    """
    size = (picture.shape[1], picture.shape[0])
    window = _scaled(explanation.window, explanation.picture.shape[:2], size)
    return lay(picture, on_pixels(explanation.map, window, size, scale), window, style, scale)


def heat_panel(
    explanation: Explained, size: tuple[int, int], style: Style, scale: Scale
) -> Image.Image:
    """The map alone, where it lies on the picture."""
    return panel(explanation, np.full((size[1], size[0], 3), _UNDER_HEAT, np.uint8), style, scale)


def seen_panel(
    explanation: Explained, size: tuple[int, int], style: Style, scale: Scale
) -> Image.Image:
    """What the model saw of the picture alone, `size` (width, height) pixels, under its map."""
    rows, columns = seen_part(explanation)
    picture = explanation.picture[rows, columns]
    window = explanation.window
    moved = Edges(
        window.left - columns.start,
        window.top - rows.start,
        window.right - columns.start,
        window.bottom - rows.start,
    )
    window = _scaled(moved, picture.shape[:2], size)
    values = on_pixels(explanation.map, window, size, scale)
    whole = Edges(0, 0, *size)
    return lay(resized_to(picture, size), values, whole, style, scale)


def seen_part(explanation: Explained) -> tuple[slice, slice]:
    """The rows and columns of the picture that the model saw; all of them if it saw none."""
    height, width = explanation.picture.shape[:2]
    rows, columns = inside(explanation.window, (height, width))
    if rows.start == rows.stop or columns.start == columns.stop:
        return slice(0, height), slice(0, width)
    return rows, columns


def seen_size(explanation: Explained) -> tuple[int, int]:
    """(height, width) in pixels of what the model saw of the picture."""
    rows, columns = seen_part(explanation)
    return rows.stop - rows.start, columns.stop - columns.start


def on_pixels(raw: np.ndarray, window: Window, size: tuple[int, int], scale: Scale) -> np.ndarray:
    """The raw map on `size` (width, height) pixels: bilinear, float32; NaN where a cell has none.

    Infinite values count as the scale's ends.
    """
    values = np.asarray(raw, np.float32)
    if values.ndim != 2 or 0 in values.shape:
        raise ImageError(f"the map is {values.shape}; (height, width) is wanted: pass one map.")
    missing = np.isnan(values)
    low = -scale.furthest if scale.signed else scale.low
    values = np.nan_to_num(values, nan=0, posinf=scale.high, neginf=low)
    across = taps(window.left, window.right, values.shape[1], size[0])
    down = taps(window.top, window.bottom, values.shape[0], size[1])
    placed: np.ndarray = resized(values[None], down, across)[0]
    if missing.any():
        placed[resized(missing[None].astype(np.float32), down, across)[0] > 0] = np.nan
    return placed


def resized_to(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The picture at `size` (width, height) pixels."""
    image = Image.fromarray(picture)
    if image.size == size:
        return picture
    way = Image.Resampling.LANCZOS if image.width > size[0] else Image.Resampling.BICUBIC
    return np.array(image.resize(size, way, reducing_gap=2.0))


def _scaled(window: Window, was: tuple[int, int], size: tuple[int, int]) -> Edges:
    across, down = size[0] / was[1], size[1] / was[0]
    return Edges(
        window.left * across, window.top * down, window.right * across, window.bottom * down
    )
