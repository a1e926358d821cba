"""What a layer saw, and what the score wants of it: evidence for a batch (methods/cam.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import linear

from seewhy.errors import MethodError
from seewhy.evidence.agreement import near
from seewhy.evidence.table import of_batch
from seewhy.models.watch import Watch
from seewhy.precision import at_least_float32

if TYPE_CHECKING:
    from seewhy.evidence.changes import OneImage
    from seewhy.evidence.run import Evidence


def _one_images_activations(one: OneImage) -> Tensor:
    return one.run.activations[one.layer][one.number]


@of_batch(
    "activations", "what the layer holds", place="layer", moment="watched",
    of_image=_one_images_activations, of_target=False,
)  # fmt: skip
def activations(run: Evidence, layer: int) -> Tensor:
    """What the layer holds, `(batch * targets, channels, *positions)`."""
    return run.activations[layer].repeat_interleave(run.scores.shape[1], 0)


# The curvature comes before the gradients: it keeps the graph, and the gradients free it.


def _curvature(run: Evidence, scores: Tensor) -> list[Tensor]:
    assert isinstance(run.first, Watch)
    return run.along_the_batch([run.first.curvature(column) for column in scores.unbind(1)])


@of_batch(
    "curvature", "the product of the score's Hessian with the activations", place="layer",
    cost="gradient", needs=("gradient", "curvature"), moment="watched", from_graph=_curvature,
)  # fmt: skip
def curvature(run: Evidence, layer: int) -> Tensor:
    """The score's Hessian times the activations, shaped like these."""
    found: Tensor = run.taken["curvature"][layer]
    return found


def _gradients(run: Evidence, scores: Tensor) -> list[Tensor]:
    assert isinstance(run.first, Watch)
    first, last = run.first, scores.shape[1] - 1
    return run.along_the_batch(
        [first.gradients(scores[:, t], keep_graph=t < last) for t in range(last + 1)]
    )


def _one_images_gradients(one: OneImage) -> Tensor:
    of_layer: Tensor = one.run.taken["gradients"][one.layer]
    return of_layer.chunk(len(one.run.scores))[one.number]


@of_batch(
    "gradients", "the gradient of the score with respect to the layer", place="layer",
    cost="gradient", needs=("gradient",), moment="watched", from_graph=_gradients,
    of_image=_one_images_gradients,
)  # fmt: skip
def gradients(run: Evidence, layer: int) -> Tensor:
    """The score's gradient with respect to the activations, shaped like these."""
    found: Tensor = run.taken["gradients"][layer]
    return found


@of_batch(
    "noisy_gradients", "the gradients of noisy copies of the image at the layer", place="layer",
    cost="gradient", needs=("gradient",), moment="watched",
)  # fmt: skip
def noisy_gradients(run: Evidence, layer: int) -> Callable[[int, float, int], Iterator[Tensor]]:
    """A function of samples, noise and seed that gives one noisy copy's gradients after another.

    Each image of a batch gets the same noise, so that its map does not depend on the others.
    """

    def of_copies(samples: int, noise: float, seed: int) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(seed)
        inputs, first = run.inputs, run.first
        assert isinstance(first, Watch)
        axes = tuple(range(1, inputs.ndim))
        spread = noise * (inputs.amax(axes, True) - inputs.amin(axes, True))
        for _ in range(samples):
            drawn = torch.randn(inputs.shape[1:], generator=generator).to(inputs)
            logits = at_least_float32(first(inputs + spread * drawn))
            yield _gradients(run, run.score(logits))[layer]

    return of_copies


def _near(one: Tensor, other: Tensor, tolerance: float) -> bool:
    """Whether rows are the same, up to rounding; no rows are."""
    return not len(one) or near(one, other, tolerance)


@of_batch(
    "class_weights", "the row of the linear head for the class", place="layer",
    needs=("head",), moment="watched",
)  # fmt: skip
def class_weights(run: Evidence, layer: int) -> Tensor:
    """The linear head's row for each target: how the score changes with a channel's mean.

    Raises:
        MethodError: unless the logits are one linear map of the layer's global average.
    """
    if run.last_linear is not None:
        module, pooled = run.last_linear
        weight = module.weight.detach().flatten(1).to(run.logits.dtype)
        bias = None if module.bias is None else module.bias.detach().to(weight)
        pooled = pooled.flatten(1).to(weight)
        means = run.activations[layer].flatten(2).mean(2).to(weight)
        tolerance = 3e-2 if module.weight.dtype.itemsize < 4 else 1e-3  # of the largest
        logits = run.logits.flatten(1) if run.logits.ndim > 1 else run.logits[:, None]
        # A picture whose values overflowed is not the head's doing; its map will say so.
        known = pooled.isfinite().all(1) & logits.isfinite().all(1)
        pools = pooled.shape == means.shape and logits.shape == (len(pooled), len(weight))
        pools = pools and _near(pooled[known], means[known], tolerance)
        made = linear(pooled, weight, bias)[known]
        if pools and _near(made, logits[known], tolerance):
            free = run.logits.clone().requires_grad_()
            scores = run.score(free)
            slopes = [
                torch.autograd.grad(column.sum(), free, retain_graph=True)[0]
                for column in scores.unbind(1)
            ]
            rows = [slope.reshape(logits.shape) @ weight for slope in slopes]
            return torch.stack(rows, 1).flatten(0, 1)
        end = run.targets.ending
        behind = made.sigmoid() if end == "sigmoid" else made.softmax(1) if pools else made
        if pools and end is not None and _near(behind, logits[known], tolerance):
            raise MethodError(
                f"method '{run.asked_by}' needs scores that are one linear map of the "
                f"layer's average, but this model has a {end} after that map. Name the "
                "logits with output= if the model returns them, use the model without its "
                f"{end}, or use grad-cam, which explains the probability."
            )
    raise MethodError(
        f"method '{run.asked_by}' needs a layer that is followed by global average "
        f"pooling and one linear map, but '{run.layers[layer]}' is not. Use "
        "grad-cam, which gives the same map where both are defined and works at "
        "any layer."
    )
