"""Annotated pictures: read from whatever layout they have, one record a picture.

`read_dataset` finds the layout by looking. What cannot be used is named in `Dataset.problems` with
the reason and left out; nothing is lost silently, and one bad record does not stop the rest.
Pictures and masks are opened when they are asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from seewhy.dataset.formats import FORMATS

if TYPE_CHECKING:
    from seewhy.boxes import Box
    from seewhy.dataset.classes import map_classes, read_mapping, read_synsets
    from seewhy.dataset.reading import read_dataset
    from seewhy.dataset.records import Dataset, IndexMasks, Masks, Problem, Record

__all__ = [
    "FORMATS",
    "Box",
    "Dataset",
    "IndexMasks",
    "Masks",
    "Problem",
    "Record",
    "map_classes",
    "read_dataset",
    "read_mapping",
    "read_synsets",
]

# Fetched when first used: the command line's help lists the formats, and needs no more.
_HOME = {
    "Box": "records",
    "Dataset": "records",
    "IndexMasks": "records",
    "Masks": "records",
    "Problem": "records",
    "Record": "records",
    "map_classes": "classes",
    "read_dataset": "reading",
    "read_mapping": "classes",
    "read_synsets": "classes",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'seewhy.dataset' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"seewhy.dataset.{_HOME[name]}"), name)
    globals()[name] = value
    return value
