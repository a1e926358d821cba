"""Networks of tokens: the maps are those of the formula, and lie where they belong."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import seewhy
from seewhy.errors import LayerError
from seewhy.models.rerun import rerunning
from seewhy.models.watch import Layer

EXTRA = 2


class Tokens(nn.Module):
    """A small transformer with a class token and a register."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 4, 4)
        self.extra = nn.Parameter(torch.randn(1, EXTRA, 12))
        self.place = nn.Parameter(torch.randn(1, EXTRA + 12, 12))
        block = nn.TransformerEncoderLayer
        self.blocks = nn.ModuleList([block(12, 2, 16, batch_first=True) for _ in range(3)])
        self.head = nn.Linear(12, 4)

    def forward(self, pictures: Tensor) -> Tensor:
        patches = self.patches(pictures).flatten(2).mT
        tokens = torch.cat([self.extra.expand(len(patches), -1, -1), patches], 1) + self.place
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(tokens[:, 0])


@pytest.fixture
def model() -> Tokens:
    return Tokens().eval()


PICTURES = torch.randn(2, 3, 12, 16, generator=torch.Generator().manual_seed(1))


def behind(model: Tokens, tokens: Tensor) -> Tensor:
    """What the network gives for tokens behind its second block."""
    return model.head(model.blocks[2](tokens)[:, 0])


def between(model: Tokens) -> Tensor:
    patches = model.patches(PICTURES).flatten(2).mT
    tokens = torch.cat([model.extra.expand(2, -1, -1), patches], 1) + model.place
    return model.blocks[1](model.blocks[0](tokens)).detach().requires_grad_()


def as_map(tokens: Tensor) -> Tensor:
    return tokens[:, EXTRA:].mT.unflatten(2, (3, 4))


def test_gradient_methods_are_their_formula_on_the_grid(model: Tokens) -> None:
    tokens = between(model)
    (gradient,) = torch.autograd.grad(behind(model, tokens)[:, 2].sum(), tokens)
    activations, gradients = as_map(tokens), as_map(gradient)
    for method, wanted in {
        "hires-cam": (gradients * activations).sum(1),
        "grad-cam": (gradients.mean((2, 3), True) * activations).sum(1).relu(),
        "layer-cam": (gradients.relu() * activations).sum(1).relu(),
    }.items():
        found = seewhy.attribute(model, PICTURES, target=2, method=method)  # proposes blocks.1
        torch.testing.assert_close(found, wanted.detach())


def test_a_rerun_keeps_the_other_tokens(model: Tokens) -> None:
    tokens = between(model)[:1]
    with rerunning(model, Layer("blocks.1", model.blocks[1]), PICTURES[:1]) as tail:
        assert tail.exact
        torch.testing.assert_close(tail.activations, as_map(tokens).detach())
        versions = torch.randn(5, 12, 3, 4)
        changed = tokens.repeat(5, 1, 1)
        changed[:, EXTRA:] = versions.flatten(2).mT
        with torch.no_grad():
            torch.testing.assert_close(tail(versions), behind(model, changed))


def test_recipro_cam_leaves_one_token_of_the_picture_at_a_time(model: Tokens) -> None:
    tokens = between(model).detach()
    wanted = torch.empty(2, 3, 4)
    for image in range(2):
        for position in range(12):
            alone = torch.zeros_like(tokens[image : image + 1])
            alone[:, :EXTRA] = tokens[image, :EXTRA]
            alone[:, EXTRA + position] = tokens[image, EXTRA + position]
            wanted[image].view(-1)[position] = behind(model, alone)[0, 1]
    found = seewhy.attribute(model, PICTURES, target=1, method="recipro-cam")
    torch.testing.assert_close(found, wanted.detach())


def test_the_last_block_is_dead_and_said_to_be(model: Tokens) -> None:
    why = seewhy.explain(
        model, PICTURES[0], target=1, layer="blocks.2", method="grad-cam",
        preprocess=seewhy.Preprocess(size=(12, 16), resize=None, mean=(0.5,) * 3, std=(0.5,) * 3),
    )  # fmt: skip
    assert any("because the gradient is zero" in said for said in why.warnings)


def test_windows_are_no_map(model: Tokens) -> None:
    class Windows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.Linear(3, 3)
            self.head = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            rows = x.unfold(2, 4, 4).unfold(3, 4, 4).flatten(4).permute(0, 2, 3, 4, 1)
            windows = self.attention(rows.reshape(-1, 16, 3))
            return self.head(windows.reshape(len(x), -1, 3).mean(1))

    with pytest.raises(LayerError, match="windows, each as a separate batch row"):
        seewhy.attribute(Windows(), PICTURES, layer="attention")


def test_channels_and_concepts_of_tokens() -> None:
    pytest.importorskip("timm")
    import timm

    model = timm.create_model("vit_tiny_patch16_224", depth=2, num_classes=5).eval()
    prepared = torch.rand(3, 224, 224)
    maps = seewhy.find_features(model, prepared, top=4)
    assert maps.maps.shape == (4, 14, 14)
    assert maps.layer == "blocks.1.norm1"
