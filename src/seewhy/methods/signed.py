"""What formulas that assume maps from 0 up have to say of a layer whose values are signed."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from seewhy.methods.positions import spatial

Note = Callable[[str], None]

_INSTEAD = "Use hires-cam, layer-cam or grad-cam, or a layer after a ReLU"


def note_poles(note: Note | None, denominator: Tensor, used: Tensor, because: str) -> None:
    """Where Grad-CAM++'s alpha is no weight.

    2 + g ΣA is at least 2 where a gradient counts (g > 0) and no activation is negative. On a
    signed layer it may reach 0, where alpha has a pole, and behind it alpha is negative. So it may
    in Smooth Grad-CAM++ on any layer, where the third moment need not have the first one's sign.

    Args:
        note: takes what is to be said.
        denominator: alpha's, `(batch, channels, *spatial)`, up to a positive factor.
        used: where alpha counts, likewise.
        because: how the denominator comes to lie there.
    """
    if note is None:
        return
    beyond = int(((denominator <= 0) & used).sum())
    if beyond:
        note(
            "Grad-CAM++ is not reliable at this layer: alpha, its weight of a "
            f"gradient, is not defined at {beyond} of {int(used.sum())} positive "
            f"gradients, because its divisor is not above 0 there ({because}). "
            f"{_INSTEAD}"
        )


def note_no_mean(note: Note | None, activations: Tensor, gradients: Tensor, share: Tensor) -> None:
    """Where XGrad-CAM's weight is no mean of the gradients.

    Σ gA / ΣA is their mean, weighted by the activations, while these have one sign. Where both
    signs cancel it may be anything: noted where it is beyond every gradient of its channel.

    Args:
        note: takes what is to be said.
        activations, gradients: `(batch, channels, *spatial)`.
        share: Σ gA, `(batch, channels)`.
    """
    if note is None:
        return
    over = spatial(activations)
    total, largest = activations.sum(over), gradients.abs().amax(over)
    signed = (activations.amin(over) < 0) & (activations.amax(over) > 0)
    beyond = signed & (share.abs() > largest * total.abs())
    if bool(beyond.any()):
        note(
            f"XGrad-CAM's weight is not a mean of the gradients in {int(beyond.sum())} "
            f"of {beyond.numel()} channels: their values have both signs and nearly "
            "cancel, so the weight, divided by their sum, is larger than every "
            f"gradient. {_INSTEAD}"
        )


def note_negative_sums(note: Note | None, activations: Tensor, drops: Tensor) -> None:
    """Where a fall of the score is no measure of what Ablation-CAM weighs by it.

    Setting a channel to 0 lowers values that are above 0. Where they sum to less it raises them
    instead, and what is good for the score has its rise for a weight: the sign is turned round.

    Args:
        note: takes what is to be said.
        activations: `(channels, *spatial)`.
        drops: how far each score falls without a channel, `(targets, channels)`.
    """
    if note is None:
        return
    turned = (activations.flatten(1).sum(1) < 0) & (drops != 0).any(0).to(activations.device)
    if bool(turned.any()):  # without a count, the same for every image of a batch
        note(
            "Ablation-CAM's weight has the wrong sign in channels whose values sum to "
            "less than 0, because setting them to 0 raises them, and this layer has "
            f"such channels. {_INSTEAD}"
        )
