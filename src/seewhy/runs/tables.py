"""Tables of paths: CSV, JSON and Parquet with a row a picture, and columns of any other facts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json
import pyarrow.parquet as pq

from seewhy.errors import DataError
from seewhy.runs.manifest import CORE
from seewhy.runs.stores import file_row, file_system, is_remote, local_path

PATHS = ("uri", "path", "file", "image", "filename", "file_name", "filepath", "picture", "url")
"""The columns that may hold the pictures' paths; the first of these that is there does."""

LABELS = ("label", "class", "category", "target")
"""The columns that may hold what a picture shows; the first of these that is there does."""

TABLES = (".csv", ".json", ".jsonl", ".ndjson", ".parquet")
"""The endings of tables."""

_CORNERS = ("x0", "y0", "x1", "y1")
_BLOCK = 1 << 22  # bytes read at once


def is_of_boxes(path: Path) -> bool:
    """Whether a table is a data set's annotations (`seewhy.read_dataset`), not one of paths."""
    if path.suffix.lower() == ".csv":
        try:
            with path.open(encoding="utf-8-sig", errors="replace") as file:
                header = file.readline()
        except OSError:
            return False
        names = header.strip().replace(";", ",").split(",")
        return all(corner in names for corner in _CORNERS)
    if path.suffix.lower() == ".json":
        said = _json(path)
        if isinstance(said, dict):
            return "images" in said
        first = said[0] if isinstance(said, list) and said else None
        return isinstance(first, dict) and bool({"boxes", "boxes_hand", "objects"} & first.keys())
    return False


def rows_of_table(where: str | Path) -> Iterator[pa.Table]:
    """The rows of a manifest without ids; paths that are not absolute begin at the table's folder.

    Raises:
        DataError: it cannot be read, no column holds paths, or a path is missing.
    """
    said = str(where)
    begin = 0
    for batch in _batches(said):
        yield _as_manifest(batch, said, begin)
        begin += len(batch)


def _batches(where: str) -> Iterator[pa.Table]:
    ending = PurePosixPath(where).suffix.lower()
    try:
        if ending == ".parquet":
            with _opened(where) as file:
                for batch in pq.ParquetFile(file).iter_batches(batch_size=8192):
                    yield pa.Table.from_batches([batch])
        elif ending == ".csv":
            yield from _csv(where)
        elif ending == ".json":
            yield from _one_json(where)
        else:
            with _opened(where) as file:
                options = pa_json.ReadOptions(block_size=_BLOCK)
                for batch in pa_json.open_json(file, read_options=options):
                    yield pa.Table.from_batches([batch])
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise DataError(f"the table '{where}' cannot be read ({error}).") from error


def _csv(where: str) -> Iterator[pa.Table]:
    with _opened(where) as file:
        header = file.readline().decode("utf-8-sig", "replace")
    delimiter = max((",", ";", "\t"), key=header.count)
    names = [name.strip().strip('"') for name in header.rstrip("\r\n").split(delimiter)]
    # What reads like a number in the first block need not in the last: paths and labels are text.
    texts = {name: pa.string() for name in names if name.lower() in (*PATHS, *LABELS)}
    with _opened(where) as file:
        reader = pa_csv.open_csv(
            file,
            read_options=pa_csv.ReadOptions(block_size=_BLOCK),
            parse_options=pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(column_types=texts),
        )
        for batch in reader:
            yield pa.Table.from_batches([batch])


def _one_json(where: str) -> Iterator[pa.Table]:
    said = _json(where)
    if not isinstance(said, list) or not all(isinstance(row, (dict, str)) for row in said):
        raise DataError(
            f"'{where}' contains no list of pictures. A list of paths, or of objects with one of "
            f"{', '.join(PATHS)}, is wanted. (One object a line is called .jsonl.)"
        )
    rows = [{"path": row} if isinstance(row, str) else row for row in said]
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: [row.get(name) for row in rows] for name in names}
    yield pa.table({name: _column(values) for name, values in columns.items()})


def _column(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except pa.ArrowException:  # of several kinds: as text
        return pa.array([None if one is None else json.dumps(one) for one in values])


def _json(where: str | Path) -> Any:
    try:
        with _opened(str(where)) as file:
            return json.loads(file.read().decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"'{where}' cannot be read as JSON ({error}).") from error


def _opened(where: str) -> Any:
    if not is_remote(where):
        return local_path(where).open("rb")
    system, path = file_system(where)
    return system.open(path, "rb")


def _as_manifest(batch: pa.Table, where: str, begin: int) -> pa.Table:
    by_name = {name.lower(): name for name in reversed(batch.column_names)}
    path = next((by_name[name] for name in PATHS if name in by_name), None)
    if path is None:
        raise DataError(
            f"'{where}' has the columns {', '.join(batch.column_names)}; one of "
            f"{', '.join(PATHS)} is wanted, with the pictures' paths."
        )
    label = next((by_name[name] for name in LABELS if name in by_name and by_name[name] != path),
                 None)  # fmt: skip
    given = batch[path].cast(pa.string()).to_pylist()
    if None in given or "" in given:
        row = begin + next(place for place, one in enumerate(given) if not one)
        raise DataError(f"'{where}', row {row} (counted from 0), has no {path}; give its path.")
    count = len(batch)
    places = [_absolute(one, where) for one in given]
    columns: dict[str, Any] = {"uri": pa.array(places)}
    for field in CORE:
        if field.name in ("id", "uri"):
            continue
        taken = label if field.name == "label" else by_name.get(field.name)
        if field.name in ("offset", "size", "member", "label") and taken is not None:
            try:
                columns[field.name] = batch[taken].cast(field.type)
            except pa.ArrowException as error:
                raise DataError(
                    f"'{where}': the column {taken} does not hold {field.type} ({error})."
                ) from error
        else:
            columns[field.name] = pa.nulls(count, field.type)
    if not {"offset", "size"} & by_name.keys():
        files = [{} if is_remote(one) else file_row(Path(one)) for one in places]
        for name in ("size", "modified"):
            columns[name] = pa.array([one.get(name) for one in files], pa.int64())
    core = set(columns) | {"id"}
    for name in batch.column_names:
        if name in (path, label) or (name.lower() in core and name.lower() in columns):
            continue
        columns[f"given_{name}" if name.lower() in core else name] = _plain(batch[name])
    return pa.table(columns)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Without dictionaries, so that pieces with other entries go together."""
    if not pa.types.is_dictionary(column.type):
        return column
    return pc.cast(column, column.type.value_type)


def _absolute(path: str, where: str) -> str:
    if is_remote(path):
        return path
    if is_remote(where):
        return f"{where.rpartition('/')[0]}/{path}"
    return str(local_path(str(Path(local_path(where).parent, path))))
