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
_LARGEST_SIDE = 30_000  # pixels; matplotlib draws at most 65,535


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


def blank(width: float, height: float) -> Drawing:
    """A white drawing of `width` × `height` points (1/72 inch)."""
    dots = min(_DOTS_PER_INCH, _LARGEST_SIDE * 72 / max(width, height))
    drawing = Drawing(figsize=(width / 72, height / 72), dpi=dots, facecolor="white")
    drawing.set_layout_engine("none")
    FigureCanvasAgg(drawing)
    return drawing


def framed(image: Image.Image) -> Drawing:
    """A drawing that is this image, pixel by pixel."""
    points = 72 / _DOTS_PER_INCH
    # A hair more: matplotlib rounds down, and a product of shares may lie just below its number.
    drawing = blank((image.width + 1e-3) * points, (image.height + 1e-3) * points)
    axes = drawing.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.imshow(np.asarray(image), aspect="auto", origin="upper", interpolation="none")
    return drawing
