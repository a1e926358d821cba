"""A JSON object from a file, whose values are what they must be, or an error says which is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

T = TypeVar("T")

_CALLED = {str: "a text", float: "a number", int: "a whole number", dict: "an object"}


class Facts:
    """Values by name, each checked as it is read.

    Args:
        values: the object.
        name: what it is called in errors.
    """

    def __init__(self, values: Mapping[str, Any], name: str = "") -> None:
        self.values = values
        self.name = name

    def get(self, name: str, kind: type[T]) -> T:
        """One value of a kind: `str`, `float`, `int` or `dict`.

        Raises:
            ValueError: it is missing, or of another kind.
        """
        return self._checked(self.any(name), kind, name)

    def get_or_none(self, name: str, kind: type[T]) -> T | None:
        """The same, or None where the file says null."""
        return None if self.any(name) is None else self.get(name, kind)

    def each(self, name: str, kind: type[T]) -> tuple[T, ...]:
        """The values of a list, all of one kind."""
        values = self.any(name)
        if not isinstance(values, list):
            raise ValueError(f"its '{self.name}{name}' must be a list, not {_shown(values)}")
        return tuple(self._checked(one, kind, f"{name}[{i}]") for i, one in enumerate(values))

    def all(self, kind: type[T]) -> dict[str, T]:
        """Every value, all of one kind."""
        return {name: self.get(name, kind) for name in self.values}

    def part(self, name: str) -> Facts:
        """An object within."""
        return Facts(self.get(name, dict), f"{self.name}{name}.")

    def parts(self, name: str) -> tuple[Facts, ...]:
        """The objects of a list."""
        objects = enumerate(self.each(name, dict))
        return tuple(Facts(one, f"{self.name}{name}[{i}].") for i, one in objects)

    def any(self, name: str) -> Any:
        """The value as it is."""
        if name not in self.values:
            raise ValueError(f"its '{self.name}{name}' is missing")
        return self.values[name]

    def _checked(self, value: Any, kind: type[T], name: str) -> T:
        if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
            return value
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            try:
                return cast(T, float(value))
            except OverflowError:
                pass
        raise ValueError(f"its '{self.name}{name}' must be {_CALLED[kind]}, not {_shown(value)}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
