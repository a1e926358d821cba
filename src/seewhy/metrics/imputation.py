"""ROAD, and the noisy linear imputation that it removes pixels with.

The conventions are those of `scoring`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from seewhy.errors import MetricError
from seewhy.metrics.metric import Curve, Metric
from seewhy.metrics.scoring import (
    AT_ONCE,
    Score,
    nan_where_not,
    prepared,
    ranked,
    scores_of,
)

# Jacobi's step on coarse grids, over the sum of a row's absolute values: below 2 it cannot diverge.
# Divided by the diagonal alone it does where small holes are scattered, each of which several
# coarse pixels stand for.
DAMPING = 1.9
MOST_STEPS = 100


@dataclass(frozen=True, eq=False)
class Road:
    """The score of images with pixels removed and imputed.

    Attributes:
        combined: `(n,)`, the mean over shares of (least − most) / 2; great is good.
        most: `(n, shares)`, scores with the most relevant pixels removed; small is good.
        least: `(n, shares)`, scores with the least relevant pixels removed; great is good.
        shares: `(shares,)`, of the pixels removed.
    """

    combined: Tensor
    most: Tensor
    least: Tensor
    shares: Tensor


def road(
    score: Score,
    images: Tensor,
    maps: Tensor,
    *,
    shares: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    noise: float = 0.01,
    tolerance: float = 1e-3,
    seed: int = 0,
    at_once: int = AT_ONCE,
) -> Road:
    """Remove and debias: pixels removed so that the hole does not show (Rong 2022).

    MoRF is `most.mean(1)` and LeRF `least.mean(1)`. The authors measure accuracy over a data set;
    one value an image is grad-cam's. There MoRF and LeRF are falls from the original score, which
    cancels in the combined one. grad-cam's percentile p removes the share 1 − p / 100, and pixels
    equal to the value at the percentile along with it: a constant map removes the whole image,
    which leaves nothing to impute from. Here the number removed is always the share's, rounded.

    Args:
        score, images, maps, seed, at_once: see `scoring`.
        shares: of the pixels removed.
        noise: standard deviation of what is added to imputed pixels. 0.01 is the authors' code's
            and grad-cam's; the paper says 0.1.
        tolerance: of the imputed values, see `impute`.
    """
    maps, defined = prepared(images, maps)
    pixels = maps[0].numel()
    counts = torch.tensor([round(share * pixels) for share in shares])
    if len(counts) == 0 or counts.min() < 1 or counts.max() >= pixels:
        raise MetricError(
            f"shares={tuple(shares)} remove no pixel of {pixels}, or all of them; choose shares "
            "between 0 and 1."
        )
    ranks = ranked(maps.flatten(1)).reshape(maps.shape)
    versions = 2 * len(counts)  # the most relevant removed, then the least relevant
    generator = torch.Generator().manual_seed(seed)
    noises = torch.stack(
        [noise * torch.randn(images.shape[1:], generator=generator) for _ in range(versions)]
    ).to(images)

    def removed(which: Tensor) -> tuple[Tensor, Tensor]:
        rows, version = which // versions, which % versions
        count = counts[version % len(counts)].to(maps.device)[:, None, None]
        holes = torch.where(
            (version < len(counts)).to(maps.device)[:, None, None],
            ranks[rows] < count,
            ranks[rows] >= pixels - count,
        )
        imputed = impute(images[rows], holes, tolerance=tolerance)
        return torch.where(holes[:, None], imputed + noises[version], imputed), rows

    scores = scores_of(score, len(images) * versions, removed, at_once)
    most, least = nan_where_not(defined, scores.reshape(len(images), versions)).chunk(2, 1)
    return Road((least - most).mean(1) / 2, most, least, counts / pixels)


def impute(images: Tensor, holes: Tensor, *, tolerance: float = 1e-3) -> Tensor:
    """Images whose removed pixels are the weighted mean of their eight neighbours (Rong 2022).

    A neighbour beside the pixel weighs 1/6 and a diagonal one 1/12; neighbours that are removed
    too take part with the value sought, which makes it a linear system. At the image's edge the
    weights of the neighbours that are there are divided by their sum. No noise is added.

    The system is symmetric and positive, and solved by conjugate gradients for all images, holes
    and channels together. They are preconditioned by one multigrid V-cycle with Galerkin's coarse
    grids, so that every step divides the error by about 5, however large a hole is.

    Args:
        images: `(n, channels, height, width)`.
        holes: `(n, height, width)`, true where a pixel is removed; not everywhere in an image.
        tolerance: solved until no pixel's correction is greater, in the images' units; what is
            left is then smaller. Rounding in float32 leaves about 1e-4 in large holes.
    """
    if holes.flatten(1).all(1).any():
        raise MetricError("every pixel of an image is removed, and none is left to impute from.")
    if not holes.any():
        return images
    wide = images.to(torch.promote_types(images.dtype, torch.float32))
    wide = wide.contiguous()  # pictures often come with their colours last, which is far slower
    grids = _grids(holes[:, None].to(wide))
    finest = grids[0]
    # About the mean of what is left, which is nearer to most pixels than 0 is. Holes begin at an
    # exact 0, where a residual has no rounding: the large ones would make much of it.
    left = 1 - finest.inside
    mean = (wide * left).sum((2, 3), keepdim=True) / left.sum((2, 3), keepdim=True)
    solution = torch.where(holes[:, None], 0, wide - mean)
    residual = _neighbours(solution) * finest.inside
    direction = torch.zeros_like(residual)
    before = residual.new_zeros(())
    active = residual.new_ones(len(images), 1, 1, 1)  # images not settled; the others stand still
    for _ in range(MOST_STEPS):
        correction = _v_cycle(grids, residual)
        settled = correction.abs().amax((1, 2, 3), keepdim=True) <= tolerance
        solution.addcmul_(correction, active * settled)
        active = active * ~settled
        if not active.any():
            return torch.where(holes[:, None], (solution + mean).to(images), images)
        size = _inner(residual, correction)
        direction = torch.addcmul(correction, size / _not_zero(before), direction)
        along = finest.times(direction)
        length = active * size / _not_zero(_inner(direction, along))
        solution.addcmul_(length, direction)
        residual.addcmul_(length, along, value=-1)
        before = size
    raise MetricError(
        f"the imputation did not settle to {tolerance} in {MOST_STEPS} steps; images of finite "
        "values are wanted, and a tolerance above 0."
    )


# --- The linear system --------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Grid:
    """A linear system on a grid: `diagonal * x − weighted neighbours of x`, where `inside` is 1.

    Attributes:
        inside: `(n, 1, height, width)`, 1 where a value is sought, otherwise 0.
        diagonal: `(n or 1, 1, height, width)`.
        step: `(n, 1, height, width)`, what Jacobi's step multiplies a residual by.
        stencil: `(n, 9, height, width)`, what each of the 3 × 3 around a pixel is multiplied by;
            None on the finest grid, where it is everywhere the same.
    """

    inside: Tensor
    diagonal: Tensor
    step: Tensor
    stencil: Tensor | None

    def times(self, values: Tensor) -> Tensor:
        """The system applied to values `(n, channels, height, width)` that are 0 outside."""
        if self.stencil is None:
            return (self.diagonal * values).sub_(_neighbours(values)).mul_(self.inside)
        height, width = values.shape[2:]
        around = pad(values, (1, 1, 1, 1))
        total = values * self.diagonal
        for place in (0, 1, 2, 3, 5, 6, 7, 8):
            row, column = divmod(place, 3)
            window = around[..., row : row + height, column : column + width]
            total.addcmul_(window, self.stencil[:, place, None])
        return total


def _grids(inside: Tensor) -> list[_Grid]:
    """The system of the holes, and its shadows on grids of half the size each, down to 2 × 2."""
    diagonal = _neighbours(torch.ones_like(inside[:1]))  # less than 1 at the image's edge
    grids = [_Grid(inside, diagonal, inside / diagonal, None)]
    while max(grids[-1].inside.shape[2:]) > 2:
        grids.append(_coarser(grids[-1]))
    return grids


def _coarser(grid: _Grid) -> _Grid:
    """Galerkin's system on the grid of half the size: restricted, of the interpolated.

    Each coarse pixel's column of it is found by applying that to a 1 there. Columns of pixels
    three apart do not meet, so that nine applications give all of them.
    """
    inside = grid.inside
    height, width = ((size + 1) // 2 for size in inside.shape[2:])
    ones = inside.new_zeros(len(inside), 9, height, width)
    for place in range(9):
        ones[:, place, place // 3 :: 3, place % 3 :: 3] = 1
    columns = _halved(grid.times(_doubled(ones, inside) * inside))
    rows = torch.arange(height, device=inside.device)[:, None]
    across = torch.arange(width, device=inside.device)
    stencil = torch.zeros_like(columns)
    for place in range(9):
        there = rows + place // 3 - 1, across + place % 3 - 1
        which = (there[0] % 3) * 3 + there[1] % 3
        found = columns.gather(1, which.expand(len(columns), 1, -1, -1))[:, 0]
        exists = (there[0] >= 0) & (there[0] < height) & (there[1] >= 0) & (there[1] < width)
        stencil[:, place] = found * exists
    diagonal = stencil[:, 4:5]
    sought = diagonal > 1e-6  # the others reach no pixel of a hole
    step = torch.where(sought, DAMPING / stencil.abs().sum(1, keepdim=True), 0)
    return _Grid(sought.to(inside), diagonal, step, stencil)


def _v_cycle(grids: list[_Grid], residual: Tensor) -> Tensor:
    """About the values whose residual this is: Jacobi, the coarser grid, Jacobi."""
    grid = grids[0]
    values = grid.step * residual
    if len(grids) == 1:
        for _ in range(8):
            values.addcmul_(grid.step, residual - grid.times(values))
        return values
    coarse = _v_cycle(grids[1:], _halved(residual - grid.times(values)))
    values.addcmul_(_doubled(coarse, residual), grid.inside)
    values.addcmul_(grid.step, residual - grid.times(values))
    return values


def _neighbours(values: Tensor) -> Tensor:
    """1/6 of each of the four pixels beside a pixel, and 1/12 of the four diagonal ones.

    That is (1, 2, 1) along rows and along columns, over 12, less a third of the pixel itself.
    """
    across = values / 6
    across[..., 1:].add_(values[..., :-1], alpha=1 / 12)
    across[..., :-1].add_(values[..., 1:], alpha=1 / 12)
    both = across * 2
    both[..., 1:, :] += across[..., :-1, :]
    both[..., :-1, :] += across[..., 1:, :]
    return both.sub_(values, alpha=1 / 3)


def _doubled(coarse: Tensor, like: Tensor) -> Tensor:
    """Coarse values on the even rows and columns of the fine grid, the others by the mean.

    Beyond the last coarse value lies the same value again.
    """
    height, width = like.shape[2:]
    wide = coarse.new_empty(*coarse.shape[:3], width)
    wide[..., ::2] = coarse
    _between(wide[..., ::2], wide[..., 1::2])
    fine = coarse.new_empty(*coarse.shape[:2], height, width)
    fine[..., ::2, :] = wide
    _between(fine[..., ::2, :].mT, fine[..., 1::2, :].mT)
    return fine


def _between(even: Tensor, odd: Tensor) -> None:
    """Fill the odd places of the last axis by the mean of the even ones around them."""
    torch.add(even[..., :-1], even[..., 1:], out=odd[..., : even.shape[-1] - 1]).div_(2)
    if odd.shape[-1] == even.shape[-1]:
        odd[..., -1] = even[..., -1]


def _halved(fine: Tensor) -> Tensor:
    """The transposed of `_doubled`."""
    low = fine[..., ::2, :].clone()
    _share_out(fine[..., 1::2, :].mT, low.mT)
    coarse = low[..., ::2].clone()
    _share_out(low[..., 1::2], coarse)
    return coarse


def _share_out(odd: Tensor, even: Tensor) -> None:
    """Add the odd places' values to the even ones beside them, half to each."""
    pairs = even.shape[-1] - 1
    even[..., : odd.shape[-1]].add_(odd, alpha=0.5)
    even[..., 1:].add_(odd[..., :pairs], alpha=0.5)
    if odd.shape[-1] == even.shape[-1]:  # the last has no right neighbour and stood for it
        even[..., -1].add_(odd[..., -1], alpha=0.5)


def _inner(one: Tensor, other: Tensor) -> Tensor:
    return (one * other).sum((2, 3), keepdim=True)


def _not_zero(values: Tensor) -> Tensor:
    return torch.where(values == 0, 1, values)


ROAD = Metric(
    title="ROAD",
    better="higher",
    says=(
        "half of how much more is left without the least relevant pixels than without the most "
        "relevant, both imputed so that the hole does not show"
    ),
    source="Rong 2022",
    needs="score",
    function=road,
    value=lambda result: result.combined,
    curve=Curve(
        lambda result: (result.shares, (result.least - result.most) / 2),
        "share of the pixels removed",
        "(least − most) / 2",
    ),
    baselines=("random map",),
    bounds=(-0.5, 0.5),
)
