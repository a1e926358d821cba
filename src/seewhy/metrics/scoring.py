"""The score of changed images: what the measures share that change an image where its map says.

Conventions, the same in every function of `walk`, `masked_confidence`, `infidelity`,
`sensitivity_n`, `saco` and `imputation`:

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
- A `baseline` stands in for pixels that are taken away; see `baselines`.
- A result has a value an image, `(n,)`, in float32 or wider, on the images' device. An image whose
  map is not finite gets NaN, and nothing else changes.
- What is random is drawn from `seed` on the CPU and is the same for every image, so that a result
  depends neither on the batch nor on the device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from seewhy.errors import MetricError, at_least_one
from seewhy.metrics.resizing import to_size

Score: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""`score(images (m, channels, height, width), rows (m,)) -> scores (m,)`."""

AT_ONCE = 16


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
    at_least_one(MetricError, at_once=at_once)
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


def originals_of(score: Score, images: Tensor, at_once: int) -> Tensor:
    """The scores `(n,)` of the images as they are."""
    return scores_of(score, len(images), lambda which: (images[which], which), at_once)


def ranked(values: Tensor) -> Tensor:
    """The place of each value `(n, pixels)` from the greatest, 0, to the least."""
    order = values.argsort(dim=1, descending=True, stable=True)
    places = torch.arange(values.shape[1], device=values.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places)


def share_of(share: float, maps: Tensor) -> int:
    """A share of a map's pixels as their number, at least 1."""
    if not 0 < share <= 1:
        raise MetricError(f"{share} is not a share of pixels; choose one above 0 and up to 1.")
    return max(1, round(share * maps[0].numel()))
