"""What training scripts keep beside the weights and what does nothing when it is unpickled.

Settings from the command line, NumPy's numbers and arrays (the best accuracy so far, the weights
of the classes, a random state), paths, dates, plain containers. Each entry only builds a value;
none calls a function of the file's choosing.
"""

from __future__ import annotations

import argparse
import datetime
import pathlib
import types
from collections.abc import Iterable
from typing import Any

import numpy as np

_SCALAR: Any = np.float64(0).__reduce__()[0]  # type: ignore[no-untyped-call, unused-ignore]
_ARRAY: Any = np.zeros(0).__reduce__()[0]  # type: ignore[no-untyped-call, unused-ignore]

_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")  # NumPy 1, NumPy 2

# A path is only kept, and one of another system cannot even be made here: pure ones stand for all.
_PATHS = [
    (pure, f"{module}.{name}")
    for module in ("pathlib", "pathlib._local")
    for pure, names in (
        (pathlib.PurePosixPath, ("PosixPath", "PurePosixPath")),
        (pathlib.PureWindowsPath, ("WindowsPath", "PureWindowsPath")),
    )
    for name in names
]

# Lightning's settings: a dictionary whose entries can also be reached by a dot.
_ATTRIBUTE_DICTS = (
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "lightning.fabric.utilities.data.AttributeDict",
)


# PyTorch fills dictionaries and lists alone; these stand for what is read like one.
def _as_dict(_default: object = None) -> dict[Any, Any]:
    return {}


def _as_list(items: Iterable[Any] = (), _longest: object = None) -> list[Any]:
    return list(items)


# For torch.serialization.safe_globals: a callable, or one with the name that files call it by.
HARMLESS: list[Any] = [
    argparse.Namespace,
    types.SimpleNamespace,
    (_as_dict, "collections.defaultdict"),
    (_as_list, "collections.deque"),
    *((dict, name) for name in _ATTRIBUTE_DICTS),
    *(list, dict, set, frozenset, tuple, int, float, bool, complex),
    *(datetime.datetime, datetime.date, datetime.time, datetime.timedelta, datetime.timezone),
    *_PATHS,
    *((_SCALAR, f"{module}.scalar") for module in _MULTIARRAY),
    *((_ARRAY, f"{module}._reconstruct") for module in _MULTIARRAY),
    np.ndarray,
    np.dtype,
    *{type(np.dtype(code)) for code in np.typecodes["All"]},
]
