"""The methods that are measured: what each is called, and which of the options are its own."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seewhy.attribution import Method
from seewhy.errors import MethodError
from seewhy.methods import METHODS


@dataclass(frozen=True)
class Entry:
    """A method that is measured.

    Attributes:
        name: under which its results are kept.
        method: a name in `METHODS`, or a function.
        options: the values that were given for its options.
        takes: the names of all its options.
    """

    name: str
    method: Method
    options: Mapping[str, Any]
    takes: tuple[str, ...]


def entries_of(methods: Sequence[Method], options: Mapping[str, Any]) -> list[Entry]:
    """Each method with those of the options that it has.

    Raises:
        MethodError: an unknown name, a method that came twice, or an option that none has.
    """
    entries = []
    for method in methods:
        name, takes = _name_and_options(method)
        own = {option: value for option, value in options.items() if option in takes}
        entries.append(Entry(name, method, own, takes))
    names = [one.name for one in entries]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise MethodError(f"{', '.join(twice)} came twice; each method is named once.")
    if strange := [one for one in options if not any(one in entry.takes for entry in entries)]:
        raise MethodError(f"{', '.join(names)} has no option {', '.join(strange)}.")
    return entries


def _name_and_options(method: Method) -> tuple[str, tuple[str, ...]]:
    """What a method is called, and the names of its options, read from its signature.

    A `functools.partial` is called after the function in it, any other object after its type.

    Raises:
        MethodError: an unknown name.
    """
    if isinstance(method, str):
        if method not in METHODS:
            raise MethodError(f"method '{method}' is not known; there are {', '.join(METHODS)}.")
        name, function = method, METHODS[method]
    else:
        called: Any = method
        while isinstance(called, functools.partial):
            called = called.func
        name, function = getattr(called, "__name__", type(called).__name__), method
    parameters = inspect.signature(function).parameters.values()
    return name, tuple(one.name for one in parameters if one.kind is one.KEYWORD_ONLY)
