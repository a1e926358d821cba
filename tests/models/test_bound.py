"""A model is bound once to all that it is called with; the maps do not notice."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import seewhy
from seewhy.errors import ModelError
from seewhy.models.bound import bind

METHODS = ["grad-cam", "hires-cam", "smooth-grad-cam++", "recipro-cam", "ablation-cam"]
METHODS += ["score-cam", "saliency", "integrated-gradients", "rise"]


class Plain(nn.Module):
    """A network of a picture whose class scores are moved by a row of metadata."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU())
        self.mix = nn.Linear(6, 4)

    def forward(self, picture: Tensor, metadata: Tensor) -> Tensor:
        pooled = self.features(picture).square().mean((2, 3))
        return self.mix(pooled * metadata)


class Swapped(nn.Module):
    """The same, called with keywords, that gives its scores in a dictionary."""

    def __init__(self, plain: Plain) -> None:
        super().__init__()
        self.plain = plain

    def forward(self, *, metadata: Tensor, pixel_values: Tensor, scale: float) -> dict[str, Tensor]:
        scores = self.plain(pixel_values, metadata) * scale
        return {"logits": scores, "metadata": metadata}


def one_by_one(plain: Plain, pictures: Tensor, metadata: Tensor, **asked: Any) -> Tensor:
    """The maps of each picture alone, in a network with its metadata built in."""

    class Alone(nn.Module):
        def __init__(self, row: Tensor) -> None:
            super().__init__()
            self.plain, self.row = plain, row

        def forward(self, picture: Tensor) -> Tensor:
            return self.plain(picture, self.row)

    rows = zip(pictures.split(1), metadata.split(1), strict=True)
    return torch.cat([seewhy.attribute(Alone(row), one, **asked) for one, row in rows])


@pytest.mark.parametrize("target", [2, (0, 3), "top2"])
@pytest.mark.parametrize("method", METHODS)
def test_what_is_given_beside_the_picture_follows_its_image(method: str, target: Any) -> None:
    plain = Plain().eval()
    pictures, metadata = torch.randn(3, 3, 9, 7), torch.rand(3, 6) + 0.5
    options = {"masks": 20, "cells": 3} if method == "rise" else {}
    layer = {"layer": "plain.features"} if "cam" in method else {}
    wanted = one_by_one(plain, pictures, metadata, target=target, method=method, **layer, **options)
    layer = {"layer": "features"} if "cam" in method else {}
    found = seewhy.attribute(
        plain, (pictures, metadata), target=target, method=method, **layer, **options
    )
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_keywords_numbers_and_dictionaries() -> None:
    plain = Plain().eval()
    pictures, metadata = torch.randn(2, 3, 8, 8), torch.rand(2, 6)
    wanted = seewhy.attribute(plain, (pictures, metadata), target=1, layer="features")
    given = {"metadata": metadata, "pixel_values": pictures, "scale": 1.0}
    found = seewhy.attribute(Swapped(plain), given, target=1, output="logits")
    torch.testing.assert_close(found, wanted)
    assert given["pixel_values"] is pictures  # the caller's mapping is left alone


def test_texts_that_all_images_share_are_not_taken_for_rows() -> None:
    class Compares(nn.Module):
        """Scores of pictures against texts, as CLIP's."""

        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Conv2d(3, 6, 3, padding=1)

        def forward(self, pixel_values: Tensor, texts: Tensor) -> Tensor:
            return self.features(pixel_values).relu().mean((2, 3)) @ texts.T

    model, pictures, texts = Compares(), torch.randn(2, 3, 6, 6), torch.randn(2, 6)
    inputs = {"pixel_values": pictures, "texts": texts}
    asked = {"target": 1, "method": "recipro-cam"}
    found = seewhy.attribute(model, inputs, shared=["texts"], **asked)
    alone = [
        seewhy.attribute(model, {"pixel_values": one, "texts": texts}, **asked)
        for one in pictures.split(1)
    ]
    torch.testing.assert_close(found, torch.cat(alone))


@pytest.mark.parametrize("method", ["recipro-cam", "rise"])
def test_texts_taken_for_rows_are_noticed(method: str) -> None:
    """Of the second picture alone, class 0 would be the score of the second text."""

    class Compares(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Conv2d(3, 6, 3, padding=1)

        def forward(self, picture: Tensor, texts: Tensor) -> Tensor:
            return self.features(picture).relu().mean((2, 3)) @ texts.T

    inputs = torch.randn(3, 3, 6, 6), torch.randn(3, 6)
    with pytest.raises(ModelError, match="name it with shared="):
        seewhy.attribute(Compares(), inputs, 0, method=method)
    assert seewhy.attribute(Compares(), inputs, 0, method=method, shared=[1]).shape == (3, 6, 6)


@pytest.mark.parametrize(("frames", "channels"), [(4, 3), (1, 3), (3, 1), (16, 2)])
def test_the_first_convolution_tells_frames_from_channels(frames: int, channels: int) -> None:
    class ByFrame(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Conv2d(channels, 5, 3, padding=1)
            self.head = nn.Linear(5, 2)

        def forward(self, video: Tensor) -> Tensor:
            pooled = self.features(video.flatten(0, 1)).relu().mean((2, 3))
            return self.head(pooled.unflatten(0, video.shape[:2]).mean(1))

    video = torch.randn(2, frames, channels, 8, 6)
    assert seewhy.attribute(ByFrame(), video, 0, method="saliency").shape == (2, frames, 8, 6)
    volume = nn.Sequential(nn.Conv3d(channels, 4, 1), nn.AdaptiveAvgPool3d(1), nn.Flatten())
    maps = seewhy.attribute(volume, video.transpose(1, 2), 0, method="saliency")
    assert maps.shape == (2, frames, 8, 6)


def test_a_video_is_run_frame_by_frame_or_as_a_volume() -> None:
    class ByFrame(nn.Module):
        """A CNN on every frame, a recurrent head behind it."""

        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Conv2d(3, 5, 3, padding=1)
            self.memory = nn.LSTM(5, 4, batch_first=True)
            self.head = nn.Linear(4, 3)

        def forward(self, video: Tensor) -> Tensor:
            frames = self.features(video.flatten(0, 1)).relu()
            seen, _ = self.memory(frames.mean((2, 3)).unflatten(0, video.shape[:2]))
            return self.head(seen[:, -1])

    model, video = ByFrame().eval(), torch.randn(2, 5, 3, 8, 6)
    for method in ("grad-cam", "recipro-cam", "ablation-cam", "layer-cam"):
        maps = seewhy.attribute(model, video, target=1, method=method, layer="features")
        assert maps.shape == (2, 5, 8, 6)
        alone = seewhy.attribute(model, video[1:], target=1, method=method, layer="features")
        torch.testing.assert_close(maps[1:], alone, rtol=1e-4, atol=1e-5)
    # By hand: the gradient of the score by the frames' feature maps.
    features = model.features(video.flatten(0, 1)).detach().requires_grad_()
    seen, _ = model.memory(features.relu().mean((2, 3)).unflatten(0, (2, 5)))
    (gradient,) = torch.autograd.grad(model.head(seen[:, -1])[:, 1].sum(), features)
    by_hand = (gradient * features).sum(1).unflatten(0, (2, 5))
    found = seewhy.attribute(model, video, target=1, method="hires-cam", layer="features")
    torch.testing.assert_close(found, by_hand.detach())
    assert str(seewhy.attribute(model, video, target=1).shape) == "torch.Size([2, 5, 8, 6])"


def test_a_picture_is_explained_with_what_else_the_model_takes() -> None:
    plain, metadata = Plain().eval(), torch.rand(1, 6)
    size = {"size": (8, 8), "resize": (8, 8)}
    preprocess = seewhy.Preprocess(**size, mean=(0.5,) * 3, std=(0.25,) * 3)
    picture = torch.randint(0, 256, (20, 16, 3), dtype=torch.uint8).numpy()
    why = seewhy.explain(
        plain, picture, 1, preprocess=preprocess, inputs=lambda pictures: (pictures, metadata)
    )
    prepared = preprocess(picture)[None]
    wanted = seewhy.attribute(plain, (prepared, metadata), target=1)
    torch.testing.assert_close(torch.from_numpy(why.map), wanted[0])
    assert why.heatmap.shape == (20, 16)


@pytest.mark.parametrize(
    ("inputs", "asked", "says"),
    [
        ((torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4)), {}, r"2 of the inputs could be the pic"),
        ((torch.rand(2, 6),), {}, r"0 of the inputs .* 0 \(2, 6\).*picture="),
        (
            {"a": torch.rand(1, 3, 4, 4)},
            {"picture": "b"},
            r"picture='b' is not one of .* a \(1, 3, 4, 4",
        ),
        ({"a": torch.rand(1, 3, 4, 4)}, {"shared": ["b"]}, r"shared='b' is not one of the inputs"),
        (torch.rand(3, 8, 8), {}, r"inputs\[None\]"),
        ("cat.jpg", {}, "inputs must be .*, not str"),
    ],
)
def test_what_cannot_be_the_picture_is_told(inputs: Any, asked: Any, says: str) -> None:
    with pytest.raises(ModelError, match=says):
        bind(nn.Sequential(nn.Conv2d(3, 2, 1)), inputs, **asked)
