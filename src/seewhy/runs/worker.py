"""One worker: takes a task, explains its rows, writes them, takes the next."""

from __future__ import annotations

import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from seewhy.errors import SeewhyError
from seewhy.memory import keep_freed_memory
from seewhy.runs.manifest import Manifest
from seewhy.runs.parts import MANIFEST, overlay_folder, part_path, piece_path, write_rows
from seewhy.runs.schedule import Task
from seewhy.runs.shard import At, Work, explain_rows
from seewhy.runs.told import Done
from seewhy.runs.trying import try_picture

_MOST_FAILURES = 20  # of a task that are told at once


def do_task(
    folder: Path,
    manifest: Manifest,
    work: Work,
    task: Task,
    map_size: tuple[int, int] | None,
    say: Callable[[At], None],
) -> Done:
    """Explain the rows of a task and write them where they belong.

    Raises:
        SeewhyError: they cannot be written.
    """
    entries = manifest.entries(task.start, task.stop)
    overlays = overlay_folder(folder, task.shard)
    if work.overlays is not None:
        overlays.mkdir(parents=True, exist_ok=True)
    rows = explain_rows(entries, work, map_size, overlays, say)
    write_rows(path_of(folder, task), rows)
    return done_of(rows, len(entries))


def done_of(rows: pa.Table, pictures: int) -> Done:
    """What there is to tell of the rows of some pictures."""
    errors = rows.filter(rows["error"].is_valid())
    counted: dict[str, int] = {}
    for several in rows["warnings"].to_pylist():
        for warning in several or ():
            counted[warning] = counted.get(warning, 0) + 1
    return Done(
        pictures,
        len(errors),
        len(rows),
        tuple(
            error if uri in error else f"{uri}: {error}"
            for uri, error in zip(
                errors["uri"].to_pylist()[:_MOST_FAILURES],
                errors["error"].to_pylist()[:_MOST_FAILURES],
                strict=True,
            )
        ),
        tuple(counted.items()),
    )


def path_of(folder: Path, task: Task) -> Path:
    """Where the rows of a task are written."""
    if task.whole:
        return part_path(folder, task.shard)
    return piece_path(folder, task.shard, task.start, task.stop)


def serve(connection: Any, folder: Path, work: Work) -> None:
    """Do what comes through a connection until it closes.

    One thread does everything: as many workers as cores are faster than threads of one.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's to act on
    torch.set_num_threads(1)
    keep_freed_memory()
    manifest: Manifest | None = None

    def answer(kind: str, said: Any) -> Any:
        nonlocal manifest
        if kind == "try":
            return try_picture(said, work)
        manifest = manifest or Manifest(folder / MANIFEST)
        task, map_size = said
        return do_task(
            folder, manifest, work, task, map_size, lambda at: connection.send(("at", at))
        )

    try:
        connection.send(("ready", None))
        while True:
            kind, said = connection.recv()
            try:
                answered = answer(kind, said)
            except (EOFError, BrokenPipeError, ConnectionError):
                raise
            except SeewhyError as error:
                connection.send(("cannot", str(error)))
            except Exception:
                connection.send(("broken", traceback.format_exc()))
            else:
                connection.send(("done", answered))
    except (EOFError, BrokenPipeError, ConnectionError):
        return  # the supervisor has gone
