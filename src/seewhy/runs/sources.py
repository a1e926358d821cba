"""What can be given as pictures → pieces of a manifest, as many as the reader takes.

A source is files, folders and patterns (of this machine or of a store that fsspec reaches), tables
of paths (`.csv`, `.json`, `.jsonl`, `.parquet`), archives of WebDataset (`.tar`), a data set of
one of `seewhy.read_dataset`'s formats, or a manifest that is there already.
"""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from seewhy.dataset import FORMATS, Dataset, read_dataset
from seewhy.dataset.files import Shelf, picture_endings
from seewhy.dataset.formats import load_format
from seewhy.errors import DataError, ImageError
from seewhy.runs.archives import is_archive, members_of, written_out
from seewhy.runs.manifest import CORE, Manifest, is_manifest
from seewhy.runs.stores import file_row, file_system, is_remote, local_path, with_patience
from seewhy.runs.tables import TABLES, is_of_boxes, rows_of_table
from seewhy.signatures.pictures import readers

Source = str | os.PathLike[str] | Dataset | Sequence[str | os.PathLike[str]]
"""What `seewhy.run` takes as pictures."""

PICTURES = "pictures"
"""The kind of a folder whose pictures are all taken, whatever data set it may be."""

_PIECE = 4096  # rows that are gathered before they are passed on
_SIGNS = "*?["


def pieces_of(
    source: Source,
    *,
    kind: str | None = None,
    leave_out: Path | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> Iterator[pa.Table]:
    """The rows of a manifest without ids, in an order that is always the same.

    Args:
        source: the pictures.
        kind: one of `FORMATS` for a data set of that format; `PICTURES`, and a folder is walked
            whatever it holds. None reads a data set where its files say that it is one.
        leave_out: a folder that is not walked: results are no pictures.
        note: hears, in sentences, what was assumed and what was left out.

    Raises:
        DataError, ImageError: what is given is not there, or cannot be read.
    """
    if kind is not None and kind != PICTURES and kind not in FORMATS:
        raise DataError(
            f"kind '{kind}' is not known; choose one of {', '.join((PICTURES, *FORMATS))}."
        )
    if isinstance(source, Dataset):
        return _of_dataset(source, note)
    given = [source] if isinstance(source, (str, os.PathLike)) else list(source)
    if not given:
        raise DataError("no source was given; give files, folders, patterns or tables.")
    parts = [part for one in given for part in written_out(os.fspath(one))]
    if len(parts) == 1:
        return _of_one(parts[0], kind, leave_out, note)
    return _of_several(parts, kind, leave_out, note)


def _of_several(
    parts: Sequence[str], kind: str | None, leave_out: Path | None, note: Callable[[str], None]
) -> Iterator[pa.Table]:
    schema = None
    for part in parts:
        for piece in _of_one(part, kind, leave_out, note):
            schema = piece.schema if schema is None else schema
            if piece.schema != schema:
                raise DataError(
                    f"'{part}' has other columns ({', '.join(piece.schema.names)}) than what came "
                    f"before it ({', '.join(schema.names)}); give them to runs of their own."
                )
            yield piece


def _of_one(
    part: str, kind: str | None, leave_out: Path | None, note: Callable[[str], None]
) -> Iterator[pa.Table]:
    if is_remote(part):
        return _remote(part)
    path = local_path(part)
    if kind not in (None, PICTURES):
        return _of_dataset(read_dataset(path, kind=kind), note)
    if path.is_dir():
        return _of_folder(path, kind, leave_out, note)
    if path.is_file():
        return _of_file(path, note)
    if any(sign in part for sign in _SIGNS):
        return _of_pattern(path, leave_out, note)
    raise ImageError(f"there is no '{part}'; check the path.")


def _of_file(path: Path, note: Callable[[str], None]) -> Iterator[pa.Table]:
    ending = path.suffix.lower()
    if ending in TABLES:
        if ending == ".parquet" and is_manifest(path):
            return _of_manifest(path)
        if is_of_boxes(path):
            return _of_dataset(read_dataset(path), note)
        return rows_of_table(path)
    if is_archive(path.name):
        return gathered(members_of(str(path)))
    return gathered([file_row(path)])


def _of_manifest(path: Path) -> Iterator[pa.Table]:
    for rows in Manifest(path).batches():
        yield rows.drop_columns(["id"]).replace_schema_metadata(None)


def _of_pattern(
    pattern: Path, leave_out: Path | None, note: Callable[[str], None]
) -> Iterator[pa.Table]:
    found = sorted(glob.glob(str(pattern), recursive=True))  # noqa: PTH207  # may be absolute
    if not found:
        raise ImageError(f"the pattern '{pattern}' matches no file.")

    def files() -> Iterator[dict[str, Any]]:
        for match in found:
            path = Path(match)
            if path.is_dir():
                yield from _walk(path, leave_out)
            elif is_archive(path.name):
                yield from members_of(match)
            else:
                yield file_row(path)

    tables = [one for one in found if Path(one).suffix.lower() in TABLES]
    if tables and len(tables) == len(found):
        return _of_several(tables, None, leave_out, note)
    return gathered(files())


def _of_folder(
    folder: Path, kind: str | None, leave_out: Path | None, note: Callable[[str], None]
) -> Iterator[pa.Table]:
    if kind is None:
        shelf = Shelf()
        formats = [load_format(name) for name in FORMATS]
        found = [
            (one, place) for one in formats for place in one.detect(folder, shelf) if place.sure
        ]
        if len(found) == 1:
            note(
                f"'{folder}' is read as a data set of kind {found[0][0].name} "
                f"({found[0][1].seen}); to take all pictures in it, name the kind '{PICTURES}'."
            )
            return _of_dataset(read_dataset(folder, kind=found[0][0].name), note)
        if found:
            note(
                f"'{folder}' could be read as {', '.join(sorted({one.name for one, _ in found}))}; "
                "all its pictures are taken, without their annotations. Name a kind to have them."
            )
        elif load_format("folder").detect(folder, shelf):
            return gathered(_walk(folder, leave_out, by_class=True))
    return gathered(_walk(folder, leave_out))


def _walk(
    folder: Path, leave_out: Path | None, *, by_class: bool = False
) -> Iterator[dict[str, Any]]:
    """All pictures below a folder, sorted within each folder; hidden ones are passed over.

    Archives of WebDataset are read, too. With `by_class` a picture's label is the folder right
    below `folder` that it is in.
    """
    endings = picture_endings() | readers().keys()
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and not _is(Path(place, name), leave_out)
        )
        inner = Path(place).relative_to(folder).parts
        label = inner[0] if by_class and inner else None
        for name in sorted(files):
            if name.startswith("."):
                continue
            path = Path(place, name)
            if path.suffix.lower() in endings:
                yield {**file_row(path), "label": label}
            elif is_archive(name):
                yield from members_of(str(path))


def _is(path: Path, other: Path | None) -> bool:
    return other is not None and path.name == other.name and path.resolve() == other.resolve()


def _of_dataset(dataset: Dataset, note: Callable[[str], None]) -> Iterator[pa.Table]:
    for sentence in dataset.notes:
        note(sentence)
    if dataset.problems:
        note(
            f"{len(dataset.problems)} of the data set '{dataset.name}' are left out; the first: "
            f"{dataset.problems[0]}"
        )
    schema = pa.schema([*_without_id(), pa.field("labels", pa.list_(pa.string()))])

    def rows() -> Iterator[dict[str, Any]]:
        for record in dataset.records:
            said = repr((record.labels, record.boxes, _masks(record.masks)))
            yield {
                **file_row(local_path(str(record.image))),
                "label": record.labels[0] if len(record.labels) == 1 else None,
                "labels": list(record.labels),
                "annotation": hashlib.blake2b(
                    said.encode("utf-8", "replace"), digest_size=16
                ).digest(),
            }

    return gathered(rows(), schema)


def _masks(masks: Any) -> Any:
    """What names the masks; the files themselves are not read."""
    if dataclasses.is_dataclass(masks) and not isinstance(masks, type):
        return dataclasses.astuple(masks)
    return type(masks).__name__


def _remote(address: str) -> Iterator[pa.Table]:
    """Of a store: one file, a pattern, or a prefix with all pictures below it."""
    system, path = file_system(address)
    name = PurePosixPath(path.partition("?")[0]).name
    if is_archive(name) and not any(sign in path for sign in _SIGNS):
        return gathered(members_of(address))
    if PurePosixPath(name).suffix.lower() in TABLES:
        return rows_of_table(address)
    return gathered(_listed(address, system, path))


def _listed(address: str, system: Any, path: str) -> Iterator[dict[str, Any]]:
    endings = picture_endings() | readers().keys()
    if any(sign in path for sign in "*["):  # a question mark begins the query of a web address
        found = with_patience(address, lambda: system.glob(path, detail=True))
        if not found:
            raise ImageError(f"the pattern '{address}' matches no file.")
        for name in sorted(found):
            yield from _of_store(system, name, found[name], endings, named=True)
        return
    is_file = with_patience(address, lambda: system.isfile(path))
    if is_file and PurePosixPath(path.partition("?")[0]).suffix.lower() in endings:
        yield {"uri": address, "size": with_patience(address, lambda: system.size(path))}
        return
    any_found = False
    for place, folders, files in system.walk(path, detail=True):
        for folder in [one for one in folders if PurePosixPath(one).name.startswith(".")]:
            del folders[folder]
        for name in sorted(files):
            for row in _of_store(system, files[name]["name"], files[name], endings, named=False):
                any_found = True
                yield row
        del place
    if not any_found:
        raise ImageError(
            f"'{address}' contains no file with the ending of a picture. Check the address, or "
            "list the addresses in a table."
        )


def _of_store(
    system: Any, name: str, about: Any, endings: frozenset[str] | set[str], *, named: bool
) -> Iterator[dict[str, Any]]:
    if about.get("type") == "directory" or PurePosixPath(name).name.startswith("."):
        return
    uri = system.unstrip_protocol(name)
    if is_archive(name):
        yield from members_of(uri)
    elif named or PurePosixPath(name).suffix.lower() in endings:
        yield {"uri": uri, "size": about.get("size")}


def _without_id() -> list[pa.Field]:
    return [field for field in CORE if field.name != "id"]


def gathered(rows: Iterable[dict[str, Any]], schema: pa.Schema | None = None) -> Iterator[pa.Table]:
    """Rows, a piece at a time."""
    schema = pa.schema(_without_id()) if schema is None else schema
    piece: list[dict[str, Any]] = []
    for row in rows:
        piece.append(row)
        if len(piece) == _PIECE:
            yield pa.Table.from_pylist(piece, schema)
            piece = []
    if piece:
        yield pa.Table.from_pylist(piece, schema)
