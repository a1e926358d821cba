"""The options that several commands share, and what tab completion offers for them.

Nothing here imports torch: help and completion would wait seconds for it. The names of methods,
fusions and sorts are therefore written out once more; a test holds them to the originals.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from enum import Enum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from seewhy.errors import ImageError, MethodError, MetricError, ModelError

METHOD_NAMES = (
    "cam",
    "grad-cam",
    "grad-cam++",
    "grad-cam++-normalised",
    "smooth-grad-cam++",
    "xgrad-cam",
    "hires-cam",
    "layer-cam",
    "eigen-cam",
    "eigen-grad-cam",
    "grad-cam-elementwise",
    "fem",
    "kpca-cam",
    "shapley-cam",
    "ablation-cam",
    "ablation-cam-relative",
    "ablation-cam-slope",
    "recipro-cam",
    "recipro-cam-gaussian",
    "score-cam",
    "score-cam-bounded",
    "score-cam-increase",
    "ss-cam",
    "is-cam",
    "group-cam",
    "opti-cam",
    "occlusion",
    "rise",
    "saliency",
    "input-times-gradient",
    "smooth-grad",
    "var-grad",
    "square-grad",
    "integrated-gradients",
    "full-grad",
    "guided-backprop",
    "deconvnet",
    "guided-grad-cam",
    "attention-rollout",
    "attention-relevance",
    "legrad",
)
METRIC_NAMES = (
    "pointing",
    "energy",
    "box-iou",
    "box-accuracy",
    "max-box-accuracy",
    "max-box-accuracy-v2",
    "mask-iou",
    "pxap",
    "grid-pointing",
    "deletion",
    "insertion",
    "pixel-flipping",
    "drop",
    "gain",
    "increase",
    "road",
    "adcc",
    "coherency",
    "complexity",
    "infidelity",
    "infidelity-scaled",
    "sensitivity-n",
    "saco",
    "max-sensitivity",
    "seed-agreement",
    "sanity-cascading",
    "sanity-independent",
    "sanity-class",
)
PRECISION_NAMES = ("float32", "bf16", "fp16")
_EMBEDDED = ("demo", "demo-cat-dog")
_FILE_KINDS = ("png", "npz", "json")
_TARGET_WORDS = ("predicted", "top3", "top5", "positive", "negative")


class Fusion(str, Enum):
    """How the maps of several layers are made one."""

    MEAN = "mean"
    MAX = "max"
    SCALED_MAX = "scaled-max"


class Sort(str, Enum):
    """The order of feature maps."""

    INDEX = "index"
    ACTIVATION = "activation"
    CONTRIBUTION = "contribution"


# Tab completion.


def complete_model(incomplete: str) -> list[str]:
    """The embedded models, and torchvision's and timm's once their prefix is typed."""
    for zoo, subpackages in (("torchvision", ("", "segmentation")), ("timm", ("",))):
        if incomplete.startswith(f"{zoo}/"):
            names = (f"{zoo}/{name}" for name in registered(zoo, subpackages))
            return sorted(name for name in names if name.startswith(incomplete))
    offered = [*_EMBEDDED, *(f"{zoo}/" for zoo in ("torchvision", "timm") if find_spec(zoo))]
    return [name for name in offered if name.startswith(incomplete)]


def registered(zoo: str, subpackages: Sequence[str] = ("",)) -> Iterator[str]:
    """The models that a zoo registers, read from its source: importing it takes seconds."""
    spec = find_spec(zoo)
    for place in (spec.submodule_search_locations or []) if spec else []:
        for subpackage in subpackages:
            for file in sorted(Path(place, "models", subpackage).glob("*.py")):
                text = file.read_text(encoding="utf-8", errors="replace")
                for found in re.finditer(
                    r"^@register_model\b(?:\(\s*(?:name=)?(?:\"(\w+)\")?\s*\))?"
                    r"(?:(?!^def )[\s\S])*?^def (\w+)",
                    text,
                    re.MULTILINE,
                ):
                    yield found[1] or found[2]


def complete_methods(incomplete: str) -> list[str]:
    """Method names, also behind a comma: `grad-cam,lay` → `grad-cam,layer-cam`."""
    return _complete_last(incomplete, METHOD_NAMES)


def complete_metrics(incomplete: str) -> list[str]:
    """Metric names, also behind a comma."""
    return _complete_last(incomplete, METRIC_NAMES)


def complete_save_as(incomplete: str) -> list[str]:
    """Kinds of file, also behind a comma."""
    return _complete_last(incomplete, _FILE_KINDS)


def _complete_last(incomplete: str, names: Sequence[str]) -> list[str]:
    before, comma, last = incomplete.rpartition(",")
    given = before.split(",")
    return [
        f"{before}{comma}{name}" for name in names if name.startswith(last) and name not in given
    ]


def complete_target(incomplete: str) -> list[str]:
    """The words that are no class names."""
    return [word for word in _TARGET_WORDS if word.startswith(incomplete)]


def complete_colormap(incomplete: str) -> list[str]:
    """Matplotlib's names."""
    from matplotlib import colormaps

    return sorted(name for name in colormaps if name.startswith(incomplete))


def complete_precision(incomplete: str) -> list[str]:
    """The precisions a network can run in."""
    return [kind for kind in PRECISION_NAMES if kind.startswith(incomplete)]


def complete_device(incomplete: str) -> list[str]:
    """The kinds of device that PyTorch has."""
    return [name for name in ("cpu", "cuda", "mps") if name.startswith(incomplete)]


# What is explained, and how.

_MODEL_HELP = (
    "demo, demo-cat-dog, torchvision/resnet50, timm/NAME, package.module:factory, or a file of "
    "weights with --arch. See: seewhy models."
)
Model = Annotated[
    str,
    typer.Option("--model", "-m", metavar="MODEL", help=_MODEL_HELP, autocompletion=complete_model),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help=f"{_MODEL_HELP} Repeat it to compare models.",
        show_default="demo",
        autocompletion=complete_model,
    ),
]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        metavar="NAME,...",
        help="One or several, with commas or repeated. See: seewhy methods.",
        show_default="grad-cam",
        autocompletion=complete_methods,
    ),
]
MethodOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE,...",
        help="Options of the method, such as samples=20. See: seewhy methods.",
    ),
]
Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        "-t",
        metavar="TARGET",
        help=(
            "What to explain: a class name or number, top5, 'tabby vs lynx', p:tabby (its "
            "probability), against:tabby, finer:tabby (what sets it apart), output:0, positive; "
            "of boxes and maps box:0, cat@10,20,110,220, cat@50,60. Repeat it for several."
        ),
        show_default="the predicted class",
        autocompletion=complete_target,
    ),
]
Target = Annotated[
    str | None,
    typer.Option(
        "--target",
        "-t",
        metavar="TARGET",
        help="A class name or number, or another target as seewhy explain takes it.",
        show_default="the predicted class",
        autocompletion=complete_target,
    ),
]
Layers = Annotated[
    list[str] | None,
    typer.Option(
        "--layer",
        "-l",
        metavar="LAYER",
        help="A layer by name, or a wildcard such as 'layer*'; with commas or repeated for "
        "several. See: seewhy layers.",
        show_default="the one that seewhy layers marks",
    ),
]
Layer = Annotated[
    str | None,
    typer.Option(
        "--layer",
        "-l",
        metavar="LAYER",
        help="A layer by name. See: seewhy layers.",
        show_default="the one that seewhy layers marks",
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        metavar="NAME",
        help="Which of the model's outputs holds the scores, such as logits or heads.0; "
        "or how a detector's boxes are to be read: yolo, detr.",
    ),
]

# How fast it runs.

BatchSize = Annotated[
    int, typer.Option("--batch-size", min=1, metavar="N", help="Pictures in the model at once.")
]
Precision = Annotated[
    str,
    typer.Option(
        "--precision",
        metavar="KIND",
        help="float32, bf16 or fp16, for methods that run the network many times. What it costs "
        "in agreement is measured and said.",
        rich_help_panel="Speed",
        autocompletion=complete_precision,
    ),
]
Compiled = Annotated[
    bool,
    typer.Option(
        "--compile",
        metavar="",
        help="Compile the network, for methods that run it many times: tens of seconds at first, "
        "then faster. The agreement is measured and said.",
        rich_help_panel="Speed",
    ),
]

# How the model is loaded.

_LOADING = "Model options"
Architecture = Annotated[
    str | None,
    typer.Option(
        "--arch",
        metavar="NAME",
        help="The network that a file's weights belong in: torchvision/NAME, timm/NAME or "
        "module:factory.",
        rich_help_panel=_LOADING,
        autocompletion=complete_model,
    ),
]
ClassCount = Annotated[
    int | None,
    typer.Option(
        "--num-classes", metavar="N", help="Classes of its head.", rich_help_panel=_LOADING
    ),
]
Size = Annotated[
    str | None,
    typer.Option(
        "--size",
        metavar="PIXELS",
        help="Of the model's input: 224, or height x width as 224x320.",
        show_default="the weights' own",
        rich_help_panel=_LOADING,
    ),
]
Mean = Annotated[
    str | None,
    typer.Option(
        "--mean",
        metavar="R,G,B",
        help="Of values from 0 to 1: 0.485,0.456,0.406, or one number for all.",
        show_default="the weights' own",
        rich_help_panel=_LOADING,
    ),
]
Std = Annotated[
    str | None,
    typer.Option(
        "--std",
        metavar="R,G,B",
        help="As --mean.",
        show_default="the weights' own",
        rich_help_panel=_LOADING,
    ),
]
Labels = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        metavar="FILE",
        help="Class names: one a line, or JSON.",
        show_default="the weights' own",
        rich_help_panel=_LOADING,
    ),
]
TrustPickle = Annotated[
    bool,
    typer.Option(
        "--trust-pickle",
        metavar="",
        help="Load a whole model (pickled, .pt2, TorchScript). It runs code from the file: only if "
        "you trust it.",
        rich_help_panel=_LOADING,
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="NAME",
        help="cpu, cuda, cuda:1, mps.",
        rich_help_panel=_LOADING,
        autocompletion=complete_device,
    ),
]

# What the pictures look like.

_DRAWING = "Drawing"
Colormap = Annotated[
    str | None,
    typer.Option(
        "--colormap",
        metavar="NAME",
        help="One of matplotlib's, such as viridis or jet.",
        show_default="one that suits the map's sign",
        rich_help_panel=_DRAWING,
        autocompletion=complete_colormap,
    ),
]
Opacity = Annotated[
    float,
    typer.Option(
        "--opacity",
        metavar="SHARE",
        min=0,
        max=1,
        help="Of the map over the picture.",
        rich_help_panel=_DRAWING,
    ),
]
SameScale = Annotated[
    bool,
    typer.Option(
        "--same-scale",
        metavar="",
        help="One range of values for all maps, so that strong and weak can be compared.",
        rich_help_panel=_DRAWING,
    ),
]


# From what was typed to what the package takes.


def split(values: Sequence[str] | None) -> list[str]:
    """Repeated values, each of which may hold several with commas; each once."""
    parts = (part.strip() for value in values or () for part in value.split(","))
    return list(dict.fromkeys(part for part in parts if part))


def known_methods(values: Sequence[str] | None) -> list[str]:
    """The methods asked for, found out before the model is loaded.

    Raises:
        MethodError: one is not known.
    """
    names = split(values) or ["grad-cam"]
    for name in names:
        if name not in METHOD_NAMES:
            near = difflib.get_close_matches(name.lower(), METHOD_NAMES, n=3, cutoff=0.4)
            hint = f"did you mean {' or '.join(near)}? " if near else ""
            raise MethodError(f"method '{name}' is not known; {hint}List them: seewhy methods")
    return names


def known_metrics(values: Sequence[str] | None) -> list[str]:
    """The metrics asked for, found out before the model is loaded.

    Raises:
        MetricError: one is not known.
    """
    names = split(values)
    for name in names:
        if name not in METRIC_NAMES:
            near = difflib.get_close_matches(name.lower(), METRIC_NAMES, n=3, cutoff=0.4)
            hint = f"did you mean {' or '.join(near)}? " if near else ""
            raise MetricError(
                f"metric '{name}' is not known; {hint}There are {', '.join(METRIC_NAMES)}"
            )
    return names


def metric_options(values: Sequence[str], metrics: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`road.noise=0.1,road.shares=0.1:0.5` → `{"road": {"noise": 0.1, "shares": (0.1, 0.5)}}`.

    Raises:
        MetricError: none of the metrics has such an option, or its values are of another kind.
    """
    from seewhy.metrics import METRICS

    options: dict[str, dict[str, Any]] = {}
    for value in values:
        full, equals, text = (part.strip() for part in value.partition("="))
        metric, _, name = full.partition(".")
        if not (metric and name and equals and text):
            raise MetricError(
                f"--set {value!r} cannot be read; write metric.name=value, as in deletion.step=448"
            )
        if metric not in metrics:
            raise MetricError(
                f"--set {value!r}: '{metric}' is not among the metrics {', '.join(metrics)}"
            )
        known = METRICS[metric].options
        if name not in known:
            raise MetricError(f"{metric} has no option '{name}'; it has {', '.join(known)}")
        options.setdefault(metric, {})[name] = _like(known[name], text, f"--set {value!r}")
    return options


def _like(default: Any, text: str, where: str) -> Any:
    """What was typed, of the kind of the default; a word's place may be taken by a number."""
    if isinstance(default, (tuple, list)):
        return tuple(_like(default[0], part, where) for part in text.split(":"))
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise MetricError(f"{where}: true or false is wanted")
        return text.lower() == "true"
    if isinstance(default, str):
        try:
            return float(text)
        except ValueError:
            return text
    try:
        return type(default)(text)
    except ValueError:
        raise MetricError(f"{where}: a value like {default} is wanted") from None


def file_kinds(text: str) -> list[str]:
    """`png,npz` → the endings of the files to write.

    Raises:
        ImageError: explanations are not saved as one of them.
    """
    kinds = split([text.lower()])
    strange = [kind for kind in kinds if kind not in _FILE_KINDS]
    if strange or not kinds:
        raise ImageError(
            f"--save-as {text!r} is not a kind of file that explanations are written as; choose "
            f"from {', '.join(_FILE_KINDS)}"
        )
    return kinds


def several(values: Sequence[str] | None) -> Any:
    """Nothing, the one value, or a tuple of them: as the package takes targets."""
    return None if not values else values[0] if len(values) == 1 else tuple(values)


def method_options(values: Sequence[str] | None, methods: Sequence[str]) -> dict[str, Any]:
    """`samples=20,noise=0.1` → `{"samples": 20, "noise": 0.1}`.

    Raises:
        MethodError: none of the methods has such an option, or its values are of another kind.
    """
    if not values:
        return {}
    from seewhy.cli.methods import list_methods

    known = {}
    for entry in list_methods():
        if entry.name in methods:
            known.update(entry.options)
    options = {}
    for value in split(values):
        name, equals, text = (part.strip() for part in value.partition("="))
        if not (name and equals and text):
            raise MethodError(f"--set {value!r} cannot be read; write name=value, as in samples=20")
        if name not in known:
            there = f"there is {', '.join(known)}" if known else "there is none"
            raise MethodError(f"{', '.join(methods)} has no option '{name}'; {there}")
        kind = type(known[name])
        try:
            options[name] = kind(text)
        except ValueError:
            raise MethodError(
                f"--set {value!r}: {name} is {kind.__name__}, as in {name}={known[name]}"
            ) from None
    return options


def input_size(text: str | None) -> tuple[int, int] | int | None:
    """`224` or `224x320` → pixels (height, width)."""
    if text is None:
        return None
    sizes = re.fullmatch(r"(\d+)(?:\s*[x×,]\s*(\d+))?", text.strip())
    if sizes is None:
        raise ModelError(f"--size {text!r} is no size; write 224, or height and width as 224x320")
    return int(sizes[1]) if sizes[2] is None else (int(sizes[1]), int(sizes[2]))


def numbers(text: str | None, option: str) -> tuple[float, ...] | None:
    """`0.5,0.5,0.5` → a number for each channel."""
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ModelError(
            f"{option} {text!r} are no numbers; write one for each channel, as in 0.5,0.5,0.5"
        ) from None


def check_colormap(name: str | None) -> None:
    """Find out before the model runs.

    Raises:
        ImageError: matplotlib has no such colour map.
    """
    if name is not None:
        import numpy as np

        from seewhy.render.colormap import colorize

        colorize(np.zeros(1), name)
