"""A matplotlib figure laid out in points from its upper left corner.

Nothing global is touched: no pyplot, no backend, no rcParams, so that a server may draw from many
threads and a user's own settings neither change nor matter. A figure goes with its last reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from seewhy.render.colormap import Limits, colorize
from seewhy.render.text import plain_font, short_number

if TYPE_CHECKING:
    from seewhy.render.drawing import Drawing

LINE = 1.3  # from line to line, in font sizes; scripts taller than Latin fit as well
NOTE_COLOR, WARNING_COLOR = "#555555", "#b00020"
BAR_WIDTH, BAR_ROOM = 9.0, 50.0  # a colour bar; it with its numbers


class Page:
    """A white page of `width` × `height` points (1/72 inch)."""

    def __init__(self, width: float, height: float) -> None:
        from seewhy.render.drawing import blank

        self.width, self.height = width, height
        self.figure: Drawing = blank(width, height)

    def write(
        self,
        lines: Sequence[str],
        font: str,
        size: float,
        x: float,
        top: float,
        *,
        color: str = "black",
        align: str = "left",
    ) -> None:
        """Write lines from `top` down; `x` is their left edge, middle or right edge."""
        from matplotlib.font_manager import FontProperties

        for row, line in enumerate(lines):
            self.figure.text(
                x / self.width,
                # 0.95: from the line's top to its baseline.
                1 - (top + (row * LINE + 0.95) * size) / self.height,
                line,
                # A copy for each: matplotlib lets the owner of a Text change it.
                fontproperties=FontProperties(fname=font, size=size),
                color=color,
                horizontalalignment=align,
                verticalalignment="baseline",
                parse_math=False,  # a $ or _ in a label is a $ or _
                usetex=False,
            )

    def show(self, image: Image.Image, x: float, top: float, width: float, height: float) -> None:
        """Lay `image` into the box, all of it."""
        axes = self.figure.add_axes(
            (x / self.width, 1 - (top + height) / self.height,
             width / self.width, height / self.height)
        )  # fmt: skip
        axes.set_axis_off()
        # Twice the dots it will have is all that can be seen of a large photograph.
        dots = 2 * self.figure.dpi / 72
        image = image.copy()
        image.thumbnail((max(1, int(width * dots)), max(1, int(height * dots))))
        axes.imshow(np.asarray(image), aspect="auto", origin="upper", interpolation="antialiased")

    def colour_bar(
        self, limits: Limits, colormap: str, x: float, top: float, height: float
    ) -> None:
        """A bar from the last colour, above, to the first, with the values they stand for."""
        low, high = limits
        # An empty range has one colour, its first.
        shares = np.linspace(1, 0, 256) if high > low else np.zeros(2)
        bar = Image.fromarray(colorize(shares, colormap)[:, None].repeat(2, axis=1))
        self.show(bar, x, top, BAR_WIDTH, height)
        size = 8.0
        marks = [(high, 0.0), ((low + high) / 2, 0.5), (low, 1.0)] if high > low else [(low, 1.0)]
        for value, share in marks:
            # The upper number hangs from the bar's end, the lower stands on it.
            place = top + share * (height - size)
            number = short_number(value)
            self.write([number], plain_font(), size, x + BAR_WIDTH + 4, place)


def box_of(picture_size: tuple[int, int], area: float) -> tuple[float, float]:
    """(width, height) in points for a picture (height, width), of about `area` square points.

    Not narrower or flatter than 1 : 3; a picture beyond that is fitted into the box.
    """
    height, width = picture_size
    aspect = min(max(width / height, 1 / 3), 3.0)
    return (area * aspect) ** 0.5, (area / aspect) ** 0.5


def fitted(
    picture_size: tuple[int, int], width: float, height: float
) -> tuple[float, float, float, float]:
    """(x, top, width, height) of the largest such picture in the middle of a box."""
    rows, columns = picture_size
    scale = min(width / columns, height / rows)
    return (
        (width - columns * scale) / 2,
        (height - rows * scale) / 2,
        columns * scale,
        rows * scale,
    )
