"""How large a picture may be."""

from __future__ import annotations

import PIL.Image


def check_size(width: int, height: int) -> None:
    """Refuse what Pillow would refuse: over twice its limit.

    Raises:
        PIL.Image.DecompressionBombError: It is larger.
    """
    limit = PIL.Image.MAX_IMAGE_PIXELS
    if limit is not None and width * height > 2 * limit:
        raise PIL.Image.DecompressionBombError(
            f"Image size ({width * height} pixels) exceeds limit of {2 * limit} pixels"
        )
