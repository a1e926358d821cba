"""Tiny, untrained models of transformers, and what each is called with.

A model is built from its own configuration with few and narrow layers. Which numbers may be made
smaller differs from model to model, so that several ways are tried, from the smallest on, until the
model can be built and called. What it must be given beside the picture is told by its signature and
by its own errors.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import sweep
import torch
from torch import Tensor, nn

LARGEST = 150_000_000  # parameters
WIDTH, HEADS, LAYERS, SIDE, EXPERTS = 32, 2, 2, 64, 4
TEXTS = ("image and text", "language")
"""Tasks whose models are called with words as well."""


class NotTriedError(Exception):
    """A model that could not be built or called; the message says why."""


# --- Tiny configurations -------------------------------------------------------------------------

SMALLER: dict[str, tuple[tuple[str, int], ...]] = {
    "size": ((r"image_size|input_size|img_size", 0),),
    "layers": (
        (
            r"(.*_)?num_hidden_layers|(.*_)?num_layers|n_layer|(.*_)?depth|(en|de)coder_layers"
            r"|num_blocks|num_self_attends_per_block",
            LAYERS,
        ),
        (r"num_kv_shared_layers", 0),
    ),
    "width": (
        (r"(.*_)?(num_)?(key_value|kv|attention|query)?_?heads|num_attention_heads", HEADS),
        (
            r"(.*_)?intermediate_size|(.*_)?ffn_dim|mlp_dim|ffn_hidden_size|(.*_)?intermediate_dim",
            2 * WIDTH,
        ),
        (
            r"(.*_)?hidden_size|d_model|n_embd|embed_dim|embed_size|projection_dim|(.*_)?hidden_dim"
            r"|d_latents|qk_channels|v_channels",
            WIDTH,
        ),
        (r"(.*_)?head_dim", WIDTH // HEADS),
    ),
    "few": (
        (r"num_queries|num_query_tokens|num_latents", 10),
        (r"num_frames|frames_per_clip", 4),
        (r"(num|n)_(routed_|local_)?experts|moe_num_experts", EXPERTS),
        (r"num_experts_per_tok(en)?|moe_k|moe_topk|top_k", 2),
        (r"n_group|topk_group", 1),
    ),
}
"""Whole names of a configuration's numbers, and what they are made at most."""

WAYS = (
    ("size", "layers", "width", "few"),
    ("size", "width", "few"),
    ("layers", "width", "few"),
    ("size", "layers", "few"),
    ("layers", "few"),
    ("size", "few"),
    ("few",),
    (),
)
"""Which groups of numbers are made smaller, one way after the other."""

SIZES = [pattern for pattern, _ in SMALLER["size"]]

VISION = ("vision_config", "backbone_config", "image_encoder_config", "encoder_config")


def tiny(config: Any, groups: tuple[str, ...], side: int) -> Any:
    """The configuration with fewer and narrower layers, and those inside of it.

    Args:
        config: changed in place.
        groups: which numbers are made smaller.
        side: the picture's height and width, where its size is one of them.
    """
    smaller = [one for group in groups for one in SMALLER[group]]
    for name, value in list(vars(config).items()):
        if hasattr(value, "to_dict"):
            tiny(value, groups, side)
        elif isinstance(value, int) and not isinstance(value, bool):
            for pattern, most in smaller:
                most = side if pattern in SIZES else most
                if re.fullmatch(pattern, name) and value > most:
                    setattr(config, name, most)
        elif name == "depths" and isinstance(value, (list, tuple)) and "layers" in groups:
            config.depths = [min(2, one) for one in value]
    patch = getattr(config, "patch_size", None)
    if "size" in groups and isinstance(patch, int) and patch > 8:
        config.patch_size = 8
    kinds = getattr(config, "layer_types", None)
    if isinstance(kinds, (list, tuple)) and "layers" in groups:
        config.layer_types = (list(dict.fromkeys(kinds)) * LAYERS)[: max(LAYERS, len(set(kinds)))]
        config.num_hidden_layers = len(config.layer_types)
    vocabulary = getattr(config, "text_config", config)
    mark = marker(config)
    if mark is not None and mark >= getattr(vocabulary, "vocab_size", mark + 1):
        vocabulary.vocab_size = mark + 1
    return config


def marker(config: Any) -> int | None:
    """The number of the token that stands for the picture in a text."""
    for name in ("image_token_id", "image_token_index", "image_token"):
        found = getattr(config, name, None)
        if isinstance(found, int):
            return found
    return None


def tiny_model(name: str, task: str, side: int = SIDE) -> tuple[nn.Module, dict[str, Tensor]]:
    """A model of that class, as small as it can be made, and what it can be called with.

    Raises:
        NotTriedError: if in no way a small model could be built and called.
    """
    import transformers

    kind = getattr(transformers, name)
    reasons = []
    for groups in WAYS:
        try:
            with torch.device("meta"):
                model = kind(tiny(kind.config_class(), groups, side))
            count = sum(p.numel() for p in model.parameters())
            if count > LARGEST:
                reasons.append(f"it has {count / 1e6:.0f} M parameters")
                continue
            torch.manual_seed(0)
            model = kind(tiny(kind.config_class(), groups, side)).eval()
            return model, called(model, task, side)
        except NotTriedError as error:
            reasons.append(str(error))
        except Exception as error:  # whatever a configuration says to other numbers
            reasons.append(said(error))
    raise NotTriedError("; ".join(dict.fromkeys(reasons)))


def said(error: Exception) -> str:
    """An error's first line, with its kind."""
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"


# --- Inputs --------------------------------------------------------------------------------------

PICTURES = ("pixel_values", "pixel_values_videos", "flattened_patches")


def called(model: nn.Module, task: str, side: int = SIDE) -> dict[str, Tensor]:
    """What the model runs with: a picture or frames, words if it wants them, what its errors name.

    Raises:
        NotTriedError: if it takes no picture, or ends in an error that names nothing known.
    """
    takes = inspect.signature(model.forward).parameters
    if not any(name in takes for name in PICTURES):
        raise NotTriedError(f"its forward takes {', '.join(list(takes)[:4])}, no picture")
    reason = ""
    for make in Maker.forms(model, task, side):
        names = [make.picture_name]
        if task in TEXTS and "input_ids" in takes:
            names += ["input_ids", "attention_mask"]
        for _ in range(5):
            try:
                given = make(name for name in names if name in takes)
                with torch.no_grad():
                    model(**given)
                return given
            except Exception as error:  # whatever a network says to what it lacks
                reason = said(error)
                named = [n for n in takes if n not in names and re.search(rf"\b{n}\b", str(error))]
                if not named and "NoneType" in reason:
                    named = [name for name in make.beside if name in takes and name not in names]
                known = [name for name in named if make.knows(name)]
                if not known:
                    break
                names += known
    raise NotTriedError(f"its forward fails: {reason}")


class Maker:
    """Makes what a model is called with, by name; the picture in one of several forms.

    Attributes:
        picture_name: what the picture is called.
        beside: what else may be needed for a picture of this form.
    """

    beside = (
        "image_sizes", "aspect_ratio_ids", "aspect_ratio_mask", "spatial_shapes",
        "pixel_attention_mask", "image_grid_thw", "image_grid_hw", "pixel_mask", "bbox",
        "decoder_input_ids", "image_embeds_position_mask",
    )  # fmt: skip

    def __init__(self, model: nn.Module, task: str, picture: Tensor, name: str) -> None:
        self.model, self.task, self.picture, self.picture_name = model, task, picture, name
        self.config: Any = model.config
        self._known: dict[str, Callable[[], Tensor]] = {
            name: lambda: picture,
            "input_ids": self.words,
            "attention_mask": lambda: torch.ones_like(self.words()),
            "decoder_input_ids": lambda: self.text((1, 5)),
            "decoder_attention_mask": lambda: torch.ones(1, 5, dtype=torch.long),
            "qformer_input_ids": lambda: self.text((1, 5)),
            "task_inputs": lambda: self.text((1, 7)),
            "bbox": lambda: torch.tensor([1, 1, 9, 9]).expand(*self.words().shape, 4).clone(),
            "high_res_pixel_values": lambda: picture,
            "image_sizes": lambda: torch.tensor([picture.shape[-2:]]),
            "aspect_ratio_ids": lambda: torch.ones(1, 1, dtype=torch.long),
            "aspect_ratio_mask": lambda: torch.ones(1, 1, 4, dtype=torch.long),
            "pixel_mask": lambda: torch.ones(1, *picture.shape[-2:], dtype=torch.long),
            "pixel_attention_mask": lambda: torch.ones(picture.shape[:-1], dtype=torch.long),
            "spatial_shapes": lambda: torch.tensor([self.grid[1:]]),
            "image_grid_thw": lambda: torch.tensor([self.grid]),
            "image_grid_hw": lambda: torch.tensor([self.grid[1:]]),
            "image_embeds_position_mask": self.mask,
            "state": lambda: torch.zeros(1, self.setting("max_state_dim", 32)),
        }
        self.grid = (1, 8, 8)
        self._count: int | None = None

    @classmethod
    def forms(cls, model: nn.Module, task: str, side: int) -> Iterator[Maker]:
        """For each form in which the model may want its picture, what makes it so."""
        takes = inspect.signature(model.forward).parameters
        config: Any = model.config
        name = next(one for one in PICTURES if one in takes)
        if task == "video" and "pixel_values_videos" in takes:
            name = "pixel_values_videos"
        size = setting(config, "image_size", (side, 3 * side // 2))
        height, width = (size, size) if isinstance(size, int) else tuple(size)[-2:]
        channels = setting(config, "num_channels", 3)
        picture = sweep.make_picture(height, width, channels)
        frames = setting(config, "num_frames", setting(config, "frames_per_clip", 4))
        video = torch.stack([picture.roll(3 * step, -1) for step in range(frames)], 1)
        if task == "video" or name == "pixel_values_videos":
            yield cls(model, task, video, name)
            return
        if not any(one in takes for one in ("image_grid_thw", "spatial_shapes")):
            yield cls(model, task, picture, name)
            yield cls(model, task, picture[:, None], name)  # several pictures to a text
            yield cls(model, task, picture[:, None, None], name)
        yield cls(model, task, sweep.make_picture(2 * side, 2 * side, channels), name)
        patch = setting(config, "patch_size", 14)
        steps = setting(config, "temporal_patch_size", 1)
        if isinstance(patch, int):  # cut into rows of numbers before the model
            rows = torch.randn(64, channels * steps * patch**2)
            yield cls(model, task, rows, name)
            yield cls(model, task, rows[None], name)

    def knows(self, name: str) -> bool:
        """Whether there is something of that name."""
        return name in self._known

    def __call__(self, names: Iterator[str]) -> dict[str, Tensor]:
        """What is called so."""
        return {name: self._known[name]() for name in names}

    def setting(self, name: str, default: Any) -> Any:
        """A value of the configuration, or of its vision part."""
        return setting(self.config, name, default)

    def text(self, shape: tuple[int, ...]) -> Tensor:
        """Some words."""
        known = setting(getattr(self.config, "text_config", self.config), "vocab_size", 100)
        generator = torch.Generator().manual_seed(5)
        return torch.randint(5, max(6, min(known, 90)), shape, generator=generator)

    def words(self) -> Tensor:
        """The words that go with the picture, behind as many marks for it as the model wants."""
        model = self.model
        several = hasattr(model, "get_text_features") or "Detection" in type(model).__name__
        words, mark = self.text((1 + several, 7)), marker(self.config)
        if mark is None or not hasattr(model, "get_image_features"):
            return words
        if self._count is None:
            self._count = self._image_tokens()
        return torch.cat([torch.full((len(words), self._count), mark), words], 1)

    def mask(self) -> Tensor:
        """Which of the words stand for the picture."""
        words = self.words()
        return (words == (marker(self.config) or -1)).long()

    def _image_tokens(self) -> int:
        """How many of a language model's tokens stand for the picture."""
        takes = inspect.signature(self.model.get_image_features).parameters  # type: ignore[arg-type]
        names = [self.picture_name, *(one for one in self.beside if one in takes)]
        given = {one: self._known[one]() for one in names if one not in ("bbox",)}
        with torch.no_grad():
            features: Any = self.model.get_image_features(**given)  # type: ignore[operator]
        while not isinstance(features, Tensor):
            known = getattr(features, "pooler_output", None)
            features = features[0] if known is None else known
        return int(features.numel() // features.shape[-1])


def setting(config: Any, name: str, default: Any) -> Any:
    """A configuration's value, or that of the vision part inside of it."""
    for one in (config, *(getattr(config, part, None) for part in VISION)):
        value = getattr(one, name, None) if one is not None else None
        if value is not None:
            return value
    return default


def shapes(given: dict[str, Tensor]) -> str:
    """What a model is called with, in words."""
    return ", ".join(f"{name} {tuple(one.shape)}" for name, one in given.items())
