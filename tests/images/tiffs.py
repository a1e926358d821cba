"""TIFFs and PNGs put together by hand, from their specifications: Pillow's reader is on trial."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence

import numpy as np


def tiff(
    planes: Sequence[np.ndarray],
    *,
    bits: int = 16,
    photometric: int = 1,
    order: str = "<",
    deflated: bool = False,
    rows_a_strip: int | None = None,
    tags: Mapping[int, Sequence[int]] | None = None,
) -> bytes:
    """A TIFF of one plane, or of several stored one after the other (PlanarConfiguration 2)."""
    height, width = planes[0].shape
    rows = rows_a_strip or height
    strips = [packed(plane[y : y + rows], bits, order) for plane in planes
              for y in range(0, height, rows)]  # fmt: skip
    if deflated:
        strips = [zlib.compress(strip) for strip in strips]
    fields: dict[int, Sequence[int]] = {
        256: [width], 257: [height], 258: [bits] * len(planes), 259: [8 if deflated else 1],
        262: [photometric], 273: [0] * len(strips), 277: [len(planes)], 278: [rows],
        279: [len(strip) for strip in strips], **({284: [2]} if len(planes) > 1 else {}),
        **(tags or {}),
    }  # fmt: skip
    start = 8 + 2 + 12 * len(fields) + 4
    after = start + sum(4 * len(values) for values in fields.values() if len(values) > 1)
    places = []
    for strip in strips:
        places.append(after)
        after += len(strip)
    fields[273] = places
    directory, arrays = struct.pack(f"{order}H", len(fields)), b""
    for number, values in sorted(fields.items()):
        directory += struct.pack(f"{order}HHI", number, 4, len(values))
        if len(values) > 1:
            directory += struct.pack(f"{order}I", start + len(arrays))
            arrays += struct.pack(f"{order}{len(values)}I", *values)
        else:
            directory += struct.pack(f"{order}I", values[0])
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    return header + directory + b"\0" * 4 + arrays + b"".join(strips)


def packed(rows: np.ndarray, bits: int, order: str) -> bytes:
    """Rows as they are stored: 12 bits packed from the high end, each row from a new byte on."""
    if bits in (8, 16, 32, 64):
        kind = "f" if rows.dtype.kind == "f" else "i" if rows.dtype.kind == "i" else "u"
        return rows.astype(f"{order}{kind}{bits // 8}").tobytes()
    stored = b""
    for row in rows:
        ones = "".join(f"{value:0{bits}b}" for value in row)
        ones += "0" * (-len(ones) % 8)
        stored += bytes(int(ones[i : i + 8], 2) for i in range(0, len(ones), 8))
    return stored


def png(
    width: int, height: int, depth: int, colour: int, rows: Sequence[bytes], key: bytes | None
) -> bytes:
    """A PNG without filters; `key` is what its tRNS chunk holds."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    clear = b"" if key is None else chunk(b"tRNS", key)
    opening = b"\x89PNG\r\n\x1a\n"
    return opening + chunk(b"IHDR", header) + clear + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
