"""A run from end to end: the source, the request, what is left to do, and the work."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from seewhy.errors import DataError
from seewhy.explainer import Explainer
from seewhy.models.load import LoadedModel
from seewhy.runs.local import Here, Results, Workers, usable_cores
from seewhy.runs.manifest import Digests, Manifest, changed_rows, write_manifest
from seewhy.runs.overlays import Overlays
from seewhy.runs.parts import (
    MANIFEST,
    REQUEST,
    parts_done,
    remove_part,
    remove_pieces,
    shard_ranges,
)
from seewhy.runs.progress import Counter, Listener
from seewhy.runs.reading import Run
from seewhy.runs.request import RunRequest, explaining_facts, model_facts, versions
from seewhy.runs.schedule import Schedule, Task
from seewhy.runs.shard import Work
from seewhy.runs.sources import Source, pieces_of
from seewhy.runs.told import Told
from seewhy.runs.trying import Tried, first_that_works
from seewhy.saving.files import locked, written_aside

SHARD = 4096
"""Pictures of a shard at most, if nothing else is said."""

Crew = Here | Workers
"""Who explains: this process, or processes of this machine."""

_LEAST_SHARDS = 64  # so that a small run is divided, too, and little is lost when it is interrupted
_LEAST_SHARD = 16
_CELLS_OF_SHARD = 32_000_000  # of maps that are gathered before they are written: 64 MB
_FREE_FOR_WORKER = 3 << 27  # bytes that a worker takes beside the model it shares: 400 MB


def run(
    model: nn.Module | LoadedModel | Explainer,
    source: Source,
    out: str | os.PathLike[str],
    target: Any = None,
    *,
    kind: str | None = None,
    workers: int | None = None,
    overlays: bool = False,
    overlay_size: int = 512,
    shard_size: int | None = None,
    limit: int | None = None,
    progress: Listener | None = None,
    note: Callable[[str], None] | None = None,
    **explainer: Any,
) -> Run:
    """Explain pictures by the million into a folder; an interrupted run resumes.

    Parts are written one after the other, each whole or not at all. Run again with the same
    arguments, and what is there already is not computed again.

    Args:
        model: what `load_model` gave, any module, or an `Explainer`.
        source: the pictures: files, folders, patterns (`photos/**/*.jpg`), tables of paths (CSV,
            JSON, Parquet), tar archives of WebDataset, a data set (`read_dataset`), addresses of a
            store that fsspec reaches (`s3://...`), or the manifest of an earlier run.
        out: the folder for the run.
        target: for every picture, as `explain` takes it.
        kind: the format of a data set, one of `seewhy.dataset.FORMATS`; `"pictures"`, and all
            pictures of a folder are taken, whatever else is in it.
        workers: processes that explain; None takes one for each core (one for a graphics card),
            as far as memory allows; 0 explains in this process.
        overlays: whether the overlay of each explanation is written as a JPEG.
        overlay_size: pixels of its longer side at most.
        shard_size: pictures of a part; None divides the run into at least 64 parts of at most 4,096
            pictures.
        limit: only so many pictures, the first.
        progress: hears how far the run has come.
        note: hears, in sentences, what was assumed, left out or changed; None says it as warnings.
        explainer: `method`, `layer`, `batch_size` and all else that `Explainer` takes.

    Returns:
        the run, to be read (`read_run`).

    Raises:
        DataError: there is no picture, or the folder holds a run of another request.
        SeewhyError: what is asked fails with any picture.

    Example:
        >>> import seewhy
        >>> model = seewhy.load_model("demo-cat-dog")
        >>> made = seewhy.run(model, "pets", "run", method="grad-cam", workers=0)
        >>> made.table(["id", "target"]).num_rows
        2
    """
    explaining = _explainer(model, explainer)
    folder = Path(os.path.abspath(out))  # noqa: PTH100  # resolve() would follow links
    _check(folder, workers, shard_size, limit, overlay_size)
    say = note or _warn
    drawing = Overlays(overlay_size) if overlays else None
    work = Work(explaining, target, drawing)
    folder.mkdir(parents=True, exist_ok=True)
    with (
        locked(folder, f"another run is writing into '{folder}'"),
        _crew(folder, work, workers) as crew,
    ):
        before = RunRequest.read(folder)
        if before is None and parts_done(folder):
            raise DataError(f"'{folder}' holds parts of a run without its {REQUEST}.")
        pieces = pieces_of(source, kind=kind, leave_out=folder, note=say)
        with _manifest_aside(folder, pieces, limit) as (aside, digests):
            if before is None:
                tried = first_that_works(Manifest(aside), crew.attempt)
                map_size = tried.sizes[0] if len(set(tried.sizes)) == 1 else None
                shard_size = shard_size or _shard_size(digests.count, tried)
            else:
                map_size = before.map_size
                shard_size = shard_size or before.shard_size
            request = _request(work, digests, shard_size, map_size)
            if before is not None:
                for sentence in before.check_same(request, folder):
                    say(sentence)
            _undo_what_changed(folder, before, request, aside, say)
        request.write(folder)
        remove_pieces(folder)
        told = _do(folder, crew, request, progress or (lambda _: None))
    return Run(folder, told)


def _crew(folder: Path, work: Work, workers: int | None) -> Crew:
    """Who explains."""
    if workers == 0:
        return Here(work)
    device = next((one.device.type for one in work.explainer.module.parameters()), "cpu")
    most = workers or (_default_workers() if device == "cpu" else 1)
    forked = hasattr(os, "fork") and device == "cpu" and sys.platform != "darwin"
    return Workers(folder, work, most, forked=forked)


def _explainer(model: Any, arguments: dict[str, Any]) -> Explainer:
    if not isinstance(model, Explainer):
        return Explainer(model, **arguments)
    if arguments:
        raise DataError(
            f"an Explainer was given, and {', '.join(arguments)} beside it; give these to the "
            "Explainer when you make it."
        )
    return model


def _check(
    folder: Path, workers: int | None, shard_size: int | None, limit: int | None, overlay_size: int
) -> None:
    for name, value, least in (
        ("workers", workers, 0), ("shard_size", shard_size, 1), ("limit", limit, 1),
        ("overlay_size", overlay_size, 16),
    ):  # fmt: skip
        if value is not None and value < least:
            raise DataError(f"{name}={value} was given; at least {least} is wanted.")
    if folder.exists() and not folder.is_dir():
        raise DataError(f"'{folder}' is a file; a folder for the run is wanted.")


@contextlib.contextmanager
def _manifest_aside(
    folder: Path, pieces: Iterator[Any], limit: int | None
) -> Iterator[tuple[Path, Digests]]:
    """A manifest beside the one that is there; it takes its place when the block ends well."""
    with written_aside(folder / MANIFEST) as aside:
        digests = write_manifest(aside, pieces, limit)
        yield aside, digests


def _shard_size(count: int, tried: Tried) -> int:
    """Pictures of a shard, so that there are many shards and each one's maps fit in memory."""
    cells = sum(height * width for height, width in tried.sizes)
    most = min(SHARD, max(1, _CELLS_OF_SHARD // max(cells, 1)))
    return min(most, max(_LEAST_SHARD, -(-count // _LEAST_SHARDS)))


def _request(
    work: Work, digests: Digests, shard_size: int, map_size: tuple[int, int] | None
) -> RunRequest:
    explainer = work.explainer
    return RunRequest(
        model=model_facts(explainer),
        preprocessing=explainer.preprocess.to_json(),
        explaining=explaining_facts(explainer, work.target),
        pictures={"count": digests.count, "digest": digests.pictures},
        content=digests.content,
        shard_size=shard_size,
        batch_size=explainer.batch_size,
        map_size=map_size,
        overlays=None if work.overlays is None else asdict(work.overlays),
        versions=versions(),
    )


def _undo_what_changed(
    folder: Path,
    before: RunRequest | None,
    request: RunRequest,
    aside: Path,
    say: Callable[[str], None],
) -> None:
    """Remove the parts with pictures that have changed since, or are described otherwise."""
    if before is None or before.content == request.content:
        return
    changed = 0
    for id_ in changed_rows(Manifest(folder / MANIFEST), Manifest(aside)):
        changed += 1
        remove_part(folder, id_ // request.shard_size)
    if changed:
        say(
            f"{changed} pictures have changed since, or are described otherwise; the parts that "
            "hold them are computed anew"
        )


def _do(folder: Path, crew: Crew, request: RunRequest, listener: Listener) -> Told:
    """Do the shards whose parts are not there."""
    done = parts_done(folder)
    count = request.pictures["count"]
    tasks = [
        Task(shard, start, stop)
        for shard, (start, stop) in enumerate(shard_ranges(count, request.shard_size))
        if shard not in done
    ]
    left = sum(map(len, tasks))
    counter = Counter(count, count - left, listener)
    results = Results(folder, request.map_size, Schedule(tasks), counter)
    counter.tell()
    if tasks:
        crew.do(results)
    return results.told


def _default_workers() -> int:
    """One for each core, as far as free memory allows."""
    return max(1, min(usable_cores(), free_memory() // _FREE_FOR_WORKER))


def free_memory() -> int:
    """Bytes that this process and its children may still take; very many where nobody knows."""
    found = [1 << 62]
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        line = next(one for one in lines if one.startswith("MemAvailable:"))
        found.append(int(line.split()[1]) * 1024)
    with contextlib.suppress(OSError, ValueError):  # a container's limit
        place = Path("/sys/fs/cgroup")
        most = int((place / "memory.max").read_text(encoding="ascii"))
        found.append(most - int((place / "memory.current").read_text(encoding="ascii")))
    return max(0, min(found))


def _warn(sentence: str) -> None:
    import warnings

    warnings.warn(sentence, stacklevel=2)
