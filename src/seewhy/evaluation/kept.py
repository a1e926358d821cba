"""The rows of earlier runs that still say something of the pictures as they are now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from seewhy.dataset import Record
from seewhy.dataset.fingerprint import fingerprint
from seewhy.dataset.results import Key, ResultStore, Row

OF_RECORD = ""
"""The method of the row that says what became of a record."""

_PRINT = "fingerprint"


class KeptRows:
    """A store of rows, each with the fingerprint of the picture and annotation it was made of.

    A row whose picture or annotation has another fingerprint now is as good as none: it is not
    found, and the row that is made anew takes its place.

    Args:
        store: open for more.
        classes: of each label the model's classes, on which the rows of a picture depend as well.

    Attributes:
        changed: the ids of records of which there were rows that no longer match.
    """

    def __init__(self, store: ResultStore, classes: Mapping[str, Sequence[int]]) -> None:
        self._store, self._classes = store, classes
        self._prints: dict[str, str] = {}
        self.changed: list[str] = []

    def look_at(self, record: Record) -> None:
        """Takes the fingerprint of a record, which its rows must have from now on."""
        classes = [list(self._classes.get(label, ())) for label in record.labels]
        self._prints[record.id] = f"{fingerprint(record)} {classes}"
        key = (record.id, OF_RECORD, "")
        if key in self._store and key not in self:
            self.changed.append(record.id)

    def look_at_collage(self, id_: str, records: Sequence[Record]) -> None:
        """The same of pictures laid side by side, which have been looked at one by one."""
        self._prints[id_] = " ".join(self._prints[record.id] for record in records)

    def __contains__(self, key: Key) -> bool:
        return self.get(key) is not None

    def get(self, key: Key) -> Row | None:
        """The row of a record that has been looked at; None where there is none that matches."""
        if key not in self._store:
            return None
        row = self._store[key]
        return row if row.values.get(_PRINT) == self._prints[row.record] else None

    def add(self, rows: Iterable[Row]) -> None:
        """Rows of records that have been looked at; when it returns they are on the disk."""
        self._store.replace(replace(row, values=self._marked(row)) for row in rows)

    def _marked(self, row: Row) -> dict[str, Any]:
        return {**row.values, _PRINT: self._prints[row.record]}

    @property
    def rows(self) -> tuple[Row, ...]:
        """Those that match, of all records that have been looked at."""
        found = self._store.rows
        return tuple(r for r in found if r.values.get(_PRINT, "") == self._prints.get(r.record))
