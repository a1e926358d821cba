"""The overlay of an explanation as a small JPEG."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from seewhy.explanation import Explanation
from seewhy.images import Window

_QUALITY = 85


@dataclass(frozen=True)
class Overlays:
    """How overlays are drawn.

    Attributes:
        size: the longer side has at most so many pixels.
    """

    size: int = 512

    def write(self, folder: Path, id_: int, number: int, explanation: Explanation) -> str:
        """Write the overlay of a picture's explanation of that number; its path in the run."""
        name = f"{id_:09d}.jpg" if number == 0 else f"{id_:09d}-{number}.jpg"
        path = folder / name
        drawn = self.draw(explanation)
        with path.open("wb") as file:  # its part is not there yet, so that nobody reads it
            drawn.save(file, format="JPEG", quality=_QUALITY)
        return f"{folder.parent.name}/{folder.name}/{name}"

    def draw(self, explanation: Explanation) -> Image.Image:
        """The overlay at its size."""
        return smaller(explanation, self.size).overlay()


def smaller(explanation: Explanation, longest: int) -> Explanation:
    """The same of a picture made smaller, so that nothing is drawn that is not seen."""
    height, width = explanation.picture.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return explanation
    size = max(1, round(width * scale)), max(1, round(height * scale))
    across, down = size[0] / width, size[1] / height
    window = explanation.window
    picture = Image.fromarray(explanation.picture).resize(
        size, Image.Resampling.BILINEAR, reducing_gap=2.0
    )
    return replace(
        explanation,
        picture=np.asarray(picture),
        window=Window(
            window.left * across, window.top * down, window.right * across, window.bottom * down
        ),
    )
