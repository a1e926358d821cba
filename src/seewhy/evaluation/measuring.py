"""One method's maps of some cases, and what each metric says of them."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from seewhy.attribution import run
from seewhy.evaluation.cases import Case
from seewhy.images import place
from seewhy.meaning import Meaning, meaning_of, settled
from seewhy.methods.method import MethodLike
from seewhy.metrics import METRICS
from seewhy.metrics.localisation import centre_gaussian, centre_point
from seewhy.metrics.metric import PLACED, Metric
from seewhy.models.bound import Bound, bind, to_model
from seewhy.models.many_runs import EXACT, many_runs
from seewhy.models.outputs import OutputSelector
from seewhy.targets import ClassScore, Probability, Target
from seewhy.targets.outputs import checked_outputs, class_count

MOST_POINTS = 57  # of a curve that is kept: every fourth of RISE's 225, with both ends
RANDOM_MAP = "random map"
_RANDOM_SIDE = 7
_SCORES_AT_ONCE = 16

PLACED_BASELINES: dict[str, Callable[[tuple[int, int]], np.ndarray]] = {
    "centre point": centre_point,
    "whole image": lambda size: np.ones(size, np.float32),
    "centre Gaussian": centre_gaussian,
}
"""Maps on the picture that know nothing of it."""


class Scores(NamedTuple):
    """What a model gives for some images.

    Attributes:
        logits: a row for each.
        meaning: how they are to be read.
    """

    logits: Tensor
    meaning: Meaning


@dataclass(frozen=True, eq=False)
class Examined:
    """A model, and how it is run.

    Attributes:
        module: in eval mode.
        labels: its classes' names.
        layer: where it is looked at; None proposes one.
        output: which of its outputs holds the scores.
        batch_size: images explained at once.
    """

    module: nn.Module
    labels: Sequence[str] | None
    layer: str | None
    output: OutputSelector | None
    batch_size: int

    def logits(self, images: Tensor) -> Tensor:
        """Of prepared images (n, channels, height, width), as methods and targets read them."""
        return self._run(images)[2]

    def read(self, images: Tensor) -> Scores:
        """The scores of prepared images, and how they are to be read."""
        bound, inputs, logits = self._run(images)
        return Scores(logits, meaning_of(bound, inputs, logits))

    def target_of(self, asked: Any, scores: Scores) -> Target:
        """The one target that is asked of an image, as the way in which the model ends reads it.

        Args:
            asked: as `attribute` takes it.
            scores: of the one image.
        """
        return settled(scores.meaning, scores.logits, asked, self.labels).targets[0][0]

    def _run(self, images: Tensor) -> tuple[Bound, Tensor, Tensor]:
        """The model, its inputs and its outputs, bound and brought as `attribute` does it."""
        bound, inputs = bind(self.module, images, output=self.output)
        return bound, inputs, checked_outputs(many_runs(bound, EXACT, len(inputs))(inputs))

    def score(self, targets: Sequence[Target], kind: str) -> Callable[[Tensor, Tensor], Tensor]:
        """The function that metrics take: a score of each image, of its row's target."""
        if kind == "probability":
            targets = [Probability(target) for target in targets]

        def score(images: Tensor, rows: Tensor) -> Tensor:
            logits = self.logits(images)
            wanted = [targets[row] for row in rows.tolist()]
            given = logits.new_empty(len(logits))
            for target in dict.fromkeys(wanted):
                own = [place for place, one in enumerate(wanted) if one == target]
                given[own] = target(logits[own])
            return given

        return score

    def explain(
        self,
        method: MethodLike,
        images: Tensor,
        targets: Sequence[Target],
        options: Mapping[str, Any],
        *,
        module: nn.Module | None = None,
        layer: str | None = None,
    ) -> tuple[Tensor, str]:
        """Raw maps (n, h, w), each for its image's target, and the layer's name."""
        maps, name = self.explain_several(
            method, images, [(one,) for one in targets], options, module=module, layer=layer
        )
        return maps[:, 0], name

    def explain_several(
        self,
        method: MethodLike,
        images: Tensor,
        targets: Sequence[tuple[Target, ...]],
        options: Mapping[str, Any],
        *,
        module: nn.Module | None = None,
        layer: str | None = None,
    ) -> tuple[Tensor, str]:
        """Raw maps (n, targets, h, w), for all targets of each image, and the layer's name."""
        made = run(
            module or self.module,
            images,
            list(targets),
            methods=[method],
            layer=layer or self.layer,
            output=self.output,
            options=dict(options),
            labels=self.labels,
        )
        return made.maps[0][0], made.layers[0][0]


@dataclass(frozen=True, eq=False)
class Measured:
    """What was found of each of the cases.

    Attributes:
        values: per metric, one number per case; metrics that are only a curve are left out.
        curves: by metric, of each case (x, y); y alone where a threshold is to be chosen, or
            where the cases' are summed, none of a case of which nothing is known.
        seconds: by metric, each case's share.
    """

    values: dict[str, list[float]]
    curves: dict[str, list[Any]]
    seconds: dict[str, float]


def measure(
    metrics: Mapping[str, Mapping[str, Any]],
    cases: Sequence[Case],
    heatmaps: Sequence[np.ndarray],
    run_metric: Callable[[Metric, Mapping[str, Any]], Any] | None,
) -> Measured:
    """All metrics of the cases.

    Args:
        metrics: by name, with all their options.
        cases: what was explained.
        heatmaps: on the pictures, for metrics of place.
        run_metric: what other metrics' functions give; None where none of these is asked for.
    """
    measured = Measured({}, {}, {})
    results: dict[Any, Any] = {}  # drop, gain and increase come from the same runs
    for name, options in metrics.items():
        metric = METRICS[name]
        started = time.perf_counter()
        if metric.needs in PLACED:
            found = [
                _placed(metric, options, case, heatmap)
                for case, heatmap in zip(cases, heatmaps, strict=True)
            ]
            if metric.ious:
                measured.curves[name] = [_rounded(one) for one in found]
            else:
                measured.values[name] = [
                    float("nan" if one is None else metric.value(one)) for one in found
                ]
            if metric.pooled:
                measured.curves[name] = [
                    [] if one is None else (one.ravel() / np.prod(case.size)).round(9).tolist()
                    for case, one in zip(cases, found, strict=True)
                ]
        else:
            assert run_metric is not None
            key = (metric.function, repr(sorted(options.items())))
            if key not in results:
                results[key] = run_metric(metric, options)
            result = results[key]
            measured.values[name] = [float(one) for one in metric.value(result)]
            if metric.curve is not None:
                x, y = (np.asarray(_plain(part), np.float64) for part in metric.curve.of(result))
                kept = np.unique(np.linspace(0, len(x) - 1, min(len(x), MOST_POINTS)).round())
                kept = kept.astype(int)
                measured.curves[name] = [(_rounded(x[kept]), _rounded(row[kept])) for row in y]
        measured.seconds[name] = (time.perf_counter() - started) / len(cases)
    return measured


def runner(
    examined: Examined,
    cases: Sequence[Case],
    maps: Tensor,
    *,
    method: MethodLike | None = None,
    options: Mapping[str, Any] | None = None,
    takes_seed: bool = False,
    layer: str | None = None,
) -> Callable[[Metric, Mapping[str, Any]], Any]:
    """Provide the inputs for metrics that run the model.

    Args:
        examined: the model.
        cases: of one input size.
        maps: (n, h, w), raw.
        method: that made them; None for a map that none made.
        options: the method's own.
        takes_seed: whether `seed` is among them.
        layer: the layer's name; None where the method looks at none.
    """
    options = dict(options or {})
    images = to_model(examined.module, torch.stack([case.prepared.tensor for case in cases]))
    targets = [case.target for case in cases]

    def explained(some: Tensor, of: Sequence[Target], **more: Any) -> Tensor:
        assert method is not None
        parts = []
        for start in range(0, len(some), examined.batch_size):
            here = slice(start, start + examined.batch_size)
            parts.append(
                examined.explain(method, some[here], of[here], options | more, layer=layer)[0]
            )
        return torch.cat(parts)

    def explain(some: Tensor, rows: Tensor) -> Tensor:
        return explained(some, [targets[row] for row in rows.tolist()])

    def with_seed(some: Tensor, rows: Tensor, seed: int) -> Tensor:
        more = {"seed": seed} if takes_seed else {}
        return explained(some, [targets[row] for row in rows.tolist()], **more)

    def of_model(module: nn.Module, some: Tensor) -> Tensor:
        assert method is not None
        return examined.explain(method, some, targets, options, module=module, layer=layer)[0]

    def of_class(some: Tensor, classes: Tensor) -> Tensor:
        return explained(some, [ClassScore(index) for index in classes.tolist()])

    def run_metric(metric: Metric, chosen: Mapping[str, Any]) -> Any:
        given = dict(chosen)
        kind = given.pop("score", "probability")
        score = examined.score(targets, kind)
        if metric.needs == "score":
            return metric.function(score, images, maps, at_once=_SCORES_AT_ONCE, **given)
        if metric.needs == "score and explain":
            return metric.function(score, explain, images, maps, at_once=_SCORES_AT_ONCE, **given)
        if metric.needs == "explain":
            return metric.function(explain, images, at_once=examined.batch_size, **given)
        if metric.needs == "seeds":
            return metric.function(with_seed, images, at_once=examined.batch_size, **given)
        if metric.needs == "model":
            return metric.function(examined.module, images, of_model, **given)
        count = class_count(examined.logits(images[:1]), examined.labels)
        indices = torch.tensor([class_of(target) for target in targets])
        return metric.function(of_class, images, indices, classes=count, **given)

    return run_metric


def class_of(target: Target) -> int:
    """The class's number; of one logit's sides 0 and 1."""
    return int(target.index) if isinstance(target, ClassScore) else int(target.positive)  # type: ignore[attr-defined]


def heatmaps_of(cases: Sequence[Case], maps: Tensor) -> list[np.ndarray]:
    """Raw maps (n, h, w) on the original pictures."""
    arrays = maps.float().cpu().numpy()
    return [
        place(one, case.prepared.window, case.size) for case, one in zip(cases, arrays, strict=True)
    ]


def random_maps(cases: Sequence[Case], seed: int) -> Tensor:
    """Evenly drawn values (n, 7, 7), for each record its own."""
    drawn = []
    for case in cases:
        number = zlib.crc32(f"{seed} {case.record.id}".encode())
        generator = torch.Generator().manual_seed(number)
        drawn.append(torch.rand(_RANDOM_SIDE, _RANDOM_SIDE, generator=generator))
    return torch.stack(drawn)


def _placed(metric: Metric, options: Mapping[str, Any], case: Case, heatmap: np.ndarray) -> Any:
    """What the metric finds in one case; None where the object's region is not known."""
    given = dict(options)
    for name in metric.pixels:
        given[name] = given[name] * min(case.size) / 224
    truth = case.truth
    if metric.needs == "boxes":
        return metric.function(heatmap, truth.boxes, **given)
    region = truth.mask if metric.needs == "mask" else truth.region(given.pop("on"))
    if region is None:
        return None
    if metric.needs == "mask":
        given["ignore"] = truth.ignored
    return metric.function(heatmap, region, **given)


def _plain(values: Any) -> Any:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else values


def _rounded(values: np.ndarray) -> list[float]:
    return [round(value, 5) for value in np.asarray(values, np.float64).tolist()]
