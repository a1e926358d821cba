"""What surrounds a model (compiled, wrapped, exported, scripted, int8) against the model alone.

The table in docs/environments.md is what is tested: every cell of it, on a CNN and on a
transformer.
"""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import seewhy
from seewhy.errors import ModelError, SeewhyError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "environments.md"

COLUMNS = {
    "gradient at a layer": ("grad-cam", "layer-cam"),
    "activations of a layer": ("eigen-cam", "score-cam"),
    "rerun from a layer": ("recipro-cam", "ablation-cam"),
    "picture changed": ("rise", "occlusion"),
    "gradient of the pixels": ("saliency", "integrated-gradients"),
    "operations one by one": ("guided-backprop", "full-grad"),
}
OPTIONS: dict[str, Any] = {
    "rise": {"masks": 16},
    "integrated-gradients": {"steps": 4},
    "occlusion": {"window": 16, "stride": 16},
}

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
    # What PyTorch says of its own quantisation.
    pytest.mark.filterwarnings("ignore:(?s).*(quantize_per_tensor|quant_min and quant_max)"),
]


IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


class Block(nn.Module):
    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 3, padding=1, stride=2)
        self.bn = nn.BatchNorm2d(out)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.bn(self.conv(x)))


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = Block(3, 8)
        self.body = nn.Sequential(Block(8, 16), Block(16, 16))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.body(self.stem(x))).flatten(1))


@cache
def network(kind: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if kind == "cnn":
            small = Small()
            for module in small.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.momentum = None  # statistics of the images: maps of usual size
            small(IMAGES)
            nn.init.normal_(small.head.weight)
            return small.eval()
        vit = pytest.importorskip("torchvision.models.vision_transformer")
        made = vit.VisionTransformer(
            image_size=64, patch_size=16, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32,
            num_classes=5,
        )  # fmt: skip
        nn.init.normal_(made.heads.head.weight)  # zero as it comes
        return made.eval()


LAYERS = {"cnn": "body", "vit": "encoder.layers.encoder_layer_1.ln_1"}


def maps(model: Any, method: str, kind: str, images: Tensor = IMAGES[:1]) -> Tensor:
    looks_at_layer = any(method in COLUMNS[name] for name in list(COLUMNS)[:3])
    inside = "network." if isinstance(model, (Lightning, Quantised)) else ""
    given = {"layer": inside + LAYERS[kind]} if looks_at_layer else {}
    return seewhy.attribute(model, images, 1, method=method, **given, **OPTIONS.get(method, {}))


@cache
def eager_maps(method: str, kind: str) -> Tensor:
    return maps(network(kind), method, kind)


class Lightning(nn.Module):
    """As a LightningModule: the network in an attribute, steps beside forward."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)

    def training_step(self, batch: Any, number: int) -> Tensor:
        raise AssertionError("it is not to be trained")

    def train(self, mode: bool = True) -> nn.Module:
        assert not mode, "it is not to be trained"
        return super().train(mode)


def compiled(model: nn.Module) -> Any:
    return torch.compile(copy.deepcopy(model), backend="eager", fullgraph=True)


def compiled_parts(model: nn.Module) -> Any:
    model = copy.deepcopy(model)
    for name, part in list(model.named_children()):
        setattr(model, name, torch.compile(part, backend="eager"))
    return model


def exported(model: nn.Module) -> Any:
    batch = torch.export.Dim("batch", max=1024)
    return torch.export.export(model, (IMAGES,), dynamic_shapes=({0: batch},))


def exported_for_one(model: nn.Module) -> Any:
    return torch.export.export(model, (IMAGES[:1],))


def quantised_weights(model: nn.Module) -> Any:
    from torch.ao.quantization import quantize_dynamic

    return quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)


class Quantised(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        from torch.ao.quantization import DeQuantStub, QuantStub

        self.quant, self.dequant = QuantStub(), DeQuantStub()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.dequant(self.network(self.quant(x)))


def quantised(model: nn.Module) -> Any:
    from torch.ao import quantization

    assert isinstance(model, Small)  # PyTorch has no integer attention
    if "x86" not in torch.backends.quantized.supported_engines:
        pytest.skip("this PyTorch has no integer arithmetic for this processor")
    made = Quantised(copy.deepcopy(model)).eval()
    made.qconfig = quantization.get_default_qconfig("x86")
    blocks = ("network.stem", "network.body.0", "network.body.1")
    parts = [[f"{block}.{part}" for part in ("conv", "bn", "relu")] for block in blocks]
    quantization.fuse_modules(made, parts, inplace=True)
    quantization.prepare(made, inplace=True)
    made(IMAGES)
    return quantization.convert(made, inplace=True)


def distributed(wrap: Callable[[nn.Module], nn.Module]) -> Callable[[nn.Module], Any]:
    def make(model: nn.Module) -> Any:
        if not torch.distributed.is_available():
            pytest.skip("this PyTorch has no distributed training")
        if not torch.distributed.is_initialized():
            store = torch.distributed.HashStore()
            torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
        return wrap(copy.deepcopy(model))

    return make


def sharded(model: nn.Module) -> nn.Module:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
    return model


ENVIRONMENTS: dict[str, Callable[[nn.Module], Any]] = {
    "`torch.compile(model)`": compiled,
    "compiled parts": compiled_parts,
    "`nn.DataParallel`": lambda model: nn.DataParallel(copy.deepcopy(model)),
    "`DistributedDataParallel`": distributed(nn.parallel.DistributedDataParallel),
    "FSDP (`fully_shard`)": distributed(sharded),
    "Lightning module": Lightning,
    "bfloat16": lambda model: copy.deepcopy(model).bfloat16(),
    "`torch.export`, dynamic batch": exported,
    "`torch.export`, fixed batch": exported_for_one,
    "`program.module()`": lambda model: exported(model).module(),
    "TorchScript, scripted": torch.jit.script,
    # Its check runs attention's fused inference code, which is another graph.
    "TorchScript, traced": lambda model: torch.jit.trace(model, IMAGES, check_trace=False),
    "TorchScript, frozen": lambda model: torch.jit.freeze(torch.jit.script(model)),
    "int8 weights (`quantize_dynamic`)": quantised_weights,
    "int8 throughout (`convert`)": quantised,
}
APPROXIMATE = ("bfloat16", "int8")


@pytest.fixture(scope="module", autouse=True)
def _no_process_group_is_left() -> Iterator[None]:
    yield
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@cache
def made(environment: str, kind: str) -> Any:
    return ENVIRONMENTS[environment](network(kind))


def table() -> dict[str, dict[str, str]]:
    """The page's table: by environment and kind of method, what a cell says."""
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in PAGE.read_text("utf-8").splitlines()
        if line.startswith("|")
    ]
    return {row[0]: dict(zip(rows[0][1:], row[1:], strict=True)) for row in rows[2:]}


def footnotes() -> dict[str, str]:
    """What errors say for each word that a cell may hold."""
    return dict(
        re.findall(r"^- \*\*(.+?)\*\*: the error says\s`(.+?)`", PAGE.read_text("utf-8"), re.M)
    )


def test_the_table_has_every_environment_and_kind_of_method() -> None:
    assert list(table()) == list(ENVIRONMENTS)
    assert all(list(row) == list(COLUMNS) for row in table().values())


CELLS = [
    (environment, column, kind)
    for environment, make in ENVIRONMENTS.items()
    for column in COLUMNS
    for kind in ("cnn", "vit")
    if not (make is quantised and kind == "vit")  # PyTorch has no integer attention
]


@pytest.mark.parametrize(("environment", "column", "kind"), CELLS)
def test_each_cell_of_the_table_is_so(environment: str, column: str, kind: str) -> None:
    says = table()[environment][column]
    model = made(environment, kind)
    for method in COLUMNS[column]:
        if says == "yes":
            _agrees(maps(model, method, kind), method, kind, environment)
        elif says == "one by one":
            with pytest.warns(UserWarning, match="one version at a time"):
                got = maps(model, method, kind)
            _agrees(got, method, kind, environment)
        elif says == "yes, or in full":
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", ".*the whole network is run for each version")
                got = maps(model, method, kind)
            _agrees(got, method, kind, environment)
        else:
            with pytest.raises(SeewhyError) as error:
                maps(model, method, kind)
            assert footnotes()[says] in " ".join(str(error.value).split())


def _agrees(got: Tensor, method: str, kind: str, environment: str) -> None:
    """Equal to the model alone; where the arithmetic is another, almost proportional to it."""
    wanted = eager_maps(method, kind)
    if environment.startswith(APPROXIMATE):
        pair = torch.stack([got.flatten(), wanted.flatten()])
        assert torch.corrcoef(pair)[0, 1] > 0.8, method
    else:
        torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-5 * float(wanted.abs().max()))


def test_a_program_with_a_fixed_batch_takes_any_number_where_no_layer_is_looked_at() -> None:
    program = made("`torch.export`, fixed batch", "cnn")
    images = torch.cat([IMAGES, IMAGES.flip(3)])[:3]
    for method in ("rise", "saliency", "integrated-gradients"):
        wanted = maps(network("cnn"), method, "cnn", images)
        torch.testing.assert_close(maps(program, method, "cnn", images), wanted)
    three = torch.export.export(network("cnn"), (images,))  # a last part of one is filled up
    images = torch.cat([images, IMAGES[1:]])
    wanted = maps(network("cnn"), "saliency", "cnn", images)
    torch.testing.assert_close(maps(three, "saliency", "cnn", images), wanted)


class WithMetadata(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = copy.deepcopy(network("cnn"))
        self.age = nn.Linear(1, 5)

    def forward(self, image: Tensor, age: Tensor) -> Tensor:
        return self.network(image) * self.age(age)


def test_a_program_with_a_fixed_batch_keeps_each_images_other_inputs() -> None:
    model, ages = WithMetadata().eval(), torch.tensor([[1.0], [-3.0]])
    program = torch.export.export(model, (IMAGES[:1], ages[:1]))
    for method in ("rise", "saliency"):
        given = {"method": method, **OPTIONS.get(method, {})}
        got, wanted = (
            seewhy.attribute(one, (IMAGES, ages), (1, 3), **given) for one in (program, model)
        )
        torch.testing.assert_close(got, wanted)


def test_a_program_proposes_the_layer_that_its_model_does() -> None:
    for kind in LAYERS:
        got = seewhy.attribute(made("`torch.export`, dynamic batch", kind), IMAGES, 1)
        torch.testing.assert_close(got, seewhy.attribute(network(kind), IMAGES, 1))


def test_a_program_exported_in_training_mode_is_refused() -> None:
    for part in (nn.BatchNorm2d(4), nn.Dropout(0.1)):
        model = nn.Sequential(nn.Conv2d(3, 4, 3), part).train()
        program = torch.export.export(model, (IMAGES,))
        with pytest.raises(ModelError, match=r"in training mode.*model\.eval\(\)"):
            seewhy.attribute(program, IMAGES, 1)


def test_what_is_no_model_is_named() -> None:
    with pytest.raises(ModelError, match=r"model must be a torch\.nn\.Module.* not a dict"):
        seewhy.attribute({}, IMAGES)


def test_a_scripted_part_leaves_the_layers_around_it() -> None:
    model = copy.deepcopy(network("cnn"))
    model.stem, model.head = torch.jit.script(model.stem), torch.jit.script(model.head)
    for method in ("grad-cam", "eigen-cam", "recipro-cam", "saliency"):
        _agrees(maps(model, method, "cnn"), method, "cnn", "scripted parts")
    torch.testing.assert_close(
        seewhy.attribute(model, IMAGES, 1), seewhy.attribute(network("cnn"), IMAGES, 1)
    )
    with pytest.raises(ModelError, match="the part with this layer, is TorchScript"):
        seewhy.attribute(model, IMAGES, 1, layer="stem")


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("kind", ["cnn", "vit"])
def test_every_method_works_under_the_callers_no_grad_and_inference_mode(mode, kind: str) -> None:
    for method in (method for some in COLUMNS.values() for method in some):
        wanted = eager_maps(method, kind)
        with mode():
            got = maps(network(kind), method, kind, IMAGES[:1].clone())
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("method", ["grad-cam", "eigen-cam", "recipro-cam", "saliency"])
def test_tokens_under_autocast_and_from_channels_last_pictures(method: str) -> None:
    images = IMAGES[:1].to(memory_format=torch.channels_last)
    _agrees(maps(network("vit"), method, "vit", images), method, "vit", "channels last")
    with torch.autocast("cpu", torch.bfloat16):
        got = maps(network("vit"), method, "vit")
    assert not torch.equal(got, eager_maps(method, "vit")), "autocast was not followed"
    _agrees(got, method, "vit", "bfloat16")


def test_a_quantised_skip_does_not_pass_for_the_whole_gradient() -> None:
    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.mix, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 4), Head()

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x).mean((2, 3))
            return self.head(x + self.mix(x))

    class Head(nn.Linear):  # of another class: left in float
        def __init__(self) -> None:
            super().__init__(4, 3)

    model = quantised_weights(Skip().eval())
    assert type(model.head) is Head
    for given in ({"layer": "conv"}, {"method": "saliency"}):
        with pytest.raises(SeewhyError, match="a quantised part"):
            seewhy.attribute(model, IMAGES, 1, **given)


def test_a_real_lightning_module_in_its_validation_loop() -> None:
    lightning = pytest.importorskip("pytorch_lightning")
    seen = {}

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = copy.deepcopy(network("cnn"))

        def forward(self, x: Tensor) -> Tensor:
            return self.network(x)

        def validation_step(self, batch: list[Tensor], number: int) -> None:
            for method in ("grad-cam", "recipro-cam", "saliency"):
                seen[method] = seewhy.attribute(self, batch[0], 1, method=method)

    trainer = lightning.Trainer(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False
    )
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(IMAGES[:1]))
    trainer.validate(Module(), data, verbose=False)
    for method, got in seen.items():
        wanted = seewhy.attribute(network("cnn"), IMAGES[:1], 1, method=method)
        torch.testing.assert_close(got, wanted)
    assert len(seen) == 3


# Heads behind a CNN.


class Recurrent(nn.Module):
    """Rows of the map one after the other through a recurrent layer, as text recognisers do."""

    def __init__(self, layer: type[nn.RNNBase]) -> None:
        super().__init__()
        self.cnn = nn.Sequential(Block(3, 8), Block(8, 8))
        self.rnn = layer(8, 6, num_layers=2, dropout=0.5, batch_first=True, bidirectional=True)
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        rows, _ = self.rnn(self.cnn(x).mean(3).transpose(1, 2))
        return self.head(rows[:, -1])


class GatedAttention(nn.Module):
    """Attention-based multiple instance learning (Ilse 2018): positions weighted by a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.Sequential(Block(3, 8), Block(8, 8))
        self.value, self.gate = nn.Linear(8, 6), nn.Linear(8, 6)
        self.weight, self.head = nn.Linear(6, 1), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        bag = self.cnn(x).flatten(2).transpose(1, 2)
        gated = self.value(bag).tanh() * self.gate(bag).sigmoid()
        attention = self.weight(gated).softmax(1)
        return {"logits": self.head((attention * bag).sum(1)), "attention": attention}


@pytest.mark.parametrize(
    "make", [lambda: Recurrent(nn.LSTM), lambda: Recurrent(nn.GRU), GatedAttention]
)
def test_recurrent_and_gated_heads(make: Callable[[], nn.Module]) -> None:
    """Grad-CAM and Recipro-CAM against gradients and masked maps taken by hand."""
    model = make().eval()
    got = seewhy.attribute(model, IMAGES, 2, layer="cnn")
    if isinstance(model, Recurrent):
        torch.testing.assert_close(seewhy.attribute(model, IMAGES, 2), got)

    def tail(activations: Tensor) -> Tensor:
        cnn, model.cnn = model.cnn, nn.Identity()
        try:
            outputs = model(activations)
        finally:
            model.cnn = cnn
        return (outputs["logits"] if isinstance(outputs, dict) else outputs)[:, 2]

    activations = model.cnn(IMAGES).detach().requires_grad_()
    (gradients,) = torch.autograd.grad(tail(activations).sum(), activations)
    wanted = (gradients.mean((2, 3), keepdim=True) * activations).sum(1).relu()
    torch.testing.assert_close(got, wanted)

    got = seewhy.attribute(model, IMAGES[:1], 2, layer="cnn", method="ablation-cam")
    with torch.no_grad():
        first = activations[:1]
        score, without = tail(first), []
        for channel in range(first.shape[1]):
            ablated = first.clone()
            ablated[:, channel] = 0
            without.append(score - tail(ablated))
        weights = torch.cat(without) / score.abs()
    ratio = (weights[None, :, None, None] * first).sum(1).relu()
    assert torch.corrcoef(torch.stack([got.flatten(), ratio.flatten()]))[0, 1] > 0.999
    assert seewhy.attribute(model, IMAGES, 2, layer="cnn", method="recipro-cam").shape[0] == 2


def test_a_recurrent_layer_on_cudnn_has_a_gradient_and_no_dropout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from seewhy.models import undisturbed

    model = Recurrent(nn.LSTM).train()
    model.cnn.eval()
    states = []
    model.rnn.register_forward_pre_hook(lambda rnn, _: states.append((rnn.training, rnn.dropout)))
    wanted = seewhy.attribute(model, IMAGES, 2, layer="cnn")
    assert set(states) == {(False, 0.5)}
    states.clear()
    monkeypatch.setattr(undisturbed, "_runs_on_cudnn", lambda module: True)
    torch.testing.assert_close(seewhy.attribute(model, IMAGES, 2, layer="cnn"), wanted)
    assert set(states) == {(True, 0.0)}
    assert (model.rnn.training, model.rnn.dropout, model.cnn.training) == (True, 0.5, False)
    model.eval()
    seewhy.attribute(model, IMAGES, 2, layer="cnn")
    assert (model.rnn.training, model.rnn.dropout) == (False, 0.5)


@pytest.mark.gpu
def test_a_recurrent_head_on_a_gpu() -> None:
    model = Recurrent(nn.GRU).eval()
    wanted = seewhy.attribute(model, IMAGES, 2, layer="cnn")
    got = seewhy.attribute(model.cuda(), IMAGES, 2, layer="cnn")
    torch.testing.assert_close(got.cpu(), wanted, rtol=1e-2, atol=1e-4)
