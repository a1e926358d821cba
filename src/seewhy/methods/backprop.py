"""The backpropagation methods: what the score does when pixels change, at the input's resolution.

Every function takes `inputs` `(batch, channels, *spatial)` with 1 to 3 spatial dimensions, prepared
images (or signals, or volumes), and functions that differentiate. `input_gradients(inputs)` gives
the gradient of each image's score with respect to that image, shaped like its argument, which may
be several copies of the batch laid one after another: `(copies * batch, channels, *spatial)`.
`guided_gradients` and `deconvnet_gradients` are the same with the method's rule at the ReLUs
(`seewhy.models.relu_rules`). `full_gradients` also gives what each bias adds to the score
(`seewhy.models.bias_gradients`).

Raw maps `(batch, *spatial)` come back. A gradient has a value for each colour, a map has not:

- What says only how strongly the score hangs on a pixel becomes the largest absolute value of the
  colours, as Simonyan 2014 has it and after them TorchRay, for guided backpropagation and the
  deconvnet too. (Their papers draw the gradient as a colour picture; captum leaves it as it is;
  PAIR's saliency adds up absolute values.) A user's function of `guided_gradients` reaches the
  gradient itself.
- What shares the score out among the pixels is added up over the colours, signed, so that the sum
  of the map is still the score's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from seewhy.errors import MethodError
from seewhy.methods import METHODS, method_of
from seewhy.methods.positions import at_positions
from seewhy.methods.signed import Note
from seewhy.scaling import resize_map, unit_range

if TYPE_CHECKING:
    from seewhy.methods.method import Method

Gradients = Callable[[Tensor], Tensor]
FullGradients = Callable[[Tensor], tuple[Tensor, list[Tensor]]]

ROWS_AT_ONCE = 8
"""How many images go into one call where many are needed: beyond, a CPU gains nothing."""


def saliency(inputs: Tensor, input_gradients: Gradients) -> Tensor:
    """The gradient's largest absolute value over the colours (Simonyan 2014, sec. 3.1)."""
    return _strongest(input_gradients(inputs))


def input_times_gradient(inputs: Tensor, input_gradients: Gradients) -> Tensor:
    """Gradient times input, summed over the colours; signed (Shrikumar 2016).

    The input is the prepared one, whose 0 is the mean colour. In a piecewise linear network
    without biases the map sums to the score.
    """
    return (inputs * input_gradients(inputs)).sum(1)


def smooth_grad(
    inputs: Tensor,
    input_gradients: Gradients,
    *,
    samples: int = 25,
    noise: float = 0.15,
    seed: int = 0,
) -> Tensor:
    """Saliency of the gradient averaged over noisy copies of the image (Smilkov 2017).

    As in the paper's equation and PAIR's code the gradients are averaged with their signs, and
    only their mean is made absolute: without noise this is saliency.

    Args:
        inputs: prepared images.
        input_gradients: differentiates the score.
        samples: how many noisy copies.
        noise: the noise's standard deviation as a share of the image's range (max − min).
        seed: of the noise, which depends on nothing else but the image's shape.
    """
    mean = torch.zeros(())
    for _, gradients in _noisy(inputs, input_gradients, samples, noise, seed):
        mean = mean + gradients / samples
    return _strongest(mean)


def var_grad(
    inputs: Tensor,
    input_gradients: Gradients,
    *,
    samples: int = 25,
    noise: float = 0.15,
    seed: int = 0,
) -> Tensor:
    """The gradient's variance over noisy copies of the image (Adebayo 2018, the VarGrad).

    It is the mean squared distance from the mean (captum's too), and the colours' largest.

    Args: as in `smooth_grad`, with at least 2 samples.
    """
    if samples < 2:
        raise MethodError(
            f"samples must be at least 2, because the variance of samples={samples} is not defined."
        )
    mean = squares = torch.zeros(())
    # Welford's: the difference of two large means would lose a small variance's digits.
    for number, gradients in _noisy(inputs, input_gradients, samples, noise, seed):
        distance = gradients - mean
        mean = mean + distance / number
        squares = squares + distance * (gradients - mean)
    return _strongest(squares / samples)


def square_grad(
    inputs: Tensor,
    input_gradients: Gradients,
    *,
    samples: int = 25,
    noise: float = 0.15,
    seed: int = 0,
) -> Tensor:
    """The mean square of the gradient over noisy copies of the image (Hooker 2019).

    Args: as in `smooth_grad`.
    """
    mean = torch.zeros(())
    for _, gradients in _noisy(inputs, input_gradients, samples, noise, seed):
        mean = mean + gradients**2 / samples
    return _strongest(mean)


def integrated_gradients(
    inputs: Tensor,
    input_gradients: Gradients,
    input_scores: Callable[[Tensor], Tensor] | None = None,
    note: Note | None = None,
    *,
    steps: int = 50,
    baseline: float | Tensor = 0.0,
) -> Tensor:
    """The gradient's mean on the way from a baseline, times the way (Sundararajan 2017, eq. 1).

    Summed over the colours; signed. The map sums to score − the baseline's score, but for the
    integral's error: see `completeness_gap`, which is noted where it is above 1 % of that.

    Args:
        inputs: prepared images.
        input_gradients: differentiates the score.
        input_scores: gives each image's score.
        note: takes what the reader of the map should know.
        steps: points of the integral, placed and weighted by Gauss and Legendre. Of a smooth
            network 20 are exact to float32; where ReLUs bend the way, more points help slowly.
        baseline: where the way begins, in prepared values: a number (0 is the mean colour), or a
            tensor that can be expanded to `(channels, *spatial)` or to `inputs`.
    """
    if steps < 1:
        raise MethodError(f"steps must be at least 1, not {steps}.")
    way = inputs - baseline_images(inputs, baseline)
    positions, weights = _gauss_legendre(steps)
    total = torch.zeros(())
    made = (inputs - (1 - position) * way for position in positions)
    for weight, gradients in zip(weights, _each(inputs, made, steps, input_gradients), strict=True):
        total = weight * gradients + total
    maps = (way * total).sum(1)
    if input_scores is not None and note is not None:
        scores, base = input_scores(inputs), input_scores(inputs - way)
        gap = completeness_gap(maps.to(scores), scores, base).abs()
        share = float((gap / (scores - base).abs().clamp(min=1e-12)).amax())
        if not share <= 0.01:
            note(
                "the map's sum differs from the change of the score between the baseline "
                f"and the image by up to {share:.1%}: steps={steps} is too few for "
                "this network. Increase steps"
            )
    return maps


def baseline_images(inputs: Tensor, baseline: float | Tensor) -> Tensor:
    """The images that integrated gradients set out from, shaped like `inputs`.

    Raises:
        MethodError: for a baseline that does not fit.
    """
    values = torch.as_tensor(baseline, dtype=inputs.dtype, device=inputs.device)
    try:
        return values.expand_as(inputs)
    except RuntimeError:
        raise MethodError(
            f"baseline must be a number or a prepared image {tuple(inputs.shape[1:])}, "
            f"not an array of shape {tuple(values.shape)}."
        ) from None


def completeness_gap(maps: Tensor, scores: Tensor, baseline_scores: Tensor) -> Tensor:
    """What an integrated gradients map's sum is too large by: 0 for an exact integral.

    Args:
        maps: `(batch, *spatial)`.
        scores: `(batch,)`, of the images.
        baseline_scores: `(batch,)`, of the `baseline_images`.

    Returns:
        `(batch,)`, in the score's units.
    """
    return maps.flatten(1).sum(1) - (scores - baseline_scores)


def full_grad(inputs: Tensor, full_gradients: FullGradients) -> Tensor:
    """Input times gradient and every bias times its gradient, where they act (Srinivas 2019).

    As in the authors' code each of these becomes absolute, is scaled to 0..1 over all its channels
    and positions, resized linearly (corner to corner) and summed over its channels; what has no
    positions is left out. Their code adds 1e-6 to what it divides by, which for small gradients is
    the greater part; here nothing is added. pytorch-grad-cam scales each channel by itself.
    Activation functions count with their own bias (ReLU has none), which the paper has and the
    code has not. Before all this the parts add up to the score; a warning says where they do not.

    Args:
        inputs: prepared images.
        full_gradients: differentiates the score; gives the gradient by the inputs, and a list of
            bias times gradient, `(batch, channels, *spatial)` or without positions.
    """
    gradients, parts = full_gradients(inputs)
    products = inputs * gradients
    wide = torch.promote_types(products.dtype, torch.float32)  # many parts are to be added up
    total = unit_range(products.to(wide).abs()).sum(1)
    for part in parts:
        if part.ndim == inputs.ndim and len(part) == len(inputs):
            summed = unit_range(part.abs()).sum(1)  # first: resizing is linear
            total = total + resize_map(summed, inputs.shape[2:], align_corners=True).to(wide)
    return total


def guided_backprop(inputs: Tensor, guided_gradients: Gradients) -> Tensor:
    """Saliency where ReLUs pass positive gradients to positive inputs only (Springenberg 2015)."""
    return _strongest(guided_gradients(inputs))


def deconvnet(inputs: Tensor, deconvnet_gradients: Gradients) -> Tensor:
    """Saliency where ReLUs pass positive gradients, whatever their inputs (Zeiler 2014)."""
    return _strongest(deconvnet_gradients(inputs))


def guided_grad_cam(
    activations: Tensor,
    gradients: Tensor,
    inputs: Tensor,
    guided_gradients: Gradients,
    note: Note | None = None,
    *,
    cam: str | Callable[..., Tensor] = "grad-cam",
) -> Tensor:
    """Guided backpropagation times Grad-CAM, resized linearly (Selvaraju 2017, sec. 3.2).

    Args:
        activations: `(batch, channels, *spatial)` of the layer.
        gradients: of the score with respect to them.
        inputs: prepared images.
        guided_gradients: differentiates the score under the guided rule.
        note: takes what the reader of the map should know.
        cam: the CAM in Grad-CAM's place: a name, or a function of activations and gradients. The
            map has its sign.

    Raises:
        MethodError: for a `cam` that is not known or asks for something else.
    """
    method = _cam(cam)
    evidence = {"activations": activations, "gradients": gradients, "note": note}
    coarse = method(**{name: evidence[name] for name in method.needs})
    fine = resize_map(coarse, inputs.shape[2:])
    return fine * _strongest(guided_gradients(inputs))


def _strongest(gradients: Tensor) -> Tensor:
    return gradients.abs().amax(1)


def _each(
    inputs: Tensor, made: Iterator[Tensor], copies: int, gradients_of: Gradients
) -> Iterator[Tensor]:
    """The gradients of one changed copy of the batch after another, a few of them at once."""
    at_once = max(1, ROWS_AT_ONCE // len(inputs))
    for first in range(0, copies, at_once):
        several = torch.cat([next(made) for _ in range(min(at_once, copies - first))])
        yield from gradients_of(several).reshape(-1, *inputs.shape)


def _noisy(
    inputs: Tensor, gradients_of: Gradients, samples: int, noise: float, seed: int
) -> Iterator[tuple[int, Tensor]]:
    """The gradients of noisy copies, numbered from 1.

    Each image of a batch gets the same noise, times its own range, so that its map does not depend
    on the others.
    """
    if samples < 1:
        raise MethodError(f"samples must be at least 1, not {samples}.")
    if noise < 0:
        raise MethodError(f"noise must be a share of the image's range, at least 0, not {noise}.")
    generator = torch.Generator().manual_seed(seed)
    rows = inputs.flatten(1)
    spread = at_positions(noise * (rows.amax(1) - rows.amin(1)), inputs)
    made = (
        inputs + spread * torch.randn(inputs.shape[1:], generator=generator).to(inputs)
        for _ in range(samples)
    )
    return enumerate(_each(inputs, made, samples, gradients_of), 1)


def _gauss_legendre(steps: int) -> tuple[list[float], list[float]]:
    """Positions between 0 and 1, and weights that sum to 1."""
    positions, weights = np.polynomial.legendre.leggauss(steps)
    return ((positions + 1) / 2).tolist(), (weights / 2).tolist()


def _cam(cam: str | Callable[..., Tensor]) -> Method:
    """A CAM of activations and gradients."""
    if isinstance(cam, str) and cam not in METHODS:
        raise MethodError(f"cam={cam!r} is not known. Choose from {', '.join(_cams())}.")
    method = method_of(cam)
    if not _is_cam(method):
        raise MethodError(
            f"cam='{method.name}' needs {', '.join(method.needs)}, but cam must be a "
            f"CAM that needs only activations and gradients: {', '.join(_cams())}, or a "
            "function."
        )
    return method


def _cams() -> list[str]:
    return [name for name, method in METHODS.items() if _is_cam(method)]


def _is_cam(method: Method) -> bool:
    return set(method.needs) <= {"activations", "gradients", "note"}
