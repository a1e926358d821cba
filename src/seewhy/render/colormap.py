"""From numbers to colours: ranges, and matplotlib's colour maps by name."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from seewhy.errors import ImageError

# Chosen by looking at them over photographs. Black at 0 leaves the picture its own hues and only
# darkens it; viridis and plasma tint all of it purple. Red for, blue against is what people expect
# of a signed map.
SEQUENTIAL = "inferno"
DIVERGING = "RdBu_r"
NOT_A_NUMBER = (128, 128, 128)  # grey, which neither default map contains

# Of a map's positions. Beside the few strongest of 50,000 pixels nothing else would be seen: 99 %
# of guided Grad-CAM's values lie below a tenth of its largest. Of 14×14 positions none is beyond.
BEYOND = 0.005

Limits = tuple[float, float]


def colorize(values: np.ndarray, colormap: str = SEQUENTIAL) -> np.ndarray:
    """Values from 0 to 1 as colours: any shape → shape + (3,), uint8 RGB.

    Values beyond 0 and 1 take the end colours, NaN is grey.

    Raises:
        ImageError: matplotlib has no colour map of that name.
    """
    values = np.asarray(values, np.float32)
    missing = np.isnan(values)
    places = np.clip(np.where(missing, 0, values), 0, 1)
    # Equal bins, one a colour, as matplotlib itself looks them up.
    table = table_of(colormap)
    colors = table[np.minimum((places * len(table)).astype(np.intp), len(table) - 1)]
    colors[missing] = NOT_A_NUMBER
    return colors


def value_range(heatmaps: Iterable[np.ndarray], signed: bool) -> Limits:
    """The range that holds all these maps: from 0 to the largest, or as far below 0 as above.

    NaN and infinite values do not count; where nothing lies above 0 the range is (0, 0).
    """
    largest = 0.0
    for heatmap in heatmaps:
        heatmap = np.asarray(heatmap)
        finite = heatmap[np.isfinite(heatmap)]
        if finite.size:
            values = np.abs(finite) if signed else finite
            largest = max(largest, float(values.max()))
    return (-largest, largest) if signed and largest else (0.0, largest)


def common_largest(values: np.ndarray, signed: bool) -> float:
    """The largest value but for the 0.5 % of the positions that lie furthest from 0.

    Of maps with up to 200 positions that is none; where nothing else lies above 0 they count too.
    """
    high = value_range([values], signed)[1]
    values = np.abs(values) if signed else np.asarray(values)
    finite = values[np.isfinite(values)]
    common = float(np.quantile(finite, 1 - BEYOND, method="higher")) if finite.size else 0.0
    return common if common > 0 else high


def color_range(heatmaps: Iterable[np.ndarray], signed: bool) -> Limits:
    """`value_range` but for the 0.5 % of each map's positions that lie furthest from 0."""
    largest = max((common_largest(one, signed) for one in heatmaps), default=0.0)
    return (-largest, largest) if signed and largest else (0.0, largest)


def to_unit(values: np.ndarray, limits: Limits) -> np.ndarray:
    """Values as a share of `limits`, 0 to 1, float32; NaN stays. An empty range gives 0."""
    low, high = limits
    values = np.asarray(values, np.float32)
    if low == high:
        return np.where(np.isnan(values), values, np.float32(0))
    # In float64: the smallest float32 ranges would overflow. Still smaller ones may.
    with np.errstate(over="ignore"):
        shares = (values.astype(np.float64) - low) / (high - low)
    return np.clip(shares, 0, 1).astype(np.float32)


def has_negative(heatmap: np.ndarray) -> bool:
    """Whether any value lies below 0."""
    return bool((np.asarray(heatmap) < 0).any())


def furthest_from_zero(values: np.ndarray) -> float:
    """The value furthest from 0, with its sign; NaN where none is finite."""
    finite = values[np.isfinite(values)]
    return float(finite[np.abs(finite).argmax()]) if finite.size else math.nan


def default_colormap(limits: Limits) -> str:
    """The diverging one for a range centred at 0, the sequential one for any other."""
    low, high = limits
    return DIVERGING if low == -high and high > 0 else SEQUENTIAL


def checked_limits(limits: Limits) -> Limits:
    """`limits` as two finite floats in order."""
    try:
        low, high = (float(limit) for limit in limits)
    except (TypeError, ValueError):
        low, high = math.nan, math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ImageError(
            f"limits is {limits!r}; two finite numbers are wanted, the lower one first."
        )
    return low, high


def table_of(colormap: str) -> np.ndarray:
    """(colours, 3) uint8, from 0 to 1: 256 of most maps, 10 of `tab10`."""
    from matplotlib import colormaps

    if colormap not in colormaps:
        from difflib import get_close_matches

        near = get_close_matches(str(colormap), list(colormaps), n=3)
        advice = f"did you mean {' or '.join(near)}?" if near else "try inferno, viridis or jet."
        raise ImageError(f"matplotlib has no colour map '{colormap}'; {advice}")
    found = colormaps[colormap]
    colors: np.ndarray = found(np.arange(found.N), bytes=True)
    return np.ascontiguousarray(colors[:, :3])
