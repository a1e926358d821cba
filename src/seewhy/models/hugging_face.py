"""A folder as the Hugging Face hub has it: a configuration and weights, of timm or transformers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seewhy.errors import ModelError
from seewhy.models.checkpoint import weights_in
from seewhy.models.fitting import load_weights
from seewhy.models.preprocessing import beside
from seewhy.models.weight_files import read_checkpoint
from seewhy.models.zoo import (
    Built,
    assumed_preprocess,
    import_zoo,
    seeded,
    timm_labels,
    timm_preprocess,
)


def described(folder: Path) -> dict[str, Any] | None:
    """The configuration in a folder, if it names the network that its weights belong in."""
    file = folder / "config.json"
    if not file.is_file():
        return None
    try:
        config = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{file} cannot be read as JSON ({error or type(error).__name__}). Copy it "
            "again, or name the architecture with --arch"
        ) from error
    named = isinstance(config, dict) and config.keys() & {"architecture", "architectures"}
    return config if named else None


def build(folder: Path, config: Mapping[str, Any]) -> Built:
    """The network that the configuration names, with the folder's weights; no code in it is run.

    Raises:
        ModelError: Its network is not known here, or its weights do not fit.
    """
    return _timm(folder, config) if "architecture" in config else _transformers(folder, config)


def _timm(folder: Path, config: Mapping[str, Any]) -> Built:
    timm = import_zoo("timm")
    name, details = str(config["architecture"]), config.get("pretrained_cfg") or {}
    classes = config.get("num_classes", details.get("num_classes"))
    settings = dict(config.get("model_args") or {})
    if classes is not None:
        settings["num_classes"] = classes
    try:
        with seeded():
            module = timm.create_model(name, **settings)
    except Exception as error:
        raise ModelError(
            f"timm could not build {name!r} of {folder / 'config.json'} ({error}): name a factory "
            "with --arch module:build"
        ) from error
    module.pretrained_cfg = {
        **module.pretrained_cfg,
        **details,
        "label_names": config.get("label_names"),
        "label_descriptions": config.get("label_descriptions"),
    }
    weights = weights_in(read_checkpoint(folder, trust_pickle=False), folder)
    notes = load_weights(module, weights, folder)
    preprocess, more = timm_preprocess(module, str(folder / "config.json"))
    labels = timm_labels(module)
    source = f"{folder / 'config.json'}" if config.get("label_names") else "timm's ImageNet names"
    return Built(
        module, preprocess, labels, source if labels else "none: the folder names none", classes,
        (f"timm/{name} from its folder", *notes, *more),
    )  # fmt: skip


def _transformers(folder: Path, config: Mapping[str, Any]) -> Built:
    try:
        import transformers
    except ImportError as error:
        raise ModelError(
            f"{folder} is a model of transformers, which is not installed ({error}). "
            'Install it: pip install "seewhy[transformers]"'
        ) from error
    names = config.get("architectures") or ["nothing"]
    kind = getattr(transformers, str(names[0]), None)
    if kind is None or config.get("auto_map"):
        raise ModelError(
            f"{folder} names {names[0]}, which transformers {transformers.__version__} does not "
            "have itself, and code in the folder is not run: name a factory that makes it, with "
            "--model module:build"
        )
    spoken = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity_error()  # what is missing is an error here
    try:
        module, loading = kind.from_pretrained(
            folder, local_files_only=True, output_loading_info=True
        )
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        raise ModelError(
            f"transformers could not load {names[0]} from {folder} ({type(error).__name__}: "
            f"{first}): copy the folder again"
        ) from error
    finally:
        transformers.utils.logging.set_verbosity(spoken)
    # transformers fills what is missing with random numbers and goes on.
    if wrong := [*loading.get("missing_keys", ()), *loading.get("mismatched_keys", ())]:
        raise ModelError(
            f"{folder} does not contain all weights of {names[0]}, and the rest would "
            f"be random: {', '.join(map(str, wrong[:5]))}. Copy the folder again, or "
            "fine-tune its head first"
        )
    labels = _labels(config)
    preprocess = beside(folder, assumed_preprocess())
    return Built(
        module, preprocess, labels,
        str(folder / "config.json") if labels else "none: the folder names none",
        len(labels) if labels else None, (f"{names[0]} of transformers, from its folder",),
    )  # fmt: skip


def _labels(config: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The classes' names, unless they are the numbered ones that transformers makes up."""
    try:
        by_index = {int(index): str(name) for index, name in (config.get("id2label") or {}).items()}
    except (TypeError, ValueError, AttributeError):
        return None
    names = [by_index.get(index, "LABEL_") for index in range(len(by_index))]
    made_up = not names or any(name.startswith("LABEL_") for name in names)
    return None if made_up else tuple(names)
