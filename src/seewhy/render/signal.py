"""A signal with its map: the curve, and behind it the map's colours along it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from seewhy.errors import ImageError
from seewhy.render.colormap import (
    DIVERGING,
    Limits,
    checked_limits,
    colorize,
    furthest_from_zero,
    has_negative,
    to_unit,
    value_range,
)
from seewhy.render.feature_maps import resized, taps
from seewhy.render.figure import raw_range
from seewhy.render.page import BAR_ROOM, LINE, NOTE_COLOR, Page
from seewhy.render.text import lettering, plain_font, short_number, wrap

if TYPE_CHECKING:
    from seewhy.render.drawing import Drawing

# On white the maps of pictures, black or nearly white at their ends, would drown the curve or be
# lost: this one is pale where there is nothing and dark red at the top.
SEQUENTIAL = "YlOrRd"

_MARGIN, _GAP = 14.0, 10.0
_WIDTH, _FEW, _MANY = 620.0, 150.0, 56.0  # points; the height of a curve
_NAMES = 70.0
_TITLE, _LABEL, _NOTE = 12.0, 8.0, 8.0
_STRETCHES = 1500  # of one colour, along the curve: more cannot be told apart
_CURVE, _BAND = 0.7, 7.0  # points wide


@dataclass(frozen=True)
class Stretch:
    """Samples `start` up to `end`, drawn in the colour of one value."""

    start: int
    end: int
    value: float


def _check_axis(names: Sequence[str], rate: float | None, channels: int) -> None:
    if names and len(names) != channels:
        raise ImageError(
            f"{len(names)} names came for {channels} channels; one for each is wanted."
        )
    if rate is not None and not 0 < rate < np.inf:
        raise ImageError(f"rate={rate}; a positive number of samples a second is wanted.")


def draw_signal(
    signal: Any,
    map_: Any,
    *,
    names: Sequence[str] = (),
    rate: float | None = None,
    colormap: str | None = None,
    limits: Limits | None = None,
    title: str = "",
) -> Drawing:
    """A signal's curve with the map's colours along it; one curve a channel, on one time axis.

    Args:
        signal: (length,) or (channels, length); an array, or a tensor in the CPU's memory.
        map_: (length,) of any size: resized linearly, as `seewhy.resize_map` does.
        names: of the channels, written beside them.
        rate: samples a second: the axis is then in seconds, otherwise it counts samples.
        colormap: matplotlib's name of one; None takes one that is pale at 0.
        limits: the values of the first and the last colour; None is 0 to the map's largest value,
            or as far below 0 as above for a map with negative values.
        title: written above.

    Raises:
        ImageError: a signal or map of another shape, names that are not one a channel, an unknown
            colour map, or limits that are not a range.

    Example:
        >>> import seewhy, torch
        >>> file = seewhy.draw_signal(torch.randn(500), torch.rand(32), rate=250).save("signal.png")
    """
    from matplotlib.collections import LineCollection

    channels, values = _checked(signal, map_)
    count, length = channels.shape
    _check_axis(names, rate, count)
    if limits is None:
        limits = value_range([values], signed=has_negative(values))
    limits = checked_limits(limits)
    colormap = colormap or (DIVERGING if limits[0] == -limits[1] < 0 else SEQUENTIAL)

    along = taps(0, length, len(values), length)
    rows = taps(0, 1, 1, 1)
    heat = resized(np.where(np.isnan(values), 0, values)[None, None], rows, along)[0, 0]
    holes = resized(np.isnan(values)[None, None].astype(np.float32), rows, along)[0, 0] > 0
    heat[holes] = np.nan
    parts = stretches(heat)
    colors = colorize(to_unit(np.array([part.value for part in parts]), limits), colormap)

    left = _MARGIN + _NAMES
    height = _FEW if count <= 2 else _MANY
    head = wrap(lettering(title), _TITLE, _NAMES + _WIDTH + BAR_ROOM, lines=2) if title else []
    top = _MARGIN + LINE * _TITLE * len(head) + (4 if head else 0)
    bottom = top + count * (height + _GAP) - _GAP
    note = lettering(raw_range(values, missing="grey"))
    page = Page(
        left + _WIDTH + _GAP + BAR_ROOM + _MARGIN,
        bottom + 2 * LINE * _LABEL + 12 + LINE * _NOTE + _MARGIN,
    )
    if head:
        page.write(head, lettering(title).font, _TITLE, _MARGIN, _MARGIN)
    places = np.arange(length) / (rate or 1)
    first, last = places[0], max(places[-1], places[0] + 1 / (rate or 1))
    for number, curve in enumerate(channels):
        place = top + number * (height + _GAP)
        axes = page.figure.add_axes(
            (left / page.width, 1 - (place + height) / page.height,
             _WIDTH / page.width, height / page.height)
        )  # fmt: skip
        axes.set_axis_off()
        points = np.stack([places, curve], 1)
        # Each stretch reaches to the next one's first point, so that the band has no gaps.
        bands = [points[part.start : part.end + 1] for part in parts]
        axes.add_collection(
            LineCollection(
                bands,
                colors=colors / 255,
                linewidths=_BAND,
                capstyle="round",
                joinstyle="round",
                clip_on=False,  # at the highest and lowest points half of its width lies outside
            )
        )
        axes.add_collection(LineCollection([points], colors="black", linewidths=_CURVE))
        low, high = _range_of(curve)
        axes.set_xlim(first, last)
        axes.set_ylim(low - 0.06 * (high - low), high + 0.06 * (high - low))
        if names:
            line = lettering(names[number])
            words = wrap(line, _LABEL, _NAMES - 8, lines=2)
            page.write(words, line.font, _LABEL, _MARGIN, place + height / 2 - _LABEL)
        for value, share in ((high, 0.0), (low, 1.0)):
            page.write(
                [short_number(value)], plain_font(), _LABEL, left - 6,
                place + share * (height - _LABEL), color=NOTE_COLOR, align="right",
            )  # fmt: skip
    for mark in _marks(first, last):
        x = left + _WIDTH * (mark - first) / (last - first)
        page.write([short_number(mark)], plain_font(), _LABEL, x, bottom + 4, align="center")
    unit = "samples" if rate is None else "seconds"
    page.write(
        [unit], plain_font(), _LABEL, left + _WIDTH / 2, bottom + 4 + LINE * _LABEL, align="center"
    )
    page.colour_bar(limits, colormap, left + _WIDTH + _GAP, top, min(bottom - top, 300.0))
    below = bottom + 8 + 2 * LINE * _LABEL
    page.write([note.text], note.font, _NOTE, _MARGIN, below, color=NOTE_COLOR)
    return page.figure


def stretches(heat: np.ndarray) -> list[Stretch]:
    """The samples in runs of about the same length, at most so many as can be told apart.

    A run has its value furthest from 0, so that a short peak is not lost among many samples; and
    what is furthest from 0 comes last, to be drawn over what lies beside it.
    """
    ends = np.linspace(0, len(heat), min(len(heat), _STRETCHES) + 1).astype(int).tolist()
    made = [Stretch(*ends, furthest_from_zero(heat[slice(*ends)])) for ends in pairwise(ends)]
    return sorted(made, key=lambda one: -1 if np.isnan(one.value) else abs(one.value))


def _checked(signal: Any, map_: Any) -> tuple[np.ndarray, np.ndarray]:
    signal, map_ = np.asarray(signal), np.asarray(map_, np.float32)
    if signal.ndim not in (1, 2) or 0 in signal.shape:
        raise ImageError(
            f"the signal is {signal.shape}; (length,) or (channels, length) is wanted: pass one "
            "signal (batch[0])."
        )
    if map_.ndim != 1 or not map_.size:
        raise ImageError(f"the map is {map_.shape}; (length,) is wanted: pass one map (maps[0]).")
    channels: np.ndarray = signal.reshape(-1, signal.shape[-1]).astype(np.float64)
    return channels, map_


def _range_of(curve: np.ndarray) -> Limits:
    finite = curve[np.isfinite(curve)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _marks(first: float, last: float) -> list[float]:
    from matplotlib.ticker import MaxNLocator

    marks = MaxNLocator(8, steps=[1, 2, 2.5, 5, 10]).tick_values(first, last)
    return [float(mark) for mark in marks if first <= mark <= last]
