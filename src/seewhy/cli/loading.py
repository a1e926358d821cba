"""Load the model that the options name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from seewhy.cli.completion import complete_device, complete_interpolation, complete_model
from seewhy.cli.help import MODEL, PREPROCESSING, SPEED
from seewhy.cli.parsing import numbers, pixels
from seewhy.cli.terminal import progress

if TYPE_CHECKING:
    from seewhy.models.load import LoadedModel

_OWN = "from the weights"


@dataclass(frozen=True)
class ModelOptions:
    """How to load a model: the options of every command that has `--model`."""

    device: Annotated[
        str,
        typer.Option(
            "--device",
            metavar="NAME",
            help="Run the model on cpu, cuda, cuda:1 or mps.",
            rich_help_panel=SPEED,
            autocompletion=complete_device,
        ),
    ] = "cpu"
    arch: Annotated[
        str | None,
        typer.Option(
            "--arch",
            metavar="NAME",
            help="Name the architecture of a checkpoint file: torchvision/NAME, timm/NAME or "
            "module:factory.",
            rich_help_panel=MODEL,
            autocompletion=complete_model,
        ),
    ] = None
    num_classes: Annotated[
        int | None,
        typer.Option(
            "--num-classes",
            metavar="N",
            help="Set the number of classes, if the checkpoint differs from the architecture.",
            rich_help_panel=MODEL,
        ),
    ] = None
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            metavar="FILE",
            help="Read the class names from a file: one name per line, or JSON.",
            show_default=_OWN,
            rich_help_panel=MODEL,
        ),
    ] = None
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            metavar="NAME",
            help="Choose one set of weights of a checkpoint file, such as state_dict_ema.",
            show_default="state_dict or model",
            rich_help_panel=MODEL,
        ),
    ] = None
    trust_pickle: Annotated[
        bool,
        typer.Option(
            "--trust-pickle",
            metavar="",
            help="Allow a file that runs code when loaded (pickled model, .pt2, TorchScript). Use "
            "it only if you trust the source.",
            rich_help_panel=MODEL,
        ),
    ] = False
    size: Annotated[
        str | None,
        typer.Option(
            "--size",
            metavar="PIXELS",
            help="Set the input size of the model: 224, or height x width such as 224x320.",
            show_default=_OWN,
            rich_help_panel=PREPROCESSING,
        ),
    ] = None
    resize: Annotated[
        str | None,
        typer.Option(
            "--resize",
            metavar="PIXELS",
            help="Resize pictures before the crop: 256 (shorter side), 224x320 (both sides), or "
            "none.",
            show_default=_OWN,
            rich_help_panel=PREPROCESSING,
        ),
    ] = None
    crop: Annotated[
        str | None,
        typer.Option(
            "--crop",
            metavar="PIXELS",
            help="Crop the centre after the resize: 224, 224x320, or none.",
            show_default=_OWN,
            rich_help_panel=PREPROCESSING,
        ),
    ] = None
    interpolation: Annotated[
        str | None,
        typer.Option(
            "--interpolation",
            metavar="NAME",
            help="Resize with bilinear, bicubic, nearest, lanczos, box or hamming interpolation.",
            show_default=_OWN,
            rich_help_panel=PREPROCESSING,
            autocompletion=complete_interpolation,
        ),
    ] = None
    mean: Annotated[
        str | None,
        typer.Option(
            "--mean",
            metavar="R,G,B",
            help="Set the mean of pixel values from 0 to 1: 0.485,0.456,0.406, or one number.",
            show_default=_OWN,
            rich_help_panel=PREPROCESSING,
        ),
    ] = None
    std: Annotated[
        str | None,
        typer.Option(
            "--std",
            metavar="R,G,B",
            help="Set the standard deviation, written like --mean.",
            show_default=_OWN,
            rich_help_panel=PREPROCESSING,
        ),
    ] = None
    preprocess: Annotated[
        Path | None,
        typer.Option(
            "--preprocess",
            metavar="FILE",
            help="Read the preprocessing from a JSON file of timm or transformers.",
            show_default=_OWN,
            rich_help_panel=PREPROCESSING,
        ),
    ] = None

    def load(self, spec: str) -> LoadedModel:
        """Call `seewhy.load_model` with the typed options."""
        with progress(f"loading {spec}"):
            from seewhy.models.load import load_model

            return load_model(
                spec,
                arch=self.arch,
                num_classes=self.num_classes,
                preprocess=self.preprocess,
                size=pixels(self.size, "--size"),
                resize=_pixels_or_none(self.resize, "--resize"),
                crop=_pixels_or_none(self.crop, "--crop"),
                interpolation=self.interpolation,
                mean=numbers(self.mean, "--mean"),
                std=numbers(self.std, "--std"),
                labels=self.labels,
                weights=self.weights,
                trust_pickle=self.trust_pickle,
                device=self.device,
            )


def _pixels_or_none(
    text: str | None, option: str
) -> tuple[int, int] | int | Literal["none"] | None:
    if text is not None and text.strip().lower() == "none":
        return "none"
    return pixels(text, option)
