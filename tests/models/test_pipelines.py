"""What holds a network and is none: the error names the network."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small_networks import Classifier
from torch import Tensor, nn

import seewhy
from seewhy.errors import ModelError
from seewhy.models.pipelines import refuse_pipeline


class YOLO(nn.Module):
    """As ultralytics': a module whose call prepares pictures, predicts and returns results."""

    def __init__(self) -> None:
        super().__init__()
        self.model, self.task, self.predictor = Classifier().eval(), "detect", None

    def __call__(self, source: Any = None, stream: bool = False, **more: Any) -> list[Any]:
        return self.predict(source, stream, **more)

    def predict(self, source: Any, stream: bool = False, **more: Any) -> list[Any]:
        return [source]


class Runner(nn.Module):
    """Without a forward of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Classifier().eval()

    def predict(self, x: Any) -> Any:
        return x


class ImageClassificationPipeline:
    """As transformers': no module."""

    def __init__(self) -> None:
        self.model = Classifier().eval()

    def __call__(self, x: Any) -> Any:
        return x


@pytest.mark.parametrize("make", [YOLO, Runner, ImageClassificationPipeline])
def test_the_network_inside_is_named(make: type) -> None:
    holder, x = make(), torch.rand(1, 3, 32, 32)
    message = f"model is a {make.__name__}, .* {make.__name__.lower()}.model"
    with pytest.raises(ModelError, match=message):
        seewhy.attribute(holder, x, 1)
    with pytest.raises(ModelError, match=message):
        seewhy.explain(holder, x[0], 1)
    assert seewhy.attribute(holder.model, x, 1).shape == (1, 8, 8)


def test_a_network_that_holds_another_is_a_network() -> None:
    class Lightning(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = Classifier()

        def forward(self, x: Tensor) -> Tensor:
            return self.model(x)

        def predict(self, x: Tensor) -> Tensor:
            return self(x).argmax(1)

    refuse_pipeline(Lightning())
    refuse_pipeline(Classifier())
    refuse_pipeline("yolov8n.pt")
    assert seewhy.attribute(Lightning().eval(), torch.rand(1, 3, 32, 32), 1).shape == (1, 8, 8)
