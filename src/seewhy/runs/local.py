"""A run on this machine: a supervisor gives tasks to workers, and outlives each of them."""

from __future__ import annotations

import contextlib
import os
import queue
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

from seewhy.errors import DataError
from seewhy.runs.manifest import Entry, Manifest
from seewhy.runs.parts import MANIFEST, join_pieces, write_rows
from seewhy.runs.processes import Processes
from seewhy.runs.progress import Counter
from seewhy.runs.rows import failed_rows
from seewhy.runs.schedule import Schedule, Task
from seewhy.runs.shard import Work
from seewhy.runs.told import Done, Told
from seewhy.runs.trying import Tried, try_picture
from seewhy.runs.worker import do_task, path_of

_PATIENCE = 0.05  # seconds until it is looked whether a worker has come or gone
_UNBORN = 3  # so many workers that end before they begin, and the run ends


class Results:
    """Writes what the workers cannot: named pictures, and parts made of pieces."""

    def __init__(
        self,
        folder: Path,
        map_size: tuple[int, int] | None,
        schedule: Schedule,
        counter: Counter,
    ) -> None:
        self.folder, self.map_size = folder, map_size
        self.schedule, self.counter = schedule, counter
        self.manifest = Manifest(folder / MANIFEST)
        self.told = Told()

    def done(self, task: Task, worker: object, done: Done) -> None:
        """A task is done and written."""
        self.told.add(done)
        self.counter.finished(worker, done.pictures, done.failed)
        shard = self.schedule.done(task)
        if shard is not None:
            join_pieces(self.folder, shard)

    def died(self, task: Task, worker: object, at: tuple[int, int] | None, reason: str) -> None:
        """A worker died of a task."""
        self.counter.lost(worker)
        named = self.schedule.died(task, at, reason)
        if named is None:
            return
        entries = self.manifest.entries(named.task.start, named.task.stop)
        error = (
            f"the process ended each time that it worked on this picture alone: {named.reason}; "
            "look at the file, or leave it out."
        )
        write_rows(path_of(self.folder, named.task), failed_rows(entries, error, self.map_size))
        self.done(named.task, worker, Done(1, 1, 1, (f"{entries[0].name}: {error}",)))


class Here:
    """Explains in this process; a picture that ends it ends the run."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def attempt(self, entry: Entry) -> Tried | None:
        """Try one picture."""
        return try_picture(entry, self._work)

    def do(self, results: Results) -> None:
        """Do all that is scheduled."""
        results.counter.begin()
        while (task := results.schedule.next()) is not None:
            done = do_task(
                results.folder, results.manifest, self._work, task, results.map_size,
                lambda at: results.counter.at(None, at.done),
            )  # fmt: skip
            results.done(task, None, done)


@dataclass
class _Worker:
    """A worker process as the supervisor sees it."""

    connection: Connection
    ready: bool = False
    task: Task | None = None
    at: tuple[int, int] | None = None


class Workers:
    """Explains with worker processes, which are started when there is something to do.

    Args:
        folder: of the run.
        work: what every worker does.
        most: workers.
        forked: whether they are forked from one process.
    """

    def __init__(self, folder: Path, work: Work, most: int, *, forked: bool) -> None:
        self._processes = Processes(folder, work, forked=forked)
        self._most = most
        self._workers: dict[int, _Worker] = {}
        self._numbers = 0
        self._expected: set[int] = set()
        self._unborn = 0
        self._waiting: Task | None = None  # taken from the schedule, and no worker is free
        self._results: Results | None = None
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def attempt(self, entry: Entry) -> Tried | None:
        """Try one picture; None where it ended its process."""
        self._have(1)
        while not any(one.ready for one in self._workers.values()):
            self._listen()
        number, worker = next((n, one) for n, one in self._workers.items() if one.ready)
        with contextlib.suppress(BrokenPipeError, ConnectionError):
            worker.connection.send(("try", entry))
        while number in self._workers:
            if worker.connection.poll(_PATIENCE):
                with contextlib.suppress(EOFError, OSError):
                    kind, said = worker.connection.recv()
                    if kind != "done":
                        raise RuntimeError(said)
                    tried: Tried = said
                    return tried
            for ended, reason in self._processes.ended():
                self._ended(ended, reason)
        return None

    def do(self, results: Results) -> None:
        """Do all that is scheduled.

        Raises:
            SeewhyError: the model cannot be loaded in another process, or the disk is full.
        """
        self._results = results
        self._have(self._most)
        while True:
            self._give()
            busy = any(one.task is not None for one in self._workers.values())
            if not busy and results.schedule.finished and self._waiting is None:
                return
            self._listen()

    def _have(self, count: int) -> None:
        """Start workers until there are so many."""
        if not self._numbers:
            self._open.enter_context(self._processes)
        while len(self._workers) + len(self._expected) < count:
            self._start()

    def _start(self) -> None:
        self._numbers += 1
        self._expected.add(self._numbers)
        self._processes.start(self._numbers)

    def _give(self) -> None:
        """Give every worker that has none a task."""
        assert self._results is not None
        while True:
            if self._waiting is None:
                self._waiting = self._results.schedule.next()
            if self._waiting is None:
                return
            free = next((one for one in self._workers.values() if one.ready and not one.task), None)
            if free is None:
                return
            free.task, free.at, self._waiting = self._waiting, None, None
            # One that has died is dealt with when it is heard how it ended.
            with contextlib.suppress(BrokenPipeError, ConnectionError):
                free.connection.send(("do", (free.task, self._results.map_size)))
            self._results.counter.begin()

    def _listen(self) -> None:
        while True:
            try:
                number, connection = self._processes.arrived.get_nowait()
            except queue.Empty:
                break
            if number in self._expected:
                self._expected.discard(number)
                self._workers[number] = _Worker(connection)
            else:  # it has ended since, and another was started in its place
                connection.close()
        heard = wait([one.connection for one in self._workers.values()], timeout=_PATIENCE)
        if not self._workers:
            time.sleep(_PATIENCE)
        for number in [n for n, one in self._workers.items() if one.connection in heard]:
            self._hear(number)
        for number, reason in self._processes.ended():
            self._ended(number, reason)

    def _hear(self, number: int) -> bool:
        """Take one message; whether there was one."""
        worker = self._workers[number]
        try:
            kind, said = worker.connection.recv()
        except (EOFError, OSError):
            return False
        if kind == "ready":
            worker.ready = True
            self._unborn = 0
            return True
        if kind == "cannot":
            raise DataError(said)
        if kind == "broken":
            raise RuntimeError(f"a worker failed in a way that is a fault of seewhy's:\n{said}")
        assert worker.task is not None
        assert self._results is not None
        if kind == "at":
            begin = worker.task.start
            worker.at = begin + said.start, begin + said.stop
            self._results.counter.at(number, said.done)
        else:
            task, worker.task = worker.task, None
            self._results.done(task, number, said)
        return True

    def _ended(self, number: int, reason: str) -> None:
        worker = self._workers.get(number)
        if worker is not None:
            while worker.connection.poll() and self._hear(number):
                pass
            del self._workers[number]
            worker.connection.close()
        if worker is None or not worker.ready:
            self._unborn += 1
            self._expected.discard(number)
            if self._unborn >= _UNBORN:
                raise DataError(
                    f"{_UNBORN} workers ended before they began ({reason}). Their last words: "
                    f"{self._processes.last_words()}"
                )
        elif worker.task is not None and self._results is not None:
            self._results.died(worker.task, number, worker.at, reason)
        self._start()


def usable_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
