from __future__ import annotations

import contextlib
import dataclasses
import gc
import io
import json
import struct
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from torch.nn import functional as F

from seewhy.errors import ImageError
from seewhy.images import INTERPOLATIONS, Preprocess, Window, place, read_image

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
USUAL = Preprocess((224, 224), 256, MEAN, STD)


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(height * 1000 + width).integers(0, 256, shape, dtype=np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def written(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def png(width: int, height: int, depth: int, colour: int, samples: np.ndarray | None) -> bytes:
    """A PNG put together by hand: 16-bit RGB and absurd sizes are not for Pillow to write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = b"" if samples is None else b"".join(b"\0" + row.tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


# --- reading: the right picture -------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_every_exif_orientation_comes_out_upright(tmp_path, orientation, kind):
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :16], upright[:16, 32:], upright[16:, :16] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    stored = {  # what the camera stored, from the EXIF standard's table of row 0 and column 0
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright.transpose(1, 0, 2)[::-1],
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: upright.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}
    data = encoded(Image.fromarray(stored), kind, exif=exif, **lossless.get(kind, {}))
    path = written(tmp_path, "photo", data)
    for source in (path, str(path), Image.open(io.BytesIO(data))):
        picture = read_image(source)
        assert picture.shape == upright.shape
        assert np.abs(picture.astype(int) - upright).max() <= 4


def test_damaged_exif_does_not_spoil_a_good_picture(tmp_path):
    pixels = noise(10, 12)
    for exif in (b"Exif\0\0no header", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12"):
        data = encoded(Image.fromarray(pixels), "WEBP", lossless=True, exif=exif)
        path = written(tmp_path, "odd.webp", data)
        np.testing.assert_array_equal(read_image(path), pixels)


def test_cmyk_has_the_right_colours_also_as_photoshop_stores_it_inverted(tmp_path):
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # magenta and yellow ink: red
    tiff = written(tmp_path, "a.tif", encoded(cmyk, "TIFF"))
    jpeg = written(tmp_path, "a.jpg", encoded(cmyk, "JPEG", quality=100))
    for source in (cmyk, tiff, jpeg):
        assert np.abs(read_image(source)[8, 8].astype(int) - (255, 0, 0)).max() <= 3
    # Pillow writes JPEGs as Photoshop does: inverted ink and Adobe's marker.
    assert b"Adobe" in jpeg.read_bytes()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_its_high_byte_instead_of_clipping(tmp_path, kind):
    values = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    path = written(tmp_path, "deep", encoded(Image.fromarray(values), kind))
    expected = np.repeat((values // 256).astype(np.uint8)[..., None], 3, axis=2)
    np.testing.assert_array_equal(read_image(path), expected)
    np.testing.assert_array_equal(read_image(Image.fromarray(values.astype(np.int32))), expected)


def test_big_endian_tiff_and_portable_greymap_of_16_bits_agree_with_png(tmp_path):
    values = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
    big = Image.frombytes("I;16B", (32, 32), values.astype(">u2").tobytes())
    tiff = written(tmp_path, "a.tif", encoded(big, "TIFF"))
    pgm = written(tmp_path, "a.pgm", b"P5 32 32 65535\n" + values.astype(">u2").tobytes())
    for path in (tiff, pgm):
        np.testing.assert_array_equal(read_image(path)[..., 1], values >> 8)


def test_16_bit_colour_keeps_its_high_byte(tmp_path):
    samples = np.random.default_rng(0).integers(0, 65536, (8, 8, 3)).astype(">u2")
    path = written(tmp_path, "deep.png", png(8, 8, 16, 2, samples))
    np.testing.assert_array_equal(read_image(path), samples >> 8)


def test_palette_one_bit_and_grey_come_out_as_rgb(tmp_path):
    palette = Image.new("P", (3, 1))
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    palette.putdata([2, 1, 0])
    path = written(tmp_path, "p.png", encoded(palette, "PNG"))
    assert read_image(path).tolist() == [[[0, 0, 255], [0, 255, 0], [255, 0, 0]]]
    one_bit = Image.new("1", (2, 1))
    one_bit.putdata([0, 255])
    assert read_image(one_bit).tolist() == [[[0] * 3, [255] * 3]]
    grey = noise(5, 7, 1)
    np.testing.assert_array_equal(
        read_image(Image.fromarray(grey)), np.repeat(grey[..., None], 3, 2)
    )


def test_what_is_transparent_lies_on_white(tmp_path):
    rgba = np.array([[[200, 0, 0, 255], [200, 0, 0, 0], [200, 0, 0, 51]]], np.uint8)
    expected = [[200, 0, 0], [255, 255, 255], [244, 204, 204]]
    for source in (
        rgba,
        Image.fromarray(rgba),
        written(tmp_path, "a.png", encoded(Image.fromarray(rgba), "PNG")),
    ):
        assert read_image(source).tolist() == [expected]
    alpha = Image.fromarray(np.array([[255, 0]], np.uint8))
    la = Image.merge("LA", [Image.new("L", (2, 1), 10), alpha])
    assert read_image(la).tolist() == [[[10] * 3, [255] * 3]]
    palette = Image.new("P", (2, 1))
    palette.putpalette([9, 8, 7, 1, 2, 3])
    palette.putdata([0, 1])
    for transparency in (1, bytes([255, 0])):
        path = written(tmp_path, "p.png", encoded(palette, "PNG", transparency=transparency))
        assert read_image(path).tolist() == [[[9, 8, 7], [255, 255, 255]]]
    key = encoded(Image.fromarray(rgba[..., :3]), "PNG", transparency=(200, 0, 0))
    assert read_image(written(tmp_path, "key.png", key)).tolist() == [[[255] * 3] * 3]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_an_animation_gives_its_first_frame(tmp_path, kind):
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    path = written(tmp_path, "moving", data)
    assert read_image(path)[5, 5].tolist() == [255, 0, 0]
    with Image.open(path) as opened:
        opened.seek(2)
        assert read_image(opened)[5, 5].tolist() == [0, 0, 255]  # the frame it stands at
        assert opened.tell() == 2


def test_an_icc_profile_changes_nothing(tmp_path):
    pixels = noise(9, 9)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    path = written(tmp_path, "a.png", encoded(Image.fromarray(pixels), "PNG", icc_profile=profile))
    np.testing.assert_array_equal(read_image(path), pixels)


def test_arrays_of_every_allowed_shape_and_type_give_the_same_picture():
    grey = noise(6, 8, 1)
    rgb = np.repeat(grey[..., None], 3, axis=2)
    opaque = np.concatenate([rgb, np.full((6, 8, 1), 255, np.uint8)], axis=2)
    for array in (grey, grey[..., None], rgb, opaque):
        for source in (array, array / 255, (array / 255).astype(np.float32), array[:, ::-1]):
            mirrored = source.strides[1] < 0
            np.testing.assert_array_equal(read_image(source), rgb[:, ::-1] if mirrored else rgb)


def test_the_picture_is_a_copy_and_the_source_stays_as_it_was():
    array = noise(6, 8)
    kept = array.copy()
    picture = read_image(array)
    assert not np.shares_memory(picture, array)
    picture[:] = 0
    np.testing.assert_array_equal(array, kept)
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.open(io.BytesIO(encoded(Image.fromarray(array), "PNG", exif=exif)))
    read_image(image)[:] = 0
    assert image.size == (8, 6)
    assert image.mode == "RGB"
    assert image.getexif()[0x0112] == 6
    np.testing.assert_array_equal(np.asarray(image), kept)


def test_no_file_stays_open(tmp_path):
    whole = encoded(Image.fromarray(noise(40, 40)), "PNG")
    sources = [
        written(tmp_path, "a.png", whole),
        written(tmp_path, "b.png", whole[: len(whole) // 2]),
        written(tmp_path, "c.png", b"no picture at all"),
        written(tmp_path, "d.png", png(60_000, 60_000, 8, 2, None)),
    ]
    for path in sources:  # a handle left open is a ResourceWarning, hence an error here
        with contextlib.suppress(ImageError):
            read_image(path)
    gc.collect()


def test_the_demo_photographs_are_read_as_pillow_reads_them(shared_data):
    for path in sorted((shared_data / "demo_images").glob("*.[jp][pn]g")):
        with Image.open(path) as image:
            np.testing.assert_array_equal(read_image(path), np.asarray(image.convert("RGB")))


# --- reading: what is refused ---------------------------------------------------------------


def test_a_path_to_nothing_to_a_folder_or_to_an_empty_file_is_named(tmp_path):
    with pytest.raises(ImageError, match=r"no file '.*nowhere\.jpg'; check the path"):
        read_image(tmp_path / "nowhere.jpg")
    with pytest.raises(ImageError, match="is a folder, not a picture"):
        read_image(tmp_path)
    with pytest.raises(ImageError, match=r"'.*empty\.jpg' is empty \(0 bytes\)"):
        read_image(written(tmp_path, "empty.jpg", b""))
    with pytest.raises(ImageError, match="cannot be opened"):
        read_image(tmp_path / ("x" * 300))


@pytest.mark.parametrize("data", [b"just words, many of them", b"\0" * 500, b"\xff\xd8\xff"])
def test_a_file_that_is_no_picture_is_refused(tmp_path, data):
    with pytest.raises(ImageError, match=r"'.*a\.jpg' is "):
        read_image(written(tmp_path, "a.jpg", data))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("GIF", {}),
        ("WEBP", {}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("PPM", {}),
    ],
)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9, 0.99])
@pytest.mark.filterwarnings("ignore:Truncated File Read")
def test_a_file_that_was_cut_off_is_refused_not_half_grey(tmp_path, kind, options, share):
    data = encoded(Image.fromarray(noise(120, 160)), kind, **options)
    cut = data[: int(len(data) * share)]
    with pytest.raises(
        ImageError, match=r"'.*cut' .*(damaged or incomplete|not a readable picture)"
    ):
        read_image(written(tmp_path, "cut", cut))
    try:
        image = Image.open(io.BytesIO(cut))
    except Exception:
        return
    with pytest.raises(ImageError, match="the PIL image is damaged or incomplete"):
        read_image(image)


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"]),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_damaged_bytes_give_a_picture_or_an_image_error(tmp_path_factory, kind, changes):
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {} if kind in ("GIF", "BMP") else {"exif": exif}
    data = bytearray(encoded(Image.fromarray(noise(24, 24)), kind, **options))
    for place_, value in changes:
        data[int(place_**3 * (len(data) - 1))] = value  # mostly in the headers
    path = written(tmp_path_factory.getbasetemp(), "damaged", bytes(data))
    try:
        picture = read_image(path)
    except ImageError:
        return
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3


@pytest.mark.usefixtures("bounded_memory")
def test_a_decompression_bomb_is_refused_with_its_size_and_the_way_on(tmp_path):
    path = written(tmp_path, "bomb.png", png(60_000, 60_000, 8, 2, None))
    with pytest.raises(ImageError, match=r"3600000000 pixels.*PIL\.Image\.MAX_IMAGE_PIXELS"):
        read_image(path)


def test_pictures_without_pixels_or_without_a_known_range_are_refused():
    with pytest.raises(ImageError, match="0 × 5 pixels"):
        read_image(Image.new("RGB", (0, 5)))
    with pytest.raises(ImageError, match="floats, whose range is unknown"):
        read_image(Image.new("F", (4, 4), 0.5))
    with pytest.raises(ImageError, match="from 0 to 65535, but they are from 70000 to 70000"):
        read_image(Image.new("I", (4, 4), 70_000))
    with pytest.raises(ImageError, match="from -3 to -3"):
        read_image(Image.new("I", (4, 4), -3))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            np.zeros((3, 20, 30), np.uint8),
            r"\(3, 20, 30\), with channels first.*transpose\(1, 2, 0\)",
        ),
        (np.zeros((1, 20, 30)), "channels first"),
        (np.zeros((20, 30, 2), np.uint8), "1, 3 or 4 channels"),
        (np.zeros((1, 20, 30, 3), np.uint8), "a picture must be"),
        (np.zeros(20, np.uint8), "a picture must be"),
        (np.zeros((0, 20, 3), np.uint8), "at least one pixel"),
        (np.zeros((20, 20), bool), "must be uint8, .* not bool"),
        (np.zeros((20, 20), np.uint16), "must be uint8, .* not uint16"),
        (np.zeros((20, 20), np.int64), "must be uint8, .* not int64"),
        (np.full((20, 20, 3), 255.0), r"from 0 to 1 .* from 255 to 255.*Divide bytes by 255"),
        (np.full((20, 20, 3), -0.1), "from -0.1"),
        (np.full((20, 20, 3), np.nan), "NaN"),
        (np.full((20, 20, 3), np.inf), "inf"),
    ],
)
def test_arrays_that_cannot_be_a_picture_are_refused_with_the_way_on(array, message):
    with pytest.raises(ImageError, match=message):
        read_image(array)


def test_other_things_are_refused_by_their_type():
    with pytest.raises(ImageError, match="a path, a PIL image or an array, not bytes"):
        read_image(b"\x89PNG")
    with pytest.raises(ImageError, match="not Tensor"):
        read_image(torch.zeros(3, 4, 4))


# --- preprocessing --------------------------------------------------------------------------

sides = st.integers(1, 90)
wanted_sizes = st.tuples(st.integers(1, 50), st.integers(1, 50))


@settings(max_examples=200, deadline=None)
@given(
    picture=st.tuples(sides, sides),
    size=wanted_sizes,
    resize=st.none() | st.integers(1, 60) | wanted_sizes,
    interpolation=st.sampled_from(INTERPOLATIONS),
)
def test_the_input_equals_torchvisions_to_the_last_bit(picture, size, resize, interpolation):
    transforms = pytest.importorskip("torchvision.transforms")
    image = Image.fromarray(noise(*picture))
    steps = [transforms.CenterCrop(size), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    if resize is not None:
        mode = transforms.InterpolationMode(interpolation)
        steps.insert(0, transforms.Resize(resize, mode, antialias=True))
    ours = Preprocess(size, resize, MEAN, STD, interpolation)(image)
    assert ours.dtype == torch.float32
    assert ours.is_contiguous()
    assert torch.equal(ours, transforms.Compose(steps)(image))


@pytest.mark.parametrize(("height", "width"), [(480, 641), (641, 480), (333, 500), (224, 224)])
def test_usual_photograph_sizes_equal_torchvisions_too(height, width):
    transforms = pytest.importorskip("torchvision.transforms")
    image = Image.fromarray(noise(height, width))
    theirs = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    assert torch.equal(USUAL(image), theirs(image))
    assert torch.equal(USUAL(np.asarray(image)), theirs(image))


def test_one_mean_makes_a_grey_input():
    transforms = pytest.importorskip("torchvision.transforms")
    image = Image.fromarray(noise(40, 50))
    ours = Preprocess((28, 28), 32, (0.1307,), (0.3081,))
    theirs = transforms.Compose(
        [
            transforms.Grayscale(),
            transforms.Resize(32),
            transforms.CenterCrop(28),
            transforms.ToTensor(),
            transforms.Normalize((0.1307,), (0.3081,)),
        ]
    )
    assert torch.equal(ours(image), theirs(image))
    assert ours.picture(ours(image)).shape == (28, 28, 3)


def test_pictures_need_not_be_rgb_and_are_turned_upright_first(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = noise(30, 50)
    path = written(tmp_path, "a.png", encoded(Image.fromarray(pixels), "PNG", exif=exif))
    assert torch.equal(USUAL(path), USUAL(np.ascontiguousarray(np.rot90(pixels, -1))))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": (0, 224)}, "size must be whole pixels of at least 1, not 0"),
        ({"size": (224.0, 224)}, "size must be whole pixels.* not 224.0"),
        ({"size": 224}, r"size must be \(height, width\), not 224"),
        ({"size": (1, 2, 3)}, r"size must be \(height, width\), not \(1, 2, 3\)"),
        ({"resize": -1}, "resize must be .* not -1"),
        ({"resize": True}, "resize must be .* not True"),
        ({"resize": "256"}, "resize must be .* not '256'"),
        ({"resize": (256, 0)}, "resize must be .* not 0"),
        ({"mean": (0.5, 0.5)}, r"mean is \(0.5, 0.5\), but it needs 3 finite numbers"),
        (
            {"mean": (), "rgb": (0, 0, 0)},
            r"mean is \(\), but it needs a finite number for each channel",
        ),
        ({"rgb": (3, 2)}, r"three channels, counted from 0.* not \(3, 2\)"),
        ({"rgb": (3, 2, -1)}, r"three channels.* not \(3, 2, -1\)"),
        ({"rgb": 3}, "three channels.* not 3"),
        ({"mean": 0.5}, "mean is 0.5, but it needs 3 finite numbers"),
        ({"mean": (float("nan"),) * 3}, "finite"),
        ({"mean": (0.5,)}, "mean has 1 values and std has 3"),
        ({"std": (0.5, 0.0, 0.5)}, "no value of it may be 0"),
        ({"interpolation": "cubic"}, "'cubic' is not known. Choose one of nearest, bilinear"),
    ],
)
def test_numbers_that_describe_no_preprocessing_are_refused_at_once(change, message):
    with pytest.raises(ImageError, match=message):
        dataclasses.replace(USUAL, **change)


@pytest.mark.usefixtures("bounded_memory")
def test_a_picture_too_narrow_to_resize_is_refused_before_it_fills_the_memory():
    strip = np.zeros((1, 100_000, 3), np.uint8)
    with pytest.raises(ImageError, match="100000 × 1 pixels is too narrow"):
        USUAL(strip)
    with pytest.raises(ImageError, match="too narrow"):
        USUAL.window((100_000, 1))
    assert dataclasses.replace(USUAL, resize=(256, 256))(strip).shape == (3, 224, 224)


def test_a_prepared_input_turns_back_into_its_picture():
    pixels = noise(224, 224)
    prepared = USUAL.__class__((224, 224), None, MEAN, STD)(pixels)
    np.testing.assert_array_equal(USUAL.picture(prepared), pixels)
    np.testing.assert_array_equal(USUAL.picture(prepared[None]), pixels)
    np.testing.assert_array_equal(USUAL.picture(prepared.requires_grad_()), pixels)
    assert USUAL.picture(torch.full((3, 2, 2), 99.0)).tolist() == [[[255] * 3] * 2] * 2
    assert USUAL.picture(torch.full((3, 2, 2), -99.0)).tolist() == [[[0] * 3] * 2] * 2


def test_a_tensor_that_is_no_single_prepared_image_is_refused():
    for shape in [(2, 3, 4, 4), (4, 4, 4), (4, 4), (3, 0, 4)]:
        with pytest.raises(ImageError, match=r"must be \(3, height, width\)"):
            USUAL.picture(torch.zeros(shape))
    with pytest.raises(ImageError, match="NaN"):
        USUAL.picture(torch.full((3, 2, 2), torch.nan))


numbers = st.floats(-10, 10).filter(bool)


@settings(max_examples=50)
@given(
    size=wanted_sizes,
    resize=st.none() | st.integers(1, 60) | wanted_sizes,
    mean=st.tuples(numbers, numbers, numbers),
    std=st.tuples(numbers, numbers, numbers),
    interpolation=st.sampled_from(INTERPOLATIONS),
    source=st.text(),
    rgb=st.none() | st.tuples(*[st.integers(0, 12)] * 3),
)
def test_json_gives_back_an_equal_preprocessing(**fields):
    preprocess = Preprocess(**fields)
    assert Preprocess.from_json(json.loads(json.dumps(preprocess.to_json()))) == preprocess


def test_lists_and_numpy_numbers_become_plain_fields_and_unknown_fields_are_named():
    loose = Preprocess([224, np.int64(224)], np.int64(256), list(MEAN), np.array(STD))
    assert loose == USUAL
    assert hash(loose) == hash(USUAL)
    assert type(loose.resize) is int
    with pytest.raises(ImageError, match="its fields are size, resize, mean"):
        Preprocess.from_json({"size": [1, 1], "crop": 1})


# --- back onto the picture ------------------------------------------------------------------


# --- Channels that are no photograph ------------------------------------------------------------

BANDS = Preprocess(
    size=(2, 2), resize=None, mean=(10.0, 0, 0, 0, 1), std=(2.0, 1, 1, 1, 1), rgb=(3, 2, 1)
)


def test_channels_are_taken_in_their_own_units_by_hand() -> None:
    array = np.zeros((2, 2, 5), np.int16)
    array[..., 0] = [[10, 12], [8, -10]]
    array[..., 4] = [[1, 1], [1, 3000]]
    tensor = BANDS(array)
    assert tensor.dtype == torch.float32
    assert tensor[0].tolist() == [[0, 1], [-1, -10]]
    assert tensor[4].tolist() == [[0, 0], [0, 2999]]
    assert (tensor[1:4] == 0).all()


def test_channels_are_padded_with_zeros_and_cropped_from_the_middle() -> None:
    array = np.arange(1.0, 10).reshape(3, 3)  # one channel needs no dimension of its own
    usual = {"resize": None, "mean": (1.0,), "std": (2.0,), "rgb": (0, 0, 0)}
    assert Preprocess(size=(1, 1), **usual)(array).tolist() == [[[2]]]
    padded = Preprocess(size=(5, 5), **usual)(array)[0]
    assert padded[1:4, 1:4].tolist() == ((array - 1) / 2).tolist()
    assert padded.sum() == ((array - 1) / 2).sum() - 16 / 2  # 16 zeros, less the mean, by the std


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
def test_channels_are_resized_as_the_same_photographs_are(interpolation: str) -> None:
    """But for the rounding to bytes that a photograph goes through, down and then across."""
    picture = noise(37, 53)
    kind = {"size": (20, 20), "resize": 24, "interpolation": interpolation}
    photograph = Preprocess(mean=(0.2, 0.4, 0.6), std=(0.5, 0.3, 0.1), **kind)
    mean, std = (tuple(255 * v for v in values) for values in (photograph.mean, photograph.std))
    channels = Preprocess(mean=mean, std=std, rgb=(0, 1, 2), **kind)
    assert channels.window((37, 53)) == photograph.window((37, 53))
    made = channels(picture) * torch.tensor(std)[:, None, None]
    expected = photograph(picture) * torch.tensor(std)[:, None, None]
    error = (made - expected).abs()
    if interpolation == "nearest":
        assert error.max() < 1e-3
    assert (error <= 1.01).float().mean() > 0.95  # bicubic overshoots, and bytes do not
    assert error.mean() < 1


def test_three_channels_are_drawn_each_from_its_2nd_to_its_98th_percentile() -> None:
    values = np.zeros((10, 101, 5), np.float32)
    values[..., 3] = 1e4 + np.arange(101)  # 2nd percentile 10002, 98th 10098
    values[..., 2] = -np.arange(101)
    values[..., 1] = 7  # constant: black
    drawn = BANDS.view(BANDS.read(values))
    assert drawn.dtype == np.uint8
    ramp = np.rint(np.clip((np.arange(101) - 2) / 96, 0, 1) * 255)
    assert (drawn[..., 0] == ramp).all()
    assert (drawn[..., 1] == ramp[::-1]).all()
    assert (drawn[..., 2] == 0).all()


def test_a_prepared_tensor_of_any_channels_is_drawn_alike_whatever_was_done_to_it() -> None:
    array = np.random.default_rng(0).normal(size=(2, 2, 5))
    drawn = BANDS.view(BANDS.read(array))
    np.testing.assert_array_equal(BANDS.picture(BANDS(array)), drawn)
    other = dataclasses.replace(USUAL, rgb=(3, 2, 1))  # whose mean has other channels
    np.testing.assert_array_equal(other.picture(BANDS(array)[None]), drawn)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((4, 4, 3)), r"with rgb= .*\(height, width, 5\).* not an array \(4, 4, 3\)"),
        (np.zeros((5, 4, 4)), r"an array \(5, 4, 4\)"),
        (np.zeros((0, 4, 5)), r"an array \(0, 4, 5\)"),
        (np.zeros((4, 4)), r"an array \(4, 4\)"),
        ("scene.tif", "with rgb= .*an array.* not str"),
        (np.full((4, 4, 5), np.nan), "contains NaN or infinity"),
        (np.zeros((4, 4, 5), complex), "must contain numbers, not complex128"),
        (np.zeros((4, 4, 5), object), "must contain numbers, not object"),
    ],
)
def test_what_has_not_those_channels_is_refused(source, message) -> None:
    with pytest.raises(ImageError, match=message):
        BANDS(source)


def test_channels_that_are_not_there_cannot_be_drawn() -> None:
    with pytest.raises(ImageError, match=r"rgb is \(3, 2, 1\), but the image has 3 channels"):
        BANDS.picture(torch.zeros(3, 4, 4))
    with pytest.raises(ImageError, match="NaN"):
        BANDS.picture(torch.full((5, 4, 4), torch.nan))
    with pytest.raises(ImageError, match="as rgb=, the three channels to draw"):
        USUAL.picture(torch.zeros(5, 4, 4))


def test_the_window_of_the_usual_crop_by_hand():
    # 512 × 1024 px become 256 × 512; the crop takes rows 16 to 240 and columns 144 to 368.
    assert USUAL.window((512, 1024)) == Window(288, 32, 736, 480)
    assert USUAL.window((1024, 512)) == Window(32, 288, 480, 736)
    squash = Preprocess((224, 224), (224, 224), MEAN, STD)
    assert squash.window((333, 777)) == Window(0, 0, 777, 333)
    padded = Preprocess((100, 100), None, MEAN, STD)
    assert padded.window((50, 61)) == Window(-19, -25, 81, 75)


@pytest.mark.parametrize("shape", [(7, 7), (1, 1), (1, 5), (14, 9), (60, 80)])
@pytest.mark.parametrize("size", [(224, 224), (333, 500), (31, 17), (7, 7), (1, 1)])
def test_without_a_crop_a_map_is_laid_as_torch_interpolates(shape, size):
    map_ = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    placed = place(map_, Window(0, 0, size[1], size[0]), size)
    # In double: torch's single precision misplaces the cells of a large map by more than 1e-5.
    double = torch.from_numpy(map_)[None, None].double()
    expected = F.interpolate(double, size, mode="bilinear")[0, 0]
    assert placed.dtype == np.float32
    np.testing.assert_allclose(placed, expected, atol=1e-5)


def test_a_crop_of_whole_pixels_is_the_interpolated_map_within_zeros():
    map_ = np.random.default_rng(0).normal(size=(7, 7)).astype(np.float32)
    placed = place(map_, Window(288, 32, 736, 480), (512, 1024))
    expected = F.interpolate(torch.from_numpy(map_)[None, None], (448, 448), mode="bilinear")[0, 0]
    np.testing.assert_allclose(placed[32:480, 288:736], expected, atol=1e-5)
    outside = np.ones((512, 1024), bool)
    outside[32:480, 288:736] = False
    assert (placed[outside] == 0).all()


def test_a_padded_input_gives_the_middle_of_its_map():
    map_ = np.random.default_rng(0).normal(size=(5, 5)).astype(np.float32)
    window = Preprocess((100, 100), None, MEAN, STD).window((50, 60))
    whole = F.interpolate(torch.from_numpy(map_)[None, None], (100, 100), mode="bilinear")[0, 0]
    np.testing.assert_allclose(place(map_, window, (50, 60)), whole[25:75, 20:80], atol=1e-5)


@pytest.mark.parametrize("picture_size", [(512, 1024), (1024, 512)])
@pytest.mark.parametrize(("row", "column"), [(0, 0), (2, 5), (6, 6)])
def test_one_hot_cell_lies_on_its_place_in_landscape_and_portrait(picture_size, row, column):
    map_ = np.zeros((7, 7), np.float32)
    map_[row, column] = 1
    placed = place(map_, USUAL.window(picture_size), picture_size)
    top, left = (32, 288) if picture_size == (512, 1024) else (288, 32)
    # A cell is 32 px of the input, thus 64 px of the picture; its centre is the hottest.
    centre = top + 64 * row + 32, left + 64 * column + 32
    hottest = np.argwhere(placed == placed.max())
    assert (np.abs(hottest + 0.5 - centre) <= 32 + 0.5).all()  # level at the window's rim
    assert placed[centre] > 0.95
    assert placed[top : top + 448, left : left + 448].sum() == pytest.approx(placed.sum())
    reach = np.argwhere(placed > 0.5) + 0.5 - centre
    assert (np.abs(reach) <= 32).all()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_spot_found_in_the_input_is_placed_back_on_the_spot(data):
    height, width = data.draw(st.tuples(st.integers(100, 400), st.integers(100, 400)))
    resize = data.draw(st.sampled_from([None, 64, 100, (64, 96)]))
    preprocess = Preprocess((56, 56), resize, (0.5,) * 3, (0.5,) * 3)
    window = preprocess.window((height, width))
    scale = (window.bottom - window.top) / 56, (window.right - window.left) / 56
    radius = int(max(2, *scale))
    lowest = [int(max(0, start) + radius + 1) for start in (window.top, window.left)]
    highest = [
        int(min(side, end) - radius - 1)
        for side, end in ((height, window.bottom), (width, window.right))
    ]
    spot = [data.draw(st.integers(*ends)) for ends in zip(lowest, highest, strict=True)]
    picture = np.zeros((height, width, 3), np.uint8)
    picture[spot[0] - radius : spot[0] + radius, spot[1] - radius : spot[1] + radius, 0] = 255

    red = preprocess(picture)[0] + 1
    map_ = np.zeros((56, 56), np.float32)
    rows, columns = red.sum(1), red.sum(0)  # the cell at the spot's centre of gravity
    row = int((rows * torch.arange(56)).sum() / rows.sum() + 0.5)
    column = int((columns * torch.arange(56)).sum() / columns.sum() + 0.5)
    map_[row, column] = 1
    placed = place(map_, window, (height, width))
    ys, xs = np.indices(placed.shape) + 0.5
    found = (placed * ys).sum() / placed.sum(), (placed * xs).sum() / placed.sum()
    for at, expected, pixels in zip(found, spot, scale, strict=True):
        assert abs(at - expected) <= pixels / 2 + 1  # half a cell: the map knows no better


def test_nan_in_a_map_stays_nan_where_its_cell_has_a_share():
    map_ = np.zeros((4, 4), np.float32)
    map_[1, 2] = np.nan
    placed = place(map_, Window(0, 0, 40, 40), (40, 40))
    assert np.isnan(placed[15, 25])
    assert np.isnan(placed[10:20, 20:30]).all()
    assert not np.isnan(placed[:4]).any()
    assert not np.isnan(placed[:, :14]).any()
    assert np.isnan(place(np.full((2, 2), np.nan), Window(0, 0, 5, 5), (5, 5))).all()
    map_[1, 2] = np.inf
    assert not np.isfinite(place(map_, Window(0, 0, 40, 40), (40, 40))[15, 25])


def test_a_map_that_is_not_one_map_is_refused():
    for shape in [(3, 7, 7), (7,), (0, 7)]:
        with pytest.raises(ImageError, match="pass one map"):
            place(np.zeros(shape), Window(0, 0, 5, 5), (5, 5))


def test_a_map_is_placed_on_a_large_photograph_in_a_moment():
    map_ = np.ones((7, 7), np.float32)
    seconds = []
    for _ in range(3):
        start = time.process_time()  # of this process: others may keep the machine busy
        place(map_, Window(500, 0, 2500, 2000), (2000, 3000))
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.5  # 0.03 s alone on one core


def test_pictures_are_prepared_alike_from_several_threads():
    pixels = noise(300, 400)
    expected = USUAL(pixels)
    equal = []

    def prepare() -> None:
        equal.append(torch.equal(USUAL(pixels), expected))

    threads = [threading.Thread(target=prepare) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert equal == [True] * 4
