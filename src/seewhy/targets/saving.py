"""Targets back from the JSON that `to_json` gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from seewhy.errors import TargetError
from seewhy.targets import boxes, kinds, language, many, regions, similarity
from seewhy.targets.kinds import Choice

KINDS: dict[str, Callable[..., Any]] = {
    "ClassScore": kinds.ClassScore,
    "Binary": kinds.Binary,
    "Regression": kinds.Regression,
    "Predicted": kinds.Predicted,
    "Probability": kinds.Probability,
    "Contrast": kinds.Contrast,
    "Finer": kinds.Finer,
    "Counterfactual": kinds.Counterfactual,
    "Sum": kinds.Sum,
    "Product": kinds.Product,
    "Function": lambda name: kinds.Function(None, name),
    "Region": regions.Region,
    "Mask": regions.Mask,
    "BoxScore": boxes.BoxScore,
    "Token": language.Token,
    "Sentence": language.Sentence,
    "Similarity": similarity.Similarity,
    "TopK": many.TopK,
    "Several": lambda targets: many.Several(*targets),
    "PerImage": lambda targets: many.PerImage(*targets),
}


def target_from_json(saved: Any) -> Choice:
    """What `to_json` saved; a `Function` comes back by name only and raises when called.

    Raises:
        TargetError: The value does not describe a target.
    """
    kind = saved.get("kind") if isinstance(saved, dict) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise TargetError(f"{saved!r} is not a saved target; known kinds are {', '.join(KINDS)}")
    parts = {name: _part(value) for name, value in saved.items() if name != "kind"}
    try:
        return cast(Choice, KINDS[kind](**parts))
    except TypeError as error:
        raise TargetError(f"a saved {kind} has the wrong parts: {error}") from error


def _part(value: Any) -> Any:
    if isinstance(value, list):
        return [_part(each) for each in value]
    return target_from_json(value) if isinstance(value, dict) else value
