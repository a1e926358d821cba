"""What a method may ask for, by the name of a parameter, and where it comes from.

Four kinds, each in a file of its own: what a layer saw (layer.py), what the pixels do (pixels.py)
and what a picture's tokens look at (attention.py), all for a batch; and for one image at a time,
what the score becomes when something is changed (changes.py). table.py has a row for each, and
run.py the run of the model that they are read from.
"""

# Each of these adds its rows to the table, in the order in which messages list them.
# ruff: isort: off
from seewhy.evidence import layer, pixels, attention, changes
# ruff: isort: on

from seewhy.evidence.lacking import DECLARED, lacking
from seewhy.evidence.run import Evidence
from seewhy.evidence.table import COSTS, TABLE, Cost, Row, rows_of

__all__ = [
    "COSTS",
    "DECLARED",
    "TABLE",
    "Cost",
    "Evidence",
    "Row",
    "attention",
    "changes",
    "lacking",
    "layer",
    "pixels",
    "rows_of",
]
