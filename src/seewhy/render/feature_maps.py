"""Every channel of a layer over the picture, tile by tile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from seewhy.errors import ImageError
from seewhy.render.colormap import SEQUENTIAL, colorize, to_unit, value_range
from seewhy.render.crop import inside
from seewhy.render.overlay import checked_picture
from seewhy.render.style import blend, checked_opacity
from seewhy.render.text import (
    lettering,
    pillow_font,
    plain_font,
    sentence,
    short_number,
    wrap,
)

if TYPE_CHECKING:
    from seewhy.render.takes import Channels, Window

_GAP, _MARGIN = 2, 10  # pixels
_HEADER = 18  # pixels
_NARROWEST = 480
_SMALLEST_TILE = 28  # the index needs so much


@dataclass(frozen=True)
class Layout:
    """Where the tiles lie on the page, in pixels.

    Attributes:
        columns: tiles in a row.
        tile: (width, height) of each.
        left, top: the corner of the first.
    """

    columns: int
    tile: tuple[int, int]
    left: int
    top: int

    def corner(self, position: int) -> tuple[int, int]:
        """(left, top) of a tile: position i stands in row i // columns, column i % columns."""
        row, column = divmod(position, self.columns)
        width, height = self.tile
        return self.left + column * (width + _GAP), self.top + row * (height + _GAP)

    def size(self, count: int) -> tuple[int, int]:
        """(width, height) of the page that holds so many tiles."""
        left, top = self.corner(self.columns * -(-count // self.columns) - 1)
        return left + self.tile[0] + self.left, top + self.tile[1] + _MARGIN


def header(features: Channels, *, same_scale: bool = False) -> tuple[str, ...]:
    """What is written above the tiles."""
    count = len(features.channels)
    order = f"sorted by {features.sorted_by}"
    if features.sorted_by == "contribution" and features.label:
        order += f" to {features.label}"
    largest = _largest(features.maps)
    low, high = short_number(largest.min()), short_number(largest.max())
    if same_scale:
        scale = f"all on one scale, 0 to {high}"
    else:
        scale = "each scaled alone, to its own largest value "
        scale += f"({low})" if low == high else f"({low} to {high})"
    dead = int((largest == 0).sum())
    return (
        sentence(
            [
                f"layer {features.layer}",
                f"{count} channel{'s' if count != 1 else ''}",
                order,
                scale,
                "negative values dropped",
                f"{dead} nowhere above 0" if dead else None,
            ]
        ),
        sentence(
            [f"model {features.model}", f"image {features.image}" if features.image else None]
        ),
    )


def draw_feature_maps(
    features: Channels,
    *,
    columns: int = 16,
    same_scale: bool = False,
    colormap: str | None = None,
    opacity: float = 0.5,
    tile: int = 112,
) -> Image.Image:
    """Each channel over what the model saw of the picture, with its index, row by row.

    Negative values are dropped. A channel that is nowhere above 0 shows the darkened picture.

    Args:
        features: the channels.
        columns: tiles in a row.
        same_scale: one scale for all; otherwise each channel has its own, up to its largest value.
        colormap: matplotlib's name of one.
        opacity: the share of the colour in each pixel, 0 to 1.
        tile: pixels of a tile's longer side.

    Raises:
        ImageError: no channel, an unknown colour map, or a number out of its range.
    """
    if columns < 1 or tile < _SMALLEST_TILE:
        raise ImageError(
            f"columns={columns}, tile={tile}: at least 1 column and tiles of at least "
            f"{_SMALLEST_TILE} pixels are wanted."
        )
    maps = np.asarray(features.maps)
    if maps.ndim != 3 or not maps.size or len(maps) != len(features.channels):
        raise ImageError(
            f"the maps are {maps.shape} for {len(features.channels)} channels; (channels, height, "
            "width) with at least one channel is wanted."
        )
    opacity = checked_opacity(opacity)
    columns = min(columns, len(maps))
    thumbnail, window = thumbnail_of(checked_picture(features.picture), features.window, tile)
    # A very long picture leaves the rest of its tile white.
    height, width = (max(side, _SMALLEST_TILE) for side in thumbnail.shape[:2])

    page_width = max(columns * (width + _GAP) - _GAP + 2 * _MARGIN, _NARROWEST)
    room = 0.95 * (page_width - 2 * _MARGIN)  # Pillow sets each letter to whole pixels
    written = [
        (wrap(line, _HEADER, room), line.font)
        for line in map(lettering, header(features, same_scale=same_scale))
    ]
    line_height = round(_HEADER * 1.35)
    top = _MARGIN + line_height * sum(len(lines) for lines, _ in written) + 6
    layout = Layout(columns, (width, height), _MARGIN, top)
    page = Image.new("RGB", (page_width, layout.size(len(maps))[1]), "white")
    draw = ImageDraw.Draw(page)
    baseline = _MARGIN + _HEADER
    for lines, font in written:
        for line in lines:
            draw.text((_MARGIN, baseline), line, "black", pillow_font(font, _HEADER), anchor="ls")
            baseline += line_height

    number_font = pillow_font(plain_font(), max(10, round(min(width, height) / 9)))
    largest = _largest(maps)
    scales = np.full_like(largest, largest.max()) if same_scale else largest
    drawn = _tiles(maps, scales, thumbnail, window, colormap or SEQUENTIAL, opacity)
    for position, (pixels, channel) in enumerate(zip(drawn, features.channels, strict=True)):
        corner = layout.corner(position)
        page.paste(Image.fromarray(pixels), corner)
        text = str(channel)
        box = draw.textbbox((corner[0] + 3, corner[1] + 2), text, number_font, anchor="la")
        draw.rectangle((*corner, box[2] + 2, box[3] + 2), fill="black")
        draw.text((corner[0] + 3, corner[1] + 2), text, "white", number_font, anchor="la")
    return page


def _tiles(
    maps: np.ndarray,
    scales: np.ndarray,
    thumbnail: np.ndarray,
    window: Window,
    colormap: str,
    opacity: float,
) -> Iterator[np.ndarray]:
    """The tiles in order; computed by the dozen, so that memory does not grow with channels."""
    height, width = thumbnail.shape[:2]
    down = taps(window.top, window.bottom, maps.shape[1], height)
    across = taps(window.left, window.right, maps.shape[2], width)
    at_once = 16
    for start in range(0, len(maps), at_once):
        some = np.asarray(maps[start : start + at_once], np.float32)
        holes = ~np.isfinite(some)
        values = resized(np.where(holes, 0, np.maximum(some, 0)), down, across)
        if holes.any():
            # As numbers they would spread to neighbours in which they have no share.
            values[resized(holes.astype(np.float32), down, across) > 0] = np.nan
        shares = [
            to_unit(value, (0.0, float(scale)))
            for value, scale in zip(values, scales[start:], strict=False)
        ]
        for colors in colorize(np.stack(shares), colormap):
            yield blend(thumbnail, colors, opacity)


def _largest(maps: np.ndarray) -> np.ndarray:
    """(channels,) the largest value of each, 0 where none lies above 0."""
    return np.array([value_range([one], signed=False)[1] for one in maps])


@dataclass(frozen=True)
class Edges:
    """The edges of the part of a small picture that the model saw, in its pixels."""

    left: float
    top: float
    right: float
    bottom: float


def thumbnail_of(picture: np.ndarray, window: Window, longer_side: int) -> tuple[np.ndarray, Edges]:
    """What the model saw of the picture, at the size of a tile, and the window in its pixels."""
    rows, columns = inside(window, picture.shape[:2])
    picture = picture[rows, columns]
    if not picture.size:
        raise ImageError("the model saw no part of the picture; look at the preprocessing.")
    height, width = picture.shape[:2]
    scale = longer_side / max(height, width)
    small = max(1, round(width * scale)), max(1, round(height * scale))
    across, down = small[0] / width, small[1] / height
    edges = Edges(
        left=(window.left - columns.start) * across,
        top=(window.top - rows.start) * down,
        right=(window.right - columns.start) * across,
        bottom=(window.bottom - rows.start) * down,
    )
    return np.array(Image.fromarray(picture).resize(small, Image.Resampling.LANCZOS)), edges


@dataclass(frozen=True)
class Taps:
    """Along one axis: the cells that each pixel is made of, (taps, pixels), and their shares."""

    cells: np.ndarray
    shares: np.ndarray


def taps(start: float, end: float, cells: int, pixels: int) -> Taps:
    """For so many pixels, and a map whose cells span `start` to `end`.

    Bilinear between the cells' centres, level beyond the outermost ones; where several cells fall
    on a pixel all of them count, or the strong ones between two pixels would be lost.
    """
    centres = np.arange(pixels) + 0.5
    cells_a_pixel = cells / (end - start)
    positions = ((centres - start) * cells_a_pixel - 0.5).clip(0, cells - 1)
    reach = max(1.0, cells_a_pixel)
    steps = np.arange(2 * int(np.ceil(reach)) + 1)[:, None]
    asked = np.floor(positions - reach).astype(np.intp) + 1 + steps
    shares = np.maximum(0, 1 - np.abs(positions - asked) / reach)
    shares[(asked < 0) | (asked >= cells)] = 0
    shares /= shares.sum(axis=0)
    return Taps(asked.clip(0, cells - 1), shares.astype(np.float32))


def resized(maps: np.ndarray, down: Taps, across: Taps) -> np.ndarray:
    """(channels, rows, columns) from maps (channels, height, width).

    Tap by tap: as a product of matrices it waits for BLAS's threads, seconds on a busy machine.
    """
    rows = np.zeros((len(maps), down.cells.shape[1], maps.shape[2]), np.float32)
    for cells, shares in zip(down.cells, down.shares, strict=True):
        rows += maps[:, cells] * shares[:, None]
    pixels = np.zeros((*rows.shape[:2], across.cells.shape[1]), np.float32)
    for cells, shares in zip(across.cells, across.shares, strict=True):
        pixels += rows[:, :, cells] * shares
    return pixels
