"""One run of a model, from which every kind of evidence is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import cached_property
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from seewhy.errors import ModelError
from seewhy.evidence.first_run import FirstRun, differentiable_run
from seewhy.evidence.table import TABLE, Row
from seewhy.meaning import check_vocabulary, meaning_of, settled
from seewhy.models.bound import Bound
from seewhy.models.many_runs import ChannelsLast, Speed
from seewhy.models.rerun import Rerun
from seewhy.models.watch import Layer, Watch
from seewhy.precision import at_least_float32
from seewhy.targets import Resolved

_T = TypeVar("_T")


class Evidence:
    """What one run of a model offers to the methods; `first` makes it, or has made it.

    For a batch, several targets of an image are laid along the batch, image by image, so that a
    formula never hears of them: `(batch * targets, channels, *positions)`.

    Attributes:
        model: bound to all that it is called with.
        inputs: `(batch, channels, *axes)`.
        layers: the ones that are looked at.
        first: what watches the model, or keeps the run that reruns set out from.
        labels: the names of the classes.
        asked: the target as it was asked for; None for the predicted class.
        speed: how the network runs for methods that run it many times.
        logits: `(batch, classes)` or `(batch,)`, at least float32.
        targets: the concrete targets, for each image.
        scores: `(batch, targets)`, detached.
        activations: of each layer, `(batch, channels, *positions)`.
        taken: what was taken from the first run's graph, by the name of its row.
        first_run: a run whose gradients of the pixels are still to be taken; None for none.
        last_linear: the last linear map and what it was given; None where nobody asked for it.
        assumed: what was taken for granted of the outputs, in words.
        notes: what a reader of the last map should know, in words.
        asked_by: the name of the method that is being served.
    """

    def __init__(
        self,
        model: Bound,
        inputs: Tensor,
        layers: Sequence[Layer],
        first: Watch | Rerun,
        target: Any,
        *,
        labels: Sequence[str] | None,
        rows: Sequence[Row],
        speed: Speed,
    ) -> None:
        self.model, self.inputs, self.layers = model, inputs, layers
        self.first, self.labels, self.speed, self.asked = first, labels, speed, target
        self.run = ChannelsLast(model)
        self.first_run: FirstRun | None = None
        self.last_linear: Any = None
        self._once: dict[str, Any] = {}
        logits = self._run_first(rows)
        if len(logits) != len(inputs):
            raise ModelError(
                f"the model returned {len(logits)} rows of scores for {len(inputs)} images, "
                "but one row per image is needed. If all are frames of one video, give (1, "
                "frames, channels, height, width). If output= chose another tensor, name "
                "the scores."
            )
        with first.looking_away() if isinstance(first, Watch) else nullcontext():
            meaning = meaning_of(model, inputs, logits)
        self.assumed = meaning.assumed
        self.targets: Resolved = settled(meaning, logits, target, labels)
        check_vocabulary(model, inputs, logits, self.targets)
        model.each = len(self.targets.targets[0])
        scores = self.score(logits)
        self.taken = {  # in the table's order: the last of them frees the graph
            row.name: row.from_graph(self, scores)
            for row in TABLE.values()
            if row.from_graph and row in rows
        }
        self.logits, self.scores = logits.detach(), scores.detach()
        self.notes: tuple[str, ...] = ()
        self.asked_by = ""

    def _run_first(self, rows: Sequence[Row]) -> Tensor:
        """The outputs of the first run, made in the cheapest way that shows all that is asked."""
        first, inputs = self.first, self.inputs
        rules = [row.relu for row in rows if row.relu]
        if isinstance(first, Rerun):
            self.layers[0].grid(first.raw, inputs.shape)  # raises where it is not on the picture
            self.activations = [first.activations]
            return at_least_float32(first.outputs)
        if not self.layers and len(rules) == 1:  # the run whose gradients will be wanted is enough
            self.activations = []
            self.first_run = differentiable_run(self.model, inputs, rules[0])
            return self.first_run.logits
        logits = at_least_float32(first(inputs))
        self.activations, self.last_linear = first.activations, first.last_linear
        return logits

    @cached_property
    def rows(self) -> Tensor:
        """The inputs, `(batch * targets, channels, *axes)`: each as often as it has targets."""
        return self.inputs.repeat_interleave(self.scores.shape[1], 0)

    def score(self, logits: Tensor) -> Tensor:
        """What the targets read of the batch's outputs, `(batch, targets)`."""
        columns = []
        for column in zip(*self.targets.targets, strict=True):
            if len(set(column)) == 1:
                columns.append(column[0](logits))
            else:
                rows = [target(logits[i : i + 1]) for i, target in enumerate(column)]
                columns.append(torch.cat(rows))
        return torch.stack(columns, 1)

    def score_rows(self, logits: Tensor) -> Tensor:
        """What the targets read of one or more copies of `rows`, `(copies * batch * targets,)`."""
        flat = [target for some in self.targets.targets for target in some]
        rows = [target(logits[row :: len(flat)]) for row, target in enumerate(flat)]
        return torch.stack(rows, 1).flatten()

    def once(self, name: str, make: Callable[[], _T]) -> _T:
        """What `make` gives, made when it is first asked for and kept for later methods."""
        if name not in self._once:
            self._once[name] = make()
        return cast(_T, self._once[name])

    @staticmethod
    def along_the_batch(by_target: Sequence[list[Tensor]]) -> list[Tensor]:
        """Each target's list as one list, targets laid along the batch image by image."""
        if len(by_target) == 1:
            return by_target[0]
        return [torch.stack(one, 1).flatten(0, 1) for one in zip(*by_target, strict=True)]

    def note(self, said: str) -> None:
        """Take what a reader of the map should know."""
        if said not in self.notes:
            self.notes = (*self.notes, said)
