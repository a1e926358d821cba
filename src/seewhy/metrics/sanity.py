"""Does a map depend on what the model has learned, and on the class it is for (Adebayo 2018)?

A method whose map stays the same when the weights are drawn anew shows the picture's edges, not the
model's reasons. Likeness is Spearman's rank correlation, with and without the signs, and SSIM; a
map that turned constant or NaN gives NaN, which is neither alike nor unlike.

The paper's other test, on a model trained with shuffled labels, takes that training and is not
here. `target_randomisation` asks much the same of a model as it stands: another class's map.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seewhy.errors import MetricError
from seewhy.metrics.metric import Curve, Metric
from seewhy.metrics.resizing import to_size
from seewhy.metrics.similarity import spearman, ssim

Explain = Callable[[nn.Module, Tensor], Tensor]
"""`explain(model, images (n, C, H, W)) -> maps (n, h, w)`, each for the same class whatever the
model now predicts: the one that the model as it came predicted, or the true one."""

FRESH = ("reset", "normal")


@dataclass(frozen=True, eq=False)
class Likeness:
    """How alike an image's maps are before and after, all (n, steps) float64.

    Attributes:
        steps: what was changed: the last layer drawn anew (all above it are too, in a cascade), the
            only one, or the draw of another class.
        spearman: rank correlation of the maps as they are.
        absolute: of their absolute values.
        ssim: structural similarity of their absolute values.
    """

    steps: tuple[str, ...]
    spearman: Tensor
    absolute: Tensor
    ssim: Tensor


def cascading_randomisation(
    model: nn.Module,
    images: Tensor,
    explain: Explain,
    *,
    layers: Sequence[str] | None = None,
    stages: int | None = None,
    fresh: str = "reset",
    size: tuple[int, int] | None = None,
    window: int = 5,
    seed: int = 0,
) -> Likeness:
    """Weights drawn anew from the logits downwards, each layer on top of those before it.

    A layer is a module with parameters of its own, in the order of definition, the last first: in
    almost every network that is the order of execution turned round, but nothing forces a network
    to define its head last; then name the layers. Parameters alone are drawn anew: buffers stay,
    such as the running means of batch normalisation, as in the official code, which initialises the
    trainable variables. A tensor that two layers share is changed with the first of them.

    Args:
        model: it is copied, and stays as it is.
        images: (n, C, H, W), prepared.
        explain: makes the maps of a model.
        layers: names from the top down, instead of all; a block's name stands for all within it.
        stages: compare at this many stages, evenly spread, instead of after each layer; the last
            stage has every layer drawn anew.
        fresh: `"reset"`: by the module's own `reset_parameters`, and where it has none as
            `"normal"`: from a normal distribution of each tensor's own mean and standard deviation.
        size: (height, width) at which maps are compared; None: the images'.
        window: of `ssim`.
        seed: of the fresh weights, which depend on nothing else but the layer's name and its shape.

    Raises:
        MetricError: an unknown layer or option, or a model that cannot be copied.
    """
    steps = _steps(model, layers, fresh)
    stops = _spread(len(steps), stages)
    before = _maps(explain, model, images, size)

    def changed() -> Iterator[Tensor]:
        drawn = _copied(model)
        done = 0
        for stop in stops:
            for _, modules in steps[done:stop]:
                _draw(drawn, modules, fresh, seed)
            done = stop
            yield _maps(explain, drawn, images, size)

    return _likeness([steps[stop - 1][0] for stop in stops], before, changed(), window)


def independent_randomisation(
    model: nn.Module,
    images: Tensor,
    explain: Explain,
    *,
    layers: Sequence[str] | None = None,
    stages: int | None = None,
    fresh: str = "reset",
    size: tuple[int, int] | None = None,
    window: int = 5,
    seed: int = 0,
) -> Likeness:
    """One layer's weights drawn anew, all others as learned; the options of the cascade.

    Of `stages` layers, evenly spread, the last is the lowest.
    """
    steps = _steps(model, layers, fresh)
    steps = [steps[stop - 1] for stop in _spread(len(steps), stages)]
    before = _maps(explain, model, images, size)

    def changed() -> Iterator[Tensor]:
        for _, modules in steps:
            drawn = _copied(model)
            _draw(drawn, modules, fresh, seed)
            yield _maps(explain, drawn, images, size)

    return _likeness([name for name, _ in steps], before, changed(), window)


def target_randomisation(
    explain: Callable[[Tensor, Tensor], Tensor],
    images: Tensor,
    targets: Tensor,
    *,
    classes: int,
    draws: int = 1,
    size: tuple[int, int] | None = None,
    window: int = 5,
    seed: int = 0,
) -> Likeness:
    """The map for another class, drawn at random, beside the map for the image's own.

    Args:
        explain: `explain(images, targets (n,)) -> maps (n, h, w)`.
        images: (n, C, H, W), prepared.
        targets: (n,) int64, each image's class.
        classes: how many the model has.
        draws: how many other classes, all different; each is a step.
        size: (height, width) at which maps are compared; None: the images'.
        window: of `ssim`.
        seed: of the draws. Each is how far to count on from an image's own class, the same for
            every image, so that nothing depends on the other images.
    """
    if not 1 <= draws < classes:
        raise MetricError(
            f"draws={draws} of {classes} classes; from 1 to {classes - 1} other ones can be drawn."
        )
    if targets.shape != (len(images),) or not ((targets >= 0) & (targets < classes)).all():
        raise MetricError(
            f"targets {tuple(targets.shape)} came for {len(images)} images; a class from 0 to "
            f"{classes - 1} for each is wanted."
        )
    size = size or (images.shape[2], images.shape[3])
    generator = torch.Generator().manual_seed(seed)
    steps = (torch.randperm(classes - 1, generator=generator)[:draws] + 1).tolist()
    before = to_size(explain(images, targets), size)
    others = (to_size(explain(images, (targets + step) % classes), size) for step in steps)
    return _likeness([f"class + {step}" for step in steps], before, others, window)


def _likeness(
    steps: Sequence[str], before: Tensor, changed: Iterator[Tensor], window: int
) -> Likeness:
    signed, absolute, structure = [], [], []
    for maps in changed:
        signed.append(spearman(before, maps))
        absolute.append(spearman(before, maps, absolute=True))
        structure.append(ssim(before, maps, window=window))
    return Likeness(
        tuple(steps),
        torch.stack(signed, 1),
        torch.stack(absolute, 1),
        torch.stack(structure, 1),
    )


def _maps(
    explain: Explain, model: nn.Module, images: Tensor, size: tuple[int, int] | None
) -> Tensor:
    maps = explain(model, images)
    if maps.ndim != 3 or len(maps) != len(images):
        raise MetricError(
            f"explain gave {tuple(maps.shape)} for {len(images)} images; a map (height, width) for "
            "each is wanted."
        )
    return to_size(maps, size or (images.shape[2], images.shape[3]))


def _steps(
    model: nn.Module, wanted: Sequence[str] | None, fresh: str
) -> list[tuple[str, tuple[str, ...]]]:
    """From the top down: what to call each step, and the modules whose own parameters it draws."""
    if fresh not in FRESH:
        raise MetricError(f"fresh='{fresh}' is not known; choose one of {', '.join(FRESH)}.")
    known = dict(model.named_modules())
    if wanted is None:
        # Of a block that has both, a step is its own parameters alone: its layers have their own.
        own = [name for name, module in known.items() if _own(module)]
        steps: list[tuple[str, tuple[str, ...]]] = [(n or "(model)", (n,)) for n in reversed(own)]
    else:
        steps = _named_steps(known, wanted)
    empty = [name for name, modules in steps if not modules]
    if empty or not steps:
        where = ", ".join(map(repr, empty)) or "the model"
        raise MetricError(f"{where} has no parameters; there is nothing to draw anew.")
    return steps


def _named_steps(
    known: Mapping[str, nn.Module], wanted: Sequence[str]
) -> list[tuple[str, tuple[str, ...]]]:
    if strange := [name for name in wanted if name not in known]:
        some = [name for name in known if name][-3:]
        raise MetricError(
            f"the model has no layer {', '.join(map(repr, strange))}; its modules' names, such "
            f"as {', '.join(map(repr, some))}, are wanted."
        )
    inner = {name: [n for n, _ in known[name].named_modules(prefix=name)] for name in wanted}
    return [(name, tuple(n for n in inner[name] if _own(known[n]))) for name in wanted]


def _own(module: nn.Module) -> list[nn.Parameter]:
    return list(module.parameters(recurse=False))


def _spread(count: int, stages: int | None) -> list[int]:
    """Rising numbers from 1 to `count`, the last one always `count`."""
    if stages is None or stages >= count:
        return list(range(1, count + 1))
    if stages < 1:
        raise MetricError(f"stages={stages}; at least one is wanted.")
    return [-(-count * stage // stages) for stage in range(1, stages + 1)]


def _copied(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model)
    except Exception as error:  # whatever a module keeps that cannot be copied says it its own way
        raise MetricError(
            f"the model cannot be copied ({error}); the randomisation tests work on a copy: build "
            "the model anew, before it is run or wrapped."
        ) from error


def _draw(model: nn.Module, modules: Sequence[str], fresh: str, seed: int) -> None:
    """Draws these modules' own parameters anew; the caller's random numbers go on as they would.

    On the CPU, whose numbers are the same everywhere.
    """
    for name in modules:
        module = model.get_submodule(name)
        drawn = copy.deepcopy(module).cpu()
        reset = getattr(drawn, "reset_parameters", None)
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.default_generator.manual_seed(zlib.crc32(f"{seed} {name}".encode()))
            if fresh == "reset" and callable(reset):
                reset()
            else:
                for parameter in _own(drawn):
                    _draw_like(parameter)
            for parameter, values in zip(_own(module), _own(drawn), strict=True):
                parameter.copy_(values)


def _draw_like(parameter: Tensor) -> None:
    values = parameter.float()
    mean, spread = values.mean().item(), values.std(correction=0).item()
    if parameter.numel() == 1:  # which has no spread of its own
        mean, spread = 0.0, abs(mean)
    parameter.normal_(mean, spread)


def _upper(result: Likeness) -> Any:
    return result.absolute[:, 0]


def _stages(result: Likeness) -> tuple[Any, Any]:
    count = len(result.steps)
    return np.arange(1, count + 1) / count, result.absolute


SANITY_CASCADING = Metric(
    title="cascading randomisation",
    better="lower",
    says=(
        "how alike the map still is, by rank and without signs, when the upper layers are drawn "
        "anew, the first of the stages: the scores are random then, and so should the map be; the "
        "curve goes on to the lowest layer"
    ),
    source="Adebayo 2018",
    needs="model",
    function=cascading_randomisation,
    value=_upper,
    curve=Curve(_stages, "share of the layers drawn anew", "rank correlation"),
    changed={"stages": 5},
    passes_below=0.5,
    bounds=(-1, 1),
)

SANITY_INDEPENDENT = Metric(
    title="independent randomisation",
    better="lower",
    says="how alike the map still is on average when one layer's weights are drawn anew",
    source="Adebayo 2018",
    needs="model",
    function=independent_randomisation,
    value=lambda result: result.absolute.mean(1),
    curve=Curve(_stages, "place of the layer, from the top", "rank correlation"),
    changed={"stages": 5},
    bounds=(-1, 1),
)

SANITY_CLASS = Metric(
    title="another class's map",
    better="lower",
    says="how alike, by rank, the map is to that of another class drawn at random",
    source="after Adebayo 2018",
    needs="classes",
    function=target_randomisation,
    value=lambda result: result.spearman.mean(1),
    passes_below=0.5,
    bounds=(-1, 1),
)
