"""The model that the options name, loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from seewhy.cli.completion import complete_device, complete_interpolation, complete_model
from seewhy.cli.parsing import numbers, pixels
from seewhy.cli.terminal import progress

if TYPE_CHECKING:
    from seewhy.models.load import LoadedModel

_LOADING = "Model options"


@dataclass(frozen=True)
class ModelOptions:
    """How a model is loaded: the options of every command that takes `--model`."""

    arch: Annotated[
        str | None,
        typer.Option(
            "--arch",
            metavar="NAME",
            help="The network that a file's weights belong in: torchvision/NAME, timm/NAME or "
            "module:factory.",
            rich_help_panel=_LOADING,
            autocompletion=complete_model,
        ),
    ] = None
    num_classes: Annotated[
        int | None,
        typer.Option(
            "--num-classes", metavar="N", help="Classes of its head.", rich_help_panel=_LOADING
        ),
    ] = None
    size: Annotated[
        str | None,
        typer.Option(
            "--size",
            metavar="PIXELS",
            help="Of the model's input: 224, or height x width as 224x320.",
            show_default="the weights' own",
            rich_help_panel=_LOADING,
        ),
    ] = None
    resize: Annotated[
        str | None,
        typer.Option(
            "--resize",
            metavar="PIXELS",
            help="What pictures are resized to before the crop: 256 for the shorter side, 224x320 "
            "for both sides, none for no resize.",
            show_default="the weights' own",
            rich_help_panel=_LOADING,
        ),
    ] = None
    crop: Annotated[
        str | None,
        typer.Option(
            "--crop",
            metavar="PIXELS",
            help="How much of the middle is taken after the resize: 224, 224x320, or none.",
            show_default="the weights' own",
            rich_help_panel=_LOADING,
        ),
    ] = None
    interpolation: Annotated[
        str | None,
        typer.Option(
            "--interpolation",
            metavar="NAME",
            help="How pictures are resized: bilinear, bicubic, nearest, lanczos, box, hamming.",
            show_default="the weights' own",
            rich_help_panel=_LOADING,
            autocompletion=complete_interpolation,
        ),
    ] = None
    preprocess: Annotated[
        Path | None,
        typer.Option(
            "--preprocess",
            metavar="FILE.json",
            help="A configuration of timm or transformers (preprocessor_config.json).",
            show_default="the weights' own",
            rich_help_panel=_LOADING,
        ),
    ] = None
    mean: Annotated[
        str | None,
        typer.Option(
            "--mean",
            metavar="R,G,B",
            help="Of values from 0 to 1: 0.485,0.456,0.406, or one number for all.",
            show_default="the weights' own",
            rich_help_panel=_LOADING,
        ),
    ] = None
    std: Annotated[
        str | None,
        typer.Option(
            "--std",
            metavar="R,G,B",
            help="As --mean.",
            show_default="the weights' own",
            rich_help_panel=_LOADING,
        ),
    ] = None
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            metavar="FILE",
            help="Class names: one a line, or JSON.",
            show_default="the weights' own",
            rich_help_panel=_LOADING,
        ),
    ] = None
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            metavar="NAME",
            help="Which set of weights of a file that holds several, such as state_dict_ema.",
            show_default="state_dict or model",
            rich_help_panel=_LOADING,
        ),
    ] = None
    trust_pickle: Annotated[
        bool,
        typer.Option(
            "--trust-pickle",
            metavar="",
            help="Load a whole model (pickled, .pt2, TorchScript). It runs code from the file: "
            "only if you trust it.",
            rich_help_panel=_LOADING,
        ),
    ] = False
    device: Annotated[
        str,
        typer.Option(
            "--device",
            metavar="NAME",
            help="cpu, cuda, cuda:1, mps.",
            rich_help_panel=_LOADING,
            autocompletion=complete_device,
        ),
    ] = "cpu"

    def load(self, spec: str) -> LoadedModel:
        """`seewhy.load_model` with its arguments as they were typed."""
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
