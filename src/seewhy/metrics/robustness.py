"""How much a map changes when nothing that matters does: the pixels a little, or the seed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from seewhy.errors import MetricError
from seewhy.metrics.metric import Metric
from seewhy.metrics.similarity import spearman

Explain = Callable[[Tensor, Tensor], Tensor]
"""`explain(images (m, C, H, W), rows (m,)) -> maps (m, h, w)`: `rows` says which of the n images,
and so which target, each is a copy of."""


def max_sensitivity(
    explain: Explain,
    images: Tensor,
    *,
    radius: float = 0.02,
    draws: int = 10,
    seed: int = 0,
    at_once: int = 16,
) -> Tensor:
    """The largest relative change of the map near the image: (n,), 0 is best (Yeh 2019, SENS_MAX).

    max over draws d of ‖Φ(x + d) − Φ(x)‖ / ‖Φ(x)‖, Frobenius norms, d uniform in a cube: each value
    within ± radius. Defaults are captum's. A map of zeros gives NaN (captum divides by 1 there, so
    that a method which always returns zeros is perfect to it).

    Args:
        explain: makes the maps.
        images: (n, C, H, W), in the space in which they are changed: for prepared images the radius
            counts in units of the preprocessing's standard deviations.
        radius: of the cube.
        draws: how many points of it are tried; more find a larger change.
        seed: of the draws, which depend on nothing else but the images' shape.
        at_once: most images in one call.
    """
    if draws < 1 or not radius > 0:
        raise MetricError(
            f"draws={draws}, radius={radius}; at least one draw and a radius above 0 are wanted."
        )
    maps = _explained(explain, images, at_once)
    largest = torch.zeros(len(images), dtype=torch.float64, device=maps.device)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(draws):
        noise = torch.rand(images.shape[1:], generator=generator) * (2 * radius) - radius
        moved = _explained(explain, images + noise.to(images), at_once)
        largest = torch.maximum(largest, (moved - maps).flatten(1).norm(dim=1))
    return largest / _nan_for_zero(maps.flatten(1).norm(dim=1))


def seed_agreement(
    explain: Callable[[Tensor, Tensor, int], Tensor],
    images: Tensor,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    absolute: bool = False,
    at_once: int = 16,
) -> Tensor:
    """Mean rank correlation of the maps of every two seeds: (n,), 1 for what draws nothing.

    Args:
        explain: as `Explain`, with the seed as third argument.
        images: (n, C, H, W).
        seeds: at least two.
        absolute: see `seewhy.metrics.similarity.spearman`.
        at_once: most images in one call.
    """
    if len(set(seeds)) < 2:
        raise MetricError(f"seeds={tuple(seeds)}; at least two different ones are wanted.")

    def with_seed(seed: int) -> Tensor:
        return _explained(lambda some, rows: explain(some, rows, seed), images, at_once)

    of_seed = [with_seed(seed) for seed in seeds]
    pairs = itertools.combinations(of_seed, 2)
    return torch.stack([spearman(one, other, absolute=absolute) for one, other in pairs]).mean(0)


def _explained(explain: Explain, images: Tensor, at_once: int) -> Tensor:
    """(n, h, w) float64."""
    made = []
    for start in range(0, len(images), at_once):
        rows = torch.arange(start, min(start + at_once, len(images)), device=images.device)
        maps = explain(images[rows], rows).detach()
        if maps.ndim != 3 or len(maps) != len(rows):
            raise MetricError(
                f"explain gave {tuple(maps.shape)} for {len(rows)} images; a map (height, width) "
                "for each is wanted."
            )
        made.append(maps.double())
    return torch.cat(made)


def _nan_for_zero(values: Tensor) -> Tensor:
    return torch.where(values == 0, torch.nan, values)


MAX_SENSITIVITY = Metric(
    title="max-sensitivity",
    better="lower",
    says="the largest relative change of the map when the pixels change a little",
    source="Yeh 2019",
    needs="explain",
    function=max_sensitivity,
)

SEED_AGREEMENT = Metric(
    title="agreement of seeds",
    better="higher",
    says="the rank correlation of the maps that different seeds give",
    source="seewhy",
    needs="seeds",
    function=seed_agreement,
    bounds=(-1, 1),
)
