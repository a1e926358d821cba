"""Several classes as one: any cat, whichever of seven."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from seewhy.errors import TargetError
from seewhy.targets.kinds import Labels, Outcome, class_column, wide_logits
from seewhy.targets.outputs import Ending, as_logits, checked_outputs


@dataclass(frozen=True)
class AnyOf(Outcome):
    """Any of some classes: log Σ exp of their logits, whose probability is the sum of theirs.

    That is the largest of the logits, smoothed: the classes share the gradient as their
    probabilities are. Where the network gives probabilities itself, their sum.

    Args:
        classes: the classes' numbers, from 0.
        name: what they have in common, for printing only.
        ending: see `Outcome`.
    """

    classes: tuple[int, ...]
    name: str | None = field(default=None, compare=False)
    ending: Ending = field(default=None, compare=False, repr=False)

    def __init__(
        self, classes: Sequence[int], name: str | None = None, ending: Ending = None
    ) -> None:
        if len(set(classes)) < 2:
            raise TargetError(
                f"'any:' needs at least two classes, not {list(classes)}. For one class, "
                "name it without 'any:'"
            )
        object.__setattr__(self, "classes", tuple(dict.fromkeys(classes)))
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "ending", ending)

    def _score(self, outputs: Tensor) -> Tensor:
        own = self._own(as_logits(outputs))
        return own.sum(1) if self.ending is not None else own.logsumexp(1)

    def chance(self, outputs: Tensor, sigmoid: bool) -> Tensor:
        """The sum of their softmax probabilities.

        Raises:
            TargetError: for sigmoids, of which each says something of its own.
        """
        if sigmoid or self.ending == "sigmoid":
            raise TargetError(
                "the classes have independent sigmoids, so there is no joint probability "
                "of several classes. Explain the classes one by one"
            )
        if self.ending is not None:
            return self(outputs)
        logits = as_logits(outputs)
        wide = wide_logits(logits)
        own = self._own(wide)
        rest = [index for index in range(wide.shape[1]) if index not in self.classes]
        if not rest:
            return torch.ones_like(checked_outputs(logits[:, 0]))
        margin = own.logsumexp(1) - wide[:, rest].logsumexp(1)
        return logsigmoid(margin).exp().to(checked_outputs(outputs).dtype)

    def _own(self, logits: Tensor) -> Tensor:
        return logits[:, [class_column(index, logits.shape[1]) for index in self.classes]]

    def _words(self, labels: Labels) -> str:
        if self.name is not None:
            return f"any {self.name} ({len(self.classes)} classes)"
        known = labels or ()
        named = [
            known[index].split(",")[0] if index < len(known) else f"class {index}"
            for index in self.classes
        ]
        return f"any of {', '.join(named)}"
