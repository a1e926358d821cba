"""Do the maps of two classes fall on their own photographs?

    python benchmarks/contrast.py cats_dogs --imagenet ilsvrc_val --vit small_vit/hybrid.safetensors

Two photographs that a network knows, each alone, are put side by side, and one above the other,
each pair in four ways, so that a place that is always bright helps neither. For the class of each
photograph a map is computed on the collage, and measured against its half: the share of what is
positive in the map (of a map that is positive everywhere, such as RISE's, it says little), whether
the half is the brighter one, and whether the maximum is there. Chance is one half, and a method
that does not look at the target gets exactly that.

`cats_dogs` is a folder with test/cats and test/dogs; `--imagenet` annotated pictures of ImageNet's
classes for the demo network; `--vit` what examples/small_vit.py saved. What is found is written
into docs/transformers.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps
import torch
from page import write_part
from rich.console import Console

import seewhy
from seewhy import LoadedModel, SeewhyError
from seewhy.attribution import Method
from seewhy.dataset.classes import map_classes
from seewhy.dataset.reading import read_dataset
from seewhy.metrics.localisation import energy_pointing, pointing_game
from seewhy.metrics.resizing import to_size

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "examples"))
from cat_dog import labelled_images  # noqa: E402

PAGE = ROOT / "docs" / "transformers.md"
METHODS = (
    "grad-cam",
    "hires-cam",
    "layer-cam",
    "eigen-cam",
    "recipro-cam",
    "ablation-cam",
    "rise",
    "attention-rollout",
    "attention-relevance",
    "legrad",
)
ATTENTION = METHODS[-3:]  # for transformers alone
# Methods that compute for seconds a map: on so many pairs, and with fewer samples.
LONG = {"ablation-cam": 6, "rise": 2}
OPTIONS: dict[str, dict[str, Any]] = {"rise": {"masks": 500}}

console = Console()


@dataclass(frozen=True)
class Photograph:
    path: Path
    class_index: int


@dataclass(frozen=True)
class Contrast:
    """What was measured of one method at one layer.

    Attributes:
        energy: the share of a map's positive values in its own half, mean over all maps.
        brighter: how often the mean of its own half is the greater one.
        pointing: how often the maximum is there.
        silent: how many maps have nothing positive, and count in neither.
        maps: how many there were.
        seconds: a map.
    """

    energy: float
    brighter: float
    pointing: float
    silent: int
    maps: int
    seconds: float


def cats_and_dogs(folder: Path) -> list[Photograph]:
    paths, labels = labelled_images(folder)
    return [Photograph(path, int(label)) for path, label in zip(paths, labels, strict=True)]


def of_imagenet(data: Path, labels: Sequence[str] | None) -> list[Photograph]:
    dataset = read_dataset(data)
    classes = map_classes(dataset.labels, labels, imagenet_ids=dataset.imagenet_ids)
    return [Photograph(one.image, classes[one.labels[0]][0]) for one in dataset.records]


@torch.inference_mode()
def known_pairs(
    model: LoadedModel, photographs: Sequence[Photograph], count: int
) -> list[tuple[Photograph, Photograph]]:
    """The first `count` pairs, in an order drawn once, of two classes the model names rightly."""
    order = torch.randperm(len(photographs), generator=torch.Generator().manual_seed(0))
    pairs: list[tuple[Photograph, Photograph]] = []
    waiting: list[Photograph] = []
    for index in order.tolist():
        one = photographs[index]
        if len(pairs) == count:
            break
        if model.module(model.preprocess(one.path)[None]).argmax().item() != one.class_index:
            continue
        other = next((two for two in waiting if two.class_index != one.class_index), None)
        if other is None:
            waiting.append(one)
        else:
            waiting.remove(other)
            pairs.append((other, one))
    return pairs


def collages(
    model: LoadedModel, pair: tuple[Photograph, Photograph]
) -> tuple[torch.Tensor, np.ndarray]:
    """Four collages, ready for the model, and where each photograph lies in each.

    Returns:
        (4, 3, height, width), and bool (4, 2, height, width).
    """
    height, width = model.preprocess.size
    prepare = dataclasses.replace(model.preprocess, resize=None)
    upper, left = (height // 2, width), (height, width // 2)
    images, halves = [], []
    for size, place in ((left, (left[1], 0)), (upper, (0, upper[0]))):
        for swapped in (False, True):
            first, second = reversed(pair) if swapped else pair
            canvas = PIL.Image.new("RGB", (width, height))
            for one, corner in ((first, (0, 0)), (second, place)):
                with PIL.Image.open(one.path) as opened:
                    picture = PIL.ImageOps.exif_transpose(opened).convert("RGB")
                # Cut to the half's shape around the middle.
                canvas.paste(PIL.ImageOps.fit(picture, size[::-1]), corner)
            own = np.zeros((height, width), dtype=bool)
            own[: size[0], : size[1]] = True
            images.append(prepare(canvas))
            halves.append([~own, own] if swapped else [own, ~own])
    return torch.stack(images), np.array(halves)


def measure(
    model: LoadedModel,
    pairs: Sequence[tuple[Photograph, Photograph]],
    method: Method,
    layer: str | None = None,
) -> Contrast:
    """One method on all pairs, for the class of each photograph."""
    energies, sides, hits = [], [], []
    seconds = 0.0
    for pair in pairs:
        images, halves = collages(model, pair)
        start = time.perf_counter()
        maps = seewhy.attribute(
            model,
            images,
            tuple(one.class_index for one in pair),
            method=method,
            layer=layer,
            **(OPTIONS.get(method, {}) if isinstance(method, str) else {}),
        )
        seconds += time.perf_counter() - start
        assert isinstance(maps, torch.Tensor)
        resized = to_size(maps.flatten(0, 1), model.preprocess.size)
        large = resized.unflatten(0, halves.shape[:2]).double().numpy()
        energy = energy_pointing(large, halves)
        energies.append(energy)
        # The halves are equally large.
        difference = np.where(halves, large, -large).mean((2, 3))
        sides.append((np.sign(difference) + 1) / 2)
        # A map without anything positive points nowhere.
        hit = pointing_game(large, halves, tolerance=0)
        hits.append(np.where(np.isnan(energy), np.nan, hit))
    energy, side, hit = np.stack(energies), np.stack(sides), np.stack(hits)
    return Contrast(
        float(np.nanmean(energy)),
        float(side.mean()),
        float(np.nanmean(hit)),
        int(np.isnan(energy).sum()),
        energy.size,
        seconds / energy.size,
    )


def table_of(
    model: LoadedModel,
    photographs: Sequence[Photograph],
    methods: Sequence[str],
    layers: Sequence[str | None],
    count: int,
) -> str:
    """What was measured of one model, in Markdown."""
    pairs = known_pairs(model, photographs, count)
    several = len(layers) > 1
    lines = [
        f"**{model.name}**, {len(pairs)} pairs:\n",
        "| method |" + " layer |" * several + " own half | brighter | maximum | silent | maps |",
        "|---|" + "---|" * several + "--:|--:|--:|--:|--:|",
    ]
    for layer in layers:
        for method in methods:
            found = measure(model, pairs[: LONG.get(method, len(pairs))], method, layer)
            lines.append(
                f"| `{method}` |"
                + f" {layer or 'proposed'} |" * several
                + f" {found.energy:.0%} | {found.brighter:.0%} | {found.pointing:.0%} | "
                f"{found.silent} | {found.maps} |"
            )
            console.print(lines[-1], f"{found.seconds:.2f} s a map", highlight=False)
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Do maps of two classes fall on their own half?")
    parser.add_argument("data", type=Path, help="folder with test, which has cats and dogs")
    parser.add_argument("--imagenet", type=Path, help="annotated pictures of ImageNet's classes")
    parser.add_argument("--vit", type=Path, action="append", default=[], help="saved weights")
    parser.add_argument("--vit-layer", action="append", help="a layer to look at; repeat it")
    parser.add_argument("--method", action="append", help="repeat it; default: ten of them")
    parser.add_argument("--pairs", type=int, default=25)
    chosen = parser.parse_args(arguments)
    methods = chosen.method or METHODS
    without = [method for method in methods if method not in ATTENTION]

    try:
        animals = cats_and_dogs(chosen.data / "test")
        model = seewhy.load_model("demo-cat-dog")
        tables = [table_of(model, animals, without, [None], chosen.pairs)]
        if chosen.imagenet is not None:
            model = seewhy.load_model("demo")
            things = of_imagenet(chosen.imagenet, model.labels)
            tables.append(table_of(model, things, without, [None], chosen.pairs))
        if chosen.vit:
            from small_vit import load_small_vit
        for path in chosen.vit:
            layers = chosen.vit_layer or [None]
            tables.append(table_of(load_small_vit(path), animals, methods, layers, chosen.pairs))
    except SeewhyError as error:
        raise SystemExit(f"error: {error}") from error
    write_part(PAGE, "contrast", "contrast.py", "\n\n".join(tables))


if __name__ == "__main__":
    main()
