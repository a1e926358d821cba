"""Classes and boxes in a CSV, a row a box: `annotations.csv`.

The columns are `image,label,x0,y0,x1,y1`, with `width` and `height` (of the picture) and
`difficult` where they are known. The four corners may be empty: a label without a box. A picture
may have several rows. Boxes are in pixels of the stored picture, x1 and y1 exclusive.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

from seewhy.dataset.files import Shelf, find_file, picture_size
from seewhy.dataset.formats import Format, Found
from seewhy.dataset.records import Box, Dataset, Problem, Record, box_in, gather
from seewhy.errors import DataError

COLUMNS = ("image", "label", "x0", "y0", "x1", "y1")
_FILES = ("annotations.csv", "_annotations.csv")


def detect(path: Path, shelf: Shelf) -> list[Found]:
    """A CSV file, or the folder with one that is called annotations.csv."""
    if path.is_file():
        return [Found(path, path.name)] if path.suffix.lower() == ".csv" else []
    return [Found(path / name, name) for name in _FILES if shelf.has(path / name)]


def read(path: Path, *, shelf: Shelf, images: Path | None = None) -> Dataset:
    """One record a picture, called as in the table, in the order of first mention.

    A bad row spoils its picture: the record is left out, and its problem names the line.

    Raises:
        DataError: a column is missing, or there is no record at all.
    """
    rows: dict[str, list[tuple[int, dict[str, str]]]] = {}
    problems = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                raise DataError(
                    f"'{path}' has the columns {', '.join(reader.fieldnames or ()) or 'none'}; "
                    f"{', '.join(missing)} is missing: the first line names "
                    f"{', '.join(COLUMNS)}."
                )
            for row in reader:
                if name := (row["image"] or "").strip():
                    rows.setdefault(name, []).append((reader.line_num, row))
                else:
                    problems.append(Problem(f"line {reader.line_num}", "names no picture"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"'{path}' cannot be read as CSV ({error}).") from error
    places = [images] if images else [path.parent / "images", path.parent]
    drafts = [
        (name, functools.partial(_record, name, lines, places, shelf))
        for name, lines in rows.items()
    ]
    return gather(path.stem, "csv", drafts, problems=problems)


def _record(
    name: str,
    lines: Sequence[tuple[int, Mapping[str, str]]],
    places: Sequence[Path],
    shelf: Shelf,
) -> Record:
    image = find_file(name, places, shelf)
    labels: dict[str, None] = {}
    boxes: list[Box] = []
    size: tuple[int, int] | None = None
    for line, row in lines:
        try:
            label = (row["label"] or "").strip()
            if not label:
                raise DataError("the label is empty")
            labels[label] = None
            corners = [(row[column] or "").strip() for column in COLUMNS[2:]]
            if not any(corners):
                continue
            if size is None:
                stated = (row.get("height") or "").strip(), (row.get("width") or "").strip()
                size = (int(stated[0]), int(stated[1])) if all(stated) else picture_size(image)
            difficult = (row.get("difficult") or "").strip().lower() in ("1", "true", "yes")
            boxes.append(box_in(corners, label, size, difficult=difficult))
        except ValueError as error:  # DataError is one
            raise DataError(f"line {line}: {error}") from error
    return Record(name, image, tuple(labels), tuple(boxes))


FORMAT = Format(
    "csv", f"annotations.csv with the columns {','.join(COLUMNS)}", detect, read, takes=("images",)
)
