"""What a TIFF says of its samples, and those that Pillow reads otherwise than it says.

Pillow leaves 16-bit values as they are where 0 is white, takes the bytes of 16-bit planes for 8-bit
ones, and does not stretch 12 bits. Such a picture is read plane by plane: each, written with the
tags of a plain grey TIFF, is one that Pillow reads rightly.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import PIL.Image
from PIL import TiffImagePlugin

from seewhy.errors import ImageError

OPENINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

# Tags of the TIFF 6.0 specification, and DNG's.
_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_FILL_ORDER, _STRIPS, _ORIENTATION, _SAMPLES, _ROWS, _STRIP_BYTES = 266, 273, 274, 277, 278, 279
_PLANAR, _PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES = 284, 317, 322, 323, 324, 325
_SUB_IFDS, _EXTRA, _FORMAT, _PROFILE, _DNG_VERSION = 330, 338, 339, 34675, 50706

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_PHOTOMETRICS = {
    0: "grey, 0 is white", 1: "grey", 2: "RGB", 3: "a palette", 4: "a mask", 5: "ink (CMYK)",
    6: "YCbCr", 8: "CIE L*a*b*", 9: "ICC L*a*b*", 10: "ITU L*a*b*", 32803: "a sensor's filters",
    34892: "linear raw",
}  # fmt: skip
_FORMATS = {1: "unsigned integers", 2: "signed integers", 3: "floats", 4: "undefined values"}
_COMPRESSIONS = {
    1: "none", 2: "CCITT", 3: "fax 3", 4: "fax 4", 5: "LZW", 6: "old JPEG", 7: "JPEG",
    8: "deflate", 32773: "PackBits", 32946: "deflate", 33003: "JPEG 2000", 33005: "JPEG 2000",
    34661: "JBIG", 34712: "JPEG 2000", 34887: "LERC", 34925: "LZMA", 50000: "Zstandard",
    50001: "WebP", 50002: "JPEG XL",
}  # fmt: skip
_LARGEST = 1 << 30  # bytes of one plane


@dataclass(frozen=True)
class Layout:
    """How the samples of a TIFF's page are stored.

    Attributes:
        tags: Of the page, by number.
        big_endian: The order of bytes within a sample.
    """

    tags: Mapping[int, Any]
    big_endian: bool

    @property
    def bits(self) -> int:
        """Of each sample; 0 where they differ."""
        bits = set(_values(self.tags.get(_BITS, 1)))
        return int(bits.pop()) if len(bits) == 1 else 0

    @property
    def samples(self) -> int:
        """Of each pixel."""
        return int(self.tags.get(_SAMPLES, 1))

    @property
    def photometric(self) -> int:
        """What the samples mean."""
        return int(self.tags.get(_PHOTOMETRIC, -1))

    @property
    def sample_format(self) -> int:
        """1: unsigned, 2: signed, 3: float."""
        return int(_values(self.tags.get(_FORMAT, 1))[0])

    @property
    def is_planar(self) -> bool:
        """Whether each channel is stored by itself."""
        return self.samples > 1 and self.tags.get(_PLANAR) == 2

    @property
    def is_preview(self) -> bool:
        """Whether the page only stands for a camera's raw values, or for a larger picture."""
        reduced = int(self.tags.get(_SUBFILE, 0)) & 1 and _SUB_IFDS in self.tags
        return _DNG_VERSION in self.tags or bool(reduced)

    @property
    def is_misread(self) -> bool:
        """Whether `page` reads it and Pillow does not, or otherwise than it says."""
        if self.sample_format != 1 or self.bits not in (12, 16):
            return False
        if self.samples == 1:
            inverted = self.photometric == _WHITE_IS_ZERO
            return inverted or (self.photometric == _BLACK_IS_ZERO and self.bits == 12)
        return self.is_planar and self.photometric == _RGB and self.samples in (3, 4)

    def describe(self) -> str:
        """The layout in words."""
        bits = f"{self.bits}" if self.bits else "/".join(map(str, _values(self.tags.get(_BITS))))
        form = _FORMATS.get(self.sample_format, "values of an unknown format")
        meaning = _PHOTOMETRICS.get(self.photometric, f"photometric {self.photometric}")
        compression = self.tags.get(_COMPRESSION, 1)
        return (
            f"a TIFF of {self.samples} channel{'s' if self.samples > 1 else ''} of {bits}-bit "
            f"{form} ({meaning}{', each channel by itself' if self.is_planar else ''}; compression "
            f"{_COMPRESSIONS.get(compression, compression)})"
        )


def layout_of(file: BinaryIO) -> Layout | None:
    """The layout of a file's first page; None for a file whose tags cannot be read."""
    file.seek(0)
    try:
        header = file.read(8)
        if header[2:3] == b"+" or header[3:4] == b"+":
            header += file.read(8)
        tags = TiffImagePlugin.ImageFileDirectory_v2(header)
        file.seek(tags.next)
        tags.load(file)
        return Layout(dict(tags), header.startswith(b"MM"))
    except Exception:  # damaged tags raise as variously as damaged pixels; Pillow will say so
        return None
    finally:
        file.seek(0)


def layout_in(image: PIL.Image.Image) -> Layout | None:
    """The layout of the page at which a TIFF stands that Pillow has opened; None for others."""
    tags = getattr(image, "tag_v2", None)
    if image.format != "TIFF" or tags is None:
        return None
    return Layout(dict(tags), getattr(tags, "prefix", b"II").startswith(b"MM"))


def page(layout: Layout, file: BinaryIO) -> PIL.Image.Image:
    """The page of a misread layout with 8 bits a channel, not turned upright yet."""
    planes = [_plane(layout, file, index) for index in range(layout.samples)]
    if layout.samples == 1:
        grey = 255 - planes[0] if layout.photometric == _WHITE_IS_ZERO else planes[0]
        image = PIL.Image.fromarray(grey)
    else:
        extra = _values(layout.tags.get(_EXTRA, 2))[0] if layout.samples == 4 else 0
        mode = {1: "RGBa", 2: "RGBA"}.get(int(extra), "RGB")
        bands = planes[: len(mode)]
        image = PIL.Image.merge(mode, [PIL.Image.fromarray(band) for band in bands])
        image = image.convert("RGBA") if mode == "RGBa" else image
    if layout.tags.get(_PROFILE):
        image.info["icc_profile"] = layout.tags[_PROFILE]
    if _ORIENTATION in layout.tags:
        image.getexif()[_ORIENTATION] = layout.tags[_ORIENTATION]
    return image


def _plane(layout: Layout, file: BinaryIO, index: int) -> np.ndarray:
    """One plane of 12 or 16 bits, uint8 (height, width): its high byte."""
    tags = layout.tags
    tiled = _TILES in tags
    offsets = _values(tags[_TILES if tiled else _STRIPS])
    sizes = _values(tags[_TILE_BYTES if tiled else _STRIP_BYTES])
    each = len(offsets) // layout.samples
    part = slice(index * each, (index + 1) * each)
    if sum(sizes[part]) > _LARGEST:
        raise ImageError(f"its planes have {sum(sizes[part])} bytes")
    pieces = []
    for offset, size in zip(offsets[part], sizes[part], strict=True):
        file.seek(offset)
        pieces.append(file.read(size))
        if len(pieces[-1]) < size:
            raise OSError("the file ends within its pixels")
    big = layout.big_endian and layout.bits == 16  # 12 bits are packed alike in both orders
    with PIL.Image.open(io.BytesIO(_grey_tiff(layout, pieces, big))) as opened:
        values = np.asarray(opened)
    return (values >> (layout.bits - 8)).astype(np.uint8)


def _grey_tiff(layout: Layout, pieces: Sequence[bytes], big: bool) -> bytes:
    """A grey TIFF, where 0 is black, of pieces that are stored as the layout's are."""
    tags = layout.tags
    fields: dict[int, list[int]] = {
        number: [int(tags[number])]
        for number in (
            _WIDTH, _HEIGHT, _COMPRESSION, _FILL_ORDER, _ROWS, _PREDICTOR, _TILE_WIDTH,
            _TILE_HEIGHT,
        )
        if number in tags
    }  # fmt: skip
    tiled = _TILES in tags
    fields |= {_BITS: [layout.bits], _PHOTOMETRIC: [_BLACK_IS_ZERO], _SAMPLES: [1]}
    fields[_TILE_BYTES if tiled else _STRIP_BYTES] = [len(piece) for piece in pieces]
    places = fields[_TILES if tiled else _STRIPS] = [0] * len(pieces)
    order = ">" if big else "<"
    start = 8 + 2 + 12 * len(fields) + 4
    after = start + sum(4 * len(values) for values in fields.values() if len(values) > 1)
    for index, piece in enumerate(pieces):
        places[index] = after
        after += len(piece)
    entries, arrays = b"", b""
    for number, values in sorted(fields.items()):
        entries += struct.pack(f"{order}HHI", number, 4, len(values))
        if len(values) == 1:
            entries += struct.pack(f"{order}I", values[0])
        else:
            entries += struct.pack(f"{order}I", start + len(arrays))
            arrays += struct.pack(f"{order}{len(values)}I", *values)
    header = (b"MM\0*" if big else b"II*\0") + struct.pack(f"{order}IH", 8, len(fields))
    return header + entries + b"\0" * 4 + arrays + b"".join(pieces)


def _values(value: Any) -> tuple[Any, ...]:
    """A tag's values, of which Pillow gives one alone or several as a tuple."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)
