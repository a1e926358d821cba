"""A figure that a notebook shows and that saves itself.

Import this where a figure is made, not at the top: it loads matplotlib.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from seewhy.saving.result import save_picture

_DOTS_PER_INCH = 150


class Drawing(Figure):
    """A matplotlib figure of its own size; nothing global (pyplot, rcParams) is touched.

    A figure that pyplot did not make is shown in a notebook as its `repr`; this one as a picture.
    """

    def save(self, path: str | Path) -> Path:
        """Write it as `.png`, `.jpg`, `.pdf` or `.svg`, whole or not at all.

        Raises:
            ImageError: for another ending.
        """
        return save_picture(path, self)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi="figure")
        return buffer.getvalue()

    def __repr__(self) -> str:
        width, height = self.canvas.get_width_height()
        return f"<Drawing of {width}×{height} pixels>"

    __str__ = __repr__


def blank(pixels: tuple[int, int], dots: float) -> Drawing:
    """A white drawing so many pixels wide and high, `dots` of them to an inch."""
    # A hair more: matplotlib rounds down, and a product of shares may lie just below its number.
    width, height = ((side + 1e-3) / dots for side in pixels)
    drawing = Drawing(figsize=(width, height), dpi=dots, facecolor="white")
    drawing.set_layout_engine("none")
    FigureCanvasAgg(drawing)
    return drawing


def framed(image: Image.Image) -> Drawing:
    """A drawing that is this image, pixel by pixel."""
    drawing = blank(image.size, _DOTS_PER_INCH)
    axes = drawing.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.imshow(np.asarray(image), aspect="auto", origin="upper", interpolation="none")
    return drawing
