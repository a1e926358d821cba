"""How far a run has come, on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from seewhy.runs import Progress

_EVERY = 30.0  # seconds between two lines where stderr is no terminal


@contextmanager
def progress_of_run(*, stdout_is_data: bool) -> Iterator[Callable[[Progress], None]]:
    """Shows what it is called with.

    Args:
        stdout_is_data: whether lines for a program may go to the same terminal; nothing is drawn
            then.
    """
    if not sys.stderr.isatty():
        yield _Lines()
        return
    if stdout_is_data and sys.stdout.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TextColumn
    from rich.progress import Progress as Bar

    with Bar(
        SpinnerColumn(), TextColumn("explaining"), BarColumn(),
        TextColumn("{task.description}", markup=False),
        console=Console(stderr=True), transient=True, redirect_stdout=False,
    ) as bar:  # fmt: skip
        task = bar.add_task("the workers are starting", total=None)

        def show(now: Progress) -> None:
            bar.update(task, completed=now.done, total=now.total, description=in_words(now))

        yield show


class _Lines:
    """A line every half minute, so that a log says how far a run is."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, now: Progress) -> None:
        if time.monotonic() - self._last >= _EVERY:
            self._last = time.monotonic()
            typer.echo(in_words(now), err=True)


def in_words(now: Progress) -> str:
    """`1,200 of 50,000 pictures, 74 a second, 11 min left, 3 failed`."""
    parts = [f"{now.done:,} of {now.total:,} pictures"]
    if now.waits_for:
        parts.append(f"waiting for {now.waits_for}")
    if now.rate is not None:
        parts.append(f"{now.rate:.3g} a second")
    if now.left is not None and now.done < now.total:
        parts.append(f"{duration(now.left)} left")
    if now.failed:
        parts.append(f"{now.failed:,} failed")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """In the largest unit that fits, and the next one below."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, hours = round(seconds / 60), seconds // 3600
    if minutes < 60:
        return f"{minutes} min"
    if hours < 48:
        return f"{hours} h {seconds % 3600 // 60} min"
    return f"{hours // 24} days {hours % 24} h"
