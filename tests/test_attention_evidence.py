"""Methods that look at attention, from a model and pictures to maps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from reference import perturbation as reference
from torch import Tensor, nn

import seewhy
from seewhy.errors import MethodError
from seewhy.methods.attention import attention_relevance, attention_rollout, legrad
from seewhy.models.attention import attend, find_attention

METHODS = ("attention-rollout", "attention-relevance", "legrad")


def vit(**options: Any) -> nn.Module:
    """Patches 4 × 6 of a picture, and whatever tokens come before them."""
    transformer = pytest.importorskip("timm.models.vision_transformer")
    small = {"embed_dim": 24, "depth": 3, "num_heads": 2, "num_classes": 5, "patch_size": 8}
    return transformer.VisionTransformer(img_size=(32, 48), **{**small, **options}).eval()


@pytest.fixture
def inputs() -> Tensor:
    return torch.randn(3, 3, 32, 48)


@pytest.mark.parametrize(
    ("options", "extra"),
    [
        ({}, 1),
        ({"reg_tokens": 4}, 5),
        ({"class_token": False, "global_pool": "avg"}, 0),
        ({"class_token": False, "global_pool": "map"}, 0),
    ],
    ids=["class token", "registers", "mean", "attention pooling"],
)
def test_maps_are_the_formulas_tokens_on_their_grid(
    options: dict[str, Any], extra: int, inputs: Tensor
) -> None:
    model = vit(**options)
    path = find_attention(model, inputs[:1])
    as_it_is = attend(model, inputs, path, every=False)
    score = as_it_is.outputs[:, 2].sum()
    read = as_it_is.read(score, keep_graph=True)
    every = attend(model, inputs, path, every=True)
    blockwise = every.gradients(every.outputs[:, 2].sum())
    wanted = {
        "attention-rollout": attention_rollout(as_it_is.attentions, read),
        "attention-relevance": attention_relevance(
            as_it_is.attentions, as_it_is.gradients(score), read
        ),
        "legrad": legrad(lambda mean: blockwise),
    }
    for method in METHODS:
        found = seewhy.attribute(model, inputs, 2, method=method)
        assert found.shape == (3, 4, 6)
        torch.testing.assert_close(found.flatten(1), wanted[method][:, extra:])


def test_targets_of_each_image_and_several_of_one(inputs: Tensor) -> None:
    model = vit()
    for method in METHODS:
        both = seewhy.attribute(model, inputs, [(0, 1), (2, 3), (4, 0)], method=method)
        for image, targets in enumerate([(0, 1), (2, 3), (4, 0)]):
            for place, target in enumerate(targets):
                alone = seewhy.attribute(model, inputs[image : image + 1], target, method=method)
                torch.testing.assert_close(both[image, place], alone[0], rtol=1e-4, atol=1e-7)
    rollout, relevance = (
        seewhy.attribute(model, inputs, (0, 1), method=method) for method in METHODS[:2]
    )
    torch.testing.assert_close(rollout[:, 0], rollout[:, 1])
    assert not torch.allclose(relevance[:, 0], relevance[:, 1])


def test_the_blocks_and_tokens_that_legrad_takes_are_chosen(inputs: Tensor) -> None:
    model = vit()
    every = seewhy.attribute(model, inputs, 1, method="legrad")
    last = seewhy.attribute(model, inputs, 1, method="legrad", blocks=1)
    mean = seewhy.attribute(model, inputs, 1, method="legrad", tokens="mean")
    assert not torch.allclose(every, last)
    assert not torch.allclose(every, mean)


def test_a_method_of_ones_own_is_given_attentions_and_gives_tokens(inputs: Tensor) -> None:
    def last(attentions: list[Tensor], tokens_read: Tensor, *, block: int = -1) -> Tensor:
        assert [one.shape for one in attentions] == [(6, 2, 25, 25)] * 3
        return (tokens_read[:, None] @ attentions[block].mean(1))[:, 0]

    found = seewhy.attribute(vit(), inputs, (0, 1), method=last, block=1)
    assert found.shape == (3, 2, 4, 6)
    assert (found > 0).all()
    with pytest.raises(
        MethodError, match=r"relevance of each token \(3, 25\), but it returned \(3, 5\)"
    ):
        seewhy.attribute(vit(), inputs, 0, method=lambda attentions: torch.zeros(3, 5))


@pytest.mark.parametrize("method", METHODS)
def test_half_precision_and_autocast(method: str, inputs: Tensor) -> None:
    model = vit()
    wanted = seewhy.attribute(model, inputs, 1, method=method)
    near = {"rtol": 0, "atol": 0.1 * float(wanted.max())}
    with torch.autocast("cpu", torch.bfloat16):
        found = seewhy.attribute(model, inputs, 1, method=method)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted, **near)
    for dtype in (torch.bfloat16, torch.float16):
        found = seewhy.attribute(vit_like(model).to(dtype), inputs, 1, method=method)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, wanted, **near)


def vit_like(model: nn.Module) -> nn.Module:
    other = vit()
    other.load_state_dict(model.state_dict())
    return other


@pytest.mark.parametrize("method", METHODS)
def test_something_beside_each_picture(method: str, inputs: Tensor) -> None:
    """A head that reads metadata of each image: its rows go with the tokens of every block."""

    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.vit, self.head = vit(num_classes=0), nn.Linear(24 + 2, 5)

        def forward(self, picture: Tensor, meta: Tensor) -> Tensor:
            return self.head(torch.cat([self.vit(picture), meta], 1)).tanh()

    model, meta = Beside().eval(), torch.randn(3, 2)
    found = seewhy.attribute(model, (inputs, meta), (1, 4), method=method)
    for image in range(3):
        row = slice(image, image + 1)
        alone = seewhy.attribute(model, (inputs[row], meta[row]), (1, 4), method=method)
        torch.testing.assert_close(found[row], alone, rtol=1e-4, atol=1e-7)
    other = seewhy.attribute(model, (inputs, meta + 3), (1, 4), method=method)
    assert method == "attention-rollout" or not torch.allclose(found, other)


def test_images_that_a_head_mixes_are_an_error(inputs: Tensor) -> None:
    class Mixing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.vit = vit()

        def forward(self, x: Tensor) -> Tensor:
            scores = self.vit(x)
            return scores - scores.mean(0) * len(scores)

    with pytest.raises(MethodError, match="its head reads the tokens of every block"):
        seewhy.attribute(Mixing().eval(), inputs, 1, method="legrad")


@pytest.mark.parametrize("method", METHODS)
def test_a_network_without_attention_among_all_tokens_says_so(method: str, inputs: Tensor) -> None:
    timm = pytest.importorskip("timm")
    cnn = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    with pytest.raises(MethodError, match=r"no attention.*Use grad-cam"):
        seewhy.attribute(cnn, inputs, 1, method=method)
    swin = timm.models.SwinTransformer(
        img_size=32, patch_size=2, window_size=4, depths=(2, 2), embed_dim=24, num_heads=(2, 2),
        num_classes=5,
    ).eval()  # fmt: skip
    with pytest.raises(MethodError, match=r"within windows.*Use grad-cam"):
        seewhy.attribute(swin, inputs[..., :32], 1, method=method)


@pytest.mark.parametrize("method", METHODS)
def test_fusing_layers_is_not_for_attention(method: str, inputs: Tensor) -> None:
    with pytest.raises(MethodError, match="uses the attention"):
        seewhy.attribute(vit(), inputs, 1, method=method, fuse="mean")


def test_an_explanation_says_that_it_is_of_attention(inputs: Tensor) -> None:
    (why,) = seewhy.Explainer(vit(), method="legrad").many([inputs[0]], 1)
    assert (why.layer, tuple(why.map.shape)) == ("attention", (4, 6))


def test_vit_recipro_cam_is_gaussian_recipro_cam_at_the_proposed_layer(
    inputs: Tensor,
) -> None:
    """Of what goes around it, a head that reads the class token reads the class token alone."""
    model = vit().double()
    *blocks, last = model.blocks
    image = inputs[:1].double()
    with torch.no_grad():
        stream = model.norm_pre(model._pos_embed(model.patch_embed(image)))
        for block in blocks:
            stream = block(stream)

        def score(stream: Tensor, normed: Tensor) -> float:
            x = stream[None] + last.attn(normed[None])
            return float(model.forward_head(model.norm(x + last.mlp(last.norm2(x))))[0, 3])

        wanted = reference.vit_recipro_cam(stream[0], last.norm1(stream)[0], (4, 6), score)
    found = seewhy.attribute(model, image, 3, method="recipro-cam-gaussian")
    torch.testing.assert_close(found[0], wanted)
    # Not so before the norm, where a share of a token is as much as all of it.
    before = seewhy.attribute(model, image, 3, method="recipro-cam-gaussian", layer="blocks.1")
    assert torch.corrcoef(torch.stack([before.flatten(), wanted.flatten()]))[0, 1] < 0.9
