"""How alike two maps are: by their values, by the order of their pixels, by their structure.

Maps are (n, h, w), compared image by image; a value for each comes back, (n,) float64. A constant
map has no order and nothing to be like: the result is NaN, and so it is where a map holds NaN.

Adebayo 2018 also compares histograms of oriented gradients (HOG). They are left out: their result
hangs on cell size, bins and block scaling, and a CAM of 7 × 7 cells has hardly a gradient to count.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from seewhy.errors import MetricError


def pearson(maps: Tensor, others: Tensor) -> Tensor:
    """The correlation of the pixels' values, from −1 to 1; scale and shift do not matter."""
    _check(maps, others)
    return correlation(maps.flatten(1), others.flatten(1))


def spearman(maps: Tensor, others: Tensor, *, absolute: bool = False) -> Tensor:
    """The correlation of the pixels' ranks, from −1 to 1; ties share their mean rank.

    Args:
        maps: raw maps.
        others: as many, of the same size.
        absolute: compare the strength of the evidence without its sign; Adebayo 2018 gives both,
            since a map turned over (−1) still shows the same places (1).
    """
    _check(maps, others)
    if absolute:
        maps, others = maps.abs(), others.abs()
    one, other = maps.flatten(1).double(), others.flatten(1).double()
    found = correlation(ranks(one), ranks(other))
    broken = one.isnan().any(1) | other.isnan().any(1)  # which would have a rank like any number
    return torch.where(broken, torch.nan, found)


def ranks(values: Tensor) -> Tensor:
    """Each row's ranks from 0, float64; equal values share the mean of their ranks."""
    count = values.shape[1]
    ordered, order = values.sort(1)
    fresh = torch.ones_like(order)
    fresh[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    group = fresh.cumsum(1) - 1
    places = torch.arange(count, dtype=torch.float64, device=values.device).expand(values.shape)
    empty = torch.zeros(values.shape, dtype=torch.float64, device=values.device)
    sums = empty.scatter_add(1, group, places)
    sizes = empty.scatter_add(1, group, torch.ones_like(places))
    return empty.scatter(1, order, (sums / sizes.clamp(min=1)).gather(1, group))


def ssim(
    maps: Tensor,
    others: Tensor,
    *,
    window: int = 5,
    sigma: float = 1.5,
    data_range: float = 1.0,
    absolute: bool = True,
) -> Tensor:
    """Structural similarity (Wang 2004) of maps each scaled to its largest absolute value.

    1 for the same map. It can be negative, but unrelated maps do not come to 0 if they are smooth:
    of Grad-CAM's, 0.2 to 0.4 is no likeness. As scikit-image has it,
    with which Adebayo 2018 computed theirs: means under a Gaussian out to 3.5 sigma (11 pixels
    wide for 1.5, whatever `window` says), the picture mirrored at its edges; `window` sets the
    sample correction of the variances, `window²` / (`window²` − 1), and the border left out of the
    mean, (`window` − 1) / 2. Wang's constants are (0.01 range)² and (0.03 range)².

    Args:
        maps: raw maps.
        others: as many, of the same size, at least `window` high and wide.
        window: see above; Adebayo's is 5.
        sigma: of the Gaussian, in pixels.
        data_range: what the constants are relative to: 1 for absolute maps, from 0 to 1.
        absolute: without the sign, as Adebayo's pictures in grey; otherwise from −1 to 1, where a
            map turned over can still come out alike: its means turn too, and the signs cancel.
    """
    _check(maps, others)
    height, width = maps.shape[1:]
    if window < 2 or min(height, width) < window:
        raise MetricError(
            f"maps of {height} × {width} pixels came for window={window}; at least 2, and at most "
            "the maps' smaller side, is wanted: resize the maps to the images first."
        )
    one, other = _to_largest(maps, absolute), _to_largest(others, absolute)
    rows, columns = _blur(height, sigma).to(one), _blur(width, sigma).to(one)

    def mean(values: Tensor) -> Tensor:
        return rows @ values @ columns.T

    sample = window**2 / (window**2 - 1)
    mean_one, mean_other = mean(one), mean(other)
    variances = sample * (mean(one * one) - mean_one**2 + mean(other * other) - mean_other**2)
    covariance = sample * (mean(one * other) - mean_one * mean_other)
    small, large = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    likeness = (2 * mean_one * mean_other + small) * (2 * covariance + large)
    likeness = likeness / ((mean_one**2 + mean_other**2 + small) * (variances + large))
    border = (window - 1) // 2
    found = likeness[:, border : height - border, border : width - border].mean((1, 2))
    constant = _constant(maps.flatten(1)) | _constant(others.flatten(1))
    return torch.where(constant, torch.nan, found)


def correlation(one: Tensor, other: Tensor) -> Tensor:
    """Pearson's correlation along the last axis, float64; NaN where either is constant."""
    one, other = one.double(), other.double()
    constant = _constant(one) | _constant(other)
    one, other = one - one.mean(-1, keepdim=True), other - other.mean(-1, keepdim=True)
    # First by the largest value: the squares of a vanishing gradient would be 0.
    one, other = (rows / rows.abs().amax(-1, keepdim=True) for rows in (one, other))
    one, other = (rows / rows.norm(dim=-1, keepdim=True) for rows in (one, other))
    return torch.where(constant, torch.nan, (one * other).sum(-1).clamp(-1, 1))


def _constant(rows: Tensor) -> Tensor:
    return rows.amax(-1) == rows.amin(-1)


def _to_largest(maps: Tensor, absolute: bool) -> Tensor:
    values = maps.double()
    values = values / values.abs().amax((1, 2), keepdim=True)  # 0 / 0: NaN, as said
    return values.abs() if absolute else values


def _blur(count: int, sigma: float) -> Tensor:
    """(count, count): each row weights a line's pixels for the mean around one of them."""
    radius = int(3.5 * sigma + 0.5)
    weights = [math.exp(-0.5 * (step / sigma) ** 2) for step in range(-radius, radius + 1)]
    matrix = torch.zeros(count, count, dtype=torch.float64)
    for pixel in range(count):
        for step, weight in zip(range(-radius, radius + 1), weights, strict=True):
            at = (pixel + step) % (2 * count)  # mirrored: ... 1 0 | 0 1 ... n−1 | n−1 ...
            matrix[pixel, min(at, 2 * count - 1 - at)] += weight / sum(weights)
    return matrix


def _check(maps: Tensor, others: Tensor) -> None:
    if maps.ndim != 3 or maps.shape != others.shape or 0 in maps.shape:
        raise MetricError(
            f"maps {tuple(maps.shape)} came beside {tuple(others.shape)}; two of the same shape "
            "(images, height, width) are wanted."
        )
