"""The results have all that the drawings say they take."""

from __future__ import annotations

import inspect

import pytest

from seewhy.boxes import Box
from seewhy.comparison import Truth
from seewhy.concepts import Concepts
from seewhy.evaluation import Evaluation
from seewhy.explanation import Explanation, Prediction
from seewhy.features import FeatureMaps
from seewhy.images import Window
from seewhy.render import takes

RESULTS = (Box, Window, Explanation, Prediction, Truth, FeatureMaps, Concepts, Evaluation)
PROTOCOLS = [one for _, one in inspect.getmembers(takes, inspect.isclass)
             if one.__module__ == takes.__name__]  # fmt: skip


def has(result: type) -> set[str]:
    fields = getattr(result, "__dataclass_fields__", {})
    return {*fields, *(name for name in dir(result) if not name.startswith("_"))}


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda one: one.__name__)
def test_a_result_has_what_a_drawing_takes(protocol: type) -> None:
    wanted = {name for name in dir(protocol) if not name.startswith("_")}
    assert wanted
    assert any(wanted <= has(result) for result in RESULTS), wanted
