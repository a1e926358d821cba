"""The course experiment: train a cat/dog classifier, then look at why it decides.

    python examples/cat_dog.py cats_dogs --pictures cat.jpg dog.jpg both.jpg

`cats_dogs` is a folder with train/cats, train/dogs, test/cats and test/dogs. The demo network
stays as it is; all that is trained is one linear map from its 1,280 pooled features to one number,
positive for a dog: 1,281 numbers, a logistic regression. Average pooling followed by a linear map
is also the one kind of head on which CAM, Grad-CAM, HiResCAM and XGrad-CAM agree exactly.

With `--pictures` three kinds of picture follow for each: every channel of the last feature map,
and Grad-CAM and LayerCAM for cat and for dog, one by one and side by side.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

import seewhy
from seewhy import LoadedModel, SeewhyError
from seewhy.images import read_image

LABELS = ("cat", "dog")
METHODS = ("grad-cam", "layer-cam")
# Batch norm with its activation, right before the pooling: the maps that the head averages.
LAYER = "bn2"
SUFFIXES = {".jpg", ".jpeg", ".png"}

console = Console()


def labelled_images(folder: Path) -> tuple[list[Path], Tensor]:
    """The pictures under cats/ and dogs/, and a 0 for each cat and a 1 for each dog."""
    paths: list[Path] = []
    labels: list[float] = []
    for label, name in enumerate(("cats", "dogs")):
        found = sorted(
            path for path in (folder / name).glob("*") if path.suffix.lower() in SUFFIXES
        )
        if not found:
            raise SystemExit(
                f"no pictures in {folder / name}; wanted train/cats, train/dogs, test/cats and "
                "test/dogs with .jpg or .png files: give the folder that holds train and test"
            )
        paths += found
        labels += [float(label)] * len(found)
    return paths, torch.tensor(labels)


@torch.inference_mode()
def pooled_features(model: LoadedModel, paths: Sequence[Path], batch_size: int = 32) -> Tensor:
    """What the network's last linear map would have seen: float32 (images, features)."""
    batches = []
    for start in track(
        range(0, len(paths), batch_size),
        description=f"features of {len(paths)} images",
        console=console,
        disable=not console.is_terminal,
    ):
        images = [model.preprocess(read_image(path)) for path in paths[start : start + batch_size]]
        maps = model.module.forward_features(torch.stack(images))
        batches.append(model.module.forward_head(maps, pre_logits=True))
    # Leaving inference mode's tensors as they are would forbid autograd over them later.
    return torch.cat(batches).clone()


def fit_head(features: Tensor, labels: Tensor, penalty: float) -> nn.Linear:
    """Logistic regression: mean cross-entropy + penalty / 2 · |weight|², the bias left free.

    The problem is convex and all images are in one batch, so nothing is random and the start does
    not matter. In float64, for LBFGS's line search stalls on rounding in float32.
    """
    features, labels = features.double(), labels.double()
    head = nn.Linear(features.shape[1], 1, dtype=torch.float64)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    optimizer = torch.optim.LBFGS(
        head.parameters(),
        max_iter=500,
        tolerance_grad=1e-9,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        cross_entropy = binary_cross_entropy_with_logits(head(features).squeeze(1), labels)
        total = cross_entropy + penalty / 2 * head.weight.square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    return head.float().requires_grad_(False)


def accuracy(head: nn.Linear, features: Tensor, labels: Tensor) -> float:
    return ((head(features).squeeze(1) > 0) == labels.bool()).double().mean().item()


def save_head(head: nn.Linear, path: Path, facts: dict[str, str]) -> None:
    """Write aside, then rename: whoever reads `path` finds a whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".part")
    try:
        aside.write_bytes(save({"weight": head.weight, "bias": head.bias}, metadata=facts))
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def with_head(model: LoadedModel, head: nn.Linear) -> LoadedModel:
    """The network with a cat and a dog logit: −z/2 and +z/2 of the head's one logit z.

    The softmax of the two is the sigmoid of z, and what speaks for one class speaks against the
    other.
    """
    model.module.reset_classifier(len(LABELS))
    with torch.no_grad():
        model.module.classifier.weight.copy_(torch.cat([-head.weight, head.weight]) / 2)
        model.module.classifier.bias.copy_(torch.cat([-head.bias, head.bias]) / 2)
    return dataclasses.replace(
        model, module=model.module.eval(), labels=LABELS, name="cat_dog", notes=()
    )


def train(
    model: LoadedModel, data: Path, penalty: float
) -> tuple[nn.Linear, dict[str, str], Table]:
    """The fitted head, how it came about in words, and the same as a table."""
    table = Table("images", "cats", "dogs", "accuracy", "seconds for the features")
    features, labels, seconds = {}, {}, {}
    for split in ("train", "test"):
        paths, labels[split] = labelled_images(data / split)
        start = time.perf_counter()
        features[split] = pooled_features(model, paths)
        seconds[split] = time.perf_counter() - start
    start = time.perf_counter()
    head = fit_head(features["train"], labels["train"], penalty)
    fitting = time.perf_counter() - start

    facts = {
        "model": "one logit on the pooled features of seewhy's demo network (EfficientNet-Lite0)",
        "labels": json.dumps(LABELS),
        "sign": "a positive logit means dog",
        "trained": "logistic regression on frozen features; full-batch LBFGS in float64, "
        f"mean cross-entropy + {penalty:g}/2 * |weight|^2, bias unpenalised, start at zero",
        "preprocess": json.dumps(model.preprocess.to_json(), sort_keys=True),
        "license": "Apache-2.0",
    }
    for split in ("train", "test"):
        reached = accuracy(head, features[split], labels[split])
        dogs = int(labels[split].sum())
        facts[f"{split}_images"] = str(len(labels[split]))
        facts[f"{split}_accuracy"] = f"{reached:.4f}"
        table.add_row(
            split,
            str(len(labels[split]) - dogs),
            str(dogs),
            f"{reached:.2%}",
            f"{seconds[split]:.1f}",
        )
    table.caption = f"fitting took {fitting:.1f} s"
    return head, facts, table


def explain(model: LoadedModel, pictures: Sequence[Path], results: Path) -> Table:
    """Feature maps, and every method for cat and for dog, of each picture; what was predicted."""
    results.mkdir(parents=True, exist_ok=True)
    table = Table("picture", "class", "probability", "files")
    for picture in pictures:
        stem = picture.stem
        seewhy.find_features(model, picture, layer=LAYER).save(results / f"{stem}-features.png")
        for label in LABELS:
            for method in METHODS:
                explanation = seewhy.explain(model, picture, label, method=method, layer=LAYER)
                explanation.save(results / f"{stem}-{label}-{method}.png")
            table.add_row(
                picture.name, label, f"{explanation.probability:.1%}", f"{stem}-{label}-*.png"
            )
        seewhy.compare(model, picture, list(LABELS), method=list(METHODS), layer=LAYER).save(
            results / f"{stem}-compare.png"
        )
    table.caption = f"all in {results}"
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Train a cat/dog head on the demo network, then show why it decides."
    )
    parser.add_argument("data", type=Path, help="folder with train and test, each cats and dogs")
    parser.add_argument("--out", type=Path, default=Path("cat_dog_head.safetensors"))
    parser.add_argument(
        "--penalty",
        type=float,
        default=1e-3,
        # Five-fold cross-validation on the 800 training images: 99.1 % all the way.
        help="weight of the L2 penalty; between 0.0001 and 0.03 it hardly matters",
    )
    parser.add_argument("--pictures", type=Path, nargs="*", default=[], help="pictures to explain")
    parser.add_argument("--results", type=Path, default=Path("cat_dog"), help="folder for them")
    chosen = parser.parse_args(arguments)

    try:
        model = seewhy.load_model("demo")
        head, facts, table = train(model, chosen.data, chosen.penalty)
        console.print(table)
        save_head(head, chosen.out, facts)
        console.print(f"head saved in {chosen.out}", soft_wrap=True)
        if chosen.pictures:
            console.print(explain(with_head(model, head), chosen.pictures, chosen.results))
    except SeewhyError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
