"""What a run has to say when it ends."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Done:
    """What came of a task.

    Attributes:
        pictures: how many there were.
        failed: how many of them could not be explained.
        rows: how many were written.
        failures: the first few, each with its reason.
        warnings: each that there was, and of how many rows.
    """

    pictures: int
    failed: int
    rows: int
    failures: tuple[str, ...] = ()
    warnings: tuple[tuple[str, int], ...] = ()


_MOST_FAILURES = 20  # that are kept with their reasons


@dataclass
class Told:
    """What came of all tasks of one run; not of what was there before.

    Attributes:
        pictures, failed, rows: how many.
        failures: the first of them, with their reasons.
        warnings: each that there was, and of how many rows.
    """

    pictures: int = 0
    failed: int = 0
    rows: int = 0
    failures: tuple[str, ...] = ()
    warnings: Counter[str] = field(default_factory=Counter)

    def add(self, done: Done) -> None:
        """What came of a task."""
        self.pictures += done.pictures
        self.failed += done.failed
        self.rows += done.rows
        self.failures = (*self.failures, *done.failures)[:_MOST_FAILURES]
        self.warnings.update(dict(done.warnings))
