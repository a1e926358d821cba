"""Targets back from the JSON that `to_json` gives."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from typing import Any, cast

from seewhy.errors import TargetError
from seewhy.targets import kinds, many, regions
from seewhy.targets.kinds import Choice, Target
from seewhy.targets.own import OWN, class_name, is_own
from seewhy.targets.unrestored import Unrestored

_MADE: dict[str, Callable[..., Any]] = {
    "Function": lambda name: kinds.Function(None, name),
    "Mask": regions.Mask,
    "Several": lambda targets: many.Several(*targets),
    "PerImage": lambda targets: many.PerImage(*targets),
}
"""Those that are no target by themselves, or whose parts are not the arguments that make them."""


def _makers() -> dict[str, Callable[..., Any]]:
    """How each kind of target is made from its parts, by the name that is saved: its class's."""
    ours = [one for one in _kinds_of(Choice) if not is_own(one)]
    named = {one.__name__: one for one in ours if one not in (Target, Unrestored)}
    return {**named, **_MADE}


def target_from_json(saved: Any) -> Choice:
    """What `to_json` saved.

    A `Function` comes back by name only and raises when called. So does a target of a user's own
    class, unless a subclass of `Target` of that name is defined by now: no module is imported
    because a file names it.

    Raises:
        TargetError: The value does not describe a target.
    """
    kind = saved.get("kind") if isinstance(saved, dict) else None
    if kind == OWN:
        return _own(saved)
    makers = _makers()
    if not isinstance(kind, str) or kind not in makers:
        raise TargetError(
            f"{saved!r} is not a saved target. The known kinds are {', '.join(makers)}"
        )
    parts = {name: _part(value) for name, value in saved.items() if name != "kind"}
    try:
        return cast(Choice, makers[kind](**parts))
    except TypeError as error:
        raise TargetError(f"a saved {kind} has the wrong parts: {error}") from error


def restored_or_named(saved: Any, words: str) -> Target:
    """The one target that `to_json` saved; an `Unrestored` one, where it cannot be made.

    Args:
        saved: what the file holds of it.
        words: the target in words.

    Raises:
        TargetError: The value is no target at all.
    """
    try:
        target = target_from_json(saved)
        if isinstance(target, Target):
            return target
        why = "it stands for several targets. Name one of them"
    except TargetError as error:
        if not isinstance(saved, dict) or not isinstance(saved.get("kind"), str):
            raise
        why = f"{error}. Give the target again"
    return Unrestored(saved["kind"], words, why, json.dumps(saved))


def _own(saved: dict[str, Any]) -> Target:
    name, words, parts = saved.get("class"), saved.get("words"), saved.get("parts")
    if not isinstance(name, str) or not isinstance(words, str):
        raise TargetError(f"{saved!r} is not a saved target, because it has no class or no words")
    # The last one: a notebook's cell that is run again defines its class anew.
    known = [one for one in _kinds_of(Target) if is_own(one) and class_name(one) == name]
    if not known:
        why = (
            "that class is not defined here. Import the module that defines it and "
            "load the file again, or give the target again"
        )
    elif not isinstance(parts, dict) or not is_dataclass(known[-1]):
        why = (
            "only a dataclass whose fields are numbers, texts, targets or tuples of "
            "these can be loaded again. Give the target again"
        )
    else:
        make = cast(Callable[..., Target], known[-1])
        try:
            return make(**{part: _own_part(value) for part, value in parts.items()})
        except Exception as error:  # the user's own class, which may refuse its parts in any way
            why = f"that class does not accept the saved parts ({error}). Give the target again"
    return Unrestored(name, words, why, json.dumps(saved))


def _kinds_of(class_: type) -> Iterator[type]:
    """Every class made of `class_` that is defined by now."""
    made: list[type] = class_.__subclasses__()
    for one in made:
        yield one
        yield from _kinds_of(one)


def _own_part(value: Any) -> Any:
    """As `_part`, sequences as tuples: the fields of a target can be compared and hashed."""
    if isinstance(value, list):
        return tuple(_own_part(each) for each in value)
    return _part(value)


def _part(value: Any) -> Any:
    if isinstance(value, list):
        return [_part(each) for each in value]
    return target_from_json(value) if isinstance(value, dict) else value
