"""A model, methods and annotated pictures in; rows that outlive an interruption, and their sum."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from seewhy.dataset import Dataset, map_classes
from seewhy.dataset.results import open_results
from seewhy.errors import MethodError, TargetError
from seewhy.evaluation.collage_work import CollageWork
from seewhy.evaluation.drawing import drawn, drawn_wrong
from seewhy.evaluation.entries import entries_of
from seewhy.evaluation.kept import KeptRows
from seewhy.evaluation.measuring import Examined
from seewhy.evaluation.picking import pictures_to_show
from seewhy.evaluation.pictures import PictureWork
from seewhy.evaluation.protocol import (
    TARGETS,
    Protocol,
    checksum,
    default_metrics,
    metrics_with_options,
    sample,
    versions,
)
from seewhy.evaluation.result import Evaluation
from seewhy.evaluation.session import Session
from seewhy.evaluation.summary import summary
from seewhy.evaluation.writing import ROWS, write_files
from seewhy.explainer import Explainer
from seewhy.images import Preprocess
from seewhy.layers import find_layers
from seewhy.methods.method import MethodLike
from seewhy.metrics.names import MetricName
from seewhy.models.load import LoadedModel
from seewhy.models.outputs import OutputSelector
from seewhy.progress import notebook_bar
from seewhy.targets.outputs import class_count


def evaluate(
    model: nn.Module | LoadedModel,
    data: Dataset,
    *,
    methods: Sequence[MethodLike] = ("grad-cam",),
    metrics: Sequence[MetricName | str] | None = None,
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
    wrong: int = 12,
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
        pictures: how many are drawn with the maps of all methods, by each metric that separates
            them (at most three): where they differ most, the worst and the best.
        wrong: of how many wrong pictures the maps of the predicted and of the true class are
            drawn, by the first method, the surest errors first; all of them are listed.
        batch_size: pictures explained at once.
        seed: of the sample, the random maps and the bootstrap.
        out: a folder for the results. A run that was interrupted there goes on, and pictures
            whose file or annotation has changed since are computed anew. None keeps nothing.
        restart: throw away what is in `out`.
        on_error: hears the name of each record that cannot be used, and why.
        advance: called when a picture is done with one method, `len(methods)` times a picture, and
            as often for each collage.

    Raises:
        DataError: labels without a class, results in `out` of another protocol.
        MethodError, MetricError, LayerError, ModelError: what is asked for cannot be done.

    Example:
        >>> import seewhy
        >>> found = seewhy.evaluate(
        ...     seewhy.load_model("demo-cat-dog"),
        ...     seewhy.read_dataset("pets"),  # a folder for each class
        ...     methods=["grad-cam", "layer-cam"],
        ...     metrics=["drop"],
        ... )
        >>> found.decisions.accuracy
        1.0
        >>> low_is_good = found.result("grad-cam", "drop")["mean"]
    """
    explainer = Explainer(
        model, method=list(methods), layer=layer, output=output, preprocess=preprocess,
        labels=labels, batch_size=batch_size,
    )  # fmt: skip
    _check(explainer.module, target, layer)
    chosen = metrics_with_options(
        default_metrics(data) if metrics is None else metrics, metric_options or {}
    )
    entries = entries_of(methods, options or {})
    examined = Examined(explainer.module, explainer.labels, layer, output, batch_size)
    classes = map_classes(
        data.labels, explainer.labels, classes=_count_classes(examined, explainer),
        mapping=mapping, imagenet_ids=data.imagenet_ids,
    )  # fmt: skip
    protocol = Protocol(
        model=explainer.name,
        weights=checksum(explainer.module),
        data={"name": data.name, "kind": data.kind, "records": len(data)},
        classes={label: list(own) for label, own in classes.items()},
        target=target,
        only_correct=only_correct,
        layer=layer,
        preprocess=explainer.preprocess.to_json(),
        options=dict(options or {}),
        metrics={name: dict(given) for name, given in chosen.items()},
        versions=versions(),
        seed=seed,
    )
    selected = sample(data.records, limit, seed)
    problems: list[tuple[str, str]] = []

    def fail(name: str, reason: str) -> None:
        problems.append((name, reason))
        if on_error is not None:
            on_error(name, reason)

    for one in data.problems:
        fail(one.name, one.reason)
    steps = None if protocol.of_collages else len(selected) * len(entries)
    with _folder(out) as folder, notebook_bar("evaluating", steps) as step:
        if restart:
            (folder / ROWS).unlink(missing_ok=True)
        with open_results(folder / ROWS, protocol.of_rows) as store:
            kept = KeptRows(store, protocol.classes)
            session = Session(
                explainer, examined, entries, protocol, kept, fail, advance or (lambda: step(1))
            )
            work = PictureWork(session, masks=protocol.needs_masks(data.records))
            for start in range(0, len(selected), batch_size):
                work.batch(selected[start : start + batch_size])
            collages = [
                one
                for metric in protocol.of_collages
                for one in CollageWork(session, metric, work.status).of(selected)
            ]
            evaluation = summary(
                kept.rows, protocol, [record.id for record in selected],
                collages={one.id: one.labels for one in collages},
                methods={entry.name: entry.options for entry in entries},
                labels=examined.labels, changed=kept.changed,
                problems=problems, left_out=len(data.problems), by_class=by_class,
            )  # fmt: skip
            if out is not None:
                by_id = {one.id: one for one in selected}
                shown = pictures_to_show(evaluation, pictures)
                images = drawn(session, shown, by_id, work.status)
                decisions, first = evaluation.decisions, entries[0].name
                maps = drawn_wrong(session, decisions.wrong[:wrong], by_id, first)
                evaluation = evaluation.with_images(images, decisions.with_pictures(maps, first))
                write_files(folder, evaluation, kept.rows)
    return evaluation


def _check(module: nn.Module, target: str, layer: str | None) -> None:
    if target not in TARGETS:
        raise TargetError(f"target must be {' or '.join(TARGETS)}, not '{target}'.")
    if layer is not None and len(found := find_layers(module, [layer])) > 1:
        raise MethodError(
            f"'{layer}' names {len(found)} layers, but evaluation uses one. Name one layer."
        )


def _count_classes(examined: Examined, explainer: Explainer) -> int:
    black = torch.zeros(1, len(explainer.preprocess.mean), *explainer.preprocess.size)
    return class_count(examined.logits(black), examined.labels)


@contextmanager
def _folder(out: str | Path | None) -> Iterator[Path]:
    """The folder for the results, or one that is gone afterwards."""
    if out is not None:
        yield Path(out)
        return
    with tempfile.TemporaryDirectory(prefix="seewhy-") as aside:
        yield Path(aside)
