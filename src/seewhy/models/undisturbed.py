"""A model that is run, looked into, and left exactly as it was: the only hooks in the repository.

`undisturbed` surrounds every run, `hooked` sets forward hooks while a block lasts. Ctrl-C, or
another thread's exception, may come between any two steps, and also at the first step of a block's
end, before anything is put back. Therefore

- every change is noted before it is made, and can be taken back twice, or where it was only begun;
- `given_back` wraps the functions that change something: whatever leaves them takes back what was
  noted in them, twice, so that an interrupt of the first attempt finds the second;
- while changes are taken back, Ctrl-C waits;
- several threads may hold a change at once: who holds it is kept by name, not as a count, so that
  what is taken back late or twice cannot take away another's.
"""

from __future__ import annotations

import contextlib
import functools
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from traceback import walk_tb
from types import FrameType, TracebackType
from typing import Any, Generic, ParamSpec, Protocol, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from seewhy.models.modules import modules_of
from seewhy.models.recomputing import WithoutRecomputing

Given = TypeVar("Given")
Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")

Hook = tuple[nn.Module, Callable[..., Any]]


class Change(Protocol):
    """Something about a model or about torch that is otherwise while a block lasts."""

    def do(self) -> None:
        """Change it."""

    def undo(self, *, late: bool = False) -> None:
        """Put it back, as often as is asked, also where `do` was left half-way.

        `late`: the block is long over, and what somebody else has changed since stays.
        """


# --- What is noted, and taken back whatever happens ----------------------------------------------


class _Noted(threading.local):
    """The changes of a thread that are not taken back yet, in their order."""

    def __init__(self) -> None:
        self.changes: list[Change] = []


_noted = _Noted()

# Of all that threads share here. The same thread may take it twice: what an interrupt left locked
# must not keep the clean-up waiting.
lock = threading.RLock()
_left: list[tuple[list[Change], Change]] = []  # of blocks that ended before they could put back


class Changed(Generic[Given]):
    """A context manager that makes changes and undoes them; it yields the value for the block."""

    _over = True  # before it begins, and behind

    def __init__(self, changes: Sequence[Change], gives: Given) -> None:
        self.changes, self.gives = changes, gives
        self._noted = _noted.changes  # of the thread that enters

    def __enter__(self) -> Given:
        _take_back_left()
        self._noted = _noted.changes
        self._over = False
        try:
            for change in self.changes:
                self._noted.append(change)
                change.do()
        except BaseException:
            self._take_back()
            raise
        return self.gives

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._take_back()

    def __del__(self) -> None:
        """Only after an interrupt at the first step of `__exit__` is there anything left here."""
        if not self._over:
            _left.extend((self._noted, change) for change in self.changes)
            if not lock._is_owned():  # type: ignore[attr-defined]  # else the next block does it
                _take_back_left()

    def _take_back(self) -> None:
        _uninterrupted(lambda: _undo(self._noted, self.changes))
        self._over = True


def _undo(noted: list[Change], changes: Sequence[Change], *, late: bool = False) -> None:
    for change in reversed(changes):
        if change in noted:
            change.undo(late=late)
            noted.remove(change)


def _take_back_left() -> None:
    while _left:
        noted, change = _left[-1]
        _undo(noted, [change], late=True)
        _left.remove((noted, change))


class _State:
    """How torch and the notes of this thread are."""

    def __init__(self) -> None:
        self.noted = tuple(_noted.changes)
        self.grad = torch.is_grad_enabled()
        self.inference = torch.is_inference_mode_enabled()
        self.cache = torch.is_autocast_cache_enabled()
        self.modes = _function_modes()

    def give_back(self) -> None:
        """Make everything as it was when this was made."""
        _end_blocks(sys.exc_info()[1])
        _undo(_noted.changes, [one for one in _noted.changes if one not in self.noted])
        found = _function_modes()
        if len(found) != len(self.modes) or any(map(_differ, found, self.modes)):
            for _ in found:
                torch._C._pop_torch_function_stack()
            for mode in self.modes:
                torch._C._push_on_torch_function_stack(mode)
        if torch.is_inference_mode_enabled() != self.inference:
            # Where the guard of a block was left open, one that stays open says the last word.
            _kept_open.append(torch._C._InferenceMode(self.inference))
        if torch.is_grad_enabled() != self.grad:
            torch._C._set_grad_enabled(self.grad)
        if torch.is_autocast_cache_enabled() != self.cache:
            torch.set_autocast_cache_enabled(self.cache)
        while lock._is_owned():  # type: ignore[attr-defined]
            lock.release()


_kept_open: list[Any] = []


def _end_blocks(error: BaseException | None) -> None:
    """End the blocks that an interrupt at their first or last step left open.

    Otherwise they would end only when the traceback is freed. A generator of torch's would then put
    back the mode that it took off, and nothing would take it off again.
    """
    met: set[int] = set()
    while error is not None and id(error) not in met:
        met.add(id(error))
        for frame, _ in reversed(list(walk_tb(error.__traceback__))):
            if frame.f_code in _OF_GENERATORS:
                frame.f_locals["self"].gen.close()
            elif frame.f_code in _OF_INFERENCE:
                guard = getattr(frame.f_locals["self"], "_inference_mode_context", None)
                if guard is not None:
                    guard.__exit__(None, None, None)
        error = error.__context__


_OF_GENERATORS = {
    contextlib._GeneratorContextManager.__enter__.__code__,
    contextlib._GeneratorContextManager.__exit__.__code__,
}
_OF_INFERENCE = {torch.inference_mode.__enter__.__code__, torch.inference_mode.__exit__.__code__}


def _function_modes() -> list[Any]:
    count = torch._C._len_torch_function_stack()
    return [torch._C._get_function_stack_at(place) for place in range(count)]


def _differ(one: Any, other: Any) -> bool:
    return one is not other


def given_back(function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
    """A function that leaves models and torch as it found them, wherever it is interrupted.

    Blocks end by themselves as long as nothing interrupts their last step; what was noted and not
    taken back, modes of torch left on and a grad mode left changed are put right here.
    """

    @functools.wraps(function)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:
        state = _State()
        try:
            try:
                return function(*args, **kwargs)
            finally:
                _uninterrupted(state.give_back)
        finally:
            _uninterrupted(state.give_back)

    return run


class _Waiting:
    """Stands in for the handler of Ctrl-C, which hears of it when the work is done."""

    def __init__(self, handler: Callable[[int, FrameType | None], Any]) -> None:
        self.handler = handler
        self.heard = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.heard:  # twice: it may have been left in place
            self.handler(number, frame)
        self.heard = True


def _uninterrupted(work: Callable[[], None]) -> None:
    """Do the work, and let Ctrl-C wait until it is done; the main thread alone hears of it."""
    if threading.current_thread() is not threading.main_thread():
        work()
        return
    found = signal.getsignal(signal.SIGINT)
    if isinstance(found, _Waiting):  # left in place, as such work is never inside of other
        found = found.handler
    if not callable(found):  # not Python's: it ends the program, or is ignored
        work()
        return
    waiting = _Waiting(found)
    try:
        try:
            signal.signal(signal.SIGINT, waiting)
            work()
        finally:
            signal.signal(signal.SIGINT, found)
    finally:
        signal.signal(signal.SIGINT, found)
    if waiting.heard:
        found(signal.SIGINT, sys._getframe())


# --- The changes --------------------------------------------------------------------------------


class _Held:
    """What a module was like before, and who holds it in eval mode."""

    def __init__(self, own: dict[str, Any], holder: Change) -> None:
        self.own = own
        self.holders = [holder]


_held: dict[nn.Module, _Held] = {}


class EvalMode:
    """Every module as in eval mode; each gets its own state back when the last holder has left.

    The flags are set one by one: `model.eval()` may be overridden, and in one well-known package
    a call of `train()` starts a training.
    """

    def __init__(self, model: nn.Module) -> None:
        self._modules = modules_of(model)

    def do(self) -> None:
        """Switch the modules to eval mode that are not, or that somebody else holds in it."""
        with lock:
            for module in self._modules:
                wanted = _eval_state(module)
                own = {name: getattr(module, name, value) for name, value in wanted.items()}
                held = _held.get(module)
                if held is not None:
                    held.holders.append(self)
                elif own != wanted:
                    _held[module] = _Held(own, self)
                else:
                    continue
                _set(module, wanted)

    def undo(self, *, late: bool = False) -> None:
        """Give each module that nobody else holds its own state back."""
        with lock:
            for module in self._modules:
                held = _held.get(module)
                if held is None or self not in held.holders:
                    continue
                if len(held.holders) == 1:
                    ours = _eval_state(module)
                    kept = [name for name in held.own if getattr(module, name) == ours.get(name)]
                    names = kept if late else list(held.own)
                    _set(module, {name: held.own[name] for name in names})
                    del _held[module]
                else:
                    held.holders.remove(self)


def _eval_state(module: nn.Module) -> dict[str, Any]:
    """The attributes that make a module do what it does in eval mode, and have a gradient.

    cuDNN keeps what the backward pass of a recurrent layer needs in training mode only ("cudnn RNN
    backward can only be called in training mode"). All that this mode changes in PyTorch's own
    recurrent layers is the dropout between their layers: without it they compute the same. To
    switch cuDNN off instead would slow every convolution, in every thread.
    """
    if type(module) in (nn.RNN, nn.LSTM, nn.GRU) and _runs_on_cudnn(module):
        return {"training": True, "dropout": 0.0}
    return {"training": False} if hasattr(module, "training") else {}


def _runs_on_cudnn(module: nn.Module) -> bool:
    return any(
        parameter.is_cuda for parameter in module._parameters.values() if parameter is not None
    )


def _set(module: nn.Module, state: dict[str, Any]) -> None:
    for name, value in state.items():
        setattr(module, name, value)


class Hooks:
    """Forward hooks behind and before modules."""

    def __init__(self, after: Sequence[Hook], before: Sequence[Hook] = ()) -> None:
        self._after, self._before = after, before

    def do(self) -> None:
        """Register them."""
        with lock:  # handles number themselves from a shared count, which is not atomic
            for module, hook in self._before:
                module.register_forward_pre_hook(hook)
            for module, hook in self._after:
                module.register_forward_hook(hook)

    def undo(self, *, late: bool = False) -> None:  # noqa: ARG002
        """Remove them; they are found by what they are, as a handle might not have arrived."""
        with lock:
            for module, hook in self._before:
                _remove(module._forward_pre_hooks, hook)
            for module, hook in self._after:
                _remove(module._forward_hooks, hook)


def _remove(hooks: dict[int, Callable[..., Any]], hook: Callable[..., Any]) -> None:
    for number in [number for number, one in hooks.items() if one is hook]:
        del hooks[number]


class Eager:
    """Compiled code runs as it was written; nothing to do where nothing was ever compiled."""

    holders: tuple[Change, ...] = ()  # of the whole process, as the stance is
    before: Any = None

    def do(self) -> None:
        """Take the stance, if nobody has."""
        if "torch._dynamo" not in sys.modules:
            return
        from torch._dynamo import eval_frame

        with lock:
            if not Eager.holders:
                Eager.before = eval_frame._stance
            Eager.holders = (*Eager.holders, self)
            if len(Eager.holders) == 1:
                torch.compiler.set_stance("force_eager")

    def undo(self, *, late: bool = False) -> None:  # noqa: ARG002
        """The last to leave puts the stance back."""
        with lock:
            if self not in Eager.holders:
                return
            if len(Eager.holders) == 1:
                from torch._dynamo import eval_frame

                eval_frame._set_stance(Eager.before)
            Eager.holders = tuple(one for one in Eager.holders if one is not self)


class UncachedAutocast:
    """No weight that is cast under our no_grad stays in the caller's autocast cache.

    From there a later training step would take it, without its gradient.
    """

    def __init__(self) -> None:
        self._before = torch.is_autocast_cache_enabled()

    def do(self) -> None:
        """Switch the cache off."""
        torch.set_autocast_cache_enabled(False)

    def undo(self, *, late: bool = False) -> None:
        """As it was."""
        if not late:
            torch.set_autocast_cache_enabled(self._before)


def no_inference() -> Any:
    """A block without inference mode, with autograd on.

    It is torch's guard itself, which closes at once if an interrupt keeps it from arriving; that
    of `torch.inference_mode` may be closed late, and then overrules what has been put back.
    """
    return torch._C._InferenceMode(False)  # never in a variable, which a traceback would keep


class NoInference:
    """No inference mode; autograd is on then."""

    _guard: Any = None

    def do(self) -> None:
        """Open a guard."""
        self._guard = no_inference()
        self._guard.__enter__()

    def undo(self, *, late: bool = False) -> None:
        """Close it."""
        if self._guard is not None and not late:
            self._guard.__exit__(None, None, None)


class Grad:
    """Autograd is on."""

    def __init__(self) -> None:
        self._before = torch.is_grad_enabled()

    def do(self) -> None:
        """Switch it on."""
        torch._C._set_grad_enabled(True)

    def undo(self, *, late: bool = False) -> None:
        """As it was."""
        if not late:
            torch._C._set_grad_enabled(self._before)


class Seeing(TorchFunctionMode):
    """A mode that sees what is called while a block lasts, and goes with it whatever happens.

    While a mode is at work torch takes it off, and an interrupt may keep it from coming back.
    """

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self in _function_modes():
            while torch._C._pop_torch_function_stack() is not self:
                pass


# --- What others ask for ------------------------------------------------------------------------


def no_disturbance(model: nn.Module) -> list[Change]:
    """What surrounds every run: eval mode, eager code, no inference mode, no cache."""
    led: list[Change] = [EvalMode(model), Eager(), UncachedAutocast()]
    return [*led, WithoutRecomputing(), NoInference()]


def undisturbed(model: nn.Module) -> Changed[None]:
    """A block in which a model may be run, and behind which it is as it was.

    Autograd is on inside if the caller was in inference mode; say which mode is wanted.
    """
    return Changed(no_disturbance(model), None)


def eval_mode(model: nn.Module) -> Changed[None]:
    """A block in which every module does what it does in eval mode."""
    return Changed([EvalMode(model)], None)


def hooked(after: Sequence[Hook], before: Sequence[Hook] = ()) -> Changed[None]:
    """A block with forward hooks behind and before modules."""
    return Changed([Hooks(after, before)], None)
