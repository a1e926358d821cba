"""Pictures of hospitals and of telephones, read where their readers are installed."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seewhy.cli.pictures import find_pictures
from seewhy.errors import ImageError
from seewhy.images import opening, read_image, read_picture
from seewhy.signatures import pictures as kinds

pydicom = pytest.importorskip("pydicom", reason="the extra 'dicom' is not installed")

VALUES = np.linspace(0, 4000, 64).round().astype(np.int16)[None].repeat(8, 0)


def dicom(folder: Path, values: np.ndarray, **attributes: object) -> Path:
    """A file of uncompressed values, as the standard asks for."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    colours = values.ndim == 3 and values.shape[2] == 3
    frames = values.ndim == 3 and not colours
    dataset.Rows, dataset.Columns = values.shape[1:] if frames else values.shape[:2]
    if frames:
        dataset.NumberOfFrames = len(values)
    dataset.SamplesPerPixel = 3 if colours else 1
    if colours:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = "RGB" if colours else "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = values.dtype.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    dataset.PixelData = values.tobytes()
    for name, value in attributes.items():
        setattr(dataset, name, value)
    path = folder / "scan.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return path


def grey(path: Path) -> list[int]:
    picture = read_image(path)
    assert (picture == picture[:1, :, :1]).all()
    return [int(one) for one in picture[0, :, 0]]


def test_a_window_is_laid_on_rescaled_values_as_the_standard_has_it(tmp_path):
    stored = np.array([[0, 1023, 1024, 1064, 1104, 1105, 4000]], np.int16)
    path = dicom(
        tmp_path, stored, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=40, WindowWidth=80
    )
    # PS3.3 C.11.2.1.2: ((x − (c − 0.5)) / (w − 1) + 0.5); x = 0 and 80 are 0 and beyond 1.
    units = stored[0] - 1024.0
    wanted = np.rint(((units - 39.5) / 79 + 0.5).clip(0, 1) * 255)
    assert grey(path) == wanted.tolist()
    assert grey(path)[:3] == [0, 0, 0]
    assert grey(path)[4:] == [255, 255, 255]
    (note,) = read_picture(path).notes
    assert note == (
        "its values were rescaled (× 1 − 1024), shown in the file's window of 80 around 40"
    )


@pytest.mark.parametrize(
    ("function", "value", "wanted"),
    [("LINEAR_EXACT", 1000, 0.5), ("LINEAR_EXACT", 1200, 0.7), ("SIGMOID", 1200, 0.689974)],
)
def test_the_other_forms_of_a_window(tmp_path, function, value, wanted):
    stored = np.full((2, 2), value, np.uint16)
    path = dicom(tmp_path, stored, WindowCenter=1000, WindowWidth=1000, VOILUTFunction=function)
    assert set(grey(path)) == {round(wanted * 255)}


def test_where_0_is_white_the_picture_is_turned_round(tmp_path):
    path = dicom(tmp_path, VALUES, PhotometricInterpretation="MONOCHROME1")
    shown = grey(path)
    assert (shown[0], shown[-1]) == (255, 0)
    assert "MONOCHROME1" in read_picture(path).notes[0]


def test_without_a_window_the_choice_is_said_and_padding_has_no_say(tmp_path):
    values = VALUES.copy()
    values[:, 0] = -2000
    path = dicom(tmp_path, values, PixelPaddingValue=-2000)
    shown = grey(path)
    assert shown[0] == 0
    assert shown[-1] == 255
    assert shown[1] == 0
    assert "from their smallest, 63, to their largest, 4000" in read_picture(path).notes[0]


def test_bytes_without_a_window_are_taken_as_greys(tmp_path):
    path = dicom(tmp_path, np.arange(64, dtype=np.uint8)[None])
    assert grey(path) == list(range(64))
    assert "names no window" in read_picture(path).notes[0]


def test_values_of_an_enhanced_file_are_found_by_frame(tmp_path):
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    rescale, window = Dataset(), Dataset()
    rescale.RescaleSlope, rescale.RescaleIntercept = 2, -100
    window.WindowCenter, window.WindowWidth = 0, 200
    shared, first = Dataset(), Dataset()
    shared.PixelValueTransformationSequence = Sequence([rescale])
    first.FrameVOILUTSequence = Sequence([window])
    frames = np.stack([np.full((2, 2), 50, np.int16), np.full((2, 2), 99, np.int16)])
    path = dicom(
        tmp_path, frames, SharedFunctionalGroupsSequence=Sequence([shared]),
        PerFrameFunctionalGroupsSequence=Sequence([first, first]),
    )  # fmt: skip
    assert set(grey(path)) == {round((0.5 / 199 + 0.5) * 255)}
    assert read_picture(path).notes[0] == "it is the first of the file's 2 frames"


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_colours_keep_their_high_byte(tmp_path, kind):
    top = np.iinfo(kind).max
    colours = np.random.default_rng(0).integers(0, top, (4, 5, 3)).astype(kind)
    picture = read_picture(dicom(tmp_path, colours))
    np.testing.assert_array_equal(picture.pixels, colours >> (colours.itemsize * 8 - 8))
    assert picture.notes == ()


def test_every_sample_of_pydicom_is_a_picture_or_a_sentence():
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    read, refusals = 0, []
    for path in sorted(folder.rglob("*.dcm")):
        try:
            picture = read_picture(path)
        except ImageError as error:
            refusals.append((path.name, str(error)))
        else:
            read += 1
            assert picture.pixels.dtype == np.uint8
            assert picture.pixels.shape[2] == 3
    assert read > 40
    for name, sentence in refusals:
        assert name in sentence
        assert "\n" not in sentence


def test_a_compression_without_its_decoder_says_what_to_install():
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    with pytest.raises(ImageError, match=r"JPEG-LS.*pip install .pylibjpeg"):
        read_image(folder / "MR_small_jpeg_ls_lossless.dcm")


def test_a_report_has_no_picture(tmp_path):
    path = dicom(tmp_path, VALUES, Modality="SR")
    dataset = pydicom.dcmread(path)
    del dataset.PixelData
    dataset.save_as(path)
    with pytest.raises(ImageError, match=r"scan\.dcm' contains no picture \(its modality is SR\)"):
        read_image(path)


def test_a_huge_picture_is_refused_before_it_is_decoded(tmp_path):
    path = dicom(tmp_path, VALUES, Rows=65000, Columns=65000)
    with pytest.raises(ImageError, match="4225000000 pixels"):
        read_image(path)


def test_a_folders_dicom_files_are_found_even_without_an_ending(tmp_path):
    dicom(tmp_path, VALUES).rename(tmp_path / "IM000001")
    (tmp_path / "README").write_text("not one")
    found = find_pictures([str(tmp_path)], leave_out=Path("nowhere"))
    assert found.pictures == [str(tmp_path / "IM000001")]
    assert found.left_out == [f"in '{tmp_path}' 1 file is left out: 1 without an ending."]


def without(monkeypatch, *packages):
    for module in (opening, kinds):
        real = module.find_spec
        monkeypatch.setattr(
            module, "find_spec", lambda name, real=real: None if name in packages else real(name)
        )


def test_without_the_readers_the_way_to_them_is_said(tmp_path, monkeypatch):
    path = dicom(tmp_path, VALUES)
    photograph = tmp_path / "IMG_1.HEIC"
    photograph.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 200)
    without(monkeypatch, "pydicom", "pillow_heif")
    with pytest.raises(ImageError, match=r'a DICOM file.*pip install "seewhy\[dicom\]"'):
        read_image(path)
    with pytest.raises(ImageError, match=r'a HEIC photograph.*pip install "seewhy\[heic\]"'):
        read_image(photograph)
    found = find_pictures([str(tmp_path)], leave_out=Path("nowhere"))
    assert found.pictures == []
    assert (
        '1 .dcm (a DICOM file: reading those needs: pip install "seewhy[dicom]")'
        in (found.left_out[0])
    )
    assert "1 .heic" in found.left_out[0]


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_heic_photograph_is_read_upright(tmp_path, orientation):
    heif = pytest.importorskip("pillow_heif", reason="the extra 'heic' is not installed")
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[:32, :48], pixels[32:, 48:] = (250, 10, 10), (10, 10, 250)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = pixels if orientation == 1 else np.ascontiguousarray(np.rot90(pixels))
    buffer = io.BytesIO()
    made = heif.from_pillow(Image.fromarray(stored))
    made.save(buffer, quality=95, exif=exif.tobytes())
    path = tmp_path / "IMG_1.HEIC"
    path.write_bytes(buffer.getvalue())
    picture = read_image(path)
    assert picture.shape == pixels.shape
    assert np.abs(picture[10:20, 10:30].astype(int) - (250, 10, 10)).max() < 20
    assert np.abs(picture[45:55, 60:90].astype(int) - (10, 10, 250)).max() < 20
    found = find_pictures([str(tmp_path)], leave_out=Path("nowhere"))
    assert found.pictures == [str(path)]
    path.write_bytes(buffer.getvalue()[:300])
    with pytest.raises(ImageError, match="is damaged or incomplete"):
        read_image(path)
