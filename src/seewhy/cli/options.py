"""The options that several commands share: single ones, and groups that go together.

Nothing here imports torch: help would wait seconds for it. The names of fusions and sorts are
therefore written out once more; a test holds them to the originals.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seewhy.cli.completion import (
    complete_colormap,
    complete_methods,
    complete_model,
    complete_precision,
    complete_target,
)

if TYPE_CHECKING:
    from seewhy.models.many_runs import Speed


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


class StyleChoice(str, Enum):
    """How a map lies over its picture."""

    CLEAR = "clear"
    VEIL = "veil"
    PRINT = "print"


class Base(str, Enum):
    """The picture under the map."""

    PICTURE = "picture"
    GREY = "grey"


class ScaleStart(str, Enum):
    """Where the colours start."""

    ZERO = "zero"
    MIN = "min"


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


@dataclass(frozen=True)
class SpeedOptions:
    """In which precision, and whether compiled, the network runs for methods that run it often."""

    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            metavar="KIND",
            help="float32, bf16 or fp16, for methods that run the network many times. What it "
            "costs in agreement is measured and said.",
            rich_help_panel="Speed",
            autocompletion=complete_precision,
        ),
    ] = "float32"
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile",
            metavar="",
            help="Compile the network, for methods that run it many times: tens of seconds at "
            "first, then faster. The agreement is measured and said.",
            rich_help_panel="Speed",
        ),
    ] = False

    def speed(self) -> Speed:
        """As `seewhy.Explainer` takes it."""
        from seewhy.models.many_runs import Speed

        return Speed(self.precision, self.compiled)


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
SameScale = Annotated[
    bool,
    typer.Option(
        "--same-scale",
        metavar="",
        help="One range of values for all maps, so that strong and weak can be compared.",
        rich_help_panel=_DRAWING,
    ),
]


@dataclass(frozen=True)
class DrawingOptions:
    """How maps are laid over their pictures."""

    style: Annotated[
        StyleChoice | None,
        typer.Option(
            "--style",
            metavar="NAME",
            help="clear (a strong map has dense colour, and the picture is untouched where the "
            "map says nothing), veil (a colour for every value, equally dense everywhere) or "
            "print (lines without colour).",
            show_default="clear",
            rich_help_panel=_DRAWING,
        ),
    ] = None
    base: Annotated[
        Base,
        typer.Option(
            "--base",
            metavar="NAME",
            help="picture, or grey: over the picture in grey, values are read most exactly.",
            rich_help_panel=_DRAWING,
        ),
    ] = Base.PICTURE
    limits: Annotated[
        tuple[float, float] | None,
        typer.Option(
            "--limits",
            metavar="LOW HIGH",
            help="The values that get the first and the last colour.",
            show_default="the map's own",
            rich_help_panel=_DRAWING,
        ),
    ] = None
    scale: Annotated[
        ScaleStart | None,
        typer.Option(
            "--scale",
            metavar="START",
            help="Where the colours start: zero, or min (the map's minimum).",
            show_default="zero; min if the minimum is above 25 % of the maximum",
            rich_help_panel=_DRAWING,
        ),
    ] = None
    colormap: Colormap = None
    opacity: Annotated[
        float | None,
        typer.Option(
            "--opacity",
            metavar="SHARE",
            min=0,
            max=1,
            help="The share of the map's colour where it is strongest.",
            show_default="0.7; of a veil 0.5",
            rich_help_panel=_DRAWING,
        ),
    ] = None

    def keywords(self) -> dict[str, Any]:
        """As `Explanation.overlay` takes them, checked before a model runs.

        Raises:
            ImageError: an unknown colour map, limits that are no range, or limits and a scale.
        """
        from seewhy.render.scale import scale_of
        from seewhy.render.style import style_of

        how: dict[str, Any] = {
            "style": self.style.value if self.style else None,
            "base": self.base.value,
            "colormap": self.colormap,
            "opacity": self.opacity,
        }
        start = self.scale.value if self.scale else None
        style_of(**how)
        scale_of([], limits=self.limits, start=start)
        return {**how, "limits": self.limits, "scale": start}
