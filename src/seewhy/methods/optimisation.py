"""Masks that are looked for by gradient steps: Opti-CAM.

What it takes is what the backpropagation methods take (methods/backprop.py), and a layer's
activations; the raw map `(batch, *spatial)` is at the layer's resolution.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from seewhy.errors import MethodError
from seewhy.methods.backprop import baseline_images
from seewhy.scaling import resize_map, unit_range

Gradients = Callable[[Tensor], Tensor]


def opti_cam(
    activations: Tensor,
    inputs: Tensor,
    input_gradients: Gradients,
    *,
    steps: int = 50,
    rate: float = 0.1,
    baseline: float | Tensor = 0.0,
) -> Tensor:
    """The mixture of channels through which the image scores highest, by Adam (Zhang 2024).

    The weights are softmax(u) over the channels, which start equal. Their mixture of the
    activations' positive parts is upsampled, scaled to 0..1 and multiplies the image. The authors'
    code multiplies pixels of 0..1, before they are standardised, so that what is hidden turns
    black; here it turns to `baseline` in the model's own values, of which 0 is the mean colour, as
    for Score-CAM (black gives their map). Their code may also stop early, when the whole batch's
    scores have not risen; here every step is taken, and a map does not depend on its neighbours.

    Args:
        activations: `(batch, channels, *spatial)` of the layer.
        inputs: prepared images.
        input_gradients: differentiates the score.
        steps: how many of Adam's; each costs a forward pass and its backward.
        rate: Adam's learning rate.
        baseline: what a hidden pixel becomes, as in `integrated_gradients`.

    Raises:
        MethodError: for fewer than 0 steps, a rate that is not positive, or a bad baseline.
    """
    if steps < 0:
        raise MethodError(f"steps must be at least 0, not {steps}.")
    if not rate > 0:
        raise MethodError(f"rate must be a positive learning rate, not {rate}.")
    with torch.inference_mode(False), torch.enable_grad():
        channels, inputs = activations.relu(), inputs.clone()  # not made under inference mode
        hidden = baseline_images(inputs, baseline)
        logits = channels.new_full(channels.shape[:2], 0.5)
        first, second = torch.zeros_like(logits), torch.zeros_like(logits)
        for step in range(1, steps + 1):
            logits.requires_grad_()
            masks = _unit_masks(_mixed(channels, logits), inputs)
            seen = hidden + masks * (inputs - hidden)
            uphill = input_gradients(seen.detach())
            (gradient,) = torch.autograd.grad(seen, logits, uphill)
            # Adam (Kingma 2015) in its own lines: torch.optim's first step imports the compiler,
            # which takes seconds.
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient**2
            size = (second / (1 - 0.999**step)).sqrt() + 1e-8
            logits = logits.detach() + rate * first / (1 - 0.9**step) / size
        return _mixed(channels, logits)


def _mixed(channels: Tensor, logits: Tensor) -> Tensor:
    return torch.einsum("bk,bk...->b...", logits.softmax(1), channels)


def _unit_masks(maps: Tensor, inputs: Tensor) -> Tensor:
    """Maps upsampled to the images, then scaled to 0..1; a constant one hides everything."""
    return unit_range(resize_map(maps[:, None], inputs.shape[2:])).to(inputs.dtype)
