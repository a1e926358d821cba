"""Architectures, weights, preprocessing and labels from torchvision and timm."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import nn

from seewhy.errors import ModelError
from seewhy.images import Preprocess
from seewhy.images.configurations import IMAGENET_MEAN, IMAGENET_STD, from_timm
from seewhy.models.hub import offline_if_unreachable

RANDOM_SEED = 0

# Both warn unless told how to initialise; both have side branches that only training uses, and
# both rescale their input inside when torchvision's own weights are loaded.
_WITH_SIDE_BRANCHES = {"googlenet", "inception_v3"}


@dataclass(frozen=True, eq=False)
class Built:
    """A model as its source describes it, before the user's own settings."""

    module: nn.Module
    preprocess: Preprocess
    labels: tuple[str, ...] | None
    labels_source: str
    classes: int | None
    notes: tuple[str, ...] = ()


@contextmanager
def seeded(seed: int = RANDOM_SEED) -> Iterator[None]:
    """The same random numbers every time, and the caller's generators as they were.

    Models are built on the CPU. `torch.manual_seed` would reseed the accelerators as well, so only
    the CPU's generator is seeded, and afterwards put back.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def assumed_preprocess(size: int = 224) -> Preprocess:
    """What most ImageNet classifiers were evaluated with; a guess, and `source` says so."""
    return Preprocess(
        size=(size, size),
        resize=round(size / 0.875),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        interpolation="bilinear",
        source=f"assumed (ImageNet mean and std, {size} px): the model carries no preprocessing",
    )


def import_zoo(name: str) -> ModuleType:
    """torchvision, timm or the demo's weights; a `ModelError` says how to install them."""
    try:
        module = __import__(name)
    except ImportError as error:
        raise ModelError(
            f"this model needs the package {name}, which cannot be imported ({error}). "
            'Install it: pip install "seewhy[zoo]"'
        ) from error
    return module


def nearest(name: str, names: Iterable[str]) -> str:
    """'; did you mean ...?' with the nearest names, or nothing."""
    close = difflib.get_close_matches(name, list(names), n=3, cutoff=0.5)
    return f"; did you mean {', '.join(close)}?" if close else ""


# torchvision


def torchvision_model(name: str, weights: str | None, num_classes: int | None) -> Built:
    """`torchvision/NAME[:WEIGHTS]`; WEIGHTS is a name such as IMAGENET1K_V2, or `random`."""
    torchvision = _torchvision_with(name)
    if weights == "random":
        return _torchvision_untrained(torchvision, name, num_classes)
    if num_classes is not None:
        raise ModelError(
            f"torchvision/{name} has the head of its weights, which does not have "
            f"{num_classes} classes. Use torchvision/{name}:random, or your own file "
            f"with --arch torchvision/{name}"
        )
    choices = torchvision.models.get_model_weights(name)
    known = sorted({*choices.__members__, "DEFAULT"}) if len(choices) else []
    if not known:
        raise ModelError(
            f"torchvision has no weights for {name}. Use torchvision/{name}:random, or "
            f"your own file with --arch torchvision/{name}"
        )
    wanted = (weights or "DEFAULT").upper()
    if wanted not in known:
        raise ModelError(
            f"weights {weights!r} of torchvision/{name} not found. Choose from "
            f"{', '.join(known)}, random"
        )
    chosen = getattr(choices, wanted)
    module = _fetched(
        f"torchvision/{name}:{chosen.name}",
        f"torchvision/{name}",
        lambda: torchvision.models.get_model(
            name, weights=chosen, progress=sys.stderr is not None and sys.stderr.isatty()
        ),
    )
    labels = tuple(chosen.meta["categories"])
    return Built(
        module,
        _torchvision_preprocess(chosen, f"torchvision {chosen}"),
        labels,
        f"torchvision {chosen}",
        len(labels),
    )


def torchvision_architecture(name: str, num_classes: int | None, names: Iterable[str]) -> Built:
    """The network alone, to be filled with a file's weights; `names` are the file's."""
    torchvision = _torchvision_with(name)
    settings: dict[str, Any] = {}
    notes: tuple[str, ...] = ()
    if name in _WITH_SIDE_BRANCHES:
        # A checkpoint does not tell whether the input is rescaled inside. Most are fine-tuned from
        # torchvision's weights, which were.
        settings = {
            "aux_logits": any("AuxLogits." in key or "aux1." in key for key in names),
            "transform_input": True,
        }
        notes = (
            f"torchvision/{name} is built with transform_input=True, as torchvision's own weights "
            "need it and those fine-tuned from them; a file cannot tell",
        )
    module = _torchvision_build(torchvision, name, num_classes, **settings)
    weights = _first_weights(torchvision, name)
    classes = num_classes or _torchvision_classes(weights)
    labels = tuple(weights.meta["categories"]) if weights is not None else ()
    if classes == len(labels) == 1000:
        labels_source = f"assumed: those of torchvision {weights}, for the head has 1000 classes"
    else:
        labels, labels_source = (), "none: the file carries none"
    return Built(
        module,
        _torchvision_preprocess(
            weights, f"assumed: the file carries none, so that of torchvision {weights}"
        ),
        labels or None,
        labels_source,
        classes,
        notes,
    )


def _torchvision_untrained(torchvision: ModuleType, name: str, num_classes: int | None) -> Built:
    settings = {"aux_logits": False} if name in _WITH_SIDE_BRANCHES else {}
    module = _torchvision_build(torchvision, name, num_classes, **settings)
    weights = _first_weights(torchvision, name)
    return Built(
        module,
        _torchvision_preprocess(weights, f"that of torchvision {weights}; untrained"),
        None,
        "none: untrained, its classes mean nothing",
        num_classes or _torchvision_classes(weights),
        (f"untrained: random weights with seed {RANDOM_SEED}",),
    )


def _torchvision_with(name: str) -> ModuleType:
    torchvision = import_zoo("torchvision")
    known = torchvision.models.list_models(
        module=torchvision.models
    ) + torchvision.models.list_models(module=torchvision.models.segmentation)
    if name in known:
        return torchvision
    if name in torchvision.models.list_models():
        raise ModelError(
            f"torchvision/{name} neither classifies nor segments images. Choose a model "
            "that does from: seewhy models"
        )
    raise ModelError(
        f"torchvision has no model {name!r}{nearest(name, known) or ';'} "
        "list them with seewhy models"
    )


def _torchvision_build(
    torchvision: ModuleType, name: str, num_classes: int | None, **settings: Any
) -> nn.Module:
    if name in _WITH_SIDE_BRANCHES:
        settings["init_weights"] = True
    if name in torchvision.models.list_models(module=torchvision.models.segmentation):
        settings["weights_backbone"] = None
    if num_classes is not None:
        settings["num_classes"] = num_classes
    with seeded():
        module: nn.Module = torchvision.models.get_model(name, weights=None, **settings)
    return module


def _first_weights(torchvision: ModuleType, name: str) -> Any:
    """The oldest weights: trained the plain way, which a user's own most likely were too."""
    return next(iter(torchvision.models.get_model_weights(name)), None)


def _torchvision_classes(weights: Any) -> int | None:
    return None if weights is None else len(weights.meta["categories"])


def _torchvision_preprocess(weights: Any, source: str) -> Preprocess:
    if weights is None:
        return assumed_preprocess()
    transforms = weights.transforms()
    resize = transforms.resize_size
    # Segmentation presets resize and do not crop; here their input is a square.
    crop = getattr(transforms, "crop_size", resize)
    return Preprocess(
        size=(crop[0], crop[-1]),
        resize=resize[0] if len(resize) == 1 else (resize[0], resize[1]),
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        interpolation=transforms.interpolation.value,
        source=source,
    )


# timm


def timm_model(name: str, untrained: bool, num_classes: int | None) -> Built:
    """`timm/NAME`, its weights fetched, or untrained."""
    timm = _timm_with(name)
    if untrained:
        module = _timm_build(timm, name, num_classes)
        preprocess, notes = timm_preprocess(module, f"timm's pretrained_cfg of {name}; untrained")
        return Built(
            module,
            preprocess,
            None,
            "none: untrained, its classes mean nothing",
            _timm_classes(module),
            (*notes, f"untrained: random weights with seed {RANDOM_SEED}"),
        )
    if num_classes is not None:
        # timm itself would put an untrained head there and say nothing.
        raise ModelError(
            f"timm/{name} has the head of its weights, which does not have "
            f"{num_classes} classes. Use timm/{name}:random, or your own file with "
            f"--arch timm/{name}"
        )
    if not name.startswith("hf-hub:") and not timm.is_model_pretrained(name):
        raise ModelError(
            f"timm has no weights {name!r}"
            f"{nearest(name, timm.list_models(pretrained=True)) or ';'} there is also "
            f"timm/{name.split('.')[0]}:random, untrained"
        )
    module = _fetched(f"timm/{name}", f"timm/{name}", lambda: timm.create_model(name, True))
    preprocess, notes = timm_preprocess(module, f"timm's pretrained_cfg of {name}")
    labels = timm_labels(module)
    return Built(
        module,
        preprocess,
        labels,
        "timm's ImageNet names" if labels else "none: timm has no names for these classes",
        _timm_classes(module),
        notes,
    )


def timm_architecture(name: str, num_classes: int | None) -> Built:
    """The network alone, to be filled with a file's weights."""
    timm = _timm_with(name)
    module = _timm_build(timm, name, num_classes)
    preprocess, notes = timm_preprocess(
        module, f"assumed: the file carries none, so timm's pretrained_cfg of {name}"
    )
    labels = timm_labels(module)
    return Built(
        module,
        preprocess,
        labels,
        f"assumed: timm's ImageNet names, for the head has {len(labels)} classes"
        if labels
        else "none: the file carries none",
        _timm_classes(module),
        notes,
    )


def timm_preprocess(module: nn.Module, source: str) -> tuple[Preprocess, tuple[str, ...]]:
    """The preprocessing of a timm model, and what of it could not be said exactly."""
    timm = import_zoo("timm")
    return from_timm(timm.data.resolve_model_data_config(module), source)


def timm_labels(module: nn.Module) -> tuple[str, ...] | None:
    """The names in the model's own configuration, or ImageNet's when the head has its size."""
    timm = import_zoo("timm")
    classes = _timm_classes(module)
    config = getattr(module, "pretrained_cfg", None) or {}
    names = config.get("label_names")
    if names and len(names) == classes:
        descriptions = config.get("label_descriptions") or {}
        return tuple(descriptions.get(name, name) for name in names)
    subset = timm.data.infer_imagenet_subset(module)
    if subset is None:
        return None
    info = timm.data.ImageNetInfo(subset)
    if info.num_classes() != classes:
        return None
    return tuple(info.index_to_description(index) for index in range(info.num_classes()))


def _timm_with(name: str) -> ModuleType:
    timm = import_zoo("timm")
    if name.startswith("hf-hub:") or timm.is_model(name):
        return timm
    known = [*timm.list_models(), *timm.list_models(pretrained=True)]
    raise ModelError(
        f"timm has no model {name!r}{nearest(name, known) or ';'} list them with seewhy models"
    )


def _timm_build(timm: ModuleType, name: str, num_classes: int | None) -> nn.Module:
    settings = {} if num_classes is None else {"num_classes": num_classes}
    try:
        with seeded():
            module: nn.Module = timm.create_model(name, **settings)
    except Exception as error:
        raise ModelError(
            f"timm could not build {name!r} ({error}). Look the name up with: seewhy models"
        ) from error
    return module


def _timm_classes(module: nn.Module) -> int | None:
    classes = getattr(module, "num_classes", None)
    return classes if isinstance(classes, int) and classes > 0 else None


def _fetched(spec: str, plain: str, build: Callable[[], nn.Module]) -> nn.Module:
    reached = True
    try:
        with seeded(), offline_if_unreachable() as reached:
            return build()
    except Exception as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        if not reached:
            first_line = "the model hub has no address here, and its cache does not hold them"
        raise ModelError(
            f"the weights of {spec} could not be downloaded ({first_line}). Download "
            f"them once where there is a network, use {plain}:random for an untrained "
            f"network, or give a file of weights as the model with --arch {plain}"
        ) from error
