"""What a record says and shows, as one short text that changes when either does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from seewhy.dataset.records import IndexMasks, Record
from seewhy.errors import DataError


def fingerprint(record: Record) -> str:
    """32 hexadecimal digits of a record's annotation and of its picture's content.

    Labels, boxes and masks count, with every byte of the picture and of a mask's file; the record's
    id and where the files lie do not. Equal fingerprints therefore mean equal results of whatever
    is computed from the record, and a corrected label, box, mask or picture changes it.

    Raises:
        DataError: a file cannot be read.
    """
    said = {
        "labels": record.labels,
        "boxes": [[*box.as_tuple(), box.label, box.difficult] for box in record.boxes],
        "masks": _plain(record.masks),
        "picture": _content(record.image),
    }
    text = json.dumps(said, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode("ascii"), digest_size=16).hexdigest()


def _plain(value: Any) -> Any:
    """Masks as JSON has them: what they are drawn from, and a file's content for its path."""
    if isinstance(value, IndexMasks):
        return ["IndexMasks", _content(value.path), _plain(value.values), list(value.void)]
    if is_dataclass(value) and not isinstance(value, type):
        own = [_plain(getattr(value, field.name)) for field in fields(value)]
        return [type(value).__name__, *own]
    if isinstance(value, Mapping):
        return [[str(key), _plain(one)] for key, one in value.items()]
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _content(path: Path) -> str:
    try:
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except OSError as error:
        raise DataError(f"'{path}' cannot be read ({error.strerror or error})") from error
