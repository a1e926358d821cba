"""Annotated pictures: read from whatever layout they have, one record a picture.

`read_dataset` finds the layout by looking. What cannot be used is named in `Dataset.problems` with
the reason and left out; nothing is lost silently, and one bad record does not stop the rest.
Pictures and masks are opened when they are asked for.
"""

from seewhy.boxes import Box
from seewhy.dataset.classes import map_classes, read_mapping, read_synsets
from seewhy.dataset.reading import KINDS, read_dataset
from seewhy.dataset.records import Dataset, IndexMasks, Masks, Problem, Record

__all__ = [
    "KINDS",
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
