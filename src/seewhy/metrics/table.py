"""Every metric by its name: what it says, who it is from, what it needs, and its options.

A metric is a pure function of this folder. Its keyword-only options are its protocol: they are read
from its signature, and with the ones below written beside every figure.

- `score`: `"probability"` or `"logit"` of the explained class, for metrics that run the model.
- `on`: for metrics of a region, `"boxes"` (filled) or `"mask"`.
- `confidence`, `count`, `seed`: of collages, the least probability of the pictures in them, how
  many are drawn, and by what.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from seewhy.errors import MetricError
from seewhy.metrics import faithfulness, imputation, localisation, robustness, sanity
from seewhy.metrics.accumulate import Statistic

Needs = Literal[
    "region",
    "boxes",
    "mask",
    "collage",
    "score",
    "score and explain",
    "explain",
    "seeds",
    "model",
    "classes",
]
"""What a metric's function takes beside its options:

- `region`: the map on the picture, and the object's pixels there; `boxes`: the true boxes instead;
  `mask`: the mask and the pixels to ignore;
- `collage`: the maps of pictures laid side by side, each for one cell's class, and the cells;
- `score`: score, images, maps; `score and explain`: score, explain, images, maps;
- `explain`: explain, images; `seeds`: the same, with a seed;
- `model`: model, images, explain; `classes`: explain, images, classes.
"""

PLACED = ("region", "boxes", "mask")
"""Those that compare with where the object is, on the original picture."""

_NOT_OPTIONS = ("at_once", "ignore", "classes", "layers", "size")
_SCORES = ("probability", "logit")
_REGIONS = ("boxes", "mask")
_COLLAGES = {"confidence": 0.9, "count": 50, "seed": 0}  # the paper takes 0.99
_CENTRED = ("whole image", "centre Gaussian")


@dataclass(frozen=True)
class Curve:
    """Points beside a metric's value.

    Attributes:
        of: the result → x `(points,)` and y `(n, points)`.
        x_title, y_title: of the axes.
    """

    of: Callable[[Any], tuple[Any, Any]]
    x_title: str
    y_title: str


@dataclass(frozen=True)
class Metric:
    """An entry of `METRICS`.

    Attributes:
        title: in words, as the head of a column.
        better: which end is good.
        says: what it tells, one sentence.
        source: authors and year.
        needs: see `Needs`.
        function: the pure function.
        value: its result → the values `(n,)`.
        curve: where there is one.
        changed: defaults that differ from the function's.
        probability: whether it is only defined for probabilities.
        pixels: options in pixels of a picture whose shorter side is 224, to be scaled to others.
        baselines: the maps that know nothing of the image, to be reported beside it.
        ious: of box metrics whose threshold is chosen on other images: the IoUs that count.
        pooled: of metrics of all pictures together: what their summed results give, flattened;
            `value` is then a picture's own, by which pictures are told apart.
        passes_below: of tests: a method passes whose value is below this, a half of what a map
            that stays as it is has.
        bounds: the least and the greatest that a value can be; None for no such. Of metrics that
            run the model they are of probabilities; logits have none.
    """

    title: str
    better: Literal["higher", "lower"]
    says: str
    source: str
    needs: Needs
    function: Callable[..., Any]
    value: Callable[[Any], Any] = lambda result: result
    curve: Curve | None = None
    changed: Mapping[str, Any] = field(default_factory=dict)
    probability: bool = False
    pixels: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ()
    ious: tuple[float, ...] = ()
    pooled: Statistic | None = None
    passes_below: float | None = None
    bounds: tuple[float, float] | None = None

    def bounds_with(self, options: Mapping[str, Any]) -> tuple[float, float] | None:
        """The bounds of its values under these options."""
        return None if options.get("score") == "logit" else self.bounds

    @property
    def options(self) -> dict[str, Any]:
        """Each option with its default."""
        parameters = inspect.signature(self.function).parameters.values()
        found = {
            one.name: one.default
            for one in parameters
            if one.kind is one.KEYWORD_ONLY and one.name not in _NOT_OPTIONS
        }
        found.update(self.changed)
        if self.needs in ("score", "score and explain"):
            found["score"] = "probability"
        if self.needs == "region":
            found["on"] = "boxes"
        if self.needs == "collage":
            found |= _COLLAGES
        return found

    def with_options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All options, the given ones in place of their defaults.

        Raises:
            MetricError: there is no such option, or it cannot have this value.
        """
        options = self.options
        if strange := [name for name in given if name not in options]:
            raise MetricError(
                f"'{self.title}' has no option {', '.join(strange)}; it has {', '.join(options)}."
            )
        options.update(given)
        allowed = _SCORES[:1] if self.probability else _SCORES
        for name, values in (("score", allowed), ("on", _REGIONS)):
            if name in options and options[name] not in values:
                raise MetricError(
                    f"{name}={options[name]!r} for '{self.title}'; {' or '.join(values)} is wanted."
                )
        return options


def _shares_and_scores(result: Any) -> tuple[Any, Any]:
    return result.shares, result.scores


def _upper(result: sanity.Likeness) -> Any:
    return result.absolute[:, 0]


def _stages(result: sanity.Likeness) -> tuple[Any, Any]:
    count = len(result.steps)
    return np.arange(1, count + 1) / count, result.absolute


def _average_precision(sums: np.ndarray) -> np.ndarray:
    return localisation.pixel_average_precision(sums.reshape(len(sums), 2, -1))


_CASCADE = Curve(_stages, "share of the layers drawn anew", "rank correlation")
_WALKED = "probability or logit"

METRICS: dict[str, Metric] = {
    "pointing": Metric(
        "pointing game", "higher",
        "how often the map's maximum lies on the object, or within the tolerance (pixels of a "
        "picture whose shorter side is 224)",
        "Zhang 2018", "region", localisation.pointing_game,
        pixels=("tolerance",), baselines=("centre point", "whole image"), bounds=(0, 1),
    ),
    "energy": Metric(
        "energy on the object", "higher",
        "the share of the map's positive values that lies on the object",
        "Wang 2020 (Score-CAM)", "region", localisation.energy_pointing,
        baselines=_CENTRED, bounds=(0, 1),
    ),
    "box-iou": Metric(
        "box IoU", "higher",
        "the overlap of the map's box with the true one it fits best",
        "Zhou 2016 (CAM)", "boxes", localisation.box_overlap, baselines=_CENTRED, bounds=(0, 1),
    ),
    "box-accuracy": Metric(
        "box accuracy", "higher",
        "how often the map's box reaches the IoU with a true one",
        "Zhou 2016 (CAM), Selvaraju 2017 (Grad-CAM)", "boxes", localisation.box_accuracy,
        baselines=_CENTRED, bounds=(0, 1),
    ),
    "max-box-accuracy": Metric(
        "MaxBoxAcc", "higher",
        "how often the map's box reaches IoU 0.5, at the threshold that does best on other images: "
        "each half of the images takes the other's",
        "Choe 2020", "boxes", localisation.box_overlaps,
        changed={"largest": True, "thresholds": tuple(round(i / 100, 2) for i in range(100))},
        baselines=_CENTRED, ious=(0.5,), bounds=(0, 1),
    ),
    "max-box-accuracy-v2": Metric(
        "MaxBoxAccV2", "higher",
        "the mean for IoUs of 0.3, 0.5 and 0.7 of how often any of the map's boxes reaches it, at "
        "the thresholds that do best on other images: each half takes the other's",
        "Choe 2022", "boxes", localisation.box_overlaps,
        changed={"largest": False, "thresholds": tuple(round(i / 100, 2) for i in range(100))},
        baselines=_CENTRED, ious=(0.3, 0.5, 0.7), bounds=(0, 1),
    ),
    "mask-iou": Metric(
        "mask IoU", "higher",
        "the overlap of the pixels above the threshold with the object's",
        "Zhou 2016 (CAM), Choe 2020", "mask", localisation.mask_overlap, baselines=_CENTRED,
        bounds=(0, 1),
    ),
    "pxap": Metric(
        "PxAP", "higher",
        "the area under precision over recall of the pixels of all pictures, each picture's as "
        "many",
        "Choe 2020", "mask", localisation.pixel_histogram,
        value=localisation.pixel_average_precision, changed={"interval": 0.01},
        baselines=_CENTRED, pooled=_average_precision, bounds=(0, 1),
    ),
    "grid-pointing": Metric(
        "grid pointing", "higher",
        "the share of the map's positive values that lies in its own class's cell, of four "
        "pictures of different classes laid side by side at twice the input's size",
        "Rao 2022", "collage", localisation.grid_pointing, baselines=("whole image",),
        bounds=(0, 1),
    ),
    "deletion": Metric(
        "deletion", "lower",
        "the mean score while pixels are taken away, the map's greatest first",
        "Petsiuk 2018 (RISE)", "score", faithfulness.deletion, lambda result: result.area,
        Curve(_shares_and_scores, "share of the pixels taken away", _WALKED),
        baselines=("random map",), bounds=(0, 1),
    ),
    "insertion": Metric(
        "insertion", "higher",
        "the mean score while pixels return to the blurred image, the map's greatest first",
        "Petsiuk 2018 (RISE)", "score", faithfulness.insertion, lambda result: result.area,
        Curve(_shares_and_scores, "share of the pixels shown", _WALKED),
        baselines=("random map",), bounds=(0, 1),
    ),
    "pixel-flipping": Metric(
        "pixel flipping", "higher",
        "how far the score falls on average as regions are replaced, the most relevant first",
        "Samek 2017", "score", faithfulness.pixel_flipping, lambda result: result.fall,
        Curve(_shares_and_scores, "share of the regions replaced", _WALKED),
        baselines=("random map",), bounds=(-1, 1),
    ),
    "drop": Metric(
        "average drop", "lower",
        "the share of the score that is lost when the image is seen through its map",
        "Chattopadhay 2018 (Grad-CAM++)", "score", faithfulness.masked_confidence,
        lambda result: result.drop, probability=True, baselines=("random map",), bounds=(0, 1),
    ),
    "gain": Metric(
        "average gain", "higher",
        "the share of what is missing to 1 that is gained when the image is seen through its map",
        "Zhang 2024 (Opti-CAM)", "score", faithfulness.masked_confidence,
        lambda result: result.gain, probability=True, baselines=("random map",), bounds=(0, 1),
    ),
    "increase": Metric(
        "increase in confidence", "higher",
        "how often the score is higher when the image is seen through its map",
        "Chattopadhay 2018 (Grad-CAM++)", "score", faithfulness.masked_confidence,
        lambda result: result.increase, probability=True, baselines=("random map",), bounds=(0, 1),
    ),
    "road": Metric(
        "ROAD", "higher",
        "half of how much more is left without the least relevant pixels than without the most "
        "relevant, both imputed so that the hole does not show",
        "Rong 2022", "score", imputation.road, lambda result: result.combined,
        Curve(
            lambda result: (result.shares, (result.least - result.most) / 2),
            "share of the pixels removed", "(least − most) / 2",
        ),
        baselines=("random map",), bounds=(-0.5, 0.5),
    ),
    "adcc": Metric(
        "ADCC", "higher",
        "average drop, coherency and complexity in one",
        "Poppi 2021", "score and explain", faithfulness.adcc, lambda result: result.adcc,
        probability=True, bounds=(0, 1),
    ),
    "coherency": Metric(
        "coherency", "higher",
        "how alike the map is to that of the image seen through it",
        "Poppi 2021", "score and explain", faithfulness.adcc, lambda result: result.coherency,
        probability=True, bounds=(0, 1),
    ),
    "complexity": Metric(
        "complexity", "lower",
        "how much of the image the map covers",
        "Poppi 2021", "score and explain", faithfulness.adcc, lambda result: result.complexity,
        probability=True, bounds=(0, 1),
    ),
    "infidelity": Metric(
        "infidelity", "lower",
        "how far the map's sum over a square is off the score's fall without the square",
        "Yeh 2019", "score", faithfulness.infidelity_square, lambda result: result.infidelity,
        baselines=("random map",),
    ),
    "infidelity-scaled": Metric(
        "infidelity, scaled", "lower",
        "the same of the map times the factor that suits it best",
        "Yeh 2019 (its code)", "score", faithfulness.infidelity_square,
        lambda result: result.scaled, baselines=("random map",),
    ),
    "sensitivity-n": Metric(
        "sensitivity-n", "higher",
        "how well the map's sums over random pixels foretell the score's falls without them",
        "Ancona 2018", "score", faithfulness.sensitivity_n, lambda result: result.correlation,
        Curve(
            lambda result: (np.log10(np.asarray(result.sizes)), result.correlations),
            "pixels taken away (power of ten)", "correlation",
        ),
        baselines=("random map",), bounds=(-1, 1),
    ),
    "saco": Metric(
        "SaCo", "higher",
        "whether pixels with more salience matter more, and by how much more",
        "Wu 2024", "score", faithfulness.saco, lambda result: result.coefficient,
        probability=True, baselines=("random map",), bounds=(-1, 1),
    ),
    "max-sensitivity": Metric(
        "max-sensitivity", "lower",
        "the largest relative change of the map when the pixels change a little",
        "Yeh 2019", "explain", robustness.max_sensitivity,
    ),
    "seed-agreement": Metric(
        "agreement of seeds", "higher",
        "the rank correlation of the maps that different seeds give",
        "seewhy", "seeds", robustness.seed_agreement, bounds=(-1, 1),
    ),
    "sanity-cascading": Metric(
        "cascading randomisation", "lower",
        "how alike the map still is, by rank and without signs, when the upper layers are drawn "
        "anew, the first of the stages: the scores are random then, and so should the map be; the "
        "curve goes on to the lowest layer",
        "Adebayo 2018", "model", sanity.cascading_randomisation, _upper, _CASCADE,
        changed={"stages": 5}, passes_below=0.5, bounds=(-1, 1),
    ),
    "sanity-independent": Metric(
        "independent randomisation", "lower",
        "how alike the map still is on average when one layer's weights are drawn anew",
        "Adebayo 2018", "model", sanity.independent_randomisation,
        lambda result: result.absolute.mean(1),
        Curve(_stages, "place of the layer, from the top", "rank correlation"),
        changed={"stages": 5}, bounds=(-1, 1),
    ),
    "sanity-class": Metric(
        "another class's map", "lower",
        "how alike, by rank, the map is to that of another class drawn at random",
        "after Adebayo 2018", "classes", sanity.target_randomisation,
        lambda result: result.spearman.mean(1), passes_below=0.5, bounds=(-1, 1),
    ),
}  # fmt: skip
"""By the names that `seewhy evaluate --metrics` takes."""


def find_metric(name: str) -> Metric:
    """The entry of a name.

    Raises:
        MetricError: there is none.
    """
    if name not in METRICS:
        import difflib

        near = difflib.get_close_matches(name.lower(), METRICS, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise MetricError(f"metric '{name}' is not known; {hint}There are {', '.join(METRICS)}.")
    return METRICS[name]
