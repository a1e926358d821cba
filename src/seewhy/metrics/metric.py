"""What a metric is: a pure function of maps, what it is called, what it needs, and its options.

A metric's keyword-only options are its protocol: they are read from its function's signature, and
with the ones below written beside every figure.

- `score`: `"probability"` or `"logit"` of the explained class, for metrics that run the model.
- `on`: for metrics of a region, `"boxes"` (filled) or `"mask"`.
- `confidence`, `count`, `seed`: of collages, the least probability of the pictures in them, the
  most that are drawn (each picture lies in one at most), and by what.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from seewhy.errors import MetricError

if TYPE_CHECKING:
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
    """A measure of maps, made once beside its function and listed in `seewhy.metrics`.

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

    def __repr__(self) -> str:
        return f"<Metric {self.title} ({self.source}): {self.better} is better>"

    def bounds_with(self, options: Mapping[str, Any]) -> tuple[float, float] | None:
        """The bounds of its values under these options."""
        return None if options.get("score") == "logit" else self.bounds

    @cached_property
    def options(self) -> MappingProxyType[str, Any]:
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
        return MappingProxyType(found)

    def with_options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All options, the given ones in place of their defaults.

        Raises:
            MetricError: there is no such option, or it cannot have this value.
        """
        options = dict(self.options)
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
