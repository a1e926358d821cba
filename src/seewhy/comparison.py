"""Side by side: methods, layers, targets and models on one picture, or picture after picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from torch import nn

from seewhy.errors import ImageError, TargetError
from seewhy.explainer import Explainer
from seewhy.explanation import Explanation
from seewhy.images import ImageSource
from seewhy.layers import LayerSpec
from seewhy.methods.method import MethodLike
from seewhy.models.load import LoadedModel
from seewhy.one_line import one_line
from seewhy.saving.result import png_of, save
from seewhy.targets.class_names import find_class, short_label

if TYPE_CHECKING:
    from seewhy.render.drawing import Drawing
    from seewhy.render.page import Page

FORMAT = "seewhy comparison 1"


@dataclass(frozen=True)
class Truth:
    """What is known of a picture's class.

    Attributes:
        label: the true class.
        right: whether the model named it first.
    """

    label: str
    right: bool


@dataclass(frozen=True, eq=False)
class Comparison:
    """Explanations in rows and columns: of one picture, or of a picture in each row.

    Attributes:
        rows: the explanations.
        row_titles, column_titles: what each row and column has in common.
        of_pictures: whether each row is a picture; they are drawn as a contact sheet.
        truths: of such rows, where they are known.
    """

    rows: tuple[tuple[Explanation, ...], ...]
    row_titles: tuple[str, ...]
    column_titles: tuple[str, ...]
    of_pictures: bool = False
    truths: tuple[Truth, ...] = ()

    def figure(
        self,
        *,
        same_scale: bool = False,
        style: str | None = None,
        base: str = "picture",
        colormap: str | None = None,
        opacity: float | None = None,
        limits: tuple[float, float] | None = None,
        scale: str | None = None,
    ) -> Drawing:
        """All overlays in one figure with their key.

        Args:
            same_scale: one range of values for all; otherwise each map has its own and prints it.
                Several pictures have one for each method whatever is given.
            style, base, colormap, opacity, limits, scale: as `Explanation.overlay` takes them;
                limits hold for all.
        """
        return self._page(
            same_scale=same_scale, style=style, base=base, colormap=colormap, opacity=opacity,
            limits=limits, scale=scale,
        ).figure  # fmt: skip

    def save(self, path: str | Path, **drawing: Any) -> Path:
        """Write the figure (`.png`, `.jpg`, `.webp`, `.pdf`, `.svg`), or the data.

        The data (`.npz`, `.json`) are what each explanation's `to_json` gives, row by row, beside
        it the names under which its map and its picture are in the file.

        Args:
            path: the file.
            drawing: as `figure` takes it.

        Raises:
            ImageError: for another ending.
        """
        return save(
            path,
            "a comparison",
            picture=lambda: self._page(**drawing).figure,
            image=lambda: self._page(**drawing).image,
            data=self._data,
        )

    def _page(
        self,
        *,
        same_scale: bool = False,
        limits: tuple[float, float] | None = None,
        scale: str | None = None,
        **style: Any,
    ) -> Page:
        from seewhy.render import contact_sheet, grid
        from seewhy.render.style import style_of

        how = style_of(**style)
        if self.of_pictures:
            return contact_sheet.page_of(
                self.rows, truths=self.truths, column_titles=self.column_titles, limits=limits,
                start=scale, style=how,
            )  # fmt: skip
        return grid.page_of(
            self.rows, row_titles=self.row_titles, column_titles=self.column_titles,
            same_scale=same_scale, limits=limits, start=scale, style=how,
        )  # fmt: skip

    def _data(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        arrays: dict[str, np.ndarray] = {}
        pictures: list[np.ndarray] = []
        rows = []
        for r, row in enumerate(self.rows):
            cells = []
            for c, one in enumerate(row):
                # As a rule all have one picture; a model with channels of its own draws its own.
                same = (i for i, other in enumerate(pictures) if np.array_equal(one.picture, other))
                place = next(same, len(pictures))
                if place == len(pictures):
                    pictures.append(one.picture)
                names = {"map": f"map-{r}-{c}", "picture": f"picture-{place}"}
                arrays |= {names["map"]: one.map, names["picture"]: one.picture}
                cells.append({**one.to_json(), **names})
            rows.append(cells)
        titles = {"row_titles": self.row_titles, "column_titles": self.column_titles}
        truths = [asdict(truth) for truth in self.truths]
        return {"format": FORMAT, **titles, "truths": truths, "rows": rows}, arrays

    def __repr__(self) -> str:
        first = self.rows[0][0]
        axes = [f"{len(self.rows)}×{len(self.rows[0])} explanations"]
        for kind, titles in (("rows", self.row_titles), ("columns", self.column_titles)):
            if len(titles) > 1:
                axes.append(f"{kind} {', '.join(titles)}")
        of_one = first.image and not self.of_pictures
        where = f"of {first.image}: " if of_one else ""
        return one_line(f"<Comparison {where}{'; '.join(axes)}>")

    def _repr_png_(self) -> bytes:
        return png_of(self._page().image)


def compare(
    model: nn.Module | LoadedModel | Sequence[nn.Module | LoadedModel],
    image: ImageSource | Sequence[ImageSource],
    target: Any = None,
    *,
    method: MethodLike | Sequence[MethodLike] = "grad-cam",
    layer: LayerSpec | None = None,
    true: Sequence[str | int] | None = None,
    **options: Any,
) -> Comparison:
    """Compare methods, layers, targets or models on one picture, or one after the other on many.

    On one picture, whatever is given several of spans the grid: the last of models, methods, layers
    and targets is the columns, the others are the rows. Of several pictures each is a row, and all
    else is in columns; they are drawn on one scale.

    Args:
        model: one, or a list.
        image: as `explain` takes it, or a list or tuple of several.
        target: one (`"top5"` is five), or a list or tuple of several.
        method: one, or a list.
        layer: one, a wildcard, or a list.
        true: of several pictures: each one's class, by name or number. The wrong ones are drawn
            first.
        options: as `Explainer` takes them.

    Raises:
        TargetError: classes that are not one for each of several pictures, or that the model does
            not have.

    Example:
        >>> import seewhy
        >>> model = seewhy.load_model("demo-cat-dog")
        >>> grid = seewhy.compare(
        ...     model, "cat-and-dog.jpg", ["cat", "dog"], method=["grad-cam", "layer-cam"]
        ... )
        >>> len(grid.rows), len(grid.rows[0])
        (2, 2)
        >>> file = grid.save("grid.png")
    """
    # What is no sequence may be anything that Explainer takes, an exported program for one.
    models: list[Any] = list(model) if isinstance(model, (list, tuple)) else [model]
    target = tuple(target) if isinstance(target, list) else target
    explainers = [Explainer(one, method=method, layer=layer, **options) for one in models]
    methods = len(explainers[0].request.methods)
    if not isinstance(image, (list, tuple)):
        if true is not None:
            raise TargetError(
                "true= needs the classes of several pictures, but one picture was given. "
                "Give a list of pictures."
            )
        return _on_one_picture(explainers, cast(ImageSource, image), target, methods)
    images = list(image)
    if not images:
        raise ImageError("no picture was given. compare needs at least one.")
    known = _known_classes(true, len(images), explainers[0])
    by_model = [list(explainer.many(images, target)) for explainer in explainers]
    width = len(by_model[0]) // len(images)
    rows = tuple(
        tuple(one for some in by_model for one in some[place * width : (place + 1) * width])
        for place in range(len(images))
    )
    axes = _axes([some[:width] for some in by_model], methods)
    varying = [name for size, name in axes if size > 1 and name]
    columns = list(zip(*rows, strict=True))
    titles = [
        " · ".join(
            str(getattr(cells[0], name))
            for name in varying
            if len({getattr(one, name) for one in cells}) == 1
        )
        for cells in columns
    ]
    names = tuple(row[0].image or f"picture {place}" for place, row in enumerate(rows, start=1))
    truths = tuple(
        Truth(label, row[0].predictions[0].index == index)
        for row, (label, index) in zip(rows, known, strict=True)
    ) if known else ()  # fmt: skip
    return Comparison(rows, names, tuple(titles), of_pictures=True, truths=truths)


def _known_classes(
    true: Sequence[str | int] | None, pictures: int, explainer: Explainer
) -> list[tuple[str, int]]:
    """Each picture's true class, by name and by number; nothing where none is given."""
    if true is None:
        return []
    if len(true) != pictures:
        raise TargetError(
            f"true= has {len(true)} classes for {pictures} pictures, but each picture needs one."
        )
    labels = explainer.labels
    found = []
    for one in true:
        index = one if isinstance(one, int) else find_class(one, labels)
        name = labels[index] if labels and 0 <= index < len(labels) else f"class {index}"
        found.append((short_label(name), index))
    return found


def _on_one_picture(
    explainers: Sequence[Explainer], image: ImageSource, target: Any, methods: int
) -> Comparison:
    by_model = [list(explainer.many([image], target)) for explainer in explainers]
    found = [one for some in by_model for one in some]
    axes = _axes(by_model, methods)
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
