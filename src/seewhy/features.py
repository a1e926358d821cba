"""What every channel of a layer sees in a picture."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from seewhy.errors import LayerError, MethodError
from seewhy.explainer import Explainer
from seewhy.images import ImageSource, Window
from seewhy.layers import layers_of
from seewhy.meaning import check_vocabulary, meaning_of, settled
from seewhy.models.bound import bind
from seewhy.models.load import LoadedModel
from seewhy.models.outputs import OutputSelector
from seewhy.models.undisturbed import given_back
from seewhy.models.watch import watch
from seewhy.one_line import one_line
from seewhy.precision import at_least_float32
from seewhy.saving.result import png_of, save

if TYPE_CHECKING:
    from PIL import Image

    from seewhy.images import Preprocess
    from seewhy.render.drawing import Drawing

FORMAT = "seewhy feature maps 1"
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

    def figure(
        self, *, columns: int = 16, same_scale: bool = False, colormap: str | None = None
    ) -> Drawing:
        """All channels as tiles over the picture, negative values dropped.

        Each is scaled alone, or all on one scale, so that the strong stand out.

        Args:
            columns: tiles in a row.
            same_scale: one scale for all.
            colormap: a matplotlib name.
        """
        from seewhy.render.drawing import framed

        return framed(self._page(columns=columns, same_scale=same_scale, colormap=colormap))

    def save(
        self,
        path: str | Path,
        *,
        columns: int = 16,
        same_scale: bool = False,
        colormap: str | None = None,
    ) -> Path:
        """Write the figure (`.png`, `.jpg`, `.pdf`, `.svg`), or the data (`.npz`, `.json`).

        Raises:
            ImageError: for another ending.
        """
        options: dict[str, Any] = {
            "columns": columns, "same_scale": same_scale, "colormap": colormap,
        }  # fmt: skip
        return save(
            path,
            "a page of feature maps",
            picture=lambda: self.figure(**options),
            image=lambda: self._page(**options),
            data=self._data,
        )

    def _page(self, **options: Any) -> Image.Image:
        from seewhy.render.feature_maps import draw_feature_maps

        return draw_feature_maps(self, **options)

    def _data(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        names = ("layer", "model", "image", "sorted_by", "label")
        facts = {name: getattr(self, name) for name in names}
        arrays = {"maps": self.maps, "channels": self.channels, "picture": self.picture}
        if self.values is not None:
            arrays["values"] = self.values
        return {"format": FORMAT, **facts, "window": asdict(self.window)}, arrays

    def __repr__(self) -> str:
        where = f"of {self.image}: " if self.image else ""
        order = self.sorted_by + (f" to '{self.label}'" if self.label else "")
        count, height, width = self.maps.shape
        return one_line(
            f"<FeatureMaps {where}{count} channels at '{self.layer}' of {self.model}, "
            f"{height}×{width}, by {order}>"
        )

    def _repr_png_(self) -> bytes:
        return png_of(self._page())


@given_back
def find_features(
    model: nn.Module | LoadedModel,
    image: ImageSource,
    *,
    layer: str | nn.Module | None = None,
    sort: Literal["index", "activation", "contribution"] | str = "index",
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

    Example:
        >>> import seewhy
        >>> model = seewhy.load_model("demo")
        >>> features = seewhy.find_features(
        ...     model, "cat.jpg", sort="contribution", target="tabby", top=16
        ... )
        >>> len(features.channels)
        16
        >>> file = features.save("features.png", columns=8)
    """
    if sort not in SORTS:
        raise MethodError(f"sort={sort!r} is not known; choose one of {', '.join(SORTS)}.")
    if top is not None and top < 1:
        raise MethodError(f"top must be at least 1, not {top}.")
    explainer = Explainer(model, output=output, preprocess=preprocess)
    prepared = explainer.prepare(image)
    bound, inputs = bind(explainer.module, prepared.tensor[None], output=output)
    layers = layers_of(bound, inputs, layer)
    if len(layers) != 1:
        raise LayerError(
            f"feature maps are drawn for one layer, but layer='{layer}' names {len(layers)} layers."
        )
    by_contribution = sort == "contribution"
    label = None
    with watch(bound, layers, differentiate=by_contribution) as seen:
        logits = at_least_float32(seen(inputs))
        (activations,) = seen.activations
        values: Tensor | None = None
        if by_contribution:
            with seen.looking_away():
                meaning = meaning_of(bound, inputs, logits)
            resolved = settled(meaning, logits, target, explainer.labels)
            check_vocabulary(bound, inputs, logits, resolved)
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
