"""Two small Vision Transformers that know cats from dogs, trained in minutes on one core.

    python examples/small_vit.py cats_dogs --more other/pictures --out small_vit

`cats_dogs` is a folder with train/cats, train/dogs, test/cats and test/dogs; `--more` adds
pictures of anything. A thousand pictures are too few for a transformer to learn to see from labels
alone, so both learn from seewhy's demo network, which knows ImageNet:

- `hybrid` puts three transformer blocks on the frozen demo network's last feature map (256 × 256
  pixels, 8 × 8 positions) and learns from the labels.
- `pure` (2.7 million weights, 128 × 128 pixels in 8 × 8 patches of 16) sees nothing but pixels.
  Each of its patch tokens learns to say what the demo network's last stage holds at that place,
  and its class token what the demo network makes of the whole, cat or dog and 1000 classes.

Every other batch is mixed from two pictures (CutMix, Yun 2019, as DeiT is trained). On whole
pictures alone the hybrid is soon so sure that, shown a cat and a dog, it settles for one of them,
and its score hardly changes when the other is gone.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from cat_dog import LABELS, SUFFIXES, labelled_images
from rich.console import Console
from rich.progress import track
from rich.table import Table
from safetensors.torch import load_file, save_file
from timm.layers import HybridEmbed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy, mse_loss, one_hot

import seewhy
from seewhy import LoadedModel, Preprocess, SeewhyError

KINDS = ("hybrid", "pure")
GRID = 8
# The demo network halves its input five times; the pure transformer sees half its resolution.
CELL, PATCH = 32, 16
# How large the teacher sees each picture: whole, and near enough for 16 windows of 8 × 8 cells.
SCALES = (256, 352)
WIDTH, HEADS = 192, 3

console = Console()


def pure_vit() -> VisionTransformer:
    return VisionTransformer(
        img_size=GRID * PATCH,
        patch_size=PATCH,
        num_classes=len(LABELS),
        embed_dim=WIDTH,
        depth=6,
        num_heads=HEADS,
    )


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


def preprocess(kind: str) -> Preprocess:
    side = GRID * (PATCH if kind == "pure" else CELL)
    return Preprocess(
        size=(side, side),
        resize=side,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        interpolation="bicubic",
        source="examples/small_vit.py",
    )


def load_small_vit(path: Path) -> LoadedModel:
    """What this script saved as pure.safetensors or hybrid.safetensors."""
    kind = path.stem
    module = pure_vit() if kind == "pure" else hybrid_vit()
    module.load_state_dict(load_file(path))
    return LoadedModel(
        module.eval().requires_grad_(False), preprocess(kind), LABELS, f"small_vit/{kind}", ()
    )


@dataclass(frozen=True)
class Lesson:
    """All pictures at one scale.

    Attributes:
        pixels: uint8 (images, 3, side, side), for the student, half of what the teacher saw.
        maps: float16 (2, images, 320, cells, cells), of the pictures and of their mirror images.
    """

    pixels: Tensor
    maps: Tensor


@torch.inference_mode()
def lesson(teacher: nn.Module, paths: Sequence[Path], side: int, batch_size: int = 16) -> Lesson:
    """What the teacher's last stage makes of every picture, its shorter side made `side`."""
    prepared = Preprocess((side, side), side, (0.5,) * 3, (0.5,) * 3, "bicubic")
    pixels, maps = [], []
    for start in track(
        range(0, len(paths), batch_size),
        description=f"{len(paths)} pictures at {side}",
        console=console,
        disable=not console.is_terminal,
    ):
        images = torch.stack([prepared(path) for path in paths[start : start + batch_size]])
        pixels.append((avg_pool2d(images, 2) * 127.5 + 127.5).round().clamp(0, 255).byte())
        maps.append(torch.stack([teacher(images), teacher(images.flip(3))]).half())
    return Lesson(torch.cat(pixels).clone(), torch.cat(maps, 1).clone())


def windows(
    lessons: Sequence[Lesson], order: Tensor, batch_size: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """An epoch of windows drawn at random, half of them mirrored, every other batch mixed.

    Yields:
        pixels (-1 to 1), maps, indices (n, 2) of what they are mixed from, and the shares (n, 2).
    """

    def draw(count: int) -> int:
        return int(torch.randint(count, (), generator=generator))

    for some in order.split(batch_size):
        one = lessons[draw(len(lessons))]
        room = one.maps.shape[-1] - GRID + 1
        pixels, maps = [], []
        for index in some.tolist():
            top, left, mirrored = draw(room), draw(room), draw(2)
            seen = one.pixels[index].flip(2) if mirrored else one.pixels[index]
            y, x, side = top * PATCH, left * PATCH, GRID * PATCH
            pixels.append(seen[:, y : y + side, x : x + side])
            maps.append(one.maps[mirrored, index, :, top : top + GRID, left : left + GRID])
        seen, held = torch.stack(pixels) / 127.5 - 1, torch.stack(maps).float()
        # A rectangle of cells comes from the next of the batch.
        inside = torch.zeros(GRID, GRID, dtype=torch.bool)
        if draw(2):
            height, width = 2 + draw(GRID - 1), 2 + draw(GRID - 1)
            top, left = draw(GRID - height + 1), draw(GRID - width + 1)
            inside[top : top + height, left : left + width] = True
        cells = inside.repeat_interleave(PATCH, 0).repeat_interleave(PATCH, 1)
        seen, held = (
            torch.where(where, whole.roll(-1, 0), whole)
            for where, whole in ((cells, seen), (inside, held))
        )
        light = 1 + 0.25 * torch.randn(len(some), 3, 1, 1, generator=generator)
        shade = 0.25 * torch.randn(len(some), 1, 1, 1, generator=generator)
        share = inside.float().mean()
        yield (
            seen * light + shade,
            held,
            torch.stack([some, some.roll(-1)], 1),
            torch.stack([1 - share, share]).expand(len(some), 2),
        )


def optimiser_for(
    modules: nn.Module, rate: float, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    weights = [p for p in modules.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=rate, weight_decay=0.05)

    def factor(step: int) -> float:
        warm = steps // 20 + 1
        return min((step + 1) / warm, (1 + math.cos(math.pi * step / steps)) / 2)

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, factor)


def train_hybrid(
    lessons: Sequence[Lesson], labels: Tensor, epochs: int, batch_size: int = 32
) -> VisionTransformer:
    """On the first pictures of the lessons, which have a label."""
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
        for _, maps, mixed, shares in windows(lessons, order, batch_size, generator):
            wanted = (classes[mixed] * shares[..., None]).sum(1)
            loss = cross_entropy(model(maps), wanted)
            losses.append(loss.item())
            step(optimiser, schedule, loss)
        say(f"hybrid, epoch {epoch + 1}: labels {sum(losses) / len(losses):.3f}")
    model.patch_embed.backbone = trunk
    return model.eval()


def train_pure(lessons: Sequence[Lesson], epochs: int, batch_size: int = 32) -> VisionTransformer:
    generator = torch.Generator().manual_seed(0)
    teacher = seewhy.load_model("demo").module.requires_grad_(False)
    cat_dog = seewhy.load_model("demo-cat-dog").module.classifier.requires_grad_(False)
    torch.manual_seed(0)
    model = pure_vit()
    # Two readouts that are thrown away afterwards: the teacher's map, and its 1000 classes.
    place, classes = nn.Linear(WIDTH, lessons[0].maps.shape[2]), nn.Linear(WIDTH, 1000)
    flat = lessons[0].maps[0].float().transpose(0, 1).flatten(1)
    mean, spread = (s.view(1, -1, 1, 1) for s in (flat.mean(1), flat.std(1)))
    count = len(lessons[0].pixels)
    steps = epochs * math.ceil(count / batch_size)
    optimiser, schedule = optimiser_for(nn.ModuleList([model, place, classes]), 1e-3, steps)
    for epoch in range(epochs):
        order = torch.randperm(count, generator=generator)
        losses = []
        for pixels, maps, _, _ in windows(lessons, order, batch_size, generator):
            features = teacher.bn2(teacher.conv_head(maps)).mean((2, 3))
            tokens = model.forward_features(pixels)
            wanted = ((maps - mean) / spread).flatten(2).transpose(1, 2)
            parts = torch.stack(
                [
                    mse_loss(place(tokens[:, 1:]), wanted),
                    cross_entropy(classes(tokens[:, 0]), teacher.classifier(features).softmax(1)),
                    cross_entropy(model.head(tokens[:, 0]), cat_dog(features).softmax(1)),
                ]
            )
            losses.append(parts.detach())
            step(optimiser, schedule, parts @ torch.tensor([1, 0.2, 1]))
        place_loss, class_loss, animal_loss = torch.stack(losses).mean(0).tolist()
        say(
            f"pure, epoch {epoch + 1}: maps {place_loss:.3f}, 1000 classes {class_loss:.3f}, "
            f"cat or dog {animal_loss:.3f}"
        )
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
    parser = argparse.ArgumentParser(description="Train two small Vision Transformers.")
    parser.add_argument("data", type=Path, help="folder with train and test, each cats and dogs")
    parser.add_argument("--more", type=Path, nargs="*", default=[], help="folders of pictures")
    parser.add_argument("--out", type=Path, default=Path("small_vit"), help="folder for both")
    parser.add_argument("--epochs", type=int, nargs=2, default=(4, 20), metavar=KINDS)
    chosen = parser.parse_args(arguments)

    try:
        paths, labels = labelled_images(chosen.data / "train")
        more = [path for folder in chosen.more for path in sorted(folder.rglob("*"))]
        more = [path for path in more if path.suffix.lower() in SUFFIXES]
        paths += more
        chosen.out.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        teacher = last_stage(seewhy.load_model("demo").module)
        lessons = [lesson(teacher, paths, side) for side in SCALES]
        table = Table("model", "weights", "train", "test", "seconds")
        table.caption = (
            f"{len(paths)} pictures, {len(more)} of them without a label; the teacher's maps took "
            f"{time.perf_counter() - start:.0f} s"
        )
        for kind, epochs in zip(KINDS, chosen.epochs, strict=True):
            if not epochs:
                continue
            start = time.perf_counter()
            if kind == "hybrid":
                model = train_hybrid(lessons, labels.long(), epochs)
            else:
                model = train_pure(lessons, epochs)
            seconds = time.perf_counter() - start
            save_file(model.state_dict(), chosen.out / f"{kind}.safetensors")
            table.add_row(
                kind,
                f"{sum(p.numel() for p in model.parameters()):,}",
                *(
                    f"{accuracy(model, preprocess(kind), chosen.data / split):.2%}"
                    for split in ("train", "test")
                ),
                f"{seconds:.0f}",
            )
        console.print(table)
    except SeewhyError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
