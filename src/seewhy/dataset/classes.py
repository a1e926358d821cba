"""From the labels of a data set to the classes of a model."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seewhy.dataset.files import read_json
from seewhy.dataset.records import named
from seewhy.errors import DataError

IMAGENET_CLASSES = 1000
_SYNSET = re.compile(r"n\d{8}")


def map_classes(
    labels: Sequence[str],
    model_labels: Sequence[str] | None,
    *,
    classes: int | None = None,
    mapping: Mapping[str, Sequence[int | str]] | None = None,
    synsets: Sequence[str] | None = None,
    imagenet_ids: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, tuple[int, ...]]:
    """Which classes of the model each label of the data stands for.

    The first of these that has a word on it says:

    1. the mapping, whose classes are indices, names or WordNet ids;
    2. what the data says of its ImageNet classes, if the model has 1000 classes;
    3. the model's name, letter by letter;
    4. a WordNet id such as n02123045, whose place in `synsets` is the class;
    5. a whole number, which is the class;
    6. the model's name in upper or lower case, with underscores as spaces, the full name or one of
       its comma-separated parts, of several classes the one whose first part it is.

    Args:
        labels: the data's.
        model_labels: the model's names, if it has any.
        classes: how many classes the model has, if it has no names.
        mapping: from `read_mapping`. An empty list leaves a label out: it gets no class.
        synsets: from `read_synsets`.
        imagenet_ids: `Dataset.imagenet_ids`.

    Returns:
        For each label its classes, in the order they were said.

    Raises:
        DataError: labels that fit no class, or several by one name; all are in the message.
    """
    count = len(model_labels) if model_labels else classes
    found: dict[str, tuple[int, ...]] = {}
    problems = []
    for label in labels:
        said: Sequence[int | str] = (label,)
        if mapping is not None and label in mapping:
            said = mapping[label]
        elif imagenet_ids and label in imagenet_ids and count == IMAGENET_CLASSES:
            said = imagenet_ids[label]
        try:
            each = [_class_of(one, model_labels or (), count, synsets) for one in said]
        except DataError as error:
            problems.append(f"'{label}' {error}")
        else:
            found[label] = tuple(dict.fromkeys(each))
    if problems:
        more = f"; and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise DataError(
            f"{len(problems)} of the data's {len(labels)} labels match no class of the model: "
            f"{'; '.join(problems[:8])}{more}. Name their classes in a mapping file, JSON "
            '{"label": ["name", 7], ...} or CSV with the columns label and class (an empty list or '
            "class leaves a label out)."
        )
    return found


def read_mapping(path: str | Path) -> dict[str, list[int | str]]:
    """A mapping file: for each label the indices, names or WordNet ids of its classes.

    JSON is `{"cat": ["tabby", 282, "n02123394"], "dog": "151-268", "cow": null}`. A CSV has the
    columns `label` and `class`; several rows of a label are several classes, an empty class leaves
    the label out.

    Raises:
        DataError: it cannot be read, or says something else.
    """
    path = Path(path)
    if path.suffix.lower() == ".csv":
        return _mapping_rows(path)
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataError(
            f"'{path}' must contain {{label: classes}}, not a {type(content).__name__}."
        )
    try:
        return {label: _classes(said) for label, said in content.items()}
    except DataError as error:
        raise DataError(f"'{path}': {error}") from error


def read_synsets(path: str | Path) -> tuple[str, ...]:
    """WordNet ids in the order of the classes, from lines such as `n02123045 tabby, tabby cat`.

    Raises:
        DataError: a line begins with something else, or an id comes twice.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the synsets '{path}' cannot be read ({error}).") from error
    synsets: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        synset = line.split()[0]
        if not _SYNSET.fullmatch(synset):
            raise DataError(
                f"'{path}', line {number}, begins with {synset!r}, but each line must begin "
                "with a WordNet id such as n02123045, the first for class 0."
            )
        if synset in synsets:
            raise DataError(f"'{path}' has {synset} in the lines {synsets[synset]} and {number}.")
        synsets[synset] = number
    return tuple(synsets)


def class_numbers(said: Any) -> tuple[int, ...]:
    """Numbers of classes from `7`, `[7, 9]`, `"7"` or `"7,9-12"`.

    Raises:
        DataError: it is none of these.
    """
    if isinstance(said, int) and not isinstance(said, bool):
        return (said,)
    if isinstance(said, str) and re.fullmatch(r"\s*\d+(\s*[-,]\s*\d+)*\s*", said):
        numbers: list[int] = []
        for part in said.split(","):
            first, _, last = part.partition("-")
            numbers += range(int(first), int(last or first) + 1)
        return tuple(numbers)
    if isinstance(said, list) and said:
        return tuple(number for each in said for number in class_numbers(each))
    raise DataError(f"classes must be numbers such as 281, [281, 282] or '281-285', not {said!r}")


def _classes(said: Any) -> list[int | str]:
    """One entry of a mapping file."""
    if said is None:
        return []
    if isinstance(said, list):
        return [each for one in said for each in _classes(one)]
    try:
        return list(class_numbers(said))
    except DataError:
        if isinstance(said, str) and said.strip():
            return [said.strip()]
        raise DataError(
            f"classes must be an index, a name, a WordNet id, a list of these or null, not {said!r}"
        ) from None


def _mapping_rows(path: Path) -> dict[str, list[int | str]]:
    mapping: dict[str, list[int | str]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            if not {"label", "class"} <= set(reader.fieldnames or ()):
                raise DataError(
                    f"'{path}' has the columns {', '.join(reader.fieldnames or ()) or 'none'}, "
                    "but it needs label and class."
                )
            for row in reader:
                said = (row["class"] or "").strip()
                mapping.setdefault(row["label"].strip(), []).extend(_classes(said or None))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"'{path}' cannot be read as CSV ({error}).") from error
    return mapping


def _class_of(
    said: int | str, labels: Sequence[str], count: int | None, synsets: Sequence[str] | None
) -> int:
    """One class.

    Raises:
        DataError: what is wrong with it, to be read after the label.
    """
    if isinstance(said, int):
        return _within(said, count)
    same = [index for index, label in enumerate(labels) if label == said]
    if len(same) == 1:  # 'cardigan' is a jacket, 'Cardigan' a part of a dog's name
        return same[0]
    if _SYNSET.fullmatch(said):
        if synsets is None:
            raise DataError("is a WordNet id, which takes a file of synsets in the classes' order")
        if said not in synsets:
            raise DataError(f"({said}) is not among the {len(synsets)} synsets")
        return _within(synsets.index(said), count)
    if said.isdecimal():
        return _within(int(said), count)
    if not labels:
        raise DataError("cannot be looked up: the model has no names")
    from seewhy.targets.class_names import exact_matches, nearest_classes, short_label  # torch

    matches = exact_matches(said, labels)
    # A class's first name is what lists of classes call it: ImageNet's crayfish is 124, though the
    # spiny lobster (123) is called so too.
    first = [i for i in matches if exact_matches(said, [short_label(labels[i])])]
    if len(first or matches) == 1:
        return (first or matches)[0]
    if matches:
        listed = named([f"{index} ({labels[index]})" for index in matches])
        raise DataError(f"fits {len(matches)} classes by the name {said!r}: {listed}")
    near = ", ".join(f"{each!r} ({index})" for index, each in nearest_classes(said, labels))
    raise DataError(f"(nearest: {near})" if near else "(nothing is near)")


def _within(index: int, count: int | None) -> int:
    if count is not None and not 0 <= index < count:
        raise DataError(f"is class {index}, but the model has 0 to {count - 1}")
    return index
