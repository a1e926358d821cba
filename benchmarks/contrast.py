"""Do the maps of two classes fall on their own photographs?

Two photographs that a network knows, each alone, are put side by side or one above the other, and
for the class of each a map is computed on the collage, and measured against its half: the share of
what is positive in the map (of a map that is positive everywhere, such as RISE's, it says little),
whether the half is the brighter one, and whether the maximum is there. Chance is one half, and a
method that does not look at the target gets exactly that. Each photograph is in one pair, and each
pair is laid in one of the four ways, in turn: intervals are of independent pairs.

benchmarks/dinov2_maps.py measures with it.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps
import torch
from torch import Tensor

from seewhy import LoadedModel
from seewhy.attribution import run
from seewhy.dataset.classes import map_classes
from seewhy.dataset.reading import read_dataset
from seewhy.errors import LayerError, MethodError
from seewhy.evaluation.protocol import checksum
from seewhy.methods.method import MethodLike
from seewhy.metrics.accumulate import Estimate, PerImage
from seewhy.metrics.localisation import centre_gaussian, energy_pointing, pointing_game
from seewhy.metrics.resizing import to_size

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "examples"))
from cat_dog import labelled_images  # noqa: E402

FOUND = Path(__file__).with_suffix(".jsonl")
PROPOSED = "proposed"
CHUNK = 10  # pairs of one row


# --- The collages --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Photograph:
    path: Path
    class_index: int


Pair = tuple[Photograph, Photograph]


def cats_and_dogs(folder: Path) -> list[Photograph]:
    paths, labels = labelled_images(folder)
    return [Photograph(path, int(label)) for path, label in zip(paths, labels, strict=True)]


def of_imagenet(data: Path, labels: Sequence[str] | None) -> list[Photograph]:
    dataset = read_dataset(data)
    classes = map_classes(dataset.labels, labels, imagenet_ids=dataset.imagenet_ids)
    return [Photograph(one.image, classes[one.labels[0]][0]) for one in dataset.records]


def named_rightly(model: LoadedModel) -> Callable[[Photograph], bool]:
    """Whether the model's first class of a photograph is its own."""

    @torch.inference_mode()
    def is_right(one: Photograph) -> bool:
        scores = model.module(model.preprocess(one.path)[None])
        return bool(scores.argmax().item() == one.class_index)

    return is_right


def known_pairs(
    photographs: Sequence[Photograph],
    count: int,
    is_right: Callable[[Photograph], bool] = lambda _: True,
) -> list[Pair]:
    """The first `count` pairs of two classes, in an order drawn once, of what a model knows."""
    order = torch.randperm(len(photographs), generator=torch.Generator().manual_seed(0))
    pairs: list[Pair] = []
    waiting: list[Photograph] = []
    for index in order.tolist():
        one = photographs[index]
        if len(pairs) == count:
            break
        if not is_right(one):
            continue
        other = next((two for two in waiting if two.class_index != one.class_index), None)
        if other is None:
            waiting.append(one)
        else:
            waiting.remove(other)
            pairs.append((other, one))
    return pairs


def collages(
    model: LoadedModel, pair: Pair, ways: Iterable[int] = range(4)
) -> tuple[Tensor, np.ndarray]:
    """Collages of a pair, ready for the model, and where each photograph lies in each.

    Args:
        ways: of the four, 0 and 1 lay them side by side, 2 and 3 one above the other; 1 and 3
            swapped.

    Returns:
        (ways, 3, height, width), and bool (ways, 2, height, width).
    """
    height, width = model.preprocess.size
    prepare = dataclasses.replace(model.preprocess, resize=None)
    images, halves = [], []
    for way in ways:
        above, swapped = way >= 2, way % 2 == 1
        size = (height // 2, width) if above else (height, width // 2)
        place = (0, size[0]) if above else (size[1], 0)
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


# --- What is measured ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """What was measured of one method at one layer on some pairs.

    Attributes:
        model, weights: its name, and a checksum of its weights.
        method, layer, options: as `seewhy.attribute` takes them; `PROPOSED` for no layer.
        pairs: a checksum of the pairs' names.
        first: the number of the first of them.
        own: for each pair and each of its maps the share of what is positive in its own half;
            None where nothing is.
        brighter: whether its own half is the brighter one; ½ for neither.
        maximum: whether the maximum is there, or the share of the maxima; None where nothing is
            positive.
        seconds: a map.
        undefined: why there is nothing, in words.
    """

    model: str
    weights: str
    method: str
    layer: str
    options: str
    pairs: str
    first: int
    own: list[list[float | None]] = field(default_factory=list)
    brighter: list[list[float]] = field(default_factory=list)
    maximum: list[list[float | None]] = field(default_factory=list)
    seconds: float = 0.0
    undefined: str = ""

    @property
    def key(self) -> tuple[str | int, ...]:
        return (
            self.model, self.weights, self.method, self.layer, self.options, self.pairs,
            self.first,
        )  # fmt: skip


def names_of(pairs: Sequence[Pair]) -> str:
    names = " ".join(one.path.name for pair in pairs for one in pair)
    return f"{zlib.crc32(names.encode()):08x}"


class Store:
    """Rows that outlive an interruption.

    Args:
        path: a file with one row a line; None keeps them in memory.
    """

    def __init__(self, path: Path | None = FOUND) -> None:
        lines = path.read_text("utf-8").splitlines() if path and path.exists() else []
        self.path = path
        self.rows = {row.key: row for row in (Row(**json.loads(line)) for line in lines)}

    def of(self, model: str) -> list[Row]:
        """All rows of a model, of the weights it had last."""
        rows = [row for row in self.rows.values() if row.model == model]
        return [row for row in rows if row.weights == rows[-1].weights]

    def add(self, row: Row) -> None:
        self.rows[row.key] = row
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(row), ensure_ascii=False) + "\n")


def scores(maps: Tensor, halves: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Own half, brighter and maximum of maps (..., height, width); see `Row`."""
    size = halves.shape[-2:]
    large = to_size(maps.reshape(-1, *maps.shape[-2:]), size).double().numpy()
    large = large.reshape(halves.shape)
    own = energy_pointing(large, halves)
    # The halves are equally large.
    side = (np.sign(np.where(halves, large, -large).mean((-2, -1))) + 1) / 2
    # A map without anything positive points nowhere.
    hit = np.where(np.isnan(own), np.nan, pointing_game(large, halves, tolerance=0))
    return own, side, hit


def random_map(size: tuple[int, int], number: int) -> Tensor:  # noqa: ARG001
    """(1, 2, 16, 16) for both classes of the pair of this number, whatever the picture's size."""
    generator = torch.Generator().manual_seed(number)
    return torch.rand(1, 2, 16, 16, generator=generator)


def bell(size: tuple[int, int], number: int) -> Tensor:  # noqa: ARG001
    return torch.from_numpy(centre_gaussian(size)).expand(1, 2, *size)


def blank(size: tuple[int, int], number: int) -> Tensor:  # noqa: ARG001
    return torch.ones(1, 2, *size)


BASELINES = {"random map": random_map, "centre Gaussian": bell, "whole image": blank}


def measure(
    model: LoadedModel,
    pairs: Sequence[Pair],
    methods: Sequence[MethodLike],
    layers: Sequence[str] = (PROPOSED,),
    *,
    options: Mapping[str, Any] | None = None,
    store: Store | None = None,
) -> dict[tuple[str, str], list[Row]]:
    """Methods at layers on all pairs, for the class of each photograph: rows by both names.

    A method that is not defined has one row, which says why. What is in the store already is not
    computed again.
    """
    store = Store(None) if store is None else store
    weights, options = checksum(model.module), dict(options or {})
    found: dict[tuple[str, str], list[Row]] = {}
    defined = {name_of(one): one for one in methods}
    for first in range(0, len(pairs), CHUNK):
        some = pairs[first : first + CHUNK]
        work = Work(model, some, first, layers, options)
        empty = {
            (name, layer): Row(
                model.name, weights, name, layer, json.dumps(options), names_of(some), first
            )
            for name in defined
            for layer in layers
        }
        missing = {
            name: method
            for name, method in defined.items()
            if any(empty[name, layer].key not in store.rows for layer in layers)
        }
        for name, reason in work.undefined(missing).items():
            for layer in layers:
                store.add(dataclasses.replace(empty[name, layer], undefined=reason))
            del missing[name]
        for place, values in work.measured(missing).items():
            store.add(dataclasses.replace(empty[place], **values))
        for place, row in empty.items():
            held = store.rows[row.key]
            found.setdefault(place, []).append(held)
            if held.undefined:
                defined.pop(place[0], None)
    return found


def name_of(method: MethodLike) -> str:
    return method if isinstance(method, str) else str(getattr(method, "__name__", method))


@dataclass(frozen=True)
class Work:
    """Some pairs, of which maps are computed.

    Attributes:
        first: the number of the first of them.
        layers: names, or `PROPOSED` alone.
    """

    model: LoadedModel
    pairs: Sequence[Pair]
    first: int
    layers: Sequence[str]
    options: Mapping[str, Any]

    def undefined(self, methods: Mapping[str, MethodLike]) -> dict[str, str]:
        """The methods that this network or these layers do not allow, and why."""
        computed = {name: one for name, one in methods.items() if name not in BASELINES}
        reasons: dict[str, str] = {}
        if computed and self.first == 0 and self._refused(list(computed.values())):
            refused = {name: self._refused([one]) for name, one in computed.items()}
            reasons = {name: reason for name, reason in refused.items() if reason}
        return reasons

    def _refused(self, methods: Sequence[MethodLike]) -> str:
        try:
            self._maps(0, {name_of(one): one for one in methods})
        except (MethodError, LayerError) as error:
            return str(error)
        return ""

    def measured(self, methods: Mapping[str, MethodLike]) -> dict[tuple[str, str], dict[str, Any]]:
        """For each method and layer the fields of its row."""
        if not methods:
            return {}
        held: dict[tuple[str, str], list[Any]] = {}
        began = time.perf_counter()
        for place in range(len(self.pairs)):
            maps, halves = self._maps(place, methods)
            for key, one in maps.items():
                held.setdefault(key, []).append(scores(one, halves))
        seconds = (time.perf_counter() - began) / (2 * len(self.pairs) * len(held))
        found = {}
        for key, values in held.items():
            own, side, hit = (np.stack([one[index][0] for one in values]) for index in range(3))
            found[key] = {
                "own": _plain(own), "brighter": _plain(side), "maximum": _plain(hit),
                "seconds": round(seconds, 3),
            }  # fmt: skip
        return found

    def _maps(
        self, place: int, methods: Mapping[str, MethodLike]
    ) -> tuple[dict[tuple[str, str], Tensor], np.ndarray]:
        """Of each method and layer (1, 2, height, width), of one pair's collage."""
        number, pair = self.first + place, self.pairs[place]
        images, halves = collages(self.model, pair, [number % 4])
        maps = {
            (name, layer): BASELINES[name](self.model.preprocess.size, number)
            for name in methods
            if name in BASELINES
            for layer in self.layers
        }
        computed = {name: one for name, one in methods.items() if name not in BASELINES}
        if computed:
            proposed = list(self.layers) == [PROPOSED]
            made = run(
                self.model, images, tuple(one.class_index for one in pair),
                methods=list(computed.values()), layer=None if proposed else list(self.layers),
                options=self.options,
            )  # fmt: skip
            for name, several in zip(computed, made.maps, strict=True):
                maps |= {
                    (name, layer): one for layer, one in zip(self.layers, several, strict=True)
                }
        return maps, halves


def _plain(values: np.ndarray) -> list[list[float | None]]:
    return [
        [None if np.isnan(one) else round(float(one), 4) for one in pair]
        for pair in values.tolist()
    ]


# --- What is said of it --------------------------------------------------------------------------


@dataclass(frozen=True)
class Contrast:
    """What was measured of one method at one layer, a value a pair: the mean of its maps.

    Attributes:
        own, brighter, maximum: see `Row`; by the pair's number.
        silent: how many maps have nothing positive, and count in neither `own` nor `maximum`.
        maps: how many there were.
        seconds: a map.
        undefined: why there is nothing, in words.
    """

    own: PerImage
    brighter: PerImage
    maximum: PerImage
    silent: int
    maps: int
    seconds: float
    undefined: str

    @classmethod
    def of(cls, rows: Sequence[Row], chosen: range | None = None) -> Contrast:
        """Of all pairs, or of those with chosen numbers."""

        def mean(maps: Sequence[float | None]) -> float:
            there = [one for one in maps if one is not None]
            return float(np.mean(there)) if there else np.nan

        parts: list[PerImage] = []
        for name in ("own", "brighter", "maximum"):
            values = {
                f"{row.first + place:04d}": mean(maps)
                for row in rows
                for place, maps in enumerate(getattr(row, name))
                if chosen is None or row.first + place in chosen
            }
            parts.append(PerImage(values))
        maps = [
            one
            for row in rows
            for place, pair in enumerate(row.own)
            for one in pair
            if chosen is None or row.first + place in chosen
        ]
        seconds = float(np.mean([row.seconds for row in rows]))
        undefined = next((row.undefined for row in rows if row.undefined), "")
        return cls(*parts, sum(one is None for one in maps), len(maps), seconds, undefined)


def percent(found: Estimate) -> str:
    """A mean with its interval, in per cent."""
    if np.isnan(found.value):
        return ""
    return f"{100 * found.value:.0f} ({100 * found.low:.0f} to {100 * found.high:.0f})"
