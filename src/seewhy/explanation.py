"""What an explanation is: one frozen value that everything else only reads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seewhy.errors import ImageError
from seewhy.images import Preprocess, Window, place
from seewhy.one_line import one_line
from seewhy.saving.data_file import Wanted, damage_named, read_data
from seewhy.saving.endings import DATA
from seewhy.saving.facts import Facts
from seewhy.saving.result import png_of, save
from seewhy.targets import Target
from seewhy.targets.saving import restored_or_named

if TYPE_CHECKING:
    from PIL import Image

    from seewhy.boxes import Box
    from seewhy.render.drawing import Drawing
    from seewhy.render.page import Page

FORMAT = "seewhy explanation 1"
_ARRAYS = {
    "map": Wanted("float32", ("height", "width")),
    "picture": Wanted("uint8", ("height", "width", 3)),
}


@dataclass(frozen=True)
class Prediction:
    """One of the classes the model named first.

    Attributes:
        index, label: the class.
        score: what the model gave (the logit, as a rule).
        probability: the softmax of the scores; None where there is none.
    """

    index: int
    label: str
    score: float
    probability: float | None


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why a model decided, for one picture and one target.

    Attributes:
        map: raw map `(height, width)`, float32, at the layer's resolution, signed where the
            method is.
        picture: the original picture `(height, width, 3)`, uint8 RGB.
        window: the part of the picture that the model saw.
        target: what is explained.
        label: the target in words.
        score: the target's value.
        probability: the softmax probability of the target's class; None where it has none.
        predictions: the five classes the model named first.
        method, layer, model: by name.
        image: the file's name, None if the picture came as an array.
        preprocess: what was done to the picture before the model saw it.
        versions: of seewhy and torch.
        seconds: this picture's share of the time its batch took in the model and the method.
        warnings: what is wrong with the map and what to try, in words.
    """

    map: np.ndarray
    picture: np.ndarray
    window: Window
    target: Target
    label: str
    score: float
    probability: float | None
    predictions: tuple[Prediction, ...]
    method: str
    layer: str
    model: str
    image: str | None
    preprocess: Preprocess
    versions: dict[str, str]
    seconds: float
    warnings: tuple[str, ...]

    @property
    def signed(self) -> bool:
        """Whether the map also says what speaks against the target."""
        return bool((self.map < 0).any())

    @cached_property
    def heatmap(self) -> np.ndarray:
        """The map on the original picture `(height, width)`, float32, 0 where the model saw none.

        By the exact inverse of the resize and crop, bilinear between the map's positions.
        """
        height, width = self.picture.shape[:2]
        return place(self.map, self.window, (height, width))

    def overlay(
        self,
        *,
        style: str | None = None,
        base: str = "picture",
        colormap: str | None = None,
        opacity: float | None = None,
        limits: tuple[float, float] | None = None,
        scale: str | None = None,
        boxes: Sequence[Box] = (),
    ) -> Image.Image:
        """The coloured map over the picture, at the picture's size.

        Args:
            style: "clear": the stronger the map, the denser its colour, and where it says nothing
                the picture is untouched; "veil": a colour for every value, equally dense
                everywhere; "print": lines at 25, 50 and 75 % of the maximum, without colour.
            base: "picture", or "grey": over the picture without its colours single values are read
                most exactly.
            colormap: a matplotlib name; alone it means a veil of its colours.
            opacity: of the map, 0 to 1: of "clear" where it is strongest (0.7), of "veil"
                everywhere (0.5).
            limits: the map's values that get the first and the last colour.
            scale: "zero" or "min", where the colours start; None is 0, but the minimum where that
                is above 25 % of the maximum.
            boxes: to outline, such as those that `boxes()` gives.

        Raises:
            ImageError: for a style, colour map, opacity or limits that there are not.
        """
        from seewhy.render.overlay import lay
        from seewhy.render.scale import scale_of
        from seewhy.render.style import style_of

        return lay(
            self.picture, self.heatmap, self.window,
            style_of(style, base=base, colormap=colormap, opacity=opacity),
            scale_of([self.map], limits=limits, start=scale),
            boxes=boxes,
        )  # fmt: skip

    def boxes(
        self, threshold: float = 0.15, *, largest: bool = True, connectivity: int = 8
    ) -> tuple[Box, ...]:
        """Where the object is, in the original picture's pixels: `seewhy.boxes.boxes`.

        Args:
            threshold: what is above this share of the heatmap's maximum belongs to the object:
                0.15 in Grad-CAM's paper, 0.2 in CAM's.
            largest: one box around the largest connected component, none where nothing speaks
                for the target; False gives one a component, the largest first.
            connectivity: 8: pixels that touch at a corner are connected; 4: they share an edge.
        """
        from seewhy.boxes import boxes

        return boxes(self.heatmap, threshold=threshold, largest=largest, connectivity=connectivity)

    def mask(
        self, threshold: float = 0.15, *, largest: bool = False, connectivity: int = 8
    ) -> np.ndarray:
        """The original picture's pixels that belong to the object: bool `(height, width)`.

        Args:
            threshold, connectivity: as `boxes` takes them.
            largest: only the largest connected component.
        """
        from seewhy.boxes import mask

        return mask(self.heatmap, threshold=threshold, largest=largest, connectivity=connectivity)

    def figure(
        self,
        *,
        style: str | None = None,
        base: str = "picture",
        colormap: str | None = None,
        opacity: float | None = None,
        limits: tuple[float, float] | None = None,
        scale: str | None = None,
        heat: bool = False,
    ) -> Drawing:
        """Picture and overlay side by side, with target, score, key and warnings in words.

        Args:
            style, base, colormap, opacity, limits, scale: as `overlay` takes them.
            heat: whether to draw the map alone as well.
        """
        return self._page(
            style=style, base=base, colormap=colormap, opacity=opacity, limits=limits,
            scale=scale, heat=heat,
        ).figure  # fmt: skip

    def save(self, path: str | Path, **drawing: Any) -> Path:
        """Write the figure (`.png`, `.jpg`, `.webp`, `.pdf`, `.svg`), or all there is to know.

        That is `.npz` or `.json`: `load_explanation` reads both back without loss; colours are
        the figure's alone.

        Args:
            path: the file.
            drawing: as `figure` takes it.

        Raises:
            ImageError: for another ending.
        """
        return save(
            path,
            "an explanation",
            picture=lambda: self._page(**drawing).figure,
            image=lambda: self._page(**drawing).image,
            data=lambda: (self.to_json(), {"map": self.map, "picture": self.picture}),
        )

    def _page(
        self,
        *,
        limits: tuple[float, float] | None = None,
        scale: str | None = None,
        heat: bool = False,
        **style: Any,
    ) -> Page:
        from seewhy.render.figure import page_of
        from seewhy.render.scale import scale_of
        from seewhy.render.style import style_of

        return page_of(
            self,
            style=style_of(**style),
            scale=scale_of([self.map], limits=limits, start=scale),
            heat=heat,
        )

    def to_json(self) -> dict[str, Any]:
        """Everything but the map and the picture, as JSON's own types."""
        return {
            "format": FORMAT,
            "image": self.image,
            "model": self.model,
            "method": self.method,
            "layer": self.layer,
            "target": self.target.to_json(),
            "label": self.label,
            "score": self.score,
            "probability": self.probability,
            "predictions": [asdict(one) for one in self.predictions],
            "window": asdict(self.window),
            "preprocess": self.preprocess.to_json(),
            "versions": self.versions,
            "seconds": self.seconds,
            "warnings": list(self.warnings),
        }

    def __repr__(self) -> str:
        probability = "" if self.probability is None else f", p {self.probability:.2f}"
        where = f" in {self.image}" if self.image else ""
        height, width = self.map.shape
        return one_line(
            f"<Explanation of '{self.label}'{where} (score {self.score:.3g}{probability}): "
            f"{self.method} at '{self.layer}' of {self.model}, {height}×{width}>"
        )

    def _repr_png_(self) -> bytes:
        return png_of(self._page().image)


def load_explanation(path: str | Path) -> Explanation:
    """Read back what `Explanation.save` wrote as `.npz` or `.json`.

    No code from the file runs. A target that cannot be made again, as one of a class of yours
    that is not imported, comes back by its words and raises when called.

    Raises:
        ImageError: for a file that is missing, damaged, or not an explanation.

    Example:
        >>> import seewhy
        >>> why = seewhy.explain(seewhy.load_model("demo-cat-dog"), "cat.jpg")
        >>> again = seewhy.load_explanation(why.save("why.npz"))
        >>> again.label, (again.map == why.map).all().item()
        ('cat', True)
    """
    path = Path(path)
    if path.suffix.lower() not in DATA:
        raise ImageError(f"{path.name}: explanations are read from .npz and .json files.")
    facts, arrays = read_data(path, FORMAT, _ARRAYS)
    with damage_named(path):
        label = facts.get("label", str)
        return Explanation(
            map=arrays["map"],
            picture=arrays["picture"],
            window=_window(facts.part("window")),
            target=restored_or_named(facts.get("target", dict), label),
            label=label,
            score=facts.get("score", float),
            probability=facts.get_or_none("probability", float),
            predictions=tuple(map(_prediction, facts.parts("predictions"))),
            method=facts.get("method", str),
            layer=facts.get("layer", str),
            model=facts.get("model", str),
            image=facts.get_or_none("image", str),
            preprocess=Preprocess.from_json(facts.get("preprocess", dict)),
            versions=facts.part("versions").all(str),
            seconds=facts.get("seconds", float),
            warnings=facts.each("warnings", str),
        )


def _window(facts: Facts) -> Window:
    window = Window(*(facts.get(edge, float) for edge in ("left", "top", "right", "bottom")))
    width, height = window.right - window.left, window.bottom - window.top
    if not (0 < width < math.inf and 0 < height < math.inf):
        raise ValueError(f"its window is {window}; edges in order, of finite numbers, are wanted")
    return window


def _prediction(facts: Facts) -> Prediction:
    return Prediction(
        facts.get("index", int),
        facts.get("label", str),
        facts.get("score", float),
        facts.get_or_none("probability", float),
    )
