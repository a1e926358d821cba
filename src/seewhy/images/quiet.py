"""Read pictures without the warnings of the libraries; seewhy reports what matters itself."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def without_warnings(*categories: type[Warning]) -> Iterator[None]:
    """Warnings of these categories are not shown; one that the program made an error stays one.

    The filters are the process's, and `warnings.catch_warnings` would make it forget which
    warnings it has shown already: all of them would come again after each picture. So a filter is
    put before the others and taken out again, which no other thread notices but for these.
    """
    added = [
        ("ignore", None, category, None, 0)
        for category in categories
        if not any(one[0] == "error" and one[2] is category for one in warnings.filters)
    ]
    filters: list[object] = warnings.filters  # type: ignore[assignment]
    for one in added:
        filters.insert(0, one)
    try:
        yield
    finally:
        for one in added:
            with suppress(ValueError):  # another thread has put back filters of its own
                filters.remove(one)
