"""Pictures laid side by side, measured into the store of rows."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seewhy.dataset import Record
from seewhy.dataset.results import Row
from seewhy.errors import ModelError, SeewhyError
from seewhy.evaluation.collages import Collage, choose, laid_together
from seewhy.evaluation.entries import Entry
from seewhy.evaluation.session import Session
from seewhy.metrics import METRICS
from seewhy.metrics.resizing import to_size


class CollageWork:
    """Measures the collages of one metric.

    Args:
        session: what the work shares.
        metric: its name.
        status: what became of each record, by its id.
    """

    def __init__(
        self, session: Session, metric: str, status: Mapping[str, Mapping[str, Any]]
    ) -> None:
        self._session, self._metric, self._status = session, metric, status
        self._options = session.protocol.metrics[metric]
        self._side: int = self._options["side"]

    def of(self, records: Sequence[Record]) -> list[Collage]:
        """Measure the collages of pictures that have been looked at; returns them."""
        side, entries = self._side, self._session.entries
        steps = self._options["count"] * len(entries)
        try:
            chosen = choose(records, self._status, **self._options)
            self._try_size()
        except SeewhyError as error:
            self._session.fail(self._metric, str(error))
            self._session.tick(steps)
            return []
        for one in chosen:
            self._session.kept.look_at_collage(one.id, one.records)
        at_once = max(1, self._session.examined.batch_size // side**2)
        for start in range(0, len(chosen), at_once):
            some = chosen[start : start + at_once]
            self._some(some)
            self._session.tick(len(some) * len(entries))
        self._session.tick(steps - len(chosen) * len(entries))
        return chosen

    def _some(self, collages: Sequence[Collage]) -> None:
        names = ["whole image", *(entry.name for entry in self._session.entries)]
        collages = [one for one in collages if any(self._cells(one, name) for name in names)]
        if not collages:
            return
        prepare, side = self._session.explainer.prepare, self._side
        try:
            images = laid_together(
                [[prepare(str(r.image)) for r in one.records] for one in collages], side
            )
        except SeewhyError as error:  # a picture that was there when it was looked at
            self._session.fail(" and ".join(one.id for one in collages), str(error))
            return
        flat = torch.ones(len(collages), side**2, side, side)
        self._keep("whole image", collages, flat, {})
        for entry in self._session.entries:
            pairs = zip(collages, images, strict=True)
            left = [(one, image) for one, image in pairs if self._cells(one, entry.name)]
            if left:
                work = partial(self._explain, entry)
                self._session.each(entry, left, work, lambda one: one[0].id)

    def _cells(self, collage: Collage, name: str) -> list[int]:
        """Those of which a method's result is not there yet."""
        return [
            cell for cell, label in enumerate(collage.labels)
            if (collage.id, name, label) not in self._session.kept
        ]  # fmt: skip

    def _explain(self, entry: Entry, some: Sequence[tuple[Collage, Tensor]]) -> None:
        collages = [one for one, _ in some]
        images = torch.stack([image for _, image in some])
        began = time.perf_counter()
        maps, layer = self._session.examined.explain_several(
            entry.method, images, [one.targets for one in collages], entry.options
        )
        seconds = (time.perf_counter() - began) / maps.shape[:2].numel()
        self._session.worked(entry)
        large = to_size(maps.flatten(0, 1), (images.shape[2], images.shape[3]))
        large = large.reshape(*maps.shape[:2], *large.shape[1:])
        self._keep(entry.name, collages, large, {"layer": layer, "seconds": seconds})

    def _keep(
        self, name: str, collages: Sequence[Collage], maps: Tensor, about: Mapping[str, Any]
    ) -> None:
        """The values of maps (n, cells, h, w)."""
        metric, side = self._metric, self._side
        began = time.perf_counter()
        values = METRICS[metric].function(maps, np.arange(side**2), side=side)
        spent = {metric: (time.perf_counter() - began) / values.size}
        self._session.kept.add(
            Row(one.id, name, one.labels[cell], {
                **about, "metrics": {metric: float(own[cell])}, "curves": {},
                "metric_seconds": spent,
            })
            for one, own in zip(collages, values, strict=True)
            for cell in self._cells(one, name)
        )  # fmt: skip

    def _try_size(self) -> None:
        """A black collage: does the network take one?"""
        preprocess, side = self._session.explainer.preprocess, self._side
        height, width = (side * one for one in preprocess.size)
        try:
            self._session.examined.logits(torch.zeros(1, len(preprocess.mean), height, width))
        except Exception as error:  # networks of one size say so as variously as they are built
            raise ModelError(
                f"grid-pointing needs inputs of {height} × {width} pixels ({side} × {side} "
                "pictures side by side), but the network does not accept this size "
                f"({error}). Leave this metric out."
            ) from error
