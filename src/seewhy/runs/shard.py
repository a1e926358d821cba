"""Rows of the manifest → rows of the run: the work itself, a pure function.

It reads pictures and writes overlays, and knows of no process, no part and no other shard.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from seewhy.errors import ImageError, SeewhyError
from seewhy.explainer import Explainer
from seewhy.images import ImageSource, PictureBytes
from seewhy.runs.manifest import Entry
from seewhy.runs.overlays import Overlays
from seewhy.runs.rows import Rows
from seewhy.runs.stores import in_advance, is_remote, read_bytes


@dataclass(frozen=True, eq=False)
class Work:
    """What is done with every picture.

    Attributes:
        explainer: the model, the methods and the layers.
        target: for every picture.
        overlays: how they are drawn; None where none are wanted.
    """

    explainer: Explainer
    target: Any = None
    overlays: Overlays | None = None


@dataclass(frozen=True)
class At:
    """How far the work has come.

    Attributes:
        start, stop: the rows that are being worked on, by their place among the entries.
        done: how many pictures are done.
        failed: how many of them could not be explained.
    """

    start: int
    stop: int
    done: int
    failed: int


@dataclass(frozen=True, eq=False)
class _Read(PictureBytes):
    """A picture's bytes, and which one it is."""

    place: int
    fingerprint: bytes


def explain_rows(
    entries: Sequence[Entry],
    work: Work,
    map_size: tuple[int, int] | None,
    overlay_folder: Path | None = None,
    say: Callable[[At], None] = lambda _: None,
) -> pa.Table:
    """Explain pictures; one that fails is a row with its error.

    Args:
        entries: the pictures.
        work: what is done with them.
        map_size: (height, width) of the maps, where all of the run have one.
        overlay_folder: where overlays go, if there are any.
        say: hears of each batch before it is begun.
    """
    rows = Rows(map_size)
    size = work.explainer.batch_size
    done = failed = begun = said = 0
    explained: dict[int, int] = {}

    def fail(source: ImageSource, error: SeewhyError) -> None:
        nonlocal failed
        assert isinstance(source, _Read)
        failed += 1
        explained[source.place] = 0
        rows.add_failed(entries[source.place], str(error), source.fingerprint)

    def pictures() -> Iterator[ImageSource]:
        nonlocal begun, said, failed
        for place, data in _bytes_of(entries):
            if place >= said:
                said = min(place + size, len(entries))
                say(At(min(begun, place), said, done, failed))
            if isinstance(data, ImageError):
                failed += 1
                rows.add_failed(entries[place], str(data))
                explained[place] = 0
                continue
            yield _Read(data, entries[place].name, place, fingerprint(data, entries[place]))

    for prepared, explanation in work.explainer.each(pictures(), work.target, on_error=fail):
        source = prepared.source
        assert isinstance(source, _Read)
        entry = entries[source.place]
        number = explained.get(source.place, 0)
        explained[source.place] = number + 1
        overlay = None
        if work.overlays is not None and overlay_folder is not None:
            overlay = work.overlays.write(overlay_folder, entry.id, number, explanation)
        rows.add(entry, explanation, source.fingerprint, overlay)
        done = begun = len(explained)
    say(At(len(entries), len(entries), len(entries), failed))
    return rows.table()


def _bytes_of(entries: Sequence[Entry]) -> Iterator[tuple[int, bytes | ImageError]]:
    """Each picture's file, or why it cannot be read; of remote ones several are fetched ahead."""
    if not any(is_remote(entry.uri) for entry in entries):
        for place, entry in enumerate(entries):
            yield place, _read(entry)
        return
    for (place, _), future in in_advance(enumerate(entries), lambda one: _read(one[1])):
        yield place, future.result()


def _read(entry: Entry) -> bytes | ImageError:
    try:
        size = None if entry.offset is None else entry.size
        return read_bytes(entry.uri, entry.offset, size)
    except ImageError as error:
        return error


def fingerprint(data: bytes, entry: Entry) -> bytes:
    """16 bytes that change with the picture's file and with what the data says of it."""
    made = hashlib.blake2b(data, digest_size=16)
    made.update(repr((entry.label, entry.annotation)).encode("utf-8", "surrogatepass"))
    return made.digest()
