"""The manifest: a Parquet file with a row a picture, made once, streaming, in a fixed order.

| column | |
|---|---|
| `id` | int64, counted from 0: the row's place |
| `uri` | the picture's file, or the archive that it is in |
| `offset`, `size` | of a member of an archive: where its bytes begin; how many bytes it has |
| `member` | its name in the archive |
| `modified` | of a file of this machine: when it was last written, in nanoseconds |
| `label` | what the data says the picture shows, where it does |
| `annotation` | 16 bytes that change with the annotation |

and all further columns that the source has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from seewhy.errors import DataError

FORMAT = b"seewhy manifest"
CORE = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("offset", pa.int64()),
        pa.field("size", pa.int64()),
        pa.field("member", pa.string()),
        pa.field("modified", pa.int64()),
        pa.field("label", pa.string()),
        pa.field("annotation", pa.binary(16)),
    ]
)
_ROWS = 32_768  # of a row group: what is read at once to have one row


@dataclass(frozen=True)
class Entry:
    """A picture of the manifest.

    Attributes:
        id: its place in the manifest.
        uri, offset, size, member: where its bytes lie, as the columns are described above.
        label: what the data says it shows.
        annotation: changes with what the data says of it.
    """

    id: int
    uri: str
    offset: int | None = None
    size: int | None = None
    member: str | None = None
    label: str | None = None
    annotation: bytes | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.uri if self.member is None else f"{self.uri}/{self.member}"


@dataclass
class Digests:
    """What a manifest says, in a few letters.

    Attributes:
        count: its rows.
        pictures: which pictures there are, in which order.
        content: also when they were written, and what the data says of them.
    """

    count: int = 0
    _pictures: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=16))
    _content: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=16))

    @property
    def pictures(self) -> str:
        """32 hexadecimal digits."""
        return str(self._pictures.hexdigest())

    @property
    def content(self) -> str:
        """32 hexadecimal digits."""
        return str(self._content.hexdigest())

    def add(self, rows: pa.Table) -> None:
        """The next rows, however they are divided."""
        self.count += len(rows)
        said = zip(rows["uri"].to_pylist(), rows["offset"].to_pylist(), strict=True)
        self._pictures.update(
            "".join(f"{uri}\0{offset}\n" for uri, offset in said).encode("utf-8", "surrogatepass")
        )
        others = [rows[name].to_pylist() for name in rows.column_names if name != "id"]
        self._content.update(
            "".join(f"{row}\n" for row in zip(*others, strict=True)).encode("utf-8", "replace")
        )


def write_manifest(path: Path, batches: Iterable[pa.Table], limit: int | None = None) -> Digests:
    """Write what a source gives, and say what it was. Memory does not grow with the rows.

    Args:
        path: written directly: give one that is aside.
        batches: with the columns of `CORE` but for `id`, and further ones, all the same.
        limit: how many rows to take.

    Raises:
        DataError: there is no picture.
    """
    digests = Digests()
    writer: pq.ParquetWriter | None = None
    try:
        for rows in _numbered(batches, limit):
            if writer is None:
                schema = rows.schema.with_metadata({FORMAT: b"1"})
                writer = pq.ParquetWriter(path, schema, compression="zstd")
            digests.add(rows)
            writer.write_table(rows.cast(writer.schema), row_group_size=_ROWS)
    finally:
        if writer is not None:
            writer.close()
    if not digests.count:
        raise DataError("the source contains no picture. Give files, folders or tables that do.")
    return digests


def _numbered(batches: Iterable[pa.Table], limit: int | None) -> Iterator[pa.Table]:
    """The rows with their ids, `_ROWS` at a time: manifests of one source are divided alike."""
    waiting: list[pa.Table] = []
    rows = begun = 0
    for batch in batches:
        left = None if limit is None else limit - begun - rows
        if left is not None and left <= 0:
            break
        waiting.append(batch if left is None else batch.slice(0, left))
        rows += len(waiting[-1])
        while rows >= _ROWS:
            together = pa.concat_tables(waiting)
            yield _with_ids(together.slice(0, _ROWS), begun)
            waiting = [together.slice(_ROWS)]
            begun, rows = begun + _ROWS, rows - _ROWS
    if rows:
        yield _with_ids(pa.concat_tables(waiting), begun)


def _with_ids(rows: pa.Table, begun: int) -> pa.Table:
    ids = pa.array(range(begun, begun + len(rows)), pa.int64())
    return rows.add_column(0, CORE.field("id"), ids)


def is_manifest(path: Path) -> bool:
    """Whether a file is one that `write_manifest` wrote."""
    try:
        return FORMAT in (pq.read_schema(path).metadata or {})
    except (OSError, pa.ArrowInvalid):
        return False


class Manifest:
    """A manifest's file, open for reading; rows are read as they are asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = pq.ParquetFile(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise DataError(f"the manifest '{path}' cannot be read ({error}).") from error
        if FORMAT not in (self._file.schema_arrow.metadata or {}):
            raise DataError(f"'{path}' is no manifest of seewhy's.")
        counts = [
            self._file.metadata.row_group(number).num_rows
            for number in range(self._file.metadata.num_row_groups)
        ]
        self._ends: list[int] = []
        for count in counts:
            self._ends.append(count + (self._ends[-1] if self._ends else 0))
        self._kept: tuple[int, pa.Table] | None = None

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @property
    def schema(self) -> pa.Schema:
        """Its columns."""
        return self._file.schema_arrow

    def rows(self, start: int, stop: int, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows from `start` to before `stop`, those that there are."""
        pieces = []
        begin = 0
        for number, end in enumerate(self._ends):
            if begin < stop and start < end:
                group = self._group(number)
                piece = group.slice(max(start - begin, 0), min(stop, end) - max(start, begin))
                pieces.append(piece if columns is None else piece.select(list(columns)))
            begin = end
        return pa.concat_tables(pieces) if pieces else self.schema.empty_table()

    def entries(self, start: int, stop: int) -> list[Entry]:
        """The pictures from `start` to before `stop`."""
        names = ["id", "uri", "offset", "size", "member", "label", "annotation"]
        rows = self.rows(start, stop, names)
        return [Entry(**row) for row in rows.to_pylist()]

    def batches(self) -> Iterator[pa.Table]:
        """All rows, piece by piece."""
        for number in range(len(self._ends)):
            yield self._file.read_row_group(number)

    def _group(self, number: int) -> pa.Table:
        if self._kept is None or self._kept[0] != number:
            self._kept = number, self._file.read_row_group(number)
        return self._kept[1]


def changed_rows(before: Manifest, after: Manifest) -> Iterator[int]:
    """The ids whose rows say something else now, of two manifests of the same pictures."""
    for old, new in zip(before.batches(), after.batches(), strict=True):
        if old.equals(new):
            continue
        names = sorted({*old.column_names, *new.column_names})
        columns = [
            (_values(old, name), _values(new, name), old["id"].to_pylist()) for name in names
        ]
        ids = {
            id_
            for was, is_, of in columns
            for one, other, id_ in zip(was, is_, of, strict=True)
            if one != other
        }
        yield from sorted(ids)


def _values(rows: pa.Table, name: str) -> list[Any]:
    return rows[name].to_pylist() if name in rows.column_names else [None] * len(rows)
