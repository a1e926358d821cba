"""Checkpoints as people have them: what is read, and what is said of the rest."""

from __future__ import annotations

import collections
import datetime
import io
import json
import os
import pathlib
import pickle
import random
import sys
import threading
import types
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from seewhy.errors import ModelError
from seewhy.models.load import load_model

MUTATIONS = int(os.environ.get("SEEWHY_MUTATIONS", "60"))  # of each kind of file

ARCH = "position_net:build"
NETWORK = """
import torch
from torch import nn

class Network(nn.Module):
    def __init__(self, num_classes=3, positions=9, channels=4):
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3)
        self.norm = nn.BatchNorm2d(channels)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(positions, channels))
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x):
        return self.fc(self.norm(self.conv(x)).mean((2, 3)))

def build(num_classes=3):
    return Network(num_classes)
"""


@pytest.fixture(autouse=True)
def _in_a_folder_with_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "position_net.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("position_net", None)


def network(**settings: int) -> nn.Module:
    space: dict[str, Any] = {}
    exec(NETWORK, space)
    torch.manual_seed(5)
    made: nn.Module = space["Network"](**settings)
    return made


def state() -> dict[str, Tensor]:
    return dict(network().state_dict())


def saved(content: object, name: str = "model.pth") -> Path:
    torch.save(content, name)
    return Path(name)


def loads_right(path: str | Path, **settings: Any) -> tuple[str, ...]:
    """The notes of a model that has exactly the weights of `network()`."""
    loaded = load_model(path, arch=ARCH, **settings)
    own = loaded.module.state_dict()
    wanted = state()
    assert own.keys() == wanted.keys()
    assert all(torch.equal(own[name], wanted[name]) for name in own)
    return loaded.notes


# --- beside the weights ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "beside",
    [
        np.float32(0.1),
        np.int64(3),
        np.bool_(True),
        np.ones((2, 3)),
        np.arange(3, dtype=np.int16),
        np.array(["cat", "dog"]),
        np.random.RandomState(0).get_state(),
        pathlib.PurePosixPath("/data"),
        Path("/data/run"),
        collections.defaultdict(list, a=[1]),
        collections.defaultdict(dict),
        collections.defaultdict(int, {"a": 1}),
        collections.deque([1, 2], maxlen=5),
        collections.Counter({30: 1}),
        collections.OrderedDict(a=1),
        {1, 2},
        frozenset({1}),
        complex(1, 2),
        datetime.datetime(2026, 1, 2, 3, 4),
        datetime.timedelta(hours=1),
        torch.float16,
        torch.Size([1, 2]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_that_run_nothing_do_not_stand_in_the_way(beside: object) -> None:
    loads_right(saved({"state_dict": state(), "beside": beside}))


@pytest.mark.parametrize(
    "name", ["pathlib._local.PosixPath", "pathlib.WindowsPath", "numpy.core.multiarray.scalar"]
)
def test_names_of_other_versions_and_systems_are_known(name: str) -> None:
    """A pickle from Python 3.13, from Windows, with NumPy 1: written by hand."""
    module, _, attribute = name.rpartition(".")
    known = pickle.dumps({"beside": pathlib.PurePosixPath("a")}, protocol=2)
    if "scalar" in name:
        known = pickle.dumps({"beside": np.float64(1)}, protocol=2)
        known = known.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    else:
        known = known.replace(b"cpathlib\nPurePosixPath\n", f"c{module}\n{attribute}\n".encode())
    torch.save({"beside": 1}, "plain.pth")
    with zipfile.ZipFile("plain.pth") as plain, zipfile.ZipFile("model.pth", "w") as other:
        for entry in plain.namelist():
            other.writestr(entry, known if entry.endswith("data.pkl") else plain.read(entry))
    with pytest.raises(ModelError, match="a dictionary with beside, but no tensors by name"):
        load_model("model.pth", arch=ARCH)


def test_settings_of_lightning_are_read_as_a_dictionary(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["lightning_fabric", "lightning_fabric.utilities", "lightning_fabric.utilities.data"]
    for name in names:
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    kind = type("AttributeDict", (dict,), {"__module__": names[-1]})
    sys.modules[names[-1]].AttributeDict = kind  # type: ignore[attr-defined]
    path = saved({"state_dict": state(), "hyper_parameters": kind(lr=0.1)})
    for name in names:
        monkeypatch.delitem(sys.modules, name)
    loads_right(path)


class _Runs:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    "hostile",
    [
        _Runs(os.mkdir, "was-here"),
        _Runs(eval, "__import__('os').mkdir('was-here')"),
        _Runs(Path.mkdir, Path("was-here")),
        _Runs(collections.defaultdict, _Runs(os.mkdir, "was-here")),
        _Runs(np.fromfile, "position_net.py"),
    ],
    ids=["mkdir", "eval", "method", "in a container", "numpy function"],
)
def test_what_would_run_is_still_refused_and_not_run(hostile: object) -> None:
    path = saved({"state_dict": state(), "beside": hostile})
    with pytest.raises(ModelError, match=r"contains Python objects \(.*trust_pickle=True"):
        load_model(path, arch=ARCH)
    assert not Path("was-here").exists()


# --- which weights --------------------------------------------------------------------------


def test_an_averaged_copy_is_taken_when_it_is_chosen() -> None:
    content = {"state_dict": network(num_classes=3).state_dict(), "state_dict_ema": state()}
    for tensor in content["state_dict"].values():
        tensor.zero_()
    path = saved(content)
    notes = loads_right(path, weights="state_dict_ema")
    assert "weights taken from the checkpoint's 'state_dict_ema'" in notes
    left = load_model(path, arch=ARCH).notes
    assert any("and not state_dict_ema: --weights NAME chooses" in note for note in left)


def test_one_of_two_networks_in_a_state_dict_is_chosen_by_what_its_names_begin_with() -> None:
    zeros = {f"student.{name}": torch.zeros_like(tensor) for name, tensor in state().items()}
    both = {"state_dict": {**zeros, **{f"teacher.{n}": t for n, t in state().items()}}}
    assert "'teacher'" in loads_right(saved(both), weights="teacher")[-1]


def test_sets_under_unknown_names_can_be_chosen_between() -> None:
    path = saved({"left": state(), "right": network(num_classes=7).state_dict()})
    with pytest.raises(ModelError, match=r"left, right.*--weights NAME"):
        load_model(path, arch=ARCH)
    loads_right(path, weights="left")


@pytest.mark.parametrize("content", [{"model": state}, {"model": state, "ema": state}, state])
def test_a_choice_that_is_not_there_is_refused_with_what_is(content: Any) -> None:
    made = content() if callable(content) else {name: one() for name, one in content.items()}
    with pytest.raises(
        ModelError, match=r"no weights under 'emma'.*begin with relative_position_bias_table, conv"
    ):
        load_model(saved(made), arch=ARCH, weights="emma")


def test_a_choice_of_weights_goes_with_a_file() -> None:
    with pytest.raises(ModelError, match="--weights ema is only for a file"):
        load_model("torchvision/resnet18:random", weights="ema")


# --- names, shapes, types, values -----------------------------------------------------------


def test_a_prefix_that_only_the_backbone_has_is_removed() -> None:
    names = {n if n.startswith("fc.") else f"backbone.{n}": t for n, t in state().items()}
    notes = loads_right(saved(names))
    assert any("'backbone.' was removed from those" in note for note in notes)


def test_a_head_under_another_name_is_all_that_is_missing() -> None:
    names = {
        f"encoder.{n}" if not n.startswith("fc.") else n.replace("fc.", "head."): t
        for n, t in state().items()
    }
    with pytest.raises(
        ModelError, match=r"2 missing: fc\.weight, fc\.bias; 2 unexpected: head\.weight"
    ):
        load_model(saved(names), arch=ARCH)


def test_a_table_of_positions_is_no_head() -> None:
    path = saved(network(positions=25).state_dict())
    with pytest.raises(ModelError, match="position tables have another length") as caught:
        load_model(path, arch=ARCH)
    assert "classes" not in str(caught.value)


def test_a_wider_network_is_no_head_either() -> None:
    wider = network().state_dict()
    wider["norm.weight"], wider["norm.bias"] = torch.ones(6), torch.zeros(6)
    with pytest.raises(ModelError, match="2 tensors have other shapes"):
        load_model(saved(wider), arch=ARCH)
    with pytest.raises(ModelError, match=r"has 5 classes.*--num-classes 5"):
        load_model(saved(network(num_classes=5).state_dict()), arch=ARCH)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("conv.weight_mask", "pruned"),
        ("conv.parametrizations.weight.original0", "parametrised"),
        ("base_model.model.conv.lora_A.weight", "LoRA"),
        ("conv.zero_point", "quantised"),
    ],
)
def test_names_that_tell_why_they_do_not_fit_are_understood(name: str, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        load_model(saved({**state(), name: torch.ones(1)}), arch=ARCH)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int64, torch.complex64])
def test_integers_without_scales_are_not_taken_for_weights(dtype: torch.dtype) -> None:
    weights = {**state(), "conv.weight": (state()["conv.weight"] * 100).to(dtype)}
    with pytest.raises(ModelError, match=r"conv\.weight (u?int|complex)\d+.*no scales"):
        load_model(saved(weights), arch=ARCH)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(value: float) -> None:
    weights = state()
    weights["conv.weight"][0, 0, 0, 0] = value
    with pytest.raises(ModelError, match=r"NaN or infinite: conv\.weight \(1 of 108\)"):
        load_model(saved(weights), arch=ARCH)
    weights = state()
    weights["norm.running_var"][1] = value
    path = saved(weights)
    if value != value:
        with pytest.raises(ModelError, match=r"norm\.running_var \(1 of 4\)"):
            load_model(path, arch=ARCH)
    else:
        load_model(path, arch=ARCH)  # an infinite buffer may be a mask


def test_sparse_weights_are_filled_in_and_shapes_alone_are_refused() -> None:
    with pytest.warns(UserWarning, match="sparse"):
        loads_right(saved({**state(), "fc.weight": state()["fc.weight"].to_sparse()}))
    with pytest.raises(ModelError, match="shapes but no values"):
        load_model(saved({n: t.to("meta") for n, t in state().items()}), arch=ARCH)


# --- folders and several files --------------------------------------------------------------


def shards(folder: str, kind: str) -> Path:
    Path(folder).mkdir()
    ending, stem = (".safetensors", "model") if kind == "safetensors" else (".bin", "pytorch_model")
    names, places = list(state()), {}
    for number, part in enumerate((names[:3], names[3:]), start=1):
        file = f"{stem}-{number:05d}-of-00002{ending}"
        content = {name: state()[name] for name in part}
        (save_file if kind == "safetensors" else torch.save)(content, f"{folder}/{file}")
        places |= dict.fromkeys(part, file)
    index = Path(folder, f"{stem}{ending}.index.json")
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return index


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_weights_in_several_files_are_read_from_their_folder_or_index(kind: str) -> None:
    index = shards("several", kind)
    loads_right(index)
    loads_right("several")
    part = next(one for one in Path("several").iterdir() if "00001-of" in one.name)
    with pytest.raises(ModelError, match=f"one of 2 files.*give several/{index.name}"):
        load_model(part, arch=ARCH)
    part.unlink()
    with pytest.raises(ModelError, match=r"names .*00001-of-00002.*not in the same folder"):
        load_model("several", arch=ARCH)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not an index"),
        ("[]", "not an index"),
        ("{}", "not an index"),
        ('{"weight_map": {"a": "../model.pth"}}', "not in the same folder"),
        ("[" * 100_000, "not an index"),
    ],
)
def test_an_index_that_is_none_is_a_sentence(text: str, message: str) -> None:
    Path("model.safetensors.index.json").write_text(text)
    with pytest.raises(ModelError, match=message):
        load_model("model.safetensors.index.json", arch=ARCH)


def test_a_folder_stands_for_the_only_file_of_weights_in_it() -> None:
    Path("run").mkdir()
    saved(state(), "run/last.pth")
    Path("run/log.txt").write_text("epoch 1")
    loads_right("run")
    saved(state(), "run/best.pth")
    with pytest.raises(ModelError, match=r"2 files of weights \(best\.pth, last\.pth\)"):
        load_model("run", arch=ARCH)
    save_file(state(), "run/model.safetensors")
    loads_right("run")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("__0_0.distcp", "dcp_to_torch"),
        ("saved_model.pb", "a TensorFlow model.*tf2onnx"),
        ("notes.txt", "without a file of weights"),
    ],
)
def test_other_folders_are_named(file: str, message: str) -> None:
    Path("folder").mkdir()
    Path("folder", file).write_bytes(b"x" * 10)
    with pytest.raises(ModelError, match=message):
        load_model("folder", arch=ARCH)


# --- what is no checkpoint ------------------------------------------------------------------


def archive(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name in names:
            made.writestr(name, b"x")
    return buffer.getvalue()


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.onnx", b"\x08\x07\x12\x07pytorch" + b"\0" * 100, "an ONNX model.*onnx2torch"),
        ("m.bin", b"\x08\x08\x12\x07pytorch" + b"\0" * 100, "an ONNX model"),
        ("k.h5", b"\x89HDF\r\n\x1a\n" + b"\0" * 100, "a Keras model"),
        ("k.keras", archive("metadata.json", "config.json", "model.weights.h5"), "a Keras model"),
        ("t.tflite", b"\x1c\0\0\0TFL3" + b"\0" * 50, "a TensorFlow model"),
        ("g.gguf", b"GGUF\3\0\0\0", "a GGUF file"),
        ("w.npz", archive("conv.weight.npy"), "NumPy arrays.*torch.from_numpy"),
        ("w.npy", b"\x93NUMPY\1\0", "a NumPy array"),
        ("z.pth", archive("model.pth"), "a ZIP archive"),
        ("z.pth.tar", b"\x1f\x8b\x08" + b"\0" * 50, "a gzip archive"),
        ("l.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:4d", "git lfs pull"),
        ("l.safetensors", b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        ("h.pth", b"<!DOCTYPE html><html>403</html>", "a web page"),
        ("h.safetensors", b"<html>", "a web page"),
        ("x.pth", b"<?xml version='1.0'?><Error>", "a text in XML"),
        ("c.json", b'{"architectures": []}', "a text in JSON"),
        ("p.pkl", pickle.dumps({"a": 1}), r"a pickle that torch\.save did not write"),
        ("p.pth", pickle.dumps({"a": 1}, protocol=4), r"torch\.save\(model\.state_dict"),
        ("__0_0.distcp", b"x" * 10, "dcp_to_torch"),
    ],
)
def test_files_that_are_no_checkpoints_are_named_for_what_they_are(
    name: str, content: bytes, message: str, trust: bool
) -> None:
    Path(name).write_bytes(content)
    for arch in (ARCH, None):
        with pytest.raises(ModelError, match=message):
            load_model(Path(name), arch=arch, trust_pickle=trust)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_at_once() -> None:
    os.mkfifo("model.pth")
    refusals = []

    def load() -> None:
        try:
            load_model("model.pth", arch=ARCH)
        except ModelError as error:
            refusals.append(str(error))

    thread = threading.Thread(target=load, daemon=True)
    thread.start()
    thread.join(5)
    assert len(refusals) == 1
    assert "is a pipe, not a file" in refusals[0]


# --- a fuzzer of weights --------------------------------------------------------------------


def mutated(data: bytes, chance: random.Random) -> bytes:
    """A file with bytes changed, removed, doubled or cut off, at both ends more than between."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        place = int(chance.random() ** 3 * max(len(changed) - 1, 0))
        if chance.random() < 0.5:  # the table of a ZIP archive is its end
            place = max(len(changed) - 1, 0) - place
        match chance.randrange(5):
            case 0 | 1:
                changed[place : place + 1] = bytes([chance.randrange(256)])
            case 2:
                del changed[place : place + chance.randint(1, 30)]
            case 3:
                changed[place:place] = changed[place : place + chance.randint(1, 30)]
            case _:
                del changed[chance.randint(place, len(changed)) :]
    return bytes(changed)


@pytest.mark.filterwarnings("ignore")  # PyTorch's own, of odd pickles
@pytest.mark.parametrize("kind", ["zip", "before 2020", "safetensors", "index"])
def test_a_damaged_file_is_a_model_or_one_sentence(kind: str) -> None:
    content = {"state_dict": state(), "best": np.float64(1), "args": [Path("a")]}
    path = Path("model.safetensors" if kind == "safetensors" else "model.pth")
    if kind == "safetensors":
        save_file(state(), path)
    elif kind == "index":
        save_file(state(), "model.safetensors")
        path = Path("model.safetensors.index.json")
        places = dict.fromkeys(state(), "model.safetensors")
        path.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    whole, chance = path.read_bytes(), random.Random(kind)
    sentences = []
    for _ in range(MUTATIONS):
        path.write_bytes(mutated(whole, chance))
        try:
            loaded = load_model(path, arch=ARCH)
        except ModelError as error:
            sentences.append(str(error))
            continue
        assert all(one.isfinite().all() for one in loaded.module.parameters())
    assert sentences, "no mutation was refused, so the fuzzer does not bite"
    for sentence in sentences:
        assert "model." in sentence
        assert "\n" not in sentence
