"""The rows of a run, and their schema, which is the same in every part.

A row is an explanation; its key is `id` × `method` × `layer` × `target`. A picture that cannot be
explained has one row, with its `error` and nulls.

| column | |
|---|---|
| `id`, `uri`, `member`, `label` | as in the manifest |
| `fingerprint` | 16 bytes, of the picture's file and of what the data says of it |
| `width`, `height` | of the upright picture |
| `predicted`, `predicted_probability` | the class that the model named first |
| `predictions` | the first five: `class`, `label`, `score`, `probability` |
| `method`, `layer`, `target` | by name; the target in words |
| `target_json` | the target, as `seewhy.targets` reads it back |
| `score`, `probability` | of the target |
| `map` | the raw map divided by `map_scale`, float16, row by row |
| `map_scale` | the largest magnitude of the raw map: float16 alone would lose small gradients |
| `map_height`, `map_width` | its cells |
| `entropy`, `top_share`, `center_x`, ..., `box_y1` | its summary (`seewhy.runs.summary`) |
| `overlay` | the file of the overlay, from the run's folder |
| `warnings`, `error` | in words |
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from seewhy.explanation import Explanation
from seewhy.runs.manifest import Entry
from seewhy.runs.summary import summary_of

_NAME = pa.dictionary(pa.int32(), pa.string())
_PREDICTION = pa.struct(
    [
        pa.field("class", pa.int32()),
        pa.field("label", pa.string()),
        pa.field("score", pa.float32()),
        pa.field("probability", pa.float32()),
    ]
)
NUMBERS = (
    "entropy", "top_share", "center_x", "center_y", "box_x0", "box_y0", "box_x1", "box_y1",
)  # fmt: skip
"""The columns of a map's summary."""


def schema_of(map_size: Sequence[int] | None) -> pa.Schema:
    """The schema of a run.

    Args:
        map_size: (height, width), where all maps of the run have one size.
    """
    cells: Any = pa.float16()
    of_map = pa.list_(cells) if map_size is None else pa.list_(cells, map_size[0] * map_size[1])
    fields = [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("member", pa.string()),
        pa.field("label", _NAME),
        pa.field("fingerprint", pa.binary(16)),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("predicted", _NAME),
        pa.field("predicted_probability", pa.float32()),
        pa.field("predictions", pa.list_(_PREDICTION)),
        pa.field("method", _NAME),
        pa.field("layer", _NAME),
        pa.field("target", _NAME),
        pa.field("target_json", _NAME),
        pa.field("score", pa.float32()),
        pa.field("probability", pa.float32()),
        pa.field("map", of_map),
        pa.field("map_scale", pa.float32()),
        pa.field("map_height", pa.int16()),
        pa.field("map_width", pa.int16()),
        *(pa.field(name, pa.float32()) for name in NUMBERS),
        pa.field("overlay", pa.string()),
        pa.field("warnings", pa.list_(pa.string())),
        pa.field("error", pa.string()),
    ]
    return pa.schema(fields)


class Rows:
    """Gathers rows and makes the table of them.

    Args:
        map_size: as `schema_of` takes it.
    """

    def __init__(self, map_size: Sequence[int] | None) -> None:
        self.schema = schema_of(map_size)
        self._map_size = None if map_size is None else tuple(map_size)
        self._rows: list[dict[str, Any]] = []
        self._maps: list[np.ndarray | None] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(
        self, entry: Entry, explanation: Explanation, fingerprint: bytes, overlay: str | None
    ) -> None:
        """The row of an explanation."""
        map_ = np.asarray(explanation.map, np.float32)
        if self._map_size is not None and map_.shape != self._map_size:
            self.add_failed(
                entry,
                f"its map has {map_.shape} cells, and those of this run have {self._map_size}; "
                "explain it by itself.",
                fingerprint,
            )
            return
        height, width = explanation.picture.shape[:2]
        summary = summary_of(map_, explanation.window, (height, width))
        scale = summary.largest if np.isfinite(summary.largest) else 1.0
        first = explanation.predictions[0] if explanation.predictions else None
        numbers = (
            summary.entropy, summary.top_share,
            *(summary.center or (None,) * 2), *(summary.box or (None,) * 4),
        )  # fmt: skip
        self._maps.append((map_ / scale if scale > 0 else map_).astype(np.float16))
        self._rows.append(
            {
                **_of_entry(entry),
                "fingerprint": fingerprint,
                "width": width,
                "height": height,
                "predicted": None if first is None else first.label,
                "predicted_probability": None if first is None else first.probability,
                "predictions": [
                    {"class": p.index, "label": p.label, "score": p.score,
                     "probability": p.probability}
                    for p in explanation.predictions
                ],
                "method": explanation.method,
                "layer": explanation.layer,
                "target": explanation.label,
                "target_json": json.dumps(explanation.target.to_json()),
                "score": explanation.score,
                "probability": explanation.probability,
                "map_scale": scale,
                "map_height": map_.shape[0],
                "map_width": map_.shape[1],
                **dict(zip(NUMBERS, numbers, strict=True)),
                "overlay": overlay,
                "warnings": list(explanation.warnings),
            }
        )  # fmt: skip

    def add_failed(self, entry: Entry, error: str, fingerprint: bytes | None = None) -> None:
        """The row of a picture that could not be explained."""
        self._maps.append(None)
        self._rows.append({**_of_entry(entry), "fingerprint": fingerprint, "error": error})

    def table(self) -> pa.Table:
        """All rows, by id; those of one id in the order in which they came."""
        order = sorted(range(len(self._rows)), key=lambda place: self._rows[place]["id"])
        rows = [self._rows[place] for place in order]
        maps = [self._maps[place] for place in order]
        columns = []
        for field in self.schema:
            if field.name == "map":
                columns.append(_maps(maps, field.type))
            else:
                columns.append(pa.array([row.get(field.name) for row in rows], field.type))
        return pa.Table.from_arrays(columns, schema=self.schema)


def _of_entry(entry: Entry) -> dict[str, Any]:
    return {"id": entry.id, "uri": entry.uri, "member": entry.member, "label": entry.label}


def _maps(maps: Sequence[np.ndarray | None], type_: Any) -> pa.Array:
    """The column of maps, without a Python object for each cell."""
    missing = pa.array([one is None for one in maps], pa.bool_())
    if pa.types.is_fixed_size_list(type_):
        cells = np.zeros((len(maps), type_.list_size), np.float16)
        for place, one in enumerate(maps):
            if one is not None:
                cells[place] = one.ravel()
        return pa.FixedSizeListArray.from_arrays(pa.array(cells.ravel()), type=type_, mask=missing)
    flat = [np.zeros(0, np.float16) if one is None else one.ravel() for one in maps]
    ends = np.cumsum([0, *map(len, flat)]).astype(np.int32)
    values = np.concatenate(flat) if flat else np.zeros(0, np.float16)
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(values), type=type_, mask=missing)


def failed_rows(entries: Sequence[Entry], error: str, map_size: Sequence[int] | None) -> pa.Table:
    """The rows of pictures that could not even be tried."""
    rows = Rows(map_size)
    for entry in entries:
        rows.add_failed(entry, error)
    return rows.table()
