"""What an explanation is: one frozen value that everything else only reads."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from PIL import Image

from seewhy.errors import ImageError, SeewhyError
from seewhy.files import written_aside
from seewhy.images import Preprocess, Window, place
from seewhy.targets import Target, target_from_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from seewhy.boxes import Box

FORMAT = "seewhy explanation 1"


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
        colormap: str | None = None,
        opacity: float = 0.5,
        limits: tuple[float, float] | None = None,
        boxes: Sequence[Box] = (),
    ) -> Image.Image:
        """The coloured map over the picture, at the picture's size.

        Args:
            colormap: a matplotlib name; None takes one for positive or for signed maps.
            opacity: of the map, 0 to 1.
            limits: the map's values that get the first and the last colour; None takes those of
                the figure.
            boxes: to outline, such as those that `boxes()` gives.
        """
        from seewhy.render.colormap import color_range
        from seewhy.render.overlay import overlay

        return overlay(
            self.picture, self.heatmap, self.window, colormap=colormap, opacity=opacity,
            limits=color_range([self.map], self.signed) if limits is None else limits,
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
        colormap: str | None = None,
        opacity: float = 0.5,
        limits: tuple[float, float] | None = None,
    ) -> Figure:
        """Picture and overlay side by side, with target, score, range and warnings in words."""
        from seewhy.render.figure import figure

        return figure(self, colormap=colormap, opacity=opacity, limits=limits)

    def save(self, path: str | Path, *, colormap: str | None = None, opacity: float = 0.5) -> Path:
        """Write the figure (`.png`), or everything there is to know (`.npz`, `.json`).

        `load_explanation` reads the last two back without loss; colours are the figure's alone.

        Raises:
            ImageError: for another ending.
        """
        path = Path(path)
        if path.suffix not in (".png", ".npz", ".json"):
            raise ImageError(
                f"{path.name}: an explanation is saved as .png (a figure), .npz or .json; "
                f"'{path.suffix}' is none of these."
            )
        with written_aside(path) as aside:
            if path.suffix == ".png":
                self.figure(colormap=colormap, opacity=opacity).savefig(aside)
            elif path.suffix == ".npz":
                facts = np.array(json.dumps(self.to_json()))
                np.savez_compressed(aside, map=self.map, picture=self.picture, facts=facts)
            else:
                everything = {
                    **self.to_json(),
                    "map": self.map.tolist(),
                    "picture": base64.b64encode(_png(self.picture)).decode(),
                }
                aside.write_text(json.dumps(everything), encoding="utf-8")
        return path

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
        return (
            f"<Explanation of '{self.label}'{where} (score {self.score:.3g}{probability}): "
            f"{self.method} at '{self.layer}' of {self.model}, {height}×{width}>"
        )

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.figure().savefig(buffer, format="png")
        return buffer.getvalue()


def load_explanation(path: str | Path) -> Explanation:
    """Read back what `Explanation.save` wrote as `.npz` or `.json`.

    Raises:
        ImageError: for a file that is missing, damaged, or not an explanation.
    """
    path = Path(path)
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                facts = json.loads(str(arrays["facts"]))
                map_, picture = arrays["map"], arrays["picture"]
        elif path.suffix == ".json":
            facts = json.loads(path.read_text(encoding="utf-8"))
            map_ = np.array(facts["map"], np.float32)
            picture = np.array(Image.open(io.BytesIO(base64.b64decode(facts["picture"]))))
        else:
            raise ImageError(f"{path.name}: explanations are read from .npz and .json files.")
        if facts["format"] != FORMAT:
            raise ImageError(
                f"{path.name} has the format '{facts['format']}'; this version reads '{FORMAT}'."
            )
        return Explanation(
            map=map_,
            picture=picture,
            window=Window(**facts["window"]),
            target=cast(Target, target_from_json(facts["target"])),
            label=facts["label"],
            score=facts["score"],
            probability=facts["probability"],
            predictions=tuple(Prediction(**one) for one in facts["predictions"]),
            method=facts["method"],
            layer=facts["layer"],
            model=facts["model"],
            image=facts["image"],
            preprocess=Preprocess.from_json(facts["preprocess"]),
            versions=facts["versions"],
            seconds=facts["seconds"],
            warnings=tuple(facts["warnings"]),
        )
    except SeewhyError:
        raise
    except FileNotFoundError as error:
        raise ImageError(f"there is no file '{path}'; check the path.") from error
    except Exception as error:  # zip, JSON and PNG readers each raise their own
        raise ImageError(
            f"{path.name} is not an explanation that seewhy saved, or it is damaged ({error})."
        ) from error


def _png(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    return buffer.getvalue()
