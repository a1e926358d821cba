"""Which values get the first and the last colour, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from seewhy.errors import ImageError
from seewhy.render.colormap import Limits, checked_limits, common_largest
from seewhy.render.text import short_number

Start = Literal["zero", "min"]
STARTS: tuple[str, ...] = ("zero", "min")

# A minimum above this share of the maximum says nothing about where the map is strong: RISE's maps
# run from .54 to .67, and from 0 all of that looks the same.
_HIGH_MINIMUM = 0.25
# Values below 0 by less than this share of the largest are rounding, not evidence against.
_AGAINST = 0.02


@dataclass(frozen=True)
class Scale:
    """The values of the first and the last colour.

    Attributes:
        low, high: those values; of a signed scale the one furthest from 0 sets both colours.
        signed: whether values below 0 have colours of their own.
        reason: why the scale starts where it does, in words.
        largest: the largest value of all (of a signed scale: the one furthest from 0).
        least: the least value of all.
    """

    low: float
    high: float
    signed: bool
    reason: str
    largest: float
    least: float

    @property
    def empty(self) -> bool:
        """Whether no value has a colour, because all are the same."""
        return self.low == self.high

    @property
    def furthest(self) -> float:
        """Of a signed scale: the distance from 0 of its strongest colour."""
        return max(abs(self.low), abs(self.high))

    @property
    def ends(self) -> tuple[float, float]:
        """The shares that `shares` gives the scale's two ends."""
        if self.signed and not self.empty:
            return self.low / self.furthest, self.high / self.furthest
        return 0.0, 1.0

    def shares(self, values: np.ndarray) -> np.ndarray:
        """Values as shares of the scale: 0 to 1, of a signed one -1 to 1; float32, NaN stays."""
        values = np.asarray(values, np.float32)
        if self.empty:
            return np.where(np.isnan(values), values, np.float32(0))
        low, high = self.ends
        start, extent = (0.0, self.furthest) if self.signed else (self.low, self.high - self.low)
        if extent > 1e-30:  # in float32, unless that would overflow
            shares = (values - np.float32(start)) / np.float32(extent)
        else:
            shares = ((values.astype(np.float64) - start) / extent).astype(np.float32)
        return np.clip(shares, low, high, out=shares)

    def value(self, share: float) -> float:
        """The value of a share."""
        if self.signed:
            return share * self.furthest
        return self.low + share * (self.high - self.low)

    def words(self) -> str:
        """The scale and its reason in one sentence."""
        if self.empty:
            return "no scale, because all values are the same"
        ends = f"scale from {short_number(self.low)} to {short_number(self.high)}"
        beyond = ""
        if self.largest > max(self.high, -self.low if self.signed else self.high):
            beyond = f" (the largest value is {short_number(self.largest)})"
        return f"{ends}{beyond}: {self.reason}" if self.reason else f"{ends}{beyond}"


def scale_of(
    maps: Iterable[np.ndarray], *, limits: Limits | None = None, start: str | None = None
) -> Scale:
    """The scale that holds all these maps.

    It starts at 0, unless every minimum is above 25 % of the maximum: then at the least minimum.
    It is signed, and reaches as far below 0 as above, if a map's minimum is below -2 % of its
    maximum.
    It ends at the largest value but for the 0.5 % of a large map's positions furthest from 0.

    Args:
        maps: of any shape; NaN and infinite values do not count.
        limits: the values of the first and the last colour, instead.
        start: "zero" or "min", whatever the minimum is.

    Raises:
        ImageError: limits that are not a range, another start, or both.
    """
    if start is not None and start not in STARTS:
        raise ImageError(f"scale is {start!r}; 'zero' or 'min' is wanted.")
    finite = [one[np.isfinite(one)] for one in map(np.asarray, maps)]
    finite = [one for one in finite if one.size]
    least = min((float(one.min()) for one in finite), default=0.0)
    greatest = max((float(one.max()) for one in finite), default=0.0)
    if limits is not None:
        if start is not None:
            raise ImageError("limits and scale both say where the colours start; give one of them.")
        low, high = checked_limits(limits)
        largest = max(greatest, -least) if low < 0 <= high else greatest
        return Scale(low, high, low < 0 <= high, "the limits are given", largest, least)
    furthest = max(greatest, -least)
    if start != "min" and any(one.min() < -_AGAINST * np.abs(one).max() for one in finite):
        end = max(common_largest(one, signed=True) for one in finite)
        return Scale(-end, end, True, "as far below 0 as above it", furthest, least)
    end = max((common_largest(one, signed=False) for one in finite), default=0.0)
    floating = bool(finite) and all(one.min() > _HIGH_MINIMUM * greatest for one in finite)
    if (start == "min" or (floating and start is None)) and least < end:
        reason = "it starts at the minimum"
        if start is None:
            share = f"{100 * least / greatest:.0f} % of the maximum"
            reason = f"it starts at the minimum, because that is {share}"
        return Scale(least, end, False, reason, greatest, least)
    return Scale(0.0, max(end, 0.0), False, "", greatest, least)
