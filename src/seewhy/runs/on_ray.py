"""A run on Ray: the same shards, explained by actors on an existing cluster or on this machine.

Plain actors, not Ray Data: `docs/scale.md` says why. An actor has the model and takes one task
after the other; its rows come back as a table, and the driver alone writes parts, so that no node
but the driver's must see the run's folder. Overlays are written where they are drawn, and need a
folder that all nodes share.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seewhy.errors import DataError, SeewhyError
from seewhy.runs.local import Results
from seewhy.runs.manifest import Entry
from seewhy.runs.needs import needed
from seewhy.runs.parts import REQUEST, overlay_folder, write_rows
from seewhy.runs.schedule import Task
from seewhy.runs.shard import Work
from seewhy.runs.trying import Tried
from seewhy.runs.worker import done_of, path_of

_LOOK = 1.0  # seconds between two looks at how far the actors are
_SILENCE = 15.0  # seconds without an actor after which it is said what is waited for
_UNBORN = 3  # so many actors in a row that end before they begin, and the run ends


class OnRay:
    """Explains with actors.

    Args:
        folder: of the run.
        work: what every actor does.
        address: of the cluster; `"auto"` takes one that runs here, or starts one on this machine.
        most: actors; None takes one for each CPU of the cluster, or for each of its graphics cards
            where the model is on one.
        note: hears, in sentences, what is waited for before the work begins.
    """

    def __init__(
        self,
        folder: Path,
        work: Work,
        address: str,
        most: int | None,
        note: Callable[[str], None],
    ) -> None:
        self._ray = needed("ray", "a run on Ray", "ray")
        self._folder, self._work, self._address, self._most = folder, work, address, most
        self._note = note
        self._actors: dict[int, _Actor] = {}
        self._number = 0
        self._unborn = 0
        self._began = False
        self._own = False

    def __enter__(self) -> OnRay:
        return self

    def __exit__(self, *_: object) -> None:
        if self._began:
            for actor in self._actors.values():
                self._ray.kill(actor.handle)
            self._ray.kill(self._board)
        if self._own:
            self._ray.shutdown()

    def attempt(self, entry: Entry) -> Tried | None:
        """Try one picture; None where it ended its actor."""
        self._begin()
        if not self._actors:
            self._start()
        number, actor = next(iter(self._actors.items()))
        try:
            self._wait_until_ready(number)
            tried: Tried = self._ray.get(actor.handle.attempt.remote(entry))
            return tried
        except self._ray.exceptions.RayActorError:
            self._actors.pop(number, None)
            return None

    def _wait_until_ready(self, number: int) -> None:
        actor = self._actors[number]
        begun, said = time.monotonic(), False
        while not self._ray.wait([actor.ready], timeout=_LOOK)[0]:
            if not said and time.monotonic() - begun > _SILENCE:
                said = True
                self._note(f"waiting for an actor to start; the cluster has {self._resources()}")
        self._ray.get(actor.ready)
        actor.is_ready = True

    def do(self, results: Results) -> None:
        """Do all that is scheduled.

        Raises:
            SeewhyError: no actor can begin, or the disk is full.
        """
        self._begin()
        self._results = results
        wanted = self._most or self._places()
        waiting: Task | None = None
        silent = time.monotonic()
        while True:
            waiting = waiting or results.schedule.next()
            busy = [one for one in self._actors.values() if one.task is not None]
            if waiting is None and not busy and results.schedule.finished:
                return
            left = len(busy) + (waiting is not None)
            while len(self._actors) < min(wanted, left) or not self._actors:
                self._start()
            for actor in self._free():
                if waiting is None:
                    break
                self._give(actor, waiting)
                waiting = results.schedule.next()
            if len(self._actors) < wanted and waiting is not None:
                self._start()
            self._collect()
            if any(one.is_ready for one in self._actors.values()):
                silent = time.monotonic()
                results.counter.waits_for = ""
            elif time.monotonic() - silent > _SILENCE:
                results.counter.waits_for = (
                    f"an actor to start: the cluster has {self._resources()}"
                )
                results.counter.tell()

    def _begin(self) -> None:
        if self._began:
            return
        ray = self._ray
        if not ray.is_initialized():
            address = None if self._address in ("auto", "local") else self._address
            try:
                if self._address == "auto":
                    ray.init(address="auto", log_to_driver=False, configure_logging=False)
                else:
                    ray.init(address=address, log_to_driver=False, configure_logging=False)
            except ConnectionError:
                if self._address != "auto":
                    raise DataError(
                        f"there is no Ray cluster at '{self._address}'; check the address, or give "
                        "auto for one on this machine."
                    ) from None
                ray.init(
                    address="local", include_dashboard=False, log_to_driver=False,
                    configure_logging=False,
                )  # fmt: skip
            self._own = True
        self._packed = ray.put(_packed(self._work))
        self._board = ray.remote(num_cpus=0, max_concurrency=1)(_Board).remote()
        self._class = ray.remote(max_restarts=0, max_task_retries=0)(_Explaining)
        self._began = True

    def _places(self) -> int:
        """How many actors the cluster has room for."""
        resources = self._ray.cluster_resources()
        return max(1, int(resources.get("GPU" if self._on_gpu else "CPU", 1)))

    @property
    def _on_gpu(self) -> bool:
        return any(one.device.type == "cuda" for one in self._work.explainer.module.parameters())

    def _resources(self) -> str:
        total, free = self._ray.cluster_resources(), self._ray.available_resources()
        name = "GPU" if self._on_gpu else "CPU"
        return f"{total.get(name, 0):g} {name}s, of which {free.get(name, 0):g} are free"

    def _start(self) -> None:
        self._number += 1
        needs = {"num_cpus": 1, "num_gpus": 1 if self._on_gpu else 0}
        handle = self._class.options(**needs).remote(
            self._number, self._packed, str(self._folder), self._board
        )
        self._actors[self._number] = _Actor(self._number, handle, handle.ready.remote())

    def _free(self) -> list[_Actor]:
        """The actors that are ready and have no task."""
        return [one for one in self._actors.values() if one.is_ready and one.task is None]

    def _give(self, actor: _Actor, task: Task) -> None:
        entries = self._results.manifest.entries(task.start, task.stop)
        actor.task = task
        actor.answer = actor.handle.do.remote(
            entries, self._results.map_size, task.shard, self._work.overlays is not None
        )
        self._results.counter.begin()

    def _collect(self) -> None:
        """Wait a moment for whatever comes first."""
        ray = self._ray
        by_ref = {
            (one.answer if one.task is not None else one.ready): one
            for one in self._actors.values()
            if one.task is not None or not one.is_ready
        }
        if not by_ref:
            return
        come, _ = ray.wait(list(by_ref), num_returns=1, timeout=_LOOK)
        if not come:
            said = self._said()
            for number, at in said.items():
                if number in self._actors and self._actors[number].task is not None:
                    self._results.counter.at(number, at.done)
        for ref in come:
            self._take(by_ref[ref], ref)

    def _take(self, actor: _Actor, ref: Any) -> None:
        try:
            answer = self._ray.get(ref)
        except self._ray.exceptions.RayActorError as error:
            self._died(actor, error)
            return
        except self._ray.exceptions.RayTaskError as error:
            cause = error.cause if isinstance(error.cause, SeewhyError) else None
            if cause is not None:
                raise cause from None
            raise
        if actor.task is None:
            actor.is_ready, self._unborn = True, 0
            return
        task, actor.task = actor.task, None
        write_rows(path_of(self._folder, task), answer)
        self._results.done(task, actor.number, done_of(answer, len(task)))

    def _died(self, actor: _Actor, error: Exception) -> None:
        del self._actors[actor.number]
        reason = " ".join(str(error).split())[:300]
        if actor.task is None:
            self._unborn += 1
            if self._unborn >= _UNBORN:
                raise DataError(f"{_UNBORN} actors ended before they began: {reason}")
            return
        at = self._said().get(actor.number)
        begin = actor.task.start
        where = None if at is None else (begin + at.start, begin + at.stop)
        self._results.died(actor.task, actor.number, where, reason)

    def _said(self) -> dict[int, Any]:
        """Where each actor last said that it is; nothing where the board's node is gone."""
        try:
            said: dict[int, Any] = self._ray.get(self._board.read.remote(), timeout=10)
            return said
        except (self._ray.exceptions.RayActorError, self._ray.exceptions.GetTimeoutError):
            self._board = self._ray.remote(num_cpus=0)(_Board).remote()
            return {}


@dataclass
class _Actor:
    """An actor as the driver sees it."""

    number: int
    handle: Any
    ready: Any
    is_ready: bool = False
    task: Task | None = None
    answer: Any = None


def _packed(work: Work) -> bytes:
    data: bytes = needed("cloudpickle", "a run on Ray", "run").dumps(work)
    return data


class _Board:
    """Where actors say how far they are, so that it is known when one has died."""

    def __init__(self) -> None:
        self._at: dict[int, Any] = {}

    def write(self, number: int, at: Any) -> None:
        self._at[number] = at

    def read(self) -> dict[int, Any]:
        return self._at


class _Explaining:
    """The actor."""

    def __init__(self, number: int, packed: bytes, folder: str, board: Any) -> None:
        import torch

        from seewhy.memory import keep_freed_memory

        torch.set_num_threads(1)
        keep_freed_memory()
        self._number, self._folder, self._board = number, Path(folder), board
        self._work: Work = pickle.loads(packed)  # our own driver's

    def ready(self) -> int:
        """That it is there."""
        return self._number

    def attempt(self, entry: Entry) -> Tried:
        """Try one picture."""
        from seewhy.runs.trying import try_picture

        return try_picture(entry, self._work)

    def do(
        self,
        entries: Sequence[Entry],
        map_size: tuple[int, int] | None,
        shard: int,
        overlays: bool,
    ) -> Any:
        """The rows of some pictures."""
        from seewhy.runs.shard import explain_rows

        place = None
        if overlays:
            if not (self._folder / REQUEST).exists():
                raise DataError(
                    f"'{self._folder}' is not seen on a node of the cluster; overlays need a "
                    "folder that all nodes share. Leave them out, or take such a folder."
                )
            place = overlay_folder(self._folder, shard)
            place.mkdir(parents=True, exist_ok=True)
        return explain_rows(
            entries, self._work, map_size, place,
            lambda at: self._board.write.remote(self._number, at),
        )  # fmt: skip
