"""How well a map is read off an overlay: a sheet to look at, and the reader's error.

Run it from the repository: ``python benchmarks/overlays.py FOLDER --pictures P1 P2 ...``. For each
picture the folder gets a row of `before-after.png` (the picture, the old veil, the new overlay),
of `colour-blind.png` and of `grey.png`. With ``--study FILE.npz`` (pictures `NAME.picture`, the
maps on them, `NAME.heat`, and where the model looked in `NAME.about`) the error of a reader who
has the key is printed as well; the measure is in tests/render/reading.py.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

import seewhy
from seewhy.explanation import Explanation
from seewhy.render.panel import resized_to, seen_panel, seen_part
from seewhy.render.scale import scale_of
from seewhy.render.style import CLEAR, Style, paint, style_of

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from render.reading import error_of_reading, moved, seen_as

SIDE, GAP = 220, 8
EYES = ("normal", "deutan", "protan", "tritan", "grey")
STYLES = {
    "clear": CLEAR,
    "clear, base grey": style_of(base="grey"),
    "veil": style_of("veil"),
}


def study(path: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray, bool]]:
    """Name, picture, shares of the scale and whether it is signed, of what the model saw."""
    with np.load(path) as arrays:
        for key in arrays.files:
            if not key.endswith(".picture"):
                continue
            name = key.removesuffix(".picture")
            about = json.loads(str(arrays[f"{name}.about"]))
            left, top, right, bottom = (round(edge) for edge in about["window"])
            picture = arrays[key][top:bottom, left:right]
            heat = arrays[f"{name}.heat"][top:bottom, left:right].astype(np.float32)
            square = np.asarray(Image.fromarray(picture).resize((SIDE, SIDE), 3))
            values = np.asarray(Image.fromarray(heat).resize((SIDE, SIDE), 2))
            # The whole range, without the few positions that a figure lets lie beyond.
            own = scale_of([values])
            end = float(np.abs(values).max() if own.signed else values.max())
            scale = scale_of([values], limits=(-end if own.signed else own.low, end))
            yield name, square, scale.shares(values), scale.signed


def errors(path: Path, style: Style) -> dict[str, float]:
    """Means over the pictures: the errors by eyes, and how far the picture is moved."""
    found: dict[str, list[float]] = {who: [] for who in EYES} | {"moved": []}
    for _, picture, shares, signed in study(path):
        drawn = paint(picture, shares, style, signed=signed)
        for who in EYES:
            error, _ = error_of_reading(drawn, shares, style, signed=signed, who=who)
            found[who].append(error)
        found["moved"].append(moved(picture, drawn, shares))
    return {name: float(np.nanmean(values)) for name, values in found.items()}


def explained(pictures: Sequence[str]) -> list[Explanation]:
    """Positive and signed maps in turn, of the demo network's first class."""
    model = seewhy.load_model("demo")
    methods = ("layer-cam", "cam")
    return [
        seewhy.explain(model, one, method=methods[place % 2]) for place, one in enumerate(pictures)
    ]


def tiles(one: Explanation) -> list[np.ndarray]:
    """What the model saw, under the old veil, and under the new overlay."""
    scale = scale_of([one.map])
    plain = resized_to(np.ascontiguousarray(one.picture[seen_part(one)]), (SIDE, SIDE))
    return [plain] + [
        np.asarray(seen_panel(one, (SIDE, SIDE), style, scale)) for style in (STYLES["veil"], CLEAR)
    ]


def sheet(rows: Sequence[Sequence[np.ndarray]]) -> Image.Image:
    """Tiles in rows and columns."""
    step = SIDE + GAP
    page = Image.new("RGB", (step * len(rows[0]) + GAP, step * len(rows) + GAP), "white")
    for row, some in enumerate(rows):
        for column, tile in enumerate(some):
            page.paste(Image.fromarray(tile), (GAP + column * step, GAP + row * step))
    return page


def seen(tile: np.ndarray, who: str) -> np.ndarray:
    """A tile as others see it."""
    return np.rint(255 * seen_as(tile / 255, who).clip(0, 1)).astype(np.uint8)


def main() -> None:
    """Draw, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", nargs="*", default=[])
    parser.add_argument("--study", type=Path)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.pictures:
        rows = [tiles(one) for one in explained(given.pictures)]
        sheet(rows).save(given.folder / "before-after.png")
        blind = [[seen(row[2], who) for who in ("normal", "deutan", "protan", "tritan")]
                 for row in rows]  # fmt: skip
        sheet(blind).save(given.folder / "colour-blind.png")
        sheet([[seen(tile, "grey") for tile in row] for row in rows]).save(
            given.folder / "grey.png"
        )
    if given.study:
        for name, style in STYLES.items():
            found = errors(given.study, style)
            said = ", ".join(f"{who} {value:.3f}" for who, value in found.items())
            print(f"{name}: {said}")


if __name__ == "__main__":
    main()
