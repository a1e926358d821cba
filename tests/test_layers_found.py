"""What is proposed is tested by changing the picture, and so is a layer that is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import seewhy
from seewhy.attribution import run
from seewhy.errors import LayerError, ModelError
from seewhy.layers import check_layers, layers_of, list_layers
from seewhy.models.bound import bind
from seewhy.models.proposing import propose_layer


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def conv(channels: int = 3, width: int = 8) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, 2, 1), nn.ReLU(), nn.Conv2d(width, width, 3, 2, 1), nn.ReLU()
    )


def layers_taken(model: nn.Module, inputs: Any, target: Any = 1, **more: Any) -> list[str]:
    asked = {"method": "hires-cam", "layer": None, "output": None, **more}
    made = run(model, inputs, target, methods=[asked.pop("method")], fuse=None, options={}, **asked)
    return made.layers[0]


class Net(nn.Module):
    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.f, self.fc = conv(channels), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.f(x).mean((2, 3)))


# --- Which picture -------------------------------------------------------------------------------


class TwoBranches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rgb, self.depth, self.fc = conv(3), conv(1), nn.Linear(16, 3)

    def forward(self, rgb: Tensor, depth: Tensor) -> Tensor:
        both = [self.rgb(rgb).mean((2, 3)), self.depth(depth).mean((2, 3))]
        return self.fc(torch.cat(both, 1))


class Siamese(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cnn, self.fc = conv(3), nn.Linear(16, 3)

    def forward(self, rgb: Tensor, depth: Tensor) -> Tensor:
        both = [self.cnn(rgb).mean((2, 3)), self.cnn(depth).mean((2, 3))]
        return self.fc(torch.cat(both, 1))


class Fused(nn.Module):
    """Two backbones whose maps meet in a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.rgb, self.depth = conv(3), conv(1)
        self.both, self.fc = nn.Conv2d(16, 8, 1), nn.Linear(8, 3)

    def forward(self, rgb: Tensor, depth: Tensor) -> Tensor:
        both = torch.cat([self.rgb(rgb), self.depth(depth)], 1)
        return self.fc(self.both(both).relu().mean((2, 3)))


@pytest.mark.parametrize("picture", ["rgb", "depth"])
@pytest.mark.parametrize(("make", "channels"), [(TwoBranches, 1), (Siamese, 3)])
def test_the_map_lies_on_the_picture_that_is_named(
    make: Callable[[], nn.Module], channels: int, picture: str
) -> None:
    model = make().eval()
    given = {"rgb": torch.rand(1, 3, 32, 32), "depth": torch.rand(1, channels, 32, 32)}
    asked = {"target": 1, "method": "hires-cam", "picture": picture}
    before = seewhy.attribute(model, given, **asked)
    for changed in given:
        other = {**given, changed: given[changed] + torch.rand_like(given[changed])}
        after = seewhy.attribute(model, other, **asked)
        assert torch.equal(before, after) is (changed != picture)


def test_the_last_layer_that_sees_one_picture_alone_is_proposed() -> None:
    given = {"rgb": torch.rand(1, 3, 32, 32), "depth": torch.rand(1, 1, 32, 32)}
    for picture in given:
        model, image = bind(Fused().eval(), given, picture=picture)
        proposal = propose_layer(model, image)
        assert str(proposal.layer) == picture
        assert "'both', depend on other pictures, too" in proposal.reason


def test_pictures_that_are_joined_before_any_layer_share_the_last_one() -> None:
    class Early(Net):
        def __init__(self) -> None:
            super().__init__(channels=4)

        def forward(self, rgb: Tensor, depth: Tensor) -> Tensor:
            return super().forward(torch.cat([rgb, depth], 1))

    given = torch.rand(1, 3, 32, 32), torch.rand(1, 1, 32, 32)
    model, image = bind(Early().eval(), given, picture=0)
    proposal = propose_layer(model, image)
    assert str(proposal.layer) == "f"
    assert "it depends on the other pictures, too" in proposal.reason


class SlowFast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.slow = nn.Sequential(nn.Conv3d(3, 16, (1, 3, 3), (1, 2, 2), (0, 1, 1)), nn.ReLU())
        self.fast = nn.Sequential(nn.Conv3d(3, 4, 3, (1, 2, 2), 1), nn.ReLU())
        self.fc = nn.Linear(20, 5)

    def forward(self, paths: list[Tensor]) -> Tensor:
        both = [self.slow(paths[0]).mean((2, 3, 4)), self.fast(paths[1]).mean((2, 3, 4))]
        return self.fc(torch.cat(both, 1))


def test_the_fast_pathways_channels_are_not_the_slow_ones_frames() -> None:
    model, paths = SlowFast().eval(), ([torch.rand(1, 3, 4, 32, 32), torch.rand(1, 3, 16, 32, 32)],)
    assert layers_taken(model, paths, picture="0.0") == ["slow"]
    assert layers_taken(model, paths, picture="0.1") == ["fast"]


def test_a_proposal_for_a_model_of_several_inputs_is_remembered() -> None:
    model, given = TwoBranches().eval(), (torch.rand(1, 3, 32, 32), torch.rand(1, 1, 32, 32))
    count = counted(model)
    seewhy.attribute(model, given, 1, picture=0)
    first = count[0]
    seewhy.attribute(model, given, 1, picture=0)
    assert count[0] == first + 1  # the run that gives the map
    seewhy.attribute(model, given, 1, picture=1)
    assert count[0] > first + 2


def counted(model: nn.Module) -> list[int]:
    """How often the model has run, from now on."""
    count = [0]
    own = model.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        count[0] += 1
        return own(*args, **kwargs)

    model.forward = forward  # type: ignore[method-assign]
    return count


# --- Several calls of one backbone ---------------------------------------------------------------


class Flipped(Net):
    """Averages over the picture and its mirror image."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + super().forward(x.flip(-1))


class FlippedFirst(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flip(-1)) + super().forward(x)


class Tiles(Net):
    """A sliding window of a quarter of the picture."""

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[2] // 2, x.shape[3] // 2
        tiles = [x[..., i * h : i * h + h, j * w : j * w + w] for i in (0, 1) for j in (0, 1)]
        return sum(super(Tiles, self).forward(tile) for tile in tiles)  # type: ignore[return-value]


@pytest.mark.parametrize("make", [Flipped, FlippedFirst])
def test_a_flipped_copy_does_not_mirror_the_map(make: Callable[[], nn.Module]) -> None:
    x = torch.zeros(1, 3, 64, 64)
    x[..., :16, :16] = torch.rand(3, 16, 16)
    heat = seewhy.attribute(make().eval(), x, 1, method="eigen-cam")[0]
    seen = (heat - heat[8, 8]).abs()  # the rest of the picture is empty
    assert seen[:8, :8].sum() > 10 * seen[:8, 8:].sum()


# --- Layers without a say ------------------------------------------------------------------------


class Beside(Net):
    """A teacher that runs last and has no say."""

    def __init__(self) -> None:
        super().__init__()
        self.teacher = conv()

    def forward(self, x: Tensor) -> Tensor:
        scores = super().forward(x)
        self.seen = self.teacher(x).detach()
        return scores


class Distilled(Beside):
    """A teacher of which the output is given beside the scores."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        scores = Net.forward(self, x)
        return {"logits": scores, "teacher": self.teacher(x).mean((2, 3))}


@pytest.mark.parametrize("make", [Beside, Distilled])
@pytest.mark.parametrize("method", ["grad-cam", "eigen-cam"])
def test_a_layer_without_a_say_is_not_proposed(make: Callable[[], nn.Module], method: str) -> None:
    assert layers_taken(make().eval(), torch.rand(2, 3, 32, 32), method=method) == ["f"]


def test_a_layer_without_a_say_is_found_where_no_gradient_can_tell() -> None:
    class Hard(Beside):
        """Votes that are counted: nothing can be differentiated."""

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                return super().forward(x)

    assert layers_taken(Hard().eval(), torch.rand(1, 3, 32, 32), method="eigen-cam") == ["f"]


class Bag(nn.Module):
    """Multiple-instance learning: a weight for each picture of a bag."""

    def __init__(self) -> None:
        super().__init__()
        self.f, self.a, self.fc = conv(), nn.Linear(8, 1), nn.Linear(8, 2)

    def forward(self, bag: Tensor) -> Tensor:
        e = self.f(bag.flatten(0, 1)).mean((2, 3)).unflatten(0, bag.shape[:2])
        return self.fc((self.a(e).softmax(1) * e).sum(1))


def test_the_weights_of_a_bags_pictures_are_no_map() -> None:
    assert layers_taken(Bag().eval(), torch.rand(2, 5, 3, 32, 32)) == ["f"]


class Depth(nn.Module):
    """A number for each pixel, without a channel axis."""

    def __init__(self) -> None:
        super().__init__()
        self.f, self.head, self.last = conv(), nn.Conv2d(8, 1, 1), nn.Softplus()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.head(self.f(x))).squeeze(1)


def test_a_map_of_depths_is_not_its_own_explanation() -> None:
    model = Depth().eval()
    assert str(propose_layer(model, torch.rand(1, 3, 32, 48)).layer) == "f"


class Auxiliary(nn.Module):
    """A segmentation with a head of its own for the borders, which runs last."""

    def __init__(self) -> None:
        super().__init__()
        self.f, self.head = conv(), nn.Conv2d(8, 5, 1)
        self.borders = nn.Sequential(nn.Conv2d(8, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 1, 1))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        f = self.f(x)
        return {"out": self.head(f), "borders": self.borders(f)}


def test_the_head_for_another_output_is_not_proposed() -> None:
    model, image = bind(Auxiliary().eval(), torch.rand(1, 3, 32, 48))
    assert str(propose_layer(model, image).layer) == "f"
    model, image = bind(Auxiliary().eval(), torch.rand(1, 3, 32, 48), output="borders")
    assert str(propose_layer(model, image).layer) == "borders.1"


def test_a_cell_of_a_box_decoder_is_no_map() -> None:
    class Decodes(nn.Module):
        """Scores of cells, with boxes from bins, as in YOLOv8's head."""

        def __init__(self) -> None:
            super().__init__()
            self.f, self.scores, self.bins = conv(), nn.Conv2d(8, 3, 1), nn.Conv2d(8, 16, 1)
            self.decode = nn.Conv2d(4, 1, 1, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            f = self.f(x)
            bins = self.bins(f).flatten(2).unflatten(1, (4, 4)).transpose(1, 2).softmax(1)
            sides = self.decode(bins).squeeze(1)
            return torch.cat([8 * sides, self.scores(f).flatten(2).sigmoid()], 1).mT

    model, image = bind(Decodes().eval(), torch.rand(1, 3, 32, 32))
    assert str(propose_layer(model, image).layer) == "f"


def test_the_heads_of_an_attention_are_no_channels() -> None:
    """Sixteen tokens look at sixteen tokens: 16 × 16 fits a picture of 64 × 64."""

    class Looks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch, self.qkv = nn.Conv2d(3, 16, 16, 16), nn.Linear(16, 48)
            self.drop, self.fc = nn.Softmax(-1), nn.Linear(16, 5)

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.patch(x).flatten(2).mT
            q, k, v = self.qkv(tokens).unflatten(2, (3, 4, 4)).permute(2, 0, 3, 1, 4)
            mixed = (self.drop(q @ k.mT) @ v).transpose(1, 2).flatten(2)
            return self.fc((tokens + mixed).mean(1))

    found = str(propose_layer(Looks().eval(), torch.rand(1, 3, 64, 64)).layer)
    assert found in ("qkv", "patch")


# --- Tokens --------------------------------------------------------------------------------------


class Block(nn.Module):
    def __init__(self, d: int = 32) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.attn = nn.MultiheadAttention(d, 4, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    def __init__(self, *, embedding: bool = False, hidden: bool = False, d: int = 32) -> None:
        super().__init__()
        self.patch, self.token = nn.Conv2d(3, d, 8, 8), nn.Parameter(torch.randn(1, 1, d))
        if embedding:
            self.position = nn.Embedding(37, d)
            self.register_buffer("ids", torch.arange(37)[None])
        else:
            self.table = nn.Parameter(torch.randn(1, 37, d))
        self.embedding, self.hidden = embedding, hidden
        self.blocks = nn.ModuleList(Block(d) for _ in range(3))
        self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, 5)

    def forward(self, x: Tensor) -> Any:
        x = torch.cat([self.token.expand(len(x), -1, -1), self.patch(x).flatten(2).mT], 1)
        x = x + (self.position(self.ids) if self.embedding else self.table)
        states = []
        for block in self.blocks:
            x = block(x)
            states.append(x)
        scores = self.head(self.norm(x)[:, 0])
        return (scores, states) if self.hidden else scores


def test_positions_in_an_embedding_do_not_make_the_tokens_a_texts() -> None:
    model, image = ViT(embedding=True).eval(), torch.rand(2, 3, 48, 48)
    assert layers_taken(model, image) == ["blocks.2.norm1"]
    assert layers_taken(model, image, layer="blocks.1") == ["blocks.1"]
    names = [one.name for one in list_layers(model, image[:1])]
    assert {"patch", "blocks.0", "blocks.1", "blocks.2"} <= set(names)
    assert "position" not in names


class WithQueries(ViT):
    """A detector as YOLOS: its queries run behind the picture's tokens, and alone are read."""

    def __init__(self, queries: int, *, first: bool = False) -> None:
        super().__init__()
        self.queries, self.first = nn.Parameter(torch.randn(1, queries, 32)), first

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.token.expand(len(x), -1, -1), self.patch(x).flatten(2).mT], 1)
        parts = [x + self.table, self.queries.expand(len(x), -1, -1)]
        x = torch.cat(parts[::-1] if self.first else parts, 1)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        count = self.queries.shape[1]
        return self.head(x[:, :count] if self.first else x[:, -count:]).amax(1)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("queries", [20, 100])
def test_queries_among_a_pictures_tokens_are_set_aside(queries: int, *, first: bool) -> None:
    model, image = WithQueries(queries, first=first).eval(), torch.rand(2, 3, 48, 48)
    assert layers_taken(model, image) == ["blocks.2.norm1"]
    (layer,) = layers_of(*bind(model, image), None)
    if not first:
        assert (
            f"{queries + 1} tokens before and behind" in propose_layer(*bind(model, image)).reason
        )
    given = model.blocks[1](torch.rand(1, 37 + queries, 32))
    grid = layer.grid(given, image[:1].shape)
    start = 1 + queries * first
    assert torch.equal(grid.of(given)[0].flatten(1).T, given[0, start : start + 36])
    assert torch.equal(grid.back(grid.of(given), given), given)
    named = {one.name: (one.shape, one.extra) for one in list_layers(model, image[:1])}
    assert named["blocks.0"] == ((32, 6, 6), queries + 1)
    for method in ("grad-cam", "hires-cam", "recipro-cam", "eigen-cam"):
        for where in (None, "blocks.1"):
            maps = seewhy.attribute(model, image, 1, method=method, layer=where)
            assert maps.shape == (2, 6, 6)
            assert maps.any()


class WithText(ViT):
    """A text's tokens run before the picture's (LayoutLMv3), in one transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(50, 32)

    def forward(self, x: Tensor, words: Tensor) -> Tensor:  # type: ignore[override]
        x = torch.cat([self.token.expand(len(x), -1, -1), self.patch(x).flatten(2).mT], 1)
        x = torch.cat([self.words(words), x + self.table], 1)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


def test_a_pictures_tokens_behind_a_text_are_looked_at_where_nothing_else_is() -> None:
    model = WithText().eval()
    given = {"x": torch.rand(2, 3, 48, 48), "words": torch.randint(0, 50, (2, 30))}
    bound, image = bind(model, given)
    assert layers_taken(model, given) == ["blocks.2.norm1"]
    for where in (None, "blocks.1"):
        (layer,) = layers_of(bound, image, where)
        inside = model.blocks[1](torch.rand(1, 67, 32))
        grid = layer.grid(inside, image[:1].shape)
        assert torch.equal(grid.of(inside)[0].flatten(1).T, inside[0, 31:])


def test_hidden_states_beside_the_scores() -> None:
    model, image = ViT(hidden=True).eval(), torch.rand(2, 3, 48, 48)
    assert layers_taken(model, image, output=0) == ["blocks.2.norm1"]


@pytest.mark.parametrize("words_first", [True, False])
def test_a_text_with_as_many_tokens_as_the_picture_hides_none_of_the_pictures(
    words_first: bool,
) -> None:
    class Pair(nn.Module):
        """Two towers, as CLIP: whose tokens are whose does not follow from which runs first."""

        def __init__(self) -> None:
            super().__init__()
            self.vision, self.words, self.places = ViT(), nn.Embedding(50, 32), nn.Embedding(37, 32)
            self.text, self.out = Block(), nn.Linear(32, 5)

        def read(self, input_ids: Tensor) -> Tensor:
            at = torch.arange(input_ids.shape[1])[None]
            return self.out(self.text(self.words(input_ids) + self.places(at))[:, -1])

        def forward(self, pixel_values: Tensor, input_ids: Tensor) -> Tensor:
            text = self.read(input_ids) if words_first else None
            image = self.vision(pixel_values)
            return image @ (self.read(input_ids) if text is None else text).mT

    inputs = {"pixel_values": torch.rand(1, 3, 48, 48), "input_ids": torch.randint(50, (1, 37))}
    model, image = bind(Pair().eval(), inputs)
    assert str(propose_layer(model, image).layer) == "vision.blocks.2.norm1"
    names = [one.name for one in list_layers(model, image)]
    assert "vision.blocks.1" in names
    assert not any(name.startswith(("text", "words", "places")) for name in names)
    asked = {"target": "output:0", "layer": "vision.blocks.1"}
    assert layers_taken(model.module, inputs, **asked) == ["vision.blocks.1"]
    with pytest.raises(LayerError, match="'text' gives tokens of something beside the picture"):
        seewhy.attribute(model.module, inputs, "output:0", layer="text")


@pytest.mark.parametrize("name", ["CLIP", "Siglip"])
def test_the_towers_of_transformers(name: str) -> None:
    transformers = pytest.importorskip("transformers")
    config = getattr(transformers, f"{name}VisionConfig")(
        hidden_size=32, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2,
        image_size=48, patch_size=8,
    )  # fmt: skip
    model = getattr(transformers, f"{name}VisionModel")(config).eval()
    bound, image = bind(model, torch.rand(1, 3, 48, 48), output="pooler_output")
    found = propose_layer(bound, image)
    wanted = {"CLIP": "encoder.layers.2.layer_norm1", "Siglip": "post_layernorm"}[name]
    assert str(found.layer).removeprefix("vision_model.") == wanted


# --- A named layer -------------------------------------------------------------------------------


def said(model: nn.Module, inputs: Any, layer: str, **more: Any) -> str:
    bound, image = bind(model.eval(), inputs, **more)
    found = check_layers(bound, image, layers_of(bound, image, layer))
    assert len(found) == 1
    return " ".join(found[0])


def test_a_layer_that_stands_for_the_picture_needs_no_word() -> None:
    assert said(Net(), torch.rand(2, 3, 32, 32), "f") == ""
    assert said(ViT(), torch.rand(2, 3, 48, 48), "blocks.2.norm1") == ""


def test_what_speaks_against_a_named_layer_is_said() -> None:
    image = torch.rand(1, 3, 32, 32)
    pair = {"rgb": image, "depth": torch.rand(1, 1, 32, 32)}
    assert "does not depend on layer 'teacher'" in said(Beside(), image, "teacher")
    assert "another corner of layer 'f#1'" in said(Flipped(), image, "f#1")
    assert said(Flipped(), image, "f#0") == ""
    assert "sees only a part" in said(Tiles(), image, "f#2")
    assert "the same values for another picture" in said(
        TwoBranches(), pair, "depth", picture="rgb"
    )
    assert "its map mixes them" in said(Fused(), pair, "both", picture="rgb")


def test_a_layer_over_which_a_change_spreads_is_not_refused() -> None:
    class Mixed(Net):
        """Every position gets the mean of all."""

        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Conv2d(8, 8, 1)

        def forward(self, x: Tensor) -> Tensor:
            f = self.f(x)
            return self.fc(self.mix(f.mean((2, 3), True).expand_as(f)).mean((2, 3)))

    assert "changes layer 'mix' everywhere" in said(Mixed(), torch.rand(1, 3, 32, 32), "mix")


@pytest.mark.parametrize(("picture", "most"), [(None, 3), ("rgb", 4)])
def test_a_named_layer_is_tested_once_in_at_most_four_forwards(
    picture: str | None, most: int
) -> None:
    model = (TwoBranches() if picture else Net()).eval()
    given: Any = torch.rand(2, 3, 32, 32)
    if picture:
        given = {"rgb": given, "depth": torch.rand(2, 1, 32, 32)}
    count = counted(model)
    bound, image = bind(model, given, picture=picture)
    layers = layers_of(bound, image, picture or "f")
    assert count == [0]
    first = check_layers(bound, image, layers)
    assert count == [most]
    assert check_layers(bound, image, layers) == first
    assert count == [most]
    check_layers(*bind(model, given, picture=picture), layers)
    assert count == [most]
    small: Any = {k: v[..., :16] for k, v in given.items()} if picture else given[..., :16]
    check_layers(*bind(model, small, picture=picture), layers)
    assert count == [2 * most]


def test_a_named_layer_costs_attribute_no_run_of_its_own() -> None:
    model = Net().eval()
    count = counted(model)
    seewhy.attribute(model, torch.rand(2, 3, 32, 32), 1, layer="f")
    assert count == [1]


def test_testing_a_layer_leaves_the_model_as_it_was() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(2))
    image = torch.rand(2, 3, 8, 8)
    model(image)
    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.random.get_rng_state()
    bound, image = bind(model, image)
    check_layers(bound, image, layers_of(bound, image, "1"))
    assert torch.equal(random, torch.random.get_rng_state())
    assert all(one.training for one in model.modules())
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in model.modules())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


# --- Several rows that make one map --------------------------------------------------------------


class Concatenated(Siamese):
    """Both pictures as one batch."""

    def forward(self, rgb: Tensor, depth: Tensor) -> Tensor:
        one, two = self.cnn(torch.cat([rgb, depth])).mean((2, 3)).chunk(2)
        return self.fc(torch.cat([one, two], 1))


class Interleaved(Siamese):
    """Each image's two pictures side by side."""

    def forward(self, rgb: Tensor, depth: Tensor) -> Tensor:
        maps = self.cnn(torch.stack([rgb, depth], 1).flatten(0, 1))
        return self.fc(maps.mean((2, 3)).unflatten(0, (-1, 2)).flatten(1))


class FoldedTiles(Net):
    """Four tiles as one batch."""

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[2] // 2, x.shape[3] // 2
        tiles = [x[..., i * h : i * h + h, j * w : j * w + w] for i in (0, 1) for j in (0, 1)]
        return super().forward(torch.cat(tiles)).unflatten(0, (4, -1)).mean(0)


class Patches(Net):
    """Twelve tiles of each image side by side in the batch."""

    def forward(self, x: Tensor) -> Tensor:
        tiles = x.unflatten(2, (3, -1)).unflatten(4, (4, -1)).permute(0, 2, 4, 1, 3, 5)
        return super().forward(tiles.flatten(0, 2)).unflatten(0, (-1, 12)).mean(1)


class OnlyFlipped(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flip(-1)) + super().forward(x.flip(-2))


class Frames(Net):
    """A video frame by frame, in a loop."""

    def forward(self, video: Tensor) -> Tensor:
        return sum(super(Frames, self).forward(one) for one in video.unbind(2))  # type: ignore[return-value]


class Remembers(nn.Module):
    """A convolutional recurrent network."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.fc = Cell(), nn.Linear(8, 4)

    def forward(self, video: Tensor) -> Tensor:
        state = video.new_zeros(len(video), 8, video.shape[3] // 2, video.shape[4] // 2)
        for frame in video.unbind(2):
            state = self.cell(frame, state)
        return self.fc(state.mean((2, 3)))


class Cell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.take, self.keep = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1)

    def forward(self, frame: Tensor, state: Tensor) -> Tensor:
        return (self.take(frame) + self.keep(state)).tanh()


@pytest.mark.parametrize("make", [Concatenated, Interleaved])
@pytest.mark.parametrize("picture", ["rgb", "depth"])
def test_of_two_pictures_in_one_batch_the_rows_of_the_named_one_are_taken(
    make: Callable[[], nn.Module], picture: str
) -> None:
    model, apart = make().eval(), Siamese().eval()
    apart.load_state_dict(model.state_dict())
    given = {"rgb": torch.rand(2, 3, 32, 32), "depth": torch.rand(2, 3, 32, 32)}
    for method in ("grad-cam", "hires-cam", "recipro-cam", "ablation-cam", "eigen-cam"):
        asked = {"target": (0, 2), "method": method, "picture": picture}
        wanted = seewhy.attribute(apart, given, **asked)
        with quiet():
            found = seewhy.attribute(model, given, **asked)
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def quiet() -> Any:
    import warnings

    return warnings.catch_warnings(action="ignore")


def by_hand(model: Net, x: Tensor, size: tuple[int, ...], target: int = 1) -> Tensor:
    """HiResCAM of a network of tiles: every tile's own map at the tile's place."""
    down, right = size
    h, w = x.shape[2] // down, x.shape[3] // right
    lines = []
    for i in range(down):
        line = []
        for j in range(right):
            maps = model.f(x[..., i * h : i * h + h, j * w : j * w + w])
            line.append((maps * model.fc.weight[target][None, :, None, None]).sum(1))
        lines.append(torch.cat(line, -1))
    return torch.cat(lines, -2).detach() / maps[0, 0].numel()


@pytest.mark.parametrize(
    ("make", "tiles", "share"),
    [(Tiles, (2, 2), 1), (FoldedTiles, (2, 2), 4), (Patches, (3, 4), 12)],
)
def test_tiles_are_laid_where_they_are(
    make: Callable[[], Net], tiles: tuple[int, ...], share: int
) -> None:
    model, x = make().eval(), torch.rand(2, 3, 48, 64)
    found = seewhy.attribute(model, x, 1, method="hires-cam")
    torch.testing.assert_close(found, by_hand(model, x, tiles) / share)
    with quiet():
        for method in ("recipro-cam", "ablation-cam", "score-cam", "grad-cam++", "shapley-cam"):
            maps = seewhy.attribute(model, x, "1", method=method)
            assert maps.shape == found.shape
            alone = seewhy.attribute(model, x[1:], "1", method=method)
            torch.testing.assert_close(maps[1:], alone, rtol=1e-4, atol=1e-5)


class Ensemble(nn.Module):
    def __init__(self, *members: nn.Module) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([member(x) for member in self.members]).mean(0)


def test_the_maps_of_an_ensembles_members_are_added() -> None:
    members = Net().eval(), Net().eval(), Net().eval()
    model, x = Ensemble(*members), torch.rand(2, 3, 32, 32)
    proposal = propose_layer(*bind(model, x[:1]))
    assert str(proposal.layer) == "members.0.f + members.1.f + members.2.f"
    assert "3 networks side by side, whose maps are added" in proposal.reason
    asked = {"target": 1, "method": "hires-cam"}
    found = seewhy.attribute(model, x, **asked)
    wanted = sum(seewhy.attribute(member, x, **asked) for member in members) / 3
    torch.testing.assert_close(found, wanted)
    with quiet():
        for method in ("grad-cam", "eigen-cam", "recipro-cam", "ablation-cam"):
            maps = seewhy.attribute(model, x, 1, method=method)
            assert maps.shape == found.shape
            torch.testing.assert_close(maps[1:], seewhy.attribute(model, x[1:], 1, method=method))


class OtherNet(Net):
    """A network of another width, whose map has another size."""

    def __init__(self) -> None:
        super().__init__()
        self.f = nn.Sequential(nn.Conv2d(3, 6, 5, 8, 2), nn.ReLU())
        self.fc = nn.Linear(6, self.fc.out_features)


class Normalised(Ensemble):
    """What all members share is without weights."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward((x - 0.5) / 0.2)


class OneSmaller(Ensemble):
    def forward(self, x: Tensor) -> Tensor:
        first, *others = self.members
        scores = [first(nn.functional.interpolate(x, scale_factor=0.5))]
        return torch.stack([*scores, *(other(x) for other in others)]).softmax(2).mean(0)


@pytest.mark.parametrize("make", [Ensemble, Normalised, OneSmaller])
def test_members_of_different_architectures_are_refused_with_the_reason(
    make: Callable[..., nn.Module],
) -> None:
    x = torch.rand(2, 3, 32, 32)
    for members in ((Net(), OtherNet()), (OtherNet(), Net()), (Net(), Net(), OtherNet())):
        model = make(*members).eval()
        with pytest.raises(
            LayerError, match=r"several parallel networks.*'members.[01].f.*one of them"
        ):
            seewhy.attribute(model, x, 1)
        alone = seewhy.attribute(model.members[0], x, 1, method="hires-cam")
        named = seewhy.attribute(model, x, 1, method="hires-cam", layer="members.0.f")
        assert alone.shape[0] == named.shape[0]
        assert seewhy.attribute(model, x, 1, method="saliency").any()


class TwoPaths(nn.Module):
    """Two paths from the picture that meet in a convolution, and one that meets it in the scores.

    The last one comes from a layer that feeds the others, so it is no network of its own.
    """

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.low = conv(), nn.Conv2d(3, 8, 5, 4, 2), nn.Conv2d(8, 5, 1)
        self.joined, self.head = nn.Conv2d(16, 8, 3, 1, 1), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        first = self.one(x)
        both = self.joined(torch.cat([first, self.two(x)], 1)).relu()
        return self.head(both.mean((2, 3))) + self.low(first).mean((2, 3))


def test_paths_that_meet_are_one_network() -> None:
    assert layers_taken(TwoPaths().eval(), torch.rand(1, 3, 32, 32)) == ["joined"]


def test_members_that_are_transformers() -> None:
    model = Ensemble(ViT(), ViT()).eval()
    found = str(propose_layer(model, torch.rand(1, 3, 48, 48)).layer)
    assert found == "members.0.blocks.2.norm1 + members.1.blocks.2.norm1"
    assert seewhy.attribute(model, torch.rand(2, 3, 48, 48), 1).shape == (2, 6, 6)


def test_flipped_copies_are_put_back_and_added() -> None:
    model, x = OnlyFlipped().eval(), torch.rand(2, 3, 48, 64)
    found = seewhy.attribute(model, x, 1, method="hires-cam")
    wanted = by_hand(model, x.flip(-1), (1, 1)).flip(-1) + by_hand(model, x.flip(-2), (1, 1)).flip(
        -2
    )
    torch.testing.assert_close(found, wanted)
    bound, image = bind(model, x[:1])
    assert "2 flipped copies of the picture put back" in propose_layer(bound, image).reason


def summed(activations: Tensor) -> Tensor:
    return activations[:, ::2].abs().sum(1)  # a normalisation makes the sum of all the same


@pytest.mark.parametrize("make", [Frames, Remembers])
def test_frames_in_a_loop_make_a_map_of_the_video(make: Callable[[], nn.Module]) -> None:
    model, video = make().eval(), torch.rand(1, 3, 6, 32, 32)
    found = seewhy.attribute(model, video, 1, method="hires-cam")
    assert found.shape[:2] == (1, 6)
    loud = video.clone()
    loud[:, :, 4, :8, :8] += 1
    before, after = (seewhy.attribute(model, one, 1, method=summed) for one in (video, loud))
    change = (after - before).abs()[0]
    side = change.shape[-1] // 2
    assert change[:4].max() == 0
    assert change[4, :side, :side].sum() > 0.9 * change[4].sum() > 0
    with quiet():
        assert seewhy.attribute(model, video, 1, method="recipro-cam").shape == found.shape


def test_tiles_that_overlap_are_refused_with_the_reason() -> None:
    class Overlapping(Net):
        def forward(self, x: Tensor) -> Tensor:
            tiles = [x[..., i : i + 32, j : j + 32] for i in (0, 16, 32) for j in (0, 16, 32)]
            return sum(super(Overlapping, self).forward(tile) for tile in tiles)  # type: ignore[return-value]

    model, x = Overlapping().eval(), torch.rand(1, 3, 64, 64)
    with pytest.raises(
        LayerError, match=r"sees only a part of the picture .* called 9 times"
    ) as no:
        seewhy.attribute(model, x, 1)
    assert "saliency" in str(no.value)
    assert seewhy.attribute(model, x, 1, method="saliency").shape == (1, 64, 64)


def test_a_batch_of_rows_says_what_to_do() -> None:
    given = {"rgb": torch.rand(2, 3, 32, 32), "depth": torch.rand(2, 3, 32, 32)}
    with pytest.raises(LayerError, match=r"2 rows per image.* leave layer= out"):
        seewhy.attribute(Concatenated().eval(), given, 1, picture="rgb", layer="cnn")


# --- What stood in the way -----------------------------------------------------------------------


class Checkpointed(nn.Module):
    def __init__(self, *, reentrant: bool) -> None:
        super().__init__()
        self.stem, self.body, self.fc = nn.Conv2d(3, 8, 3, 2, 1), conv(8), nn.Linear(8, 4)
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        from torch.utils.checkpoint import checkpoint

        f = checkpoint(self.body, self.stem(x), use_reentrant=self.reentrant)
        return self.fc(f.mean((2, 3)))


@pytest.mark.parametrize("layer", [None, "body.1", "stem"])
def test_a_part_that_is_recomputed_in_training_is_looked_at_as_it_is(layer: str | None) -> None:
    from torch.utils.checkpoint import CheckpointFunction

    own = vars(CheckpointFunction).get("apply")
    model, plain = Checkpointed(reentrant=True), Checkpointed(reentrant=False)
    plain.load_state_dict(model.state_dict())
    x = torch.rand(2, 3, 32, 32)
    for method in ("grad-cam", "hires-cam", "layer-cam", "saliency"):
        asked = {"target": 1, "method": method, "layer": None if method == "saliency" else layer}
        found = seewhy.attribute(model, x, **asked)
        torch.testing.assert_close(found, seewhy.attribute(plain, x, **asked))
    assert vars(CheckpointFunction).get("apply") is own
    model.train()(x.requires_grad_()).sum().backward()  # and it trains as before
    assert model.stem.weight.grad is not None


@pytest.mark.parametrize("time_last", [True, False])
def test_the_tokens_of_a_video_lie_in_either_order(*, time_last: bool) -> None:
    class Divided(nn.Module):
        """Frame by frame into patches, then tokens in the order of places (TimeSformer), or not."""

        def __init__(self) -> None:
            super().__init__()
            self.patch, self.token = nn.Conv2d(3, 32, 8, 8), nn.Parameter(torch.randn(1, 1, 32))
            self.blocks, self.head = nn.ModuleList(Block() for _ in range(2)), nn.Linear(32, 5)

        def forward(self, video: Tensor) -> Tensor:
            maps = self.patch(video.flatten(0, 1)).unflatten(0, video.shape[:2])  # b t c h w
            order = (0, 3, 4, 1, 2) if time_last else (0, 1, 3, 4, 2)
            x = maps.permute(order).flatten(1, 3)
            x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
            for block in self.blocks:
                x = block(x)
            return self.head(x[:, 0])

    model, video = Divided().eval(), torch.rand(1, 4, 3, 48, 64)
    for layer in (None, "blocks.0"):
        before = seewhy.attribute(model, video, 1, method=summed, layer=layer)
        assert before.shape == (1, 4, 6, 8)
        loud = video.clone()
        loud[:, 1, :, 16:24, 48:56] += 5
        change = (seewhy.attribute(model, loud, 1, method=summed, layer=layer) - before).abs()[0]
        assert divmod(int(change.argmax()), 48) == (1, 2 * 8 + 6)
    bound, image = bind(model, video)
    assert "blocks.1" in str(propose_layer(bound, image).layer)
    with quiet():
        maps = seewhy.attribute(model, video, 1, method="recipro-cam")
    assert maps.shape == (1, 4, 6, 8)


def test_patches_that_are_drawn_in_another_order_are_refused() -> None:
    """As ViLT does: which token is where is lost, and the map before that does not stand for it."""

    class Drawn(ViT):
        def forward(self, x: Tensor) -> Tensor:
            tokens = self.patch(x).flatten(2).mT
            tokens = tokens[:, torch.randperm(144, generator=torch.Generator().manual_seed(1))]
            x = torch.cat([self.token.expand(len(x), -1, -1), tokens], 1)
            for block in self.blocks:
                x = block(x)
            return self.head(self.norm(x)[:, 0])

    with pytest.raises(LayerError, match="positions in another order") as no:
        propose_layer(Drawn().eval(), torch.rand(1, 3, 96, 96))
    assert "saliency" in str(no.value)


@pytest.mark.parametrize("picture", [None, "pixel_values"])
def test_rows_of_patches_are_no_picture_and_the_advice_works(picture: str | None) -> None:
    class Rows(nn.Module):
        """As Qwen2-VL, whose processor cuts the picture into rows of patches."""

        def __init__(self) -> None:
            super().__init__()
            self.patch, self.words, self.head = (
                nn.Linear(192, 8),
                nn.Embedding(9, 8),
                nn.Linear(8, 5),
            )

        def forward(self, pixel_values: Tensor, input_ids: Tensor) -> Tensor:
            return self.head(self.patch(pixel_values).mean(0) + self.words(input_ids).mean(1))

    class Whole(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, image: Tensor, input_ids: Tensor) -> Tensor:
            rows = image[0].unflatten(1, (-1, 8)).unflatten(3, (-1, 8)).permute(1, 3, 0, 2, 4)
            return self.inner(rows.flatten(0, 1).flatten(1), input_ids)

    model, words = Rows().eval(), torch.arange(4)[None]
    given = {"pixel_values": torch.rand(16, 192), "input_ids": words}
    with pytest.raises(ModelError, match="wrap the model in a module that takes the picture"):
        seewhy.attribute(model, given, 1, picture=picture)
    whole = {"image": torch.rand(1, 3, 32, 32), "input_ids": words}
    assert seewhy.attribute(Whole(model), whole, 1, method="saliency").shape == (1, 32, 32)


def test_a_saturated_score_has_a_layer_if_other_pictures_change_it() -> None:
    """Its gradient is zero everywhere, and tells nothing of any layer."""

    class Redness(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.ReLU())
            self.head = nn.Linear(3, 1, bias=False)
            with torch.no_grad():
                self.features[0].weight.copy_(torch.eye(3)[:, :, None, None])
                self.head.weight.copy_(torch.tensor([[1e4, 0, -1e4]]))

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.features(x).mean((2, 3))).sigmoid()

    red = torch.rand(1, 3, 32, 32) * torch.tensor([1, 0.1, 0.1])[:, None, None]
    model = Redness().eval()
    assert model(red).item() == 1.0
    assert str(propose_layer(model, red).layer) == "features"
    with torch.no_grad():
        model.head.weight.zero_()
    with pytest.raises(LayerError, match="head may still be zero"):
        propose_layer(model, red[..., :16])  # another size: nothing is remembered
