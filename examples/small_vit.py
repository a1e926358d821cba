"""A small Vision Transformer that knows cats from dogs, trained in minutes on one core.

    python examples/small_vit.py cats_dogs --out small_vit

`cats_dogs` is a folder with train/cats, train/dogs, test/cats and test/dogs. Some hundred pictures
are too few for a transformer to learn to see from, so this one is a hybrid: three transformer
blocks and a class token on the frozen demo network's last feature map (256 × 256 pixels, 8 × 8
positions).

Every other batch is mixed from two pictures (CutMix, Yun 2019, as DeiT is trained). On whole
pictures alone it is soon so sure that, shown a cat and a dog, it settles for one of them, and its
score hardly changes when the other is gone.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from cat_dog import LABELS, labelled_images
from rich.console import Console
from rich.progress import track
from safetensors.torch import load_file, save_file
from timm.layers import HybridEmbed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

import seewhy
from seewhy import LoadedModel, Preprocess, SeewhyError

GRID = 8
CELL = 32  # pixels: the demo network halves its input five times
# How large each picture is seen: whole, and near enough for 16 windows of 8 × 8 cells.
SCALES = (256, 352)
WIDTH, HEADS = 192, 3

console = Console()


def hybrid_vit() -> VisionTransformer:
    """Transformer blocks on the demo network's last map, whose weights are frozen."""
    demo = seewhy.load_model("demo").module
    trunk = nn.Sequential(last_stage(demo), demo.conv_head, demo.bn2).requires_grad_(False)
    return VisionTransformer(
        img_size=GRID * CELL,
        num_classes=len(LABELS),
        embed_dim=WIDTH,
        depth=3,
        num_heads=HEADS,
        proj_drop_rate=0.1,
        embed_layer=partial(HybridEmbed, backbone=trunk),
        patch_size=1,
    )


def last_stage(demo: nn.Module) -> nn.Sequential:
    """The demo network up to its last stage: 320 channels, before the 1 × 1 convolution."""
    return nn.Sequential(demo.conv_stem, demo.bn1, demo.blocks)


PREPROCESS = Preprocess(
    size=(GRID * CELL, GRID * CELL),
    resize=GRID * CELL,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    interpolation="bicubic",
    source="examples/small_vit.py",
)


def load_small_vit(path: Path) -> LoadedModel:
    """What this script saved."""
    module = hybrid_vit()
    module.load_state_dict(load_file(path))
    return LoadedModel(
        module.eval().requires_grad_(False), PREPROCESS, LABELS, "small_vit/hybrid", ()
    )


@torch.inference_mode()
def lesson(trunk: nn.Module, paths: Sequence[Path], side: int, batch_size: int = 16) -> Tensor:
    """What the demo network's last stage makes of every picture, its shorter side made `side`.

    Returns:
        float16 (2, images, 320, cells, cells), of the pictures and of their mirror images.
    """
    prepared = Preprocess((side, side), side, (0.5,) * 3, (0.5,) * 3, "bicubic")
    maps = []
    for start in track(
        range(0, len(paths), batch_size),
        description=f"{len(paths)} pictures at {side}",
        console=console,
        disable=not console.is_terminal,
    ):
        images = torch.stack([prepared(path) for path in paths[start : start + batch_size]])
        maps.append(torch.stack([trunk(images), trunk(images.flip(3))]).half())
    return torch.cat(maps, 1).clone()


def windows(
    lessons: Sequence[Tensor], order: Tensor, batch_size: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """An epoch of windows drawn at random, half of them mirrored, every other batch mixed.

    Yields:
        maps, indices (n, 2) of what they are mixed from, and the shares (n, 2).
    """

    def draw(count: int) -> int:
        return int(torch.randint(count, (), generator=generator))

    for some in order.split(batch_size):
        one = lessons[draw(len(lessons))]
        room = one.shape[-1] - GRID + 1
        maps = []
        for index in some.tolist():
            top, left, mirrored = draw(room), draw(room), draw(2)
            maps.append(one[mirrored, index, :, top : top + GRID, left : left + GRID])
        held = torch.stack(maps).float()
        # A rectangle of cells comes from the next of the batch.
        inside = torch.zeros(GRID, GRID, dtype=torch.bool)
        if draw(2):
            height, width = 2 + draw(GRID - 1), 2 + draw(GRID - 1)
            top, left = draw(GRID - height + 1), draw(GRID - width + 1)
            inside[top : top + height, left : left + width] = True
        share = inside.float().mean()
        yield (
            torch.where(inside, held.roll(-1, 0), held),
            torch.stack([some, some.roll(-1)], 1),
            torch.stack([1 - share, share]).expand(len(some), 2),
        )


def optimiser_for(
    module: nn.Module, rate: float, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    weights = [p for p in module.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=rate, weight_decay=0.05)

    def factor(step: int) -> float:
        warm = steps // 20 + 1
        return min((step + 1) / warm, (1 + math.cos(math.pi * step / steps)) / 2)

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, factor)


def train_hybrid(
    lessons: Sequence[Tensor], labels: Tensor, epochs: int, batch_size: int = 32
) -> VisionTransformer:
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    model = hybrid_vit().train()
    # The last stage's maps are there already; only what lies behind them runs.
    trunk = model.patch_embed.backbone.eval()
    model.patch_embed.backbone = trunk[1:]
    classes = one_hot(labels).float()
    steps = epochs * math.ceil(len(labels) / batch_size)
    optimiser, schedule = optimiser_for(model, 3e-4, steps)
    for epoch in range(epochs):
        losses = []
        order = torch.randperm(len(labels), generator=generator)
        for maps, mixed, shares in windows(lessons, order, batch_size, generator):
            wanted = (classes[mixed] * shares[..., None]).sum(1)
            loss = cross_entropy(model(maps), wanted)
            losses.append(loss.item())
            step(optimiser, schedule, loss)
        say(f"hybrid, epoch {epoch + 1}: labels {sum(losses) / len(losses):.3f}")
    model.patch_embed.backbone = trunk
    return model.eval()


def step(
    optimiser: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler, loss: Tensor
) -> None:
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    schedule.step()


def say(line: str) -> None:
    console.print(line, highlight=False, soft_wrap=True)


@torch.inference_mode()
def accuracy(module: nn.Module, prepared: Preprocess, folder: Path) -> float:
    paths, labels = labelled_images(folder)
    right = 0
    for start in range(0, len(paths), 32):
        images = torch.stack([prepared(path) for path in paths[start : start + 32]])
        right += int((module(images).argmax(1) == labels[start : start + 32]).sum())
    return right / len(paths)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Train a small Vision Transformer.")
    parser.add_argument("data", type=Path, help="folder with train and test, each cats and dogs")
    parser.add_argument(
        "--out", type=Path, default=Path("small_vit"), help="folder for its weights"
    )
    parser.add_argument("--epochs", type=int, default=8)
    chosen = parser.parse_args(arguments)

    try:
        paths, labels = labelled_images(chosen.data / "train")
        chosen.out.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        trunk = last_stage(seewhy.load_model("demo").module)
        lessons = [lesson(trunk, paths, side) for side in SCALES]
        model = train_hybrid(lessons, labels.long(), chosen.epochs)
        say(f"{len(paths)} pictures, {time.perf_counter() - start:.0f} s")
        save_file(model.state_dict(), chosen.out / "hybrid.safetensors")
        for split in ("train", "test"):
            say(f"{split}: {accuracy(model, PREPROCESS, chosen.data / split):.2%} right")
    except SeewhyError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
