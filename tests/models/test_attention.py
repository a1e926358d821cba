"""A picture's attentions: found in every kind of network, against loops, and without a trace."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seewhy.errors import MethodError
from seewhy.methods.attention import legrad
from seewhy.models.attention import (
    Attended,
    AttentionPath,
    attend,
    find_attention,
)
from seewhy.models.outputs import find_logits

# --- Networks whose every number is known ---------------------------------------------------------

PICTURE = (3, 8, 8)


class Block(nn.Module):
    """A transformer block; `nudge` is added to its attention."""

    def __init__(self, width: int, heads: int, how: str) -> None:
        super().__init__()
        self.heads, self.how = heads, how
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.nudge: Tensor | None = None

    def attention(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        q, k, v = (
            one.reshape(batch, tokens, self.heads, -1).transpose(1, 2)
            for one in self.qkv(x).chunk(3, -1)
        )
        if self.how == "fused":
            mixed = F.scaled_dot_product_attention(q, k, v)
        else:
            weights = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)
            mixed = (weights if self.nudge is None else weights + self.nudge) @ v
        return self.out(mixed.transpose(1, 2).reshape(batch, tokens, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """Patches, perhaps a class token, blocks, and a head that reads one token or their mean."""

    def __init__(
        self, blocks: int = 3, how: str = "fused", class_token: bool = True, width: int = 12
    ) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 2, 2)
        self.token = nn.Parameter(torch.randn(1, 1, width)) if class_token else None
        self.place = nn.Parameter(torch.randn(1, 16 + class_token, width))
        self.blocks = nn.Sequential(*(Block(width, 2, how) for _ in range(blocks)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 5)

    def tokens(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).mT
        if self.token is not None:
            x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        return x + self.place

    def read(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        return self.head(x.mean(1) if self.token is None else x[:, 0])

    def forward(self, x: Tensor) -> Tensor:
        return self.read(self.blocks(self.tokens(x)))


class Pooling(Transformer):
    """A head that pools the tokens by an attention of its own."""

    def __init__(self) -> None:
        super().__init__(class_token=False)
        self.query = nn.Parameter(torch.randn(1, 1, 12))

    def pool(self, x: Tensor) -> tuple[Tensor, Tensor]:
        weights = (self.query @ x.mT)[:, None].softmax(-1)
        return weights, self.head((weights[:, 0] @ x)[:, 0])

    def read(self, x: Tensor) -> Tensor:
        return self.pool(x)[1]


def looked_at(
    model: nn.Module, inputs: Tensor, *, every: bool = True, mean: bool = False
) -> tuple[AttentionPath, Attended]:
    path = find_attention(model, inputs[:1])
    return path, attend(model, inputs, path, every=every, mean=mean)


@pytest.mark.parametrize("class_token", [True, False])
def test_each_blocks_gradient_is_that_of_the_head_behind_it(class_token: bool) -> None:
    """Against finite differences in a network that ends at the block."""
    model = Transformer(how="softmax", class_token=class_token).double().eval()
    inputs = torch.randn(2, *PICTURE, dtype=torch.float64)
    _, run = looked_at(model, inputs)
    gradients = run.gradients(run.outputs[:, 3].sum())
    step = 1e-5
    with torch.no_grad():
        for depth, gradient in enumerate(gradients):

            def score(depth: int = depth) -> Tensor:
                return model.read(model.blocks[: depth + 1](model.tokens(inputs)))[:, 3]

            torch.testing.assert_close(run.outputs[2 * depth : 2 * depth + 2, 3], score())
            block = model.blocks[depth]
            for head, query, key in [(0, 0, 0), (1, 0, 7), (0, 4, 2), (1, 9, 15)]:
                block.nudge = torch.zeros(2, *gradient.shape[2:], dtype=torch.float64)
                block.nudge[head, query, key] = step
                above = score()
                block.nudge[head, query, key] = -step
                slope = (above - score()) / (2 * step)
                block.nudge = None
                torch.testing.assert_close(
                    gradient[:, head, query, key], slope, rtol=1e-5, atol=1e-9
                )


def test_gradients_of_the_network_as_it_is() -> None:
    """Against finite differences through all the blocks that follow."""
    model = Transformer(how="softmax").double().eval()
    inputs = torch.randn(2, *PICTURE, dtype=torch.float64)
    _, run = looked_at(model, inputs, every=False)
    gradients = run.gradients(run.outputs[:, 3].sum())
    step = 1e-5
    with torch.no_grad():
        for block, gradient in zip(model.blocks, gradients, strict=True):
            for head, query, key in [(0, 0, 0), (1, 0, 7), (0, 4, 2), (1, 9, 15)]:
                block.nudge = torch.zeros(2, *gradient.shape[2:], dtype=torch.float64)
                block.nudge[head, query, key] = step
                above = model(inputs)[:, 3]
                block.nudge[head, query, key] = -step
                slope = (above - model(inputs)[:, 3]) / (2 * step)
                block.nudge = None
                torch.testing.assert_close(
                    gradient[:, head, query, key], slope, rtol=1e-5, atol=1e-9
                )
    assert gradients[0][:, :, 1:].abs().sum() > 0  # what other tokens look at comes through


def test_mean_tokens_are_what_the_head_reads_in_the_place_of_each() -> None:
    model = Transformer(how="softmax").double().eval()
    inputs = torch.randn(2, *PICTURE, dtype=torch.float64)
    _, run = looked_at(model, inputs, mean=True)
    with torch.no_grad():
        x = model.tokens(inputs)
        for depth, block in enumerate(model.blocks):
            x = block(x)
            wanted = model.head(model.norm(x.mean(1)))
            torch.testing.assert_close(run.outputs[2 * depth : 2 * depth + 2], wanted)
    gradient = run.gradients(run.outputs.sum())[1]
    assert (gradient.abs().amax((0, 1, 3)) > 0).all()  # every query counts


def test_legrad_of_one_linear_attention_in_closed_form() -> None:
    """Tokens V, attention A, score w·(A V)₀: its gradient by A is (w·V)ₖ for query 0, else 0."""

    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix, self.head = nn.Identity(), nn.Linear(3, 4, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(Mixed.tokens(self.block(x.flatten(2).mT))[:, 0])

    class Mixed(nn.Module):
        @staticmethod
        def tokens(x: Tensor) -> Tensor:
            return x

        def forward(self, x: Tensor) -> Tensor:
            return (x @ x.mT)[:, None].softmax(-1).squeeze(1) @ x

    model = Linear().double()
    model.block = Mixed()
    inputs = torch.randn(2, *PICTURE, dtype=torch.float64)
    _, run = looked_at(model, inputs)
    found = legrad(lambda mean: run.gradients(run.outputs[:, 1].sum()))
    values = inputs.flatten(2).mT @ model.head.weight[1].detach()
    torch.testing.assert_close(found, values.relu() / 64)


@pytest.mark.parametrize("how", ["fused", "softmax"])
def test_the_last_blocks_rows_are_the_networks_own_outputs(how: str) -> None:
    model, inputs = Transformer(how=how).eval(), torch.randn(3, *PICTURE)
    with torch.no_grad():
        plain = model(inputs)
    for every in (True, False):
        _, run = looked_at(model, inputs, every=every)
        assert len(run.outputs) == (9 if every else 3)
        torch.testing.assert_close(run.outputs[-3:], plain, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(run.attentions[0].sum(-1), torch.ones(3, 2, 17))


def test_fused_and_open_attention_are_looked_at_alike() -> None:
    fused, spelled = Transformer(how="fused").eval(), Transformer(how="softmax").eval()
    spelled.load_state_dict(fused.state_dict())
    inputs = torch.randn(2, *PICTURE)
    (_, one), (_, other) = looked_at(fused, inputs), looked_at(spelled, inputs)
    for ours, theirs in zip(one.attentions, other.attentions, strict=True):
        torch.testing.assert_close(ours, theirs)
    ours, theirs = (run.gradients(run.outputs[:, 0].sum()) for run in (one, other))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_an_image_does_not_hear_of_the_others() -> None:
    model, inputs = Transformer().eval(), torch.randn(3, *PICTURE)
    _, together = looked_at(model, inputs)
    _, alone = looked_at(model, inputs[1:2])
    torch.testing.assert_close(together.attentions[2][1:2], alone.attentions[2])
    ours = together.gradients(together.outputs[1::3, 0].sum())
    theirs = alone.gradients(alone.outputs[:, 0].sum())
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one[1:2], other, rtol=1e-4, atol=1e-6)
        assert one[0].abs().sum() == one[2].abs().sum() == 0


@pytest.mark.parametrize("class_token", [True, False])
def test_what_the_head_reads(class_token: bool) -> None:
    model = Transformer(class_token=class_token).eval()
    _, run = looked_at(model, torch.randn(2, *PICTURE), every=False)
    wanted = torch.eye(17)[:1] if class_token else torch.full((1, 16), 1 / 16)
    torch.testing.assert_close(run.read(run.outputs[:, 2]), wanted.repeat(2, 1))


def test_a_head_of_zeros_reads_all_alike() -> None:
    model = Transformer().eval()
    nn.init.zeros_(model.head.weight)
    _, run = looked_at(model, torch.randn(1, *PICTURE), every=False)
    torch.testing.assert_close(run.read(run.outputs[:, 2]), torch.full((1, 17), 1 / 17))


@pytest.mark.parametrize("frozen", [True, False])
def test_a_part_without_gradient_makes_no_difference(frozen: bool) -> None:
    class Frozen(Transformer):
        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                x = self.blocks(self.tokens(x))
            return self.read(x)

    model, inputs = Frozen().eval().requires_grad_(not frozen), torch.randn(2, *PICTURE)
    plain = Transformer().eval()
    plain.load_state_dict(model.state_dict())
    (_, one), (_, other) = looked_at(model, inputs), looked_at(plain, inputs)
    ours, theirs = (run.gradients(run.outputs[:, 0].sum()) for run in (one, other))
    torch.testing.assert_close(ours, theirs)


def test_tokens_that_a_block_changes_in_place() -> None:
    class Writing(Block):
        def forward(self, x: Tensor) -> Tensor:
            x += self.attention(self.norm1(x))
            return x + self.mlp(self.norm2(x))

    model, plain = Transformer(blocks=0), Transformer().eval()
    model.blocks = nn.Sequential(*(Writing(12, 2, "fused") for _ in range(3)))
    model.eval().load_state_dict(plain.state_dict())
    inputs = torch.randn(2, *PICTURE)
    (_, one), (_, other) = looked_at(model, inputs), looked_at(plain, inputs)
    torch.testing.assert_close(one.outputs, other.outputs)
    ours, theirs = (run.gradients(run.outputs[:, 0].sum()) for run in (one, other))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_networks(dtype: torch.dtype) -> None:
    model, inputs = Transformer().eval(), torch.randn(2, *PICTURE)
    _, whole = looked_at(model, inputs)
    wanted = whole.gradients(whole.outputs[:, 0].sum())
    _, half = looked_at(model.to(dtype), inputs.to(dtype))
    assert half.attentions[0].dtype == torch.float32
    for one, other in zip(half.gradients(half.outputs[:, 0].sum()), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0.05 * float(other.abs().max()))


def test_signals_and_volumes() -> None:
    class Signal(Transformer):
        def __init__(self, convolution: nn.Module) -> None:
            super().__init__(class_token=False)
            self.patches = convolution

    signal = Signal(nn.Conv1d(3, 12, 4, 4)).eval()
    assert find_attention(signal, torch.randn(1, 3, 64)).grid.size == (16,)
    video = Signal(nn.Conv3d(3, 12, (2, 4, 4), (2, 4, 4))).eval()
    assert find_attention(video, torch.randn(1, 3, 8, 8, 8)).grid.size == (4, 2, 2)


@pytest.mark.parametrize("pooling", [True, False])
def test_copies_of_the_pictures_give_the_same(pooling: bool) -> None:
    model, inputs = Pooling() if pooling else Transformer(), torch.randn(2, *PICTURE)
    path, one = looked_at(model.eval(), inputs)
    other = attend(model, inputs, path, every=True, copies=True)
    torch.testing.assert_close(other.outputs, one.outputs)
    for ours, theirs in zip(other.attentions, one.attentions, strict=True):
        torch.testing.assert_close(ours, theirs)
    ours, theirs = (run.gradients(run.outputs[:, 0].sum()) for run in (other, one))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_a_head_that_puts_something_of_each_picture_beside_its_tokens() -> None:
    class Beside(Transformer):
        beside = torch.randn(2, 12)

        def read(self, x: Tensor) -> Tensor:
            rows = torch.arange(self.count) % 2
            return super().read(x) * self.beside[rows, :5]

        def forward(self, x: Tensor) -> Tensor:
            self.count = len(x)  # as what is given beside the picture has as many rows
            return super().forward(x)

    model, inputs = Beside().eval(), torch.randn(2, *PICTURE)
    path = find_attention(model, inputs[:1])
    with pytest.raises(RuntimeError, match="must match"):
        attend(model, inputs, path, every=True)
    run = attend(model, inputs, path, every=True, copies=True)
    torch.testing.assert_close(run.outputs[-2:], model(inputs), rtol=1e-5, atol=1e-5)


def test_tokens_before_the_batch() -> None:
    class Sequence(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers = [nn.TransformerEncoderLayer(12, 2, 24) for _ in range(2)]
            self.blocks, self.head = nn.Sequential(*layers), nn.Linear(12, 5)
            self.patches = nn.Conv2d(3, 12, 2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.blocks(self.patches(x).flatten(2).permute(2, 0, 1))[3])

    model, inputs = Sequence().eval(), torch.randn(4, *PICTURE)
    path, run = looked_at(model, inputs)
    assert (path.layout.batch, path.layout.tokens) == (1, (0,))
    torch.testing.assert_close(run.outputs[-4:], model(inputs), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        run.read(run.outputs[-4:, 0].sum(), keep_graph=True), torch.eye(16)[3:4].repeat(4, 1)
    )
    assert run.gradients(run.outputs[:, 0].sum())[1].shape == (4, 2, 16, 16)


def test_a_head_that_pools_by_attention() -> None:
    """The gradient is by the head's attention, which reads every block's tokens."""
    model, inputs = Pooling().eval(), torch.randn(2, *PICTURE)
    path, run = looked_at(model, inputs)
    assert (path.calls, path.pooling) == ((0, 1, 2), 3)
    found = run.gradients(run.outputs[:, 1].sum())
    with torch.no_grad():
        x = model.tokens(inputs)
        for block, gradient in zip(model.blocks, found, strict=True):
            x = block(x)
            wanted = x @ model.head.weight[1]
            torch.testing.assert_close(gradient[:, 0, 0], wanted, rtol=1e-4, atol=1e-5)
        read = run.read(run.outputs[-2:, 1].sum())
        torch.testing.assert_close(read, model.pool(x)[0][:, 0, 0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("text_first", [True, False])
def test_a_text_tower_is_left_out(frozen: bool, text_first: bool) -> None:
    """As many words as patches, and one text for one picture: only what reaches it tells."""

    class Towers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.picture, self.text = Transformer(class_token=False), Transformer(blocks=2)
            self.words = nn.Parameter(torch.randn(1, 16, 12))

        def forward(self, x: Tensor) -> Tensor:
            if text_first:
                text = self.text.read(self.text.blocks(self.words))
                return self.picture(x) @ text.mT
            picture = self.picture(x)
            return picture @ self.text.read(self.text.blocks(self.words)).mT

    model, inputs = Towers().eval().requires_grad_(not frozen), torch.randn(3, *PICTURE)
    path, run = looked_at(model, inputs)
    assert path.calls == ((2, 3, 4) if text_first else (0, 1, 2))
    assert path.blocks == tuple(model.picture.blocks)
    assert path.total == 5
    torch.testing.assert_close(run.outputs[-3:], model(inputs), rtol=1e-5, atol=1e-5)


class Windows(nn.Module):
    """Attention within quarters of the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.head = nn.Conv2d(3, 12, 2, 2), nn.Linear(12, 5)
        self.block = Block(12, 2, "softmax")

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).unfold(2, 2, 2).unfold(3, 2, 2)  # (b, c, 2, 2, 2, 2)
        x = self.block(x.permute(0, 2, 3, 4, 5, 1).reshape(len(x) * 4, 4, 12))
        return self.head(x.reshape(-1, 16, 12).mean(1))


class Halved(nn.Module):
    """Fewer tokens from the second block on."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.head = nn.Conv2d(3, 12, 2, 2), nn.Linear(12, 5)
        self.blocks = nn.ModuleList(Block(12, 2, "softmax") for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks[0](self.patches(x).flatten(2).mT)
        return self.head(self.blocks[1](x[:, ::2]).mean(1))


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (convolutional, "no attention that the picture reaches.*Use grad-cam"),
        (Windows, "within windows.*Use grad-cam"),
        (Halved, "not all among the same tokens.*16×16, 8×8.*Use grad-cam"),
    ],
)
def test_what_has_no_attention_to_follow_says_so(
    make: Callable[[], nn.Module], message: str
) -> None:
    with pytest.raises(MethodError, match=message):
        find_attention(make().eval(), torch.randn(1, *PICTURE))


class Bare(nn.Module):
    """Blocks that are no modules: the skip connections are in the network's own forward."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.head = nn.Conv2d(3, 12, 2, 2), nn.Linear(12, 5)
        self.attentions = nn.ModuleList(
            nn.MultiheadAttention(12, 2, batch_first=True) for _ in range(2)
        )
        self.others = nn.ModuleList(nn.Linear(12, 12) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).mT
        for attention, other in zip(self.attentions, self.others, strict=True):
            x = x + attention(x, x, x)[0]
            x = x + other(x).relu()
        return self.head(x[:, 5])


def test_blocks_that_are_no_modules_can_be_rolled_out_only() -> None:
    model, inputs = Bare().eval(), torch.randn(2, *PICTURE)
    path = find_attention(model, inputs[:1])
    assert not path.whole
    run = attend(model, inputs, path, every=False)
    torch.testing.assert_close(run.read(run.outputs[:, 0]), torch.eye(16)[5:6].repeat(2, 1))
    with pytest.raises(MethodError, match="Use attention-rollout"):
        attend(model, inputs, path, every=True)


def test_a_cut_gradient_is_an_error() -> None:
    class Cut(Transformer):
        def read(self, x: Tensor) -> Tensor:
            return super().read(x.detach())

    model = Cut().eval().requires_grad_(False)
    _, run = looked_at(model, torch.randn(1, *PICTURE))
    with pytest.raises(MethodError, match="interrupts it"):
        run.gradients(run.outputs[:, 0].sum())


def test_an_operation_without_a_derivative_is_a_cut() -> None:
    """Also where a skip connection leads around it: the rest would be taken for the whole."""
    library = torch.library.Library("seewhy_attention_test", "DEF")
    library.define("halve(Tensor x) -> Tensor")
    library.impl("halve", torch.no_grad()(lambda x: x / 2), "CPU")

    class Halves(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.ops.seewhy_attention_test.halve(x)

    model = Transformer().eval()
    model.blocks[2].mlp[0] = Halves()
    _, run = looked_at(model, torch.randn(1, *PICTURE))
    with pytest.raises(MethodError, match="interrupts it"):
        run.gradients(run.outputs[:, 0].sum())


def test_a_network_that_takes_another_course() -> None:
    class Fickle(Transformer):
        def forward(self, x: Tensor) -> Tensor:
            return self.read(self.blocks[: 1 + len(x)](self.tokens(x)))

    model, inputs = Fickle().eval(), torch.randn(2, *PICTURE)
    path = find_attention(model, inputs[:1])
    with pytest.raises(MethodError, match="runs differently with these inputs"):
        attend(model, inputs, path, every=True)


def test_another_thread_is_not_seen_and_sees_nothing() -> None:
    model, inputs = Transformer().eval(), torch.randn(1, *PICTURE)
    with torch.no_grad():
        plain = model(inputs)
    path = find_attention(model, inputs)
    inside, done, found = threading.Event(), threading.Event(), []

    class Waits(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if threading.current_thread() is threading.main_thread():
                inside.set()
                assert done.wait(600)
            return x

    def other() -> None:
        assert inside.wait(600)
        with torch.no_grad():
            found.append(model(inputs))
        done.set()

    model.blocks[1].mlp.append(Waits())
    thread = threading.Thread(target=other)
    thread.start()
    run = attend(model, inputs, path, every=True)
    thread.join()
    assert torch.equal(found[0], plain)
    assert not found[0].requires_grad
    torch.testing.assert_close(run.outputs[-1:], plain, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("succeeds", [True, False])
def test_the_network_comes_back_as_it_was(succeeds: bool) -> None:
    class Stops(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if not succeeds:
                raise KeyError
            return x

    model, inputs = Transformer().train(), torch.randn(2, *PICTURE)
    model.blocks[1].training = False
    model(inputs).sum().backward()
    model.norm = nn.Sequential(model.norm, Stops())

    def state() -> list[Any]:
        return [
            [(m.training, dict(m.__dict__, training=0).keys(), len(m._forward_hooks),
              len(m._forward_pre_hooks)) for m in model.modules()],
            [(id(p), p._version, p.grad.tolist()) for p in model.parameters()],
            torch.get_rng_state().tolist(), torch.is_grad_enabled(),
        ]  # fmt: skip

    before = state()
    if succeeds:
        with torch.no_grad():
            looked_at(model, inputs)
    else:
        with pytest.raises(KeyError):
            looked_at(model, inputs)
    assert state() == before


# --- The zoos' own -------------------------------------------------------------------------------


def timm_network(name: str, **options: Any) -> nn.Module:
    timm = pytest.importorskip("timm")
    return timm.create_model(name, pretrained=False, **options).eval()


@pytest.mark.parametrize(
    ("name", "options", "read"),
    [
        ("vit_tiny_patch16_224", {}, slice(0, 1)),
        ("deit_tiny_distilled_patch16_224", {}, slice(0, 2)),
        ("vit_small_patch14_reg4_dinov2", {"patch_size": 16, "depth": 4}, slice(0, 1)),
        ("vit_medium_patch16_reg4_gap_256", {"depth": 4}, slice(4, None)),
    ],
)
def test_timm(name: str, options: dict[str, Any], read: slice) -> None:
    """Fused attentions are those that the same network gives where timm spells them out."""
    model = timm_network(name, img_size=(64, 96), num_classes=5, **options)
    inputs = torch.randn(2, 3, 64, 96)
    path, run = looked_at(model, inputs)
    assert path.blocks == tuple(model.blocks)
    with torch.no_grad():
        torch.testing.assert_close(run.outputs[-2:], model(inputs), rtol=1e-4, atol=1e-5)
    spelled: list[Tensor] = []
    for block in model.blocks:
        block.attn.fused_attn = False
        block.attn.attn_drop.register_forward_hook(lambda m, args, out: spelled.append(out))
    with torch.no_grad():
        model(inputs)
    for one, other in zip(run.attentions, spelled, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    wanted = torch.zeros(path.tokens)
    wanted[read] = 1
    found = run.read(run.outputs[-2:, 0].sum())
    torch.testing.assert_close(found[0], wanted / wanted.sum())


def test_torchvision() -> None:
    torchvision = pytest.importorskip("torchvision")
    model = torchvision.models.VisionTransformer(64, 16, 3, 2, 24, 48, num_classes=5).eval()
    nn.init.normal_(model.heads.head.weight)
    inputs = torch.randn(2, 3, 64, 64)
    path, run = looked_at(model, inputs)
    assert path.blocks == tuple(model.encoder.layers)
    entered: list[Tensor] = []
    for layer in model.encoder.layers:
        layer.ln_1.register_forward_hook(lambda m, args, out: entered.append(out))
    with torch.no_grad():
        torch.testing.assert_close(run.outputs[-2:], model(inputs), rtol=1e-4, atol=1e-5)
        for layer, tokens, found in zip(path.blocks, entered, run.attentions, strict=True):
            wanted = layer.self_attention(tokens, tokens, tokens, average_attn_weights=False)[1]
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)
    gradients = run.gradients(run.outputs[:, 0].sum())
    assert all(one[:, :, 0].abs().sum() > 0 for one in gradients)
    assert all(one[:, :, 1:].abs().sum() == 0 for one in gradients)


@pytest.mark.parametrize("how", ["eager", "sdpa"])
def test_transformers(how: str) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=24, num_hidden_layers=3, num_attention_heads=2, intermediate_size=48,
        image_size=64, patch_size=16, num_labels=5, attn_implementation="eager",
    )  # fmt: skip
    model = transformers.ViTForImageClassification(config).eval()
    inputs = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        wanted = model(inputs, output_attentions=True)
    model.set_attn_implementation(how)
    path, run = looked_at(model, inputs)
    assert (len(path.calls), path.tokens, path.whole) == (3, 17, True)
    torch.testing.assert_close(find_logits(run.outputs)[-2:], wanted.logits, rtol=1e-4, atol=1e-5)
    for one, other in zip(run.attentions, wanted.attentions, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["CLIP", "Siglip"])
def test_transformers_two_towers(name: str) -> None:
    transformers = pytest.importorskip("transformers")
    small = {
        "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 48,
    }  # fmt: skip
    config = getattr(transformers, f"{name}Config")(
        text_config={**small, "max_position_embeddings": 16, "vocab_size": 99,
                     "eos_token_id": 98, "projection_size": 24},
        vision_config={**small, "image_size": 64, "patch_size": 16},
    )  # fmt: skip
    towers = getattr(transformers, f"{name}Model")(config).eval()
    words = torch.randint(3, 90, (1, 16))

    class Bound(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.towers = towers

        def forward(self, picture: Tensor) -> Tensor:
            return self.towers(input_ids=words, pixel_values=picture).logits_per_image

    model, inputs = Bound().eval(), torch.randn(3, 3, 64, 64)
    path, run = looked_at(model, inputs)
    assert path.tokens == (17 if name == "CLIP" else 16)
    assert path.blocks == tuple(towers.vision_model.encoder.layers)
    assert (path.pooling is not None) == (name == "Siglip")
    with torch.no_grad():
        torch.testing.assert_close(run.outputs[-3:], model(inputs), rtol=1e-4, atol=1e-5)
    assert run.gradients(run.outputs[:, 0].sum())[0].abs().sum() > 0


def test_swin_says_that_its_attention_is_in_windows() -> None:
    model = timm_network(
        "swin_tiny_patch4_window7_224", img_size=64, window_size=4, depths=(2, 2), embed_dim=24,
        num_heads=(2, 2),
    )  # fmt: skip
    with pytest.raises(MethodError, match="within windows"):
        find_attention(model, torch.randn(1, 3, 64, 64))
