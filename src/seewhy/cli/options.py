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
from seewhy.cli.help import DRAWING, SPEED
from seewhy.cli.parsing import output_name

if TYPE_CHECKING:
    from seewhy.models.many_runs import Speed


class Fusion(str, Enum):
    """How to combine the maps of several layers into one."""

    MEAN = "mean"
    MAX = "max"
    SCALED_MAX = "scaled-max"


class Sort(str, Enum):
    """The order of feature maps."""

    INDEX = "index"
    ACTIVATION = "activation"
    CONTRIBUTION = "contribution"


class StyleChoice(str, Enum):
    """How to draw a map over its picture."""

    CLEAR = "clear"
    VEIL = "veil"
    PRINT = "print"


class Base(str, Enum):
    """The background under the map."""

    PICTURE = "picture"
    GREY = "grey"


class ScaleStart(str, Enum):
    """The map value at which the colours start."""

    ZERO = "zero"
    MIN = "min"


# What is explained, and how.

MODEL_HELP = (
    "Choose the model: demo, demo-cat-dog, torchvision/NAME, timm/NAME, package.module:factory, or "
    "a checkpoint file together with --arch."
)
_MODEL_HELP = f"{MODEL_HELP} See: seewhy models."
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
        help=f"{_MODEL_HELP} Repeat the option to compare models.",
        show_default="demo",
        autocompletion=complete_model,
    ),
]
Methods = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        "-M",
        metavar="NAME,...",
        help="Choose one method, or several with commas. See: seewhy methods.",
        show_default="grad-cam",
        autocompletion=complete_methods,
    ),
]
MethodOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        metavar="KEY=VALUE,...",
        help="Set options of the method, such as samples=20. See: seewhy methods.",
    ),
]
Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        "-t",
        metavar="TARGET",
        help=(
            "Explain this class: a name, an index, or top5. Repeat the option for several classes. "
            "Ask more: 'tabby vs lynx', p:tabby (its probability), against:tabby, finer:tabby "
            "(tabby rather than similar classes), output:0, positive. With a detector or a "
            "segmentation network, also: box:0, cat@10,20,110,220, cat@50,60."
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
        help="Explain this class: a name, an index, or another target of seewhy explain.",
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
        help="Use this layer: a name, or a wildcard such as 'layer*'. Separate several with "
        "commas. See: seewhy layers.",
        show_default="chosen from the model",
    ),
]
Layer = Annotated[
    str | None,
    typer.Option(
        "--layer",
        "-l",
        metavar="LAYER",
        help="Use this layer. See: seewhy layers.",
        show_default="chosen from the model",
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        metavar="NAME",
        help="Name the model output that holds the scores, such as logits or heads.0. For a "
        "detector, name the format of its boxes: yolo or detr.",
        callback=output_name,
    ),
]

Fuse = Annotated[
    Fusion | None,
    typer.Option(
        "--fuse",
        metavar="HOW",
        help="Combine the maps of several layers into one: mean, max or scaled-max.",
        show_default="one map per layer",
    ),
]

# How fast it runs.

BatchSize = Annotated[
    int,
    typer.Option(
        "--batch-size",
        "-b",
        min=1,
        metavar="N",
        help="Run N pictures in one forward pass. Use fewer if memory runs out.",
        rich_help_panel=SPEED,
    ),
]


@dataclass(frozen=True)
class SpeedOptions:
    """Precision and compilation for methods that run the network many times."""

    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            metavar="KIND",
            help="Use float32, bf16 or fp16 in methods that run the network many times. A warning "
            "reports how well the scores agree with float32.",
            rich_help_panel=SPEED,
            autocompletion=complete_precision,
        ),
    ] = "float32"
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile",
            metavar="",
            help="Compile the network for methods that run it many times. The start takes tens of "
            "seconds longer. A warning reports how well the scores agree.",
            rich_help_panel=SPEED,
        ),
    ] = False

    def speed(self) -> Speed:
        """Return the value for `seewhy.Explainer`."""
        from seewhy.models.many_runs import Speed

        return Speed(self.precision, self.compiled)


# What the pictures look like.

Colormap = Annotated[
    str | None,
    typer.Option(
        "--colormap",
        metavar="NAME",
        help="Use a colour map of matplotlib, such as viridis or jet.",
        show_default="chosen by the sign of the map",
        rich_help_panel=DRAWING,
        autocompletion=complete_colormap,
    ),
]
SameScale = Annotated[
    bool,
    typer.Option(
        "--same-scale",
        metavar="",
        help="Draw all maps with the same range of values, so that they can be compared.",
        rich_help_panel=DRAWING,
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
            help="Choose how to draw the map. clear: colour is stronger where the value is "
            "higher. veil: even colour covers the whole picture. print: lines without colour.",
            show_default="clear",
            rich_help_panel=DRAWING,
        ),
    ] = None
    base: Annotated[
        Base,
        typer.Option(
            "--base",
            metavar="NAME",
            help="Choose the background: picture, or grey for reading values most exactly.",
            rich_help_panel=DRAWING,
        ),
    ] = Base.PICTURE
    limits: Annotated[
        tuple[float, float] | None,
        typer.Option(
            "--limits",
            metavar="LOW HIGH",
            help="Set the values of the first and the last colour.",
            show_default="the range of the map",
            rich_help_panel=DRAWING,
        ),
    ] = None
    scale: Annotated[
        ScaleStart | None,
        typer.Option(
            "--scale",
            metavar="START",
            help="Start the colours at zero, or at the minimum of the map (min).",
            show_default="zero, or min if the minimum is above 25 % of the maximum",
            rich_help_panel=DRAWING,
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
            help="Set the opacity of the map where it is strongest, from 0 to 1.",
            show_default="0.7, or 0.5 with --style veil",
            rich_help_panel=DRAWING,
        ),
    ] = None

    def keywords(self) -> dict[str, Any]:
        """Return the keywords of `Explanation.overlay`, checked before a model runs.

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
