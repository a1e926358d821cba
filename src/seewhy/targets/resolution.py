"""One concrete target an image: predicted classes, top k and names settled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from seewhy.errors import TargetError
from seewhy.targets.boxes import BoxScore
from seewhy.targets.grammar import parse_target
from seewhy.targets.kinds import (
    Binary,
    Choice,
    ClassScore,
    Contrast,
    Finer,
    Function,
    Outcome,
    Predicted,
    Probability,
    Regression,
    Target,
    class_column,
)
from seewhy.targets.language import Sentence, Token
from seewhy.targets.many import PerImage, Several, TopK
from seewhy.targets.outputs import (
    Ending,
    are_log_probabilities,
    checked_outputs,
    class_count,
    ending_of,
    is_detections,
    is_maps,
    without_single_axes,
)
from seewhy.targets.ranking import box_of_class, ranked
from seewhy.targets.regions import Region
from seewhy.targets.similarity import Similarity


@dataclass(frozen=True)
class Resolved:
    """Concrete targets: for each image of the batch a tuple of targets, all of one length.

    `several` tells one target an image (no target axis) from several, `TopK(1)` included;
    `ending` is what the network does to its logits last, as far as it is known.
    """

    targets: tuple[tuple[Target, ...], ...]
    several: bool
    ending: Ending = None


def resolve(
    target: Any,
    outputs: Tensor,
    labels: Sequence[str] | None = None,
    *,
    ending: Ending = None,
    as_given: Callable[[Tensor], Tensor] | None = None,
) -> Resolved:
    """Settles for each image what was open: predicted classes, top k, names, one-logit sides.

    With two labels, a network with one output is a binary classifier: positive (z ≥ 0) is
    labels[1], and class indices and predictions become `Binary` sides. Equal scores rank by index.
    Outputs that end in a sigmoid or a softmax are read as the probabilities that they are.

    Where the network gives a map for each class, a class is its `Region`, where it is predicted
    now; in `A vs B` both are read where A is. Where it gives boxes, a class is the `BoxScore` of
    its highest-scored box.

    Args:
        target: A `Choice`, or anything `parse_target` takes.
        outputs: The logits, (batch, classes), (batch,) or (batch, 1); maps
            `(batch, classes, *size)`, boxes (batch, n, 4 + classes); for `Function` and
            `Similarity`, any shape.
        labels: The names of the classes, in order.
        ending: What the network is known to do to its logits last. None: what the outputs' values
            prove, which is a softmax or nothing.
        as_given: Gives the outputs back the form in which the network returned them, for a
            `Function`, where they have been brought into another one.

    Raises:
        TargetError: An index out of range, a list of another length than the batch, NaN where a
            prediction is asked for, one output of unknown meaning, labels that do not fit.
    """
    choice = parse_target(target, labels)
    batch = checked_outputs(outputs).shape[0]
    ending = ending or ending_of(outputs)
    if isinstance(choice, PerImage) and len(choice.targets) != batch:
        raise TargetError(
            f"the list has {len(choice.targets)} targets, but the batch has {batch} "
            "images. A list holds one target for each image; a tuple holds several "
            "targets for every image"
        )
    spatial = is_maps(outputs) or is_detections(outputs)
    most = _asked(choice)
    ranks = ranked(outputs, labels, most, ending) if most else []
    own = (Finer, Region, ClassScore) if spatial else (Finer, Region)
    differ = bool(ranks) or any(isinstance(part, own) for part in choice.parts())

    def settled(each: Choice, image: int) -> tuple[Target, ...]:
        try:
            return concrete(each, image)
        except TargetError as error:
            if batch == 1 or outputs[image].isfinite().all():
                raise
            raise TargetError(
                f"image {image} (counted from 0) of {batch} cannot be explained: {error}"
            ) from error

    def concrete(each: Choice, image: int) -> tuple[Target, ...]:
        found = ranks[image] if ranks else []
        own = outputs[image : image + 1]
        return tuple(
            (one.with_parts(_in_one_place) if is_maps(outputs) else one).with_parts(
                lambda part: _concrete(_as_it_ends(part, ending, as_given), own, labels, found)
            )
            for one in _spread(each, found)
        )

    if isinstance(choice, PerImage):
        targets = tuple(settled(each, image) for image, each in enumerate(choice.targets))
    elif differ:
        targets = tuple(settled(choice, image) for image in range(batch))
    else:
        targets = (settled(choice, 0),) * batch

    counts = [len(each) for each in targets]
    if len(set(counts)) > 1:
        raise TargetError(
            "the images have different numbers of targets "
            f"({', '.join(map(str, counts))}). Give every image the same number"
        )
    given = choice.targets if isinstance(choice, PerImage) else (choice,)
    several = not all(isinstance(each, Target) for each in given)
    return Resolved(targets, several, ending)


def _asked(choice: Choice) -> int:
    """How many of the classes or boxes ranked first are asked for; 0: none by its rank."""
    ranks = [part.k for part in choice.parts() if isinstance(part, TopK)]
    ranks += [part.rank + 1 for part in choice.parts() if isinstance(part, Predicted)]
    return max(ranks, default=0)


def _as_it_ends(
    part: Target, ending: Ending, as_given: Callable[[Tensor], Tensor] | None
) -> Target:
    """A target that knows how the network ends; a function that sees what the network gave."""
    if isinstance(part, Outcome):
        return part.behind(ending)
    if isinstance(part, Function) and part.function is not None and as_given is not None:
        function = part.function
        return replace(part, function=lambda outputs: function(as_given(outputs)))
    return part


def _spread(choice: Choice, found: list[Target]) -> Iterator[Target]:
    """The targets of one image, their classes still open."""
    if isinstance(choice, Several):
        for each in choice.targets:
            yield from _spread(each, found)
    elif isinstance(choice, TopK):
        if choice.k > len(found):
            raise TargetError(
                f"target top{choice.k} needs {choice.k} classes, but {_there_are(found)}"
            )
        yield from (Predicted(rank) for rank in range(choice.k))
    elif isinstance(choice, Target):
        yield choice


def _in_one_place(part: Target) -> Target:
    """`A vs B` on maps: B is read where A is predicted, or the two could not be compared."""
    if not isinstance(part, Contrast):
        return part
    a, b = (each.of if isinstance(each, Probability) else each for each in (part.a, part.b))
    if not (isinstance(a, ClassScore | Predicted) and isinstance(b, ClassScore)):
        return part
    there: Target = Region(b.index, a, b.label, b.ending)
    if isinstance(part.b, Probability):
        there = Probability(there, part.b.sigmoid)
    return Contrast(part.a, there)


def _concrete(
    part: Target, outputs: Tensor, labels: Sequence[str] | None, found: list[Target]
) -> Target:
    """A target whose parts are concrete, for one image's outputs: its classes known and there."""
    if isinstance(part, Finer):
        return part.settled(outputs, labels)
    if isinstance(part, Probability) and part.sigmoid and are_log_probabilities(outputs):
        return Probability(part.of)  # the sigmoid of a logarithm is nothing
    if isinstance(part, Predicted):
        if part.rank >= len(found):
            raise TargetError(
                f"the class ranked {part.rank + 1} was asked for, but {_there_are(found)}"
            )
        part = _as_it_ends(found[part.rank], part.ending, None)
    if isinstance(part, ClassScore):
        index = class_column(part.index, class_count(outputs, labels), one=is_maps(outputs))
        label = labels[index] if labels and index < len(labels) else part.label
        if is_maps(outputs):
            part = Region(index, ending=part.ending)
        elif is_detections(outputs):
            part = box_of_class(outputs, index, ClassScore(index, label).describe(labels))
        else:
            flat = without_single_axes(outputs)
            if flat.ndim == 1 or flat.shape[1] == 1:
                return Binary(index == 1, label, part.ending)
            return ClassScore(index, label, part.ending)
    if isinstance(part, Region | BoxScore):
        if isinstance(part, Region) and isinstance(part.where, tuple) and is_detections(outputs):
            part = BoxScore(part.index, part.where)
        return part.settled(outputs, labels)
    if isinstance(part, Binary | Regression | Token | Sentence | Similarity):
        part(outputs.detach())  # raises where it does not fit, before anything runs backwards
    if isinstance(part, Binary) and labels and len(labels) == 2:
        return Binary(part.positive, labels[part.positive], part.ending)
    return part


def _there_are(found: list[Target]) -> str:
    if not found:
        return "the network finds nothing in this image"
    if isinstance(found[0], BoxScore):
        return f"the network finds {len(found)} boxes in this image"
    if isinstance(found[0], Region):
        return f"the network sees {len(found)} classes in this image"
    return f"the network has {len(found)} classes"
