"""Layers are found by name, and the right one is proposed."""

from __future__ import annotations

import gc
import weakref
from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn
from torchvision_layers import TORCHVISION

import seewhy
from seewhy.errors import LayerError
from seewhy.layers import find_layers, list_layers
from seewhy.models.bound import bind
from seewhy.models.proposing import propose_layer

LARGE = 32_000_000  # AlexNet and VGG are named in spite of their wide heads


def build(name: str) -> nn.Module:
    """An untrained torchvision network, without spending time on filling its weights."""
    models = pytest.importorskip("torchvision.models")
    kwargs = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    # RegNet computes its widths with tensors, so it needs real ones while it is built.
    with torch.device("cpu" if name.startswith("regnet") else "meta"):
        return models.get_model(name, weights=None, **kwargs).to("meta")


@pytest.mark.parametrize("name", TORCHVISION)
def test_the_right_layer_of_every_torchvision_classifier_is_proposed(name: str) -> None:
    model = build(name)
    size = 299 if name == "inception_v3" else 224
    proposal = propose_layer(model, torch.empty(1, 3, size, size, device="meta"))
    assert str(proposal.layer) == TORCHVISION[name]
    assert "last spatial feature map before the head" in proposal.reason


def test_vgg16_and_vgg19_with_batch_norm_too() -> None:
    for name, layer in {"vgg16": "features.29", "vgg19_bn": "features.51"}.items():
        inputs = torch.empty(1, 3, 224, 224, device="meta")
        assert str(propose_layer(build(name), inputs).layer) == layer


def test_no_torchvision_convolutional_classifier_of_that_size_is_missing() -> None:
    models = pytest.importorskip("torchvision.models")
    transformers = ("vit_", "swin", "maxvit")
    large = ("regnet_x_8gf", "regnet_x_16gf", "regnet_x_32gf", "regnet_y_8gf", "regnet_y_16gf")
    large += ("regnet_y_32gf", "regnet_y_128gf")  # 39 to 644 M: not built to be counted
    names = [n for n in models.list_models(module=models) if not n.startswith(transformers)]
    small = {
        n
        for n in names
        if n not in large and sum(p.numel() for p in build(n).parameters()) <= LARGE
    }
    assert small - set(TORCHVISION) == set()


def test_the_proposal_is_the_same_on_real_weights_as_on_none() -> None:
    models = pytest.importorskip("torchvision.models")
    model = models.resnet18(weights=None)
    proposal = propose_layer(model, torch.randn(1, 3, 64, 64))
    assert proposal.reason == (
        "'layer4' gives the last spatial feature map before the head: 512 channels of 2×2"
    )


def test_swins_own_permutation_to_channels_first_is_proposed() -> None:
    inputs = torch.empty(1, 3, 224, 224, device="meta")
    assert str(propose_layer(build("swin_t"), inputs).layer) == "permute"


def test_a_class_token_leaves_what_the_last_block_reads() -> None:
    """Of what the last block gives, only the class token is read: the others have no gradient.

    And of what it takes in, they are read through its normalisation alone, whose output it is.
    """
    models = pytest.importorskip("torchvision.models")
    model = models.VisionTransformer(32, 8, 3, 2, 16, 32, num_classes=5)
    nn.init.normal_(model.heads.head.weight)
    proposal = propose_layer(model, torch.randn(1, 3, 32, 32))
    assert str(proposal.layer) == "encoder.layers.encoder_layer_2.ln_1"
    raw = "encoder.layers.encoder_layer_1"
    maps = seewhy.attribute(model, torch.randn(1, 3, 32, 32), layer=raw, method="layer-cam")
    blind = seewhy.attribute(model, torch.randn(1, 3, 32, 32), layer=raw, method="hires-cam")
    assert float(blind.abs().max()) < 1e-4 * float(maps.max())
    assert "16 channels of 4×4, 1 class or register token set aside" in proposal.reason
    assert "'encoder.layers.encoder_layer_2' gives" in proposal.reason


def test_a_head_that_is_still_zero_is_told() -> None:
    models = pytest.importorskip("torchvision.models")
    model = models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=5)
    nn.init.zeros_(model.heads.head.weight)
    with pytest.raises(LayerError, match="head may still be zero"):
        propose_layer(model, torch.randn(1, 3, 32, 32))


def test_tokens_that_do_not_lie_on_the_picture_are_not_passed_over() -> None:
    class Shuffled(nn.Module):
        """Fifteen of sixteen positions go on as tokens."""

        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 6, 2, 2)
            self.mix = nn.Linear(6, 6)
            self.head = nn.Linear(6, 4)

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.patches(x).flatten(2).mT[:, :15]
            return self.head(self.mix(tokens).mean(1))

    with pytest.raises(LayerError, match=r"'patches' .* followed by layers on tokens"):
        propose_layer(Shuffled(), torch.randn(1, 3, 8, 8))


class Attention(nn.Module):
    """Self-attention in which the weights of one position on another pass through a module."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(channels, 3 * channels)
        self.weights = nn.Softmax(-1)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).chunk(3, -1)
        return x + self.weights(query @ key.mT)[:, None].squeeze(1) @ value


class TwoWays(nn.Module):
    """Hands a map and a class token from part to part, as PiT does; the token alone is read."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 6, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 6))
        self.first, self.last = Together(), Together()
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        maps, token = self.first(self.patches(x), self.token.expand(len(x), -1, -1))
        _, token = self.last(maps, token)
        return self.head(token[:, 0])


class Together(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Attention(6), Attention(6))

    def forward(self, maps: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self.blocks(torch.cat([token, maps.flatten(2).mT], 1))
        return tokens[:, 1:].mT.reshape(maps.shape), tokens[:, :1]


def test_a_map_handed_on_beside_the_class_token_is_left_when_it_is_not_read() -> None:
    """The last part's map goes nowhere; its last block's input is what the token still sees."""
    torch.manual_seed(0)
    proposal = propose_layer(TwoWays(), torch.randn(1, 3, 32, 24))
    assert str(proposal.layer) == "last.blocks.0"
    assert "6 channels of 8×6, 1 class or register token set aside" in proposal.reason


def test_a_map_on_the_way_to_another_output_alone_is_not_the_scores() -> None:
    class Auxiliary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.main, self.beside = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 3)
            self.head = nn.Linear(4, 5)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            maps = self.main(x)
            return {"logits": self.head(maps.mean((2, 3))), "depth": self.beside(maps)}

    assert str(propose_layer(Auxiliary(), torch.randn(1, 3, 8, 8)).layer) == "main"


def test_the_matrices_of_an_attention_are_not_listed() -> None:
    class Windowless(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 24, 4, 4)
            self.attention = Matrices()
            self.head = nn.Linear(24, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.attention(self.patches(x)).mean((2, 3)))

    class Matrices(nn.Module):
        """(batch, heads, positions, positions) and (batch, heads, channels, positions) inside."""

        def __init__(self) -> None:
            super().__init__()
            self.weights, self.kernel = nn.Softmax(-1), nn.ReLU()

        def forward(self, maps: Tensor) -> Tensor:
            rows = maps.flatten(2).unflatten(1, (2, 12))
            mixed = self.kernel(rows) @ self.weights(rows.mT @ rows)
            return mixed.flatten(1, 2).reshape(maps.shape)

    rows = list_layers(Windowless(), torch.randn(1, 3, 32, 32))
    assert [(row.name, row.shape) for row in rows] == [
        ("patches", (24, 8, 8)),
        ("attention", (24, 8, 8)),
    ]


def test_what_the_heads_of_an_attention_share_is_no_map() -> None:
    class Shared(nn.Module):
        """The part for (batch, heads, tokens, channels) is the network's, not the attention's."""

        def __init__(self) -> None:
            super().__init__()
            self.patches, self.mix = nn.Conv2d(3, 6, 4, 4), nn.Linear(6, 6)
            self.of_heads = nn.PReLU()
            self.head = nn.Linear(6, 5)

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.mix(self.patches(x).flatten(2).mT)
            tokens = self.of_heads(tokens.unflatten(2, (2, 3)).movedim(2, 1)).movedim(1, 2)
            return self.head(tokens.flatten(2).mean(1))

    model, picture = Shared(), torch.randn(1, 3, 32, 48)
    assert [row.name for row in list_layers(model, picture)] == ["patches", "mix"]
    assert str(propose_layer(model, picture).layer) == "mix"


def test_tokens_of_which_each_class_reads_one_are_passed_over() -> None:
    """As VOLO, whose head adds each class's largest score among the tokens to the class token's."""

    class Largest(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.mix = nn.Conv2d(3, 6, 4, 4), Attention(6)
            self.last, self.head = nn.Linear(6, 6), nn.Linear(6, 500)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.last(self.mix(self.patches(x).flatten(2).mT))).amax(1)

    torch.manual_seed(0)
    proposal = propose_layer(Largest(), torch.randn(1, 3, 32, 48))
    assert str(proposal.layer) == "patches"


def test_a_map_of_one_row_that_is_read_as_a_sequence_is_a_map() -> None:
    class Reader(nn.Module):
        """Convolutions that leave one row, and a recurrent head over its columns."""

        def __init__(self) -> None:
            super().__init__()
            self.maps = nn.Conv2d(3, 6, (8, 2), (8, 2))
            self.rows = nn.Linear(6, 6)
            self.read = nn.GRU(6, 4, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.read(self.rows(self.maps(x).squeeze(2).mT))[1][-1]

    rows = list_layers(Reader(), torch.randn(1, 3, 8, 66))
    assert ("maps", (6, 1, 33)) in [(row.name, row.shape) for row in rows]


def test_tokens_of_a_picture_that_is_resized_inside_are_laid_by_a_map_of_the_model() -> None:
    class Resized(nn.Module):
        """As CrossViT: whatever comes is made square first."""

        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 6, 4, 4)
            self.norm, self.head = nn.LayerNorm(6), nn.Linear(6, 5)

        def forward(self, x: Tensor) -> Tensor:
            x = nn.functional.interpolate(x, (44, 44))
            return self.head(self.norm(self.patches(x).flatten(2).mT).mean(1))

    model, picture = Resized(), torch.randn(1, 3, 24, 32)
    assert str(propose_layer(model, picture).layer) == "norm"
    for layer in ("norm", None):
        assert seewhy.attribute(model, picture, layer=layer).shape == (1, 11, 11)


class Unroll(nn.Module):
    """Puts the tokens of each 4×4 window so that two poolings of 2×2 are maxima a count apart."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.unflatten(1, (2, 2, 2, 3, 2, 2))  # rows and columns: window, half, quarter
        return x.permute(0, 2, 5, 3, 6, 1, 4, 7).flatten(1, 6)


class Unrolled(nn.Module):
    """As Hiera: reordered once, pooled twice, then in the picture's order again."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 6, 4, 4)
        self.before = nn.Linear(6, 6)
        self.unroll = Unroll()
        self.first, self.second, self.third = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(self.unroll(self.before(self.patches(x).flatten(2).mT)))
        x = self.second(x.unflatten(1, (4, -1)).amax(1))
        x = self.third(x.unflatten(1, (4, -1)).amax(1))
        return self.head(x.mean(1))


def test_tokens_in_another_order_are_refused_until_they_are_back_in_the_pictures() -> None:
    torch.manual_seed(0)
    model, picture = Unrolled(), torch.randn(1, 3, 32, 48)
    names = [row.name for row in list_layers(model, picture)]
    assert names == ["patches", "before", "third"]
    assert str(propose_layer(model, picture).layer) == "third"
    for name in ("unroll", "first", "second"):
        with pytest.raises(LayerError, match="in another order than the picture's"):
            seewhy.attribute(model, picture, layer=name)
    for name in ("before", "third"):
        seewhy.attribute(model, picture, layer=name)


def test_a_layer_is_listed_with_its_form() -> None:
    rows = list_layers(TwoWays(), torch.randn(1, 3, 32, 24))
    forms = {row.name: (row.form, row.extra, row.shape) for row in rows}
    assert forms["patches"] == ("channels first", 0, (6, 8, 6))
    assert forms["last.blocks.0"] == ("tokens", 1, (6, 8, 6))


def test_maps_with_channels_last_are_proposed_as_they_lie() -> None:
    timm = pytest.importorskip("timm")
    model = timm.create_model("swin_tiny_patch4_window7_224", pretrained=False)
    proposal = propose_layer(model, torch.randn(1, 3, 224, 224))
    assert str(proposal.layer) == "norm"
    assert "768 channels of 7×7" in proposal.reason


def network(**layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(layers)).eval()


HEAD: dict[str, nn.Module] = {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}


def proposed(model: nn.Module, size: int = 8) -> str:
    return str(propose_layer(model, torch.randn(2, 3, size, size)).layer)


def test_a_class_score_map_is_not_proposed() -> None:
    model = network(conv=nn.Conv2d(3, 6, 3), relu=nn.ReLU(), scores=nn.Conv2d(6, 4, 1), **HEAD)
    assert proposed(model) == "relu"


def test_a_segmentations_map_of_scores_is_not_proposed() -> None:
    model = network(
        conv=nn.Conv2d(3, 6, 3), relu=nn.ReLU(), scores=nn.Conv2d(6, 4, 1),
        up=nn.Upsample(scale_factor=2),
    )  # fmt: skip
    assert proposed(model) == "relu"


def test_scores_that_are_the_sum_of_others_are_not_proposed() -> None:
    """As LR-ASPP and FCN-8s, which score maps of two sizes."""

    class TwoSizes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.low, self.high = nn.Conv2d(3, 6, 2, 2), nn.Conv2d(6, 8, 2, 2)
            self.low_scores, self.high_scores = nn.Conv2d(6, 4, 1), nn.Conv2d(8, 4, 1)
            self.up = nn.Upsample(scale_factor=2)

        def forward(self, x: Tensor) -> Tensor:
            low = self.low(x)
            high = self.high(low)
            return self.low_scores(low) + self.up(self.high_scores(high))

    assert proposed(TwoSizes()) == "high"


def test_as_many_channels_as_classes_alone_make_no_class_score_map() -> None:
    model = network(conv=nn.Conv2d(3, 4, 3), relu=nn.ReLU(), **HEAD, fc=nn.Linear(4, 4))
    assert proposed(model) == "relu"


def test_a_map_of_one_position_is_not_proposed() -> None:
    model = network(
        conv=nn.Conv2d(3, 4, 3), pool=nn.AdaptiveAvgPool2d(1), mix=nn.Conv2d(4, 6, 1),
        act=nn.ReLU(), flatten=nn.Flatten(), fc=nn.Linear(6, 2),
    )  # fmt: skip
    assert proposed(model) == "conv"


def test_dropout_identity_pooling_and_resizing_are_not_proposed() -> None:
    model = network(
        conv=nn.Conv2d(3, 4, 3), relu=nn.ReLU(inplace=True), drop=nn.Dropout2d(),
        same=nn.Identity(), up=nn.Upsample(scale_factor=2), small=nn.MaxPool2d(2),
        end=nn.AdaptiveAvgPool2d(3), flatten=nn.Flatten(), fc=nn.Linear(36, 2),
    )  # fmt: skip
    assert proposed(model) == "relu"


def test_a_container_that_ends_in_a_pooling_is_not_proposed() -> None:
    features = network(conv=nn.Conv2d(3, 4, 3), relu=nn.ReLU(), pool=nn.MaxPool2d(2))
    model = network(features=features, flatten=nn.Flatten(), fc=nn.Linear(36, 2))
    assert proposed(model) == "features.relu"


def test_the_outermost_module_of_the_same_map_is_proposed() -> None:
    features = network(conv=nn.Conv2d(3, 4, 3), relu=nn.ReLU(), drop=nn.Dropout())
    assert proposed(network(features=features, **HEAD, fc=nn.Linear(4, 2))) == "features"


def test_a_network_without_a_map_is_told_so() -> None:
    model = network(flatten=nn.Flatten(), fc=nn.Linear(192, 2))
    with pytest.raises(LayerError, match="no layer of this model gives a spatial feature map"):
        proposed(model)


def test_a_module_that_runs_twice_is_proposed_with_its_last_call() -> None:
    relu = nn.ReLU()
    model = network(conv=nn.Conv2d(3, 4, 3), a=relu, conv2=nn.Conv2d(4, 4, 3), b=relu,
                    **HEAD, fc=nn.Linear(4, 2))  # fmt: skip
    assert proposed(model) == "a#-1"


def test_the_proposal_follows_a_change_of_the_model_and_is_forgotten_with_it() -> None:
    model = network(conv=nn.Conv2d(3, 4, 3), **HEAD, fc=nn.Linear(4, 2))
    assert proposed(model) == "conv"
    model.conv = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2))
    assert proposed(model) == "conv.1"
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


class TwoHeads(nn.Module):
    """Two outputs: one of an early map, one of a late."""

    def __init__(self) -> None:
        super().__init__()
        self.early, self.late = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 8, 3)
        self.first, self.second = nn.Linear(6, 4), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        early = self.early(x).relu()
        late = self.late(early).relu()
        return {"first": self.first(early.mean((2, 3))), "second": self.second(late.mean((2, 3)))}


def test_the_proposal_is_of_the_output_that_is_asked_for() -> None:
    model, image = TwoHeads(), torch.randn(1, 3, 10, 10)
    for _ in range(2):
        for output, layer in (("first", "early"), ("second", "late")):
            asked = {"target": 0, "method": "recipro-cam", "output": output}
            found = seewhy.attribute(model, image, **asked)
            torch.testing.assert_close(found, seewhy.attribute(model, image, layer=layer, **asked))
            found = seewhy.attribute(model, image, **{**asked, "output": lambda o, k=output: o[k]})
            torch.testing.assert_close(found, seewhy.attribute(model, image, layer=layer, **asked))


def test_the_proposal_follows_the_pictures_size() -> None:
    """A grid of tokens of a strip that no one stride leaves is known by the map before it."""

    class Strip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 6, (8, 4), (8, 4))
            self.block = nn.Linear(6, 6)
            self.head = nn.Linear(6, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.block(self.patches(x).flatten(2).mT).relu().mean(1))

    model = Strip()
    for width in (40, 88):
        maps = seewhy.attribute(model, torch.randn(1, 3, 16, width), 1, method="hires-cam")
        assert maps.shape == (1, 2, width // 4)


@pytest.mark.parametrize("words", [6, 16, 17, 49, 53])
def test_a_texts_tokens_are_not_laid_on_the_picture(words: int) -> None:
    """16 are as many as 4 × 4 positions, 17 one more, as if there were a class token."""

    class Reads(nn.Module):
        """Answers in words, each of which looks at the picture's tokens."""

        def __init__(self) -> None:
            super().__init__()
            layer = {"d_model": 8, "nhead": 2, "dim_feedforward": 8, "batch_first": True}
            self.patches = nn.Conv2d(3, 8, 16, 16)
            self.encoder = nn.TransformerEncoderLayer(**layer)
            self.words = nn.Embedding(20, 8)
            self.decoder = nn.TransformerDecoderLayer(**layer)
            self.head = nn.Linear(8, 20)

        def forward(self, pixel_values: Tensor, input_ids: Tensor) -> Tensor:
            seen = self.encoder(self.patches(pixel_values).flatten(2).mT)
            return self.head(self.decoder(self.words(input_ids), seen))

    inputs = {
        "pixel_values": torch.randn(1, 3, 112, 112),
        "input_ids": torch.arange(words)[None] % 20,
    }
    model, picture = bind(Reads().eval(), inputs)
    assert propose_layer(model, picture).layer.name == "encoder"
    assert seewhy.attribute(model.module, inputs, "token:3").shape == (1, 7, 7)
    listed = [one.name for one in list_layers(model, picture)]
    assert "encoder" in listed
    assert not any(name.startswith(("decoder", "head")) for name in listed)
    with pytest.raises(LayerError, match="'decoder' gives t"):
        seewhy.attribute(model.module, inputs, "token:3", layer="decoder")


def test_a_named_layers_tokens_lie_as_the_models_maps_do() -> None:
    """By one stride 18 tokens of a square would be 4 × 4 behind two class tokens."""
    model = nn.Sequential(
        OrderedDict(
            patches=nn.Conv2d(3, 6, (16, 8), (16, 8)),
            rows=nn.Flatten(2),
            tokens=Turned(),
            norm=nn.LayerNorm(6),
            mean=Averaged(),
            head=nn.Linear(6, 4),
        )
    ).eval()
    image = torch.randn(2, 3, 48, 48)
    maps = seewhy.attribute(model, image, 1, layer="norm", method="hires-cam")
    assert maps.shape == (2, 3, 6)
    first = seewhy.attribute(model, image[:1], 1, layer="norm", method="hires-cam")
    torch.testing.assert_close(maps[:1], first)


class Turned(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mT


class Averaged(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


NAMED = network(
    stem=nn.Conv2d(3, 4, 3),
    layer1=network(conv1=nn.Conv2d(4, 4, 3), conv2=nn.Conv2d(4, 4, 1)),
    layer2=network(conv1=nn.Conv2d(4, 4, 3), conv2=nn.Conv2d(4, 4, 1)),
    **HEAD,
    fc=nn.Linear(4, 2),
)


def found(spec: object) -> list[str]:
    return [str(layer) for layer in find_layers(NAMED, spec)]  # type: ignore[arg-type]


def test_names_modules_lists_and_wildcards() -> None:
    assert found("layer1.conv2") == ["layer1.conv2"]
    assert found(NAMED.layer2) == ["layer2"]
    assert found(["layer2", NAMED.stem]) == ["layer2", "stem"]
    assert found("layer*") == ["layer1", "layer2"]
    assert found("layer*.conv1") == ["layer1.conv1", "layer2.conv1"]
    assert found("*.conv[12]#0".replace("[12]", "2")) == ["layer1.conv2#0", "layer2.conv2#0"]
    assert found(["layer1", "layer*"]) == ["layer1", "layer2"]


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("layer3", "did you mean 'layer2' or 'layer1'"),
        ("conv9", "not found"),
        ("conv2", "'layer1.conv2'"),
        ("block*", "not found"),
        ([], "names no layer"),
        (3, "is a int"),
        ("", "is not a valid name. Write name"),
        (nn.ReLU(), "not part of this model"),
    ],
)
def test_a_miss_says_what_to_do(spec: object, says: str) -> None:
    with pytest.raises(LayerError, match=says.replace("*", r"\*")):
        find_layers(NAMED, spec)  # type: ignore[arg-type]


def test_a_compiled_models_layers_have_their_plain_names() -> None:
    compiled = torch.compile(NAMED, backend="eager")
    assert [str(x) for x in find_layers(compiled, "layer1.conv1")] == ["layer1.conv1"]
    assert [str(x) for x in find_layers(compiled, "_orig_mod.layer1")] == ["layer1"]


def test_every_spatial_layer_is_listed_in_running_order_with_the_choice_marked() -> None:
    rows = list_layers(NAMED, torch.randn(1, 3, 8, 8))
    assert [(row.name, row.kind, row.shape) for row in rows] == [
        ("stem", "Conv2d", (4, 6, 6)),
        ("layer1.conv1", "Conv2d", (4, 4, 4)),
        ("layer1.conv2", "Conv2d", (4, 4, 4)),
        ("layer1", "Sequential", (4, 4, 4)),
        ("layer2.conv1", "Conv2d", (4, 2, 2)),
        ("layer2.conv2", "Conv2d", (4, 2, 2)),
        ("layer2", "Sequential", (4, 2, 2)),
    ]
    assert [row.name for row in rows if row.chosen] == ["layer2"]


def test_a_module_that_runs_twice_is_listed_by_call() -> None:
    relu = nn.ReLU()
    model = network(conv=nn.Conv2d(3, 4, 3), a=relu, conv2=nn.Conv2d(4, 4, 3), b=relu, **HEAD)
    names = [row.name for row in list_layers(model, torch.randn(1, 3, 8, 8))]
    assert names == ["conv", "a#0", "conv2", "a#1"]


def test_what_hands_on_its_input_is_not_listed_but_can_be_named() -> None:
    model = network(conv=nn.Conv2d(3, 4, 3), same=nn.Identity(), drop=nn.Dropout(), **HEAD).eval()
    picture = torch.randn(1, 3, 8, 8)
    assert [row.name for row in list_layers(model, picture)] == ["conv"]
    for name in ("same", "drop"):
        assert seewhy.attribute(model, picture, layer=name).shape == (1, 6, 6)


def test_proposing_leaves_the_model_as_it_was() -> None:
    model = network(conv=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4), **HEAD).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    inputs: Tensor = torch.randn(2, 3, 8, 8)
    proposed(model)
    list_layers(model, inputs)
    assert model.training
    assert model.norm.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
