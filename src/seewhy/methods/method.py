"""A method as one value: its formula, what that asks for, what may be chosen, what it costs."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from seewhy.errors import MethodError
from seewhy.evidence.table import COSTS, Cost, Place, Row, rows_of
from seewhy.methods.names import MethodName
from seewhy.option import Option, options_of


@dataclass(frozen=True)
class Method:
    """A way of making maps; made once from a name or a function, and used everywhere.

    Attributes:
        name: what it is called.
        function: its formula. Parameters that are not keyword-only say by their names what it
            needs; keyword-only ones are its options. Calling the method calls the formula.
        evidence: the rows of the table of evidence that the formula asks for, in its order.
        options: what may be chosen, by name, with defaults and types.
        says: the first line of the formula's docstring.
        paper: authors and year; None where the docstring names none.
    """

    name: str
    function: Callable[..., Tensor]
    evidence: tuple[Row, ...] = field(repr=False)
    options: Mapping[str, Option] = field(repr=False, compare=False)
    says: str = field(repr=False)
    paper: str | None = field(repr=False)

    @classmethod
    def of(cls, function: Callable[..., Tensor], name: str | None = None) -> Method:
        """The method that a formula makes.

        Args:
            function: a function, a `functools.partial`, or an object that can be called.
            name: what to call it; None takes the function's own name.

        Raises:
            MethodError: it cannot be called, or asks for evidence that there is not.
        """
        if not callable(function):
            raise MethodError(
                f"method must be a name or a function, but {function!r} is a "
                f"{type(function).__name__}."
            )
        called = name or _name_of(function)
        parameters = inspect.signature(function).parameters.values()
        needs = [one.name for one in parameters if one.kind is not one.KEYWORD_ONLY]
        says = (inspect.getdoc(_innermost(function)) or "").partition("\n")[0]
        return cls(
            called, function, rows_of(needs, called), options_of(function), says, _paper(says)
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """Apply the formula."""
        return self.function(*args, **kwargs)

    @property
    def needs(self) -> tuple[str, ...]:
        """The names of the evidence that the formula asks for."""
        return tuple(row.name for row in self.evidence)

    @property
    def cost(self) -> Cost:
        """What has to be computed for it: the dearest of its evidence."""
        return max((row.cost for row in self.evidence), key=COSTS.index)

    @property
    def place(self) -> Place:
        """Whose positions its map has: the layer's, the input's, or those of the tokens."""
        places = {row.place for row in self.evidence}
        return "attention" if "attention" in places else "layer" if "layer" in places else "input"

    @property
    def of_one_image(self) -> bool:
        """Whether it is given one image at a time."""
        return any(row.of_batch is None for row in self.evidence)

    @property
    def looks_at_target(self) -> bool:
        """Whether its map can be another one for another target."""
        return any(row.of_target for row in self.evidence)


MethodLike = Method | MethodName | str | Callable[..., Tensor]
"""A method, its name in METHODS, or a function whose parameters' names say what it needs."""


def _innermost(function: Callable[..., Any]) -> Callable[..., Any]:
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _name_of(function: Callable[..., Any]) -> str:
    inner = _innermost(function)
    return str(getattr(inner, "__name__", type(inner).__name__))


def _paper(says: str) -> str | None:
    """`Channels weighted by ... (Selvaraju 2017, eq. 1-2).` → `Selvaraju 2017, eq. 1-2`."""
    found = re.search(r"\(([^()]*(?:\d{4}|pytorch-grad-cam)[^()]*)\)\.?$", says)
    return found[1] if found else None
