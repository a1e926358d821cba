"""Files that hold a model, or were meant to, and that PyTorch does not read."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from seewhy.signatures import HDF5, ZIP, Kind, kind_of

_ONNX2TORCH = (
    "a factory (--model module:build) that returns onnx2torch.convert(file), which knows the "
    "common operators"
)
ONNX = Kind(
    "an ONNX model, which is not read yet",
    "give the PyTorch weights that it was exported from, with --arch, or " + _ONNX2TORCH,
)
KERAS = Kind(
    "a Keras model, which is not read yet",
    "with KERAS_BACKEND=torch, a factory (--model module:build) can return a torch.nn.Module whose "
    "forward(x) calls it with x.permute(0, 2, 3, 1); methods that need no layer then explain it: "
    "occlusion, rise, saliency",
)
TENSORFLOW = Kind(
    "a TensorFlow model, which is not read yet",
    "convert it with: python -m tf2onnx.convert (--saved-model FOLDER or --tflite FILE) --output "
    "model.onnx, and give " + _ONNX2TORCH,
)
GGUF = Kind("a GGUF file, of a language model for llama.cpp", "give the weights it was made from")
CORE_ML = Kind("a Core ML model", "give the PyTorch weights that it was converted from")
TENSORRT = Kind("a TensorRT engine", "give the PyTorch weights that it was built from")
NUMPY_ARCHIVE = Kind(
    "an archive of NumPy arrays",
    "make a checkpoint of it: torch.save({k: torch.from_numpy(v) for k, v in "
    'numpy.load("FILE").items()}, "model.pth")',
)
PICKLE = Kind(
    "a pickle that torch.save did not write (pickle.dump or joblib.dump did)",
    "where you trust it, load it as it was saved and write its weights with "
    "torch.save(model.state_dict(), path): reading a pickle runs code from it",
)
JSON = Kind("a text in JSON", "give the file of weights that lies beside it, or their folder")
DISTRIBUTED = Kind(
    "a part of a distributed checkpoint",
    "make one file of its folder: python -m torch.distributed.checkpoint.format_utils "
    "dcp_to_torch FOLDER model.pth",
)

_BY_ENDING = {
    ".onnx": ONNX, ".keras": KERAS, ".h5": KERAS, ".hdf5": KERAS, ".tflite": TENSORFLOW,
    ".pb": TENSORFLOW, ".gguf": GGUF, ".mlmodel": CORE_ML, ".engine": TENSORRT, ".plan": TENSORRT,
    ".distcp": DISTRIBUTED,
}  # fmt: skip
INDEX = ".index.json"  # ends the name of a list of files that hold weights together

_TORCH_BEFORE_2020 = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19"  # its magic number, pickled
_TORCH_ENTRIES = ("data.pkl", "archive_format", "constants.pkl")


def weights_kind(path: Path, head: bytes) -> Kind | None:
    """What a file is whose bytes are none that PyTorch reads; None where they may be."""
    if head[4:8] == b"TFL3":
        return TENSORFLOW
    if head.startswith(b"GGUF"):
        return GGUF
    if head.startswith(b"\x80") and head[1:2] in b"\2\3\4\5":
        is_torch = head.startswith(_TORCH_BEFORE_2020)
        return None if is_torch else PICKLE
    kind = kind_of(head)
    if kind is ZIP:
        return _archive(path)
    if kind is not None:
        return KERAS if kind is HDF5 else kind
    if _is_onnx(head) and path.suffix.lower() not in (".safetensors", ".pth", ".pt"):
        return ONNX
    if head.lstrip()[:1] in (b"{", b"[") and path.suffix.lower() == ".json":
        return JSON
    return _BY_ENDING.get(path.suffix.lower())


def shard_of(path: Path) -> str | None:
    """What to give instead of a file that is one of several, if its name says that it is."""
    numbered = re.fullmatch(r"(.+)-(\d{5})-of-(\d{5})(\.\w+)", path.name)
    if numbered is None:
        return None
    index = path.with_name(f"{numbered[1]}{numbered[4]}{INDEX}")
    instead = index if index.is_file() else path.parent
    return f"it is one of {int(numbered[3])} files that hold the weights together: give {instead}"


def _archive(path: Path) -> Kind | None:
    """What a ZIP archive holds; None for PyTorch's own, and for one that is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [Path(name).name for name in archive.namelist()]
    except Exception:  # a damaged archive may raise anything; PyTorch will say so
        return None
    if not names or any(name in _TORCH_ENTRIES for name in names):
        return None
    if all(name.endswith(".npy") for name in names):
        return NUMPY_ARCHIVE
    if "model.weights.h5" in names:
        return KERAS
    return ZIP


def _is_onnx(head: bytes) -> bool:
    """The first fields of a ModelProto: its version, and by whom it was made (a text)."""
    return (
        head[:1] == b"\x08" and head[2:3] == b"\x12" and head[4 : 4 + head[3]].isascii()
        if len(head) > 4 and head[1] < 32
        else False
    )
