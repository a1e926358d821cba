"""One door to every format: it is recognised by what is there, or named."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seewhy.dataset.files import Shelf
from seewhy.dataset.foreign import name_foreign
from seewhy.dataset.formats import FORMATS, Format, Found, load_format
from seewhy.dataset.records import Dataset, named
from seewhy.dataset.splits import is_split, same_split
from seewhy.errors import DataError

_Way = tuple[Format, Found]


def read_dataset(
    path: str | os.PathLike[str],
    *,
    kind: str | None = None,
    images: str | os.PathLike[str] | None = None,
    split: str | None = None,
    label: str | None = None,
) -> Dataset:
    """Annotated pictures from a folder or a file.

    Args:
        path: the folder of the data set, or the file that holds its annotations: COCO's JSON, a
            data.yaml of YOLO, a table as CSV or JSON (`seewhy.dataset.csv`, `.table`).
        kind: one of `FORMATS`; None looks for each of them.
        images: where the pictures are, if not where the format has them.
        split: the part to read where a data set has several: `val`. Of Pascal VOC a list in
            ImageSets.
        label: of a JSON table, the field that holds the label.

    Raises:
        DataError: nothing is there, no format or several are recognised, the format does not take
            an option, or there is no record that can be used.

    Example:
        >>> import seewhy
        >>> pets = seewhy.read_dataset("pets")  # pets/cat/cat.jpg, pets/dog/dog.jpg
        >>> pets.kind, pets.labels, len(pets.records)
        ('folder', ('cat', 'dog'), 2)
    """
    where = Path(path)
    if not where.exists():
        raise DataError(f"there is no file or folder '{where}'. Check the path.")
    if kind is not None and kind not in FORMATS:
        raise DataError(f"kind '{kind}' is not known; choose one of {', '.join(FORMATS)}.")
    shelf = Shelf()
    format_, found = _the_way(where, kind, split, shelf)
    if found.parts and "split" not in format_.takes:
        split = None  # it has chosen the file or folder already
    given: dict[str, Any] = {
        "images": None if images is None else Path(images),
        "split": split,
        "label": label,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if strange := [name for name in given if name not in format_.takes]:
        raise DataError(
            f"'{where}' is of kind {format_.name}, which takes no {', '.join(strange)}; "
            + (f"it takes {', '.join(format_.takes)}." if format_.takes else "it takes nothing.")
        )
    if "images" in given and not given["images"].is_dir():
        raise DataError(f"images='{given['images']}' is not a folder.")
    return format_.read(found.path, shelf=shelf, **given)


def _the_way(where: Path, kind: str | None, split: str | None, shelf: Shelf) -> _Way:
    """The one format and place in which a path can be read.

    Raises:
        DataError: there is none, or there are several.
    """
    formats = [load_format(name) for name in ([kind] if kind else FORMATS)]
    ways = _ways(where, formats, shelf) or _ways_in_parts(where, formats, shelf)
    if split is not None and any(found.parts for _, found in ways):
        ways = _of_part(where, ways, split)
    if len(ways) == 1:
        return ways[0]
    if ways:
        raise DataError(_several(where, ways))
    if kind is not None and (where.is_file() or kind == "folder"):
        return formats[0], Found(where, "as named")  # its reader says what is missing
    raise DataError(_none(where, formats, shelf))


def _ways(where: Path, formats: Sequence[Format], shelf: Shelf) -> list[_Way]:
    """All that is recognised at a place; by the names of folders only where nothing else is."""
    ways = [(format_, found) for format_ in formats for found in format_.detect(where, shelf)]
    return [way for way in ways if way[1].sure] or ways


def _ways_in_parts(where: Path, formats: Sequence[Format], shelf: Shelf) -> list[_Way]:
    """What is recognised in the folders train, val and test of a data set."""
    return [
        (
            format_,
            dataclasses.replace(found, seen=f"{part}/{found.seen}", parts=(part, *found.parts)),
        )
        for part in shelf.folders(where)
        if is_split(part)
        for format_, found in _ways(where / part, formats, shelf)
    ]


def _of_part(where: Path, ways: Sequence[_Way], split: str) -> list[_Way]:
    exact = [way for way in ways if split in way[1].parts]
    alike = [way for way in ways if any(same_split(split, part) for part in way[1].parts)]
    if not exact and not alike:
        parts = dict.fromkeys(part for _, found in ways for part in found.parts)
        raise DataError(f"'{where}' has no split '{split}'. Its splits are {', '.join(parts)}.")
    return exact or alike


def _several(where: Path, ways: Sequence[_Way]) -> str:
    listed = ", ".join(f"{found.seen} ({format_.name})" for format_, found in ways)
    steps = []
    parts = [found.parts[0] for _, found in ways if found.parts]
    if len(set(parts)) > 1:
        steps.append(f"choose a part with split='{parts[0]}' (--split {parts[0]})")
    kinds = dict.fromkeys(format_.name for format_, _ in ways)
    if len(kinds) > 1:
        steps.append(f"name the kind ({', '.join(kinds)})")
    paths = {found.path for _, found in ways}
    if len(paths) > 1:
        steps.append("give the path of one of these")
    return (
        f"'{where}' can be read in {len(ways)} ways: {listed}. To choose one, "
        f"{', or '.join(steps)}."
    )


def _none(where: Path, formats: Sequence[Format], shelf: Shelf) -> str:
    wanted = "; ".join(f"{format_.name}: {format_.looks_for}" for format_ in formats)
    name = formats[0].name if len(formats) == 1 else f"any of {', '.join(FORMATS)}"
    said = f"'{where}' is not laid out as {name}"
    foreign = name_foreign(where, shelf)
    if where.is_file():
        said += f"; {foreign}" if foreign else ": it is neither a folder nor a file of one of these"
        return f"{said}. Looked for: {wanted}."
    inside = shelf.folders(where)
    within = [
        inner
        for inner in inside
        if any(format_.detect(where / inner, shelf) for format_ in formats)
    ]
    if foreign:
        said += f"; {foreign}"
    elif within:
        said += f"; there is one in {named(within, most=4)}: give its path"
    elif any(shelf.has_pictures(where / inner) for inner in inside):
        said += "; if its folders are classes, name the kind 'folder'"
    return f"{said}. It holds {_held(where, shelf)}. Looked for: {wanted}."


def _held(where: Path, shelf: Shelf) -> str:
    """What a folder holds, in words: its folders by name, its files by ending."""
    folders = shelf.folders(where)
    endings = Counter(Path(name).suffix.lower() or "no ending" for name in shelf.files(where))
    words = [f"{len(folders)} folders ({named(folders, most=6)})"] if folders else []
    words += [f"{count} files with {ending}" for ending, count in endings.most_common(6)]
    return ", ".join(words) or "nothing"
