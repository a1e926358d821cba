"""The methods that are measured, and which of the options are each one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seewhy.errors import MethodError
from seewhy.methods.method import Method, MethodLike
from seewhy.request import Request


@dataclass(frozen=True)
class Entry:
    """A method that is measured, and the values that were given for its options."""

    method: Method
    options: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Under which its results are kept."""
        return self.method.name


def entries_of(methods: Sequence[MethodLike], options: Mapping[str, Any]) -> list[Entry]:
    """Each method with those of the options that it has.

    Raises:
        MethodError: an unknown name, a method that came twice, or an option that none has.
    """
    request = Request.of(list(methods), options=options)
    names = [one.name for one in request.methods]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise MethodError(f"{', '.join(twice)} is given twice. Name each method once.")
    return [Entry(one, request.options_of(one)) for one in request.methods]
