"""What a long run has found so far, a line a result, so that it can go on after an interruption.

The file is JSON lines. The first is `{"seewhy results": 1, "protocol": {...}}`; each further one is
`{"record": ..., "method": ..., "target": ..., "values": {...}}`. The first three name it: of lines
with one name the last counts. A number that is not defined (NaN) is null; infinity is "inf" or
"-inf".

A row is on the disk when `add` returns. Whatever interrupts the run, the file then ends with whole
lines and perhaps the beginning of one more, which is cut off when the run goes on.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seewhy.errors import DataError

if sys.platform != "win32":  # where two runs into one file are not caught
    import fcntl

_BEGINNING = '{"seewhy results": 1, "protocol": '

Key = tuple[str, str, str]
"""(record, method, target)."""


@dataclass(frozen=True)
class Row:
    """The result for one record, method and target.

    Attributes:
        record: the record's id.
        method: its name.
        target: what was explained, as text.
        values: numbers, texts, lists or mappings of them.
    """

    record: str
    method: str
    target: str
    values: Mapping[str, Any]

    @property
    def key(self) -> Key:
        """What it is called by."""
        return self.record, self.method, self.target


@dataclass(frozen=True)
class Results:
    """What a file of results holds.

    Attributes:
        protocol: everything that moves the numbers, as JSON has it.
        rows: each key once, in the order they were added.
    """

    protocol: Mapping[str, Any]
    rows: tuple[Row, ...]


class ResultStore:
    """A file of results that is open for more. `open_results` opens one."""

    def __init__(self, file: int, path: Path, rows: Mapping[Key, Row]) -> None:
        self._file, self._path, self._rows = file, path, dict(rows)

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def __getitem__(self, key: Key) -> Row:
        return self._rows[key]

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def rows(self) -> tuple[Row, ...]:
        """All that are in the file, those of earlier runs first."""
        return tuple(self._rows.values())

    def add(self, rows: Iterable[Row]) -> None:
        """Appends rows; when it returns they are on the disk. Several at once cost one wait.

        Raises:
            DataError: a key is there already, or the disk does not take them; then none is added.
        """
        fresh: dict[Key, Row] = {}
        for row in rows:
            if row.key in self._rows or row.key in fresh:
                raise DataError(
                    f"'{self._path}' already has a row of {', '.join(row.key)}. Ask `in` first."
                )
            fresh[row.key] = row
        self._write(fresh)

    def replace(self, rows: Iterable[Row]) -> None:
        """Appends rows as `add` does; they take the place of those of the same names.

        Raises:
            DataError: the disk does not take them; then none is replaced.
        """
        self._write({row.key: row for row in rows})

    def _write(self, rows: Mapping[Key, Row]) -> None:
        _append(self._file, self._path, "".join(_line(row) for row in rows.values()))
        self._rows |= rows


@contextmanager
def open_results(
    path: str | os.PathLike[str], protocol: Mapping[str, Any]
) -> Iterator[ResultStore]:
    """A store to add to: a new file, or one that an interrupted run with this protocol left.

    Raises:
        DataError: another protocol (what differs is named), no file of results, a damaged line, or
            another run that has the file open.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        file = os.open(
            path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666
        )
    except OSError as error:
        raise DataError(f"'{path}' cannot be opened ({error.strerror}).") from error
    try:
        _lock(file, path)
        content = path.read_bytes()
        found, whole = _parse(content, path)
        if found is None:
            os.ftruncate(file, 0)
            _append(file, path, _header(protocol))
            _settle(path.parent)
            rows: tuple[Row, ...] = ()
        else:
            _same_protocol(found.protocol, _as_json(protocol), path)
            if whole < len(content):
                os.ftruncate(file, whole)
            rows = found.rows
        yield ResultStore(file, path, {row.key: row for row in rows})
    finally:
        os.close(file)  # which unlocks it


def read_results(path: str | os.PathLike[str]) -> Results:
    """What a file holds; a line that breaks off at its end is left out. The file stays as it is.

    Raises:
        DataError: it cannot be read, is no file of results, or has a damaged line.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"the results '{path}' cannot be read ({error.strerror}).") from error
    found, _ = _parse(content, path)
    if found is None:
        raise DataError(f"'{path}' contains no results yet.")
    return found


def _parse(content: bytes, path: Path) -> tuple[Results | None, int]:
    """The results, if there is a whole first line, and the length of the whole lines."""
    end = content.rfind(b"\n") + 1
    beginning = _BEGINNING.encode()
    if not content[: len(beginning)] == beginning[: len(content)]:
        raise DataError(f"'{path}' is not a results file of seewhy. Name another file.")
    if not end:
        return None, 0
    lines = content[:end].splitlines()
    rows: dict[Key, Row] = {}
    protocol: dict[str, Any] = {}
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            if number == 1:
                protocol = dict(entry["protocol"])
                continue
            key = entry["record"], entry["method"], entry["target"]
            if not all(isinstance(part, str) for part in key):
                raise TypeError(f"record, method and target are texts, not {key}")
            if not isinstance(entry["values"], dict):
                raise TypeError(f"values is an object, not {entry['values']!r}")
            row = Row(*key, _read(entry["values"]))
        except (KeyError, RecursionError, TypeError, ValueError) as error:
            raise DataError(
                f"'{path}', line {number}, is damaged ({error!r}). Delete that line (its "
                "result will be made again), or start a new file."
            ) from error
        rows[row.key] = row
    return Results(protocol, tuple(rows.values())), end


def _header(protocol: Mapping[str, Any]) -> str:
    return f"{_BEGINNING}{json.dumps(_as_json(protocol), allow_nan=False)}}}\n"


def _line(row: Row) -> str:
    entry = {
        "record": row.record,
        "method": row.method,
        "target": row.target,
        "values": _written(row.values),
    }
    return json.dumps(entry, allow_nan=False) + "\n"


def _written(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    if isinstance(value, Mapping):
        return {str(name): _written(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_written(one) for one in value]
    return value


def _read(value: Any) -> Any:
    if value is None or value in ("inf", "-inf"):
        return float(value or "nan")
    if isinstance(value, dict):
        return {name: _read(one) for name, one in value.items()}
    return [_read(one) for one in value] if isinstance(value, list) else value


def _as_json(value: Mapping[str, Any]) -> Any:
    """As it will be after writing and reading: lists for tuples, texts for names."""
    return json.loads(json.dumps(_written(value), allow_nan=False))


def _same_protocol(there: Mapping[str, Any], here: Mapping[str, Any], path: Path) -> None:
    differ = list(differences(dict(there), dict(here), ""))
    if differ:
        more = f"; and {len(differ) - 6} more" if len(differ) > 6 else ""
        raise DataError(
            f"'{path}' was made with another protocol: {'; '.join(differ[:6])}{more}. "
            "Run with the same one, or name another file."
        )


def differences(there: Any, here: Any, name: str) -> Iterator[str]:
    """What differs between two values of JSON's types, in words; `name` is what they are of."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in dict.fromkeys([*there, *here]):
            inner = f"{name}.{key}" if name else key
            if key not in here:
                yield f"{inner} was {there[key]!r} and is not given now"
            elif key not in there:
                yield f"{inner} was not given and is {here[key]!r} now"
            else:
                yield from differences(there[key], here[key], inner)
    elif there != here:
        yield f"{name} was {there!r} and is {here!r} now"


def _append(file: int, path: Path, text: str) -> None:
    before = os.fstat(file).st_size
    left = memoryview(text.encode())
    try:
        while left:
            left = left[os.write(file, left) :]
        os.fsync(file)
    except OSError as error:
        os.ftruncate(file, before)
        raise DataError(
            f"'{path}' could not be written ({error.strerror}). Earlier results are "
            "intact. Free some disk space and run again."
        ) from error


def _settle(folder: Path) -> None:
    """The new file's name on the disk, where folders can be synced."""
    if hasattr(os, "O_DIRECTORY"):
        opened = os.open(folder, os.O_DIRECTORY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def _lock(file: int, path: Path) -> None:
    if sys.platform != "win32":
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(
                f"another run is writing to '{path}'. Wait for it, or name another file."
            ) from None
        except OSError:
            pass  # some network drives have no locks
