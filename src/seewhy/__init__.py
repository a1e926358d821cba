"""seewhy shows why a vision model decided, on any PyTorch image model.

import seewhy
model = seewhy.load_model("demo")
seewhy.explain(model, "cat.jpg", "tabby").save("why.png")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from seewhy.version import __version__

if TYPE_CHECKING:
    from seewhy import errors, targets
    from seewhy.attribution import attribute
    from seewhy.comparison import Comparison, compare
    from seewhy.concepts import Concepts, find_concepts
    from seewhy.dataset import read_dataset
    from seewhy.errors import SeewhyError
    from seewhy.evaluation import Evaluation, evaluate
    from seewhy.explainer import Explainer, explain
    from seewhy.explanation import Explanation, load_explanation
    from seewhy.features import FeatureMaps, find_features
    from seewhy.images import Preprocess
    from seewhy.methods import METHODS
    from seewhy.metrics import METRICS
    from seewhy.models.load import LoadedModel, load_model
    from seewhy.models.many_runs import Speed
    from seewhy.render.signal import draw_signal
    from seewhy.render.slices import draw_slices
    from seewhy.runs import Run, read_run, run
    from seewhy.scaling import resize_map
    from seewhy.tiles import attribute_tiles

__all__ = [
    "METHODS",
    "METRICS",
    "Comparison",
    "Concepts",
    "Evaluation",
    "Explainer",
    "Explanation",
    "FeatureMaps",
    "LoadedModel",
    "Preprocess",
    "Run",
    "SeewhyError",
    "Speed",
    "__version__",
    "attribute",
    "attribute_tiles",
    "compare",
    "draw_signal",
    "draw_slices",
    "errors",
    "evaluate",
    "explain",
    "find_concepts",
    "find_features",
    "load_explanation",
    "load_model",
    "read_dataset",
    "read_run",
    "resize_map",
    "run",
    "targets",
]

# Names are fetched when first used: the command line's help and its tab completion would
# otherwise wait seconds for torch.
_HOME = {
    "METHODS": "methods",
    "METRICS": "metrics",
    "Comparison": "comparison",
    "Concepts": "concepts",
    "Evaluation": "evaluation",
    "Explainer": "explainer",
    "Explanation": "explanation",
    "FeatureMaps": "features",
    "LoadedModel": "models.load",
    "Preprocess": "images",
    "Run": "runs",
    "SeewhyError": "errors",
    "Speed": "models.many_runs",
    "attribute": "attribution",
    "attribute_tiles": "tiles",
    "compare": "comparison",
    "draw_signal": "render.signal",
    "draw_slices": "render.slices",
    "evaluate": "evaluation",
    "explain": "explainer",
    "find_concepts": "concepts",
    "find_features": "features",
    "load_explanation": "explanation",
    "load_model": "models.load",
    "read_dataset": "dataset",
    "read_run": "runs",
    "resize_map": "scaling",
    "run": "runs",
}
_MODULES = ("errors", "targets")


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _MODULES:
        return import_module(f"seewhy.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'seewhy' has no attribute '{name}'")
    value = getattr(import_module(f"seewhy.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
