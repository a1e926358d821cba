"""How far long work has come: told to a listener, or shown under the cell of a notebook."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from html import escape
from typing import Any

Listener = Callable[[int, int], None]

PATIENCE = 1.0
"""Seconds of work before a notebook shows a bar: shorter work needs none."""

_BETWEEN = 0.1  # seconds from one change of a bar to the next

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """`listener(done, of)` hears of the work in the block that runs a network many times."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def report(done: int, of: int) -> None:
    """Tell the listener; where there is none, show a bar if this is a notebook."""
    listener = _listener.get()
    if listener is not None:
        listener(done, of)
        return
    bar = _runs.get()
    if bar is None or bar.total != of or done < bar.done:
        if bar is not None:  # of work that broke off
            bar.close()
        bar = NotebookBar("running the network", of)
    bar.move(done)
    if done >= of:
        bar.close()
    _runs.set(bar if done < of else None)


@contextmanager
def notebook_bar(words: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar under the cell of a notebook while the block works; nothing elsewhere.

    Args:
        words: what is being done: `"explaining"`.
        total: how many steps there are; None where nobody knows, and they are counted.

    Yields:
        what to call with the number of steps that were done.
    """
    bar = NotebookBar(words, total)
    try:
        yield lambda steps: bar.move(bar.done + steps)
    finally:
        bar.close()


class NotebookBar:
    """A bar that appears after a second of work, and goes when it is closed."""

    def __init__(self, words: str, total: int | None) -> None:
        self.words = words
        self.total = total
        self.done = 0
        self._handle: Any = None
        self._next = time.monotonic() + PATIENCE

    def move(self, done: int) -> None:
        """Show that so many steps are done, if it is time to and there is more to do."""
        self.done = done
        now = time.monotonic()
        if now < self._next or done == self.total or not in_notebook():
            return
        self._next = now + _BETWEEN
        if self._handle is None:
            from IPython.display import display

            self._handle = display(self._shown(), raw=True, display_id=True)
        else:
            self._handle.update(self._shown(), raw=True)

    def close(self) -> None:
        """Take it away."""
        if self._handle is not None:
            self._handle.update({"text/plain": "", "text/html": ""}, raw=True)
            self._handle = None

    def _shown(self) -> dict[str, str]:
        """The same in every form that a front end may show."""
        if self.total is None:
            text = f"{self.words}: {self.done}"
            return {"text/plain": text, "text/html": f"<span>{escape(text)}</span>"}
        text = f"{self.words}: {self.done} of {self.total}"
        bar = f'<progress value="{self.done}" max="{self.total}"></progress>'
        return {"text/plain": text, "text/html": f"<label>{bar} {escape(text)}</label>"}


_runs: ContextVar[NotebookBar | None] = ContextVar("runs", default=None)
"""The bar of what `report` tells, while such work goes on in this thread."""


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this: Jupyter, VS Code, Colab and their like."""
    ipython = sys.modules.get("IPython")  # a kernel has imported it
    shell = ipython.get_ipython() if ipython is not None else None
    return hasattr(shell, "kernel")
