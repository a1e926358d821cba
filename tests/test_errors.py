"""docs/errors.md: every message on the page is the one that comes."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import seewhy
from seewhy.errors import SeewhyError

PAGE = Path(__file__).resolve().parent.parent / "docs" / "errors.md"
IMAGE = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def network(classes: int = 5) -> nn.Sequential:
    parts: dict[str, nn.Module] = {}
    for number, channels in enumerate((3, 8, 16), start=1):
        conv = nn.Conv2d(channels, 8 * number, 3, padding=1, stride=2)
        parts[f"layer{number}"] = nn.Sequential(conv, nn.ReLU())
    parts |= {"pool": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten(), "fc": nn.Linear(24, classes)}
    return nn.Sequential(OrderedDict(parts)).eval()


class Made(nn.Module):
    """A network with its parts by name, and a forward that is a function of it and its inputs."""

    def __init__(self, forward: Callable[..., Any], **parts: nn.Module) -> None:
        super().__init__()
        self.work = forward
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, *inputs: Tensor) -> Any:
        return self.work(self, *inputs)


def twice(self: Any, x: Tensor) -> Tensor:
    return self.fc(self.relu(self.conv2(self.relu(self.conv1(x)))).mean((2, 3)))


def detached(self: Any, x: Tensor) -> Tensor:
    return self.fc(self.backbone(x).detach().mean((2, 3)))


def in_windows(self: Any, x: Tensor) -> Tensor:
    windows = x.view(1, 3, 2, 16, 2, 16).permute(0, 2, 4, 1, 3, 5).reshape(4, 3, 16, 16)
    return self.fc(self.block(windows).mean((2, 3)).mean(0, keepdim=True))


def transformer() -> nn.Module:
    vit = pytest.importorskip("torchvision.models.vision_transformer")
    made = vit.VisionTransformer(
        image_size=32,
        patch_size=8,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        mlp_dim=32,
        num_classes=5,
    )
    nn.init.normal_(made.heads.head.weight)  # zero as it comes
    return made


def against_everything() -> nn.Module:
    model = network()
    nn.init.constant_(model.fc.weight, -1.0)
    return model


def not_a_number() -> nn.Module:
    model = network()
    nn.init.constant_(model.fc.bias, torch.nan)
    return model


def out_of_memory(self: Any, x: Tensor) -> Tensor:
    if not torch.equal(x, IMAGE):
        raise torch.OutOfMemoryError("CUDA out of memory")
    return self.inner(x)


def under_inference_mode() -> nn.Module:
    with torch.inference_mode():
        return network()


def saved_program(folder: Path) -> Path:
    program = torch.export.export(network(), (IMAGE,))
    torch.export.save(program, folder / "program.pt2")
    return Path("program.pt2")


def fails(model: Callable[[], Any], inputs: Any = IMAGE, target: Any = None, **given: Any) -> Any:
    return lambda: seewhy.attribute(model(), inputs, target, **given)


def warns(model: Callable[[], Any], **given: Any) -> Any:
    return lambda: seewhy.explain(model(), IMAGE[0], **given).warnings


CASES: dict[str, Callable[[], Any]] = {
    "The layer is not found": fails(network, layer="layer4"),
    "The layer has no map": fails(network, layer="fc"),
    "The layer runs more than once": fails(
        lambda: Made(
            twice,
            conv1=nn.Conv2d(3, 4, 3),
            relu=nn.ReLU(),
            conv2=nn.Conv2d(4, 4, 3),
            fc=nn.Linear(4, 2),
        ),
        layer="relu",
    ),
    "The layer gives several tensors": fails(
        lambda: Made(
            lambda self, x: self.fc(sum(self.backbone(x)).mean((2, 3))),
            backbone=Made(lambda self, x: (self.conv(x), -self.conv(x)), conv=nn.Conv2d(3, 4, 1)),
            fc=nn.Linear(4, 2),
        ),
        layer="backbone",
    ),
    "The layer gives windows": fails(
        lambda: Made(in_windows, block=nn.Conv2d(3, 4, 3), fc=nn.Linear(4, 2)), layer="block"
    ),
    "There is no gradient": fails(
        lambda: Made(detached, backbone=nn.Conv2d(3, 4, 3), fc=nn.Linear(4, 2)), layer="backbone"
    ),
    "The pixels have no gradient": fails(
        lambda: Made(detached, backbone=nn.Conv2d(3, 4, 3), fc=nn.Linear(4, 2)), method="saliency"
    ),
    "The gradient is zero: the class token alone is read": warns(
        transformer, layer="encoder.layers.encoder_layer_1"
    ),
    "The map is zero": warns(against_everything, target=1, method="layer-cam"),
    "It is not clear which output": fails(
        lambda: Made(
            lambda self, x: {"kind": self.kind(x), "age": self.age(x)},
            kind=network(),
            age=network(3),
        )
    ),
    "The model gives one number": fails(lambda: network(1)),
    "It is not clear which input": fails(
        lambda: Made(lambda self, a, b: self.net(a) + self.net(b), net=network()), (IMAGE, IMAGE)
    ),
    "The batch axis is missing": fails(network, IMAGE[0]),
    "The class is not there": fails(network, target=5),
    "There are no labels": fails(network, target="tabby"),
    "NaN": fails(not_a_number),
    "Memory ran out": fails(lambda: Made(out_of_memory, inner=network()), method="rise", masks=4),
    "The network does not repeat itself": fails(
        lambda: Made(lambda self, x: self.net(x) + torch.rand(len(x), 5), net=network()),
        method="recipro-cam",
        layer="net.layer3",
    ),
    "The model was built under inference_mode": fails(under_inference_mode, layer="layer3"),
    "TorchScript": fails(lambda: torch.jit.script(network()), layer="layer3"),
    "TorchScript and guided backpropagation": fails(
        lambda: torch.jit.script(network()), method="guided-backprop"
    ),
    "An exported program's module": fails(
        lambda: torch.export.export(network(), (IMAGE,)).module(), layer="layer3"
    ),
    "An exported program and its batch": fails(
        lambda: torch.export.export(network(), (IMAGE,)), torch.cat([IMAGE] * 3), layer="layer3"
    ),
    "The file holds a program": lambda: seewhy.load_model(saved_program(Path())),
    "The preprocessing is assumed": warns(network),
}


def messages() -> dict[str, str]:
    """The page's messages by their headings."""
    found = re.findall(r"^## (.+?)\n+```text\n(.+?)\n```", PAGE.read_text("utf-8"), re.M | re.S)
    return {heading: " ".join(message.split()) for heading, message in found}


def test_the_page_has_a_case_for_each_heading() -> None:
    assert list(messages()) == list(CASES)
    assert PAGE.read_text("utf-8").count("\n## ") == len(CASES)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("heading", CASES)
def test_the_message_is_the_one_that_comes(
    heading: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    says = messages()[heading]
    if says.startswith("warning: "):
        assert says.removeprefix("warning: ") in CASES[heading]()
        return
    with pytest.raises(SeewhyError) as error:
        CASES[heading]()
    assert " ".join(f"{type(error.value).__name__}: {error.value}".split()) == says
