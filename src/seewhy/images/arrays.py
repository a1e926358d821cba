"""An array as a caller may pass it → the pixels of a picture."""

from __future__ import annotations

import numpy as np

from seewhy.errors import ImageError


def bytes_of(array: np.ndarray) -> np.ndarray:
    """An array as a caller may pass it → uint8 (H, W), (H, W, 3) or (H, W, 4)."""
    if array.ndim == 3 and array.shape[0] in (1, 3, 4) and array.shape[2] not in (1, 3, 4):
        raise ImageError(
            f"the array is {array.shape}, with channels first, but channels must be "
            "last: pass array.transpose(1, 2, 0)."
        )
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise ImageError(
            "a picture must be an array (height, width) or (height, width, channels) "
            f"with 1, 3 or 4 channels, not {array.shape}."
        )
    if 0 in array.shape:
        raise ImageError(f"the array {array.shape} is empty; a picture needs at least one pixel.")
    if np.issubdtype(array.dtype, np.floating):
        low, high = array.min(), array.max()
        if not (low >= 0 and high <= 1):  # NaN fails this too
            raise ImageError(
                "a float array must be from 0 to 1 without NaN, but this one is from "
                f"{low:g} to {high:g}. Divide bytes by 255."
            )
        array = np.rint(array.astype(np.float64) * 255).astype(np.uint8)
    if array.dtype != np.uint8:
        raise ImageError(
            f"an array must be uint8, or float from 0 to 1, not {array.dtype}. Divide "
            "it by the largest value that the data can take."
        )
    return array[..., 0] if array.shape[2:] == (1,) else array
