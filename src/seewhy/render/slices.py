"""A volume or a video with its map, slice by slice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from seewhy.errors import ImageError
from seewhy.render.colormap import (
    Limits,
    checked_limits,
    colorize,
    default_colormap,
    furthest_from_zero,
    has_negative,
    to_unit,
    value_range,
)
from seewhy.render.feature_maps import resized, taps
from seewhy.render.figure import raw_range
from seewhy.render.page import BAR_ROOM, LINE, NOTE_COLOR, Page, fitted
from seewhy.render.style import blend, checked_opacity
from seewhy.render.text import lettering, plain_font, sentence, short_number, text_width, wrap

if TYPE_CHECKING:
    from seewhy.render.drawing import Drawing

_MARGIN, _GAP = 12.0, 8.0
_WIDEST, _LARGEST_SIDE, _SMALLEST_SIDE = 900.0, 190.0, 64.0  # points
_SHORTEST_BAR, _TALLEST_BAR = 36.0, 300.0  # its three numbers need so much
_NARROWEST = 300.0
_TITLE, _LABEL, _NOTE = 12.0, 8.0, 8.0
_CAPTION = LINE * _LABEL + 4  # below a slice


@dataclass(frozen=True, eq=False)
class Slice:
    """One slice, before it is drawn.

    Attributes:
        index: where it lies along the axis, counted from 0.
        picture: what is there, uint8 RGB (rows, columns, 3).
        heatmap: the map there, (rows, columns).
    """

    index: int
    picture: np.ndarray
    heatmap: np.ndarray


def slices(
    volume: Any,
    map_: Any,
    *,
    axis: int = 0,
    count: int = 9,
    which: Sequence[int] | None = None,
    grey: Limits | None = None,
) -> list[Slice]:
    """Slices of a volume, each with its part of the map; arguments as `draw_slices` takes them."""
    volume, map_ = _checked(volume, map_)
    if axis not in (-3, -2, -1, 0, 1, 2):
        raise ImageError(f"axis={axis!r} is none of a volume's three; 0, 1 or 2 is wanted.")
    axis %= 3
    length = volume.shape[axis]
    if which is None:
        if count < 1:
            raise ImageError(f"count={count} draws nothing; at least 1 slice is wanted.")
        steps = np.arange(min(count, length)) + 0.5
        which = (steps * length / len(steps)).astype(int).tolist()
    strange = [index for index in which if not 0 <= index < length]
    if strange or not len(which):
        raise ImageError(
            f"which={list(which)} are not slices along axis {axis}, which has {length}; "
            f"0 to {length - 1} are wanted."
        )
    cut = np.moveaxis(volume, axis, 0)[list(which)]
    if volume.ndim == 3:
        pictures = np.repeat(_greys(cut, grey or _range_of(volume))[..., None], 3, axis=3)
    else:
        pictures = cut if cut.dtype == np.uint8 else np.rint(cut * 255).astype(np.uint8)
    heatmaps = _cut(np.moveaxis(map_, axis, 0), length, list(which), cut.shape[1:3])
    made = zip(which, pictures, heatmaps, strict=True)
    return [Slice(int(index), picture, heatmap) for index, picture, heatmap in made]


def draw_slices(
    volume: Any,
    map_: Any,
    *,
    axis: int = 0,
    count: int = 9,
    which: Sequence[int] | None = None,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    grey: Limits | None = None,
    colormap: str | None = None,
    opacity: float = 0.5,
    limits: Limits | None = None,
    name: str = "slice",
    title: str = "",
) -> Drawing:
    """Slices of a volume, or frames of a video, each under its part of the map's colours.

    All are on one scale. Below stands where the map is greatest, so that no slice hides it.

    Args:
        volume: (depth, height, width), drawn in grey, or (depth, height, width, 3), uint8 or float
            from 0 to 1, in colours; an array, or a tensor in the CPU's memory.
        map_: (depth, height, width) of any size: resized linearly, as `seewhy.resize_map` does.
        axis: that the slices are cut across: 0 for a video's frames.
        count: how many, evenly spread.
        which: their numbers, counted from 0, instead of `count`.
        spacing: from one voxel to the next along each axis: the slices' proportions.
        grey: the volume's values drawn black and white; None is its least and its greatest.
        colormap, limits: as `seewhy.explain(...).figure` takes them.
        opacity: the share of the colour in each pixel, 0 to 1.
        name: what to call a slice: `"frame"`.
        title: written above.

    Raises:
        ImageError: a volume or map of another shape, slices that are not there, an unknown colour
            map, limits that are not a range, or an opacity beyond 0..1.

    Example:
        >>> import seewhy, torch
        >>> drawing = seewhy.draw_slices(torch.rand(16, 64, 64), torch.rand(4, 8, 8))
        >>> file = drawing.save("slices.png")
    """
    cut = slices(volume, map_, axis=axis, count=count, which=which, grey=grey)
    volume, map_ = _checked(volume, map_)
    opacity = checked_opacity(opacity)
    if limits is None:
        limits = value_range([map_], signed=has_negative(map_))
    limits = checked_limits(limits)
    colormap = colormap or default_colormap(limits)
    try:
        between = [float(space) for space in spacing]
    except (TypeError, ValueError):
        between = []
    if len(between) != 3 or not all(0 < space < np.inf for space in between):
        raise ImageError(f"spacing={spacing!r}; three positive numbers, one an axis, are wanted.")
    down, across = (space for i, space in enumerate(between) if i != axis % 3)
    rows, columns = cut[0].heatmap.shape
    size = rows * down, columns * across  # of a slice, in the spacing's units

    said = [(f"{name} {one.index}", short_number(furthest_from_zero(one.heatmap))) for one in cut]
    words = max(text_width("".join(pair), plain_font(), _LABEL) for pair in said) + _GAP
    in_a_row, side = _columns(len(cut), size[0] / size[1], words)
    *_, width, height = fitted(size, side, side)
    cell_width, cell_height = max(width, words), height + _CAPTION
    inner = max(in_a_row * (cell_width + _GAP) + BAR_ROOM, _NARROWEST)
    head = wrap(lettering(title), _TITLE, inner, lines=2) if title else []
    note = sentence(
        [
            f"{name}s across axis {axis % 3} of {' × '.join(map(str, volume.shape[:3]))}, beside "
            "each its value furthest from 0",
            raw_range(map_, missing="grey"),
            _greatest(map_, volume.shape[:3]),
        ]
    )
    lines, font = wrap(lettering(note), _NOTE, inner), lettering(note).font
    top = _MARGIN + LINE * _TITLE * len(head) + (4 if head else 0)
    bottom = top + max(-(-len(cut) // in_a_row) * (cell_height + _GAP), _SHORTEST_BAR + _GAP)
    page = Page(inner + 2 * _MARGIN, bottom + LINE * _NOTE * len(lines) + _MARGIN)
    if head:
        page.write(head, lettering(title).font, _TITLE, _MARGIN, _MARGIN)
    for number, (one, (called, strongest)) in enumerate(zip(cut, said, strict=True)):
        row, column = divmod(number, in_a_row)
        left, place = _MARGIN + column * (cell_width + _GAP), top + row * (cell_height + _GAP)
        colors = colorize(to_unit(one.heatmap, limits), colormap)
        drawn = Image.fromarray(blend(one.picture, colors, opacity))
        page.show(drawn, left + (cell_width - width) / 2, place, width, height)
        page.write([called], plain_font(), _LABEL, left, place + height + 2)
        page.write(
            [strongest], plain_font(), _LABEL, left + cell_width, place + height + 2,
            color=NOTE_COLOR, align="right",
        )  # fmt: skip
    bar_left = _MARGIN + in_a_row * (cell_width + _GAP)
    tall = min(max(bottom - top - _GAP - _CAPTION, _SHORTEST_BAR), _TALLEST_BAR)
    page.colour_bar(limits, colormap, bar_left, top, tall)
    page.write(lines, font, _NOTE, _MARGIN, bottom, color=NOTE_COLOR)
    return page.figure


def _checked(volume: Any, map_: Any) -> tuple[np.ndarray, np.ndarray]:
    volume, map_ = np.asarray(volume), np.asarray(map_, np.float32)
    colours = volume.ndim == 4 and volume.shape[3] == 3
    if not (volume.ndim == 3 or colours) or 0 in volume.shape:
        raise ImageError(
            f"the volume is {volume.shape}; (depth, height, width), or with a last dimension of 3 "
            "colours, is wanted: one volume and, of several channels, one (volume[0, 0])."
        )
    if colours and volume.dtype != np.uint8 and not (volume.min() >= 0 and volume.max() <= 1):
        raise ImageError(
            f"the volume's colours run from {volume.min():g} to {volume.max():g}; uint8, or float "
            "from 0 to 1, is wanted."
        )
    if map_.ndim != 3 or 0 in map_.shape:
        raise ImageError(
            f"the map is {map_.shape}; (depth, height, width) is wanted: pass one map (maps[0])."
        )
    return volume, map_


def _range_of(volume: np.ndarray) -> Limits:
    finite = volume[np.isfinite(volume)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def _greys(values: np.ndarray, grey: Limits) -> np.ndarray:
    shares = np.nan_to_num(to_unit(values, checked_limits(grey)))
    greys: np.ndarray = np.rint(shares * 255).astype(np.uint8)
    return greys


def _cut(map_: np.ndarray, length: int, which: list[int], size: tuple[int, ...]) -> np.ndarray:
    """The wanted slices of a map, (count, *size), as it lies on a volume of so many slices."""
    depth = taps(0, length, map_.shape[0], length)
    values = np.zeros((len(which), *map_.shape[1:]), np.float32)
    for cells, shares in zip(depth.cells[:, which], depth.shares[:, which], strict=True):
        values += np.where(shares[:, None, None] > 0, map_[cells], 0) * shares[:, None, None]
    rows, columns = (
        taps(0, pixels, cells, pixels) for pixels, cells in zip(size, map_.shape[1:], strict=True)
    )
    return resized(values, rows, columns)


def _columns(count: int, proportion: float, words: float) -> tuple[int, float]:
    """How many slices (rows over columns: `proportion`) side by side, and their longer side.

    Each stands over its `words`, which have a width.
    """
    width, height = _LARGEST_SIDE * min(1, 1 / proportion), _LARGEST_SIDE * min(1, proportion)
    cell = (height + _CAPTION) / max(width, words)
    wanted = max(1, round((1.6 * count * cell) ** 0.5))  # of a page a little wider than high
    possible = [c for c in range(wanted - 1, wanted + 2) if 1 <= c <= count] or [count]
    columns = min(possible, key=lambda c: (-count % c, abs(c - wanted)))  # fill the last row
    room = (_WIDEST - BAR_ROOM) / columns - _GAP
    return columns, min(_LARGEST_SIDE, max(_SMALLEST_SIDE, room * max(1.0, proportion)))


def _greatest(map_: np.ndarray, size: tuple[int, ...]) -> str | None:
    """Where the map is greatest, in words; None for one that is the same everywhere."""
    finite = np.where(np.isfinite(map_), map_, -np.inf)
    if finite.max() == finite.min():
        return None
    peak = np.unravel_index(finite.argmax(), map_.shape)
    center = [
        str(int((place + 0.5) * whole / cells))
        for place, whole, cells in zip(peak, size, map_.shape, strict=True)
    ]
    return f"greatest at {', '.join(center)}"
