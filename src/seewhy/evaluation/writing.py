"""The files that an evaluation leaves behind."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from seewhy.dataset.results import Row
from seewhy.evaluation.result import Evaluation
from seewhy.saving.files import written_aside

ROWS = "rows.jsonl"


def write_files(folder: Path, evaluation: Evaluation, rows: Sequence[Row]) -> None:
    """evaluation.json, table.csv, evaluation.html; rows.parquet where pyarrow is installed."""
    content = evaluation.to_json()
    with written_aside(folder / "evaluation.json") as aside:
        aside.write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")
    with written_aside(folder / "table.csv") as aside:
        aside.write_text(evaluation.table(), encoding="utf-8")
    write_page(folder / "evaluation.html", content)
    if find_spec("pyarrow") is not None:
        write_parquet(folder / "rows.parquet", rows)


def write_page(path: Path, content: dict[str, Any]) -> None:
    """The page, whole in itself."""
    from seewhy.report.evaluation import evaluation_page

    with written_aside(path) as aside:
        aside.write_text(evaluation_page(content), encoding="utf-8")


def write_parquet(path: Path, rows: Sequence[Row]) -> None:
    """A row for each picture, class, method and metric."""
    pyarrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    flat = [
        {
            "record": row.record, "label": row.target, "method": row.method, "metric": metric,
            "value": float(value),
        }
        for row in rows
        if row.method
        for metric, value in row.values["metrics"].items()
    ]  # fmt: skip
    with written_aside(path) as aside:
        parquet.write_table(pyarrow.Table.from_pylist(flat), aside)
