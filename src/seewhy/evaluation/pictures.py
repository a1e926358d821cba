"""Batch after batch of pictures, measured into the store of rows."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from seewhy.attribution import NO_LAYER
from seewhy.dataset import Record
from seewhy.dataset.results import Row
from seewhy.errors import SeewhyError
from seewhy.evaluation.cases import Case, Truth, chosen_classes, subsets_of
from seewhy.evaluation.entries import Entry
from seewhy.evaluation.kept import OF_RECORD
from seewhy.evaluation.measuring import (
    PLACED_BASELINES,
    RANDOM_MAP,
    Scores,
    heatmaps_of,
    measure,
    random_maps,
    runner,
)
from seewhy.evaluation.session import Session
from seewhy.explainer import Prepared
from seewhy.metrics import METRICS
from seewhy.metrics.metric import PLACED
from seewhy.models.bound import to_model
from seewhy.targets import Target, probability_of
from seewhy.targets.outputs import ranking

USED, MISCLASSIFIED, NO_CLASS = "used", "misclassified", "no class"


class PictureWork:
    """Measures the pictures of one session.

    Args:
        session: what the work shares.
        masks: whether the masks' files are read.

    Attributes:
        status: what became of each record that was looked at, by its id: whether it is `used`,
            the class `predicted` with its `probability`, whether that is `right`, of each label
            that has a class the `truth`, and of each that is explained what is known of it.
    """

    def __init__(self, session: Session, *, masks: bool) -> None:
        self._session, self._masks = session, masks
        self._metrics = session.protocol.of_pictures
        self.status: dict[str, Mapping[str, Any]] = {}
        wanted = {b for name in self._metrics for b in METRICS[name].baselines}
        self._baselines = [b for b in (*PLACED_BASELINES, RANDOM_MAP) if b in wanted]

    def batch(self, records: Sequence[Record]) -> None:
        """Measure what is not in the store yet."""
        entries = self._session.entries
        missing = []
        for record in records:
            self._session.kept.look_at(record)
            if (known := self._session.kept.get((record.id, OF_RECORD, ""))) is not None:
                self.status[record.id] = known.values
            if self._done(record):
                self._session.tick(len(entries))
            else:
                missing.append(record)
        for group in _of_one_size(self._prepared(missing)):
            cases = self._cases(group)
            broken: set[str] = set()
            for baseline in self._baselines if cases else ():
                self._measure_baseline(baseline, cases)
            for entry in entries:
                left = [case for case in cases if case.record.id not in broken]
                if self._metrics:
                    broken |= self._measure(entry, left)
                self._session.tick(len(group))

    def _done(self, record: Record) -> bool:
        status = self.status.get(record.id)
        if status is None or status["status"] != USED or not self._metrics:
            return status is not None
        names = [*self._baselines, *(entry.name for entry in self._session.entries)]
        return all(
            (record.id, name, label) in self._session.kept
            for label in status["labels"]
            for name in names
        )

    def _prepared(self, records: Sequence[Record]) -> Iterator[tuple[Record, Prepared]]:
        for record in records:
            try:
                yield record, self._session.explainer.prepare(str(record.image))
            except SeewhyError as error:
                self._session.fail(record.id, str(error))
                self._session.tick(len(self._session.entries))

    def _cases(self, group: Sequence[tuple[Record, Prepared]]) -> list[Case]:
        """The cases to explain. The store has the status of all other pictures."""
        examined = self._session.examined
        logits, meaning = examined.read(torch.stack([one.tensor for _, one in group]))
        cases: list[Case] = []
        rows = []
        for (record, prepared), row in zip(group, logits[:, None], strict=True):
            try:
                ranked = ranking(row, examined.labels, meaning.ending)[0]
                own, values = self._of_record(record, prepared, Scores(row, meaning), ranked)
            except SeewhyError as error:
                self._session.fail(record.id, str(error))
                continue
            cases += own
            if record.id not in self.status:
                self.status[record.id] = values
                rows.append(Row(record.id, OF_RECORD, "", values))
        self._session.kept.add(rows)
        return cases

    def _of_record(
        self, record: Record, prepared: Prepared, scores: Scores, ranked: list[int]
    ) -> tuple[list[Case], dict[str, Any]]:
        protocol = self._session.protocol
        size = (prepared.picture.shape[0], prepared.picture.shape[1])
        true = chosen_classes(record.labels, protocol.classes, ranked, "label")
        own = chosen_classes(record.labels, protocol.classes, ranked, protocol.target)
        right = any(ranked[0] in protocol.classes.get(label, ()) for label in record.labels)
        status = USED if own else NO_CLASS
        if own and protocol.only_correct and not right:
            status = MISCLASSIFIED
        values: dict[str, Any] = {
            "status": status,
            "right": right,
            "predicted": ranked[0],
            "probability": self._of_class(ranked[0], scores)[1],
            "truth": {
                label: {"class": index, "probability": self._of_class(index, scores)[1]}
                for label, index in true.items()
            },
        }
        if status != USED:
            return [], values
        cases, labels = [], {}
        for label, index in own.items():
            target, probability = self._of_class(index, scores)
            truth = Truth.of(record, label, size, masks=self._masks)
            cases.append(Case(record, label, prepared, target, probability, truth))
            labels[label] = {
                "class": index,
                "probability": probability,
                "subsets": subsets_of(truth.subsets, own),
            }
        return cases, {**values, "labels": labels}

    def _of_class(self, index: int, scores: Scores) -> tuple[Target, float | None]:
        """The target, and its probability where it has one; scores of one image."""
        target = self._session.examined.target_of([index], scores)
        return target, probability_of(target, scores.logits[0])

    def _open(self, name: str, cases: Sequence[Case]) -> list[Case]:
        kept = self._session.kept
        return [one for one in cases if (one.record.id, name, one.label) not in kept]

    def _measure_baseline(self, name: str, cases: Sequence[Case]) -> None:
        cases = self._open(name, cases)
        metrics = {m: o for m, o in self._metrics.items() if name in METRICS[m].baselines}
        if not cases:
            return
        if name == RANDOM_MAP:
            maps = random_maps(cases, self._session.protocol.seed)
            measured = measure(metrics, cases, [], runner(self._session.examined, cases, maps))
        else:
            heatmaps = [PLACED_BASELINES[name](case.size) for case in cases]
            if name == "whole image":  # which has no box once it is scaled to its own range
                metrics = {
                    m: {**o, "scaling": "none"} if METRICS[m].needs == "boxes" else o
                    for m, o in metrics.items()
                }
            measured = measure(metrics, cases, heatmaps, None)
        self._keep(name, cases, measured, {})

    def _measure(self, entry: Entry, cases: Sequence[Case]) -> set[str]:
        """Returns the records on which the method failed."""
        cases = self._open(entry.name, cases)
        broken: set[str] = set()
        size = self._session.examined.batch_size
        for start in range(0, len(cases), size):
            work = partial(self._measure_some, entry)
            some = cases[start : start + size]
            broken |= self._session.each(entry, some, work, lambda one: one.record.id)
        return broken

    def _measure_some(self, entry: Entry, cases: Sequence[Case]) -> None:
        examined = self._session.examined
        images = to_model(examined.module, torch.stack([one.prepared.tensor for one in cases]))
        started = time.perf_counter()
        maps, layer = examined.explain(
            entry.method, images, [case.target for case in cases], entry.options
        )
        seconds = (time.perf_counter() - started) / len(cases)
        self._session.worked(entry)
        heatmaps: list[np.ndarray] = []
        if any(METRICS[name].needs in PLACED for name in self._metrics):
            heatmaps = heatmaps_of(cases, maps)
        run_metric = runner(
            examined, cases, maps, method=entry.method, options=entry.options,
            takes_seed="seed" in entry.method.options, layer=None if layer in NO_LAYER else layer,
        )  # fmt: skip
        measured = measure(self._metrics, cases, heatmaps, run_metric)
        self._keep(entry.name, cases, measured, {"layer": layer, "seconds": seconds})

    def _keep(self, name: str, cases: Sequence[Case], measured: Any, more: dict[str, Any]) -> None:
        self._session.kept.add(
            Row(
                case.record.id,
                name,
                case.label,
                {
                    **more,
                    "metrics": {metric: v[place] for metric, v in measured.values.items()},
                    "curves": {metric: c[place] for metric, c in measured.curves.items()},
                    "metric_seconds": measured.seconds,
                },
            )
            for place, case in enumerate(cases)
        )


def _of_one_size(
    pairs: Iterator[tuple[Record, Prepared]],
) -> Iterator[list[tuple[Record, Prepared]]]:
    group: list[tuple[Record, Prepared]] = []
    for record, prepared in pairs:
        if group and prepared.tensor.shape != group[0][1].tensor.shape:
            yield group
            group = []
        group.append((record, prepared))
    if group:
        yield group
