"""What a run costs beside the network itself, and beside loops of pytorch-grad-cam and torch-cam.

    python benchmarks/runs.py --data FOLDER [FOLDER ...]

Every candidate works through the same pictures in one thread of one process, in turns of 16
pictures, so that whatever else the machine does falls on all of them alike. What is compared is
process time (user and system), the median over the turns; no time of a wall clock is.
The table goes into docs/scale.md.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from kill_runs import write
from PIL import Image

import seewhy
from seewhy.memory import keep_freed_memory
from seewhy.runs.manifest import Entry
from seewhy.runs.overlays import Overlays
from seewhy.runs.parts import write_rows
from seewhy.runs.shard import Work, explain_rows

TURN, BATCH = 16, 8
Paths = Sequence[Path]


def batches(paths: Paths) -> list[Paths]:
    return [paths[start : start + BATCH] for start in range(0, len(paths), BATCH)]


def forward_alone(model: seewhy.LoadedModel) -> Callable[[Paths, Path], None]:
    """The network on inputs that are in memory already."""
    inputs = torch.randn(BATCH, 3, *model.preprocess.size)

    def work(paths: Paths, _: Path) -> None:
        with torch.no_grad():
            for _ in batches(paths):
                model.module(inputs)

    return work


def bare_loop(model: seewhy.LoadedModel) -> Callable[[Paths, Path], None]:
    """Decode, prepare, attribute."""

    def work(paths: Paths, _: Path) -> None:
        for some in batches(paths):
            inputs = torch.stack([model.preprocess(str(path)) for path in some])
            seewhy.attribute(model, inputs)

    return work


def run_rows(model: seewhy.LoadedModel, overlays: bool) -> Callable[[Paths, Path], None]:
    """A shard, as a worker does it, down to its part on the disk."""
    made = Work(seewhy.Explainer(model, batch_size=BATCH), None, Overlays() if overlays else None)
    explanation = next(iter(made.explainer.many([np.zeros((64, 64, 3), np.uint8)])))
    size = (explanation.map.shape[0], explanation.map.shape[1])

    def work(paths: Paths, folder: Path) -> None:
        entries = [Entry(number, str(path)) for number, path in enumerate(paths)]
        write_rows(folder / "part.parquet", explain_rows(entries, made, size, folder))

    return work


def grad_cam_loop(model: seewhy.LoadedModel, layer: str) -> Callable[[Paths, Path], None]:
    """As pytorch-grad-cam's README has it, a batch at a time."""
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.image import show_cam_on_image

    cam = GradCAM(model=model.module, target_layers=[model.module.get_submodule(layer)])

    def work(paths: Paths, folder: Path) -> None:
        for some in batches(paths):
            pictures = [Image.open(path).convert("RGB") for path in some]
            inputs = torch.stack([model.preprocess(picture) for picture in pictures])
            for path, picture, map_ in zip(some, pictures, cam(inputs, None), strict=True):
                shown = np.asarray(picture, np.float32) / 255
                map_ = np.asarray(Image.fromarray(map_).resize(picture.size))
                drawn = show_cam_on_image(shown, map_, use_rgb=True)
                Image.fromarray(drawn).save(folder / f"{path.stem}.jpg", quality=85)

    return work


def torch_cam_loop(model: seewhy.LoadedModel, layer: str) -> Callable[[Paths, Path], None]:
    """As torch-cam's README has it: it takes one class for a batch, so that batches are of one."""
    from torchcam.methods import GradCAM
    from torchcam.utils import overlay_mask

    cam = GradCAM(model.module, target_layer=layer)

    def work(paths: Paths, folder: Path) -> None:
        cam.enable_hooks()
        for path in paths:
            picture = Image.open(path).convert("RGB")
            scores = model.module(model.preprocess(picture)[None].requires_grad_())
            map_ = cam(scores.squeeze(0).argmax().item(), scores)[0].squeeze(0)
            mask = Image.fromarray(map_.detach().numpy())
            overlay_mask(picture, mask, alpha=0.5).save(folder / f"{path.stem}.jpg", quality=85)
        cam.disable_hooks()

    return work


def measure(model: seewhy.LoadedModel, paths: Paths, turns: int) -> dict[str, float]:
    """Milliseconds of process time a picture, by candidate; the median over the turns."""
    layer = seewhy.Explainer(model)(np.zeros((64, 64, 3), np.uint8)).layer
    hooks_off = torch_cam_loop(model, layer)
    candidates = {
        "forward": forward_alone(model),
        "bare": bare_loop(model),
        "rows": run_rows(model, overlays=False),
        "overlays": run_rows(model, overlays=True),
        "grad-cam": grad_cam_loop(model, layer),
        "torch-cam": hooks_off,
    }
    times: dict[str, list[float]] = {name: [] for name in candidates}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(turns + 1):
            some = [paths[(turn * TURN + place) % len(paths)] for place in range(TURN)]
            for name, work in candidates.items():
                begun = time.process_time()
                work(some, Path(folder))
                if turn:  # the first one is for warming up
                    times[name].append((time.process_time() - begun) / len(some) * 1000)
    return {name: statistics.median(several) for name, several in times.items()}


def table(rows: Sequence[tuple[str, str, dict[str, float]]]) -> str:
    lines = [
        "| network | pictures | forward alone | bare loop | run, rows | of the bare loop | of the "
        "forward | run with overlays | of the forward | pytorch-grad-cam | torch-cam |",
        "|---|---|" + "---:|" * 9,
    ]
    for network, pictures, ms in rows:
        lines.append(
            f"| {network} | {pictures} | {ms['forward']:.1f} ms | {ms['bare']:.1f} ms "
            f"| {ms['rows']:.1f} ms | {ms['bare'] / ms['rows']:.0%} "
            f"| {ms['forward'] / ms['rows']:.0%} | {ms['overlays']:.1f} ms "
            f"| {ms['forward'] / ms['overlays']:.0%} "
            f"| {ms['grad-cam']:.1f} ms ({ms['grad-cam'] / ms['overlays']:.1f} ×) "
            f"| {ms['torch-cam']:.1f} ms ({ms['torch-cam'] / ms['overlays']:.1f} ×) |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--models", nargs="+", default=["demo", "torchvision/resnet50:random"])
    parser.add_argument("--turns", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    rows = []
    for name in args.models:
        model = seewhy.load_model(name)
        for folder in args.data:
            paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg"))
            with Image.open(paths[0]) as first:
                pictures = f"{folder.parent.name}, about {max(first.size)} px"
            rows.append((name, pictures, measure(model, paths, args.turns)))
            print(rows[-1])
    write("speed", table(rows))


if __name__ == "__main__":
    main()
