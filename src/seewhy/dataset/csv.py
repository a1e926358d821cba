"""Classes and boxes in a CSV, a row a box: `annotations.csv`.

The columns are `image,label,x0,y0,x1,y1`, with `width` and `height` (of the picture) and
`difficult` where they are known. The four corners may be empty: a label without a box. A picture
may have several rows. Boxes are in pixels of the stored picture, x1 and y1 exclusive. Commas,
semicolons or tabs divide the columns; the text is UTF-8, or UTF-16 with its mark.
"""

from __future__ import annotations

import codecs
import csv
import functools
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seewhy.dataset.files import Shelf, find_file
from seewhy.dataset.formats import Format, Found
from seewhy.dataset.frames import Frames
from seewhy.dataset.records import Box, Dataset, Problem, Record, gather
from seewhy.errors import DataError

COLUMNS = ("image", "label", "x0", "y0", "x1", "y1")
_FILES = ("annotations.csv", "_annotations.csv")
_DELIMITERS = (",", ";", "\t")
_DECIMAL_COMMA = re.compile(r"-?\d+,\d+")
_CALLED_ELSEWHERE = (
    ("filename", "image"), ("file_name", "image"), ("imageid", "image"), ("class", "label"),
    ("labelname", "label"), ("xmin", "x0"), ("ymin", "y0"), ("xmax", "x1"), ("ymax", "y1"),
)  # fmt: skip
_Row = tuple[int, Mapping[Any, Any]]  # its line's number, and the cells by column


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
    rows, problems = _rows(path)
    places = [images] if images else [path.parent / "images", path.parent]
    frames = Frames()
    drafts = [
        (name, functools.partial(_record, name, lines, places, shelf, frames))
        for name, lines in rows.items()
    ]
    return frames.gathered(lambda: gather(path.stem, "csv", drafts, problems=problems))


def _rows(path: Path) -> tuple[dict[str, list[_Row]], list[Problem]]:
    """The rows of each picture with their lines' numbers, and those that name none."""
    rows: dict[str, list[_Row]] = {}
    problems = []
    text = _text(path)
    header = re.split(r"[\r\n]", text, maxsplit=1)[0]
    # The sign that divides the first line into the columns wanted divides the others too.
    delimiter = max(_DELIMITERS, key=lambda sign: len(set(COLUMNS) & set(_cells(header, sign))))
    missing = [column for column in COLUMNS if column not in _cells(header, delimiter)]
    if missing:
        columns = _cells(header, max(_DELIMITERS, key=header.count))
        raise DataError(_without_columns(path, columns, missing))
    try:
        reader = csv.DictReader(
            io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True
        )
        reader.fieldnames = _cells(header, delimiter)
        next(reader.reader)
        for row in reader:
            if name := (row["image"] or "").strip():
                rows.setdefault(name, []).append((reader.line_num, row))
            else:
                problems.append(Problem(f"line {reader.line_num}", "names no picture"))
    except csv.Error as error:
        raise DataError(f"'{path}' cannot be read as CSV ({error}).") from error
    return rows, problems


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
        wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return content.decode("utf-16" if wide else "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"'{path}' cannot be read as CSV ({error}). Save it as UTF-8, separated by commas."
        ) from error


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        cells = next(
            csv.reader([line.strip("\r\n")], delimiter=delimiter, skipinitialspace=True), []
        )
    except csv.Error:
        return []
    return [cell.strip() for cell in cells]


def _without_columns(path: Path, columns: Sequence[str], missing: Sequence[str]) -> str:
    said = (
        f"'{path}' has the columns {', '.join(columns) or 'none'}; {', '.join(missing)} is "
        f"missing: the first line names {', '.join(COLUMNS)}."
    )
    known = {name.casefold(): name for name in columns}
    renamed = [f"{known[old]} to {new}" for old, new in _CALLED_ELSEWHERE if old in known]
    if not renamed:
        return said
    return (
        f"{said} Rename {', '.join(renamed)}; the corners are in pixels that count from 0, x1 and "
        "y1 are the first no longer inside."
    )


def _record(
    name: str,
    lines: Sequence[_Row],
    places: Sequence[Path],
    shelf: Shelf,
    frames: Frames,
) -> Record:
    image = find_file(name, places, shelf)
    labels: dict[str, None] = {}
    boxes: list[Box] = []
    for line, row in lines:
        try:
            label = (row["label"] or "").strip()
            if not label:
                raise DataError("the label is empty")
            if any(cell.strip() for cell in row.get(None) or ()):
                raise DataError(
                    "it has more values than there are columns; quote those with commas"
                )
            labels[label] = None
            corners = [(row[column] or "").strip() for column in COLUMNS[2:]]
            if not any(corners):
                continue
            if any(_DECIMAL_COMMA.fullmatch(corner) for corner in corners):
                raise DataError(f"the box {corners} has decimal commas; write decimal points")
            frame = frames.of(image, _stated_size(row))
            difficult = (row.get("difficult") or "").strip().lower() in ("1", "true", "yes")
            boxes.append(frame.box(corners, label, difficult=difficult))
        except DataError as error:
            raise DataError(f"line {line}: {error}") from error
    return Record(name, image, tuple(labels), tuple(boxes))


def _stated_size(row: Mapping[Any, Any]) -> tuple[int, int] | None:
    """(height, width) as a row has it, if it does."""
    stated = (row.get("height") or "").strip(), (row.get("width") or "").strip()
    if not all(stated):
        return None
    try:
        return int(float(stated[0])), int(float(stated[1]))
    except (OverflowError, ValueError):
        raise DataError(
            f"width and height are {stated[1]!r} and {stated[0]!r}, which are not numbers"
        ) from None


FORMAT = Format(
    "csv", f"annotations.csv with the columns {','.join(COLUMNS)}", detect, read, takes=("images",)
)
