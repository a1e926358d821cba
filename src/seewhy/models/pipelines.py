"""What holds a network and is none itself: ultralytics' `YOLO("x.pt")`, a `pipeline(...)`."""

from __future__ import annotations

from typing import Any

from torch import nn

from seewhy.errors import ModelError

_KNOWN = ("YOLO", "YOLOE", "YOLOWorld", "RTDETR", "FastSAM", "NAS", "SAM")
"""Classes of ultralytics; each is a `torch.nn.Module` whose call prepares pictures and predicts."""


def refuse_pipeline(model: Any) -> None:
    """A network is wanted, and not what prepares its pictures and reads its results.

    Raises:
        ModelError: for a thing that is called like a network, but only holds one as `.model`.
    """
    inner = getattr(model, "model", None)
    if not isinstance(inner, nn.Module) or not _is_pipeline(model):
        return
    name = type(model).__name__
    raise ModelError(
        f"model is a {name}, which prepares pictures for a network and reads its "
        f"results. Give the network inside it: {name.lower()}.model."
    )


def _is_pipeline(model: Any) -> bool:
    kind = type(model)
    if not isinstance(model, nn.Module):
        return callable(model) or hasattr(kind, "predict")
    known = any(
        one.__name__ in _KNOWN or one.__module__.startswith("ultralytics.engine")
        for one in kind.__mro__
    )
    without_forward = kind.forward is nn.Module.forward
    called_otherwise = kind.__call__ is not nn.Module.__call__
    return callable(getattr(model, "predict", None)) and (
        known or without_forward or called_otherwise
    )
