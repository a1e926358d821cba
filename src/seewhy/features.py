"""What every channel of a layer sees in a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from seewhy.errors import ImageError, LayerError, MethodError
from seewhy.explainer import Explainer, ImageSource
from seewhy.files import written_aside
from seewhy.images import Window
from seewhy.layers import layers_of
from seewhy.models.bound import bind
from seewhy.models.load import LoadedModel
from seewhy.models.outputs import OutputSelector, find_logits
from seewhy.models.undisturbed import given_back
from seewhy.models.watch import watch
from seewhy.targets import resolve

if TYPE_CHECKING:
    from seewhy.images import Preprocess

SORTS = ("index", "activation", "contribution")


@dataclass(frozen=True, eq=False)
class FeatureMaps:
    """Every channel of a layer for one picture, in drawing order.

    Attributes:
        maps: `(channels, height, width)`, float32, raw, at the layer's resolution.
        channels: `(channels,)`, the index of each.
        values: `(channels,)`, what they were sorted by; None when by index.
        sorted_by: `"index"`, `"activation"` (the channel's mean) or `"contribution"` (the sum of
            gradient times activation: how much it speaks for the target).
        picture, window: the picture and the part that the model saw.
        layer, model: by name.
        image: the file's name, None if the picture came as an array.
        label: the target in words, where it was sorted by contribution.
    """

    maps: np.ndarray
    channels: np.ndarray
    values: np.ndarray | None
    sorted_by: str
    picture: np.ndarray
    window: Window
    layer: str
    model: str
    image: str | None
    label: str | None

    def draw(
        self, *, columns: int = 16, same_scale: bool = False, colormap: str | None = None
    ) -> Image.Image:
        """All channels as tiles over the picture, negative values dropped.

        Each is scaled alone, or all on one scale, so that the strong stand out.
        """
        from seewhy.render.feature_maps import draw_feature_maps

        return draw_feature_maps(self, columns=columns, same_scale=same_scale, colormap=colormap)

    def save(
        self,
        path: str | Path,
        *,
        columns: int = 16,
        same_scale: bool = False,
        colormap: str | None = None,
    ) -> Path:
        """Write the drawing (`.png`, `.jpg`)."""
        path = Path(path)
        if path.suffix not in (".png", ".jpg"):
            raise ImageError(f"{path.name}: feature maps are saved as .png or .jpg.")
        drawing = self.draw(columns=columns, same_scale=same_scale, colormap=colormap)
        with written_aside(path) as aside:
            drawing.save(aside)
        return path


@given_back
def feature_maps(
    model: nn.Module | LoadedModel,
    image: ImageSource,
    *,
    layer: str | nn.Module | None = None,
    sort: str = "index",
    target: Any = None,
    top: int | None = None,
    output: OutputSelector | None = None,
    preprocess: Preprocess | None = None,
) -> FeatureMaps:
    """The activations of every channel of one layer.

    Args:
        model, image, output, preprocess: as `explain` takes them.
        layer: one layer; None takes the proposed one.
        sort: `"index"`, or largest first by `"activation"` or `"contribution"` to the target.
        target: one target, for `sort="contribution"`; None is the predicted class.
        top: keep the first so many.

    Raises:
        LayerError, MethodError, TargetError: each with what to do.
    """
    if sort not in SORTS:
        raise MethodError(f"sort={sort!r} is not known; choose one of {', '.join(SORTS)}.")
    if top is not None and top < 1:
        raise MethodError(f"top={top} keeps nothing; at least 1 is wanted.")
    explainer = Explainer(model, output=output, preprocess=preprocess)
    prepared = explainer.prepare(image)
    module = explainer.module
    bound, inputs = bind(module, prepared.tensor[None], output=output)
    layers = layers_of(bound, inputs, layer)
    if len(layers) != 1:
        raise LayerError(
            f"layer='{layer}' names {len(layers)} layers; feature maps are drawn of one."
        )
    by_contribution = sort == "contribution"
    label = None
    with watch(module, layers, differentiate=by_contribution) as seen:
        outputs = seen(inputs)
        (activations,) = seen.activations
        values: Tensor | None = None
        if by_contribution:
            logits = find_logits(outputs, output)
            resolved = resolve(target, logits, explainer.labels)
            if resolved.several:
                raise MethodError("channels are sorted by their contribution to one target.")
            one = resolved.targets[0][0]
            label = one.describe(explainer.labels)
            (gradients,) = seen.gradients(one(logits))
            values = (gradients * activations).sum((2, 3))[0]
        elif sort == "activation":
            values = activations.mean((2, 3))[0]
    order = (
        torch.arange(activations.shape[1])
        if values is None
        else values.argsort(descending=True, stable=True).cpu()
    )[:top]
    return FeatureMaps(
        maps=activations[0].float().cpu().numpy()[order.numpy()],
        channels=order.numpy(),
        values=None if values is None else values.float().cpu().numpy()[order.numpy()],
        sorted_by=sort,
        picture=prepared.picture,
        window=prepared.window,
        layer=str(layers[0]),
        model=explainer.name,
        image=prepared.name,
        label=label,
    )
