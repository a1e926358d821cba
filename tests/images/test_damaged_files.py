"""A fuzzer of pictures: seeded, so that what it finds is found again. `MUTATIONS` bounds it."""

from __future__ import annotations

import io
import os
import random
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from seewhy.errors import ImageError
from seewhy.images import read_picture

from .tiffs import png, tiff

MUTATIONS = int(os.environ.get("SEEWHY_MUTATIONS", "60"))  # of each kind of file

GREYS = np.random.default_rng(0).integers(0, 65536, (20, 24)).astype(np.uint16)
COLOURS = np.random.default_rng(1).integers(0, 256, (20, 24, 3)).astype(np.uint8)


def encoded(kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    options = {} if kind in ("GIF", "BMP", "PPM") else {"exif": exif, "icc_profile": profile}
    buffer = io.BytesIO()
    Image.fromarray(COLOURS).save(buffer, kind, **options)
    return buffer.getvalue()


def heic(_: Path) -> bytes:
    heif = pytest.importorskip("pillow_heif", reason="the extra 'heic' is not installed")
    buffer = io.BytesIO()
    heif.from_pillow(Image.fromarray(COLOURS)).save(buffer)
    return buffer.getvalue()


def dicom(folder: Path) -> bytes:
    pytest.importorskip("pydicom", reason="the extra 'dicom' is not installed")
    from .test_dicom_and_heic import dicom as written

    settings = {"WindowCenter": 2000, "WindowWidth": 3000, "RescaleSlope": 2, "RescaleIntercept": 1}
    return written(folder, GREYS, **settings).read_bytes()


KINDS = {
    **{kind: lambda _, kind=kind: encoded(kind)
       for kind in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM")},
    "PNG, 16 bits and a clear colour": lambda _: png(
        24, 20, 16, 2, [row.astype(">u2").tobytes() for row in COLOURS.astype(np.uint16) * 257],
        struct.pack(">HHH", 5, 6, 7),
    ),
    "TIFF, 0 is white": lambda _: tiff([GREYS], photometric=0),
    "TIFF, 12 bits": lambda _: tiff([GREYS >> 4], bits=12, deflated=True),
    "TIFF, planes": lambda _: tiff([GREYS] * 3, photometric=2, order=">", rows_a_strip=7),
    "DICOM": dicom,
    "HEIC": heic,
}  # fmt: skip


def mutated(data: bytes, chance: random.Random) -> bytes:
    """A file with bytes changed, cut off, doubled or filled in, mostly near its beginning."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        place = int(chance.random() ** 3 * len(changed)) if changed else 0
        match chance.randrange(5):
            case 0:
                changed[place : place + 1] = bytes([chance.randrange(256)])
            case 1:
                changed[place : place + 4] = chance.choice(
                    [b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\1\0\0"]
                )
            case 2:
                del changed[place : place + chance.randint(1, 40)]
            case 3:
                changed[place:place] = changed[place : place + chance.randint(1, 40)]
            case _:
                del changed[chance.randint(place, len(changed)) :]
    return bytes(changed)


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_a_picture_or_one_sentence(kind, tmp_path):
    whole, chance = KINDS[kind](tmp_path), random.Random(kind)
    path = tmp_path / "damaged"
    path.write_bytes(whole)
    assert read_picture(path).pixels.shape[2] == 3
    sentences = []
    for _ in range(MUTATIONS):
        path.write_bytes(mutated(whole, chance))
        try:
            picture = read_picture(path)
        except ImageError as error:
            sentences.append(str(error))
            continue
        assert picture.pixels.dtype == np.uint8
        assert picture.pixels.ndim == 3
    assert sentences, "no mutation was refused, so the fuzzer does not bite"
    for sentence in sentences:
        assert str(path) in sentence
        assert "\n" not in sentence
