"""The files that an evaluation leaves behind."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor

from seewhy.boxes import Box
from seewhy.dataset.results import Row
from seewhy.evaluation.summary import Evaluation
from seewhy.explainer import Prepared
from seewhy.files import written_aside
from seewhy.images import place

ROWS = "rows.jsonl"
_LARGEST = 280  # pixels of a drawn picture's longer side


def write_files(folder: Path, evaluation: Evaluation, rows: Sequence[Row]) -> Evaluation:
    """evaluation.json, table.csv, evaluation.html; rows.parquet where pyarrow is installed.

    Returns:
        The evaluation as it came.
    """
    content = evaluation.to_json()
    with written_aside(folder / "evaluation.json") as aside:
        aside.write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")
    with written_aside(folder / "table.csv") as aside:
        aside.write_text(evaluation.table(), encoding="utf-8")
    write_page(folder / "evaluation.html", content)
    if find_spec("pyarrow") is not None:
        write_parquet(folder / "rows.parquet", rows)
    return evaluation


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


def draw(prepared: Prepared, map_: Tensor, boxes: Sequence[Box]) -> str:
    """The map over the picture with the true boxes, as a small JPEG in a data URI."""
    from seewhy.render.colormap import color_range, has_negative
    from seewhy.render.overlay import overlay

    raw = map_.float().cpu().numpy()
    heatmap = place(raw, prepared.window, prepared.picture.shape[:2])
    limits = color_range([raw], signed=has_negative(raw))
    outlines = [Box(round(b.x0), round(b.y0), round(b.x1), round(b.y1)) for b in boxes]
    drawn = overlay(prepared.picture, heatmap, prepared.window, limits=limits, boxes=outlines)
    drawn.thumbnail((_LARGEST, _LARGEST))
    buffer = io.BytesIO()
    drawn.save(buffer, format="JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
