"""What the score becomes when something is changed: evidence for one image at a time.

Here the versions of the image, or of what the layer holds of it, are the batch
(methods/perturbation.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from seewhy.errors import MethodError, ModelError
from seewhy.evidence.agreement import is_half, near
from seewhy.evidence.table import Row, of_image
from seewhy.models.bound import Bound
from seewhy.models.many_runs import EXACT, many_runs
from seewhy.models.rerun import Rerun, in_chunks, rerunning
from seewhy.models.undisturbed import no_inference, undisturbed
from seewhy.models.without_channels import WithoutChannels
from seewhy.precision import at_least_float32
from seewhy.targets import Counterfactual, Finer, Target, of_probability

if TYPE_CHECKING:
    from seewhy.evidence.run import Evidence

VERSIONS_BYTES = 64 << 20  # of changed activations or images that are made at once
RERUNS, FORWARDS = 64, 16  # and how many at most on a CPU, which gains nothing beyond
SHARES, ELSEWHERE = 512, 256

Scores = Callable[..., Tensor]
"""From versions to the scores of the image's targets, `(versions, targets)`."""


@dataclass
class OneImage:
    """One image of a run, and the part of the network behind the layer, once that is asked for.

    Attributes:
        run: of the whole batch.
        number: which image of the batch.
        layer: which of the layers.
        model: bound to what belongs to this image.
        stack: ends what was begun for it.
    """

    run: Evidence
    number: int
    layer: int
    model: Bound
    stack: ExitStack = field(default_factory=ExitStack)

    @property
    def targets(self) -> Sequence[Target]:
        """The image's own."""
        return self.run.targets.targets[self.number]

    @cached_property
    def tail(self) -> Rerun:
        """What reruns the network from the layer on."""
        if isinstance(self.run.first, Rerun):
            return self.run.first
        alone = self.run.inputs[self.number : self.number + 1]
        layer = self.run.layers[self.layer]
        return self.stack.enter_context(rerunning(self.model, layer, alone))

    @property
    def warnings(self) -> Sequence[str]:
        """What the reruns have to say, if there were any."""
        return self.tail.warnings if "tail" in self.__dict__ else ()


@contextmanager
def of_one_image(
    run: Evidence, number: int, layer: int, rows: Sequence[Row]
) -> Iterator[dict[str, Any]]:
    """The evidence of some rows for one image, by name; it ends with the block."""
    one = OneImage(run, number, layer, run.model.image(number))
    _check_alone(run, one.model, number)
    with one.stack:
        yield {row.name: row.of_image(one) for row in rows if row.of_image is not None}
        for said in one.warnings:
            run.note(said)


@of_image("scores", "the scores of the targets", place=None, moment="kept")
def scores(one: OneImage) -> Tensor:
    """The score of each target, `(targets,)`."""
    return one.run.scores[one.number]


@of_image("image", "the prepared image", place=None, moment="kept", of_target=False)
def image(one: OneImage) -> Tensor:
    """The prepared image, `(channels, *axes)`."""
    return one.run.inputs[one.number]


@of_image(
    "rerun", "the scores of changed activations", place="layer", cost="reruns", needs=("tail",),
    moment="kept",
)  # fmt: skip
def rerun(one: OneImage) -> Scores:
    """Scores of versions of the layer's activations; only the tail computes."""
    at_once = _at_once(one.tail.activations, RERUNS)
    run = _scores_of(one.tail, one.targets)
    return lambda count, make: in_chunks(run, count, make, at_once=at_once)


@of_image(
    "without_channels", "the scores without one channel each", place="layer", cost="reruns",
    needs=("tail",), moment="kept",
)  # fmt: skip
def without_channels(one: OneImage) -> Scores:
    """Scores without one channel each."""
    without = WithoutChannels(one.tail)
    at_once = _at_once(without.version, SHARES if without.shared else RERUNS)
    run = _scores_of(without, one.targets)
    return lambda channels: in_chunks(
        run, len(channels), lambda which: channels[which.to(channels.device)], at_once=at_once
    )


@of_image("forward", "the scores of changed images", place=None, cost="whole forwards")
def forward(one: OneImage) -> Scores:
    """Scores of versions of the image; the whole network computes."""
    return _versions(one, one.targets)


@of_image(
    "forward_probability", "the probabilities of changed images", place=None, cost="whole forwards"
)
def forward_probability(one: OneImage) -> Scores:
    """Probabilities of what the targets are about, of versions of the image."""
    return _versions(one, [_probability(target) for target in one.targets])


def _check_alone(run: Evidence, model: Bound, number: int) -> None:
    """Check that an image with what belongs to it scores as it did in the batch.

    Raises:
        ModelError: it does not: inputs that all images share were taken for a row each.
    """
    if not model.beside or len(run.scores) == 1:
        return
    alone = run.inputs[number : number + 1]
    with undisturbed(model), torch.no_grad():
        logits = at_least_float32(model(alone)).nan_to_num()
    wanted = run.logits[number : number + 1].nan_to_num()
    tolerance = 3e-2 if is_half(alone) else 5e-3
    if logits.shape != wanted.shape or not near(logits, wanted, tolerance):
        raise ModelError(
            "the scores of an image differ between a run alone and a run in the batch. "
            "If one of the other inputs belongs to all images together and has no row "
            "for each, name it with shared=. Otherwise give one image at a time."
        )


def _versions(one: OneImage, targets: Sequence[Target]) -> Scores:
    run, speed = one.run, one.run.speed
    at_once = _at_once(run.inputs[:1], FORWARDS)
    fast = _scores_of(many_runs(one.model, speed, at_once), targets)
    exact = _scores_of(many_runs(one.model, EXACT, at_once), targets)

    def scores(count: int, make: Callable[[Tensor], Tensor]) -> Tensor:
        if not speed.exact and count and not run.notes:
            run.note(_agreement(run, make(torch.arange(min(count, at_once))), fast, exact))
        return in_chunks(fast, count, make, at_once=at_once)

    return scores


def _agreement(
    run: Evidence,
    versions: Tensor,
    fast: Callable[[Tensor], Tensor],
    exact: Callable[[Tensor], Tensor],
) -> str:
    """How a faster run of some versions agrees with the model's own, and how fast it is."""
    fast(versions)  # compiles
    scores, seconds = [], []
    for one in (fast, exact):
        began = time.perf_counter()
        scores.append(one(versions).flatten().cpu())
        seconds.append(time.perf_counter() - began)
    found, wanted = scores
    spread = float(wanted.max() - wanted.min()) or 1.0
    worst = float((found - wanted).abs().max()) / spread
    return (
        f"{run.speed}: on {len(versions)} of the versions the scores are within "
        f"{worst:.2%} of their range from the model's own, in {seconds[0] / seconds[1]:.2f} "
        "times the time"
    )


def _scores_of(model: Callable[[Tensor], Any], targets: Sequence[Target]) -> Scores:
    """What the targets read, `(versions, targets)`, where `model` gives the outputs."""

    def scores(versions: Tensor) -> Tensor:
        with no_inference(), torch.no_grad():
            logits = at_least_float32(model(versions))[: len(versions)]
            return torch.stack([target(logits) for target in targets], 1)

    return scores


def _at_once(version: Tensor, on_cpu: int) -> int:
    size = version.numel() * version.element_size()
    most = on_cpu if version.device.type == "cpu" else ELSEWHERE
    return max(1, min(most, VERSIONS_BYTES // size))


def _probability(target: Target) -> Target:
    """The probability of a target's class; for `Finer`, the same difference of probabilities.

    Raises:
        MethodError: for a target that has none.
    """
    if isinstance(target, Finer) and target.gamma > 1:
        raise MethodError(
            f"gamma={target.gamma:g} gives this method weights below −1. Use a gamma of "
            "at most 1, or a method that uses scores: score-cam-increase, ablation-cam."
        )
    asked = of_probability(target)
    if asked is not None:
        return asked
    hint = " (evidence against a class has no probability)"
    raise MethodError(
        f"this method needs the probability of a class, but '{target}' has "
        f"none{hint if isinstance(target, Counterfactual) else ''}. Use a class as "
        "target, or a method that uses scores: score-cam-increase, ablation-cam."
    )
