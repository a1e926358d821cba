"""DICOM files: stored values → what a reading room's screen shows.

The order is that of the standard (PS3.3 C.11 and PS3.4 N.2): rescale to the units of the modality,
window to greys, and turn round where 0 is white.
"""

from __future__ import annotations

import math
from typing import Any, BinaryIO

import numpy as np
import PIL.Image

from seewhy.errors import ImageError
from seewhy.images.limit import check_size
from seewhy.images.quiet import without_warnings


def read(file: BinaryIO) -> tuple[PIL.Image.Image, tuple[str, ...]]:
    """The first frame of a DICOM file, 8 bits a channel, and in words how it was made visible.

    Raises:
        ImageError: It holds no picture, or one of a compression that is not installed.
        Exception: Whatever pydicom raises of a damaged file.
    """
    from pydicom.pixels import apply_color_lut

    with without_warnings(UserWarning):
        dataset, values = _stored(file)
    frames = int(dataset.get("NumberOfFrames") or 1)
    notes = (f"it is the first of the file's {frames} frames",) if frames > 1 else ()
    meaning = str(dataset.PhotometricInterpretation)
    if meaning == "PALETTE COLOR":
        colours = apply_color_lut(values, dataset)
        return PIL.Image.fromarray(_high_byte(colours, colours.dtype.itemsize * 8)), notes
    if values.ndim == 3:
        bits = int(dataset.BitsStored)
        return PIL.Image.fromarray(_high_byte(values, bits)), notes
    grey, said = _grey(values, dataset)
    if meaning == "MONOCHROME1":
        grey = 255 - grey
        said += ", and turned round, since 0 is white in it (MONOCHROME1)"
    return PIL.Image.fromarray(grey), (*notes, f"its values were {said}")


def size(file: BinaryIO) -> tuple[int, int]:
    """(height, width) of a DICOM file's frames, from what stands before its pixels.

    Raises:
        Exception: Whatever pydicom raises of a damaged file.
    """
    from pydicom import dcmread

    with without_warnings(UserWarning):
        dataset = dcmread(file, stop_before_pixels=True, specific_tags=["Rows", "Columns"])
    return int(dataset.Rows), int(dataset.Columns)


def _stored(file: BinaryIO) -> tuple[Any, np.ndarray]:
    """The data set, and its first frame's values."""
    from pydicom import dcmread
    from pydicom.pixels import pixel_array

    dataset = dcmread(file)
    if "PixelData" not in dataset:
        kind = dataset.get("Modality") or "unknown"
        raise ImageError(f"contains no picture (its modality is {kind}). Give a file with pixels.")
    check_size(int(dataset.Columns), int(dataset.Rows))
    try:
        return dataset, pixel_array(dataset, index=0)
    except RuntimeError as error:  # from its decoders, each of which may be missing or fail
        syntax = dataset.file_meta.TransferSyntaxUID.name
        reason = " ".join(str(error).split())
        raise ImageError(
            f"is damaged, or is compressed as {syntax} in a way that no decoder installed here "
            f'reads ({reason}); install more of them with pip install "pylibjpeg[all]", or '
            "decompress it first, for instance with: gdcmconv --raw."
        ) from error


def _grey(stored: np.ndarray, dataset: Any) -> tuple[np.ndarray, str]:
    """Greys (height, width) of stored values, and in words how they were made."""
    from pydicom.pixels import apply_modality_lut, apply_voi

    values, said = stored.astype(np.float64), ""
    slope = _first(dataset, "PixelValueTransformationSequence", "RescaleSlope")
    intercept = _first(dataset, "PixelValueTransformationSequence", "RescaleIntercept")
    if "ModalityLUTSequence" in dataset:
        values = apply_modality_lut(stored, dataset).astype(np.float64)
        said = "taken through the file's modality table, "
    elif slope is not None or intercept is not None:
        slope, intercept = (1 if slope is None else slope), intercept or 0
        values = values * slope + intercept
        if (slope, intercept) != (1, 0):
            said = f"rescaled (× {slope:g} {'−' if intercept < 0 else '+'} {abs(intercept):g}), "
    if "VOILUTSequence" in dataset:
        table = apply_voi(values.astype(np.int64), dataset, index=0).astype(np.float64)
        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        return _bytes(table / (2**bits - 1)), f"{said}taken through the file's table of greys"
    centre = _first(dataset, "FrameVOILUTSequence", "WindowCenter")
    width = _first(dataset, "FrameVOILUTSequence", "WindowWidth")
    if centre is not None and width is not None and width >= 1:
        function = str(dataset.get("VOILUTFunction") or "LINEAR")
        greys = _bytes(_windowed(values, centre, width, function))
        form = "" if function == "LINEAR" else f", {function.lower().replace('_', ' ')}"
        return greys, f"{said}shown in the file's window of {width:g} around {centre:g}{form}"
    if stored.dtype == np.uint8 and int(dataset.BitsStored) == 8 and not said:
        return stored, "taken as greys from 0 to 255: the file names no window"
    padding = dataset.get("PixelPaddingValue")
    inside = values if padding is None else values[stored != padding]
    low, high = (inside.min(), inside.max()) if inside.size else (0.0, 0.0)
    greys = _bytes((values - low) / (high - low if high > low else 1))
    return greys, (
        f"{said}shown from their smallest, {low:g}, to their largest, {high:g}: the file names no "
        "window, and the picture's contrast depends on this choice"
    )


def _windowed(values: np.ndarray, centre: float, width: float, function: str) -> np.ndarray:
    """Shares of white under a window (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    shares: np.ndarray
    if function == "SIGMOID":
        shares = 1 / (1 + np.exp((-4 * (values - centre) / width).clip(-700, 700)))
    elif function == "LINEAR_EXACT":
        shares = (values - centre) / width + 0.5
    else:
        shares = (values - (centre - 0.5)) / max(width - 1, 1e-9) + 0.5
    return shares


def _first(dataset: Any, sequence: str, name: str) -> float | None:
    """An attribute's first value: of the data set, or of its first frame's functional groups."""
    holders = [dataset]
    for groups in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        group = dataset.get(groups)
        if group and sequence in group[0]:
            holders.append(group[0][sequence][0])
    for holder in holders:
        value = holder.get(name)
        if value is not None and value != "":
            number = float(value[0] if hasattr(value, "__len__") else value)
            if math.isfinite(number):
                return number
    return None


def _bytes(shares: np.ndarray) -> np.ndarray:
    return np.asarray(np.rint(shares.clip(0, 1) * 255), np.uint8)


def _high_byte(values: np.ndarray, bits: int) -> np.ndarray:
    shifted = values >> (bits - 8) if bits > 8 else values << (8 - bits)
    return np.asarray(shifted, np.uint8)
