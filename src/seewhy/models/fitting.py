"""A file's weights, put into a network whole."""

from __future__ import annotations

import dataclasses
import re
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from seewhy.errors import ModelError
from seewhy.models.checkpoint import Weights, listed, within
from seewhy.signatures.weights import shard_of


def load_weights(module: nn.Module, weights: Weights, path: Path) -> tuple[str, ...]:
    """Fill the module with all of the weights, and say in words what was renamed or left.

    The names fit after removing what wrappers put before them (`module.`, `_orig_mod.`, `model.`),
    or are named in the error. A module whose loading failed is half filled: throw it away.

    Raises:
        ModelError: Names missing or left over, shapes or types that differ, values that are no
            numbers.
    """
    own = module.state_dict()
    weights = _renamed(weights, own.keys())
    tensors = weights.tensors
    _check_shapes(module, own, tensors, path)
    _check_types(own, tensors, path)

    # Counts of batches seen matter to training only, and files from before 2018 lack them.
    counters = {
        name: tensor
        for name, tensor in own.items()
        if name.endswith("num_batches_tracked") and name not in tensors
    }
    state = OrderedDict({**tensors, **counters})
    # Without a record of layouts PyTorch takes them for the oldest; today's is the better guess.
    versions = weights.versions or getattr(own, "_metadata", None)
    if versions is not None:
        state._metadata = versions  # type: ignore[attr-defined]
    try:
        result = module.load_state_dict(state, strict=False)
    except Exception as error:  # of a damaged record of layouts, other than RuntimeError too
        reason = " ".join(str(error).split())
        raise ModelError(
            f"{path} does not match the architecture ({reason}). Check --arch"
        ) from error
    missing, unexpected = result.missing_keys, result.unexpected_keys
    if missing or unexpected:
        parts = [
            f"{count} {what}: {listed(names)}"
            for names, what in ((missing, "missing"), (unexpected, "unexpected"))
            if (count := len(names))
        ]
        raise ModelError(
            f"{path} does not match the architecture: of its {len(own)} weights, "
            f"{'; '.join(parts)}. {_why(unexpected, path)}"
        )
    _check_values(module, path)
    return weights.notes


# What names tell of the reason why they do not fit, and what to do.
_TELLING_NAMES = (
    (
        r"_orig$|_mask$",
        "It is a pruned network's: call torch.nn.utils.prune.remove(layer, "
        "'weight') on each pruned layer and save the state dict again.",
    ),
    (
        r"parametrizations\.|\.weight_[gv]$|_u$",
        "Its layers are parametrised (weight or spectral normalisation): call "
        "torch.nn.utils.parametrize.remove_parametrizations(layer, 'weight') and save the state "
        "dict again, or name a factory that parametrises them too.",
    ),
    (
        r"lora_[AB]|adapter",
        "It is an adapter (LoRA), which contains changes to a network and not the "
        "network: merge it (peft: model.merge_and_unload()) and save the state "
        "dict.",
    ),
    (
        r"_packed_params|zero_point|\.scales?$|qweight|weight_scale|SCB$",
        "It is a quantised network's: name a factory that quantises its network in "
        "the same way, or save the weights before they are quantised.",
    ),
)


def _why(unexpected: Sequence[str], path: Path) -> str:
    """Why names do not fit, as far as they or the file's own name tell."""
    if part := shard_of(path):
        return f"By its name {part}."
    for names, reason in _TELLING_NAMES:
        if any(re.search(names, name) for name in unexpected):
            return reason
    return "Check --arch."


def _renamed(weights: Weights, wanted: Collection[str]) -> Weights:
    """The weights under the architecture's names, as far as removing prefixes leads there."""
    wanted = set(wanted)
    names = list(weights.tensors)
    # (prefix removed, names): as they are, and ever shorter while all share their first part.
    choices: list[tuple[str, list[str]]] = [("", names)]
    without = [_without_compiled(name) for name in names]
    prefix = ""
    if without != names:
        choices.append(("", without))
    while without and all("." in name for name in without):
        first = {name.split(".", 1)[0] for name in without}
        if len(first) > 1:
            break
        prefix += f"{first.pop()}."
        without = [name.split(".", 1)[1] for name in without]
        choices.append((prefix, without))
    # The first of the best: no more is removed than helps.
    prefix, fitting = max(choices, key=lambda choice: len(wanted.intersection(choice[1])))
    compiled = fitting is not names
    fitting = [_present_name(name) if name not in wanted else name for name in fitting]
    notes = list(weights.notes)
    if prefix:
        notes.append(f"the prefix {prefix!r} was removed from the checkpoint's names")
    tensors = dict(zip(fitting, weights.tensors.values(), strict=True))
    versions = weights.versions
    if versions is not None and compiled:
        versions = {
            short: version
            for name, version in versions.items()
            if (short := within(_without_compiled(name), prefix)) is not None
        }
    renamed = Weights(tensors, versions, tuple(notes))
    if not wanted.intersection(fitting):
        part = _part(renamed, wanted)
        if part is not renamed:
            return part
    return _without_shared_prefix(renamed, wanted)


def _without_shared_prefix(weights: Weights, wanted: set[str]) -> Weights:
    """The weights without a prefix that some of their names share, if more of them fit so.

    `backbone.conv1.weight` beside `fc.weight` happens where a head was put beside a network.
    """
    names = list(weights.tensors)
    best, fit, chosen = names, len(wanted.intersection(names)), ""
    parts = [name.split(".") for name in names]
    for prefix in dict.fromkeys(
        ".".join(part[:depth]) + "." for part in parts for depth in (1, 2) if len(part) > depth
    ):
        shorter = [name.removeprefix(prefix) for name in names]
        fitting = len(wanted.intersection(shorter))
        if fitting > fit and len(set(shorter)) == len(names):
            best, fit, chosen = shorter, fitting, prefix
    if not chosen:
        return weights
    versions = weights.versions
    if versions is not None:
        versions = {
            within(name, chosen) or name.removeprefix(chosen): version
            for name, version in versions.items()
            if name != chosen.removesuffix(".") or "" not in versions
        }
    note = f"the prefix {chosen!r} was removed from those of the checkpoint's names that have it"
    return Weights(
        dict(zip(best, weights.tensors.values(), strict=True)), versions, (*weights.notes, note)
    )


def _part(weights: Weights, wanted: set[str]) -> Weights:
    """The weights under one name, where these are exactly what the architecture wants.

    A Lightning module holds the model beside its loss and metrics, and may hold a second one.
    """
    needed = {name for name in wanted if not name.endswith("num_batches_tracked")}
    fitting = [
        first
        for first in dict.fromkeys(name.split(".", 1)[0] for name in weights.tensors)
        if needed <= _names_within(weights.tensors, f"{first}.") <= wanted
    ]
    if not fitting:
        return weights
    chosen = min(fitting, key=lambda first: "ema" in first or "teacher" in first)
    left = sorted({name.split(".", 1)[0] for name in weights.tensors} - {chosen})
    note = f"weights taken from the checkpoint's {chosen!r}, leaving {listed(left)}"
    return dataclasses.replace(weights.under(f"{chosen}."), notes=(*weights.notes, note))


def _names_within(tensors: Mapping[str, Tensor], prefix: str) -> set[str]:
    return {short for name in tensors if (short := within(name, prefix)) is not None}


def _without_compiled(name: str) -> str:
    return name.replace("_orig_mod.", "")


def _present_name(name: str) -> str:
    """DenseNet's names before PyTorch 0.4, as torchvision's own files still have them."""
    return re.sub(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)", r"\1\2", name)


def _check_shapes(
    module: nn.Module, own: Mapping[str, Tensor], found: Mapping[str, Tensor], path: Path
) -> None:
    different = {
        name: (tuple(found[name].shape), tuple(own[name].shape))
        for name in own
        if name in found and not is_lazy(own[name]) and found[name].shape != own[name].shape
    }
    if not different:
        return
    sizes = _head_sizes(module, different)
    if sizes is not None:
        came_size, wanted_size = sizes
        raise ModelError(
            f"the head in {path} has {came_size} classes, but the head of the "
            f"architecture has {wanted_size} ({listed(list(different))}). Add "
            f"--num-classes {came_size} (num_classes={came_size})"
        )
    shapes = [
        f"{name} is {came} and should be {wanted}" for name, (came, wanted) in different.items()
    ]
    if all(_OF_PLACES.search(name) for name in different):
        raise ModelError(
            f"{path} was trained with another size of pictures, patches or windows, "
            f"because its position tables have another length: {listed(shapes)}. Name "
            "the architecture of that size with --arch, or a factory that builds it "
            "(timm: img_size=, window_size=)"
        )
    raise ModelError(
        f"{path} does not match the architecture, because {len(different)} tensors "
        f"have other shapes: {listed(shapes)}. Check --arch"
    )


# Tables with an entry for each position, or for each distance between two.
_OF_PLACES = re.compile(
    r"pos(ition)?(al)?_?(emb|enc|bias|table|index)|rel(ative)?_pos|relative_coords|attn_mask|"
    r"rel_[hw]|freqs_cis|rope|bias_table"
)


def _head_sizes(
    module: nn.Module, different: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]
) -> tuple[int, int] | None:
    """How many classes the file's head has and how many the network's, if that is all that differs.

    Then weights and biases of layers differ alike, in their first dimension only, and the network
    has no layer behind them, whose inputs would differ too.
    """
    heads = {(came[:1], wanted[:1]) for came, wanted in different.values()}
    if len(heads) != 1 or any(
        not came or not wanted or came[1:] != wanted[1:] for came, wanted in different.values()
    ):
        return None
    ((came_size,), (wanted_size,)) = heads.pop()
    for name in different:
        layer, _, parameter = name.rpartition(".")
        holder = module.get_submodule(layer)
        outputs = getattr(holder, "out_features", getattr(holder, "out_channels", None))
        if parameter not in ("weight", "bias") or outputs != wanted_size:
            return None
    return came_size, wanted_size


def _check_types(own: Mapping[str, Tensor], found: Mapping[str, Tensor], path: Path) -> None:
    """Numbers of another kind would be copied without a word: -127 to 127 for weights near 0."""
    other = [
        f"{name} {str(found[name].dtype).removeprefix('torch.')}"
        for name, tensor in own.items()
        if name in found
        and tensor.is_floating_point()
        and not found[name].is_floating_point()
        and not is_lazy(tensor)
    ]
    if other:
        raise ModelError(
            f"{path} contains integers or complex numbers where the network has "
            f"floating-point weights ({listed(other)}), as the file of a quantised "
            "network does, but no scales to convert them. Save the weights before they "
            "are quantised, or name a factory that quantises its network in the same "
            "way"
        )


def _check_values(module: nn.Module, path: Path) -> None:
    """Weights that are no numbers make every score NaN."""
    broken = []
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if is_lazy(tensor) or not tensor.is_floating_point():
            continue
        # Infinite buffers are masks of attention; NaN is never meant.
        values = tensor.detach().float()
        is_parameter = isinstance(tensor, nn.Parameter)
        wrong = ~values.isfinite() if is_parameter else values.isnan()
        if count := int(wrong.sum()):
            broken.append(f"{name} ({count} of {tensor.numel()})")
    if broken:
        raise ModelError(
            f"{path} contains weights that are NaN or infinite: {listed(broken)}. Every "
            "score would be NaN. Its training diverged, or the file is damaged; give "
            "an earlier checkpoint"
        )
