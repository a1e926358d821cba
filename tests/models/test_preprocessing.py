"""The user's own preprocessing, and what a checkpoint brings."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import seewhy
from seewhy.errors import ModelError
from seewhy.images import Preprocess
from seewhy.models.load import load_model
from seewhy.models.preprocessing import changed

timm = pytest.importorskip("timm")

BASE = Preprocess((224, 224), 256, (0.5,) * 3, (0.25,) * 3, source="the base's")
SQUASHED = Preprocess((224, 224), (224, 224), (0.5,) * 3, (0.25,) * 3, source="the base's")
NETWORK = """
from torch import nn

def build(num_classes=2):
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, num_classes),
    )
"""


@pytest.fixture(autouse=True)
def _in_a_folder_with_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "plain_net.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("plain_net", None)


def weights(folder: str = ".", name: str = "model.pth", **beside: object) -> Path:
    space: dict[str, Any] = {}
    exec(NETWORK, space)
    Path(folder).mkdir(exist_ok=True)
    path = Path(folder, name)
    state = space["build"]().state_dict()
    if name.endswith("safetensors"):
        save_file(state, path)
    else:
        torch.save({"state_dict": state, **beside}, path)
    return path


@pytest.mark.parametrize(
    ("base", "given", "size", "resize"),
    [
        (BASE, {"size": 112}, (112, 112), 128),
        (BASE, {"crop": 112}, (112, 112), 256),
        (BASE, {"resize": 232}, (224, 224), 232),
        (BASE, {"resize": 128}, (128, 128), 128),
        (BASE, {"resize": (112, 96)}, (112, 96), (112, 96)),
        (BASE, {"resize": "none"}, (224, 224), None),
        (BASE, {"resize": "none", "crop": 64}, (64, 64), None),
        (BASE, {"size": 112, "resize": 112}, (112, 112), 112),
        (BASE, {"crop": (96, 112), "resize": 120}, (96, 112), 120),
        (BASE, {"size": 112, "crop": "none"}, (112, 112), (112, 112)),
        (BASE, {"crop": "none"}, (224, 224), (224, 224)),
        (BASE, {"size": 112, "crop": 112}, (112, 112), 256),
        (SQUASHED, {"size": 112}, (112, 112), (112, 112)),
        (SQUASHED, {"crop": 112}, (112, 112), (224, 224)),
    ],
)
def test_size_resize_and_crop_mean_what_they_say(
    base: Preprocess, given: dict[str, Any], size: tuple[int, int], resize: Any
) -> None:
    made = changed(base, **given)
    assert (made.size, made.resize) == (size, resize)
    guessed = given == {"size": 112} and base is BASE
    assert ("the resize is assumed to scale with it" in made.source) == guessed
    fields = " and ".join(sorted(given, key=["size", "resize", "crop"].index))
    assert made.source.startswith(f"given in {fields}")
    assert made.source.endswith("; for the rest the base's")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": 112, "crop": 96}, "both mean the size of the input. Give only one"),
        ({"crop": 300}, "crop 300 is larger than the 256 px"),
        ({"crop": "none", "resize": 256}, "without a crop"),
        ({"crop": "all"}, "crop must be pixels, .*, not 'all'"),
        ({"resize": "never"}, "resize must be pixels, .*, not 'never'"),
        ({"resize": -1}, "given preprocessing is not valid: .* not -1"),
        ({"crop": (1, 2, 3)}, "given preprocessing is not valid|larger than"),
        ({"interpolation": "cubic"}, "'cubic' is not known. Choose one of nearest"),
    ],
)
def test_what_contradicts_itself_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        changed(BASE, **given)


def test_the_warning_stays_until_no_part_is_guessed() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)

    def said(**given: Any) -> list[str]:
        loaded = load_model("plain_net:build", **given)
        return [one for one in seewhy.explain(loaded, picture).warnings if "preprocessing" in one]

    numbers = {"mean": 0.5, "std": 0.25}
    (warning,) = said(size=24, **numbers)
    assert "the resize is assumed to scale with it" in warning
    assert "the shorter side is 27 px (bilinear), the middle 24×24 px are taken" in warning
    (warning,) = said(size=24, crop="none", **numbers)
    assert "for the rest assumed" in warning
    assert said(size=24, crop="none", interpolation="bilinear", **numbers) == []
    assert said(size=24, resize=24, interpolation="bilinear", **numbers) == []
    assert said(preprocess=Preprocess((24, 24), 24, (0.5,) * 3, (0.25,) * 3)) == []
    assert len(said(preprocess=Preprocess((24, 24), 26, (0.5,) * 3, (0.25,) * 3), size=20)) == 1


def test_a_transform_can_be_given_and_changed_in_parts() -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    transform = transforms.Compose(
        [transforms.Resize(40), transforms.CenterCrop(32), transforms.ToTensor()]
    )
    loaded = load_model("plain_net:build", preprocess=transform)
    assert loaded.notes[:2] == (
        "preprocessing: that of the Compose given",
        "pictures are resized so that the shorter side is 40 px (bilinear), the middle 32×32 px "
        "are taken, and values normalised with mean (0, 0, 0) and std (1, 1, 1)",
    )
    assert load_model("plain_net:build", preprocess=transform, mean=0.5).preprocess.resize == 40
    with pytest.raises(ModelError, match=r"the preprocessing given cannot be used: .*is random"):
        load_model("plain_net:build", preprocess=transforms.RandomCrop(3))
    why = seewhy.explain(
        nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
        ),
        np.zeros((50, 60, 3), np.uint8),
        0,
        preprocess=transform,
    )
    assert why.preprocess.size == (32, 32)


# --- what a checkpoint brings ---------------------------------------------------------------

PROCESSOR = {
    "do_resize": True, "size": {"height": 48, "width": 48}, "resample": 3, "do_normalize": True,
    "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6],
}  # fmt: skip


@pytest.mark.parametrize("given", ["file", "folder"])
def test_a_configuration_beside_the_weights_is_preferred(given: str) -> None:
    path = weights("run", "model.safetensors")
    Path("run/preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    loaded = load_model(path if given == "file" else "run", arch="plain_net:build")
    assert loaded.preprocess.size == (48, 48)
    assert loaded.preprocess.mean == (0.1, 0.2, 0.3)
    assert loaded.notes[0] == f"preprocessing: {Path('run/preprocessor_config.json')}"
    own = load_model(path, arch="plain_net:build", preprocess=BASE)
    assert own.preprocess == BASE


def test_one_that_cannot_be_taken_over_is_said_to_be_left_aside() -> None:
    path = weights("run")
    Path("run/preprocessor_config.json").write_text(json.dumps({**PROCESSOR, "do_pad": True}))
    source = load_model(path, arch="plain_net:build").preprocess.source
    assert source.startswith("assumed (the configuration of the image processor cannot be used")
    assert "instead of run" in source


def test_any_other_config_beside_the_weights_says_nothing() -> None:
    path = weights("run")
    Path("run/config.json").write_text('{"lr": 0.1}')
    assert "assumed" in load_model(path, arch="plain_net:build").preprocess.source


@pytest.mark.parametrize(
    ("args", "size", "resize", "kind"),
    [
        ({"val_resize_size": 232, "val_crop_size": 208, "interpolation": "bicubic"},
         (208, 208), 232, "bicubic"),
        ({"img_size": 160, "mean": None, "interpolation": "", "crop_pct": None},
         (160, 160), 183, "bilinear"),
        ({"input_size": [3, 128, 160], "crop_pct": 1.0}, (128, 160), 128, "bilinear"),
        ({"lr": 0.1}, (224, 224), 256, "bilinear"),
    ],
)  # fmt: skip
def test_the_training_scripts_own_arguments_are_preferred(
    args: dict[str, Any], size: tuple[int, int], resize: int, kind: str
) -> None:
    for kept in (args, argparse.Namespace(**args)):
        made = load_model(weights(args=kept), arch="plain_net:build").preprocess
        assert (made.size, made.resize, made.interpolation) == (size, resize, kind)
        assert made.source.startswith("the checkpoint's own args") == ("lr" not in args)


def test_a_folder_of_timm_brings_its_network_preprocessing_and_labels() -> None:
    torch.manual_seed(3)
    own = timm.create_model("resnet10t", num_classes=2).eval()
    Path("hub").mkdir()
    save_file(own.state_dict(), "hub/model.safetensors")
    Path("hub/config.json").write_text(
        json.dumps(
            {
                "architecture": "resnet10t", "num_classes": 2, "label_names": ["cat", "dog"],
                "pretrained_cfg": {"input_size": [3, 96, 96], "crop_pct": 0.8, "mean": [0.5] * 3,
                                   "std": [0.5] * 3, "interpolation": "bilinear"},
            }
        )
    )  # fmt: skip
    loaded = load_model("hub")
    images = torch.randn(1, 3, 96, 96)
    torch.testing.assert_close(loaded.module(images), own(images))
    assert loaded.labels == ("cat", "dog")
    assert (loaded.preprocess.size, loaded.preprocess.resize) == ((96, 96), 120)
    assert loaded.preprocess.mean == (0.5,) * 3
    with pytest.raises(ModelError, match="names its network"):
        load_model("hub", num_classes=3)


def test_a_folder_of_transformers_brings_its_network_preprocessing_and_labels() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        image_size=48, patch_size=16, id2label={0: "cat", 1: "dog"}, label2id={"cat": 0, "dog": 1},
    )  # fmt: skip
    own = transformers.ViTForImageClassification(config).eval()
    own.save_pretrained("hub")
    Path("hub/preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    loaded = load_model("hub")
    images = torch.randn(1, 3, 48, 48)
    torch.testing.assert_close(loaded.module(images).logits, own(images).logits)
    assert loaded.labels == ("cat", "dog")
    assert loaded.preprocess.mean == (0.1, 0.2, 0.3)
    assert "ViTForImageClassification of transformers, from its folder" in loaded.notes

    transformers.ViTModel(config).save_pretrained("headless")
    headless = json.loads(Path("headless/config.json").read_text())
    headless["architectures"] = ["ViTForImageClassification"]
    Path("headless/config.json").write_text(json.dumps(headless))
    with pytest.raises(ModelError, match=r"does not contain all weights.*classifier"):
        load_model("headless")
    headless["architectures"] = ["MyOwnNetwork"]
    Path("headless/config.json").write_text(json.dumps(headless))
    with pytest.raises(ModelError, match=r"names MyOwnNetwork.*code in the folder is not run"):
        load_model("headless")


def test_a_folder_whose_configuration_is_damaged_is_a_sentence() -> None:
    weights("hub", "model.safetensors")
    Path("hub/config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config\.json cannot be read as JSON"):
        load_model("hub")
    Path("hub/config.json").write_text('{"architecture": "no_such_network"}')
    with pytest.raises(ModelError, match="timm could not build 'no_such_network'"):
        load_model("hub")
