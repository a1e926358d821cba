"""Transforms and configurations as users have them, against what they do themselves."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from seewhy.errors import ImageError
from seewhy.images import Preprocess, preprocess_from

transforms = pytest.importorskip("torchvision.transforms")

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
SIZES = [(333, 500), (500, 333), (240, 241), (97, 640)]


def picture(height, width):
    coarse = np.random.default_rng(height).integers(0, 256, (9, 11, 3)).astype(np.uint8)
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def compose(*parts):
    return transforms.Compose([*parts, transforms.ToTensor(), transforms.Normalize(MEAN, STD)])


MODES = transforms.InterpolationMode
COMPOSED = {
    "usual": compose(transforms.Resize(140), transforms.CenterCrop(112)),
    "no crop": compose(transforms.Resize((112, 96))),
    "no crop, bicubic": compose(transforms.Resize((112, 112), interpolation=MODES.BICUBIC)),
    "no resize": compose(transforms.CenterCrop((64, 80))),
    "nested": compose(
        transforms.Compose([transforms.Resize([140]), transforms.CenterCrop([112, 112])])
    ),
    "not normalised": transforms.Compose(
        [transforms.Resize(64), transforms.CenterCrop(64), transforms.ToTensor()]
    ),
    "grey": transforms.Compose(
        [transforms.Grayscale(), transforms.Resize(32), transforms.CenterCrop(28),
         transforms.ToTensor(), transforms.Normalize((0.1,), (0.3,))]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", COMPOSED)
def test_a_transform_is_taken_over_to_the_last_bit(name):
    preprocess = preprocess_from(COMPOSED[name])
    for size in SIZES:
        image = picture(*size)
        wanted = COMPOSED[name](Image.fromarray(image))
        torch.testing.assert_close(preprocess(image), wanted, rtol=0, atol=0)
    assert preprocess.source == "that of the Compose given"


def test_a_preset_of_weights_is_taken_over():
    from torchvision.models import ResNet50_Weights

    preset = ResNet50_Weights.IMAGENET1K_V2.transforms()
    image = picture(333, 500)
    preprocess = preprocess_from(preset)
    torch.testing.assert_close(preprocess(image), preset(Image.fromarray(image)))
    assert (preprocess.resize, preprocess.size) == (232, (224, 224))


def test_transforms_of_tensors_are_taken_over_to_within_rounding():
    v2 = pytest.importorskip("torchvision.transforms.v2")
    steps = [
        v2.ToImage(), v2.Resize(140, antialias=True), v2.CenterCrop(112),
        v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD),
    ]  # fmt: skip
    preprocess = preprocess_from(v2.Compose(steps))
    assert (preprocess.resize, preprocess.size) == (140, (112, 112))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([transforms.RandomResizedCrop(64)], "RandomResizedCrop, which is random"),
        ([transforms.Resize(64)], r"pictures of different sizes. Add CenterCrop"),
        ([transforms.Resize((64, 64)), transforms.Lambda(lambda one: one.rotate(90))],
         "does more than resize"),
        ([transforms.Resize((64, 64)), transforms.Pad(4)], r"gives \(3, 72, 72\), and not"),
        ([transforms.Grayscale(3), transforms.Resize((64, 64))], "differ by"),
        ([transforms.Resize((64, 64)), transforms.Lambda(lambda one: 1 / 0)], "ZeroDivisionError"),
    ],
)  # fmt: skip
def test_what_a_preprocess_cannot_do_is_refused_and_not_left_out(parts, message):
    with pytest.raises(ImageError, match=message):
        preprocess_from(compose(*parts))


@pytest.mark.parametrize(
    "last",
    [
        transforms.Compose([transforms.PILToTensor(), transforms.ConvertImageDtype(torch.float)]),
        transforms.Compose([transforms.ToTensor(), transforms.Lambda(lambda one: one[[2, 1, 0]])]),
        transforms.Compose([transforms.ToTensor(), transforms.Lambda(lambda one: one * 255)]),
    ],
    ids=["another way", "BGR", "0 to 255"],
)
def test_the_values_are_compared_and_not_the_names(last, request):
    transform = transforms.Compose([transforms.Resize((64, 64)), last])
    if request.node.callspec.id == "another way":
        assert preprocess_from(transform).size == (64, 64)
    else:
        with pytest.raises(ImageError, match=r"does more than resize.*give the tensor"):
            preprocess_from(transform)


# --- configurations -------------------------------------------------------------------------

VIT = {
    "do_resize": True, "size": {"height": 96, "width": 96}, "resample": 2, "do_rescale": True,
    "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.25] * 3,
    "image_processor_type": "ViTImageProcessor",
}  # fmt: skip
CLIP = {
    **VIT, "size": {"shortest_edge": 96}, "resample": 3, "do_center_crop": True,
    "crop_size": {"height": 80, "width": 80}, "image_processor_type": "CLIPImageProcessor",
}  # fmt: skip
CONVNEXT = {
    **VIT, "size": {"shortest_edge": 112}, "crop_pct": 0.875, "resample": 3,
    "image_processor_type": "ConvNextImageProcessor",
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "size", "resize", "kind"),
    [
        (VIT, (96, 96), (96, 96), "bilinear"),
        ({**VIT, "size": 96}, (96, 96), (96, 96), "bilinear"),
        (CLIP, (80, 80), 96, "bicubic"),
        ({**CLIP, "size": 96, "crop_size": 80}, (80, 80), 96, "bicubic"),
        (CONVNEXT, (112, 112), 128, "bicubic"),
        ({**CONVNEXT, "size": {"shortest_edge": 384}}, (384, 384), (384, 384), "bicubic"),
        ({**CLIP, "do_resize": False}, (80, 80), None, "bicubic"),
    ],
)
def test_configurations_of_transformers(config, size, resize, kind, tmp_path):
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps(config))
    for given in (config, path, str(path)):
        made = preprocess_from(given)
        assert (made.size, made.resize, made.interpolation) == (size, resize, kind)
        assert (made.mean, made.std) == ((0.5,) * 3, (0.25,) * 3)
    assert made.source == str(path)


def test_scaling_by_another_factor_gives_the_same_numbers():
    image = picture(100, 120)
    plain = preprocess_from(VIT)
    unscaled = preprocess_from({**VIT, "do_rescale": False})
    torch.testing.assert_close(
        unscaled(image), ((plain(image) * 0.25 + 0.5) * 255 - 0.5) / 0.25, rtol=1e-4, atol=1e-2
    )
    neither = preprocess_from({**VIT, "do_normalize": False})
    torch.testing.assert_close(neither(image), plain(image) * 0.25 + 0.5)


@pytest.mark.parametrize(
    "name", ["ViTImageProcessor", "CLIPImageProcessor", "ConvNextImageProcessor"]
)
def test_image_processors_do_what_is_taken_over(name):
    transformers = pytest.importorskip("transformers")
    config = {"ViT": VIT, "CLI": CLIP, "Con": CONVNEXT}[name[:3]]
    processor = getattr(transformers, name).from_dict(config)
    made = preprocess_from(processor)
    for size in SIZES[:2]:
        image = picture(*size)
        wanted = processor(images=Image.fromarray(image), return_tensors="pt")["pixel_values"][0]
        assert (made(image) - wanted).abs().mean() < 0.05
    assert made.source == f"that of the {type(processor).__name__} given"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({**VIT, "size": {"shortest_edge": 800, "longest_edge": 1333}}, "its size is"),
        ({**VIT, "size": {"shortest_edge": 96}}, "no fixed size"),
        ({**VIT, "do_pad": True}, "do_pad is set"),
        ({**VIT, "do_flip_channel_order": True}, "do_flip_channel_order is set"),
        ({**VIT, "resample": 9}, "resample is 9"),
        ({"model_type": "vit"}, "is not a preprocessing"),
        ([1], "is not a preprocessing|not list"),
        (7, "must be a Preprocess, a torchvision.*not int"),
    ],
)
def test_configurations_that_cannot_be_taken_over_are_refused(config, message):
    with pytest.raises(ImageError, match=message):
        preprocess_from(config)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "7"])
def test_a_file_that_is_no_configuration_is_a_sentence(text, tmp_path):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ImageError, match=r"a\.json"):
        preprocess_from(tmp_path / "a.json")


def test_a_configuration_of_timm_is_what_timm_does():
    timm = pytest.importorskip("timm")
    config = {
        "input_size": [3, 96, 96], "crop_pct": 0.8, "interpolation": "bicubic",
        "mean": MEAN, "std": STD, "crop_mode": "center",
    }  # fmt: skip
    made = preprocess_from({"architecture": "resnet18", "pretrained_cfg": config})
    wanted = timm.data.create_transform(
        input_size=(3, 96, 96), crop_pct=0.8, interpolation="bicubic", mean=MEAN, std=STD
    )
    image = picture(333, 500)
    torch.testing.assert_close(made(image), wanted(Image.fromarray(image)))
    squashed = preprocess_from({**config, "crop_mode": "border"})
    assert "crop_mode 'border'" in squashed.source


def test_a_preprocess_and_its_json_come_back():
    own = Preprocess((8, 9), 10, MEAN, STD)
    assert preprocess_from(own) is own
    assert preprocess_from(own.to_json()) == own


# --- in words -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preprocess", "words"),
    [
        (
            Preprocess((224, 224), 256, MEAN, STD),
            "pictures are resized so that the shorter side is 256 px (bilinear), the middle "
            "224×224 px are taken, and values normalised with mean (0.4, 0.5, 0.6) and std "
            "(0.2, 0.25, 0.3)",
        ),
        (
            Preprocess((96, 112), (96, 112), (0.5,), (0.25,), "bicubic"),
            "pictures are made grey, resized to 96×112 px, whatever their shape (bicubic), nothing "
            "is cut off, and values normalised with mean (0.5) and std (0.25)",
        ),
        (
            Preprocess((64, 64), None, MEAN, STD),
            "pictures are not resized, the middle 64×64 px are taken, and values normalised with "
            "mean (0.4, 0.5, 0.6) and std (0.2, 0.25, 0.3)",
        ),
    ],
)
def test_what_is_done_to_a_picture_is_said_in_words(preprocess, words):
    assert preprocess.describe() == words
