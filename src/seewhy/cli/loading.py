"""The model that the options name, loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from seewhy.cli.options import input_size, numbers
from seewhy.cli.terminal import progress

if TYPE_CHECKING:
    from seewhy.models.load import LoadedModel


def load(
    spec: str,
    *,
    arch: str | None,
    num_classes: int | None,
    size: str | None,
    mean: str | None,
    std: str | None,
    labels: Path | None,
    trust_pickle: bool,
    device: str,
) -> LoadedModel:
    """`seewhy.load_model` with its arguments as they are typed."""
    height_and_width = input_size(size)
    means, deviations = numbers(mean, "--mean"), numbers(std, "--std")
    with progress(f"loading {spec}"):
        from seewhy.models.load import load_model

        return load_model(
            spec,
            arch=arch,
            num_classes=num_classes,
            size=height_and_width,
            mean=means,
            std=deviations,
            labels=labels,
            trust_pickle=trust_pickle,
            device=device,
        )
