"""The list of metrics: its names need nothing heavy, its entries are made once."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest

import seewhy.metrics
from seewhy.errors import MetricError
from seewhy.metrics import METRICS, find_metric
from seewhy.metrics.metric import Metric


def test_the_names_need_neither_torch_nor_numpy() -> None:
    code = (
        "import sys; from seewhy.metrics import METRICS;"
        "names = list(METRICS); assert 'deletion' in METRICS and len(names) == len(METRICS) > 20;"
        "heavy = {'torch', 'numpy', 'scipy'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_one_metric_imports_what_it_needs_alone() -> None:
    code = (
        "import sys; from seewhy.metrics import METRICS; METRICS['deletion'].options;"
        "assert 'seewhy.metrics.walk' in sys.modules;"
        "assert 'seewhy.metrics.sanity' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_metric_that_is_made_is_listed_once() -> None:
    listed = [id(metric) for metric in METRICS.values()]
    assert len(set(listed)) == len(listed)
    modules = {place.partition(":")[0] for place in seewhy.metrics._PLACES.values()}
    made = [
        value
        for module in modules
        for value in vars(importlib.import_module(f"seewhy.metrics.{module}")).values()
        if isinstance(value, Metric)
    ]
    assert sorted(listed) == sorted(map(id, made))


def test_a_metric_is_made_once_and_its_options_cannot_be_changed() -> None:
    assert METRICS["deletion"] is METRICS["deletion"]
    options = METRICS["deletion"].options
    assert METRICS["deletion"].options is options
    with pytest.raises(TypeError):
        options["step"] = 2  # type: ignore[index]
    assert METRICS["deletion"].with_options({"step": 2.0})["step"] == 2.0
    assert options["step"] == 1 / 224


@pytest.mark.parametrize("name", METRICS)
def test_options_are_the_functions_own_and_what_the_metric_needs(name: str) -> None:
    metric = METRICS[name]
    keywords = inspect.getfullargspec(metric.function).kwonlyargs
    beside = set(metric.options) - set(keywords)
    assert beside <= {"score", "on", "confidence", "count", "seed"}
    for option, default in metric.changed.items():
        assert metric.options[option] == default
        assert option in keywords, "a default is changed of an option that there is not"


def test_an_unknown_name() -> None:
    assert "pointin" not in METRICS
    with pytest.raises(MetricError, match="did you mean pointing"):
        find_metric("pointin")
    with pytest.raises(KeyError):
        METRICS["pointin"]
