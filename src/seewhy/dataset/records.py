"""A data set as records: what each picture shows, and where."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import PIL.Image

from seewhy.boxes import Box as Box  # what the formats read into
from seewhy.errors import DataError
from seewhy.one_line import one_line

SLACK = 1.0
"""How far, in pixels, a box may stick out of its picture before it counts as wrong: annotators
round. It is cut at the picture's edge."""


_SHARES = (
    "a box is smaller than the first pixel of the picture, so its numbers seem "
    "to be shares of the sides, from 0 to 1. Multiply them by the width and "
    "the height to get pixels"
)


class Masks(Protocol):
    """A picture's masks, not yet read."""

    def of(self, label: str) -> np.ndarray | None:
        """(H, W) bool, True on the label's objects; None where nothing is known of the label."""

    def ignored(self) -> np.ndarray | None:
        """(H, W) bool, True on pixels that count for no class; None where there is no such word."""


@dataclass(frozen=True)
class IndexMasks:
    """Masks in one picture file whose pixel values say what is there.

    Attributes:
        path: a file with one integer a pixel (palette, grey or 16 bit).
        values: which pixel values belong to a label: one for masks by class, several for masks by
            object.
        void: the values of pixels that count for no class (VOC's 255).
    """

    path: Path
    values: Mapping[str, tuple[int, ...]]
    void: tuple[int, ...] = (255,)

    def of(self, label: str) -> np.ndarray | None:
        """See `Masks`.

        Raises:
            DataError: the file is damaged, or no pixel has a value of the label.
        """
        if label not in self.values:
            return None
        indices = self._indices()
        mask = np.isin(indices, self.values[label])
        if not mask.any():
            wanted, there = self.values[label], np.unique(indices).tolist()
            raise DataError(
                f"the mask '{self.path}' has no pixel of '{label}', whose value is "
                f"{', '.join(map(str, wanted))}; its values are "
                f"{', '.join(map(str, there[:12]))}{', ...' if len(there) > 12 else ''}"
            )
        return mask

    def ignored(self) -> np.ndarray | None:
        """See `Masks`."""
        return np.isin(self._indices(), self.void) if self.void else None

    def found(self) -> tuple[int, ...]:
        """The pixel values that occur."""
        return tuple(np.unique(self._indices()).tolist())

    def size(self) -> tuple[int, int]:
        """(height, width) of the masks."""
        height, width = self._indices().shape
        return height, width

    def _indices(self) -> np.ndarray:
        try:
            with PIL.Image.open(self.path) as opened:
                indices = np.asarray(opened)
                mode = opened.mode
        except Exception as error:  # Pillow's decoders raise as variously as files are damaged
            raise DataError(
                f"the mask '{self.path}' cannot be read ({error or type(error).__name__}). "
                "Copy or download it again."
            ) from error
        if indices.ndim != 2 or mode == "F":
            raise DataError(
                f"the mask '{self.path}' has mode {mode}, but a mask needs one integer per "
                "pixel. Save it with a palette (P) or in grey (L)."
            )
        return indices


@dataclass(frozen=True)
class Record:
    """One picture and what is known of it.

    Attributes:
        id: unique in its data set, and the same in every run.
        image: the picture's file, not opened yet.
        labels: the data's own names of what is shown, each once.
        boxes: of the objects, in pixels of the picture as stored in `image`.
        masks: where the masks are; `mask` reads them.
    """

    id: str
    image: Path
    labels: tuple[str, ...]
    boxes: tuple[Box, ...] = ()
    masks: Masks | None = None

    def mask(self, label: str) -> np.ndarray | None:
        """(H, W) bool, True on the label's objects; None where the data has no mask of it.

        Raises:
            DataError: the mask's file is damaged.
        """
        if self.masks is None or label not in self.labels:
            return None
        return self.masks.of(label)

    def ignored(self) -> np.ndarray | None:
        """(H, W) bool, True on pixels that count for no class, such as VOC's borders."""
        return None if self.masks is None else self.masks.ignored()

    def boxes_of(self, label: str) -> tuple[Box, ...]:
        """The boxes of one label."""
        return tuple(box for box in self.boxes if box.label == label)


@dataclass(frozen=True)
class Problem:
    """Why a part of the data is not among the records.

    Attributes:
        name: the record's, as the data calls it.
        reason: in words.
    """

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


@dataclass(frozen=True)
class Dataset:
    """Annotated pictures in an order that is always the same.

    Attributes:
        name: of the folder or file.
        kind: which layout it had, one of `FORMATS`.
        records: one a picture.
        labels: those that occur in the records, sorted.
        problems: what was left out, and why.
        imagenet_ids: what the data itself says about a label's ImageNet classes (0 to 999).
        notes: what was assumed where the data does not say, in sentences.
    """

    name: str
    kind: str
    records: tuple[Record, ...]
    labels: tuple[str, ...]
    problems: tuple[Problem, ...] = ()
    imagenet_ids: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        counts = f"{len(self.records)} records, {len(self.labels)} labels"
        problems = f", {len(self.problems)} problems" if self.problems else ""
        return one_line(f"<Dataset {self.name} ({self.kind}): {counts}{problems}>")

    def only(self, labels: Sequence[str]) -> Dataset:
        """The records that show one of the labels, without a word of any other label.

        Raises:
            DataError: a label does not occur.
        """
        strange = [label for label in labels if label not in self.labels]
        if strange:
            raise DataError(
                f"'{self.name}' has no label {', '.join(map(repr, strange))}; "
                f"it has {named(self.labels)}."
            )
        wanted = set(labels)
        records = tuple(
            dataclasses.replace(
                record,
                labels=tuple(label for label in record.labels if label in wanted),
                boxes=tuple(box for box in record.boxes if box.label in wanted),
            )
            for record in self.records
            if wanted & set(record.labels)
        )
        return dataclasses.replace(
            self, records=records, labels=tuple(each for each in self.labels if each in wanted)
        )


def gather(
    name: str,
    kind: str,
    drafts: Iterable[tuple[str, Callable[[], Record]]],
    *,
    problems: Iterable[Problem] = (),
    imagenet_ids: Mapping[str, tuple[int, ...]] | None = None,
) -> Dataset:
    """Makes every record; what fails becomes a problem of that name.

    Raises:
        DataError: not one record could be made.
    """
    records: dict[str, Record] = {}
    left_out = list(problems)
    for called, make in drafts:
        try:
            record = make()
        except DataError as error:
            left_out.append(Problem(called, str(error)))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            # Files written by hand hold a list for a number, a text for a list, and so on.
            left_out.append(Problem(called, f"is not laid out as expected ({error!r})"))
        else:
            record = dataclasses.replace(record, id=printable(record.id))
            if record.id in records:
                left_out.append(Problem(called, f"a second record called '{record.id}'"))
            else:
                records[record.id] = record
    left_out += [Problem(id_, _SHARES) for id_ in _with_shares(records.values())]
    for problem in left_out:
        if problem.reason == _SHARES:
            del records[problem.name]
    left_out = [Problem(printable(one.name), printable(one.reason)) for one in left_out]
    if not records:
        why = f"; the first of {len(left_out)} problems: {left_out[0]}" if left_out else ""
        raise DataError(f"'{name}' contains no record that can be used as {kind}{why}")
    labels = {label for record in records.values() for label in record.labels}
    return Dataset(
        name=name,
        kind=kind,
        records=tuple(records.values()),
        labels=tuple(sorted(labels, key=in_reading_order)),
        problems=tuple(left_out),
        imagenet_ids=dict(imagenet_ids or {}),
    )


def _with_shares(records: Iterable[Record]) -> list[str]:
    """The records with boxes that are shares of the picture's sides, taken for pixels.

    A box within the first pixel is one if it has fractions, or if another one of the data set is;
    and all are, where each of several is that pixel.
    """
    boxes = [(record.id, box.as_tuple()) for record in records for box in record.boxes]
    tiny = [(id_, edges) for id_, edges in boxes if max(edges) <= 1]
    fractions = any(edge != int(edge) for _, edges in tiny for edge in edges)
    if not fractions and not 1 < len(tiny) == len(boxes):
        return []
    return list(dict.fromkeys(id_ for id_, _ in tiny))


def printable(text: str) -> str:
    r"""Text that every file and terminal takes: bytes of a name that are not UTF-8 as `\xe9`."""
    if text.isascii():
        return text
    try:  # two surrogates, as JSON in ASCII writes an emoji, are a character
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        pass
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half of a pair
        return text.encode("utf-8", "backslashreplace").decode("utf-8")


def box_in(
    corners: Sequence[Any], label: str, size: tuple[int, int], *, difficult: bool = False
) -> Box:
    """A box cut at the edges of its picture of `size` (height, width).

    Raises:
        DataError: it is no box, has no area, or lies more than `SLACK` outside of the picture.
    """
    if len(corners) != 4:
        raise DataError(f"a box needs the 4 numbers x0, y0, x1, y1, not {len(corners)}")
    try:
        x0, y0, x1, y1 = (float(each) for each in corners)
    except (TypeError, ValueError):
        raise DataError(f"the box {list(corners)} does not consist of numbers") from None
    height, width = size
    inside = min(x0, y0) >= -SLACK and x1 <= width + SLACK and y1 <= height + SLACK
    cut = max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))
    if inside and cut[0] < cut[2] and cut[1] < cut[3]:
        return Box(*cut, label, difficult)
    shown = f"the box {x0:g}, {y0:g}, {x1:g}, {y1:g} of '{label}'"
    if not all(math.isfinite(each) for each in (x0, y0, x1, y1)):
        raise DataError(f"{shown} is not finite")
    if x1 <= x0 or y1 <= y0:
        raise DataError(f"{shown} has no area")
    raise DataError(f"{shown} lies outside of its picture of {width} × {height} pixels")


def in_reading_order(text: str) -> list[tuple[int, int, str]]:
    """Sorts `img2` before `img10`."""
    return [
        (0, int(part), "") if part.isdecimal() else (1, 0, part)
        for part in re.split(r"(\d+)", text)
        if part
    ]


def named(labels: Sequence[str], *, most: int = 8) -> str:
    """Labels for a message: the first few, and how many more there are."""
    more = f" and {len(labels) - most} more" if len(labels) > most else ""
    return ", ".join(repr(label) for label in labels[:most]) + more
