"""The pictures and figures of docs/report.md, and the picture of the README.

`docs/generate.py` runs this after a change of the drawing or of the methods, and
`tests/test_report.py` measures the figures again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

import seewhy
from seewhy import Explanation, LoadedModel
from seewhy.images import read_image
from seewhy.metrics.imputation import road
from seewhy.metrics.localisation import energy_pointing, pointing_game, region

DOCS = Path(__file__).resolve().parent
PHOTOS = DOCS / "photos"
CLASSES = ("cat", "dog")
METHODS = ("grad-cam", "layer-cam")
LAYER = "bn2"  # the last feature map: what the head averages
EARLIER = "blocks.4"  # 112 channels at 14×14

REMOVED = 0.2
"""The share of the pixels that is removed to see whether the probability follows the map."""

PLACES = {
    "cat.jpg": {"cat": (59, 50, 422, 265)},
    "dog.jpg": {"dog": (0, 13, 328, 342)},
    "cat-and-dog.jpg": {"dog": (0, 0, 200, 400), "cat": (200, 0, 400, 400)},
}
"""Where each animal is: x0, y0, x1, y1 in pixels, drawn by hand; in the third, the halves."""


@dataclass(frozen=True)
class Row:
    """What was measured of one map.

    Attributes:
        inside: the share of the map's positive values in each animal's box.
        hits: whether the map's maximum lies in its own class's box; None where it is not there.
        probability: of the class, on the whole picture.
        without: the same, after the strongest fifth of the pixels was removed.
        without_weakest: the same, after the weakest fifth was.
        peak: the map's greatest value.
    """

    picture: str
    label: str
    method: str
    inside: dict[str, float]
    hits: bool | None
    probability: float
    without: float
    without_weakest: float
    peak: float


def measure() -> Iterator[Row]:
    """Every picture, class and method."""
    model = seewhy.load_model("demo-cat-dog")
    for picture in PLACES:
        for label in CLASSES:
            for method in METHODS:
                yield measure_one(model, picture, label, method)


def measure_one(model: LoadedModel, picture: str, label: str, method: str) -> Row:
    """One map: where it lies, and what removing what it points at does to the probability."""
    why = seewhy.explain(model, PHOTOS / picture, label, method=method, layer=LAYER)
    inputs = model.preprocess(read_image(PHOTOS / picture))[None]
    which = CLASSES.index(label)

    def score(images: Tensor, _: Tensor) -> Tensor:
        with torch.inference_mode():
            return model.module(images).softmax(1)[:, which]

    removed = road(score, inputs, torch.as_tensor(why.map)[None], shares=(REMOVED,))
    size = why.heatmap.shape
    places = {name: region([box], size) for name, box in PLACES[picture].items()}
    own = places.get(label)
    return Row(
        picture=picture,
        label=label,
        method=method,
        inside={name: float(energy_pointing(why.heatmap, one)) for name, one in places.items()},
        hits=None if own is None else bool(pointing_game(why.heatmap, own, tolerance=0.0) == 1),
        probability=float(why.probability or 0),
        without=float(removed.most[0, 0]),
        without_weakest=float(removed.least[0, 0]),
        peak=float(why.map.max()),
    )


def _share(value: float) -> str:
    return "Over 99 %" if value >= 0.995 else f"{value:.0%}".replace("%", " %")


def _inside(value: float) -> str:
    return "the map is zero" if np.isnan(value) else f"{value:.2f}"


def _small(value: float) -> str:
    return "< 0.001" if value < 0.0005 else f"= {value:.3f}"


def report_table() -> str:
    """The measured rows as Markdown."""
    rows = [
        "| picture | class | method | probability | map on the cat | map on the dog "
        "| without the strongest fifth | without the weakest fifth |",
        "|---|---|---|--:|--:|--:|--:|--:|",
    ]
    for row in measure():
        inside = [
            _inside(row.inside[name]) if name in row.inside else "not there" for name in CLASSES
        ]
        rows.append(
            f"| {row.picture} | {row.label} | {row.method} | {row.probability:.3f} | {inside[0]} "
            f"| {inside[1]} | {row.without:.3f} | {row.without_weakest:.3f} |"
        )
    return "\n".join(rows)


def draw(images: Path) -> None:
    """All pictures of the report, and the README's."""
    model = seewhy.load_model("demo-cat-dog")
    draw_two_classes(model, images / "cat-and-dog.jpg")
    for picture in PLACES:
        compared = seewhy.compare(
            model, PHOTOS / picture, list(CLASSES), method=list(METHODS), layer=LAYER
        )
        compared.figure().savefig(images / f"report-{picture}", pil_kwargs={"quality": 85})
    both = PHOTOS / "cat-and-dog.jpg"
    last = seewhy.find_features(model, both, layer=LAYER, sort="contribution", target="dog", top=64)
    save_narrow(last.figure(columns=16), images / "report-features-last.jpg")
    earlier = seewhy.find_features(model, both, layer=EARLIER)
    save_narrow(earlier.figure(columns=16), images / "report-features-earlier.jpg")


def save_narrow(figure: Figure, path: Path, width: int = 1400) -> None:
    """The figure as a JPEG of at most `width` pixels across."""
    aside = path.with_suffix(".png")
    figure.savefig(aside)
    picture = Image.open(aside).convert("RGB")
    if picture.width > width:
        height = round(picture.height * width / picture.width)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    picture.save(path, quality=85)
    aside.unlink()


def draw_two_classes(model: LoadedModel, path: Path) -> None:
    """One photograph, two classes, two regions: with probability and what removing them does."""
    picture = "cat-and-dog.jpg"
    whys: list[tuple[Explanation, Row]] = [
        (
            seewhy.explain(model, PHOTOS / picture, label, layer=LAYER),
            measure_one(model, picture, label, "grad-cam"),
        )
        for label in ("dog", "cat")
    ]
    with matplotlib.rc_context({"font.size": 11, "savefig.dpi": 120}):
        figure = Figure(figsize=(9.6, 4.1), facecolor="white")
        axes = figure.subplots(1, 3)
        axes[0].imshow(np.asarray(read_image(PHOTOS / picture)))
        axes[0].set_title("the picture", fontsize=12)
        for axis, (why, row) in zip(axes[1:], whys, strict=True):
            axis.imshow(np.asarray(why.overlay()))
            axis.set_title(f"why “{row.label}”?  p = {row.probability:.2f}", fontsize=12)
            measured = (
                f"{_share(row.inside[row.label])} of the map lies on the {row.label}.\n"
                f"Strongest fifth removed: p {_small(row.without)}"
            )
            below = {"transform": axis.transAxes, "ha": "center", "va": "top"}
            axis.text(0.5, -0.045, measured, linespacing=1.5, **below)
        for axis in axes:
            axis.set_axis_off()
        figure.subplots_adjust(left=0.01, right=0.99, top=0.92, bottom=0.14, wspace=0.04)
        figure.savefig(path, pil_kwargs={"quality": 88})
