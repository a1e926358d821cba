"""Options that go together are written once, as a dataclass; a command takes them as one value."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import wraps
from typing import Any, get_type_hints


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose parameters that are dataclasses show as an option for each of their fields.

    Typer builds the command line from a function's signature; this writes the fields into it.

    Example:
        `def explain(picture: str, loading: ModelOptions = ModelOptions())` has `--arch`, `--size`
        and all the others.
    """
    shown: list[inspect.Parameter] = []
    groups: dict[str, tuple[Callable[..., Any], list[str]]] = {}
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        group = parameter.annotation
        if not (isinstance(group, type) and is_dataclass(group)):
            shown.append(parameter)
            continue
        hints = get_type_hints(group, include_extras=True)
        groups[parameter.name] = group, [one.name for one in fields(group)]
        shown += [
            parameter.replace(name=one.name, annotation=hints[one.name], default=one.default)
            for one in fields(group)
        ]

    @wraps(command)
    def run(**given: Any) -> None:
        for name, (group, names) in groups.items():
            given[name] = group(**{one: given.pop(one) for one in names})
        command(**given)

    run.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in shown}
    return run
