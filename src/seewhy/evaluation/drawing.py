"""Maps over pictures, as an evaluation's page shows them."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
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
    maps: dict[tuple[str, str, str], str | None] = {}
    for one in shown:
        record, label = records[one["record"]], one["label"]
        index = status[record.id]["labels"][label]["class"]
        key = (one["method"], record.id, label)
        if key not in maps:
            made = _explained(session, one["method"], record, [index], label)
            maps[key] = made[0] if made else None
        if maps[key] is None:
            continue
        explained = class_name(index, session.examined.labels)
        entry = {**one, "explained": explained, "picture": maps[key]}
        before = [(old["metric"], old["record"], old["label"]) for old in found]
        if (one["metric"], record.id, label) not in before:
            prepared = session.explainer.prepare(str(record.image))
            entry["plain"] = _as_jpeg(_with_boxes(prepared, record.boxes_of(label)))
        found.append(entry)
    return found


def drawn_wrong(
    session: Session, wrong: Sequence[Wrong], records: Mapping[str, Record], method: str
) -> dict[str, dict[str, str]]:
    """By record: the maps of the class that was predicted, and of the one that is true."""
    found = {}
    for one in wrong:
        indices = [one.predicted, one.true]
        pictures = _explained(session, method, records[one.record], indices, one.label)
        if pictures is not None:
            found[one.record] = dict(zip(("predicted", "true"), pictures, strict=True))
    return found


def _explained(
    session: Session, method: str, record: Record, indices: Sequence[int], label: str
) -> list[str] | None:
    """A picture with the map of each class, and the label's boxes; None if it cannot be read."""
    examined = session.examined
    entry = next(one for one in session.entries if one.name == method)
    try:
        prepared = session.explainer.prepare(str(record.image))
    except SeewhyError:
        return None  # it was there when it was measured
    images = prepared.tensor[None]
    scores = examined.read(images)
    targets = [examined.target_of([index], scores) for index in indices]
    maps, _ = examined.explain_several(entry.method, images, [tuple(targets)], entry.options)
    return [draw(prepared, one, record.boxes_of(label)) for one in maps[0]]


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
