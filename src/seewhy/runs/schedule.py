"""Which piece of work comes next, and what becomes of one whose worker died.

A shard whose worker dies is tried again. After its third death it is done in pieces, and a piece
whose worker dies is divided, around where the worker said that it was, until one picture is left
that ends its worker each time: it is named, and all others are done.

Nothing here starts a process or writes a file, so that every order of events can be tried.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

DEATHS_OF_SHARD = 3
"""So many deaths of its worker, and a shard is done in pieces."""

DEATHS_OF_PICTURE = 2
"""So many deaths with one picture alone, and it is named."""


@dataclass(frozen=True)
class Task:
    """Rows of the manifest to be explained.

    Attributes:
        shard: its number.
        start, stop: the rows in the manifest, from the first to before the last.
        whole: whether they are all of the shard's.
        deaths: how many workers died of it.
    """

    shard: int
    start: int
    stop: int
    whole: bool = True
    deaths: int = 0

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Named:
    """A picture that ended its worker each time.

    Attributes:
        task: it alone.
        reason: how its worker ended, in words.
    """

    task: Task
    reason: str


class Schedule:
    """The work that is left.

    Args:
        tasks: a whole shard each, in the order in which they are to be done; may be a generator
            over a manifest of any size.
    """

    def __init__(self, tasks: Iterable[Task]) -> None:
        self._fresh = iter(tasks)
        self._again: deque[Task] = deque()
        self._under_way: set[Task] = set()
        self._open: dict[int, int] = {}  # of a shard in pieces: how many are not done

    def next(self) -> Task | None:
        """What to do now; None where nothing is left that is not under way."""
        task = next(self._fresh, None)
        if task is None and self._again:
            task = self._again.popleft()
        if task is not None:
            self._under_way.add(task)
        return task

    @property
    def finished(self) -> bool:
        """Whether nothing is left and nothing is under way; after `next` gave None."""
        return not self._under_way and not self._again

    def done(self, task: Task) -> int | None:
        """Note that a task is done; the shard whose pieces are now all there, if one is."""
        self._under_way.discard(task)
        if task.whole:
            return None
        self._open[task.shard] -= 1
        if self._open[task.shard]:
            return None
        del self._open[task.shard]
        return task.shard

    def died(self, task: Task, at: tuple[int, int] | None, reason: str) -> Named | None:
        """Note that a worker died of a task; the picture that is now found guilty, if one is.

        Args:
            task: what it worked on.
            at: the rows that it last said it was at.
            reason: how it ended, in words.

        Returns:
            The picture to be named; `done` is to be called for its task when that is written.
        """
        self._under_way.discard(task)
        deaths = task.deaths + 1
        if task.whole and deaths < DEATHS_OF_SHARD:
            self._again.append(replace(task, deaths=deaths))
            return None
        if task.whole:
            self._open[task.shard] = 1
        if len(task) == 1:
            if not task.whole and deaths < DEATHS_OF_PICTURE:
                self._again.append(replace(task, deaths=deaths))
                return None
            guilty = replace(task, whole=False, deaths=deaths)
            self._under_way.add(guilty)
            return Named(guilty, reason)
        pieces = _divided(task, at)
        self._open[task.shard] += len(pieces) - 1
        self._again.extend(pieces)
        return None


def _divided(task: Task, at: tuple[int, int] | None) -> list[Task]:
    """Smaller pieces: what came before, the halves of where the worker was, what comes after."""
    start, stop = (task.start, task.stop) if at is None else at
    start = min(max(start, task.start), task.stop - 1)
    stop = min(max(stop, start + 1), task.stop)
    middle = (start + stop + 1) // 2 if stop - start > 1 else stop
    edges = sorted({task.start, start, middle, stop, task.stop})
    return [Task(task.shard, begin, end, whole=False) for begin, end in itertools.pairwise(edges)]
