"""What stands in for pixels that are taken away from an image.

A `baseline` is

- `"zero"`: 0 where the model sees it, which is the mean colour where inputs are standardised;
- `"mean"`: the image's own mean colour;
- `"blur"`: the image blurred as RISE's code does it, see `blurred`;
- `"uniform"`: every value drawn between the image's least and greatest of the channel;
- a number, or a tensor that broadcasts to the images, such as `black(mean, std)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import conv1d

from seewhy.errors import MetricError

Baseline: TypeAlias = str | float | Tensor
Baselines: TypeAlias = Baseline | list[Baseline] | tuple[Baseline, ...]


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


def stand_in_of(images: Tensor, baseline: Baseline, seed: int) -> Tensor:
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
