"""One picture, side by side: methods, layers, targets and models in a grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from seewhy.errors import ImageError
from seewhy.explainer import Explainer, ImageSource
from seewhy.explanation import Explanation
from seewhy.files import written_aside
from seewhy.layers import LayerSpec
from seewhy.methods.method import MethodLike
from seewhy.models.load import LoadedModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Comparison:
    """Explanations of one picture in rows and columns.

    Attributes:
        rows: the explanations.
        row_titles, column_titles: what each row and column has in common.
    """

    rows: tuple[tuple[Explanation, ...], ...]
    row_titles: tuple[str, ...]
    column_titles: tuple[str, ...]

    def figure(
        self, *, same_scale: bool = False, colormap: str | None = None, opacity: float = 0.5
    ) -> Figure:
        """All overlays in one figure; `same_scale` gives all of them one range and colour bar."""
        from seewhy.render.grid import grid

        return grid(
            self.rows, row_titles=self.row_titles, column_titles=self.column_titles,
            same_scale=same_scale, colormap=colormap, opacity=opacity,
        )  # fmt: skip

    def save(
        self,
        path: str | Path,
        *,
        same_scale: bool = False,
        colormap: str | None = None,
        opacity: float = 0.5,
    ) -> Path:
        """Write the figure as `.png`."""
        path = Path(path)
        if path.suffix != ".png":
            raise ImageError(f"{path.name}: a comparison is saved as .png, not '{path.suffix}'.")
        figure = self.figure(same_scale=same_scale, colormap=colormap, opacity=opacity)
        with written_aside(path) as aside:
            figure.savefig(aside)
        return path


def compare(
    model: nn.Module | LoadedModel | Sequence[nn.Module | LoadedModel],
    image: ImageSource,
    target: Any = None,
    *,
    method: MethodLike | Sequence[MethodLike] = "grad-cam",
    layer: LayerSpec | None = None,
    **options: Any,
) -> Comparison:
    """Compare methods, layers, targets or models on one picture.

    Whatever is given several of spans the grid: the last of models, methods, layers and targets
    is the columns, the others are the rows.

    Args:
        model: one, or a list.
        image: as `explain` takes it.
        target: one (`"top5"` is five), or a list or tuple of several.
        method: one, or a list.
        layer: one, a wildcard, or a list.
        options: as `Explainer` takes them.
    """
    # What is no sequence may be anything that Explainer takes, an exported program for one.
    models: list[Any] = list(model) if isinstance(model, (list, tuple)) else [model]
    target = tuple(target) if isinstance(target, list) else target
    explainers = [Explainer(one, method=method, layer=layer, **options) for one in models]
    by_model = [list(explainer.many([image], target)) for explainer in explainers]
    found = [one for some in by_model for one in some]
    axes = _axes(by_model, len(explainers[0].request.methods))
    spans = [size for size, _ in axes]
    column_axis = max((i for i, size in enumerate(spans) if size > 1), default=len(axes) - 1)
    columns = math.prod(spans[column_axis:])
    rows = tuple(tuple(found[start : start + columns]) for start in range(0, len(found), columns))
    varying = [name for size, name in axes[:column_axis] if size > 1 and name]
    row_titles = tuple(" · ".join(str(getattr(row[0], name)) for name in varying) for row in rows)
    return Comparison(rows, row_titles, _column_titles(rows, axes[column_axis][1]))


def _axes(by_model: Sequence[Sequence[Explanation]], methods: int) -> list[tuple[int, str]]:
    """How many models, methods, layers and targets there are, and what their titles are read from.

    `Explainer.many` goes by method, then layer, then target.
    """
    of_method: dict[str, set[str]] = {}
    for one in by_model[0]:
        of_method.setdefault(one.method, set()).add(one.layer)
    # A method that looks at no layer gives its map under one name for each of them.
    layers = max(map(len, of_method.values()))
    targets = len(by_model[0]) // (methods * layers)
    alone = len(by_model) == 1  # else layers and predicted classes have names of their own
    return [
        (len(by_model), "model"),
        (methods, "method"),
        (layers, "layer" if alone else ""),
        (targets, "label" if alone else ""),
    ]


def _column_titles(rows: Sequence[Sequence[Explanation]], attribute: str) -> tuple[str, ...]:
    """What the columns have in common, by the row that tells them apart best."""
    titles = [tuple(str(getattr(one, attribute)) if attribute else "" for one in r) for r in rows]
    return max(titles, key=lambda some: len(set(some)))
