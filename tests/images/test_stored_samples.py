"""Every way in which files store their samples, against encoders written from the formats."""

from __future__ import annotations

import io
import os
import struct
import threading
import warnings

import numpy as np
import pytest
from PIL import Image, ImageCms

import seewhy
from seewhy.dataset.files import picture_size
from seewhy.errors import ImageError
from seewhy.images import Preprocess, read_image, read_picture

from .tiffs import png, tiff

SHARES = np.linspace(0, 1, 32)[None].repeat(12, 0)
GREYS = np.rint(SHARES * 65535).astype(np.uint16)
COLOURS = np.stack([GREYS, GREYS[:, ::-1], np.full_like(GREYS, 16384)], -1)


def written(folder, name, data):
    path = folder / name
    path.write_bytes(data)
    return path


def as_rgb(grey):
    return np.repeat(np.asarray(grey, np.uint8)[..., None], 3, axis=2)


# --- TIFF -----------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("deflated", [False, True])
@pytest.mark.parametrize("rows", [None, 5])
@pytest.mark.parametrize("white_is_zero", [False, True])
def test_grey_tiffs_of_16_bits(tmp_path, order, deflated, rows, white_is_zero):
    stored = 65535 - GREYS if white_is_zero else GREYS
    data = tiff(
        [stored], photometric=0 if white_is_zero else 1, order=order, deflated=deflated,
        rows_a_strip=rows,
    )  # fmt: skip
    picture = read_picture(written(tmp_path, "a.tif", data))
    np.testing.assert_array_equal(picture.pixels, as_rgb(GREYS >> 8))
    assert picture.notes == ()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("deflated", [False, True])
@pytest.mark.parametrize("white_is_zero", [False, True])
def test_grey_tiffs_of_12_packed_bits_fill_the_range(tmp_path, order, deflated, white_is_zero):
    values = np.rint(SHARES[:, :31] * 4095).astype(np.uint16)  # 31: rows end within a byte
    stored = 4095 - values if white_is_zero else values
    data = tiff(
        [stored], bits=12, photometric=0 if white_is_zero else 1, order=order, deflated=deflated
    )
    picture = read_image(written(tmp_path, "a.tif", data))
    np.testing.assert_array_equal(picture, as_rgb(values >> 4))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("deflated", [False, True])
@pytest.mark.parametrize("rows", [None, 5])
def test_colour_tiffs_of_16_bits_with_each_channel_by_itself(tmp_path, order, deflated, rows):
    planes = list(COLOURS.transpose(2, 0, 1))
    kind = {"photometric": 2, "order": order, "deflated": deflated, "rows_a_strip": rows}
    path = written(tmp_path, "a.tif", tiff(planes, **kind))
    np.testing.assert_array_equal(read_image(path), COLOURS >> 8)
    with Image.open(path) as opened:
        np.testing.assert_array_equal(read_image(opened), COLOURS >> 8)
        opened.load()
        with pytest.raises(ImageError, match=r"Pillow reads wrongly.*Give the file instead"):
            read_image(opened)
    alpha = np.full_like(GREYS, 65535 // 2)
    alpha[:6] = 65535
    shares = (alpha >> 8)[..., None] / 255
    wanted = np.rint((COLOURS >> 8) * shares + 255 * (1 - shares))
    for kind_of_alpha in (2, 1):
        stored = (
            planes if kind_of_alpha == 2 else [(p * (alpha / 65535)).astype("u2") for p in planes]
        )
        data = tiff([*stored, alpha], tags={338: [kind_of_alpha]}, **kind)
        got = read_image(written(tmp_path, "b.tif", data)).astype(int)
        assert np.abs(got - wanted).max() <= 2


def test_a_turned_tiff_of_misread_samples_is_upright(tmp_path):
    data = tiff([65535 - GREYS], photometric=0, tags={274: [6]})
    path = written(tmp_path, "a.tif", data)
    np.testing.assert_array_equal(read_image(path), as_rgb(np.rot90(GREYS >> 8, -1)))
    assert picture_size(path) == (32, 12)


@pytest.mark.parametrize(
    ("values", "bits", "form", "message"),
    [
        (np.linspace(-100, 100, 32).astype(np.int8), 8, 2, "from -100 to 100"),
        (np.linspace(-1000, 1000, 32).astype(np.int16), 16, 2, "from -1000 to 1000"),
        (np.linspace(0, 4e9, 32).astype(np.uint32), 32, 1, "from 0 to 4000000000"),
        (np.linspace(0, 1, 32).astype(np.float32), 32, 3, "contains floats"),
        (np.linspace(0, 1, 32).astype(np.float16), 16, 3, "1 channel of 16-bit floats.*tifffile"),
        (np.linspace(0, 1, 32), 64, 3, "1 channel of 64-bit floats.*tifffile"),
        (np.arange(32, dtype=np.uint16), 10, 1, "1 channel of 10-bit unsigned integers"),
    ],
)
def test_samples_of_an_unknown_range_are_refused_by_their_right_name(
    tmp_path, values, bits, form, message
):
    data = tiff([values[None].repeat(4, 0)], bits=bits, tags={339: [form]})
    with pytest.raises(ImageError, match=message):
        read_image(written(tmp_path, "a.tif", data))


def test_bytes_with_a_sign_that_is_never_used_are_read(tmp_path):
    values = np.arange(32, dtype=np.int8)[None] * 4
    path = written(tmp_path, "a.tif", tiff([values], bits=8, tags={339: [2]}))
    np.testing.assert_array_equal(read_image(path), as_rgb(values))


def test_a_compression_that_is_not_built_in_is_named(tmp_path):
    data = tiff([GREYS.astype(np.uint8)], bits=8, tags={259: [50002]})
    with pytest.raises(ImageError, match=r"JPEG XL.*[Pp]illow"):
        read_image(written(tmp_path, "a.tif", data))


@pytest.mark.parametrize("tags", [{50706: [0x01040000]}, {254: [1], 330: [8]}])
def test_the_preview_in_a_raw_file_is_not_taken_for_the_photograph(tmp_path, tags):
    data = tiff([GREYS.astype(np.uint8)], bits=8, tags=tags)
    with pytest.raises(ImageError, match=r"camera's raw file.*develop it"):
        read_image(written(tmp_path, "a.dng", data))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["TIFF", "JPEG", "PNG", "WEBP"])
def test_the_size_of_a_turned_picture_is_that_of_the_upright_one(tmp_path, orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image, buffer = Image.new("RGB", (30, 10), "red"), io.BytesIO()
    image.save(buffer, kind, exif=exif)
    path = written(tmp_path, "a", buffer.getvalue())
    assert picture_size(path) == read_image(path).shape[:2]


def test_dark_values_of_16_bits_are_said_to_be_dark(tmp_path):
    path = written(tmp_path, "a.tif", tiff([GREYS >> 4]))
    picture = read_picture(path)
    assert picture.pixels.max() == 15
    assert "largest value is 4095 of 65535" in picture.notes[0]
    preprocess = Preprocess((8, 8), None, (0.5,) * 3, (0.5,) * 3)
    assert preprocess.picture_from(path).notes == picture.notes


def test_what_was_assumed_of_a_picture_is_a_warning_of_its_explanation(tmp_path):
    torch = pytest.importorskip("torch")
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(), torch.nn.Linear(4, 2),
    )  # fmt: skip
    path = written(tmp_path, "a.tif", tiff([GREYS >> 4]))
    preprocess = Preprocess((8, 8), (8, 8), (0.5,) * 3, (0.5,) * 3)
    why = seewhy.explain(network, path, 0, preprocess=preprocess)
    assert any(
        one.startswith("as to the picture, it is dark, because its largest value is 4095")
        for one in why.warnings
    )


# --- PNG: one colour that is transparent ----------------------------------------------------


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_the_transparent_grey_of_a_png_lies_on_white(tmp_path, depth):
    top = 2**depth - 1
    values = np.rint(SHARES * top).astype(np.uint16)
    key = int(values[0, 13])
    bits = "".join(f"{value:0{depth}b}" for value in values[0])
    row = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
    data = png(32, 12, depth, 0, [row] * 12, struct.pack(">H", key))
    wanted = values >> 8 if depth == 16 else values * (255 // top)
    wanted = np.where(values == key, 255, wanted)
    path = written(tmp_path, "a.png", data)
    np.testing.assert_array_equal(read_image(path), as_rgb(wanted))
    with Image.open(path) as opened:
        np.testing.assert_array_equal(read_image(opened), as_rgb(wanted))
        assert opened.info["transparency"] == key  # the caller's image is as it was


def test_the_transparent_colour_of_a_png_of_16_bits_is_that_colour_alone(tmp_path):
    colours = COLOURS.copy()
    colours[0, 0], colours[0, 1] = (1000, 2000, 3000), (1000, 2000, 3001)  # one high byte
    rows = [row.astype(">u2").tobytes() for row in colours]
    data = png(32, 12, 16, 2, rows, struct.pack(">HHH", 1000, 2000, 3000))
    wanted = colours >> 8
    wanted[0, 0] = 255
    path = written(tmp_path, "a.png", data)
    np.testing.assert_array_equal(read_image(path), wanted)
    with Image.open(path) as opened:
        np.testing.assert_array_equal(read_image(opened), wanted)


# --- ICC profiles ---------------------------------------------------------------------------


def profile(gamma: float, primaries: tuple[tuple[float, float, float], ...]) -> bytes:
    """A display's profile, version 2: a matrix to the connection space and a gamma."""

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    curve = b"curv" + b"\0" * 4 + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    name = b"wide gamut"
    described = b"desc" + b"\0" * 4 + struct.pack(">I", len(name) + 1) + name + b"\0" * 79
    tags = {
        b"desc": described + b"\0" * (-len(described) % 4),
        b"wtpt": b"XYZ " + b"\0" * 4 + fixed(0.9642, 1, 0.8249),
        **{
            kind: b"XYZ " + b"\0" * 4 + fixed(*one)
            for kind, one in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)
        },
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    table, body = struct.pack(">I", len(tags)), b""
    for kind, data in tags.items():
        table += kind + struct.pack(">II", 128 + 4 + 12 * len(tags) + len(body), len(data))
        body += data
    header = bytearray(128)
    header[8:12] = b"\x02\x10\0\0"
    header[12:24] = b"mntrRGB XYZ "
    header[36:40] = b"acsp"
    header[68:80] = fixed(0.9642, 1, 0.8249)
    header[0:4] = struct.pack(">I", 128 + len(table) + len(body))
    return bytes(header) + table + body


ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
SRGB = np.array(
    [[0.43607, 0.22249, 0.01392], [0.38515, 0.71687, 0.09708], [0.14307, 0.06061, 0.71410]]
)


def test_colours_under_another_profile_become_srgb_as_the_formula_has_it(tmp_path):
    colours = np.random.default_rng(0).integers(60, 200, (16, 16, 3)).astype(np.uint8)
    linear = (colours / 255) ** (563 / 256) @ np.array(ADOBE) @ np.linalg.inv(SRGB)
    linear = linear.clip(0, 1)
    wanted = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    buffer = io.BytesIO()
    Image.fromarray(colours).save(buffer, "PNG", icc_profile=profile(563 / 256, ADOBE))
    picture = read_picture(written(tmp_path, "a.png", buffer.getvalue()))
    assert np.abs(picture.pixels - wanted * 255).max() <= 2
    assert np.abs(picture.pixels.astype(int) - colours).max() > 8
    assert "from the ICC profile 'wide gamut' to sRGB" in picture.notes[0]


def test_transparency_is_kept_while_colours_are_converted(tmp_path):
    pixels = np.full((4, 4, 4), 120, np.uint8)
    pixels[..., 3] = 0
    pixels[:2, :, 3] = 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", icc_profile=profile(1.0, ADOBE))
    picture = read_image(written(tmp_path, "a.png", buffer.getvalue()))
    assert (picture[2:] == 255).all()
    assert (picture[:2] > 150).all()  # light is linear under this profile


def test_a_profile_of_srgb_changes_not_one_bit(tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(colours).save(buffer, "PNG", icc_profile=srgb)
    picture = read_picture(written(tmp_path, "a.png", buffer.getvalue()))
    np.testing.assert_array_equal(picture.pixels, colours)
    assert picture.notes == ()


@pytest.mark.parametrize(
    ("icc", "said"),
    [
        (ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(), "made for Lab"),
        (b"no profile at all", "is damaged and was ignored"),
    ],
)
def test_a_profile_that_does_not_fit_is_ignored_and_said_to_be(tmp_path, icc, said):
    colours = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(colours).save(buffer, "PNG", icc_profile=icc)
    picture = read_picture(written(tmp_path, "a.png", buffer.getvalue()))
    np.testing.assert_array_equal(picture.pixels, colours)
    assert said in picture.notes[0]


# --- files that are no pictures, or too large ones ------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing.*rsvg-convert"),
        (b"<?xml version='1.0'?>\n<svg/>", "an SVG drawing"),
        (b"<!DOCTYPE html><body><svg width='9'/>", "a web page"),
        (b"%PDF-1.4\n", "a PDF document.*pdftoppm"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer.*git lfs pull"),
        (b"\n <!DOCTYPE html><title>404</title>", "a web page.*download the file itself"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied", "a text in XML.*read it"),
        (b"\0\0\0\x20ftypisom" + b"\0" * 50, "a video.*ffmpeg"),
        (b"II*\0\x10\0\0\0CR\x02\0" + b"\0" * 50, "camera's raw file"),
        (b"\x93NUMPY\x01\0v\0{'descr'", "numpy.load"),
        (b"PK\x03\x04" + b"\0" * 50, "a ZIP archive; unpack it"),
    ],
)
def test_files_that_are_no_pictures_are_named_for_what_they_are(tmp_path, data, message):
    with pytest.raises(ImageError, match=message):
        read_image(written(tmp_path, "a.jpg", data))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "x.jpg")
    refusals = []

    def read():
        try:
            read_image(tmp_path / "x.jpg")
        except ImageError as error:
            refusals.append(str(error))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(5)
    assert len(refusals) == 1
    assert "is a pipe, not a file" in refusals[0]


def test_a_picture_over_pillows_limit_is_read_without_its_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)
    for kind in ("PNG", "TIFF"):
        buffer = io.BytesIO()
        Image.fromarray(COLOURS.astype(np.uint8)).save(buffer, kind)
        path = written(tmp_path, "large", buffer.getvalue())
        filters = list(warnings.filters)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            assert read_image(path).shape == (12, 32, 3)
        assert warned == []
        assert warnings.filters == filters
        with warnings.catch_warnings():  # one who asked for an error gets it
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with pytest.raises(ImageError, match="too large"):
                read_image(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ImageError, match="Save it smaller with a picture editor"):
        read_image(path)


def test_reading_shows_no_warning_a_second_time(tmp_path):
    """`warnings.catch_warnings` around a reader would make Python forget what it has shown."""
    buffer = io.BytesIO()
    Image.fromarray(COLOURS.astype(np.uint8)).save(buffer, "PNG")
    path = written(tmp_path, "a.png", buffer.getvalue())
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        before = list(warnings.filters)
        for _ in range(3):
            warnings.warn("said once", UserWarning, stacklevel=1)
            read_image(path)
        assert warnings.filters == before
    assert len(shown) == 1
