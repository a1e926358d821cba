"""Maps over pictures, as an evaluation's page shows them."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from seewhy.boxes import Box
from seewhy.dataset import Record
from seewhy.errors import SeewhyError
from seewhy.evaluation.session import Session
from seewhy.explainer import Prepared
from seewhy.images import place
from seewhy.targets import resolve

_LARGEST = 280  # pixels of a drawn picture's longer side


def drawn(
    session: Session,
    extremes: Sequence[Mapping[str, Any]],
    records: Mapping[str, Record],
    status: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """The best and the worst of each method, explained once more and drawn."""
    examined = session.examined
    found = []
    by_name = {entry.name: entry for entry in session.entries}
    for extreme in extremes:
        record, label = records[extreme["record"]], extreme["label"]
        try:
            prepared = session.explainer.prepare(str(record.image))
        except SeewhyError:
            continue  # it was there when it was measured
        logits = examined.logits(prepared.tensor[None])
        index = status[record.id]["labels"][label]["class"]
        target = resolve([index], logits, examined.labels).targets[0][0]
        entry = by_name[extreme["method"]]
        maps, _ = examined.explain(entry.method, prepared.tensor[None], [target], entry.options)
        found.append({**extreme, "picture": draw(prepared, maps[0], record.boxes_of(label))})
    return found


def draw(prepared: Prepared, map_: Tensor, boxes: Sequence[Box]) -> str:
    """The map over the picture with the true boxes, as a small JPEG in a data URI."""
    from seewhy.render.colormap import color_range, has_negative
    from seewhy.render.overlay import overlay

    raw = map_.float().cpu().numpy()
    heatmap = place(raw, prepared.window, prepared.picture.shape[:2])
    limits = color_range([raw], signed=has_negative(raw))
    outlines = [Box(round(b.x0), round(b.y0), round(b.x1), round(b.y1)) for b in boxes]
    picture = overlay(prepared.picture, heatmap, prepared.window, limits=limits, boxes=outlines)
    picture.thumbnail((_LARGEST, _LARGEST))
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
