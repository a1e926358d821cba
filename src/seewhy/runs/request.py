"""What a run was asked, frozen: in `request.json`, so that nothing else is added to its folder."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seewhy.dataset.results import differences
from seewhy.errors import DataError
from seewhy.explainer import Explainer
from seewhy.images import Preprocess
from seewhy.methods import METHODS
from seewhy.runs.parts import REQUEST
from seewhy.saving.files import written_aside
from seewhy.version import __version__

FORMAT = "seewhy run"
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


@dataclass(frozen=True)
class RunRequest:
    """Everything that moves a number of the run, or decides where it stands.

    Attributes:
        model: `name`, and digests of its `weights`, its `structure` and its `labels`.
        preprocessing: as `Preprocess.to_json` gives it.
        explaining: the methods, the layer, the target and all that `Explainer` takes.
        pictures: how many there are, and a digest of which, in which order.
        content: a digest of the manifest, which also changes when a picture does.
        shard_size: pictures of a part.
        batch_size: pictures in the model at once.
        map_size: (height, width) of all maps; None where they differ.
        overlays: how they are drawn; None where there are none.
        versions: of seewhy and torch.
    """

    model: Mapping[str, Any]
    preprocessing: Mapping[str, Any]
    explaining: Mapping[str, Any]
    pictures: Mapping[str, Any]
    content: str
    shard_size: int
    batch_size: int
    map_size: tuple[int, int] | None
    overlays: Mapping[str, Any] | None
    versions: Mapping[str, str]

    def write(self, folder: Path) -> None:
        """Into `request.json`, whole or not at all."""
        with written_aside(folder / REQUEST) as aside:
            aside.write_text(json.dumps({FORMAT: 1, **asdict(self)}, indent=1), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> RunRequest | None:
        """The one of a folder; None where there is none.

        Raises:
            DataError: it is damaged, or of another version of the format.
        """
        path = folder / REQUEST
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            if said.pop(FORMAT) != 1:
                raise ValueError("its format is of another version")
            size = said.pop("map_size")
            return cls(**said, map_size=None if size is None else (int(size[0]), int(size[1])))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"'{path}' cannot be read as a run's request ({error!r}); name another folder."
            ) from error

    @property
    def preprocess(self) -> Preprocess:
        """How pictures were prepared."""
        return Preprocess.from_json(dict(self.preprocessing))

    def check_same(self, now: RunRequest, folder: Path) -> list[str]:
        """Check that this is what is asked now; what differs and does no harm, in sentences.

        Raises:
            DataError: something else is asked; the message names the differences.
        """
        before, after = (json.loads(json.dumps(asdict(one))) for one in (self, now))
        versions, at_present = before.pop("versions"), after.pop("versions")
        for said in (before, after):
            said.pop("content")  # what changed in a picture is computed anew
        found = list(differences(before, after, ""))
        if found:
            more = f"; and {len(found) - 6} more" if len(found) > 6 else ""
            raise DataError(
                f"'{folder}' holds a run of another request: {'; '.join(found[:6])}{more}. Ask "
                "for the same, or name another folder."
            )
        changed = differences(versions, at_present, "")
        return [
            f"the version of {one}; numbers of the parts that are made now may differ a little"
            for one in changed
        ]


def model_facts(explainer: Explainer) -> dict[str, Any]:
    """The model's name, and digests of all that it is made of."""
    weights = hashlib.blake2b(digest_size=16)
    for name, value in explainer.module.state_dict().items():
        weights.update(f"{name} ".encode())
        weights.update(_digest_of(value).encode())
    labels = explainer.labels
    return {
        "name": explainer.name,
        "weights": weights.hexdigest(),
        "structure": _digest(_ADDRESS.sub("", repr(explainer.module))),
        "labels": None if labels is None else _digest("\n".join(labels)),
    }


def explaining_facts(explainer: Explainer, target: Any) -> dict[str, Any]:
    """What is asked of the model, as JSON has it."""
    request = explainer.request
    return {
        "methods": [
            one.name if METHODS.get(one.name) is one else said_of(one.function)
            for one in request.methods
        ],
        "target": said_of(target),
        **{
            name: said_of(getattr(request, name))
            for name in ("layer", "fuse", "output", "picture", "shared", "speed", "options")
        },
        "inputs": said_of(explainer.inputs),
    }


def versions() -> dict[str, str]:
    """Of what computes the numbers."""
    return {"seewhy": __version__, "torch": torch.__version__}


def said_of(value: Any) -> Any:
    """Any value as JSON, so that two that act alike are written alike."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (Tensor, np.ndarray)):
        return _digest_of(torch.as_tensor(value))
    if isinstance(value, nn.Module):
        return _ADDRESS.sub("", repr(value))
    if isinstance(value, Mapping):
        return {str(name): said_of(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [said_of(one) for one in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {"kind": type(value).__name__, **{k: said_of(v) for k, v in vars(value).items()}}
    if callable(value) and hasattr(value, "__qualname__"):
        try:
            text = inspect.getsource(value)
        except (OSError, TypeError):
            text = ""
        return f"{value.__module__}.{value.__qualname__} {_digest(text)}"
    return _ADDRESS.sub("", repr(value))


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()


def _digest_of(value: Any) -> str:
    """Of a tensor's kind, shape and bytes; of anything else its text."""
    if not isinstance(value, Tensor):
        return _digest(repr(value))
    flat = value.detach().cpu().contiguous()
    made = hashlib.blake2b(f"{flat.dtype} {tuple(flat.shape)}".encode(), digest_size=16)
    if flat.numel():
        made.update(flat.reshape(-1).view(torch.uint8).numpy().data)
    return made.hexdigest()
