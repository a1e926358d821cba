"""An option of a method or a metric: its name, its default, and how its value is typed."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Option:
    """What a caller may choose: a keyword-only parameter of a formula.

    Attributes:
        name: the parameter's name.
        default: the value it has unless one is given.
        type: the annotation, as it is written in the code; `""` where there is none.
    """

    name: str
    default: Any
    type: str = ""

    @property
    def many(self) -> bool:
        """Whether several values may be given for it."""
        return isinstance(self.default, (tuple, list)) or bool(
            re.search(r"\b(Sequence|[Tt]uple|[Ll]ist)\[", self.type)
        )

    def read(self, text: str) -> Any:
        """The value that was typed: `0.1`, `true`, a word, or several with colons: `0.1:0.5`.

        Raises:
            ValueError: the text is of another kind than the default.
        """
        if self.many and (":" in text or isinstance(self.default, (tuple, list))):
            one = self.default[0] if isinstance(self.default, (tuple, list)) else self.default
            return tuple(_like(one, part.strip()) for part in text.split(":"))
        return _like(self.default, text)


def options_of(function: Callable[..., Any]) -> dict[str, Option]:
    """The options of a formula by name: its keyword-only parameters."""
    return {
        one.name: Option(one.name, one.default, _written(one.annotation))
        for one in inspect.signature(function).parameters.values()
        if one.kind is one.KEYWORD_ONLY
    }


def _written(annotation: Any) -> str:
    if annotation is inspect.Parameter.empty:
        return ""
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _like(default: Any, text: str) -> Any:
    """The value that was typed, of the kind of the default; a number may stand for a word."""
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise ValueError("true or false is wanted")
        return text.lower() == "true"
    if isinstance(default, str):
        try:
            return float(text)
        except ValueError:
            return text
    try:
        return type(default)(text)
    except (TypeError, ValueError):
        raise ValueError(f"a value like {default} is wanted") from None
