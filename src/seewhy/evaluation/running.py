"""A model, methods and annotated pictures in; rows that outlive an interruption, and their sum."""

from __future__ import annotations

import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from seewhy.attribution import NO_LAYER
from seewhy.dataset import Dataset, Record, map_classes
from seewhy.dataset.results import ResultStore, Row, open_results
from seewhy.errors import DataError, MethodError, ModelError, SeewhyError, TargetError
from seewhy.evaluation.cases import Case, Truth, chosen_classes, subsets_of
from seewhy.evaluation.collages import Collage, choose, laid_together
from seewhy.evaluation.measuring import (
    PLACED_BASELINES,
    RANDOM_MAP,
    Examined,
    heatmaps_of,
    measure,
    random_maps,
    runner,
)
from seewhy.evaluation.summary import Evaluation, Protocol, summary
from seewhy.evaluation.writing import ROWS, write_files
from seewhy.explainer import Explainer, Prepared
from seewhy.images import Preprocess
from seewhy.layers import find_layers
from seewhy.methods import method_of
from seewhy.methods.method import Method, MethodLike
from seewhy.metrics import METRICS, find_metric
from seewhy.metrics.metric import PLACED
from seewhy.metrics.resizing import to_size
from seewhy.models.bound import to_model
from seewhy.models.load import LoadedModel
from seewhy.models.outputs import OutputSelector
from seewhy.targets import probability_of, resolve
from seewhy.targets.outputs import class_count, ranking
from seewhy.version import __version__

TARGETS = ("label", "predicted")
USED, MISCLASSIFIED, NO_CLASS = "used", "misclassified", "no class"
_T = TypeVar("_T")
_RECORD = ""  # the method of the row that says what became of a record


def evaluate(
    model: nn.Module | LoadedModel,
    data: Dataset,
    *,
    methods: Sequence[MethodLike] = ("grad-cam",),
    metrics: Sequence[str] | None = None,
    target: str = "label",
    only_correct: bool = True,
    mapping: Mapping[str, Sequence[int | str]] | None = None,
    layer: str | None = None,
    output: OutputSelector | None = None,
    preprocess: Preprocess | None = None,
    labels: Sequence[str] | None = None,
    options: Mapping[str, Any] | None = None,
    metric_options: Mapping[str, Mapping[str, Any]] | None = None,
    by_class: bool = False,
    limit: int | None = None,
    pictures: int = 4,
    batch_size: int = 8,
    seed: int = 0,
    out: str | Path | None = None,
    restart: bool = False,
    on_error: Callable[[str, str], None] | None = None,
    advance: Callable[[], None] | None = None,
) -> Evaluation:
    """How true the maps of some methods are, measured on annotated pictures.

    Each picture is explained for its own class (each of them, where it has several), and every
    metric is taken of every method. What is random depends on the seed and the image alone.

    Args:
        model: what `load_model` gave, or any module.
        data: what `seewhy.dataset.read_dataset` gave.
        methods: names or functions; differences are taken to the first.
        metrics: names in `seewhy.metrics.METRICS`; None: what `default_metrics` says.
        target: `"label"`: the class of each label; `"predicted"`: the model's first.
        only_correct: leave out pictures whose predicted class is none of its labels'.
        mapping: from labels of the data to classes, see `seewhy.dataset.map_classes`.
        layer, output, preprocess, labels: as `seewhy.Explainer` takes them; one layer.
        options: of the methods, for each that has such an option.
        metric_options: by metric: `{"road": {"shares": (0.1, 0.5)}}`.
        by_class: means are of the classes' means, as in the pointing game's paper.
        limit: this many pictures, drawn by the seed, the same in every run.
        pictures: so many of each method's best and worst are drawn, which takes a map each.
        batch_size: pictures explained at once.
        seed: of the sample, the random maps and the bootstrap.
        out: a folder for the results; a run that broke off there goes on. None keeps nothing.
        restart: throw away what is in `out`.
        on_error: hears the name of each record that cannot be used, and why.
        advance: called when a picture is done with one method, `len(methods)` times a picture, and
            as often for each collage.

    Raises:
        DataError: labels without a class, results in `out` of another protocol.
        MethodError, MetricError, LayerError, ModelError: what is asked for cannot be done.
    """
    explainer = Explainer(
        model, method=list(methods), layer=layer, output=output, preprocess=preprocess,
        labels=labels, batch_size=batch_size,
    )  # fmt: skip
    module = explainer.module
    if target not in TARGETS:
        raise TargetError(f"target='{target}' was given; {' or '.join(TARGETS)} is wanted.")
    if layer is not None and len(found := find_layers(module, [layer])) > 1:
        raise MethodError(f"'{layer}' names {len(found)} layers; one is looked at: name one.")
    chosen = _with_options(
        default_metrics(data) if metrics is None else metrics, metric_options or {}
    )
    entries = [_Entry.of(method, options or {}) for method in methods]
    if twice := {one.name for one in entries if [e.name for e in entries].count(one.name) > 1}:
        raise MethodError(f"{', '.join(sorted(twice))} came twice; each method is named once.")
    _check_options(entries, options or {})
    examined = Examined(module, explainer.labels, layer, output, batch_size)
    classes = map_classes(
        data.labels, explainer.labels, classes=_count_classes(examined, explainer),
        mapping=mapping, imagenet_ids=data.imagenet_ids,
    )  # fmt: skip
    masks = any(METRICS[m].needs == "mask" or o.get("on") == "mask" for m, o in chosen.items())
    masks = masks or not any(record.boxes for record in data.records)
    protocol = Protocol(
        model=explainer.name,
        weights=_fingerprint(module),
        data={"name": data.name, "kind": data.kind, "records": len(data)},
        classes={label: list(own) for label, own in classes.items()},
        target=target,
        only_correct=only_correct,
        layer=layer,
        preprocess=explainer.preprocess.to_json(),
        options=dict(options or {}),
        metrics={name: dict(given) for name, given in chosen.items()},
        versions={"seewhy": __version__, "torch": torch.__version__, "numpy": np.__version__},
        seed=seed,
    )
    selected = sample(data.records, limit, seed)
    problems = [(one.name, one.reason) for one in data.problems]
    for name, reason in problems if on_error else ():
        on_error(name, reason)  # type: ignore[misc]

    def fail(name: str, reason: str) -> None:
        problems.append((name, reason))
        if on_error is not None:
            on_error(name, reason)

    with ExitStack() as stack:
        if out is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="seewhy-")))
        else:
            folder = Path(out)
        if restart:
            (folder / ROWS).unlink(missing_ok=True)
        store = stack.enter_context(open_results(folder / ROWS, protocol.to_json()))
        work = _Work(
            explainer, examined, entries, chosen, classes, protocol, masks, store, fail,
            advance or (lambda: None),
        )  # fmt: skip
        for start in range(0, len(selected), batch_size):
            work.batch(selected[start : start + batch_size])
        collages = {name: work.collages(name, selected) for name in work.on_collages}
        evaluation = summary(
            store.rows, protocol, [record.id for record in selected],
            collages={one.id: one.labels for some in collages.values() for one in some},
            methods=[entry.name for entry in entries],
            options={entry.name: entry.options for entry in entries},
            problems=problems, left_out=len(data.problems), by_class=by_class,
        )  # fmt: skip
        if out is not None:
            drawn = work.drawn(evaluation.extremes(pictures), {one.id: one for one in selected})
            evaluation = write_files(folder, evaluation.with_images(drawn), store.rows)
    return evaluation


def default_metrics(data: Dataset) -> list[str]:
    """What the data allows and does not take long."""
    placed = []
    if any(record.boxes for record in data.records):
        placed = ["pointing", "energy", "box-accuracy"]
    if any(record.masks for record in data.records):
        placed.append("mask-iou")
    return [*placed, "drop", "increase"]


def sample(records: Sequence[Record], limit: int | None, seed: int) -> list[Record]:
    """At most `limit` records in their order; a larger limit has all of a smaller one's."""
    if limit is None or limit >= len(records):
        return list(records)
    if limit < 1:
        raise DataError(f"limit={limit} was given; at least one picture is wanted.")
    places = np.random.default_rng(seed).permutation(len(records))[:limit]
    return [records[place] for place in sorted(places.tolist())]


@dataclass(frozen=True)
class _Entry:
    """A method, what it is called, its options, and whether it draws by a seed."""

    name: str
    method: Method
    options: Mapping[str, Any]
    takes: tuple[str, ...]

    @classmethod
    def of(cls, method: MethodLike, options: Mapping[str, Any]) -> _Entry:
        found = method_of(method)
        own = {name: value for name, value in options.items() if name in found.options}
        return cls(found.name, found, own, tuple(found.options))


def _check_options(entries: Sequence[_Entry], options: Mapping[str, Any]) -> None:
    strange = [name for name in options if not any(name in one.takes for one in entries)]
    if strange:
        raise MethodError(
            f"{', '.join(one.name for one in entries)} has no option {', '.join(strange)}."
        )


def _with_options(
    names: Sequence[str], given: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    chosen = {name: find_metric(name).with_options(given.get(name, {})) for name in names}
    if strange := [name for name in given if name not in chosen]:
        raise MethodError(f"options came for {', '.join(strange)}, which is not measured.")
    return chosen


def _count_classes(examined: Examined, explainer: Explainer) -> int:
    black = torch.zeros(1, len(explainer.preprocess.mean), *explainer.preprocess.size)
    return class_count(examined.logits(black), examined.labels)


def _fingerprint(module: nn.Module) -> str:
    """Of the weights, so that results of two checkpoints of one name are not mixed."""
    number = 0
    for name, tensor in sorted(module.state_dict().items()):
        values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        number = zlib.crc32(memoryview(values.numpy()), zlib.crc32(name.encode(), number))
    return f"{number:08x}"


class _Work:
    """A run under way: batch after batch of records into the store."""

    def __init__(
        self,
        explainer: Explainer,
        examined: Examined,
        entries: Sequence[_Entry],
        metrics: Mapping[str, Mapping[str, Any]],
        classes: Mapping[str, Sequence[int]],
        protocol: Protocol,
        masks: bool,
        store: ResultStore,
        fail: Callable[[str, str], None],
        advance: Callable[[], None],
    ) -> None:
        self._explainer, self._examined, self._entries = explainer, examined, entries
        self.on_collages = {m: o for m, o in metrics.items() if METRICS[m].needs == "collage"}
        self._metrics = {m: o for m, o in metrics.items() if m not in self.on_collages}
        self._classes, self._protocol = classes, protocol
        self._masks, self._store, self._fail, self._advance = masks, store, fail, advance
        self._status = {row.record: row.values for row in store.rows if row.method == _RECORD}
        self._worked: set[str] = set()  # methods that gave a map in this run
        wanted = {b for name in self._metrics for b in METRICS[name].baselines}
        self._baselines = [b for b in (*PLACED_BASELINES, RANDOM_MAP) if b in wanted]

    def batch(self, records: Sequence[Record]) -> None:
        """Measure what is not in the store yet."""
        missing = []
        for record in records:
            if self._done(record):
                self._tick(len(self._entries))
            else:
                missing.append(record)
        for group in _of_one_size(self._prepared(missing)):
            cases = self._cases(group)
            broken: set[str] = set()
            for baseline in self._baselines if cases else ():
                self._measure_baseline(baseline, cases)
            for entry in self._entries:
                left = [case for case in cases if case.record.id not in broken]
                if self._metrics:
                    broken |= self._measure(entry, left)
                self._tick(len(group))

    def _done(self, record: Record) -> bool:
        status = self._status.get(record.id)
        if status is None or status["status"] != USED or not self._metrics:
            return status is not None
        names = [*self._baselines, *(entry.name for entry in self._entries)]
        return all(
            (record.id, name, label) in self._store for label in status["labels"] for name in names
        )

    def _tick(self, times: int) -> None:
        for _ in range(times):
            self._advance()

    def _prepared(self, records: Sequence[Record]) -> Iterator[tuple[Record, Prepared]]:
        for record in records:
            try:
                yield record, self._explainer.prepare(str(record.image))
            except SeewhyError as error:
                self._fail(record.id, str(error))
                self._tick(len(self._entries))

    def _cases(self, group: Sequence[tuple[Record, Prepared]]) -> list[Case]:
        """What is explained in the pictures; what becomes of the others is in the store."""
        logits = self._examined.logits(torch.stack([one.tensor for _, one in group]))
        cases: list[Case] = []
        rows = []
        for (record, prepared), row in zip(group, logits[:, None], strict=True):
            try:
                ranked = ranking(row, self._examined.labels)[0]
                own, values = self._of_record(record, prepared, row, ranked)
            except SeewhyError as error:
                self._fail(record.id, str(error))
                continue
            cases += own
            if record.id not in self._status:
                self._status[record.id] = values
                rows.append(Row(record.id, _RECORD, "", values))
        self._store.add(rows)
        return cases

    def _of_record(
        self, record: Record, prepared: Prepared, logits: Tensor, ranked: list[int]
    ) -> tuple[list[Case], dict[str, Any]]:
        size = (prepared.picture.shape[0], prepared.picture.shape[1])
        own = chosen_classes(record.labels, self._classes, ranked, self._protocol.target)
        right = any(ranked[0] in self._classes.get(label, ()) for label in record.labels)
        status = USED if own else NO_CLASS
        if own and self._protocol.only_correct and not right:
            status = MISCLASSIFIED
        values: dict[str, Any] = {"status": status, "predicted": ranked[0], "right": right}
        if status != USED:
            return [], values
        cases, labels = [], {}
        for label, index in own.items():
            target = resolve([index], logits, self._examined.labels).targets[0][0]
            truth = Truth.of(record, label, size, masks=self._masks)
            probability = probability_of(target, logits[0])
            cases.append(Case(record, label, prepared, target, probability, truth))
            labels[label] = {
                "class": index,
                "probability": probability,
                "subsets": subsets_of(truth.subsets, own),
            }
        return cases, {**values, "labels": labels}

    def _open(self, name: str, cases: Sequence[Case]) -> list[Case]:
        return [one for one in cases if (one.record.id, name, one.label) not in self._store]

    def _measure_baseline(self, name: str, cases: Sequence[Case]) -> None:
        cases = self._open(name, cases)
        metrics = {m: o for m, o in self._metrics.items() if name in METRICS[m].baselines}
        if not cases:
            return
        if name == RANDOM_MAP:
            maps = random_maps(cases, self._protocol.seed)
            measured = measure(metrics, cases, [], runner(self._examined, cases, maps))
        else:
            heatmaps = [PLACED_BASELINES[name](case.size) for case in cases]
            if name == "whole image":  # which has no box once it is scaled to its own range
                metrics = {
                    m: {**o, "scaling": "none"} if METRICS[m].needs == "boxes" else o
                    for m, o in metrics.items()
                }
            measured = measure(metrics, cases, heatmaps, None)
        self._keep(name, cases, measured, {})

    def _measure(self, entry: _Entry, cases: Sequence[Case]) -> set[str]:
        """Returns the records on which the method failed."""
        cases = self._open(entry.name, cases)
        broken: set[str] = set()
        for start in range(0, len(cases), self._examined.batch_size):
            some = cases[start : start + self._examined.batch_size]
            work = partial(self._measure_some, entry)
            broken |= self._each(entry, some, work, lambda one: one.record.id)
        return broken

    def _each(
        self,
        entry: _Entry,
        some: Sequence[_T],
        work: Callable[[Sequence[_T]], None],
        name: Callable[[_T], str],
    ) -> set[str]:
        """Work on all at once, or on one by one where that fails; returns those that fail alone."""
        try:
            work(some)
        except (MethodError, TargetError, RuntimeError) as error:
            if entry.name not in self._worked:
                self._try_without_picture(entry)
            if len(some) > 1:
                return set().union(*(self._each(entry, [one], work, name) for one in some))
            self._fail(name(some[0]), f"{entry.name}: {error}")
            return {name(some[0])}
        return set()

    def _measure_some(self, entry: _Entry, cases: Sequence[Case]) -> None:
        examined = self._examined
        images = to_model(examined.module, torch.stack([one.prepared.tensor for one in cases]))
        started = time.perf_counter()
        maps, layer = examined.explain(
            entry.method, images, [case.target for case in cases], entry.options
        )
        seconds = (time.perf_counter() - started) / len(cases)
        self._worked.add(entry.name)
        heatmaps: list[np.ndarray] = []
        if any(METRICS[name].needs in PLACED for name in self._metrics):
            heatmaps = heatmaps_of(cases, maps)
        run_metric = runner(
            examined, cases, maps, method=entry.method, options=entry.options,
            takes_seed="seed" in entry.takes, layer=None if layer in NO_LAYER else layer,
        )  # fmt: skip
        measured = measure(self._metrics, cases, heatmaps, run_metric)
        self._keep(entry.name, cases, measured, {"layer": layer, "seconds": seconds})

    def collages(self, metric: str, records: Sequence[Record]) -> list[Collage]:
        """Measure the collages of pictures that have been looked at; returns them."""
        options = dict(self.on_collages[metric])
        side, steps = options["side"], options["count"] * len(self._entries)
        try:
            chosen = choose(records, self._status, **options)
            self._try_size(side)
        except SeewhyError as error:
            self._fail(metric, str(error))
            self._tick(steps)
            return []
        at_once = max(1, self._examined.batch_size // side**2)
        for start in range(0, len(chosen), at_once):
            some = chosen[start : start + at_once]
            self._some_collages(metric, some, side)
            self._tick(len(some) * len(self._entries))
        self._tick(steps - len(chosen) * len(self._entries))
        return chosen

    def _some_collages(self, metric: str, collages: Sequence[Collage], side: int) -> None:
        names = ["whole image", *(entry.name for entry in self._entries)]
        collages = [one for one in collages if any(self._cells(one, name) for name in names)]
        if not collages:
            return
        try:
            images = laid_together(
                [[self._explainer.prepare(str(r.image)) for r in one.records] for one in collages],
                side,
            )
        except SeewhyError as error:  # a picture that was there when it was looked at
            self._fail(" and ".join(one.id for one in collages), str(error))
            return
        flat = torch.ones(len(collages), side**2, side, side)
        self._keep_collages(metric, "whole image", collages, flat, {})
        for entry in self._entries:
            left = [
                (one, image) for one, image in zip(collages, images, strict=True)
                if self._cells(one, entry.name)
            ]  # fmt: skip
            if left:
                work = partial(self._explain_collages, metric, entry)
                self._each(entry, left, work, lambda one: one[0].id)

    def _cells(self, collage: Collage, name: str) -> list[int]:
        """Those of which a method's result is not there yet."""
        return [
            cell for cell, label in enumerate(collage.labels)
            if (collage.id, name, label) not in self._store
        ]  # fmt: skip

    def _explain_collages(
        self, metric: str, entry: _Entry, some: Sequence[tuple[Collage, Tensor]]
    ) -> None:
        collages = [one for one, _ in some]
        images = torch.stack([image for _, image in some])
        began = time.perf_counter()
        maps, layer = self._examined.explain_several(
            entry.method, images, [one.targets for one in collages], entry.options
        )
        seconds = (time.perf_counter() - began) / maps.shape[:2].numel()
        self._worked.add(entry.name)
        large = to_size(maps.flatten(0, 1), (images.shape[2], images.shape[3]))
        large = large.reshape(*maps.shape[:2], *large.shape[1:])
        about = {"layer": layer, "seconds": seconds}
        self._keep_collages(metric, entry.name, collages, large, about)

    def _keep_collages(
        self,
        metric: str,
        name: str,
        collages: Sequence[Collage],
        maps: Tensor,
        about: Mapping[str, Any],
    ) -> None:
        """The values of maps (n, cells, h, w)."""
        side = self.on_collages[metric]["side"]
        began = time.perf_counter()
        values = METRICS[metric].function(maps, np.arange(side**2), side=side)
        spent = {metric: (time.perf_counter() - began) / values.size}
        self._store.add(
            Row(one.id, name, one.labels[cell], {
                **about, "metrics": {metric: float(own[cell])}, "curves": {},
                "metric_seconds": spent,
            })
            for one, own in zip(collages, values, strict=True)
            for cell in self._cells(one, name)
        )  # fmt: skip

    def _try_size(self, side: int) -> None:
        """A black collage: does the network take one?"""
        preprocess = self._explainer.preprocess
        height, width = (side * one for one in preprocess.size)
        try:
            self._examined.logits(torch.zeros(1, len(preprocess.mean), height, width))
        except Exception as error:  # networks of one size say so as variously as they are built
            raise ModelError(
                f"the network does not take {height} × {width} pixels, the size of {side} × {side} "
                f"pictures laid side by side ({error}); leave this metric out."
            ) from error

    def _keep(self, name: str, cases: Sequence[Case], measured: Any, more: dict[str, Any]) -> None:
        self._store.add(
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

    def _try_without_picture(self, entry: _Entry) -> None:
        """Explain a black input: what fails there fails with any picture."""
        preprocess = self._explainer.preprocess
        black = torch.zeros(1, len(preprocess.mean), *preprocess.size)
        target = resolve(None, self._examined.logits(black), self._examined.labels).targets[0][0]
        self._examined.explain(entry.method, black, [target], entry.options)

    def drawn(
        self, extremes: Sequence[Mapping[str, Any]], records: Mapping[str, Record]
    ) -> list[dict[str, Any]]:
        """The best and the worst of each method, explained once more and drawn."""
        from seewhy.evaluation.writing import draw

        drawn = []
        by_name = {entry.name: entry for entry in self._entries}
        for extreme in extremes:
            record, label = records[extreme["record"]], extreme["label"]
            try:
                prepared = self._explainer.prepare(str(record.image))
            except SeewhyError:
                continue  # it was there when it was measured
            logits = self._examined.logits(prepared.tensor[None])
            index = self._status[record.id]["labels"][label]["class"]
            target = resolve([index], logits, self._examined.labels).targets[0][0]
            entry = by_name[extreme["method"]]
            maps, _ = self._examined.explain(
                entry.method, prepared.tensor[None], [target], entry.options
            )
            drawn.append({**extreme, "picture": draw(prepared, maps[0], record.boxes_of(label))})
        return drawn


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
