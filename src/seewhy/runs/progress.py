"""How far a run has come."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Progress:
    """What there is to say while a run goes on.

    Attributes:
        total: pictures of the run.
        kept: of these, how many an earlier run had finished.
        done: how many are done by now, those kept included.
        failed: how many of those that this run did could not be explained.
        rate: pictures a second; None at the very beginning.
        left: seconds until the end, at that rate.
        waits_for: what the run waits for, if nothing goes on; empty as a rule.
    """

    total: int
    kept: int
    done: int
    failed: int
    rate: float | None
    left: float | None
    waits_for: str = ""


Listener = Callable[[Progress], None]


@dataclass
class Counter:
    """Counts what is done, in finished tasks and in those under way.

    Attributes:
        total, kept: pictures.
        listener: hears of every change.
    """

    total: int
    kept: int
    listener: Listener
    failed: int = 0
    _finished: int = 0
    _under_way: dict[object, int] = field(default_factory=dict)
    _began: float | None = None
    waits_for: str = ""

    def begin(self) -> None:
        """The workers are there: what came before is not counted into the rate."""
        if self._began is None:
            self._began = time.monotonic()

    def at(self, worker: object, done: int) -> None:
        """A worker is so far with its task."""
        self._under_way[worker] = done
        self.tell()

    def lost(self, worker: object) -> None:
        """A worker is gone, and its task's pictures with it."""
        self._under_way.pop(worker, None)
        self.tell()

    def finished(self, worker: object, pictures: int, failed: int) -> None:
        """A task is done."""
        self._under_way.pop(worker, None)
        self._finished += pictures
        self.failed += failed
        self.tell()

    @property
    def done(self) -> int:
        """Pictures that are done in this run."""
        return self._finished + sum(self._under_way.values())

    def tell(self) -> None:
        """Tell the listener."""
        seconds = 0.0 if self._began is None else time.monotonic() - self._began
        rate = self.done / seconds if self.done and seconds > 0 else None
        rest = self.total - self.kept - self.done
        self.listener(
            Progress(
                self.total, self.kept, self.kept + self.done, self.failed, rate,
                None if rate is None else rest / rate, self.waits_for,
            )
        )  # fmt: skip
