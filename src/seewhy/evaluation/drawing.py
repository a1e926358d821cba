"""Maps over pictures, as an evaluation's page shows them."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from PIL import Image
from torch import Tensor

from seewhy.boxes import Box
from seewhy.dataset import Record
from seewhy.errors import SeewhyError
from seewhy.evaluation.decisions import Wrong, class_name
from seewhy.evaluation.session import Session
from seewhy.explainer import Prepared
from seewhy.images import place

_LARGEST = 320  # pixels of a drawn picture's longer side


def drawn(
    session: Session,
    shown: Sequence[Mapping[str, Any]],
    records: Mapping[str, Record],
    status: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """The pictures that are to be shown, explained once more and drawn.

    The first entry of each picture has it also without a map (`plain`).
    """
    found: list[dict[str, Any]] = []
    maps: dict[tuple[str, str, str], str] = {}
    for (_, id_, label), entries in groupby(shown, itemgetter("metric", "record", "label")):
        record = records[id_]
        prepared = _prepared(session, record)
        if prepared is None:
            continue
        boxes = record.boxes_of(label)
        index = status[id_]["labels"][label]["class"]
        about: dict[str, Any] = {"explained": class_name(index, session.examined.labels)}
        about["plain"] = _as_jpeg(_with_boxes(prepared, boxes))
        for one in entries:
            key = (one["method"], id_, label)
            if key not in maps:
                (maps[key],) = _explained(session, one["method"], prepared, [index], boxes)
            found.append({**one, **about, "picture": maps[key]})
            about.pop("plain", None)
    return found


def drawn_wrong(
    session: Session, wrong: Sequence[Wrong], records: Mapping[str, Record], method: str
) -> dict[str, dict[str, str]]:
    """By record: the maps of the class that was predicted, and of the one that is true."""
    found = {}
    for one in wrong:
        record = records[one.record]
        prepared = _prepared(session, record)
        if prepared is not None:
            indices, boxes = [one.predicted, one.true], record.boxes_of(one.label)
            pictures = _explained(session, method, prepared, indices, boxes)
            found[one.record] = dict(zip(("predicted", "true"), pictures, strict=True))
    return found


def _prepared(session: Session, record: Record) -> Prepared | None:
    """The picture; None if it cannot be read, though it could when it was measured."""
    try:
        return session.explainer.prepare(str(record.image))
    except SeewhyError:
        return None


def _explained(
    session: Session, method: str, prepared: Prepared, indices: Sequence[int], boxes: Sequence[Box]
) -> list[str]:
    """A picture with the map of each class, and the boxes."""
    examined = session.examined
    entry = next(one for one in session.entries if one.name == method)
    images = prepared.tensor[None]
    scores = examined.read(images)
    targets = [examined.target_of([index], scores) for index in indices]
    maps, _ = examined.explain_several(entry.method, images, [tuple(targets)], entry.options)
    return [draw(prepared, one, boxes) for one in maps[0]]


def draw(prepared: Prepared, map_: Tensor, boxes: Sequence[Box]) -> str:
    """The map over the picture with the true boxes, as a small JPEG in a data URI."""
    from seewhy.render.colormap import color_range, has_negative
    from seewhy.render.overlay import overlay

    raw = map_.float().cpu().numpy()
    heatmap = place(raw, prepared.window, prepared.picture.shape[:2])
    limits = color_range([raw], signed=has_negative(raw))
    outlines = [Box(round(b.x0), round(b.y0), round(b.x1), round(b.y1)) for b in boxes]
    return _as_jpeg(
        overlay(prepared.picture, heatmap, prepared.window, limits=limits, boxes=outlines)
    )


def _with_boxes(prepared: Prepared, boxes: Sequence[Box]) -> Image.Image:
    from seewhy.render.overlay import outline

    picture = prepared.picture.copy()
    for box in boxes:
        outline(picture, (box.x0, box.y0, box.x1, box.y1))
    return Image.fromarray(picture)


def _as_jpeg(picture: Image.Image) -> str:
    """A small one, in a data URI."""
    picture.thumbnail((_LARGEST, _LARGEST))
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
