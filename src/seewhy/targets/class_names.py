"""Class names: from what a user typed to the index of one class."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from seewhy.errors import TargetError


def short_label(label: str) -> str:
    """The first of a label's comma-separated names: `tabby` of `tabby, tabby cat`."""
    return label.split(",")[0].strip() or label


def find_class(name: str, labels: Sequence[str] | None) -> int:
    """The index of the one class that a name fits.

    Upper and lower case are alike. The full label or one of its comma-separated names comes first,
    then the name as whole words within a label.

    Raises:
        TargetError: The name fits no class (the nearest are named) or several (they are listed).
    """
    if not _plain(name):
        raise TargetError("the class name is empty. Give the name of a class or its index")
    if not labels:
        raise TargetError(
            f"class {name!r} cannot be looked up, because the model has no labels. Give "
            "labels, or the index of the class"
        )
    matches = exact_matches(name, labels) or classes_with(name, labels)
    if len(matches) == 1:
        return matches[0]
    if matches:
        more = f" and {len(matches) - 8} more" if len(matches) > 8 else ""
        listed = ", ".join(f"{index} ({labels[index]})" for index in matches[:8])
        raise TargetError(
            f"{name!r} matches {len(matches)} classes: {listed}{more}. Give the index "
            f"of one, 'any:{name}' for any of them, or several indices separated by "
            "commas"
        )
    parts = [part.strip() for part in name.split(",")]
    if len(parts) > 1 and all(exact_matches(part, labels) for part in parts):
        raise TargetError(
            f"no class is called {name!r}, but each of its {len(parts)} parts is a "
            "class. For several classes, repeat --target "
            f"(target=({', '.join(map(repr, parts))}))"
        )
    suggested = ", ".join(f"{each!r} ({index})" for index, each in nearest_classes(name, labels))
    hint = (
        f"did you mean {suggested}?"
        if suggested
        else f"the {len(labels)} labels begin with {', '.join(map(repr, labels[:3]))}"
    )
    raise TargetError(f"no class is called {name!r}; {hint}")


def classes_with(name: str, labels: Sequence[str]) -> list[int]:
    """The classes in whose labels the name stands as whole words."""
    whole_words = re.compile(rf"(?<!\w){re.escape(_plain(name))}(?!\w)")
    return [index for index, label in enumerate(labels) if whole_words.search(_plain(label))]


def exact_matches(name: str, labels: Sequence[str]) -> list[int]:
    """The classes that have the name as their full label or as one of its parts."""
    # The full label does not win over another label's part: ImageNet's 'cardigan' (474) and
    # 'Cardigan, Cardigan Welsh corgi' (264) are a jacket and a dog.
    wanted = _plain(name)
    return [index for index, label in enumerate(labels) if wanted in _names(label)]


def nearest_classes(name: str, labels: Sequence[str]) -> list[tuple[int, str]]:
    """Up to three classes with a name much like this one: (index, that name), the nearest first."""
    known = {each: index for index, label in enumerate(labels) for each in _names(label)}
    nearest: dict[int, str] = {}
    for each in difflib.get_close_matches(_plain(name), known, n=9, cutoff=0.5):
        nearest.setdefault(known[each], each)
    return list(nearest.items())[:3]


def _names(label: str) -> list[str]:
    """The full label and, where commas separate several names, each of them."""
    return [_plain(label), *(_plain(part) for part in label.split(",") if "," in label)]


def _plain(text: str) -> str:
    """Lower case, single spaces, underscores as spaces."""
    return " ".join(text.replace("_", " ").casefold().split())
