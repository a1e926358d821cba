"""Many pictures explained on this machine: nothing lost, nothing done twice.

A *manifest* lists the pictures. Its rows are divided into *shards*, and the rows of each shard are
explained by a pure function (`shard`) into a part of the run's folder. What is done stands under
its final name, so that an interrupted run goes on by listing its folder.

    sources → manifest → shards → schedule → workers here (local) → parts → read_run

Nothing of it is imported before it is used: it needs pyarrow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seewhy.runs.progress import Progress
    from seewhy.runs.reading import Run, read_run
    from seewhy.runs.running import run

__all__ = ["Progress", "Run", "read_run", "run"]

_HOME = {"Progress": "progress", "Run": "reading", "read_run": "reading", "run": "running"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'seewhy.runs' has no attribute '{name}'")
    from seewhy.runs.needs import needed

    needed("pyarrow", "a run", "run")
    value = getattr(importlib.import_module(f"seewhy.runs.{_HOME[name]}"), name)
    globals()[name] = value
    return value
