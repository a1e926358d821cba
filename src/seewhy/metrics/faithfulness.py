"""Faithfulness: what the model's score does when the image is changed where the map says.

Conventions, the same in every function here and in `imputation`:

- `score(images, rows)`: the scores `(m,)` of `m` changed images `(m, channels, height, width)`;
  `rows` `(m,)`, int64 on the CPU, says which of the `n` images each was made from. The caller has
  chosen the model, the class, and whether a score is a logit or a probability: that belongs to the
  protocol, as do the keyword-only options here. It is called without gradients, with no more than
  `at_once` images a call, which bounds the memory.
- `images`: `(n, channels, height, width)`, prepared for the model; any device and floating type.
- `maps`: `(n, h, w)`, raw. They are resized to the images, bilinear, corners not aligned, by
  `resizing.to_size`.
- Pixels are ranked from the map's greatest value to its least. Equal ones, as all of a constant
  map are, come in reading order: by row, then by column.
- A result has a value an image, `(n,)`, in float32 or wider, on the images' device. An image whose
  map is not finite gets NaN, and nothing else changes.
- What is random is drawn from `seed` on the CPU and is the same for every image, so that a result
  depends neither on the batch nor on the device.

A `baseline` stands in for pixels that are taken away. It is

- `"zero"`: 0 where the model sees it, which is the mean colour where inputs are standardised;
- `"mean"`: the image's own mean colour;
- `"blur"`: the image blurred as RISE's code does it, see `blurred`;
- `"uniform"`: every value drawn between the image's least and greatest of the channel;
- a number, or a tensor that broadcasts to the images, such as `black(mean, std)`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import conv1d, pad

from seewhy.errors import MetricError
from seewhy.metrics.resizing import positive_part, to_size
from seewhy.scaling import unit_range

Score: TypeAlias = Callable[[Tensor, Tensor], Tensor]
Explain: TypeAlias = Callable[[Tensor, Tensor], Tensor]
Baseline: TypeAlias = str | float | Tensor
Baselines: TypeAlias = Baseline | list[Baseline] | tuple[Baseline, ...]
Scaling: TypeAlias = Literal["min-max", "positive", "none"]

AT_ONCE = 16


# --- Pixel by pixel -----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Curve:
    """Scores along the way from one image to another.

    Attributes:
        area: `(n,)`, under the curve by the trapezoid rule, points taken as evenly spaced:
            (sum − (first + last) / 2) / (points − 1).
        scores: `(n, points)`.
        shares: `(points,)`, of the pixels changed, from 0 to 1.
    """

    area: Tensor
    scores: Tensor
    shares: Tensor


def deletion(
    score: Score,
    images: Tensor,
    maps: Tensor,
    *,
    step: float = 1 / 224,
    baseline: Baselines = "zero",
    seed: int = 0,
    at_once: int = AT_ONCE,
) -> Curve:
    """The score as pixels are taken away, the map's greatest first; small is good (RISE 2018).

    The defaults are RISE's: 224 of 224 × 224 pixels a step, replaced by 0 in standardised space,
    read as probabilities. RISE's area takes the last step for a whole one, also where pixels do
    not divide evenly; torchcam weighs it by its pixels. With 224 × 224 pixels that is the same.

    Args:
        score, images, maps, at_once: see above.
        step: pixels changed at a time: below 1 their share of the image, from 1 on their number.
        baseline: what replaces pixels; of several, the curves are averaged.
        seed: of the baseline `"uniform"`.
    """
    return _walk(score, images, maps, step, baseline, seed, at_once, inserting=False)


def insertion(
    score: Score,
    images: Tensor,
    maps: Tensor,
    *,
    step: float = 1 / 224,
    baseline: Baselines = "blur",
    seed: int = 0,
    at_once: int = AT_ONCE,
) -> Curve:
    """The score as pixels return to the baseline, the map's greatest first (RISE 2018).

    Great is good. The defaults are RISE's, with the blurred image to begin from; see `deletion`.
    """
    return _walk(score, images, maps, step, baseline, seed, at_once, inserting=True)


@dataclass(frozen=True, eq=False)
class Flipping:
    """How the score falls as regions are replaced.

    Attributes:
        fall: `(n,)`, the mean over the points of f(x) − f(x with regions replaced), the first
            point, where nothing is, among them: the area over the perturbation curve (AOPC).
        scores: `(n, points)`.
        shares: `(points,)`, of the regions replaced.
    """

    fall: Tensor
    scores: Tensor
    shares: Tensor


def pixel_flipping(
    score: Score,
    images: Tensor,
    maps: Tensor,
    *,
    region: int = 9,
    flips: int = 100,
    order: Literal["most", "least"] = "most",
    baseline: Baselines = "uniform",
    seed: int = 0,
    at_once: int = AT_ONCE,
) -> Flipping:
    """Regions replaced one after another, ranked by the map's sum over them (Samek 2017).

    The defaults are Samek's: 9 × 9 pixels, 100 steps, uniform noise. Bach 2015 flips single pixels
    (`region=1`). The grid begins at the upper left; regions cut off by the edge count as regions,
    by the mean of what is left of them. Great is good where the most relevant go first, small
    where the least relevant do.

    Args:
        score, images, maps, baseline, seed, at_once: see above.
        region: side of the square regions, in pixels.
        flips: how many regions are replaced, at most as many as there are.
        order: whether the most or the least relevant regions go first.
    """
    _at_least_one(region=region, flips=flips)
    if order not in ("most", "least"):
        raise MetricError(f"order={order!r} is unknown; choose 'most' or 'least'.")
    maps, defined = prepared(images, maps)
    height, width = images.shape[2:]
    rows, columns = (torch.arange(size, device=maps.device) // region for size in (height, width))
    across = int(columns[-1]) + 1
    regions = (rows[:, None] * across + columns).flatten()  # the number of each pixel's region
    count = int(regions[-1]) + 1
    sizes = torch.bincount(regions, minlength=count)
    sums = maps.new_zeros(len(maps), count).index_add_(1, regions, maps.flatten(1))
    means = sums / sizes
    ranks = ranked(means if order == "most" else -means)[:, regions].reshape(maps.shape)
    steps = torch.arange(min(flips, count) + 1)
    scores = _replaced(score, images, ranks, steps, baseline, seed, at_once, inserting=False)
    scores = nan_where_not(defined, scores)
    return Flipping((scores[:, :1] - scores).mean(1), scores, steps / count)


# --- The image seen through the map -------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Masked:
    """The score of the image, Y, and of the image seen through its map, O; each `(n,)`.

    Attributes:
        original: Y.
        masked: O.
        drop: max(0, Y − O) / Y: a share, where papers print percent; small is good. NaN where
            Y < 0, which no probability is; 0 where Y is 0.
        gain: max(0, O − Y) / (1 − Y); great is good. NaN where Y > 1; 0 where Y is 1, to 1e-6.
        increase: 1 where O > Y, otherwise 0.
    """

    original: Tensor
    masked: Tensor
    drop: Tensor
    gain: Tensor
    increase: Tensor


def masked_confidence(
    score: Score,
    images: Tensor,
    maps: Tensor,
    *,
    scaling: Scaling = "min-max",
    keep: float = 1.0,
    baseline: Baseline = "zero",
    seed: int = 0,
    at_once: int = AT_ONCE,
) -> Masked:
    """Average drop and increase in confidence (Grad-CAM++ 2018), average gain (Opti-CAM 2024).

    Images are averaged by the caller. The masked image is m x + (1 − m) baseline, for a map m in
    0..1. With `"zero"` that is the map times the image as the model sees it, which most code does:
    what is hidden takes the mean colour. Multiplying pixels before they are standardised turns
    what is hidden black: `baseline=black(mean, std)`. The papers do not say which they do.

    grad-cam's DropInConfidence is Y − O, not divided by Y.

    Args:
        score: of probabilities; see above.
        images, maps, baseline, seed, at_once: see above.
        scaling: of the resized map: `"min-max"` to 0..1 (a constant map becomes 0), `"positive"`
            (negative values 0, then over the greatest; Grad-CAM++'s code), or `"none"`.
        keep: the share of pixels, those of the greatest values, where the map is kept; it is 0
            elsewhere. Score-CAM 2020 keeps 0.5.
    """
    masks, defined = _masks(images, maps, scaling)
    if not 0 < keep <= 1:
        raise MetricError(f"keep={keep} is not a share; choose one above 0 and up to 1.")
    if keep < 1:
        kept = ranked(masks.flatten(1)).reshape(masks.shape) < _count(keep, masks)
        masks = torch.where(kept, masks, 0)
    stand_in = _stand_in(images, baseline, seed)

    def seen(which: Tensor) -> tuple[Tensor, Tensor]:
        rows = which % len(images)
        through = _seen_through(images, masks, stand_in, rows)
        return torch.where(
            (which < len(images)).to(images.device)[:, None, None, None], images[rows], through
        ), rows

    both = scores_of(score, 2 * len(images), seen, at_once).reshape(2, -1)
    original, masked = nan_where_not(defined, both.mT).mT
    return Masked(
        original,
        masked,
        _share(original - masked, original),
        # A softmax that rounds to 1 leaves no room for a gain.
        _share(masked - original, torch.where((1 - original).abs() < 1e-6, 0, 1 - original)),
        torch.where(masked.isnan(), masked, (masked > original).to(masked)),
    )


@dataclass(frozen=True, eq=False)
class ADCC:
    """Average drop, coherency and complexity in one; each `(n,)`.

    Attributes:
        adcc: their harmonic mean, 3 / (1/coherency + 1/(1 − complexity) + 1/(1 − drop)); 0 where
            one of the three is. Great is good.
        coherency: (r + 1) / 2, r being Pearson's correlation of the map with the map of the image
            seen through it. NaN where one of the two is constant.
        complexity: the mean of the map in 0..1.
        drop: as in `Masked`.
    """

    adcc: Tensor
    coherency: Tensor
    complexity: Tensor
    drop: Tensor


def adcc(
    score: Score,
    explain: Explain,
    images: Tensor,
    maps: Tensor,
    *,
    scaling: Scaling = "min-max",
    baseline: Baseline = "zero",
    seed: int = 0,
    at_once: int = AT_ONCE,
) -> ADCC:
    """ADCC and its three parts (Poppi 2021).

    The authors' code multiplies by 3 where the paper divides, and takes the confidence of the
    predicted class for Y even where another class is explained; this follows the paper.

    Args:
        score: of probabilities; see above.
        explain: `explain(images (m, channels, height, width), rows (m,))` gives the maps
            `(m, h, w)` of changed images, for the same targets and by the same method as `maps`.
        images, maps, baseline, seed, at_once: see above.
        scaling: as in `masked_confidence`; of both maps.
    """
    masks, defined = _masks(images, maps, scaling)
    stand_in = _stand_in(images, baseline, seed)
    parts = []
    for rows in torch.split(torch.arange(len(images)), at_once):
        parts.append(explain(_seen_through(images, masks, stand_in, rows), rows).detach())
    again, defined_again = _masks(images, torch.cat(parts), scaling)
    coherency = (_correlation(masks.flatten(1), again.flatten(1)).to(masks) + 1) / 2
    coherency = nan_where_not(defined & defined_again, coherency)
    complexity = nan_where_not(defined, masks.abs().mean((1, 2)))
    drop = masked_confidence(
        score, images, maps, scaling=scaling, baseline=baseline, seed=seed, at_once=at_once
    ).drop
    complexity, coherency = complexity.to(drop), coherency.to(drop)
    # Division by 0 is meant: it gives infinity, and infinity gives 0.
    harmonic = 3 / (1 / coherency + 1 / (1 - complexity) + 1 / (1 - drop))
    return ADCC(harmonic, coherency, complexity, drop)


# --- Does the map foretell the change? ----------------------------------------------------------


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
        score, images, maps, baseline, seed, at_once: see above.
        largest: side of the greatest square, as a share of the image's shorter side.
        samples: how many squares.
    """
    if not 0 < largest <= 1:
        raise MetricError(f"largest={largest} is not a share; choose one above 0 and up to 1.")
    _at_least_one(samples=samples)
    maps, defined = prepared(images, maps)
    stand_in = _stand_in(images, baseline, seed)
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
        score, images, maps, baseline, seed, at_once: see above.
        sigma: of the noise, in the units of what the model sees.
        samples: how many draws.
    """
    _at_least_one(samples=samples)
    maps, defined = prepared(images, maps)
    stand_in = _stand_in(images, baseline, seed)
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


@dataclass(frozen=True, eq=False)
class SensitivityN:
    """How well the map's sums foretell the score's falls.

    Attributes:
        correlation: `(n,)`, the mean over sizes of Pearson's correlations; 1 is best.
        correlations: `(n, sizes)`; NaN where the sums or the falls do not vary.
        sizes: `(sizes,)`, pixels in a subset.
    """

    correlation: Tensor
    correlations: Tensor
    sizes: Tensor


def sensitivity_n(
    score: Score,
    images: Tensor,
    maps: Tensor,
    *,
    shares: Sequence[float] = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.8),
    samples: int = 100,
    baseline: Baseline = "zero",
    seed: int = 0,
    at_once: int = AT_ONCE,
) -> SensitivityN:
    """Random sets of n pixels taken away: their sum in the map against the score's fall.

    Ancona 2018, with its 100 sets for each n and n spread from few to 80 % of the pixels. Quantus'
    metric of the name takes no random sets: it removes the map's greatest values cumulatively.

    Args:
        score, images, maps, baseline, seed, at_once: see above.
        shares: of the image's pixels, each giving one n of at least 1.
        samples: sets for each n; at least 2.
    """
    if samples < 2:
        raise MetricError(f"samples={samples} has no correlation; choose at least 2.")
    maps, defined = prepared(images, maps)
    stand_in = _stand_in(images, baseline, seed)
    pixels = maps[0].numel()
    sizes = torch.tensor([_count(share, maps) for share in shares])
    generator = torch.Generator().manual_seed(seed)
    count = len(sizes) * samples
    sums = maps.new_zeros(len(images), count)
    flat = maps.flatten(1)
    kept: dict[int, Tensor] = {}

    def without(which: Tensor) -> tuple[Tensor, Tensor]:
        rows, sets = which % len(images), which // len(images)
        for made in [number for number in kept if number < int(sets[0])]:
            del kept[made]
        for number in sorted(set(sets.tolist())):
            if number not in kept:  # in order: the next draw of the generator is this one's
                chosen = torch.randperm(pixels, generator=generator)
                chosen = chosen[: int(sizes[number // samples])].to(maps.device)
                sums[:, number] = flat[:, chosen].sum(1)
                hidden = torch.zeros(pixels, dtype=torch.bool, device=maps.device)
                hidden[chosen] = True
                kept[number] = hidden.reshape(maps.shape[1:])
        hidden = torch.stack([kept[number] for number in sets.tolist()])[:, None]
        return torch.where(hidden, stand_in[rows], images[rows]), rows

    originals = _originals(score, images, at_once)
    changed = scores_of(score, count * len(images), without, at_once).reshape(count, -1).mT
    falls = originals[:, None] - changed
    correlations = _correlation(
        sums.reshape(len(images), len(sizes), samples),
        falls.reshape(len(images), len(sizes), samples),
    ).to(originals)
    correlations = nan_where_not(defined, correlations)
    return SensitivityN(correlations.nanmean(1), correlations, sizes)


@dataclass(frozen=True, eq=False)
class SaCo:
    """The salience-guided faithfulness coefficient.

    Attributes:
        coefficient: `(n,)`, in −1..1; 1 is best. NaN where all groups have the same salience.
        salience: `(n, groups)`, the sum of the map over each group, the most salient first.
        falls: `(n, groups)`, of the score where the group is replaced.
    """

    coefficient: Tensor
    salience: Tensor
    falls: Tensor


def saco(
    score: Score,
    images: Tensor,
    maps: Tensor,
    *,
    groups: int = 10,
    baseline: Baseline = "mean",
    seed: int = 0,
    at_once: int = AT_ONCE,
) -> SaCo:
    """SaCo: do more salient groups of pixels matter more, and by how much more (Wu 2024)?

    Pixels fall into equal groups by rank, each replaced on its own by the image's mean colour. Of
    every pair i before j the difference s(i) − s(j) of their salience counts for the map where the
    score falls at least as far without i, and against it otherwise; the sum over the sum of the
    differences.

    Args:
        score: of probabilities; see above.
        images, maps, baseline, seed, at_once: see above.
        groups: K.
    """
    if groups < 2:
        raise MetricError(f"groups={groups} has no pairs; choose at least 2.")
    maps, defined = prepared(images, maps)
    stand_in = _stand_in(images, baseline, seed)
    pixels = maps[0].numel()
    if groups > pixels:
        raise MetricError(f"groups={groups} is more than the {pixels} pixels; choose fewer.")
    members = ranked(maps.flatten(1)) * groups // pixels
    salience = torch.zeros(len(maps), groups, dtype=torch.float64)  # on the CPU: not every device
    salience.scatter_add_(1, members.cpu(), maps.flatten(1).cpu().double())  # has doubles
    salience = salience.to(maps)
    members = members.reshape(maps.shape)

    def without(which: Tensor) -> tuple[Tensor, Tensor]:
        rows, group = which // groups, which % groups
        hidden = members[rows] == group.to(members.device)[:, None, None]
        return torch.where(hidden[:, None], stand_in[rows], images[rows]), rows

    originals = _originals(score, images, at_once)
    changed = scores_of(score, len(images) * groups, without, at_once).reshape(-1, groups)
    falls = originals[:, None] - changed
    weights = (salience[:, :, None] - salience[:, None, :]).triu()
    holds = falls[:, :, None] >= falls[:, None, :]
    signed = torch.where(holds, weights, -weights).sum((1, 2))
    coefficient = (signed / weights.abs().sum((1, 2))).to(falls)
    return SaCo(
        nan_where_not(defined, coefficient),
        nan_where_not(defined, salience),
        nan_where_not(defined, falls),
    )


# --- Baselines ----------------------------------------------------------------------------------


def black(mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """The standardised value of black pixels, `(channels, 1, 1)`: a baseline."""
    return (-torch.tensor(mean) / torch.tensor(std))[:, None, None]


def blurred(images: Tensor) -> Tensor:
    """Images under RISE's kernel: 11 × 11, sigma 5, beyond the edge 0.

    The kernel in RISE's code is a Gaussian folded back at the borders of its 11 × 11 values, which
    is nearly flat: along a side 0.088 at its ends and 0.094 in its middle.
    """
    from scipy.ndimage import gaussian_filter1d

    spike = torch.zeros(11, dtype=torch.float64)
    spike[5] = 1
    kernel = torch.from_numpy(gaussian_filter1d(spike.numpy(), 5)).to(images)
    for _ in range(2):  # along rows, then along columns
        lines = images.reshape(-1, 1, images.shape[-1])
        images = conv1d(lines, kernel[None, None], padding=5).reshape(images.shape).mT
    return images.contiguous()


def _stand_in(images: Tensor, baseline: Baseline, seed: int) -> Tensor:
    """The baseline for each image, of the images' shape (expanded where it is the same)."""
    if isinstance(baseline, Tensor):
        try:
            return baseline.detach().to(images).expand(images.shape)
        except RuntimeError:
            raise MetricError(
                f"the baseline has the shape {tuple(baseline.shape)}; one that broadcasts to the "
                f"images' {tuple(images.shape)} is wanted."
            ) from None
    if isinstance(baseline, int | float):
        return images.new_tensor(baseline).expand(images.shape)
    if baseline == "zero":
        return images.new_zeros(()).expand(images.shape)
    if baseline == "mean":
        return images.mean((2, 3), keepdim=True).expand(images.shape)
    if baseline == "blur":
        return blurred(images)
    if baseline == "uniform":
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.rand(images.shape[1:], generator=generator).to(images)
        low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
        return low + (high - low) * drawn
    raise MetricError(
        f"baseline={baseline!r} is unknown; choose 'zero', 'mean', 'blur', 'uniform', a number or "
        "a tensor."
    )


# --- What they share ----------------------------------------------------------------------------


def _at_least_one(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise MetricError(f"{name}={count} leaves nothing to do; at least 1 is wanted.")


def prepared(images: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
    """Maps at the images' size and on their device; and which are finite, the others being 0."""
    if images.ndim != 4:
        raise MetricError(
            f"images came with the shape {tuple(images.shape)}; (images, channels, height, width) "
            "is wanted."
        )
    maps = to_size(maps.to(images.device), (images.shape[2], images.shape[3]))
    if len(maps) != len(images) or len(images) == 0:
        raise MetricError(
            f"{len(images)} images came with {len(maps)} maps; one map an image is wanted, and at "
            "least one image."
        )
    defined = maps.isfinite().all(2).all(1)
    return torch.where(defined[:, None, None], maps, 0), defined


def _masks(images: Tensor, maps: Tensor, scaling: Scaling) -> tuple[Tensor, Tensor]:
    maps, defined = prepared(images, maps)
    if scaling == "min-max":
        return unit_range(maps), defined
    if scaling == "positive":
        return positive_part(maps), defined
    if scaling == "none":
        return maps, defined
    raise MetricError(f"scaling={scaling!r} is unknown; choose 'min-max', 'positive' or 'none'.")


def nan_where_not(defined: Tensor, values: Tensor) -> Tensor:
    """Values `(n, ...)` of images that are not `defined` `(n,)` become NaN."""
    shape = (-1,) + (1,) * (values.ndim - 1)
    return torch.where(defined.reshape(shape), values, torch.nan)


def scores_of(
    score: Score,
    count: int,
    make: Callable[[Tensor], tuple[Tensor, Tensor]],
    at_once: int,
) -> Tensor:
    """The scores `(count,)` of versions that `make(which)` gives, and the rows they come from."""
    _at_least_one(at_once=at_once)
    parts = []
    with torch.no_grad():
        for which in torch.split(torch.arange(count), at_once):
            versions, rows = make(which)
            given = score(versions, rows)
            if given.shape != (len(which),):
                raise MetricError(
                    f"the score has the shape {tuple(given.shape)} for {len(which)} images; "
                    f"({len(which)},) is wanted, a number an image."
                )
            parts.append(given.detach().to(torch.promote_types(given.dtype, torch.float32)))
    return torch.cat(parts)


def _originals(score: Score, images: Tensor, at_once: int) -> Tensor:
    return scores_of(score, len(images), lambda which: (images[which], which), at_once)


def ranked(values: Tensor) -> Tensor:
    """The place of each value `(n, pixels)` from the greatest, 0, to the least."""
    order = values.argsort(dim=1, descending=True, stable=True)
    places = torch.arange(values.shape[1], device=values.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places)


def _count(share: float, maps: Tensor) -> int:
    """A share of a map's pixels as their number, at least 1."""
    if not 0 < share <= 1:
        raise MetricError(f"{share} is not a share of pixels; choose one above 0 and up to 1.")
    return max(1, round(share * maps[0].numel()))


def _walk(
    score: Score,
    images: Tensor,
    maps: Tensor,
    step: float,
    baseline: Baselines,
    seed: int,
    at_once: int,
    *,
    inserting: bool,
) -> Curve:
    maps, defined = prepared(images, maps)
    if step <= 0 or (step > 1 and step != int(step)):
        raise MetricError(
            f"step={step} is neither a share of pixels (below 1) nor a number of pixels; choose "
            "one of these."
        )
    pixels = maps[0].numel()
    stride = int(step) if step >= 1 else _count(step, maps)
    counts = torch.arange(0, pixels + stride, stride).clamp_(max=pixels)
    ranks = ranked(maps.flatten(1)).reshape(maps.shape)
    scores = _replaced(score, images, ranks, counts, baseline, seed, at_once, inserting=inserting)
    scores = nan_where_not(defined, scores)
    ends = (scores[:, 0] + scores[:, -1]) / 2
    return Curve((scores.sum(1) - ends) / (len(counts) - 1), scores, counts / pixels)


def _replaced(
    score: Score,
    images: Tensor,
    ranks: Tensor,
    counts: Tensor,
    baseline: Baselines,
    seed: int,
    at_once: int,
    *,
    inserting: bool,
) -> Tensor:
    """Scores `(n, counts)` where pixels of ranks below a count have changed sides."""
    baselines = list(baseline) if isinstance(baseline, list | tuple) else [baseline]
    if not baselines:
        raise MetricError("no baseline came; at least one is wanted.")
    total: Tensor | None = None
    for one in baselines:
        stand_in = _stand_in(images, one, seed)
        start, finish = (stand_in, images) if inserting else (images, stand_in)

        def changed(
            which: Tensor, start: Tensor = start, finish: Tensor = finish
        ) -> tuple[Tensor, Tensor]:
            rows, points = which // len(counts), which % len(counts)
            done = ranks[rows] < counts[points].to(ranks.device)[:, None, None]
            return torch.where(done[:, None], finish[rows], start[rows]), rows

        given = scores_of(score, len(images) * len(counts), changed, at_once)
        total = given if total is None else total + given
    assert total is not None
    return (total / len(baselines)).reshape(len(images), -1)


def _seen_through(images: Tensor, masks: Tensor, stand_in: Tensor, rows: Tensor) -> Tensor:
    mask = masks[rows][:, None].to(images)
    return mask * images[rows] + (1 - mask) * stand_in[rows]


def _share(part: Tensor, whole: Tensor) -> Tensor:
    """max(0, part) / whole; 0 where the whole is 0, NaN where the whole is negative."""
    share = torch.where(whole == 0, 0, part.relu() / whole)
    return torch.where(whole < 0, torch.nan, share)


def _correlation(one: Tensor, other: Tensor) -> Tensor:
    """Pearson's correlation along the last axis; NaN where either is constant."""
    one, other = one.cpu().double(), other.cpu().double()  # not every device has doubles
    constant = (one == one[..., :1]).all(-1) | (other == other[..., :1]).all(-1)
    one, other = (values - values.mean(-1, keepdim=True) for values in (one, other))
    product = (one * other).sum(-1)
    sizes = (one.square().sum(-1) * other.square().sum(-1)).sqrt()
    return torch.where(constant, torch.nan, product / sizes)


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
    originals = _originals(score, images, at_once)
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
