"""How worker processes are started, and how one learns how they ended."""

from __future__ import annotations

import contextlib
import os
import queue
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from multiprocessing.connection import Connection, Listener
from pathlib import Path
from typing import Any

from seewhy.errors import DataError, ModelError
from seewhy.runs.needs import needed
from seewhy.runs.shard import Work

_LAST_WORDS = 1500  # characters of what a process wrote on its standard error


class Processes:
    """Starts workers and hears how they end; to be used in a `with`.

    Args:
        folder: of the run.
        work: what every worker does.
        forked: whether workers are forked from one process (see `seewhy.runs.nursery`).

    Attributes:
        arrived: workers that have come, as (number, connection).
        ended: workers that have ended, as (number, in words how).
    """

    def __init__(self, folder: Path, work: Work, *, forked: bool) -> None:
        self._folder, self._work, self._forked = folder, work, forked
        self.arrived: queue.Queue[tuple[int, Connection]] = queue.Queue()
        self._nursery: Connection | None = None
        self._started: dict[int, subprocess.Popen[bytes]] = {}
        self._own: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Processes:
        self._place = Path(tempfile.mkdtemp(prefix="seewhy-run-"))
        try:
            _pickled(self._work, self._place / "work")
            self._key = secrets.token_bytes(32)
            self._listener = Listener(None, backlog=64, authkey=self._key)
            if self._forked:
                self._own = self._popen("nursery")
                self._nursery = self._first_word(self._own)
            threading.Thread(target=self._accept, daemon=True).start()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def start(self, number: int) -> None:
        """Start a worker; it will be among those that arrived."""
        if self._nursery is not None:
            try:
                self._nursery.send(number)
            except (BrokenPipeError, ConnectionError):
                raise DataError(self._gone()) from None
        else:
            self._started[number] = self._popen("worker", number)

    def ended(self) -> list[tuple[int, str]]:
        """The workers that ended since it was last asked, and how, in words."""
        found = []
        for number, process in list(self._started.items()):
            code = process.poll()
            if code is not None:
                del self._started[number]
                found.append((number, how_it_ended(code)))
        while self._nursery is not None and self._nursery.poll():
            try:
                _, number, status = self._nursery.recv()
            except (EOFError, ConnectionError):
                raise DataError(self._gone()) from None
            found.append((number, how_it_ended(os.waitstatus_to_exitcode(status))))
        return found

    def last_words(self) -> str:
        """The end of what the processes wrote on their standard error."""
        text = ""
        for path in sorted(self._place.glob("*.log")):
            text += path.read_text(encoding="utf-8", errors="replace")
        return text.strip()[-_LAST_WORDS:]

    def _gone(self) -> str:
        return (
            "the process that makes the workers has ended; what is finished is kept: run the same "
            f"command again. Its last words: {self.last_words()}"
        )

    def _popen(self, kind: str, number: int = 0) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            # A process for each core: more threads would wait for one another.
            "OMP_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        with (self._place / f"{kind}-{number}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "seewhy.runs.nursery", str(self._listener.address), kind,
                 str(number)],
                stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment,
                start_new_session=True,  # Ctrl-C is the supervisor's to act on
            )  # fmt: skip
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(self._key.hex().encode() + b"\n")
            process.stdin.close()
        return process

    def _first_word(self, process: subprocess.Popen[bytes]) -> Connection:
        """The connection of a process, once it has loaded the model.

        Raises:
            ModelError: it could not.
        """
        come: queue.Queue[Any] = queue.Queue()
        threading.Thread(target=lambda: come.put(self._listener.accept()), daemon=True).start()
        connection: Connection | None = None
        while True:
            if connection is None:
                with contextlib.suppress(queue.Empty):
                    connection = come.get(timeout=0.05)
                    connection.send(self._introduction())
            elif connection.poll(0.05):
                with contextlib.suppress(EOFError, ConnectionError):
                    connection.recv()
                    return connection
            if process.poll() is not None:
                raise ModelError(
                    "the model could not be loaded in a process of its own. Where it is defined "
                    "in a file of yours, that file must be importable there; workers=0 explains "
                    f"in this process. The process said: {self.last_words()}"
                )

    def _introduction(self) -> tuple[str, str, list[str]]:
        return str(self._folder), str(self._place / "work"), [str(Path.cwd())]

    def _accept(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
                if self._forked:
                    _, number = connection.recv()
                else:
                    connection.send(self._introduction())
                    number = connection.recv()[1]
                self.arrived.put((number, connection))
            except (EOFError, ConnectionError):
                continue  # a worker that died on its way
            except OSError:
                return  # closed

    def _close(self) -> None:
        for process in [*self._started.values(), *([self._own] if self._own else [])]:
            _end(process)
        with contextlib.suppress(OSError, AttributeError):
            self._listener.close()
        shutil.rmtree(self._place, ignore_errors=True)


def _pickled(work: Work, path: Path) -> None:
    cloudpickle = needed("cloudpickle", "a run with worker processes", "run")
    try:
        with path.open("wb") as file:
            cloudpickle.dump(work, file)
    except Exception as error:  # what cannot be pickled says so in many ways
        raise ModelError(
            f"the model, or what it is asked, cannot be given to another process ({error}); "
            "workers=0 explains in this process."
        ) from error


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started, at once: parts are whole or not there."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


def how_it_ended(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"it ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    words = f"signal {-code} ({name}) ended it"
    if name == "SIGKILL":
        words += ", as the system does when memory runs out"
    return words
