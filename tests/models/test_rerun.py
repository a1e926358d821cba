"""A rerun from the layer on gives what the whole network would, or says that it cannot."""

from __future__ import annotations

import copy
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision_layers import TORCHVISION, enlivened, torchvision_model

from seewhy.errors import LayerError, MethodError, ModelError
from seewhy.layers import find_layers
from seewhy.models.rerun import in_chunks, is_out_of_memory, rerunning
from seewhy.models.watch import Layer, watch

# Layers with a skip connection around them, or inside a branch, as they occur in real networks.
INSIDE_TORCHVISION = {
    "resnet18": ["layer3.0.conv1", "layer3.0.bn2", "layer4.1.relu#0", "layer4.1.relu#1", "relu"],
    "densenet121": ["features.denseblock3.denselayer5.conv2", "features.transition2"],
    "inception_v3": ["Mixed_6c.branch7x7_2", "Mixed_7b.branch3x3_2a"],
    "shufflenet_v2_x0_5": ["stage3.1.branch2.3"],
    "mobilenet_v3_small": ["features.5.block.2", "features.5.block.2.activation"],
    "efficientnet_b0": ["features.4.1.block.1"],
    "convnext_tiny": ["features.5.4.block.0"],
    "swin_t": ["features.3.0"],
}


def whole(model: nn.Module, layer: str, inputs: Tensor, activations: Tensor, call: int = 0) -> Any:
    """What the definition says: run everything, one version at a time, the layer's output replaced.

    `layer` may end in `[path]` for a layer that returns a tuple or dict.
    """
    name, _, path = layer.rstrip("]").partition("[")
    module = model.get_submodule(name)
    outputs = []
    for one in activations:
        calls = 0

        def hook(module: nn.Module, args: Any, output: Any, one: Tensor = one) -> Any:
            nonlocal calls
            calls += 1
            if calls - 1 != call:
                return None
            if not path:
                return one[None].clone()
            if isinstance(output, dict):
                return {**output, path: one[None].clone()}
            items = list(output)
            items[int(path)] = one[None].clone()
            return tuple(items)

        handle = module.register_forward_hook(hook)
        with torch.no_grad():
            outputs.append(model(inputs.clone()))
        handle.remove()
    return outputs


def changed(activations: Tensor, count: int = 3) -> Tensor:
    """Versions of activations that differ a lot."""
    generator = torch.Generator().manual_seed(5)
    factors = 2 * torch.rand(count, *activations.shape[1:], generator=generator)
    return activations * factors


def check(
    model: nn.Module, layer: str, inputs: Tensor, *, exact: bool = True, count: int = 3
) -> None:
    """The rerun equals the definition and is only the tail; changes must be seen at the end."""
    place = find_layers(model, layer)[0]
    with rerunning(model, place, inputs) as rerun:
        versions = changed(rerun.activations, count)
        given_in = versions.clone()
        got = rerun(versions)
        unchanged = rerun(rerun.activations)
        assert rerun.exact is exact
        assert bool(rerun.warnings) is not exact
    assert torch.equal(versions, given_in), "the caller's activations were written into"
    name, _, call = layer.partition("#")
    if call.startswith("-"):
        raise AssertionError("give the call from the start")
    own = versions
    if rerun.raw.shape != rerun.activations.shape:  # its channels are last
        own = versions.permute(0, 2, 3, 1)
    wanted = torch.cat(whole(model, name, inputs, own, int(call or 0)))
    size = float(wanted.abs().max())
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4 * size)
    with torch.no_grad():
        plain = model(inputs.clone())
    torch.testing.assert_close(unchanged, plain, rtol=1e-4, atol=1e-4 * size)
    torch.testing.assert_close(rerun.outputs, plain, rtol=1e-4, atol=1e-4 * size)
    seen = (got - plain).abs().max()
    assert float(seen) > 1e-3 * size, "the change was not seen at the end: this tests nothing"


@pytest.mark.parametrize("name", TORCHVISION)
def test_every_torchvision_classifier_is_rerun_exactly_by_its_tail(name: str) -> None:
    model = torchvision_model(name)
    size = {"inception_v3": 128, "alexnet": 96, "squeezenet1_0": 96, "squeezenet1_1": 96}
    pixels = size.get(name, 64)
    inputs = torch.randn(1, 3, pixels, pixels, generator=torch.Generator().manual_seed(1))
    with rerunning(model, find_layers(model, TORCHVISION[name])[0], inputs) as rerun:
        versions = changed(rerun.activations)
        got = rerun(versions)
        assert rerun.exact
    handle = model.get_submodule(TORCHVISION[name]).register_forward_hook(
        lambda *_: versions.clone()
    )
    with torch.no_grad():
        wanted = model(inputs.repeat(3, 1, 1, 1))
    handle.remove()
    largest = float(wanted.abs().max())
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4 * largest)
    assert float((got[0] - rerun.outputs[0]).abs().max()) > 1e-3 * largest


@pytest.mark.parametrize(
    ("name", "layer"),
    [(name, one) for name, layers in INSIDE_TORCHVISION.items() for one in layers],
)
def test_layers_inside_the_blocks_of_torchvision_networks(name: str, layer: str) -> None:
    pixels = 96 if name == "inception_v3" else 64
    check(torchvision_model(name), layer, torch.randn(1, 3, pixels, pixels))


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("resnet10t", "layer3.0.conv1"),
        ("resnet10t", "layer3.0.bn2"),
        ("resnet10t", "layer4.0.downsample"),
        ("resnet10t", "layer4.0.act1"),
        ("efficientnet_lite0", "blocks.3.1.conv_dw"),
        ("efficientnet_lite0", "blocks.4.1.conv_pw"),
        ("mobilenetv3_small_050", "blocks.3.1.se"),
        ("convnext_atto", "stages.2.blocks.3.conv_dw"),
        ("repvgg_a0", "stages.2.1"),
        ("ghostnet_050", "blocks.3.0.ghost1.primary_conv"),
        ("densenet121", "features.denseblock4.denselayer3.conv1"),
        ("cspresnet50", "stages.2.blocks.1.conv2"),
        ("dla34", "level4.tree1.tree1.conv1"),
        ("hrnet_w18_small", "stage3.0.branches.1.0.conv1"),
        ("res2net50_26w_4s", "layer3.1.convs.1"),
    ],
)
def test_timm_networks_with_a_skip_connection_around_the_layer(name: str, layer: str) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    model = enlivened(timm.create_model(name, pretrained=False, num_classes=10))
    check(model, layer, torch.randn(1, 3, 64, 64))


@pytest.fixture
def inputs() -> Tensor:
    return torch.randn(1, 3, 8, 8)


class Counted(nn.Conv2d):
    """A convolution that tells how often, and on how many images, it really ran."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        object.__setattr__(self, "ran", [])

    def forward(self, x: Tensor) -> Tensor:
        self.ran.append(len(x))
        return super().forward(x)


class Functional(nn.Module):
    """Skips, concatenation, split and in-place work in `forward`, between modules."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace
        self.stem = Counted(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.side = Counted(4, 4, 1)
        self.block = nn.Sequential(OrderedDict(first=Counted(4, 6, 1), second=Counted(6, 4, 1)))
        self.late = Counted(12, 5, 1)
        self.fc = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.stem(x * 2 - 1)), inplace=self.inplace)
        side = self.side(x)
        if self.inplace:
            side += 1
            side[:, 0] = 0.5
        y = self.block(x)
        if self.inplace:
            y += x
        else:
            y = y + x
        y = torch.cat([y, side, x.chunk(2, 1)[0].repeat(1, 2, 1, 1)], 1)
        return self.fc(F.relu(self.late(y), inplace=self.inplace).mean((2, 3)))


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize(
    "layer", ["stem", "norm", "side", "block.first", "block.second", "block", "late"]
)
def test_functional_work_between_modules_is_done_again(
    layer: str, inplace: bool, inputs: Tensor
) -> None:
    torch.manual_seed(0)
    check(Functional(inplace).eval(), layer, inputs)


def test_only_the_tail_computes(inputs: Tensor) -> None:
    model = Functional(inplace=True).eval()
    with rerunning(model, find_layers(model, "block.first")[0], inputs) as rerun:
        early = (model.stem, model.side, model.block.first)
        assert all(one.ran == [1] for one in early), "more than the one first run"
        model.late.ran.clear()
        rerun(changed(rerun.activations, 5))
        assert all(one.ran == [1] for one in early)
        assert model.late.ran == [6], "five versions and the unchanged one that is checked"


def test_kept_outputs_cost_no_memory_for_more_versions(inputs: Tensor) -> None:
    seen: list[Tensor] = []

    class Looks(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            seen.append(a)
            return a + b

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.add = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), Looks()

        def forward(self, x: Tensor) -> Tensor:
            return self.add(self.a(x), self.b(x)).mean((2, 3))

    model = Net().eval()
    with rerunning(model, find_layers(model, "b")[0], inputs) as rerun:
        rerun(changed(rerun.activations, 7))
    assert seen[-1].shape[0] == 8
    assert seen[-1].stride(0) == 0


class Form(NamedTuple):
    features: Tensor
    size: int
    nothing: None


@dataclass
class Data:
    features: Tensor
    rest: dict[str, Any]


class GivesSeveral(nn.Module):
    """Returns its map inside something."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.conv = Counted(3, 4, 3)

    def forward(self, x: Tensor) -> Any:
        a = self.conv(x)
        return {
            "tuple": lambda: (a, None, 3, a.mean((2, 3))),
            "list": lambda: [a, [a * 2, "word"]],
            "dict": lambda: {"features.map": a, "pooled": a.mean((2, 3))},
            "named": lambda: Form(a, a.shape[2], None),
            "data": lambda: Data(a, {"more": a + 1}),
        }[self.form]()


class UsesSeveral(nn.Module):
    def __init__(self, form: str) -> None:
        super().__init__()
        self.backbone = GivesSeveral(form)
        self.nothing = nn.Module()
        self.nothing.forward = lambda *args: None  # type: ignore[method-assign]
        self.layer = nn.Conv2d(4, 4, 1)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        given = self.backbone(x)
        assert self.nothing(given) is None
        if isinstance(given, list):
            given.append("changed by who got it")
        parts = {
            "tuple": lambda: (given[0], given[3][..., None, None] * given[2]),
            "list": lambda: (given[0], given[1][0].mul_(0.5)),
            "dict": lambda: (given["features.map"], given["pooled"][..., None, None]),
            "named": lambda: (given.features, torch.tensor(float(given.size))),
            "data": lambda: (given.features, given.rest["more"]),
        }[self.backbone.form]()
        assert not isinstance(given, list) or len(given) == 3
        return self.fc((self.layer(parts[0]) * parts[1]).mean((2, 3)))


@pytest.mark.parametrize("form", ["tuple", "list", "dict", "named", "data"])
def test_modules_may_return_anything(form: str, inputs: Tensor) -> None:
    model = UsesSeveral(form).eval()
    check(model, "layer", inputs)
    assert len(model.backbone.conv.ran) == 1 + 3 + 1, "it ran in a rerun"


class TupleLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a = self.conv(x)
        return a, a.flip(1)


def test_one_tensor_of_a_layer_that_returns_two_is_replaced(inputs: Tensor) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.two, self.fc = TupleLayer(), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            a, b = self.two(x)
            return self.fc((a * b.sigmoid()).mean((2, 3)))

    model = Net().eval()
    check(model, "two[0]", inputs)
    check(model, "two[1]", inputs)


@pytest.mark.parametrize("form", ["tuple", "dict", "data"])
def test_the_models_output_keeps_its_form(form: str, inputs: Tensor) -> None:
    model = GivesSeveral(form).eval()
    with rerunning(model, find_layers(model, "conv")[0], inputs) as rerun:
        versions = changed(rerun.activations, 2)
        got = rerun(versions)
        none = rerun(versions[:0])
    features = {
        "tuple": lambda o: o[0],
        "dict": lambda o: o["features.map"],
        "data": lambda o: o.features,
    }
    assert type(got) is type(rerun.outputs)
    torch.testing.assert_close(features[form](got), versions)
    assert len(features[form](none)) == 0
    if form == "tuple":
        assert got[1:3] == (None, 3)
        torch.testing.assert_close(got[3], versions.mean((2, 3)))
    if form == "data":
        torch.testing.assert_close(got.rest["more"], versions + 1)


class Shared(nn.Module):
    """One convolution and one block before the layer, in it and behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = Counted(3, 3, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.block = nn.Sequential(OrderedDict(conv=Counted(3, 3, 1), relu=self.relu))
        self.fc = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.conv(x))
        x = self.block(x) + x
        x = self.conv(x)
        x = self.block(x) + self.relu(x)
        return self.fc(self.conv(x).mean((2, 3)))


@pytest.mark.parametrize(
    "layer",
    ["conv#0", "conv#1", "conv#2", "relu#0", "relu#1", "relu#2", "relu#3", "block#0", "block#1",
     "block.conv#0", "block.conv#1"],
)  # fmt: skip
def test_shared_modules_return_what_they_kept_before_the_layer_and_run_behind_it(
    layer: str, inputs: Tensor
) -> None:
    torch.manual_seed(0)
    check(Shared().eval(), layer, inputs)


def test_a_call_may_be_counted_from_the_end(inputs: Tensor) -> None:
    model = Shared().eval()
    found = []
    for layer in ("conv#1", "conv#-2"):
        with rerunning(model, find_layers(model, layer)[0], inputs) as rerun:
            found.append(rerun(changed(rerun.activations)))
    torch.testing.assert_close(*found)
    model.conv.ran.clear()
    with rerunning(model, find_layers(model, "conv#-1")[0], inputs) as rerun:
        model.conv.ran.clear()
        rerun(rerun.activations)
        assert model.conv.ran == []


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("conv", r"'conv' is called 3 times .*layer='conv#0'"),
        ("conv#3", "no call #3"),
        ("conv#-4", "no call #-4"),
        ("unused", "'unused' did not run"),
    ],
)
def test_the_layer_must_be_one_call(layer: str, message: str, inputs: Tensor) -> None:
    model = Shared().eval()
    model.unused = nn.Conv2d(1, 1, 1)
    with (
        pytest.raises(LayerError, match=message),
        rerunning(model, find_layers(model, layer)[0], inputs),
    ):
        pass


def test_the_layer_and_a_rerun_see_what_watch_sees(inputs: Tensor) -> None:
    model = Functional().eval()
    model.late.register_forward_hook(lambda module, args, output: output * 2)
    model.stem.register_forward_hook(lambda module, args, output: output + 1)
    layer = find_layers(model, "late")
    with watch(model, layer, differentiate=False) as seen:
        outputs = seen(inputs)
    with rerunning(model, layer[0], inputs) as rerun:
        torch.testing.assert_close(rerun.activations, seen.activations[0])
        torch.testing.assert_close(rerun.outputs, outputs)
        torch.testing.assert_close(rerun(rerun.activations), outputs)
        rerun.activations.zero_()  # the caller's own: nothing else uses their memory
        rerun.outputs.zero_()
        torch.testing.assert_close(rerun(seen.activations[0]), outputs)
        assert rerun.exact


class ViewsTheBatch(nn.Module):
    """A view across the batch: not possible on expanded memory."""

    def __init__(self) -> None:
        super().__init__()
        self.early, self.layer = Counted(3, 4, 1), Counted(3, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        early = self.early(x)
        flat = early.view(early.shape[0] * 4, 8, 8)
        return (self.layer(x) * flat.view(-1, 4, 8, 8)).mean((2, 3))


def test_a_view_across_the_batch_gets_copies(inputs: Tensor) -> None:
    model = ViewsTheBatch().eval()
    check(model, "layer", inputs)
    assert len(model.early.ran) == 1 + 3 + 1


def runs_whole(model: nn.Module, layer: str, inputs: Tensor, match: str) -> None:
    """The whole network is rerun, with one warning, and right."""
    place = find_layers(model, layer)[0]
    with ExitStack() as stack:
        with pytest.warns(UserWarning, match=match) as caught:
            rerun = stack.enter_context(rerunning(model, place, inputs))
        versions = changed(rerun.activations)
        got = rerun(versions)
        rerun(versions)
        assert not rerun.exact
    assert len(caught) == 1
    assert rerun.warnings == (str(caught[0].message),)
    torch.testing.assert_close(got, torch.cat(whole(model, layer, inputs, versions)))


def test_a_network_that_relies_on_an_in_place_module_runs_whole(inputs: Tensor) -> None:
    class Ignores(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.relu = nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True)
            self.layer = nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            self.relu(x)
            return (self.layer(x) + x).mean((2, 3))

    runs_whole(
        Ignores().eval(), "layer", inputs,
        r"after layer 'layer' cannot be run alone \(unchanged activations give outputs that "
        r"differ by .*\), so the whole network is run for each version\. .* takes longer",
    )  # fmt: skip


class Mixes(nn.Module):
    """Normalises by the statistics of the batch, even in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.early, self.layer = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)
        self.norm = nn.BatchNorm2d(4, track_running_stats=False)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.norm(self.layer(self.early(x))).relu().mean((2, 3)))


def test_a_network_that_mixes_the_images_of_a_batch_runs_one_version_at_a_time(
    inputs: Tensor,
) -> None:
    runs_whole(Mixes().eval(), "layer", inputs, "whole network .*, one version at a time")


def test_a_network_for_single_images_runs_one_version_at_a_time(inputs: Tensor) -> None:
    class Single(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.fc = nn.Conv2d(3, 4, 1), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            pooled = self.layer(x).mean((2, 3)).view(1, 4)
            return {"logits": self.fc(pooled), "loss": pooled.sum()}

    model = Single().eval()
    place = find_layers(model, "layer")[0]
    with ExitStack() as stack:
        with pytest.warns(UserWarning, match=r"RuntimeError: .*one version at a time"):
            rerun = stack.enter_context(rerunning(model, place, inputs))
        versions = changed(rerun.activations)
        kept = versions.clone()
        got = rerun(versions)
        assert rerun(versions[:0])["logits"].shape == (0, 3)
    assert torch.equal(versions, kept)
    torch.testing.assert_close(got["loss"], versions.mean((2, 3)).sum(1))
    assert got["logits"].shape == (3, 3)


def test_a_loop_over_the_batch_before_the_layer_runs_whole(inputs: Tensor) -> None:
    class Loops(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.early, self.layer = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.cat([self.early(one[None]) for one in x])
            return (self.layer(x) * x).mean((2, 3))

    runs_whole(Loops().eval(), "layer", inputs, "cannot be run alone")


def test_a_number_of_images_that_was_kept_out_of_sight_runs_whole(inputs: Tensor) -> None:
    class Sizes:
        def __init__(self, count: int) -> None:
            self.count = count

    class Looks(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Sizes]:
            return x * 2, Sizes(len(x))

    class Loops(nn.Module):
        """As torchvision's detectors do: a transform lists the images, and the end goes by it."""

        def __init__(self) -> None:
            super().__init__()
            self.transform, self.layer = Looks(), nn.Conv2d(3, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            x, sizes = self.transform(x)
            seen = self.layer(x).mean((2, 3))
            return torch.stack([seen[i] for i in range(sizes.count)])

    runs_whole(Loops().eval(), "layer", inputs, r"\(its output is that of one image, however many")


def test_a_layer_that_a_stranger_calls_runs_whole(inputs: Tensor) -> None:
    class Stranger(nn.Module):
        def __init__(self, hidden: nn.Module) -> None:
            super().__init__()
            object.__setattr__(self, "hidden", [hidden])

        def forward(self, x: Tensor) -> Tensor:
            return self.hidden[0](x).relu()

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.early, self.layer = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)
            self.stranger = Stranger(self.layer)

        def forward(self, x: Tensor) -> Tensor:
            return self.stranger(self.early(x)).mean((2, 3))

    runs_whole(Net().eval(), "layer", inputs, "a module that it is no part of")


def test_an_output_that_cannot_be_copied_lets_the_network_run_whole(inputs: Tensor) -> None:
    class ReadOnly(Mapping[str, Tensor]):
        def __init__(self, x: Tensor) -> None:
            self.x = x

        def __getitem__(self, key: str) -> Tensor:
            return self.x

        def __iter__(self) -> Iterator[str]:
            return iter(["x"])

        def __len__(self) -> int:
            return 1

    class Early(nn.Module):
        def forward(self, x: Tensor) -> ReadOnly:
            return ReadOnly(x.relu())

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.early, self.layer = Early(), nn.Conv2d(3, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(self.early(x)["x"]).relu().mean((2, 3))

    runs_whole(Net().eval(), "layer", inputs, "what a Early returns cannot be copied")


def test_outputs_that_share_memory_with_what_was_kept_may_be_written_into(inputs: Tensor) -> None:
    class GivesFeatures(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.early, self.layer = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            x = self.early(x)
            return (self.layer(x) * x).mean((2, 3)), x[:, :, 0, 0]

    model = GivesFeatures().eval()
    with rerunning(model, find_layers(model, "layer")[0], inputs) as rerun:
        versions = changed(rerun.activations)
        wanted = [one.clone() for one in rerun(versions)]
        rerun(versions)[1].zero_()  # the same memory for every version: nothing may come of it
        with pytest.warns(UserWarning, match="writes into what its first part gave"):
            got = rerun(versions)
        for a, b in zip(got, wanted, strict=True):
            torch.testing.assert_close(a, b)


class Random(nn.Module):
    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where
        self.early, self.layer = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)
        self.drop = nn.Module()
        self.drop.forward = lambda x: F.dropout(x, 0.5, training=True)  # type: ignore[method-assign]

    def forward(self, x: Tensor) -> Tensor:
        x = self.early(x)
        x = self.drop(x) if self.where == "before" else x
        x = self.layer(x)
        x = self.drop(x) if self.where == "behind" else x
        return x.mean((2, 3))


def test_a_network_that_is_random_behind_the_layer_is_refused(inputs: Tensor) -> None:
    model = Random("behind").eval()
    before = snapshot(model)[:3]
    with (
        pytest.raises(ModelError, match=r"is not deterministic.*random layers.*grad-cam"),
        rerunning(model, find_layers(model, "layer")[0], inputs),
    ):
        pass
    assert snapshot(model)[:3] == before


def test_what_was_drawn_before_the_layer_stays_as_it_was_drawn(inputs: Tensor) -> None:
    model = Random("before").eval()
    with rerunning(model, find_layers(model, "layer")[0], inputs) as rerun:
        versions = changed(rerun.activations)
        torch.testing.assert_close(rerun(versions), versions.mean((2, 3)))
        torch.testing.assert_close(rerun(rerun.activations), rerun.outputs)
        assert rerun.exact


def test_a_network_that_keeps_state_is_refused(inputs: Tensor) -> None:
    class Drifts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 4, 1)
            self.register_buffer("runs", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            self.runs += 1
            return self.layer(x).mean((2, 3)) * self.runs

    model = Drifts().eval()
    with (
        pytest.raises(ModelError, match="kept from run to run"),
        rerunning(model, find_layers(model, "layer")[0], inputs),
    ):
        pass


def test_a_feature_passed_on_through_an_attribute_is_noticed_when_another_image_runs(
    inputs: Tensor,
) -> None:
    class Keeps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            self.seen = self.conv(x)
            return self.seen

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.early, self.layer = Keeps(), nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return (self.layer(self.early(x)) * self.early.seen).mean((2, 3))

    model = Net().eval()
    with rerunning(model, find_layers(model, "layer")[0], inputs) as rerun:
        versions = changed(rerun.activations)
        wanted = torch.cat(whole(model, "layer", inputs, versions))
        torch.testing.assert_close(rerun(versions), wanted)
        assert rerun.exact
        with torch.no_grad():
            model(torch.randn(1, 3, 8, 8))  # as a method of masked images does
        with pytest.warns(UserWarning, match="cannot be run alone"):
            got = rerun(versions)
        torch.testing.assert_close(got, wanted)
        assert not rerun.exact


def test_an_output_without_tensors_is_refused(inputs: Tensor) -> None:
    class Opaque(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 4, 1)

        def forward(self, x: Tensor) -> object:
            self.layer(x)
            return object()

    model = Opaque().eval()
    with (
        pytest.raises(ModelError, match="object, contains no tensor"),
        rerunning(model, find_layers(model, "layer")[0], inputs),
    ):
        pass


def test_activations_that_do_not_fit_are_refused(inputs: Tensor) -> None:
    model = Functional().eval()
    layer = find_layers(model, "late")[0]
    with rerunning(model, layer, inputs) as rerun:
        with pytest.raises(MethodError, match=r"\(versions, 5, 8, 8\), not \(2, 4, 8, 8\)"):
            rerun(torch.zeros(2, 4, 8, 8))
        assert rerun.exact
    with pytest.raises(MethodError, match="after its block had ended"):
        rerun(rerun.activations)
    with (
        pytest.raises(ModelError, match="one image"),
        rerunning(model, layer, torch.zeros(2, 3, 8, 8)),
    ):
        pass


def test_a_layer_without_a_batch_dimension_is_refused(inputs: Tensor) -> None:
    class Windows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cut = nn.Unflatten(0, (1, 1))
            self.window = nn.Module()
            self.window.forward = lambda x: x.reshape(4, 3, 4, 4)  # type: ignore[method-assign]

        def forward(self, x: Tensor) -> Tensor:
            return self.window(x).reshape(1, -1)

    model = Windows().eval()
    with (
        pytest.raises(LayerError, match=r"gives \(4, 3, 4, 4\) for one image"),
        rerunning(model, find_layers(model, "window")[0], inputs),
    ):
        pass


def test_windows_kept_before_the_layer_are_repeated_image_by_image(inputs: Tensor) -> None:
    class Windows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attend, self.layer = Counted(3, 4, 1), nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            n = len(x)
            halves = x.reshape(n, 3, 2, 4, 8).transpose(1, 2).reshape(n * 2, 3, 4, 8)
            y = self.attend(halves).reshape(n, 2, 4, 4, 8).transpose(1, 2).reshape(n, 4, 8, 8)
            return (self.layer(y) * y).mean((2, 3))

    model = Windows().eval()
    check(model, "layer", inputs)
    assert len(model.attend.ran) == 1 + 3 + 1


def test_gradients_of_the_tail_when_activations_require_them(inputs: Tensor) -> None:
    model = Functional(inplace=True).eval()
    layer = find_layers(model, "block.first")
    with watch(model, layer) as seen:
        wanted = seen.gradients(seen(inputs)[:, 1])[0]
    with torch.no_grad(), rerunning(model, layer[0], inputs) as rerun:
        leaf = rerun.activations.repeat(2, 1, 1, 1).requires_grad_()
        (gradient,) = torch.autograd.grad(rerun(leaf)[:, 1].sum(), leaf)
        assert not rerun(leaf.detach()).requires_grad
        assert rerun.exact
    for one in gradient:
        torch.testing.assert_close(one[None], wanted)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_works_under_the_callers_no_grad_and_inference_mode(
    mode: Callable[[], Any], inputs: Tensor
) -> None:
    model = Functional(inplace=True).eval()
    layer = find_layers(model, "block.first")[0]
    with rerunning(model, layer, inputs) as rerun:
        wanted = rerun(changed(rerun.activations))
    with mode():
        with rerunning(model, layer, inputs + 0) as rerun:
            got = rerun(changed(rerun.activations))
            assert not got.is_inference()
            assert rerun.exact
        assert not torch.is_grad_enabled()
    torch.testing.assert_close(got, wanted)


def test_a_network_with_an_inference_mode_of_its_own(inputs: Tensor) -> None:
    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.early, self.layer = Counted(3, 4, 1), nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            with torch.inference_mode():
                x = self.early(x)
                x += 1
            with torch.no_grad():
                return (self.layer(x) * x).mean((2, 3))

    model = Frozen().eval()
    check(model, "layer", inputs)
    assert len(model.early.ran) == 1 + 3 + 1


def test_low_precision_and_autocast_follow_the_model(inputs: Tensor) -> None:
    model = Functional().eval()
    layer = find_layers(model, "block.first")[0]
    with rerunning(model, layer, inputs) as rerun:
        versions = changed(rerun.activations)
        wanted = rerun(versions)
    with torch.autocast("cpu", torch.bfloat16), rerunning(model, layer, inputs) as rerun:
        got = rerun(versions)
        assert rerun.exact
    assert rerun.activations.dtype == torch.float32
    assert not torch.equal(got, wanted)
    torch.testing.assert_close(got.float(), wanted, rtol=0.05, atol=0.05)
    half = copy.deepcopy(model).bfloat16()
    with rerunning(half, find_layers(half, "block.first")[0], inputs.bfloat16()) as rerun:
        got = rerun(versions)
        assert rerun.exact
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.float(), wanted, rtol=0.05, atol=0.05)


def test_channels_last_stays_channels_last(inputs: Tensor) -> None:
    formats: list[bool] = []

    class Looks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            formats.append(x.is_contiguous(memory_format=torch.channels_last))
            return x

    model = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 1), Looks(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).eval()
    model = model.to(memory_format=torch.channels_last)
    check(model, "1", inputs.to(memory_format=torch.channels_last))
    formats.clear()
    with rerunning(model, find_layers(model, "1")[0], inputs) as rerun:
        rerun(changed(rerun.activations).contiguous())
    assert all(formats)


def snapshot(model: nn.Module) -> list[object]:
    return [
        [
            (name, list(module.__dict__), dict(module.__dict__))
            for name, module in model.named_modules()
        ],
        [
            (name, id(p), p._version, p.requires_grad, None if p.grad is None else p.grad.clone())
            for name, p in model.named_parameters()
        ],
        [(name, id(b), b._version) for name, b in model.named_buffers()],
        torch.get_rng_state().tolist(),
        torch.is_grad_enabled(),
    ]


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_comes_back_as_it_was(fails: bool, inputs: Tensor) -> None:
    model = Functional(inplace=True).train()
    model.norm.eval()
    own = model.side.forward
    model.side.forward = own  # type: ignore[method-assign]
    model.late.register_forward_hook(lambda *_: None)
    before = snapshot(model)
    layer = find_layers(model, "block.first")[0]
    versions = torch.zeros(2, 6, 8, 8)
    if fails:
        with pytest.raises(ZeroDivisionError), rerunning(model, layer, inputs) as rerun:  # noqa: PT012
            rerun(versions)
            assert snapshot(model) != before
            raise ZeroDivisionError
    else:
        with rerunning(model, layer, inputs) as rerun:
            rerun(versions)
    model_ran = [module for module in model.modules() if isinstance(module, Counted)]
    assert all(module.ran for module in model_ran)
    assert snapshot(model) == before
    assert model.side.__dict__["forward"] is own


@pytest.mark.parametrize("when", [1, 2])
def test_nothing_is_left_behind_when_the_network_fails(when: int, inputs: Tensor) -> None:
    class Fails(nn.Module):
        runs = 0

        def forward(self, x: Tensor) -> Tensor:
            type(self).runs += 1
            if type(self).runs >= when:
                raise ZeroDivisionError("out of something")
            return x

    model = Functional().train()
    model.fc = Fails()
    before = snapshot(model)
    with (
        pytest.raises(ZeroDivisionError, match="out of something"),
        rerunning(model, find_layers(model, "late")[0], inputs),
    ):
        pass
    assert snapshot(model) == before


def test_two_layers_of_a_model_may_be_rerun_side_by_side(inputs: Tensor) -> None:
    model = Shared().eval()
    before = snapshot(model)
    places = find_layers(model, ["conv#1", "block#1"])
    with (
        rerunning(model, places[0], inputs) as one,
        rerunning(model, places[1], inputs) as other,
    ):
        for _ in range(2):
            for rerun, name, call in ((one, "conv", 1), (other, "block", 1)):
                versions = changed(rerun.activations)
                got = rerun(versions)
                with torch.no_grad():
                    torch.testing.assert_close(model(inputs), rerun.outputs)
                wanted = whole(model, name, inputs, versions, call)
                torch.testing.assert_close(got, torch.cat(wanted))
                assert rerun.exact
    assert snapshot(model) == before


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiled_model_is_rerun_eagerly(inputs: Tensor) -> None:
    model = Functional().eval()
    layer = find_layers(model, "block.first")[0]
    with rerunning(model, layer, inputs) as rerun:
        versions = changed(rerun.activations)
        wanted = rerun(versions)
    compiled = torch.compile(copy.deepcopy(model), backend="eager")
    part = copy.deepcopy(model)
    part.side = torch.compile(part.side, backend="eager")
    part.block.compile(backend="eager")
    for one in (compiled, part):
        with torch.no_grad():
            one(inputs)
        with rerunning(one, find_layers(one, "block.first")[0], inputs) as rerun:
            torch.testing.assert_close(rerun(versions), wanted)
            assert rerun.exact


def test_torchscript_is_refused_with_a_reason(inputs: Tensor) -> None:
    class Scripted(torch.jit.ScriptModule):
        pass

    model = Scripted()
    with (
        pytest.raises(ModelError, match="TorchScript"),
        rerunning(model, Layer("", model), inputs),
    ):
        pass


def test_many_threads_rerun_one_model_while_others_run_it(inputs: Tensor) -> None:
    model = Functional(inplace=True).train()
    names = ["stem", "block.first", "late"]
    pictures = {name: torch.randn(1, 3, 8, 8) for name in names}
    wanted = {}
    for name in names:
        with rerunning(model, find_layers(model, name)[0], pictures[name]) as rerun:
            wanted[name] = rerun(changed(rerun.activations))
    before = [module.training for module in model.modules()]
    model.eval()
    with torch.no_grad():
        plain = model(inputs.clone())
    failures: list[str] = []

    def work(name: str) -> None:
        for _ in range(15):
            with rerunning(model, find_layers(model, name)[0], pictures[name]) as rerun:
                got = rerun(changed(rerun.activations))
            if not (rerun.exact and torch.allclose(got, wanted[name], atol=1e-5)):
                failures.append(name)

    def run() -> None:
        for _ in range(60):
            with torch.no_grad():
                if not torch.allclose(model(inputs.clone()), plain, atol=1e-5):
                    failures.append("plain")

    threads = [threading.Thread(target=work, args=(name,)) for name in [*names, *names]]
    threads.append(threading.Thread(target=run))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert all(before)
    assert not any("forward" in module.__dict__ for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())


@given(count=st.integers(0, 12), at_once=st.integers(1, 20))
@settings(max_examples=30, deadline=None)
def test_results_do_not_depend_on_how_many_run_at_once(count: int, at_once: int) -> None:
    sizes: list[int] = []

    def run(versions: Tensor) -> Tensor:
        sizes.append(len(versions))
        return versions * 2

    got = in_chunks(run, count, lambda which: which[:, None] + 0.5, at_once=at_once)
    assert torch.equal(got, 2 * torch.arange(count)[:, None] + 1.0)
    assert max(sizes) <= at_once


def test_reruns_do_not_depend_on_how_many_run_at_once(inputs: Tensor) -> None:
    model = Functional(inplace=True).eval()
    with rerunning(model, find_layers(model, "block.first")[0], inputs) as rerun:
        versions = changed(rerun.activations, 11)
        wanted = rerun(versions)
        for at_once in (1, 2, 4, 11, 50):
            got = in_chunks(rerun, 11, lambda which: versions[which], at_once=at_once)
            torch.testing.assert_close(got, wanted)


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("MPS backend out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
    MemoryError(),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda e: str(e)[:20] or "MemoryError")
def test_the_chunk_is_halved_for_good_when_memory_runs_out(
    error: Exception, inputs: Tensor
) -> None:
    assert is_out_of_memory(error)
    sizes: list[int] = []

    class Memory(nn.Module):
        fits = 100

        def forward(self, x: Tensor) -> Tensor:
            sizes.append(len(x))
            if len(x) > self.fits:
                raise error
            return x

    model = Functional().eval()
    model.fc = nn.Sequential(model.fc, Memory())
    with rerunning(model, find_layers(model, "late")[0], inputs) as rerun:
        versions = changed(rerun.activations, 13)
        wanted = rerun(versions)
        sizes.clear()
        model.fc[1].fits = 4  # three versions and the unchanged one
        got = in_chunks(rerun, 13, lambda which: versions[which], at_once=8)
        torch.testing.assert_close(got, wanted)
        assert rerun.exact
        assert sizes == [9, 5, 3, 3, 3, 3, 3, 3, 2]
        model.fc[1].fits = 1
        with pytest.raises(MethodError, match="a single version of the image"):
            in_chunks(rerun, 13, lambda which: versions[which], at_once=8)
        model.fc[1].fits = 100
        torch.testing.assert_close(rerun(versions), wanted)


def test_memory_that_runs_out_while_the_versions_are_made_halves_too() -> None:
    def make(which: Tensor) -> Tensor:
        if len(which) > 2:
            raise OUT_OF_MEMORY[0]
        return which

    assert in_chunks(lambda v: v, 7, make, at_once=100).tolist() == list(range(7))


def test_other_errors_are_no_lack_of_memory() -> None:
    def run(versions: Tensor) -> Tensor:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        in_chunks(run, 3, lambda which: which, at_once=2)
    assert not is_out_of_memory(ValueError("out of memory"))
    with pytest.raises(MethodError, match="at least 1"):
        in_chunks(run, 3, lambda which: which, at_once=0)


def test_no_warning_where_nothing_is_wrong(inputs: Tensor) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(Functional(inplace=True).eval(), "block", inputs)
