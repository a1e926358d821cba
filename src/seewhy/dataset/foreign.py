"""Formats that are known but not read, named with what to do about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seewhy.dataset.files import Shelf
from seewhy.errors import DataError

_AS_COCO = "convert it to COCO's JSON"
_BY_ENDING = {
    ".tfrecord": "TFRecords of TensorFlow",
    ".tfrecords": "TFRecords of TensorFlow",
    ".parquet": "Parquet tables",
    ".arrow": "Arrow tables (Hugging Face's save_to_disk)",
    ".tar": "an archive (WebDataset)",
    ".zip": "an archive",
    ".mat": "MATLAB's",
}
_BY_NAME = {
    "samples.json": ("FiftyOne's own export", "export fiftyone.types.COCODetectionDataset"),
    "metadata.jsonl": ("Hugging Face's imagefolder", _AS_COCO),
    "metadata.csv": ("Hugging Face's imagefolder", _AS_COCO),
}


def name_foreign(path: Path, shelf: Shelf) -> str | None:
    """What a folder or file is, and the next step; None where it is nothing that is known."""
    folder, names = (path, shelf.files(path)) if path.is_dir() else (path.parent, {path.name})
    for name in sorted(names):
        if name in _BY_NAME:
            what, step = _BY_NAME[name]
            return f"'{name}' is {what}: {step}"
        ending = Path(name).suffix.lower()
        if ending in _BY_ENDING:
            step = "unpack it" if "archive" in _BY_ENDING[ending] else _AS_COCO
            return f"'{name}' is {_BY_ENDING[ending]}: {step}"
    jsons = [name for name in sorted(names) if name.lower().endswith(".json")]
    # One that is called as a picture says what all are, and so does labels.json.
    for name in [n for n in jsons if n == "labels.json" or _beside_picture(folder, n, shelf)][:2]:
        if said := _json(folder / name, shelf):
            return f"'{name}' is {said}"
    return None


def _beside_picture(folder: Path, name: str, shelf: Shelf) -> bool:
    return bool(shelf.pictures_called(folder, Path(name).stem))


def _json(path: Path, shelf: Shelf) -> str | None:
    try:
        content: Any = shelf.json(path)
    except DataError:
        return None
    if isinstance(content, dict) and "shapes" in content:
        return f"LabelMe's, about one picture: {_AS_COCO}"
    if isinstance(content, dict) and {"classes", "labels"} <= set(content):
        return "FiftyOne's own export: export fiftyone.types.COCODetectionDataset"
    return None
