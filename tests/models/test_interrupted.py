"""Ctrl-C at any moment leaves the model, and torch, exactly as they were.

200 interrupts; `benchmarks/interrupts.py` does the same with 2,000.
"""

from __future__ import annotations

import gc
import random
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from interrupting import (
    METHODS,
    Interrupt,
    differences,
    explain,
    interrupted_after,
    network,
    state,
)

from seewhy.models import undisturbed
from seewhy.models.undisturbed import eval_mode, given_back, hooked

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    # An interrupt may come while an object is deleted, where Python only prints it.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.mark.parametrize("by_signal", [False, True], ids=["raised", "signal"])
@pytest.mark.parametrize("method", METHODS)
def test_at_a_line_where_something_is_changed_or_put_back(method: str, by_signal: bool) -> None:
    model = network(method)
    explain(model, method)
    before = state(model)
    events = Interrupt(None)
    assert not events.run(model, method)
    assert not differences(before, state(model))
    reached = 0
    for at in random.Random(method).sample(range(events.count), 18):
        interrupt = Interrupt(at, by_signal=by_signal)
        reached += interrupt.run(model, method)
        assert not differences(before, state(model)), interrupt.where
    assert reached > 12


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there is no timer")
@pytest.mark.parametrize("method", METHODS)
def test_at_any_time(method: str) -> None:
    model = network(method)
    explain(model, method)
    began = time.perf_counter()
    explain(model, method)
    took = time.perf_counter() - began
    before, draw = state(model), random.Random(method)
    for number in range(14):
        after = draw.uniform(1e-5, took)
        interrupted_after(after, model, method, by_signal=number % 2 == 0)
        assert not differences(before, state(model)), f"after {after} of {took} s"


def test_what_is_interrupted_can_be_run_again_and_gives_the_same() -> None:
    from interrupting import INPUTS

    import seewhy

    model = network("ablation-cam")
    wanted = seewhy.attribute(model, INPUTS, 1, layer="5", method="ablation-cam")
    for at in (50, 400, 1500):
        assert Interrupt(at).run(model, "ablation-cam")
    got = seewhy.attribute(model, INPUTS, 1, layer="5", method="ablation-cam")
    torch.testing.assert_close(got, wanted)


def test_the_callers_own_mode_stays() -> None:
    class Own(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            return func(*args, **(kwargs or {}))

    model = network("guided-backprop")
    explain(model, "guided-backprop")
    with Own(), torch.no_grad():
        before = state(model)
        events = Interrupt(None)
        events.run(model, "guided-backprop")
        for at in random.Random(0).sample(range(events.count), 20):
            Interrupt(at).run(model, "guided-backprop")
            assert not differences(before, state(model))


class Broken(undisturbed.Changed):
    """A block whose end is interrupted at its first step."""

    def __exit__(self, *_: object) -> None:
        raise KeyboardInterrupt


def held_in_eval_mode(model: nn.Module) -> None:
    with Broken([undisturbed.EvalMode(model)], None):
        assert not model.training


def test_a_block_that_could_not_put_back_is_put_right_by_the_function_around_it() -> None:
    model = nn.Sequential(nn.Dropout()).train()
    with pytest.raises(KeyboardInterrupt):
        given_back(held_in_eval_mode)(model)
    assert model.training
    assert model[0].training


def test_what_nobody_put_right_heals_and_leaves_what_the_user_changed_since() -> None:
    model = nn.Sequential(nn.Dropout(), nn.Dropout()).train()
    try:
        held_in_eval_mode(model)
    except KeyboardInterrupt:
        model[1].train()  # the user's own
        assert not model[0].training
    gc.collect()
    assert [module.training for module in model.modules()] == [True, True, True]
    assert not undisturbed._held
    model.eval()
    with eval_mode(model):
        pass
    assert not any(module.training for module in model.modules())


def test_an_interrupt_in_one_thread_takes_nothing_from_another() -> None:
    model = nn.Sequential(nn.Dropout()).train()
    inside, end = threading.Event(), threading.Event()

    def other() -> None:
        with eval_mode(model):
            inside.set()
            end.wait(30)

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(30)
    with pytest.raises(KeyboardInterrupt):
        given_back(held_in_eval_mode)(model)
    assert not model.training
    end.set()
    thread.join()
    assert model.training


def test_ctrl_c_waits_while_something_is_put_back() -> None:
    steps = []

    class Slow:
        def do(self) -> None:
            pass

        def undo(self, *, late: bool = False) -> None:
            signal.raise_signal(signal.SIGINT)
            steps.append("put back")

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), undisturbed.Changed([Slow()], None):
        pass
    assert steps == ["put back"]
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_hook_that_was_set_and_not_reported_is_removed() -> None:
    class Stops(nn.ReLU):
        def register_forward_hook(self, hook, **options):
            super().register_forward_hook(hook, **options)
            raise KeyboardInterrupt

    stops = Stops()
    with pytest.raises(KeyboardInterrupt), hooked([(nn.ReLU(), print), (stops, print)]):
        pass
    assert not stops._forward_hooks
