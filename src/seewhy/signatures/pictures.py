"""Files that may show a picture and that Pillow does not read: their names and the way on."""

from __future__ import annotations

from importlib.util import find_spec

from seewhy.signatures import SERVER_ERROR, Kind, kind_of

HEIC = Kind("a HEIC photograph", 'reading those needs: pip install "seewhy[heic]"')
DICOM = Kind("a DICOM file", 'reading those needs: pip install "seewhy[dicom]"')
SVG = Kind("an SVG drawing", "export it as PNG, for instance with: rsvg-convert -o x.png x.svg")
PDF = Kind("a PDF document", "save the page as PNG, for instance with: pdftoppm -png x.pdf x")
RAW = Kind(
    "a camera's raw file, which holds the sensor's values and a small preview",
    "develop it to JPEG, PNG or TIFF with the camera's program, darktable or dcraw",
)
VIDEO = Kind("a video", "save its frames as pictures, for instance with: ffmpeg -i x.mp4 %05d.png")
AVIF = Kind("an AVIF picture", "Pillow reads those from version 11.3 on: pip install -U pillow")
JPEG_XL = Kind("a JPEG XL picture", "convert it to PNG, for instance with: djxl x.jxl x.png")
POSTSCRIPT = Kind("a PostScript drawing", "convert it to PNG")
PHOTOSHOP = Kind("a layered drawing", "export it as PNG")
NIFTI = Kind("a volume (NIfTI)", "read it with nibabel and pass a slice as an array, from 0 to 1")
ARRAY = Kind("an array", "read it with numpy.load and pass it from Python, uint8 or from 0 to 1")

_OPENINGS = (
    (b"%PDF", PDF),
    (b"%!PS", POSTSCRIPT),
    (b"\xff\x0a", JPEG_XL),
    (b"\x00\x00\x00\x0cJXL ", JPEG_XL),
    (b"FUJIFILMCCD-RAW", RAW),
    (b"IIRO", RAW),
    (b"\x1aE\xdf\xa3", VIDEO),
    (b"\x93NUMPY", ARRAY),
)
_BRANDS = {  # of an ISO media file: the four bytes after "ftyp"
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), HEIC),
    **dict.fromkeys((b"mif1", b"msf1"), HEIC),
    **dict.fromkeys((b"avif", b"avis"), AVIF),
    **dict.fromkeys((b"isom", b"iso2", b"mp41", b"mp42", b"qt  ", b"M4V ", b"avc1"), VIDEO),
    b"crx ": RAW,
}

# Endings by which a folder's files are counted as pictures that are left out.
BY_ENDING = {
    **dict.fromkeys((".heic", ".heif", ".hif"), HEIC),
    **dict.fromkeys((".dcm", ".dicom", ".dic"), DICOM),
    **dict.fromkeys((".svg", ".svgz"), SVG),
    ".pdf": PDF,
    **dict.fromkeys(
        (".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2", ".pef", ".srw", ".raw"),
        RAW,
    ),
    **dict.fromkeys((".mp4", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".m4v"), VIDEO),
    **dict.fromkeys((".avif", ".avifs"), AVIF),
    ".jxl": JPEG_XL,
    **dict.fromkeys((".eps", ".ps", ".ai"), POSTSCRIPT),
    **dict.fromkeys((".xcf", ".kra", ".psb"), PHOTOSHOP),
    **dict.fromkeys((".nii", ".nii.gz"), NIFTI),
    **dict.fromkeys((".npy", ".npz"), ARRAY),
}


def picture_kind(head: bytes) -> Kind | None:
    """What a file is that begins with `head`, for one that Pillow has not read."""
    if head[128:132] == b"DICM":
        return DICOM
    if head[4:8] == b"ftyp" and head[8:12] in _BRANDS:
        return _BRANDS[head[8:12]]
    if head[:4] in (b"II*\0", b"MM\0*") and head[8:10] == b"CR":
        return RAW
    kind = kind_of(head, _OPENINGS)
    return SVG if kind in (None, SERVER_ERROR) and b"<svg" in head.lower() else kind


def readers() -> dict[str, Kind]:
    """The further endings that a folder's pictures may have, where their reader is installed."""
    return {
        ending: kind
        for ending, kind in BY_ENDING.items()
        if (kind is HEIC and find_spec("pillow_heif")) or (kind is DICOM and find_spec("pydicom"))
    }
