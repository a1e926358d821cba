"""What tab completion offers. Nothing here imports torch: it would wait seconds for it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from seewhy.methods import METHODS
from seewhy.metrics import METRICS

PRECISION_NAMES = ("float32", "bf16", "fp16")
FILE_KINDS = ("png", "jpg", "webp", "npz", "json")
_EMBEDDED = ("demo", "demo-cat-dog")
_TARGET_WORDS = ("predicted", "top3", "top5", "positive", "negative")


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
    return _complete_last(incomplete, METHODS)


def complete_metrics(incomplete: str) -> list[str]:
    """Metric names, also behind a comma."""
    return _complete_last(incomplete, METRICS)


def complete_save_as(incomplete: str) -> list[str]:
    """Kinds of file, also behind a comma."""
    return _complete_last(incomplete, FILE_KINDS)


def _complete_last(incomplete: str, names: Iterable[str]) -> list[str]:
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


def complete_interpolation(incomplete: str) -> list[str]:
    """The ways in which pictures are resized."""
    ways = ("bilinear", "bicubic", "nearest", "lanczos", "box", "hamming")
    return [name for name in ways if name.startswith(incomplete)]


def complete_device(incomplete: str) -> list[str]:
    """The kinds of device that PyTorch has."""
    return [name for name in ("cpu", "cuda", "mps") if name.startswith(incomplete)]
