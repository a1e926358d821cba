"""A page laid out in points from its upper left corner, drawn by Pillow or by matplotlib.

Pillow draws pixels, ten times as fast; matplotlib draws what can be enlarged (PDF, SVG) and what a
notebook's user changes. Nothing global is touched: no pyplot, no backend, no rcParams, so that a
server may draw from many threads and a user's own settings neither change nor matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageColor, ImageDraw

from seewhy.render.colormap import Limits, colorize
from seewhy.render.text import pillow_font, plain_font, short_number

if TYPE_CHECKING:
    from seewhy.render.drawing import Drawing

LINE = 1.3  # from line to line, in font sizes; scripts taller than Latin fit as well
_BASELINE = 0.95  # from a line's top to its baseline, in font sizes
NOTE_COLOR, WARNING_COLOR = "#555555", "#b00020"
BAR_WIDTH, BAR_ROOM = 9.0, 50.0  # a colour bar; it with its numbers
_DOTS_PER_INCH = 110  # letters of 8 points are 12 pixels high; half the pixels of 150 to an inch
_LARGEST_SIDE = 30_000  # pixels; matplotlib draws at most 65,535


@dataclass(frozen=True)
class _Words:
    text: str
    font: str
    size: float
    x: float
    baseline: float
    color: str
    align: str


@dataclass(frozen=True, eq=False)
class _Shown:
    image: Image.Image
    box: tuple[int, int, int, int]  # left, top, right, bottom in pixels


@dataclass(frozen=True)
class _Patch:
    box: tuple[float, float, float, float]  # left, top, right, bottom in points
    color: str


class Page:
    """A white page of `width` × `height` points (1/72 inch)."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        dots = min(_DOTS_PER_INCH, _LARGEST_SIDE * 72 / max(width, height))
        self.pixels = (round(width * dots / 72), round(height * dots / 72))
        self._dots = dots
        self._parts: list[_Words | _Shown | _Patch] = []
        self._figure: Drawing | None = None

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
        for row, line in enumerate(lines):
            baseline = top + (row * LINE + _BASELINE) * size
            self._put(_Words(line, font, size, x, baseline, color, align))

    def show(self, image: Image.Image, x: float, top: float, width: float, height: float) -> None:
        """Lay `image` into the box, all of it, on whole pixels."""
        left, upper, right, lower = self._snapped(x, top, width, height)
        size = (right - left, lower - upper)
        if image.size != size:
            image = image.resize(size, _way(image.size, size), reducing_gap=2.0)
        self._put(_Shown(image, (left, upper, right, lower)))

    def size_of(self, x: float, top: float, width: float, height: float) -> tuple[int, int]:
        """How many pixels wide and high an image is that fills the box."""
        left, upper, right, lower = self._snapped(x, top, width, height)
        return right - left, lower - upper

    def fill(self, x: float, top: float, width: float, height: float, color: str) -> None:
        """A box of one colour."""
        self._put(_Patch((x, top, x + width, top + height), color))

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

    @property
    def image(self) -> Image.Image:
        """The page in pixels, drawn by Pillow."""
        image = Image.new("RGB", self.pixels, "white")
        draw = ImageDraw.Draw(image)
        scale = self._dots / 72
        for part in self._parts:
            if isinstance(part, _Words):
                font = pillow_font(part.font, part.size * scale)
                place = (round(part.x * scale), round(part.baseline * scale))
                anchor = {"left": "ls", "center": "ms", "right": "rs"}[part.align]
                draw.text(place, part.text, part.color, font, anchor=anchor)
            elif isinstance(part, _Shown):
                image.paste(part.image, part.box)
            else:
                left, top, right, bottom = (round(edge * scale) for edge in part.box)
                box = (left, top, max(left, right - 1), max(top, bottom - 1))
                draw.rectangle(box, ImageColor.getrgb(part.color))
        return image

    @property
    def figure(self) -> Drawing:
        """The page as matplotlib's figure, the same one every time."""
        if self._figure is None:
            from seewhy.render.drawing import blank

            self._figure = blank(self.pixels, self._dots)
            for part in self._parts:
                self._draw(self._figure, part)
        return self._figure

    def _put(self, part: _Words | _Shown | _Patch) -> None:
        self._parts.append(part)
        if self._figure is not None:
            self._draw(self._figure, part)

    def _snapped(
        self, x: float, top: float, width: float, height: float
    ) -> tuple[int, int, int, int]:
        scale = self._dots / 72
        left, upper = round(x * scale), round(top * scale)
        # By the size alone, so that pictures side by side have as many pixels.
        size = max(1, round(width * scale)), max(1, round(height * scale))
        return left, upper, left + size[0], upper + size[1]

    def _draw(self, figure: Drawing, part: _Words | _Shown | _Patch) -> None:
        width, height = self.pixels
        scale = self._dots / 72
        if isinstance(part, _Words):
            from matplotlib.font_manager import FontProperties

            figure.text(
                part.x * scale / width,
                1 - part.baseline * scale / height,
                part.text,
                # A copy for each: matplotlib lets the owner of a Text change it.
                fontproperties=FontProperties(fname=part.font, size=part.size),
                color=part.color,
                horizontalalignment=part.align,
                verticalalignment="baseline",
                parse_math=False,  # a $ or _ in a label is a $ or _
                usetex=False,
            )
        elif isinstance(part, _Shown):
            left, top, right, bottom = part.box
            axes = figure.add_axes(
                (left / width, 1 - bottom / height, (right - left) / width, (bottom - top) / height)
            )
            axes.set_axis_off()
            axes.imshow(np.asarray(part.image), aspect="auto", origin="upper", interpolation="none")
        else:
            from matplotlib.patches import Rectangle

            x0, y0, x1, y1 = (edge * scale for edge in part.box)
            figure.add_artist(
                Rectangle(
                    (x0 / width, 1 - y1 / height),
                    (x1 - x0) / width,
                    (y1 - y0) / height,
                    color=part.color,
                    linewidth=0,
                )
            )


def _way(was: tuple[int, int], wanted: tuple[int, int]) -> Image.Resampling:
    """Much enlarged, a picture's pixels are seen as such."""
    if was[0] >= wanted[0]:
        return Image.Resampling.LANCZOS
    return Image.Resampling.NEAREST if 3 * was[0] <= wanted[0] else Image.Resampling.BICUBIC


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
