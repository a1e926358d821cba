"""Where a map says the object is: boxes and masks.

Everything here reads a raw map `(height, width)`: a pixel belongs to the object if its value is
above a share of the map's largest. Therefore only what speaks *for* the target counts; a map
without a positive value (all zero, all negative) has an empty mask and no box, a constant positive
one is a mask and a box of the whole map. NaN and infinite values belong to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seewhy.errors import ImageError, MethodError

_MOST_AT_ONCE = 20_000_000  # components × thresholds kept in memory by `sweep`


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of the picture: `x0 <= x < x1`, `y0 <= y < y1`.

    A map gives whole numbers and a score; annotated data gives a label, and fractions of a pixel
    where the annotator drew them.

    Attributes:
        x0: left edge, measured from the picture's left edge.
        y0: upper edge, from the picture's upper edge.
        x1: right edge, the first pixel that is no longer inside.
        y1: lower edge, likewise.
        label: the data's own name of the object's class; empty where a map gave the box.
        difficult: what the data marks as hard to see (VOC), or as a crowd (COCO).
        score: the largest value of the map inside of the component that the box surrounds; None
            where the data gave the box.
    """

    x0: float
    y0: float
    x1: float
    y1: float
    label: str = ""
    difficult: bool = False
    score: float | None = None

    @property
    def area(self) -> float:
        """In pixels."""
        return (self.x1 - self.x0) * (self.y1 - self.y0)

    def as_tuple(self) -> tuple[float, float, float, float]:
        """`(x0, y0, x1, y1)`, as most libraries take a box."""
        return self.x0, self.y0, self.x1, self.y1


@dataclass(frozen=True, eq=False)
class Components:
    """The connected components of a map at many thresholds, one row for each that there is.

    Attributes:
        thresholds: (m,) which threshold, by its place in what `sweep` was given.
        areas: (m,) in pixels.
        boxes: (m, 4) x0, y0, x1, y1 with exclusive ends.
        firsts: (m,) each component's first pixel, counted along the rows.
    """

    thresholds: np.ndarray
    areas: np.ndarray
    boxes: np.ndarray
    firsts: np.ndarray

    def largest(self) -> Components:
        """Of each threshold that has any the component of most pixels, of equals the first."""
        order = np.lexsort((self.firsts, -self.areas, self.thresholds))
        _, place = np.unique(self.thresholds[order], return_index=True)
        kept = order[place]
        return Components(
            self.thresholds[kept], self.areas[kept], self.boxes[kept], self.firsts[kept]
        )


def mask(
    map_: np.ndarray, *, threshold: float = 0.15, largest: bool = False, connectivity: int = 8
) -> np.ndarray:
    """The pixels above `threshold` times the map's maximum: bool (height, width).

    Args:
        map_: raw values.
        threshold: the share: 0.15 is Grad-CAM's (section 4.1), 0.2 CAM's (section 3.2). 0 takes
            every positive value.
        largest: only the connected component of most pixels, of equals the first along the rows.
        connectivity: 8: pixels that touch at a corner are connected; 4: only those that share an
            edge.

    Raises:
        ImageError: not one map.
        MethodError: a threshold or connectivity that is none.
    """
    values = _checked(map_)
    (limit,) = _limits(values, [threshold])
    above: np.ndarray = values > limit
    if not largest:
        return above
    kept: np.ndarray = _numbered(above, connectivity)[0] == 1
    return kept


def boxes(
    map_: np.ndarray, *, threshold: float = 0.15, largest: bool = True, connectivity: int = 8
) -> tuple[Box, ...]:
    """The box around the largest connected component of the mask, or around each.

    By size of the component, the largest first; of equals the first along the rows.

    Args:
        map_: raw values.
        threshold, connectivity: as `mask` takes them.
        largest: one box at most, Grad-CAM's and CAM's protocol; False gives one a component.

    Raises:
        ImageError, MethodError: as `mask`.
    """
    found = components(map_, threshold=threshold, connectivity=connectivity)[1]
    return found[:1] if largest else found


def components(
    map_: np.ndarray, *, threshold: float = 0.15, connectivity: int = 8
) -> tuple[np.ndarray, tuple[Box, ...]]:
    """The mask's connected components, numbered from 1 by size, and the box around each.

    Args:
        map_: raw values.
        threshold, connectivity: as `mask` takes them.

    Returns:
        Whole numbers (height, width), 0 outside of the mask, and the boxes of 1, 2, ...

    Raises:
        ImageError, MethodError: as `mask`.
    """
    from scipy import ndimage

    values = _checked(map_)
    (limit,) = _limits(values, [threshold])
    numbers, count = _numbered(values > limit, connectivity)
    if not count:
        return numbers, ()
    scores = ndimage.maximum(values, numbers, np.arange(1, count + 1))
    return numbers, tuple(
        Box(columns.start, rows.start, columns.stop, rows.stop, score=float(score))
        for (rows, columns), score in zip(ndimage.find_objects(numbers), scores, strict=True)
    )


def sweep(
    map_: np.ndarray, thresholds: Sequence[float] | np.ndarray, *, connectivity: int = 8
) -> Components:
    """The components that `boxes(largest=False)` finds at each threshold, of all at once.

    By hills, not by thresholds: every pixel climbs to the peak of its hill, and two hills are one
    component at every threshold below the highest pass between them. An upsampled map has few
    hills, so that a thousand thresholds cost little more than one.

    Raises:
        ImageError, MethodError: as `mask`.
    """
    values = _checked(map_)
    limits = _limits(values, thresholds)
    _check_connectivity(connectivity)
    order = np.argsort(limits, kind="stable")
    # How many of the thresholds lie below each pixel: it belongs to the mask of these.
    levels = np.searchsorted(limits[order], values.ravel(), side="left")
    hills, passes = _hills(values, levels, connectivity)
    count = int(hills.max(initial=-1)) + 1
    block = max(1, _MOST_AT_ONCE // max(count, 1))
    parts = [
        _components(hills, levels, passes, count, values.shape[1], start, stop)
        for start, stop in (
            (start, min(start + block, len(order))) for start in range(0, len(order), block)
        )
    ]
    rows = np.concatenate([np.empty((0, 7), np.int64), *parts])
    return Components(order[rows[:, 0]], rows[:, 1], rows[:, 3:], rows[:, 2])


def _hills(
    values: np.ndarray, levels: np.ndarray, connectivity: int
) -> tuple[np.ndarray, np.ndarray]:
    """Each pixel's hill (-1 below all thresholds), and the passes between hills.

    Returns:
        (pixels,) and (passes, 3): the level of the pass and the two hills, the highest first.
    """
    height, width = values.shape
    pixels = values.size
    # Equal values are ordered by place, so that every pixel but a peak has a higher neighbour.
    by_height = np.argsort(values, axis=None, kind="stable")
    rank = np.empty((height, width), np.int64)
    rank.ravel()[by_height] = np.arange(pixels)
    highest = rank.copy()
    for here, there in _neighbours(connectivity):
        np.maximum(highest[here], rank[there], out=highest[here])
        np.maximum(highest[there], rank[here], out=highest[there])
    climbed = by_height[highest.ravel()]
    while not np.array_equal(further := climbed[climbed], climbed):
        climbed = further
    inside = levels > 0
    hills = np.full(pixels, -1)
    hills[inside] = np.unique(climbed[inside], return_inverse=True)[1].ravel()

    grid, heights = hills.reshape(height, width), levels.reshape(height, width)
    found = [np.empty((0, 3), np.int64)]
    for here, there in _neighbours(connectivity):
        one, other = grid[here].ravel(), grid[there].ravel()
        between = (one != other) & (one >= 0) & (other >= 0)
        one, other = one[between], other[between]
        pass_ = np.minimum(heights[here].ravel()[between], heights[there].ravel()[between])
        found.append(np.stack([pass_, np.minimum(one, other), np.maximum(one, other)], axis=1))
    passes = np.concatenate(found)
    # Of the passes between the same two hills only the highest matters.
    passes = passes[np.lexsort((-passes[:, 0], passes[:, 2], passes[:, 1]))]
    new = np.ones(len(passes), bool)
    new[1:] = (passes[1:, 1:] != passes[:-1, 1:]).any(1)
    passes = passes[new]
    return hills, passes[np.argsort(-passes[:, 0], kind="stable")]


def _components(
    hills: np.ndarray,
    levels: np.ndarray,
    passes: np.ndarray,
    count: int,
    width: int,
    start: int,
    stop: int,
) -> np.ndarray:
    """The components at the thresholds `start` to `stop`: (m, 7) threshold, area, first, box."""
    own = np.minimum(levels, stop) - start  # thresholds of this block that a pixel is above
    inside = np.flatnonzero(own > 0)
    at = (hills[inside], own[inside] - 1)
    areas = np.zeros((count, stop - start), np.int32)
    np.add.at(areas, at, 1)
    # Smallest first pixel, x0, y0, -x1, -y1: one minimum serves all five.
    y, x = np.divmod(inside, width)
    extents = np.full((count, stop - start, 5), np.iinfo(np.int32).max, np.int32)
    for place, extent in enumerate((inside, x, y, -x - 1, -y - 1)):
        np.minimum.at(extents[..., place], at, extent.astype(np.int32))
    # What is above a threshold is above all lower ones.
    areas = areas[:, ::-1].cumsum(1, dtype=np.int32)[:, ::-1]
    extents = np.minimum.accumulate(extents[:, ::-1], axis=1)[:, ::-1]

    leader = list(range(count))

    def leader_of(hill: int) -> int:
        while leader[hill] != hill:
            leader[hill] = leader[leader[hill]]
            hill = leader[hill]
        return hill

    for height, one, other in passes[passes[:, 0] > start].tolist():
        kept, gone = leader_of(one), leader_of(other)
        if kept == gone:
            continue
        leader[gone] = kept
        below = slice(0, min(height, stop) - start)
        areas[kept, below] += areas[gone, below]
        areas[gone, below] = 0
        np.minimum(extents[kept, below], extents[gone, below], out=extents[kept, below])
    hill, threshold = np.nonzero(areas)
    found = extents[hill, threshold].astype(np.int64)
    found[:, 3:] *= -1
    sizes = areas[hill, threshold]
    return np.concatenate([start + threshold[:, None], sizes[:, None], found], axis=1)


_Place = tuple[slice, slice]


def _neighbours(connectivity: int) -> list[tuple[_Place, _Place]]:
    """Pairs of views of one grid that lie one step apart: every edge of the grid once."""
    later, earlier, all_ = slice(1, None), slice(None, -1), slice(None)
    edges = [((all_, earlier), (all_, later)), ((earlier, all_), (later, all_))]
    corners = [((earlier, earlier), (later, later)), ((earlier, later), (later, earlier))]
    return edges + corners if connectivity == 8 else edges


def _numbered(above: np.ndarray, connectivity: int) -> tuple[np.ndarray, int]:
    """Each component's number from 1, by size, of equals the first along the rows."""
    _check_connectivity(connectivity)
    from scipy import ndimage

    structure = np.ones((3, 3), int) if connectivity == 8 else None
    labels, count = ndimage.label(above, structure=structure)
    by_size = np.argsort(-np.bincount(labels.ravel())[1:], kind="stable")
    number = np.zeros(count + 1, labels.dtype)
    number[1 + by_size] = np.arange(1, count + 1)
    return number[labels], int(count)


def _checked(map_: np.ndarray) -> np.ndarray:
    """The map with -inf for what is not finite."""
    values = np.asarray(map_)
    if values.ndim != 2 or not values.size:
        raise ImageError(f"the map must be one map (height, width), not {values.shape}.")
    if not np.issubdtype(values.dtype, np.floating):
        values = values.astype(np.float64)
    finite = np.isfinite(values)
    return values if finite.all() else np.where(finite, values, -np.inf)


def _limits(values: np.ndarray, thresholds: Sequence[float] | np.ndarray) -> np.ndarray:
    """The values that a pixel must be above; infinity where the map has nothing positive."""
    shares = np.asarray(thresholds, np.float64)
    if shares.ndim != 1 or not np.all((shares >= 0) & (shares < 1)):
        raise MethodError(
            "threshold must be at least 0 and below 1 (a share of the map's maximum, "
            f"such as 0.15), not {thresholds!r}."
        )
    most = float(values.max())
    if most <= 0:
        return np.full(shares.shape, np.inf, values.dtype)
    limits: np.ndarray = (shares * most).astype(values.dtype)
    return limits


def _check_connectivity(connectivity: int) -> None:
    if connectivity not in (4, 8):
        raise MethodError(
            "connectivity must be 8 (pixels may touch at corners) or 4 (pixels share "
            f"an edge), not {connectivity}."
        )
