"""Is a map true? Every measure here is a function of maps, and of scores or of the truth.

A metric is a file's function, the `Metric` beside it, and its line in the list below.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping

from seewhy.errors import MetricError, not_known
from seewhy.metrics.metric import Metric

_PLACES = {
    "pointing": "localisation:POINTING",
    "energy": "localisation:ENERGY",
    "box-iou": "localisation:BOX_IOU",
    "box-accuracy": "localisation:BOX_ACCURACY",
    "max-box-accuracy": "localisation:MAX_BOX_ACCURACY",
    "max-box-accuracy-v2": "localisation:MAX_BOX_ACCURACY_V2",
    "mask-iou": "localisation:MASK_IOU",
    "pxap": "localisation:PXAP",
    "grid-pointing": "localisation:GRID_POINTING",
    "deletion": "walk:DELETION",
    "insertion": "walk:INSERTION",
    "pixel-flipping": "walk:PIXEL_FLIPPING",
    "drop": "masked_confidence:DROP",
    "gain": "masked_confidence:GAIN",
    "increase": "masked_confidence:INCREASE",
    "road": "imputation:ROAD",
    "adcc": "masked_confidence:ADCC",
    "coherency": "masked_confidence:COHERENCY",
    "complexity": "masked_confidence:COMPLEXITY",
    "infidelity": "infidelity:INFIDELITY",
    "infidelity-scaled": "infidelity:INFIDELITY_SCALED",
    "sensitivity-n": "sensitivity_n:SENSITIVITY_N",
    "saco": "saco:SACO",
    "max-sensitivity": "robustness:MAX_SENSITIVITY",
    "seed-agreement": "robustness:SEED_AGREEMENT",
    "sanity-cascading": "sanity:SANITY_CASCADING",
    "sanity-independent": "sanity:SANITY_INDEPENDENT",
    "sanity-class": "sanity:SANITY_CLASS",
}
"""Each metric's name, and where it is: `module:value`."""

FILES: Mapping[str, str] = {name: place.partition(":")[0] for name, place in _PLACES.items()}
"""The module of each metric, which tells its kind without importing it."""


class _Metrics(Mapping[str, Metric]):
    """The metrics by name; which names there are is known without importing what they need."""

    def __getitem__(self, name: str) -> Metric:
        module, _, value = _PLACES[name].partition(":")
        metric: Metric = getattr(importlib.import_module(f"{__name__}.{module}"), value)
        return metric

    def __iter__(self) -> Iterator[str]:
        return iter(_PLACES)

    def __len__(self) -> int:
        return len(_PLACES)

    def __contains__(self, name: object) -> bool:
        return name in _PLACES

    def __repr__(self) -> str:
        return f"<metrics {', '.join(_PLACES)}>"


METRICS: Mapping[str, Metric] = _Metrics()
"""By the names that `seewhy evaluate --metrics` takes.

To list the names imports neither torch nor scipy; a metric is imported when it is looked up.
"""


def find_metric(name: str) -> Metric:
    """The metric of a name.

    Raises:
        MetricError: there is none.
    """
    check_known(name)
    return METRICS[name]


def check_known(name: str) -> None:
    """Check that there is a metric of this name.

    Raises:
        MetricError: there is none; the message says which are near.
    """
    if name not in METRICS:
        raise MetricError(not_known("metric", name, METRICS))
