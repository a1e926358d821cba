"""The files of a run: what is done stands under its final name, and nothing else does."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from seewhy.errors import DataError
from seewhy.saving.files import written_aside

MANIFEST = "manifest.parquet"
REQUEST = "request.json"
OVERLAYS = "overlays"
_PIECES = ".pieces"
_PART = re.compile(r"part-(\d{6,})\.parquet")


def part_path(folder: Path, shard: int) -> Path:
    """Where the rows of a shard stand when it is done."""
    return folder / f"part-{shard:06d}.parquet"


def parts_done(folder: Path) -> set[int]:
    """The shards that are done, by a listing."""
    found = (_PART.fullmatch(entry.name) for entry in folder.iterdir()) if folder.is_dir() else ()
    return {int(match[1]) for match in found if match}


def piece_path(folder: Path, shard: int, start: int, stop: int) -> Path:
    """Where a part of a shard that is done in pieces stands until all of them are there."""
    return folder / _PIECES / f"{shard:06d}" / f"{start:06d}-{stop:06d}.parquet"


def overlay_folder(folder: Path, shard: int) -> Path:
    """Where the overlays of a shard stand."""
    return folder / OVERLAYS / f"{shard:06d}"


def write_rows(path: Path, rows: pa.Table) -> None:
    """Write rows, whole or not at all.

    Raises:
        DataError: the disk does not take them.
    """
    names = [name for name in rows.column_names if name != "map"]
    try:
        with written_aside(path) as aside:
            pq.write_table(rows, aside, compression="zstd", use_dictionary=names)
    except OSError as error:
        raise DataError(
            f"'{path}' could not be written ({error.strerror or error}); what was finished before "
            "is kept: make room and run the same command again."
        ) from error


def join_pieces(folder: Path, shard: int) -> None:
    """Make the part of a shard from its pieces, which are all there."""
    place = piece_path(folder, shard, 0, 0).parent
    rows = pa.concat_tables(pq.read_table(piece) for piece in sorted(place.glob("*.parquet")))
    write_rows(part_path(folder, shard), rows)
    shutil.rmtree(place, ignore_errors=True)


def remove_pieces(folder: Path) -> None:
    """Remove pieces that an interrupted run left: they are made again."""
    shutil.rmtree(folder / _PIECES, ignore_errors=True)


def remove_part(folder: Path, shard: int) -> None:
    """Make a shard undone."""
    part_path(folder, shard).unlink(missing_ok=True)


def shard_ranges(count: int, shard_size: int) -> Iterator[tuple[int, int]]:
    """The first row of each shard, and the one after its last."""
    for start in range(0, count, shard_size):
        yield start, min(start + shard_size, count)
