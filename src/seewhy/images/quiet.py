"""Readers without the warnings that they address to programmers: what matters is said in words."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_filters = threading.Lock()  # they belong to the process


@contextmanager
def without_warnings(*categories: type[Warning]) -> Iterator[None]:
    """Warnings of these categories are not shown; one whose category is an error stays one.

    To be held for a moment: other threads wait here.
    """
    with _filters, warnings.catch_warnings():
        for category in categories:
            if not any(one[0] == "error" and one[2] is category for one in warnings.filters):
                warnings.simplefilter("ignore", category)
        yield
