"""The CAM formulas: what a layer holds, weighted by what the score wants of it.

Every function takes `activations` and, where it needs them, `gradients` of the score with respect
to those activations, both `(batch, channels, height, width)`, and gives raw maps
`(batch, height, width)`: at the layer's resolution, neither scaled nor resized, signed where the
method is. What a function needs from the model is what its parameters are called; what the caller
may choose is keyword-only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from seewhy.errors import MethodError


def cam(activations: Tensor, class_weights: Tensor) -> Tensor:
    """The class's own weights over the channels; signed, no ReLU, no bias (Zhou 2016).

    Args:
        activations: `(batch, channels, height, width)`, the map that global average pooling reads.
        class_weights: `(batch, channels)`, the row of the linear head for each image's target.
    """
    return weighted_sum(activations, class_weights)


def grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Channels weighted by their mean gradient (Selvaraju 2017, eq. 1-2).

    The authors' code sums where the paper averages: a constant factor, so the same picture.
    """
    return weighted_sum(activations, gradients.mean((2, 3))).relu()


def grad_cam_plus_plus(activations: Tensor, gradients: Tensor) -> Tensor:
    """Positive gradients, each weighted by its own alpha (Chattopadhay 2018, eq. 19).

    The constant factor exp(S) that all weights of an image share is left out.
    """
    alpha = _alpha(activations, gradients)
    return weighted_sum(activations, (alpha * gradients.relu()).sum((2, 3))).relu()


def grad_cam_plus_plus_normalised(activations: Tensor, gradients: Tensor) -> Tensor:
    """Grad-CAM++ as its authors' code has it: each channel's alphas sum to 1 (Chattopadhay 2018).

    The sum runs over the positions with a positive gradient. The paper has no such step.
    """
    alpha = _alpha(activations, gradients) * (gradients > 0)
    total = alpha.sum((2, 3), keepdim=True)
    alpha = torch.where(total == 0, 0, alpha / total)
    return weighted_sum(activations, (alpha * gradients.relu()).sum((2, 3))).relu()


def smooth_grad_cam_plus_plus(
    activations: Tensor,
    noisy_gradients: Callable[[int, float, int], Iterable[Tensor]],
    *,
    samples: int = 10,
    noise: float = 0.15,
    seed: int = 0,
) -> Tensor:
    """Grad-CAM++ with g, g² and g³ averaged over noisy copies of the image (Omeiza 2019).

    The averaged moments meet the clean image's activations.

    Args:
        activations: `(batch, channels, height, width)` of the clean image.
        noisy_gradients: gives the gradients of one noisy copy after another.
        samples: how many noisy copies.
        noise: the noise's standard deviation as a share of the image's range (max − min).
        seed: of the noise; the same seed gives the same map.
    """
    first, second, third = (torch.zeros_like(activations) for _ in range(3))
    unit = (
        None  # a gradient of 1e-15 (a saturated softmax) has no float32 cube: count in its own size
    )
    for gradients in noisy_gradients(samples, noise, seed):
        if unit is None:
            unit = gradients.abs().amax((1, 2, 3), keepdim=True)
            unit = torch.where(unit == 0, 1, unit)
        scaled = gradients / unit
        first += scaled / samples
        second += scaled**2 / samples
        third += scaled**3 / samples
    if unit is None:
        raise MethodError(f"samples={samples} gives no noisy copy; at least 1 is wanted.")
    denominator = 2 * second + activations.sum((2, 3), keepdim=True) * unit * third
    alpha = torch.where(denominator == 0, 0, second / denominator)
    return weighted_sum(activations, (alpha * first.relu() * unit).sum((2, 3))).relu()


def xgrad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Channels weighted by their gradients' mean over the activation (Fu 2020, eq. 8).

    A channel that sums to nothing has no such mean and no weight.
    """
    total = activations.sum((2, 3))
    share = (gradients * activations).sum((2, 3))
    return weighted_sum(activations, torch.where(total == 0, 0, share / total)).relu()


def hires_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Gradient times activation, summed over channels; signed, no ReLU (Draelos 2020).

    Without biases behind the layer the map sums to the score of a piecewise linear network.
    """
    return (gradients * activations).sum(1)


def layer_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Every position weighted by its own positive gradient (Jiang 2021, eq. 6-7)."""
    return (gradients.relu() * activations).sum(1).relu()


def grad_cam_elementwise(activations: Tensor, gradients: Tensor) -> Tensor:
    """The positive part of gradient times activation, summed over channels (pytorch-grad-cam)."""
    return (gradients * activations).relu().sum(1)


def eigen_cam(activations: Tensor) -> Tensor:
    """The activations' projection on their first principal direction (Muhammad 2020).

    As in the paper the activations are not centred. The sign, which the decomposition leaves
    open, is the one that makes the map's sum positive. It looks at no class.
    """
    return _first_component(activations)


def eigen_grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Eigen-CAM of gradient times activation, so that it looks at the target (pytorch-grad-cam)."""
    return _first_component(gradients * activations)


def weighted_sum(activations: Tensor, weights: Tensor) -> Tensor:
    """The channels of `activations`, each times its weight `(batch, channels)`, added up."""
    return (weights[..., None, None] * activations).sum(1)


def _alpha(activations: Tensor, gradients: Tensor) -> Tensor:
    """Equation 19 of Grad-CAM++: g² / (2g² + g³ ΣA), whose squares cancel."""
    denominator = 2 + gradients * activations.sum((2, 3), keepdim=True)
    return torch.where(denominator == 0, 0, 1 / denominator)


def _first_component(values: Tensor) -> Tensor:
    """Each image's `(positions, channels)` matrix projected on its first right singular vector.

    By the smaller of the two Gram matrices: the large decomposition takes 100 times as long.
    """
    matrix = values.flatten(2)  # (batch, channels, positions)
    if values.device.type != "mps":  # which has no float64
        matrix = matrix.double()
    channels, positions = matrix.shape[1:]
    if positions <= channels:
        eigenvalues, vectors = torch.linalg.eigh(matrix.mT @ matrix)
        projection = vectors[..., -1] * eigenvalues[..., -1:].clamp(min=0).sqrt()
    else:
        _, vectors = torch.linalg.eigh(matrix @ matrix.mT)
        projection = torch.einsum("bkp,bk->bp", matrix, vectors[..., -1])
    sign = torch.where(projection.sum(1, keepdim=True) < 0, -1, 1)
    maps: Tensor = (sign * projection).to(values.dtype)
    return maps.reshape(len(values), *values.shape[2:])
