"""What a model's outputs mean: found out once a model, before a target reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from seewhy.errors import TargetError
from seewhy.models.bound import Bound
from seewhy.models.ending import ends_in_normalisation, ends_in_sigmoid
from seewhy.models.layout import as_given, check_form, is_open
from seewhy.models.outputs import are_embeddings
from seewhy.models.undisturbed import undisturbed
from seewhy.precision import at_least_float32
from seewhy.targets import Regression, Resolved, Sentence, Target, Token, resolve
from seewhy.targets.outputs import Ending, ending_of, may_be_probabilities


@dataclass(frozen=True)
class Meaning:
    """How a model's outputs are to be read.

    Attributes:
        ending: what the model does to its logits last.
        as_given: brings outputs back into the form in which the model gave them; None where they
            have it.
        assumed: what could not be seen and was assumed, in words.
    """

    ending: Ending = None
    as_given: Callable[[Tensor], Tensor] | None = None
    assumed: tuple[str, ...] = ()


def meaning_of(model: Bound, inputs: Tensor, outputs: Tensor) -> Meaning:
    """How outputs that a model has just given are to be read.

    It runs the model only where something is open, and once for each model and size: where all
    outputs lie between 0 and 1, and where their size fits the picture in an unusual way.

    Args:
        model: the model, bound to what it is called with; no part of it is being watched.
        inputs: the pictures `(batch, channels, *axes)`.
        outputs: its scores for them, of whatever shape.

    Raises:
        ModelError: if a change in a corner of the picture contradicts what their size says.
    """
    form = model.form
    ending = ending_of(outputs)
    if ending is None and may_be_probabilities(outputs) and ends_in_sigmoid(model, inputs, outputs):
        ending = "sigmoid"
    said = None
    if is_open(outputs.shape, form, inputs.shape) and inputs.device.type != "meta":
        alone = model.image(0)

        def run(image: Tensor) -> Tensor:
            with undisturbed(alone), torch.no_grad():
                return at_least_float32(alone(image))

        said = check_form(model.module, run, inputs[:1], outputs, form, model.output)
    return Meaning(
        ending,
        None if form == "as wanted" else partial(as_given, form=form),
        () if said is None else (said,),
    )


def settled(
    meaning: Meaning, outputs: Tensor, target: Any, labels: Sequence[str] | None
) -> Resolved:
    """The concrete targets of outputs that are to be read so.

    Raises:
        TargetError: for what these outputs have no target of.
    """
    return resolve(target, outputs, labels, ending=meaning.ending, as_given=meaning.as_given)


def said_of(ending: Ending, target: Target) -> str | None:
    """What a reader of a target's map should know of how the network ends, in words."""
    if ending is None:
        return None
    if isinstance(target, Regression):
        return (
            f"the model ends in a {ending}, so gradients become very small near 0 and "
            "1. If the model also returns the values before it, name them with output="
        )
    return (
        f"the outputs are probabilities (a {ending} inside the model), so the score "
        "is a probability and its gradient becomes very small where the model is "
        "sure. If the model also returns logits, name them with output="
    )


def check_vocabulary(model: Bound, inputs: Tensor, outputs: Tensor, targets: Resolved) -> None:
    """A token is asked for only where the outputs are scores over a vocabulary.

    Raises:
        TargetError: if they are embeddings or hidden states, by their name or by what made them.
    """
    flat = [part for some in targets.targets for one in some for part in one.parts()]
    if not any(isinstance(part, Token | Sentence) for part in flat):
        return
    named = are_embeddings(model.scores_at)
    if named or ends_in_normalisation(model, inputs, outputs):
        what = f"'{model.scores_at}'" if model.scores_at else "the output"
        how = "by its name" if named else "as it comes out of a layer normalisation"
        raise TargetError(
            f"a token has a score over a vocabulary, but {what} {tuple(outputs.shape)} "
            f"contains hidden states or embeddings, {how}. Name the scores with output= "
            "if the model returns them, call the part of the model that returns them, "
            "or use a Similarity."
        )
