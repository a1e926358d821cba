"""Does the map lie on the object? Every measure reads maps and where the object truly is.

Maps `(..., height, width)` are raw arrays or tensors at the resolution of the truth, such as
`Explanation.heatmap` on the original picture, or everything resized to the model's input: sizes
that differ are refused, never resized in silence. The leading dimensions are a batch. True boxes
are (x0, y0, x1, y1) with exclusive ends, or objects with such fields; several boxes are several
instances. A measure that is not defined is NaN: no object, or a map that says nothing.

Photographs have their subject in the middle. `centre_point`, `centre_gaussian` and
a map of ones (the whole image) score well for that alone, and belong beside every figure;
`centre_misses` and `covers_little` find the images on which they do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from seewhy.boxes import boxes as boxes_of
from seewhy.boxes import mask as mask_of
from seewhy.boxes import sweep
from seewhy.errors import MetricError
from seewhy.metrics.metric import Metric

if TYPE_CHECKING:
    from torch import Tensor

_MANY_POINTS = 8  # from then on the distances of all pixels are found at once
THRESHOLDS = np.arange(1000) / 1000  # Choe 2020; every tenth is their faster setting


# Pointing.


def pointing_game(
    maps: Any, regions: Any, *, tolerance: float = 15.0, ties: str = "mean"
) -> np.ndarray:
    """1 where the map's maximum lies on the object, 0 where not (Zhang 2018, section 5.1).

    Args:
        maps: (..., height, width).
        regions: bool (..., height, width), the object's pixels.
        tolerance: pixels; a maximum less than this from the object counts as a hit. TorchRay's 15
            at a shorter side of 224; 0 is none.
        ties: where several pixels are the maximum. "mean": the share of them that hit, what a
            random choice among them scores on average, so that a constant map scores as much as
            the object covers. "first": the first along the rows decides, as argmax in TorchRay
            does; a zero map then points at a corner. "any": one hit is enough, as in Quantus; a
            constant map then always hits.

    Returns:
        (...), NaN where there is no object or no finite value.
    """
    values, regions = _pair(maps, regions)
    if tolerance < 0 or ties not in ("mean", "first", "any"):
        raise MetricError(
            f"tolerance={tolerance} and ties='{ties}' were given; pixels from 0 and 'mean', "
            "'first' or 'any' are wanted."
        )
    most = values.max((-2, -1), keepdims=True)
    at_maximum = values == most
    hits = np.full(values.shape[:-2], np.nan)
    for index in np.ndindex(hits.shape):
        if not regions[index].any() or not np.isfinite(most[index]):
            continue
        hit = _hits(regions[index], np.argwhere(at_maximum[index]), tolerance)
        hits[index] = {"mean": hit.mean(), "first": hit[0], "any": hit.any()}[ties]
    return hits


def energy_pointing(maps: Any, regions: Any, *, scaling: str = "none") -> np.ndarray:
    """The share of the map's positive values that lies on the object (Score-CAM, section 4.3).

    Args:
        maps: (..., height, width).
        regions: bool (..., height, width). The paper's are the boxes, filled.
        scaling: "none" takes what is positive; "min-max" first shifts the map to begin at 0, as
            the paper's code does, which gives every pixel of a signed map a share.

    Returns:
        (...), NaN where there is no object or nothing positive.
    """
    values, regions = _pair(maps, regions)
    positive = _scaled(values, scaling).clip(0, None)
    total = positive.sum((-2, -1), dtype=np.float64)
    inside = np.where(regions, positive, 0).sum((-2, -1), dtype=np.float64)
    defined = (total > 0) & regions.any((-2, -1))
    return np.where(defined, inside / np.where(defined, total, 1), np.nan)


# Boxes.


def box_iou(ones: Any, others: Any) -> np.ndarray:
    """Intersection over union of each of n boxes with each of m: (n, m).

    0 for boxes without an area. Edges are where they are, to the fraction of a pixel; Choe's code
    takes exclusive ends for inclusive ones and so adds a pixel to each side.
    """
    first, second = corners(ones), corners(others)
    return _iou(first[:, None], second[None])


def box_overlap(
    map_: Any,
    boxes: Any,
    *,
    threshold: float = 0.15,
    largest: bool = True,
    connectivity: int = 8,
    scaling: str = "none",
) -> float:
    """The best IoU of the map's box with any of the true ones.

    Args:
        map_: (height, width).
        boxes: the true ones.
        threshold: a share of the maximum: 0.15 is Grad-CAM's, 0.2 CAM's.
        largest: the box of the largest component; False takes the best of all components'.
        connectivity: as `seewhy.boxes.boxes` takes it.
        scaling: "none" thresholds the raw map, "min-max" the map scaled to 0 to 1 first.

    Returns:
        0 for a map without a box, NaN without a true one.
    """
    truth = corners(boxes)
    if not len(truth):
        return float("nan")
    found = boxes_of(
        _scaled(_one(map_), scaling),
        threshold=threshold,
        largest=largest,
        connectivity=connectivity,
    )
    return float(box_iou(found, truth).max(initial=0))


def box_accuracy(
    map_: Any,
    boxes: Any,
    *,
    iou: float = 0.5,
    threshold: float = 0.15,
    largest: bool = True,
    connectivity: int = 8,
    scaling: str = "none",
) -> float:
    """1 where `box_overlap` is at least `iou`, 0 where not; NaN without a true box.

    The localisation of CAM and Grad-CAM for a known class. Their tables also count a wrong class
    as a miss; which class is explained is the caller's.
    """
    overlap = box_overlap(
        map_, boxes,
        threshold=threshold, largest=largest, connectivity=connectivity, scaling=scaling,
    )  # fmt: skip
    return overlap if np.isnan(overlap) else float(overlap >= iou)


def box_overlaps(
    map_: Any,
    boxes: Any,
    *,
    thresholds: Sequence[float] | np.ndarray = THRESHOLDS,
    largest: bool = False,
    connectivity: int = 8,
    scaling: str = "min-max",
) -> np.ndarray:
    """`box_overlap` at every threshold: (thresholds,), 0 where there is no box.

    What MaxBoxAcc is made of (Choe 2020, section 4.1; their `cam_curve_interval`). `largest=True`
    is its first version, False the second (2022). Their code rounds the map to 256 values, takes
    the largest component by the area within its outline, and in the second version also offers the
    boxes of holes; here every pixel counts and holes are none.
    """
    truth = corners(boxes)
    count = len(np.asarray(thresholds))
    if not len(truth):
        return np.full(count, np.nan)
    found = sweep(_scaled(_one(map_), scaling), thresholds, connectivity=connectivity)
    if largest:
        found = found.largest()
    overlaps = np.zeros(count)
    for true in truth:  # few; the components may be a million
        np.maximum.at(overlaps, found.thresholds, _iou(found.boxes, true))
    return overlaps


def box_accuracy_curve(
    overlaps: np.ndarray, *, ious: Sequence[float] = (0.3, 0.5, 0.7)
) -> np.ndarray:
    """The share of images placed right, for each IoU and threshold: (ious, thresholds).

    Args:
        overlaps: (images, thresholds) of `box_overlaps`; images without a true box do not count.
        ious: 0.5 alone is MaxBoxAcc, the three MaxBoxAccV2.
    """
    defined = _defined(overlaps)
    return np.stack([(defined >= iou).mean(0) for iou in ious])


def choose_thresholds(
    overlaps: np.ndarray, *, ious: Sequence[float] = (0.3, 0.5, 0.7)
) -> tuple[int, ...]:
    """For each IoU the place of the threshold that places most images right, of equals the first.

    From the overlaps of a split that is not reported.
    """
    return tuple(int(place) for place in box_accuracy_curve(overlaps, ious=ious).argmax(1))


def box_hits(
    overlaps: np.ndarray,
    *,
    ious: Sequence[float] = (0.3, 0.5, 0.7),
    chosen: Sequence[int] | None = None,
) -> np.ndarray:
    """(images,): each image's share of the IoUs that it reaches; the mean is MaxBoxAcc.

    Args:
        overlaps: (images, thresholds) of `box_overlaps`.
        ious: as `box_accuracy_curve` takes them.
        chosen: a threshold's place for each IoU, from `choose_thresholds` on another split. None
            chooses on these images themselves, as the published tables do: an upper bound.
    """
    overlaps = np.asarray(overlaps, np.float64)
    places = choose_thresholds(overlaps, ious=ious) if chosen is None else tuple(chosen)
    if len(places) != len(ious):
        raise MetricError(f"{len(places)} thresholds were chosen for {len(ious)} IoUs.")
    reached = np.stack(
        [overlaps[:, place] >= iou for place, iou in zip(places, ious, strict=True)], axis=1
    )
    return np.where(np.isnan(overlaps).any(1), np.nan, reached.mean(1))


# Masks.


def mask_overlap(
    map_: Any,
    region: Any,
    *,
    threshold: float = 0.15,
    largest: bool = False,
    connectivity: int = 8,
    scaling: str = "none",
    ignore: Any = None,
) -> float:
    """IoU of the map's mask with the object's pixels; NaN where there is no object.

    Args:
        map_: (height, width).
        region: bool (height, width), the object's pixels.
        threshold, largest, connectivity, scaling: as `box_overlap` takes them.
        ignore: bool (height, width), pixels that do not count, such as Pascal VOC's borders.
    """
    values, truth = _pair(_one(map_), region)
    found = mask_of(
        _scaled(values, scaling), threshold=threshold, largest=largest, connectivity=connectivity
    )
    if ignore is not None:
        counted = ~_pair(values, ignore)[1]
        found, truth = found & counted, truth & counted
    if not truth.any():
        return float("nan")
    return float((found & truth).sum() / (found | truth).sum())


def pixel_histogram(
    map_: Any,
    region: Any,
    *,
    interval: float = 0.001,
    scaling: str = "min-max",
    ignore: Any = None,
) -> np.ndarray:
    """How many pixels on the object, and beside it, have each value: int64 (2, bins).

    Histograms of several images are added, and give `pixel_average_precision` of all. The bins
    begin at 0, interval, 2 interval ... and 1; what is below 0 is in the first.

    Args:
        map_: (height, width).
        region: bool (height, width), the object's pixels.
        interval: the width of a bin.
        scaling: "min-max" (Choe 2020), or "none": shares of the map's maximum.
        ignore: bool (height, width), pixels that do not count.
    """
    values, truth = _pair(_one(map_), region)
    scaled = _scaled(values, scaling)
    if scaling == "none":
        most = scaled.max()
        scaled = scaled / most if most > 0 else np.zeros_like(scaled)
    edges = np.append(np.arange(0, 1, interval), 1.0)
    bins = np.searchsorted(edges, scaled.astype(np.float64), side="right") - 1
    bins = bins.clip(0, None)
    counted = np.ones_like(truth) if ignore is None else ~_pair(values, ignore)[1]
    return np.stack(
        [np.bincount(bins[counted & side], minlength=len(edges)) for side in (truth, ~truth)]
    )


def pixel_average_precision(histogram: np.ndarray) -> np.ndarray:
    """PxAP: the area under precision over recall of all pixels (Choe 2020, section 4.1).

    Of values of `pixel_histogram` (..., 2, bins), each of an image or the sum of those of several:
    (...), NaN without an object. In a sum large pictures weigh more; the paper has all at one size,
    which a histogram over its picture's number of pixels repeats.
    """
    true, false = np.moveaxis(np.asarray(histogram, np.float64)[..., ::-1].cumsum(-1), -2, 0)
    named = true + false
    precision = np.divide(true, named, out=np.zeros_like(true), where=named > 0)
    area = (precision * np.diff(true, prepend=0)).sum(-1)
    whole = true[..., -1]
    return np.where(whole > 0, area / np.where(whole > 0, whole, 1), np.nan)


# The grid pointing game (Rao, Böhle and Schiele 2022).


def choose_collages(
    classes: Sequence[int] | np.ndarray, *, count: int, side: int = 2, seed: int = 0
) -> np.ndarray:
    """Which images to lay together: (n, side²) places, no class twice in one collage.

    Each image lies in one collage at most, so that collages are independent of each other and the
    intervals over them hold. Where the images do not suffice for `count`, n is smaller.

    Args:
        classes: of each image. The paper takes images that the model gives 0.99 or more.
        count: the most collages.
        side: images along each side.
        seed: of the draws; a larger count has all collages of a smaller one.

    Raises:
        MetricError: fewer classes than a collage has images.
    """
    classes = np.asarray(classes)
    known = np.unique(classes)
    if len(known) < side**2:
        raise MetricError(
            f"a collage of {side} × {side} needs {side**2} classes; the images have {len(known)}."
        )
    random = np.random.default_rng(seed)
    left = {class_: random.permutation(np.flatnonzero(classes == class_)) for class_ in known}
    chosen: list[list[int]] = []
    while len(chosen) < count and len(left) >= side**2:
        # As often as there are images of a class, so that few remain without a partner.
        sizes = np.array([len(places) for places in left.values()])
        drawn = random.choice([*left], side**2, replace=False, p=sizes / sizes.sum())
        chosen.append([int(left[class_][0]) for class_ in drawn])
        left = {
            class_: rest
            for class_, places in left.items()
            if len(rest := places[1:] if class_ in drawn else places)
        }
    return np.array(chosen, np.int64)


def collage(images: Tensor, places: np.ndarray, *, side: int = 2) -> Tensor:
    """Images (m, channels, h, w) → (n, channels, side·h, side·w), cells along the rows.

    Args:
        images: prepared for the model.
        places: (n, side²), as `choose_collages` gives them.
        side: images along each side.
    """
    cells = images[places.ravel().tolist()]
    _, channels, height, width = images.shape
    return (
        cells.reshape(-1, side, side, channels, height, width)
        .permute(0, 3, 1, 4, 2, 5)
        .reshape(-1, channels, side * height, side * width)
    )


def grid_pointing(maps: Any, cells: Any, *, side: int = 2) -> np.ndarray:
    """The share of the positive values that lies in the class's own cell.

    Args:
        maps: (..., height, width) of collages, each for the class of one of its cells; both sides
            are multiples of `side`. The paper's are at the collage's size: a map resized to it
            has values that belong to two cells near the borders.
        cells: (...), which cell, counted along the rows.
        side: cells along each side.

    Returns:
        (...), 1/side² for a constant map, NaN where nothing is positive.
    """
    values = _finite(_array(maps))
    height, width = values.shape[-2:]
    cells = np.broadcast_to(np.asarray(_array(cells), np.int64), values.shape[:-2])
    if height % side or width % side or (cells < 0).any() or (cells >= side**2).any():
        raise MetricError(
            f"maps of {height} × {width} and cells {cells.min()} to {cells.max()} came for a grid "
            f"of {side} × {side}; sides that it divides and cells 0 to {side**2 - 1} are wanted."
        )
    positive = values.clip(0, None).astype(np.float64)
    parts = positive.reshape(*values.shape[:-2], side, height // side, side, width // side)
    energy = parts.sum((-3, -1)).reshape(*values.shape[:-2], side**2)
    own = np.take_along_axis(energy, cells[..., None], axis=-1)[..., 0]
    total = energy.sum(-1)
    return np.where(total > 0, own / np.where(total > 0, total, 1), np.nan)


# Baselines that ignore the image, and the images on which they fail.


def centre_point(size: tuple[int, int]) -> np.ndarray:
    """A map (height, width) that is 1 at the centre (the middle pixels of even sides), else 0."""
    height, width = size
    map_ = np.zeros(size, np.float32)
    map_[(height - 1) // 2 : height // 2 + 1, (width - 1) // 2 : width // 2 + 1] = 1
    return map_


def centre_gaussian(size: tuple[int, int], *, sigma: float = 0.25) -> np.ndarray:
    """A bell (height, width) around the centre: Choe's baseline.

    Args:
        size: (height, width).
        sigma: as a share of each side. Of no matter where the threshold is chosen, and not given
            in the paper.
    """
    down, across = (
        np.exp(-(((np.arange(side) + 0.5) / side - 0.5) ** 2) / (2 * sigma**2)) for side in size
    )
    bell: np.ndarray = (down[:, None] * across).astype(np.float32)
    return bell


def centre_misses(regions: Any, *, tolerance: float = 0.0) -> np.ndarray:
    """Whether `centre_point` misses the object, at least in part: bool (...)."""
    regions = np.asarray(_array(regions), bool)
    centres = np.broadcast_to(centre_point(regions.shape[-2:]), regions.shape)
    missed: np.ndarray = ~(pointing_game(centres, regions, tolerance=tolerance) == 1)
    return missed


def covers_little(regions: Any, *, share: float = 1 / 3) -> np.ndarray:
    """Whether the object covers less than `share` of the image: bool (...)."""
    little: np.ndarray = np.asarray(_array(regions), bool).mean((-2, -1)) < share
    return little


def region(boxes: Any, size: tuple[int, int]) -> np.ndarray:
    """The pixels whose centre lies in any of the boxes: bool (height, width)."""
    height, width = size
    inside = np.zeros(size, bool)
    y, x = np.arange(height) + 0.5, np.arange(width) + 0.5
    for x0, y0, x1, y1 in corners(boxes):
        inside |= ((y0 <= y) & (y < y1))[:, None] & ((x0 <= x) & (x < x1))
    return inside


def corners(boxes: Any) -> np.ndarray:
    """Boxes as float64 (n, 4): from numbers, or from objects with x0, y0, x1, y1."""
    if not isinstance(boxes, np.ndarray):
        boxes = [
            (one.x0, one.y0, one.x1, one.y1) if hasattr(one, "x0") else tuple(map(float, one))
            for one in boxes
        ]
    array = np.asarray(boxes, np.float64)
    if array.size == 0:
        return np.empty((0, 4))
    if array.ndim != 2 or array.shape[1] != 4:
        raise MetricError(f"boxes of shape {array.shape} came; (n, 4) is wanted: x0, y0, x1, y1.")
    return array


def _iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Of boxes (..., 4) that broadcast."""
    sides = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(
        first[..., :2], second[..., :2]
    )
    shared = sides.clip(0, None).prod(-1)
    areas = sum((one[..., 2:] - one[..., :2]).clip(0, None).prod(-1) for one in (first, second))
    union = areas - shared
    iou: np.ndarray = np.divide(shared, union, out=np.zeros(shared.shape), where=union > 0)
    return iou


def _hits(region_: np.ndarray, points: np.ndarray, tolerance: float) -> np.ndarray:
    """Of each point (row, column): whether it is on the region or less than `tolerance` away."""
    rows, columns = points.T
    on: np.ndarray = region_[rows, columns]
    if tolerance <= 0:
        return on
    if len(points) > _MANY_POINTS:
        from scipy import ndimage

        near: np.ndarray = (ndimage.distance_transform_edt(~region_) < tolerance)[rows, columns]
        return near
    reach = int(np.ceil(tolerance))
    for place, (row, column) in enumerate(points):
        top, left = max(0, row - reach), max(0, column - reach)
        down, across = np.nonzero(region_[top : row + reach + 1, left : column + reach + 1])
        on[place] |= ((down + top - row) ** 2 + (across + left - column) ** 2 < tolerance**2).any()
    return on


def _defined(overlaps: np.ndarray) -> np.ndarray:
    overlaps = np.asarray(overlaps, np.float64)
    defined = overlaps[~np.isnan(overlaps).any(1)] if overlaps.ndim == 2 else np.empty((0, 0))
    if not defined.size:
        raise MetricError(
            f"overlaps of shape {overlaps.shape} came; (images, thresholds) with at least one "
            "image that has a true box is wanted."
        )
    return defined


def _array(values: Any) -> np.ndarray:
    if hasattr(values, "detach"):  # a tensor, on any device
        values = values.detach().cpu()
        values = values.float() if values.is_floating_point() else values
        values = values.numpy()
    return np.asarray(values)


def _finite(values: np.ndarray) -> np.ndarray:
    """Values as floats, -inf for what is not finite."""
    if not np.issubdtype(values.dtype, np.floating):
        return values.astype(np.float64)
    return np.where(np.isfinite(values), values, -np.inf)


def _one(map_: Any) -> np.ndarray:
    values = _finite(_array(map_))
    if values.ndim != 2 or not values.size:
        raise MetricError(f"the map is {values.shape}; one map (height, width) is wanted.")
    return values


def _pair(maps: Any, regions: Any) -> tuple[np.ndarray, np.ndarray]:
    """Maps and bool regions of one shape."""
    values, truth = _finite(_array(maps)), _array(regions).astype(bool)
    if values.ndim < 2 or values.shape != truth.shape or 0 in values.shape[-2:]:
        raise MetricError(
            f"maps of shape {values.shape} came with regions of {truth.shape}; both are (..., "
            "height, width) of the same size: resize one of them."
        )
    return values, truth


def _scaled(values: np.ndarray, scaling: str) -> np.ndarray:
    """Each map as it is, or from 0 to 1; a constant one becomes 0, as in wsolevaluation."""
    if scaling == "none":
        return values
    if scaling != "min-max":
        raise MetricError(f"scaling='{scaling}' was given; 'none' or 'min-max' is wanted.")
    finite = np.isfinite(values)
    least = np.where(finite, values, np.inf).min((-2, -1), keepdims=True)
    most = values.max((-2, -1), keepdims=True)
    varies = most > least
    least = np.where(varies, least, 0)
    scaled = (values - least) / np.where(varies, most - least, 1)
    return np.where(finite & varies, scaled, 0)


# What they are called, and their protocols.


def _average_precision(sums: np.ndarray) -> np.ndarray:
    return pixel_average_precision(sums.reshape(len(sums), 2, -1))


_CENTRED = ("whole image", "centre Gaussian")

POINTING = Metric(
    title="pointing game",
    better="higher",
    says=(
        "how often the map's maximum lies on the object, or within the tolerance (pixels of a "
        "picture whose shorter side is 224)"
    ),
    source="Zhang 2018",
    needs="region",
    function=pointing_game,
    pixels=("tolerance",),
    baselines=("centre point", "whole image"),
    bounds=(0, 1),
)

ENERGY = Metric(
    title="energy on the object",
    better="higher",
    says="the share of the map's positive values that lies on the object",
    source="Wang 2020 (Score-CAM)",
    needs="region",
    function=energy_pointing,
    baselines=_CENTRED,
    bounds=(0, 1),
)

BOX_IOU = Metric(
    title="box IoU",
    better="higher",
    says="the overlap of the map's box with the true one it fits best",
    source="Zhou 2016 (CAM)",
    needs="boxes",
    function=box_overlap,
    baselines=_CENTRED,
    bounds=(0, 1),
)

BOX_ACCURACY = Metric(
    title="box accuracy",
    better="higher",
    says="how often the map's box reaches the IoU with a true one",
    source="Zhou 2016 (CAM), Selvaraju 2017 (Grad-CAM)",
    needs="boxes",
    function=box_accuracy,
    baselines=_CENTRED,
    bounds=(0, 1),
)

MAX_BOX_ACCURACY = Metric(
    title="MaxBoxAcc",
    better="higher",
    says=(
        "how often the map's box reaches IoU 0.5, at the threshold that does best on other images: "
        "each half of the images takes the other's"
    ),
    source="Choe 2020",
    needs="boxes",
    function=box_overlaps,
    changed={"largest": True, "thresholds": tuple(round(i / 100, 2) for i in range(100))},
    baselines=_CENTRED,
    ious=(0.5,),
    bounds=(0, 1),
)

MAX_BOX_ACCURACY_V2 = Metric(
    title="MaxBoxAccV2",
    better="higher",
    says=(
        "the mean for IoUs of 0.3, 0.5 and 0.7 of how often any of the map's boxes reaches it, at "
        "the thresholds that do best on other images: each half takes the other's"
    ),
    source="Choe 2022",
    needs="boxes",
    function=box_overlaps,
    changed={"largest": False, "thresholds": tuple(round(i / 100, 2) for i in range(100))},
    baselines=_CENTRED,
    ious=(0.3, 0.5, 0.7),
    bounds=(0, 1),
)

MASK_IOU = Metric(
    title="mask IoU",
    better="higher",
    says="the overlap of the pixels above the threshold with the object's",
    source="Zhou 2016 (CAM), Choe 2020",
    needs="mask",
    function=mask_overlap,
    baselines=_CENTRED,
    bounds=(0, 1),
)

PXAP = Metric(
    title="PxAP",
    better="higher",
    says=(
        "the area under precision over recall of the pixels of all pictures, each picture's as many"
    ),
    source="Choe 2020",
    needs="mask",
    function=pixel_histogram,
    value=pixel_average_precision,
    changed={"interval": 0.01},
    baselines=_CENTRED,
    pooled=_average_precision,
    bounds=(0, 1),
)

GRID_POINTING = Metric(
    title="grid pointing",
    better="higher",
    says=(
        "the share of the map's positive values that lies in its own class's cell, of four "
        "pictures of different classes laid side by side at twice the input's size"
    ),
    source="Rao 2022",
    needs="collage",
    function=grid_pointing,
    baselines=("whole image",),
    bounds=(0, 1),
)
