"""The concepts that a layer holds in some pictures (deep feature factorisation, Collins 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from seewhy.errors import ImageError, LayerError, MethodError
from seewhy.explainer import Explainer, Prepared, named_predictions
from seewhy.explanation import Prediction
from seewhy.images import ImageSource, Window
from seewhy.layers import layers_of
from seewhy.meaning import meaning_of
from seewhy.methods.factorisation import factorise
from seewhy.models.bound import Bound, bind, to_model
from seewhy.models.load import LoadedModel
from seewhy.models.outputs import OutputSelector
from seewhy.models.rerun import rerunning
from seewhy.models.undisturbed import given_back
from seewhy.models.watch import Layer, watch
from seewhy.one_line import one_line
from seewhy.precision import at_least_float32
from seewhy.saving.result import png_of, save
from seewhy.targets import predictions, short_label

if TYPE_CHECKING:
    from PIL import Image

    from seewhy.images import Preprocess
    from seewhy.render.drawing import Drawing

FORMAT = "seewhy concepts 1"


@dataclass(frozen=True, eq=False)
class Concepts:
    """What recurs in a layer over some pictures: directions in its channels, the strongest first.

    Attributes:
        maps: for each picture `(concepts, height, width)`, float32: how much of each concept lies
            at each position, in the layer's units, alike for all pictures.
        directions: `(concepts, channels)`, float32, of length 1: what a concept is made of.
        classes: for each concept the classes that the network names first where it sees nothing
            else: the part of the network behind the layer, run on the concept alone.
        explained: the share of the layer's energy (the sum of its squares) in all concepts.
        pictures, windows: each picture and the part of it that the model saw.
        layer, model: by name.
        images: the files' names, None for a picture that came as an array.
        warnings: what to know about before trusting it, in words.
    """

    maps: tuple[np.ndarray, ...]
    directions: np.ndarray
    classes: tuple[tuple[Prediction, ...], ...]
    explained: float
    pictures: tuple[np.ndarray, ...]
    windows: tuple[Window, ...]
    layer: str
    model: str
    images: tuple[str | None, ...]
    warnings: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[tuple[str, ...], ...]:
        """For each concept its classes' short names."""
        return tuple(tuple(short_label(one.label) for one in named) for named in self.classes)

    def figure(self, *, columns: int | None = None, opacity: float = 0.7) -> Drawing:
        """All pictures, each beside itself in the colours of its concepts, and what these mean.

        Args:
            columns: pictures in a row; None makes rows of up to three.
            opacity: of the colour where a concept is strongest, 0 to 1.
        """
        from seewhy.render.drawing import framed

        return framed(self._page(columns=columns, opacity=opacity))

    def save(self, path: str | Path, *, columns: int | None = None, opacity: float = 0.7) -> Path:
        """Write the figure (`.png`, `.jpg`, `.pdf`, `.svg`), or the data (`.npz`, `.json`).

        Raises:
            ImageError: for another ending.
        """
        return save(
            path,
            "a page of concepts",
            picture=lambda: self.figure(columns=columns, opacity=opacity),
            image=lambda: self._page(columns=columns, opacity=opacity),
            data=self._data,
        )

    def _page(self, *, columns: int | None = None, opacity: float = 0.7) -> Image.Image:
        from seewhy.render.concepts import draw_concepts

        return draw_concepts(self, columns=columns, opacity=opacity)

    def _data(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        names = ("layer", "model", "images", "explained", "warnings")
        facts = {name: getattr(self, name) for name in names}
        classes = [[asdict(one) for one in named] for named in self.classes]
        windows = [asdict(one) for one in self.windows]
        arrays = {"directions": self.directions}
        for number, (map_, picture) in enumerate(zip(self.maps, self.pictures, strict=True)):
            arrays |= {f"maps-{number}": map_, f"picture-{number}": picture}
        return {"format": FORMAT, **facts, "classes": classes, "windows": windows}, arrays

    def __repr__(self) -> str:
        pictures = len(self.pictures)
        one = self.images[0] or "one picture"
        where = one if pictures == 1 else f"{pictures} pictures"
        return one_line(
            f"<Concepts of {where}: {len(self.directions)} at '{self.layer}' of {self.model}, "
            f"{100 * self.explained:.0f} % of its energy>"
        )

    def _repr_png_(self) -> bytes:
        return png_of(self._page())


@given_back
def find_concepts(
    model: nn.Module | LoadedModel,
    images: ImageSource | Sequence[ImageSource],
    *,
    count: int = 5,
    layer: str | nn.Module | None = None,
    top: int = 3,
    output: OutputSelector | None = None,
    preprocess: Preprocess | None = None,
    labels: Sequence[str] | None = None,
) -> Concepts:
    """The concepts of one or many pictures: a layer's activations in non-negative parts.

    The positions of all pictures are factorised together, so a concept is the same thing in each.
    Negative activations have no place in it: they are set to 0, and a warning says how much that
    was. What a concept speaks for is read off the network itself: it is put at every position of
    the layer, as strong as it is where it occurs (its mean weighted by itself), and what lies
    behind the layer is run. What goes round the layer, if anything does, is the first picture's.

    Args:
        model, output, preprocess, labels: as `explain` takes them.
        images: one picture or a list, each as `explain` takes it; of any sizes.
        count: how many concepts.
        layer: one layer; None takes the proposed one.
        top: how many classes are named for each concept, at most.

    Raises:
        ImageError, LayerError, MethodError, ModelError: each with what to do.

    Example:
        >>> import seewhy
        >>> model = seewhy.load_model("demo")
        >>> found = seewhy.find_concepts(model, ["cat.jpg", "dog.jpg"], count=3)
        >>> len(found.names), found.maps[0].shape
        (3, (3, 7, 7))
        >>> file = found.save("concepts.png")
    """
    sources = [*images] if isinstance(images, (list, tuple)) else [cast(ImageSource, images)]
    if not sources:
        raise ImageError("no picture was given. Concepts need at least one picture.")
    if count < 1 or top < 1:
        raise MethodError(f"count and top must be at least 1, but count={count}, top={top}.")
    explainer = Explainer(model, output=output, preprocess=preprocess, labels=labels)
    prepared = [explainer.prepare(source) for source in sources]
    bound, first = bind(explainer.module, prepared[0].tensor[None], output=output)
    layers = layers_of(bound, first, layer)
    if len(layers) != 1:
        raise LayerError(
            f"concepts are found in one layer, but layer='{layer}' names {len(layers)} layers."
        )
    activations = _activations(bound, layers[0], prepared)
    rows = torch.cat([one.flatten(1).T for one in activations])
    if count > min(rows.shape):
        raise MethodError(
            f"count={count} is too large: layer '{layers[0]}' has {rows.shape[0]} "
            f"positions and {rows.shape[1]} channels here, so at most {min(rows.shape)} "
            "concepts are possible."
        )
    values = rows.relu()
    if not float(values.square().sum()) > 0:
        raise MethodError(
            f"layer '{layers[0]}' has no positive activations in these pictures, so no "
            "concepts can be found. Choose another layer."
        )
    found = factorise(values, count)
    weights = found.weights.float()
    parts = torch.split(weights, [one[0].numel() for one in activations])
    named = _named(explainer, bound, layers[0], first, found.directions, found.weights, top)
    return Concepts(
        maps=tuple(
            part.T.reshape(count, *one.shape[1:]).numpy()
            for part, one in zip(parts, activations, strict=True)
        ),
        directions=found.directions.float().numpy(),
        classes=named,
        explained=1 - found.errors[-1] / float(values.double().square().sum()),
        pictures=tuple(one.picture for one in prepared),
        windows=tuple(one.window for one in prepared),
        layer=str(layers[0]),
        model=explainer.name,
        images=tuple(one.name for one in prepared),
        warnings=_warnings(rows, found.weights),
    )


def _activations(model: Bound, layer: Layer, prepared: Sequence[Prepared]) -> list[Tensor]:
    """What the layer gives for each picture, `(channels, height, width)`, on the CPU."""
    found = []
    with watch(model, [layer], differentiate=False) as seen:
        for one in prepared:
            seen(to_model(model, one.tensor[None]))
            (activations,) = seen.activations
            if not activations.isfinite().all():
                raise LayerError(
                    f"layer '{layer}' contains NaN or infinity for {one.name or 'a picture'}. "
                    "Run the network in float32 and check the input."
                )
            found.append(activations[0].cpu())
    return found


def _named(
    explainer: Explainer,
    model: Bound,
    layer: Layer,
    image: Tensor,
    directions: Tensor,
    weights: Tensor,
    top: int,
) -> tuple[tuple[Prediction, ...], ...]:
    """The classes of each concept: the network behind the layer, run on nothing but the concept."""
    total = weights.sum(0)
    strengths = weights.square().sum(0) / torch.where(total == 0, 1, total)
    alone = (strengths[:, None] * directions)[..., None, None]
    with rerunning(model, layer, image) as tail, torch.no_grad():
        outputs = at_least_float32(tail.outputs)
        alone = alone.expand(-1, -1, *tail.activations.shape[2:]).to(tail.activations)
        logits = at_least_float32(tail(alone))
    ending = meaning_of(model, image, outputs).ending
    found = predictions(logits, k=top, labels=explainer.labels, ending=ending)
    return tuple(named_predictions(row, explainer.labels) for row in found)


def _warnings(rows: Tensor, weights: Tensor) -> tuple[str, ...]:
    warned = []
    rows = rows.double()
    lost = float((-rows).relu().square().sum() / rows.square().sum())
    if lost > 0:
        warned.append(
            f"{lost:.2g} of the layer's energy is negative and is ignored, because "
            "concepts are non-negative. A layer after a ReLU has no negative values."
        )
    empty = int((weights.sum(0) == 0).sum())
    if empty:
        warned.append(f"{empty} of the {weights.shape[1]} concepts were not needed and are empty.")
    return tuple(warned)
