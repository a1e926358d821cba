"""Input times gradient and every bias times its gradient add up to the score."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seewhy.models.bias_gradients import BiasGradients


def decomposed(model: nn.Module, images: Tensor, index: int = 1) -> tuple[Tensor, list[Tensor]]:
    """Each image's score less all parts, and the parts."""
    inputs = images.clone().requires_grad_()
    with BiasGradients() as seen:
        scores = model(inputs.clone())[:, index]
        (gradients,) = torch.autograd.grad(scores.sum(), inputs)
    rest = scores.detach() - (images * gradients).flatten(1).sum(1)
    for part in seen.parts:
        rest = rest - part.reshape(len(images), -1).sum(1)
    return rest / scores.detach().abs(), seen.parts


def unsettled(model: nn.Module) -> nn.Module:
    """Statistics and biases as training leaves them; fresh ones are 0 and 1 and hide mistakes."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            if module.running_mean is not None:
                module.running_mean.normal_(0, 0.5)
                module.running_var.uniform_(0.5, 2)
            if module.weight is not None:
                module.weight.data.uniform_(0.5, 1.5)
                module.bias.data.normal_(0, 0.3)
        elif isinstance(getattr(module, "bias", None), nn.Parameter):
            module.bias.data.normal_(0, 0.1)
    return model.double().eval()


def images(count: int = 2, size: int = 9) -> Tensor:
    generator = torch.Generator().manual_seed(81)
    return torch.randn(count, 3, size, size, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "biases"),
    [("resnet18", 21), ("vgg11", 11), ("densenet121", 122), ("mobilenet_v2", 88)],
)
def test_the_parts_add_up_on_torchvisions_networks(name: str, biases: int) -> None:
    """The last has ReLU6, at whose ceiling 6 is a bias."""
    models = pytest.importorskip("torchvision.models")
    rest, parts = decomposed(unsettled(getattr(models, name)(weights=None)), images(2, 64))
    assert len(parts) == biases
    assert rest.abs().max() < 1e-9


def test_the_parts_add_up_where_a_module_is_normalisation_and_activation_in_one() -> None:
    timm = pytest.importorskip("timm")
    model = unsettled(timm.create_model("efficientnet_lite0", pretrained=False))
    rest, _ = decomposed(model, images(2, 64))
    assert rest.abs().max() < 1e-9


@pytest.mark.parametrize("dimensions", [1, 3])
def test_the_parts_add_up_on_signals_and_volumes(dimensions: int) -> None:
    conv = {1: nn.Conv1d, 3: nn.Conv3d}[dimensions]
    norm = {1: nn.BatchNorm1d, 3: nn.BatchNorm3d}[dimensions]
    pool = {1: nn.MaxPool1d, 3: nn.MaxPool3d}[dimensions]
    model = unsettled(
        nn.Sequential(
            conv(2, 4, 3, padding=1), norm(4), nn.SiLU(), pool(2), conv(4, 3, 2), nn.ReLU6(),
            nn.Flatten(), nn.LazyLinear(5), nn.Tanh(), nn.Linear(5, 2),
        )
    )  # fmt: skip
    values = torch.randn(3, 2, *(6,) * dimensions, dtype=torch.float64)
    model(values)
    rest, parts = decomposed(unsettled(model), values)
    assert rest.abs().max() < 1e-9
    found = [tuple(part.shape[1:]) for part in parts]
    large, small = (4, *(6,) * dimensions), (3, *(2,) * dimensions)
    # In the order in which gradients reach them: the last layer's first.
    assert found == [(2,), (5,), (5,), small, small, large, large, large]


def test_positions_are_known_of_no_activation_function_between_maps_of_the_last_dimension() -> None:
    """(batch, positions, channels): only the linear map says that its channels lie last."""
    tokens = nn.Sequential(nn.Linear(4, 6), nn.SiLU(), nn.Linear(6, 2))
    signal = torch.randn(2, 4, 5, dtype=torch.float64)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.act = tokens, nn.SiLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.act(self.tokens(x.mT).sum(1))

    rest, parts = decomposed(unsettled(Model()), signal)
    assert rest.abs().max() < 1e-9
    assert [tuple(part.shape) for part in parts] == [(2, 2), (2, 2, 5), (2, 30), (2, 6, 5)]


def test_without_biases_the_input_is_all() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(), nn.Conv2d(4, 5, 2, stride=2, bias=False),
        nn.LeakyReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(5, 3, bias=False),
    ).double()  # fmt: skip
    rest, parts = decomposed(model, images(2, 7))
    assert parts == []
    assert rest.abs().max() < 1e-12


def test_parts_by_hand() -> None:
    """f = 2 relu(3 x + 1) + 5 at x = 2 and -2: 12 + 2 + 5 = 19, and 0 + 0 + 5."""
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(1, 1))
    values = [3.0, 1.0, 2.0, 5.0]
    for parameter, value in zip(model.parameters(), values, strict=True):
        nn.init.constant_(parameter, value)
    rest, parts = decomposed(model, torch.tensor([[[[2.0]]], [[[-2.0]]]]), 0)
    assert rest.tolist() == [0, 0]
    assert [part.flatten().tolist() for part in parts] == [[5, 5], [2, 0]]


def test_a_batch_normalisation_by_hand() -> None:
    """(x - 3)/2 * 4 + 1 = 2 x - 5: the bias is 1 - 3 * 4/2."""
    norm = nn.BatchNorm2d(1, eps=0.0).eval()
    for tensor, value in [
        (norm.running_mean, 3.0), (norm.running_var, 4.0), (norm.weight, 4.0), (norm.bias, 1.0)
    ]:  # fmt: skip
        nn.init.constant_(tensor, value)
    model = nn.Sequential(norm, nn.Flatten())
    rest, parts = decomposed(model, torch.tensor([[[[7.0]]]]), 0)
    assert rest.tolist() == [0]
    assert parts[0].flatten().tolist() == [-5]


@pytest.mark.parametrize(
    "activation",
    [
        nn.ReLU6(), nn.ReLU6(inplace=True), nn.SiLU(), nn.SiLU(inplace=True), nn.GELU(),
        nn.GELU("tanh"), nn.Hardswish(), nn.Hardsigmoid(), nn.Sigmoid(), nn.Tanh(), nn.ELU(),
        nn.SELU(), nn.CELU(), nn.Mish(), nn.Softplus(), nn.Softsign(), nn.LogSigmoid(),
        nn.Threshold(0.1, 2.0), nn.Hardtanh(-0.3, 0.4), nn.PReLU(), nn.LeakyReLU(0.2),
    ],
    ids=repr,
)  # fmt: skip
def test_activation_functions_have_their_own_bias(activation: nn.Module) -> None:
    model = unsettled(
        nn.Sequential(nn.Conv2d(3, 4, 3), activation, nn.Flatten(), nn.Linear(4 * 49, 3))
    )
    rest, parts = decomposed(model, images())
    assert rest.abs().max() < 1e-10
    homogeneous = isinstance(activation, (nn.PReLU, nn.LeakyReLU))
    assert len(parts) == (2 if homogeneous else 3)


class Forward(nn.Module):
    def __init__(self, forward: Callable[[Forward, Tensor], Tensor], **modules: nn.Module) -> None:
        super().__init__()
        self.function = forward
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def shared(self: Forward, x: Tensor) -> Tensor:
    x = self.conv(x).relu_()
    x = self.norm(self.conv(self.norm(x))).clamp(max=0.7)
    return self.fc(x.flatten(1))


def functional(self: Forward, x: Tensor) -> Tensor:
    x = F.conv2d(input=x, weight=self.conv.weight, bias=self.conv.bias)
    mean, var = self.norm.running_mean, self.norm.running_var
    x = F.batch_norm(x, mean, var, self.norm.weight, self.norm.bias)
    x = torch.batch_norm(x, None, None, mean, var, False, 0.1, 1e-5, False)
    return F.linear(F.relu(x, inplace=True).flatten(1), self.fc.weight, bias=self.fc.bias)


def channels_last(self: Forward, x: Tensor) -> Tensor:
    x = F.gelu(self.mix(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
    return self.fc(self.conv(x).flatten(1))


def transposed(self: Forward, x: Tensor) -> Tensor:
    x = F.conv_transpose2d(self.conv(x), self.conv.weight, self.conv.weight.sum((0, 2, 3)))
    return self.fc(self.conv(x).flatten(1))


@pytest.mark.parametrize(
    ("forward", "count"), [(shared, 6), (functional, 4), (channels_last, 4), (transposed, 4)]
)
def test_biases_are_seen_call_by_call(
    forward: Callable[[Forward, Tensor], Tensor], count: int
) -> None:
    model = Forward(
        forward,
        conv=nn.Conv2d(3, 3, 3, padding=int(forward is shared)),
        norm=nn.BatchNorm2d(3),
        mix=nn.Linear(3, 3),
        fc=nn.Linear(3 * (81 if forward is shared else 49), 4),
    )
    rest, parts = decomposed(unsettled(model), images())
    assert rest.abs().max() < 1e-10
    assert len(parts) == count
    if forward is channels_last:  # a linear map's channels go to the front, where they belong
        assert parts[-1].shape == (2, 3, 9, 9)
        assert parts[-2].ndim == 2  # the activation's positions are not known


def test_each_part_is_the_bias_times_the_gradient_at_its_place() -> None:
    model = unsettled(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 7)))
    _, parts = decomposed(nn.Sequential(model, nn.Flatten()), images(), 1)
    middle = model[0](images()).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(model[1:](middle)[:, 1].sum(), middle)
    wanted = gradient * model[0].bias.detach()[:, None, None]
    torch.testing.assert_close(parts[1], wanted)


@pytest.mark.parametrize(
    "breaks",
    [
        lambda x: x * x.sigmoid(),
        lambda x: F.layer_norm(x, x.shape[1:]),
        lambda x: F.batch_norm(x, None, None, training=True),
        lambda x: x + 0.3,
    ],
    ids=["gate", "layer norm", "batch statistics", "an addition"],
)
def test_what_it_cannot_see_is_missing_from_the_sum(breaks: Callable[[Tensor], Tensor]) -> None:
    model = Forward(lambda self, x: self.fc(breaks(x).flatten(1)), fc=nn.Linear(243, 3)).double()
    rest, _ = decomposed(model, images())
    assert rest.abs().max() > 1e-2


def test_another_threads_run_and_what_needs_no_gradient_are_not_seen() -> None:
    model = unsettled(nn.Sequential(nn.Conv2d(3, 2, 9), nn.Flatten()))
    with BiasGradients() as seen:
        with torch.no_grad():
            model(images())
        thread = threading.Thread(
            target=lambda: torch.autograd.grad(
                model(images().requires_grad_()).sum(), list(model.parameters())
            )
        )
        thread.start()
        thread.join()
    assert seen.parts == []
