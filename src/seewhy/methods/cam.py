"""The CAM formulas: what a layer holds, weighted by what the score wants of it.

Every function takes `activations` and, where it needs them, `gradients` of the score with respect
to those activations, both `(batch, channels, *spatial)` with 1 to 3 spatial dimensions, and gives
raw maps `(batch, *spatial)`: at the layer's resolution, neither scaled nor resized, signed where
the method is. What a function needs from the model is what its parameters are called; what the
caller may choose is keyword-only. A formula that assumes activations from 0 up takes `note`, and
tells it where it is not defined on signed ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from seewhy.errors import MethodError
from seewhy.methods.positions import at_positions, spatial
from seewhy.methods.signed import Note, note_no_mean, note_poles

KERNEL_POSITIONS = 4096
"""How many positions a kernel over positions may have: 4096 take 134 MB and seconds."""


def cam(activations: Tensor, class_weights: Tensor) -> Tensor:
    """The class's own weights over the channels; signed, no ReLU, no bias (Zhou 2016).

    Args:
        activations: `(batch, channels, *spatial)`, the map that global average pooling reads.
        class_weights: `(batch, channels)`, the row of the linear head for each image's target.
    """
    return weighted_sum(activations, class_weights)


def grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Channels weighted by their mean gradient (Selvaraju 2017, eq. 1-2).

    The authors' code sums where the paper averages: a constant factor, so the same picture.
    """
    return weighted_sum(activations, gradients.mean(spatial(gradients))).relu()


def grad_cam_plus_plus(activations: Tensor, gradients: Tensor, note: Note | None = None) -> Tensor:
    """Positive gradients, each weighted by its own alpha (Chattopadhay 2018, eq. 19).

    The constant factor exp(S) that all weights of an image share is left out.
    """
    alpha = _alpha(activations, gradients, note)
    weights = (alpha * gradients.relu()).sum(spatial(gradients))
    return weighted_sum(activations, weights).relu()


def grad_cam_plus_plus_normalised(
    activations: Tensor, gradients: Tensor, note: Note | None = None
) -> Tensor:
    """Grad-CAM++ as its authors' code has it: each channel's alphas sum to 1 (Chattopadhay 2018).

    The sum runs over the positions with a positive gradient. The paper has no such step.
    """
    over = spatial(gradients)
    alpha = _alpha(activations, gradients, note) * (gradients > 0)
    total = alpha.sum(over, keepdim=True)
    alpha = torch.where(total == 0, 0, alpha / total)
    return weighted_sum(activations, (alpha * gradients.relu()).sum(over)).relu()


def smooth_grad_cam_plus_plus(
    activations: Tensor,
    noisy_gradients: Callable[[int, float, int], Iterable[Tensor]],
    note: Note | None = None,
    *,
    samples: int = 10,
    noise: float = 0.15,
    seed: int = 0,
) -> Tensor:
    """Grad-CAM++ with g, g² and g³ averaged over noisy copies of the image (Omeiza 2019).

    The averaged moments meet the clean image's activations.

    Args:
        activations: `(batch, channels, *spatial)` of the clean image.
        noisy_gradients: gives the gradients of one noisy copy after another.
        note: takes what the reader of the map should know.
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
            unit = at_positions(gradients.abs().flatten(1).amax(1), gradients)
            unit = torch.where(unit == 0, 1, unit)
        scaled = gradients / unit
        first += scaled / samples
        second += scaled**2 / samples
        third += scaled**3 / samples
    if unit is None:
        raise MethodError(f"samples must be at least 1, not {samples}.")
    over = spatial(activations)
    denominator = 2 * second + activations.sum(over, keepdim=True) * unit * third
    because = "the mean of g³ has not the sign of g there, or the layer's values are signed"
    note_poles(note, denominator, (first > 0) & (second > 0), because)
    alpha = torch.where(denominator == 0, 0, second / denominator)
    return weighted_sum(activations, (alpha * first.relu() * unit).sum(over)).relu()


def xgrad_cam(activations: Tensor, gradients: Tensor, note: Note | None = None) -> Tensor:
    """Channels weighted by their gradients' mean over the activation (Fu 2020, eq. 8).

    A channel that sums to nothing has no such mean and no weight.
    """
    over = spatial(activations)
    total = activations.sum(over)
    share = (gradients * activations).sum(over)
    note_no_mean(note, activations, gradients, share)
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


def fem(activations: Tensor, *, deviations: float = 2.0) -> Tensor:
    """Where channels are far above their mean, weighted by that mean; signed (Fuad 2020).

    A channel votes at the positions above its mean + 2 standard deviations, with its mean as the
    weight of its vote. pytorch-grad-cam has something else: the activations themselves, weighted
    by the share of such positions. A constant channel votes nowhere. It looks at no class.

    Args:
        activations: `(batch, channels, *spatial)`.
        deviations: how many standard deviations above its mean a channel votes.
    """
    over = spatial(activations)
    mean = activations.mean(over, keepdim=True)
    spread = activations.std(over, correction=0, keepdim=True)
    varies = activations.amax(over, True) > activations.amin(over, True)
    votes = (activations > mean + deviations * spread) & varies
    return (votes * mean).sum(1)


def kpca_cam(activations: Tensor, *, slope: float = 1.0) -> Tensor:
    """The first component of a kernel PCA over positions, with a sigmoid kernel (Karmani 2024).

    As in the authors' code (in pytorch-grad-cam, by scikit-learn): channels are centred, the kernel
    is tanh(slope x·y / channels + 1), and it is centred too, so the map has mean 0. The sign, left
    to chance there, is the one that makes strong positions positive. It looks at no class.

    Args:
        activations: `(batch, channels, *spatial)`.
        slope: of the kernel; times 1 / channels it is scikit-learn's gamma.

    Raises:
        MethodError: for a layer whose kernel would be too large.
    """
    channels, *size = activations.shape[1:]
    if math.prod(size) > KERNEL_POSITIONS:
        raise MethodError(
            f"the layer has {' × '.join(map(str, size))} positions, but kpca-cam "
            f"compares each with each and can use at most {KERNEL_POSITIONS}. Choose a "
            "later layer, or use eigen-cam."
        )
    values = _wide(activations.flatten(2))  # (batch, channels, positions)
    centred = values - values.mean(2, keepdim=True)
    # tanh(a + 1) − tanh(1), from tanh(a): the constant falls out when the kernel is centred, and
    # small values keep their digits.
    kernel, offset = torch.tanh(slope / channels * (centred.mT @ centred)), math.tanh(1)
    kernel = kernel * (1 - offset**2) / (1 + kernel * offset)
    kernel = kernel - kernel.mean(1, keepdim=True)
    kernel = kernel - kernel.mean(2, keepdim=True)
    eigenvalues, vectors = _eigen(kernel)
    projection = vectors[..., -1] * eigenvalues[..., -1:].clamp(min=0).sqrt()
    agreement = (projection * values.norm(dim=1)).sum(1, keepdim=True)
    maps: Tensor = (torch.where(agreement < 0, -1, 1) * projection).to(activations.dtype)
    return maps.reshape(len(activations), *size)


def shapley_cam(activations: Tensor, gradients: Tensor, curvature: Tensor) -> Tensor:
    """Grad-CAM with the gradient less half the Hessian times the activations (Cai 2025).

    Times an activation that difference is its Shapley value, exactly where the score is quadratic.
    The logits of a ReLU network are linear in pieces: there the Hessian is 0 and this is Grad-CAM.
    It differs for probabilities (`p:`), and behind smooth activations (SiLU, GELU). The paper also
    proposes a target of its own, the score less its cross entropy.

    Args:
        activations, gradients: see above.
        curvature: the Hessian of the score times the activations, `(batch, channels, ...)`.
    """
    slopes = gradients - curvature / 2
    return weighted_sum(activations, slopes.mean(spatial(slopes))).relu()


def weighted_sum(activations: Tensor, weights: Tensor) -> Tensor:
    """The channels of `activations`, each times its weight `(batch, channels)`, added up."""
    return (at_positions(weights, activations) * activations).sum(1)


def _alpha(activations: Tensor, gradients: Tensor, note: Note | None) -> Tensor:
    """Equation 19 of Grad-CAM++: g² / (2g² + g³ ΣA), whose squares cancel."""
    denominator = 2 + gradients * activations.sum(spatial(activations), keepdim=True)
    note_poles(note, denominator, gradients > 0, "the layer's values are signed")
    return torch.where(denominator == 0, 0, 1 / denominator)


def _first_component(values: Tensor) -> Tensor:
    """Each image's `(positions, channels)` matrix projected on its first right singular vector.

    By the smaller of the two Gram matrices: the large decomposition takes 100 times as long.
    """
    matrix = _wide(values.flatten(2))  # (batch, channels, positions)
    channels, positions = matrix.shape[1:]
    if positions <= channels:
        eigenvalues, vectors = _eigen(matrix.mT @ matrix)
        projection = vectors[..., -1] * eigenvalues[..., -1:].clamp(min=0).sqrt()
    else:
        _, vectors = _eigen(matrix @ matrix.mT)
        projection = torch.einsum("bkp,bk->bp", matrix, vectors[..., -1])
    sign = torch.where(projection.sum(1, keepdim=True) < 0, -1, 1)
    maps: Tensor = (sign * projection).to(values.dtype)
    return maps.reshape(len(values), *values.shape[2:])


def _eigen(symmetric: Tensor) -> tuple[Tensor, Tensor]:
    """`torch.linalg.eigh` of each image's matrix; NaN for one that holds NaN or infinity.

    As it is, one such picture would end the whole batch.
    """
    finite = symmetric.isfinite().flatten(1).all(1)[:, None, None]
    eigenvalues, vectors = torch.linalg.eigh(torch.where(finite, symmetric, 0))
    return torch.where(finite[:, 0], eigenvalues, torch.nan), torch.where(
        finite, vectors, torch.nan
    )


def _wide(values: Tensor) -> Tensor:
    return values if values.device.type == "mps" else values.double()  # mps has no float64
