"""A run read back: the table, one explanation again, a sheet of any selection."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from seewhy.errors import DataError
from seewhy.explanation import Explanation, Prediction
from seewhy.images import PictureBytes
from seewhy.one_line import one_line
from seewhy.runs.manifest import Entry, Manifest
from seewhy.runs.parts import MANIFEST, part_path, parts_done, shard_ranges
from seewhy.runs.request import RunRequest
from seewhy.runs.rows import schema_of
from seewhy.runs.stores import read_bytes
from seewhy.runs.told import Told
from seewhy.targets.saving import restored_or_named

if TYPE_CHECKING:
    from seewhy.render.drawing import Drawing

_KEY = ("method", "layer", "target")


class Run:
    """A run in its folder, finished or not. `read_run` opens one.

    Attributes:
        folder: where it is.
        request: what was asked.
        told: what `seewhy.run` did when it made this; nothing for a run that is read.
    """

    def __init__(self, folder: str | os.PathLike[str], told: Told | None = None) -> None:
        self.folder = Path(folder)
        self.told = told or Told()
        request = RunRequest.read(self.folder)
        if request is None:
            raise DataError(f"'{folder}' contains no run. Give the folder that seewhy run wrote.")
        self.request = request

    @cached_property
    def manifest(self) -> Manifest:
        """The pictures."""
        return Manifest(self.folder / MANIFEST)

    @property
    def shards_done(self) -> tuple[int, ...]:
        """The numbers of the shards whose parts are there."""
        return tuple(sorted(parts_done(self.folder)))

    @property
    def parts(self) -> tuple[Path, ...]:
        """The parts that are done, in order."""
        return tuple(part_path(self.folder, shard) for shard in self.shards_done)

    @property
    def finished(self) -> bool:
        """Whether all parts are there."""
        wanted = shard_ranges(self.request.pictures["count"], self.request.shard_size)
        return len(self.shards_done) == sum(1 for _ in wanted)

    @property
    def schema(self) -> pa.Schema:
        """The columns, which `seewhy.runs.rows` describes."""
        return schema_of(self.request.map_size)

    @property
    def dataset(self) -> ds.Dataset:
        """All parts as pyarrow's dataset, which reads what is asked of it."""
        return ds.dataset([str(part) for part in self.parts], schema=self.schema, format="parquet")

    def table(
        self,
        columns: Sequence[str] | None = None,
        *,
        where: pc.Expression | None = None,
        metadata: bool = False,
    ) -> pa.Table:
        """The rows as a pyarrow table, by id.

        Args:
            columns: those wanted; None takes all.
            where: a condition of pyarrow's: `pyarrow.compute.field("score") > 0`.
            metadata: whether the further columns of the manifest are added to each row.

        Raises:
            DataError: a column is not known.
        """
        if strange := [name for name in columns or () if name not in self.schema.names]:
            raise DataError(
                f"there is no column {', '.join(map(repr, strange))}; there are "
                f"{', '.join(self.schema.names)}."
            )
        wanted = None if columns is None else list(columns)
        if metadata and wanted is not None and "id" not in wanted:
            wanted.insert(0, "id")
        rows = self.dataset.to_table(columns=wanted, filter=where)
        if not metadata:
            return rows
        own = set(self.schema.names)
        ids = rows["id"].to_numpy()
        taken = pa.concat_tables(self.manifest.batches()).take(pa.array(ids))
        for name in taken.column_names:
            if name not in own:
                rows = rows.append_column(name, taken[name])
        return rows

    def to_pandas(self, columns: Sequence[str] | None = None, **table: Any) -> Any:
        """The rows as a pandas DataFrame; `table` is what `table` takes.

        Raises:
            DataError: pandas is not installed.
        """
        from seewhy.runs.needs import needed

        needed("pandas", "to_pandas", "run")
        return self.table(columns, **table).to_pandas()

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows piece by piece, for runs that are larger than the memory."""
        yield from self.dataset.to_batches(columns=None if columns is None else list(columns))

    @property
    def failures(self) -> pa.Table:
        """`id`, `uri` and `error` of the pictures that could not be explained."""
        return self.table(["id", "uri", "error"], where=pc.field("error").is_valid())

    def maps(self, rows: pa.Table) -> list[np.ndarray | None]:
        """The raw maps of some rows, (height, width) float32; None where there is none.

        They have float16's precision: 11 bits of each value.
        """
        return [_map(row) for row in rows.select(list(_OF_MAP)).to_pylist()]

    def explanation(
        self,
        id: int,  # as the column is called
        *,
        method: str | None = None,
        layer: str | None = None,
        target: str | None = None,
    ) -> Explanation:
        """One explanation again, with its picture, which is read from where it lay.

        Args:
            id: of the picture.
            method, layer, target: which one, where there are several.

        Raises:
            DataError: there is none, or there are several, or the picture has changed.
            ImageError: the picture cannot be read.
        """
        row = self._row(id, {"method": method, "layer": layer, "target": target})
        entry = self.manifest.entries(id, id + 1)[0]
        return self._explanation(row, entry)

    def explanations(self, rows: pa.Table) -> Iterator[Explanation]:
        """The explanations of some rows of `table()`, which must have all columns."""
        for row in rows.to_pylist():
            if row["error"] is None:
                yield self._explanation(row, self.manifest.entries(row["id"], row["id"] + 1)[0])

    def sheet(self, rows: pa.Table, note: str = "") -> Drawing:
        """The overlays of some rows on one page, each with what was predicted.

        Args:
            rows: of `table()`, with all columns, in the order in which they are to stand.
            note: written below.
        """
        from seewhy.runs.sheets import sheet_of

        return sheet_of(self.explanations(rows), len(rows), note)

    def _row(self, id_: int, chosen: dict[str, str | None]) -> dict[str, Any]:
        if not 0 <= id_ < len(self.manifest):
            raise DataError(
                f"there is no picture {id_}; the ids are 0 to {len(self.manifest) - 1}."
            )
        part = part_path(self.folder, id_ // self.request.shard_size)
        if not part.exists():
            raise DataError(f"picture {id_} is not done yet; run the same command again.")
        read = pq.read_table(part, schema=self.schema, filters=pc.field("id") == id_)
        rows: list[dict[str, Any]] = read.to_pylist()
        if rows and rows[0]["error"] is not None:
            raise DataError(f"picture {id_} could not be explained: {rows[0]['error']}")
        found = [
            row
            for row in rows
            if all(value is None or row[name] == value for name, value in chosen.items())
        ]
        if len(found) == 1:
            return found[0]
        there = "; ".join(", ".join(f"{name}={row[name]!r}" for name in _KEY) for row in rows[:8])
        raise DataError(
            f"{len(found)} explanations of picture {id_} are meant; name one of: {there}"
        )

    def _explanation(self, row: dict[str, Any], entry: Entry) -> Explanation:
        import json

        from seewhy.runs.shard import fingerprint

        data = read_bytes(entry.uri, entry.offset, None if entry.offset is None else entry.size)
        if fingerprint(data, entry) != row["fingerprint"]:
            raise DataError(
                f"'{entry.name}' has changed since the run; run the same command again, and its "
                "part is computed anew."
            )
        preprocess = self.request.preprocess
        read = preprocess.picture_from(PictureBytes(data, entry.name))
        height, width = read.pixels.shape[:2]
        map_ = _map(row)
        assert map_ is not None
        return Explanation(
            map=map_,
            picture=preprocess.view(read.pixels),
            window=preprocess.window((height, width)),
            target=restored_or_named(json.loads(row["target_json"]), row["target"]),
            label=row["target"],
            score=row["score"],
            probability=row["probability"],
            predictions=tuple(
                Prediction(one["class"], one["label"], one["score"], one["probability"])
                for one in row["predictions"]
            ),
            method=row["method"],
            layer=row["layer"],
            model=self.request.model["name"],
            image=entry.name.rpartition("/")[2],
            preprocess=preprocess,
            versions=dict(self.request.versions),
            seconds=0.0,
            warnings=tuple(row["warnings"]),
        )

    def __repr__(self) -> str:
        count = self.request.pictures["count"]
        done, of = len(self.shards_done), -(-count // self.request.shard_size)
        return one_line(f"<Run {self.folder.name}: {count} pictures, {done} of {of} parts done>")


def read_run(folder: str | os.PathLike[str]) -> Run:
    """A run that `seewhy run` or `seewhy.run` wrote, finished or not.

    Raises:
        DataError: the folder contains none.

    Example:
        >>> import seewhy
        >>> model = seewhy.load_model("demo-cat-dog")
        >>> made = seewhy.run(model, "pets", "run", workers=0)
        >>> again = seewhy.read_run("run")
        >>> again.finished
        True
    """
    return Run(folder)


_OF_MAP = ("map", "map_scale", "map_height", "map_width")


def _map(row: dict[str, Any]) -> np.ndarray | None:
    if row["map"] is None:
        return None
    cells = np.asarray(row["map"], np.float32) * np.float32(row["map_scale"])
    return cells.reshape(row["map_height"], row["map_width"])
