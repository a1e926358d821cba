"""What can go wrong, by subject. Each message says what came, what was wanted and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SeewhyError(Exception):
    """Base of every error raised on purpose; the message is meant for the user as it stands."""


class ImageError(SeewhyError, ValueError):
    """A picture that cannot be read or does not fit."""


class ModelError(SeewhyError, ValueError):
    """A model that cannot be loaded, or whose output cannot be read."""


class LayerError(SeewhyError, ValueError):
    """A layer that is not there, or that has no spatial output."""


class TargetError(SeewhyError, ValueError):
    """A target that does not name something the model gives."""


class MethodError(SeewhyError, ValueError):
    """A method that is unknown, misused, or not defined for this model."""


class MetricError(SeewhyError, ValueError):
    """A metric that is misused, or not defined for what came."""


class DataError(SeewhyError, ValueError):
    """Annotated pictures that cannot be read, or whose labels do not fit the model."""


def not_known(kind: str, name: str, names: Iterable[str]) -> str:
    """Return the message for an unknown name, with similar names and all known names."""
    known = list(names)
    near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.4)
    hint = f"; did you mean {' or '.join(near)}?" if near else "."
    return f"{kind} '{name}' is not known{hint} Choose from {', '.join(known)}."


def at_least_one(error: type[SeewhyError], **counts: int) -> None:
    """Refuse an option that is a count and below 1, by its name.

    Raises:
        SeewhyError: of the type `error`.
    """
    for name, count in counts.items():
        if count < 1:
            raise error(f"{name} must be at least 1, not {count}.")
