"""What the pixels do to the score: evidence for a batch (methods/backprop.py)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from seewhy.errors import MethodError
from seewhy.evidence.agreement import is_half
from seewhy.evidence.first_run import seeing_as
from seewhy.evidence.table import Need, of_batch
from seewhy.models.bias_gradients import BiasGradients
from seewhy.models.bound import Bound
from seewhy.models.relu_rules import ReluRule
from seewhy.models.undisturbed import no_inference, undisturbed
from seewhy.models.watch import CUTS, WITHOUT_GRADIENT, has_gradient
from seewhy.precision import at_least_float32

if TYPE_CHECKING:
    from seewhy.evidence.changes import OneImage
    from seewhy.evidence.run import Evidence

PixelGradients = Callable[[Tensor], Tensor]
"""From copies of the batch to the gradients of each row's own score."""


@of_batch("inputs", "the prepared image", place="input", of_target=False)
def inputs(run: Evidence, layer: int) -> Tensor:  # noqa: ARG001
    """The prepared images, `(batch * targets, channels, *axes)`."""
    return run.rows


def _of_pixels(name: str, says: str, relu: str, needs: tuple[Need, ...]) -> None:
    """Add a row for gradients of the pixels under one rule for ReLUs."""

    @of_batch(name, says, place="input", cost="gradient", needs=needs, relu=relu)
    def gradients(run: Evidence, layer: int) -> PixelGradients:  # noqa: ARG001
        return lambda copies: _input_gradients(run, copies, relu)


_of_pixels("input_gradients", "the gradient of the score with respect to the pixels", "own",
           needs=("pixels",))  # fmt: skip
_of_pixels("guided_gradients", "the gradient that every ReLU passes on by the guided rule",
           "guided", needs=("pixels", "operations"))  # fmt: skip
_of_pixels("deconvnet_gradients", "the gradient that every ReLU passes on by the deconvnet's rule",
           "deconvnet", needs=("pixels", "operations"))  # fmt: skip


@of_batch(
    "full_gradients", "the gradient of the pixels and of every bias as it is added",
    place="input", cost="gradient", needs=("pixels", "operations"),
)  # fmt: skip
def full_gradients(
    run: Evidence, layer: int  # noqa: ARG001
) -> Callable[[Tensor], tuple[Tensor, list[Tensor]]]:  # fmt: skip
    """A function that gives the gradients of the pixels and what each bias adds to the score.

    A note says where the parts do not add up to the score.
    """
    return lambda copies: _full_gradients(run, copies)


@of_batch("input_scores", "the scores of changed images", place="input")
def input_scores(run: Evidence, layer: int) -> Callable[[Tensor], Tensor]:  # noqa: ARG001
    """A function from copies of the batch to each row's own score."""

    def scores(copies: Tensor) -> Tensor:
        with undisturbed(run.model), torch.no_grad():
            return run.score_rows(at_least_float32(run.model(copies)))

    return scores


def _one_images_note(one: OneImage) -> Callable[[str], None]:
    return one.run.note


@of_batch(
    "note", "a place for what is to be said of the map", place=None, moment="watched",
    of_image=_one_images_note, of_target=False,
)  # fmt: skip
def note(run: Evidence, layer: int) -> Callable[[str], None]:  # noqa: ARG001
    """A function that takes what a reader of the map should know."""
    return run.note


def check_operations(model: Bound, images: int) -> None:
    """Check that all images are in each operation of a run.

    Raises:
        MethodError: the program takes another number of images at once.
    """
    if model.at_once not in (None, images):
        raise MethodError(
            f"the program was exported for batches of {model.at_once}, but {images} "
            "images were given, and this method needs every operation of one run of "
            f"the whole batch. Give {model.at_once} images, or use saliency or "
            "integrated-gradients."
        )


def _input_gradients(run: Evidence, copies: Tensor, relu: str) -> Tensor:
    """Gradients of each row's own score; `copies` may be several copies of the batch."""
    first, run.first_run = run.first_run, None  # what the graph holds is freed
    if first is not None and copies is run.rows and first.relu == relu:
        seeing = first.seeing
        with no_inference(), torch.enable_grad():
            columns = run.score(first.logits).unbind(1)
            last = len(columns) - 1
            by_target = [_gradient(one, first.leaf, t < last) for t, one in enumerate(columns)]
            gradients = torch.stack(by_target, 1).flatten(0, 1)
    else:
        seeing = seeing_as(relu)
        gradients, _ = _differentiated(run, copies, seeing)
    if isinstance(seeing, ReluRule):
        for said in seeing.warnings:
            run.note(said)
    return gradients


def _full_gradients(run: Evidence, copies: Tensor) -> tuple[Tensor, list[Tensor]]:
    seen = BiasGradients()
    gradients, scores = _differentiated(run, copies, seen)
    parts = [copies * gradients, *seen.parts]
    rows = len(copies)
    sums = [at_least_float32(p).reshape(rows, -1).sum(1) for p in parts if not p.numel() % rows]
    totals = torch.stack([one.to(scores) for one in sums])
    found, size = totals.sum(0), scores.abs() + totals.abs().sum(0) / 100
    tolerance = 3e-2 if is_half(copies) else 1e-3
    gap = (found - scores).abs() - tolerance * size
    worst = int(gap.argmax())
    if not gap[worst] <= 0:
        flat = [target for some in run.targets.targets for target in some]
        target = flat[worst % len(flat)].describe(run.labels)
        run.note(
            f"the map for '{target}' is incomplete: the parts of the input and of the "
            f"biases add up to {float(found[worst]):.4g}, but the score is "
            f"{float(scores[worst]):.4g}. full-grad is complete only for scores of "
            "networks of convolutions, linear maps, batch normalisation and activation "
            "functions, not for gates, LayerNorm, attention or probabilities",
        )
    return gradients, seen.parts


def _differentiated(
    run: Evidence, copies: Tensor, seeing: AbstractContextManager[Any]
) -> tuple[Tensor, Tensor]:
    """Gradients of each row's own score, and those scores; the run is made inside `seeing`."""
    with undisturbed(run.model), torch.enable_grad(), seeing:
        copies = copies.detach().clone().requires_grad_()
        scores = run.score_rows(at_least_float32(run.run(copies)))
        gradients = _gradient(scores, copies)
    return gradients, scores.detach()


def _gradient(scores: Tensor, pixels: Tensor, keep_graph: bool = False) -> Tensor:
    found = None
    if has_gradient(scores):
        (found,) = torch.autograd.grad(
            scores.sum(), pixels, retain_graph=keep_graph, allow_unused=True
        )
    if found is None:
        raise MethodError(
            "no gradient reaches the input, because the network interrupts it "
            f"({CUTS}). Use a method on a layer after the interruption, or a method "
            f"without gradients: {WITHOUT_GRADIENT}."
        )
    return found
