"""Infidelity: how far the map's forecast of the score's fall is off (Yeh 2019).

`infidelity_square` is what `seewhy evaluate` computes, for maps whose values are what a pixel
contributes. `infidelity_gaussian` is for maps that are slopes: gradients of the pixels. The
conventions are those of `scoring`, the baselines those of `baselines`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from seewhy.errors import MetricError, at_least_one
from seewhy.metrics.baselines import Baseline, stand_in_of
from seewhy.metrics.metric import Metric
from seewhy.metrics.scoring import (
    AT_ONCE,
    Score,
    nan_where_not,
    originals_of,
    prepared,
    scores_of,
)


@dataclass(frozen=True, eq=False)
class Infidelity:
    """How far the map's forecast of the score's fall is off; each `(n,)`.

    Attributes:
        infidelity: the mean of (I·map − (f(x) − f(x − I)))²; 0 is best, and no upper bound.
        scaled: the same of β map, for the β that makes it least: free of the map's scale.
        beta: that β; 0 where the forecast is always 0.
    """

    infidelity: Tensor
    scaled: Tensor
    beta: Tensor


def infidelity_square(
    score: Score,
    images: Tensor,
    maps: Tensor,
    *,
    largest: float = 10 / 28,
    samples: int = 1000,
    baseline: Baseline = "zero",
    seed: int = 0,
    at_once: int = AT_ONCE,
) -> Infidelity:
    """Infidelity to squares taken away (Yeh 2019).

    The forecast is the sum of the map over the square, for maps whose values are what a pixel
    contributes: so does the authors' code (`binary_I`). It goes through every square of 1 to 10
    pixels in 28 × 28; here sides up to the same share of the image's shorter side are drawn in
    proportion to how many squares have them, and places evenly, which has the same mean. The
    authors' code prints the scaled one, without the paper's saying so; captum's default is the
    other.

    Args:
        score, images, maps, baseline, seed, at_once: see `scoring`.
        largest: side of the greatest square, as a share of the image's shorter side.
        samples: how many squares.
    """
    if not 0 < largest <= 1:
        raise MetricError(f"largest={largest} is not a share; choose one above 0 and up to 1.")
    at_least_one(MetricError, samples=samples)
    maps, defined = prepared(images, maps)
    stand_in = stand_in_of(images, baseline, seed)
    height, width = images.shape[2:]
    squares = _squares(height, width, max(1, round(largest * min(height, width))), samples, seed)
    # A sum over a square is four values of the sums over all that lies above and to the left.
    table = pad(maps.cpu().double().cumsum(1).cumsum(2), (1, 0, 1, 0))
    top, left, side = squares.unbind(1)
    low, right = top + side, left + side
    forecast = (
        table[:, low, right] - table[:, top, right] - table[:, low, left] + table[:, top, left]
    )
    down, along = torch.arange(height), torch.arange(width)

    def without(which: Tensor) -> tuple[Tensor, Tensor]:
        rows, sample = which % len(images), which // len(images)
        inside_rows = (down >= top[sample, None]) & (down < low[sample, None])
        inside_columns = (along >= left[sample, None]) & (along < right[sample, None])
        hidden = (inside_rows[:, :, None] & inside_columns[:, None, :]).to(images.device)
        return torch.where(hidden[:, None], stand_in[rows], images[rows]), rows

    return _infidelity(score, images, forecast, without, samples, defined, at_once)


def infidelity_gaussian(
    score: Score,
    images: Tensor,
    maps: Tensor,
    *,
    sigma: float = 0.2,
    samples: int = 1000,
    baseline: Baseline = "zero",
    seed: int = 0,
    at_once: int = AT_ONCE,
) -> Infidelity:
    """Infidelity to the image replaced by a noisy baseline (Yeh 2019).

    x − I is the baseline plus normal noise of `sigma`, and the forecast Σ I map, for maps that are
    slopes; a map has one value for all channels of a pixel. With `baseline=images` the noise is
    about the image itself. The authors' code also clips to 0..1, MNIST's range, as inputs that are
    standardised have none.

    Args:
        score, images, maps, baseline, seed, at_once: see `scoring`.
        sigma: of the noise, in the units of what the model sees.
        samples: how many draws.
    """
    at_least_one(MetricError, samples=samples)
    maps, defined = prepared(images, maps)
    stand_in = stand_in_of(images, baseline, seed)
    generator = torch.Generator().manual_seed(seed)
    forecast = maps.new_zeros(len(images), samples)
    drawn = torch.empty(0, *images.shape[1:])
    last = -1

    def noisy(which: Tensor) -> tuple[Tensor, Tensor]:
        nonlocal drawn, last
        rows, sample = which % len(images), which // len(images)
        first = int(sample[0])
        # In order, so that the draws are the same however many are made at once; the images of a
        # draw may be parted between two calls.
        fresh = [
            torch.randn(images.shape[1:], generator=generator, dtype=torch.float32)
            for _ in range(int(sample[-1]) - last)
        ]
        kept = drawn[-1:] if first == last else drawn[:0]
        drawn = torch.cat((kept, torch.stack(fresh))) if fresh else kept
        last = int(sample[-1])
        noise = sigma * drawn[sample - first].to(images)
        replaced = stand_in[rows] + noise
        change = (images[rows] - replaced).sum(1).to(maps)
        forecast[rows, sample] = (change * maps[rows]).sum((1, 2))
        return replaced, rows

    return _infidelity(score, images, forecast, noisy, samples, defined, at_once)


def _squares(height: int, width: int, largest: int, samples: int, seed: int) -> Tensor:
    """Top, left and side `(samples, 3)` of squares, each of those up to `largest` as likely."""
    generator = torch.Generator().manual_seed(seed)
    sides = torch.arange(1, largest + 1)
    possible = ((height - sides + 1) * (width - sides + 1)).double()
    side = sides[torch.multinomial(possible, samples, replacement=True, generator=generator)]
    top, left = (
        (torch.rand(samples, generator=generator, dtype=torch.float64) * (size - side + 1)).long()
        for size in (height, width)
    )
    return torch.stack((top, left, side), 1)


def _infidelity(
    score: Score,
    images: Tensor,
    forecast: Tensor,
    make: Callable[[Tensor], tuple[Tensor, Tensor]],
    samples: int,
    defined: Tensor,
    at_once: int,
) -> Infidelity:
    originals = originals_of(score, images, at_once)
    changed = scores_of(score, samples * len(images), make, at_once).reshape(samples, -1).mT
    falls = (originals[:, None] - changed).cpu().double()
    forecast = forecast.cpu().double()
    powers = forecast.square().mean(1)
    beta = (forecast * falls).mean(1) / torch.where(powers == 0, 1, powers)
    plain, scaled = (
        nan_where_not(defined.cpu(), (factor * forecast - falls).square().mean(1)).to(originals)
        for factor in (1, beta[:, None])
    )
    return Infidelity(plain, scaled, nan_where_not(defined.cpu(), beta).to(originals))


INFIDELITY = Metric(
    title="infidelity",
    better="lower",
    says="how far the map's sum over a square is off the score's fall without the square",
    source="Yeh 2019",
    needs="score",
    function=infidelity_square,
    value=lambda result: result.infidelity,
    baselines=("random map",),
)

INFIDELITY_SCALED = Metric(
    title="infidelity, scaled",
    better="lower",
    says="the same of the map times the factor that suits it best",
    source="Yeh 2019 (its code)",
    needs="score",
    function=infidelity_square,
    value=lambda result: result.scaled,
    baselines=("random map",),
)
