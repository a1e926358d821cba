"""Which of a model's calls lie on the picture, told from one traced run of it."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence, Set
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from seewhy.models.bound import Bound
from seewhy.models.exported import is_a
from seewhy.models.grid import Grid, find_grid
from seewhy.models.modules import modules_of, unwrap
from seewhy.models.outputs import tensors_in
from seewhy.models.trace import Call
from seewhy.models.undisturbed import given_back, hooked, undisturbed
from seewhy.models.watch import Layer, replacing

Key = tuple[Any, ...] | None
"""For which runs something holds; see `holds_for`."""


def named_part(model: nn.Module) -> tuple[nn.Module, nn.Module]:
    """What is run, and the caller's module in it, in which layers have their names."""
    model = unwrap(model)
    return model, model.module if isinstance(model, Bound) else model


def holds_for(model: nn.Module, named: nn.Module, inputs: Tensor, *asked: Any) -> Key:
    """The key of the runs that share a result; None if a result is valid for one run only.

    Another form of the inputs beside the picture may lead another way, and a function of the output
    may be another one each time.
    """
    output, form = None, None
    if isinstance(model, Bound):
        output, form = model.output, model.calling_form()
        if (model.beside and form is None) or callable(output):
            return None
    return (*map(id, modules_of(named)), tuple(inputs.shape[1:]), output, form, *asked)


def placed_calls(calls: Sequence[Call], inputs: Tensor) -> list[tuple[Call, Grid]]:
    """The calls whose output lies on the picture at more than one position, in its order."""
    laid = _laid(calls, inputs)
    scattered = _scattered(laid)
    return [(call, grid) for call, grid in laid if call not in scattered]


def _laid(calls: Sequence[Call], inputs: Tensor) -> list[tuple[Call, Grid]]:
    """The calls whose output can be laid on the picture at more than one position."""
    sizes = map_sizes(calls, inputs)
    found = []
    for call in calls:
        steps = isinstance(call.module, nn.RNNBase)  # of a sequence, and not tokens of a picture
        if call.name and call.floating and call.shape is not None and not steps:
            grid = find_grid(call.shape, inputs.shape, call.module, sizes)
            if grid is not None and math.prod(grid.size) > 1:
                found.append((call, grid))
    parts = _attending(found, inputs, sizes)
    counts = {math.prod(g.size) + g.aside for _, g in found if g.form == "tokens"}
    return [(one, g) for one, g in found if not _is_matrix(one, g, parts, counts, inputs)]


def map_sizes(calls: Sequence[Call], inputs: Tensor) -> tuple[tuple[int, ...] | Grid, ...]:
    """What maps there are: the tokens of a picture are those of an earlier map.

    And how tokens lie, where that was shown.
    """
    shapes = [call.shape for call in calls if call.shape is not None]
    sizes = {tuple(s[2:]): None for s in shapes if len(s) == inputs.ndim}
    if inputs.ndim == 5:  # and of a video's frames that run one by one
        for shape in shapes:
            grid = find_grid(shape, inputs.shape) if len(shape) == 4 else None
            if grid is not None and grid.form == "frames":
                sizes[grid.size] = None
    shown = dict.fromkeys(call.laid for call in calls if call.laid is not None)
    return (*sizes, *shown)


def with_layouts(model: nn.Module, inputs: Tensor, calls: list[Call]) -> list[Call]:
    """The calls, with how their tokens lie where more than a class and registers go with them.

    A detector's queries stand behind a picture's tokens, a text before or behind them. Which they
    are, two runs show: those that change with the picture before anything has been mixed, if they
    lie side by side and are as many as an earlier map's positions.

    Args:
        model: what was run.
        inputs: the picture.
        calls: of that run.
    """
    sizes = [
        one
        for one in map_sizes(calls, inputs)
        if not isinstance(one, Grid) and math.prod(one) > 1 and Grid(one).fits(inputs.shape)
    ]
    unknown = _open_calls(calls, inputs, sizes)
    if not unknown or inputs.device.type == "meta":
        return calls
    generator = torch.Generator().manual_seed(0)
    other = inputs + torch.randn(inputs.shape, generator=generator).to(inputs)
    before, after = (_row_sums(model, one, unknown) for one in (inputs, other))
    shown: dict[int, Grid | None] = {}
    for one, two in zip(before, after, strict=False):
        count = one.shape[1]
        changed = (one != two)[0].nonzero()[:, 0].tolist() if one.shape == two.shape else []
        if count in shown or not changed:
            continue
        size = next((size for size in sizes if math.prod(size) == len(changed)), None)
        together = changed == [*range(changed[0], changed[-1] + 1)]
        shown[count] = None
        if size is not None and together:
            shown[count] = Grid(size, "tokens", changed[0], count - changed[-1] - 1)
    fresh: dict[Call | None, Call] = {}
    for call in calls:
        shape = call.shape or ()
        laid = shown.get(shape[1]) if len(shape) == 3 and shape[0] == len(inputs) else None
        fresh[call] = replace(call, same_as=fresh.get(call.same_as), laid=laid)
    return [*fresh.values()]


def _open_calls(
    calls: Sequence[Call], inputs: Tensor, sizes: Sequence[tuple[int, ...]]
) -> list[Call]:
    """The calls that give more tokens than some map has positions, and as many as fit no map.

    A class token and registers may go with a map's; other sizes fit more tokens by chance.
    """
    fewest = min(map(math.prod, sizes), default=math.inf)
    found = []
    for call in calls:
        shape = call.shape or ()
        many = len(shape) == 3 and shape[0] == len(inputs) and shape[1] > fewest and call.floating
        if not many:
            continue
        grid = find_grid(shape, inputs.shape, call.module, sizes)
        if grid is None or (grid.form == "tokens" and grid.extra and grid.size not in sizes):
            found.append(call)
    return found


@given_back
def _row_sums(model: nn.Module, inputs: Tensor, calls: Sequence[Call]) -> list[Tensor]:
    """The channels' sum at each token, `(batch, tokens)`, whenever some calls' modules run."""
    found: list[Tensor] = []
    thread = threading.get_ident()
    counts = {one.shape[1] for one in calls if one.shape is not None}

    def see(module: nn.Module, args: Any, output: Any) -> None:  # noqa: ARG001
        for _, one in tensors_in(output) if threading.get_ident() == thread else ():
            if one.ndim == 3 and one.shape[1] in counts and one.is_floating_point():
                found.append(one.detach().double().sum(-1))

    modules = {one.module for one in calls}
    with undisturbed(model), hooked([(one, see) for one in modules]), torch.no_grad():
        model(inputs.clone())
    return found


def token_counts(
    calls: Sequence[Call], inputs: Tensor, where: Sequence[tuple[str, str]] | None = None
) -> list[int]:
    """How many tokens the calls give that give tokens, each number once; all calls, or some."""
    return list(
        dict.fromkeys(
            call.shape[1]
            for call, grid in _laid(calls, inputs)
            if grid.form == "tokens"
            and call.shape is not None
            and (where is None or (call.name, call.path) in where)
        )
    )


@given_back
def tokens_of_others(
    model: nn.Module, inputs: Tensor, calls: Sequence[Call], count: int
) -> Set[Call]:
    """The calls that give tokens that are not the picture's: of a text, queries, positions.

    By chance these may be as many as fit a grid. They begin where a call takes and gives so many
    tokens and gives the same for another picture. A class token is the same too before the first
    attention; it stands in front, and tokens from the middle and the end are compared.
    """
    rows = (len(inputs), count)
    candidates = [] if inputs.device.type == "meta" else _giving(calls, rows)
    if not candidates or any(one.laid is not None for one in candidates):  # shown to be its own
        return frozenset()
    runs = _Tokens(model, candidates, rows)
    generator = torch.Generator().manual_seed(0)
    other = inputs + torch.randn(inputs.shape, generator=generator).to(inputs)
    seen, again = runs(inputs), runs(other)
    if not len(seen) == len(again) == len(candidates):
        return frozenset()
    alike = [torch.equal(one, two) for one, two in zip(seen, again, strict=True)]
    tables = {one for one in candidates if one.module in runs.tables}
    first = next(
        (
            number
            for number, (call, tensor) in enumerate(zip(candidates, seen, strict=True))
            # A part that gives every token the same (its weights still zero) tells nothing.
            if alike[number] and call not in tables and not torch.equal(tensor[:, 0], tensor[:, 1])
        ),
        None,
    )
    if first is None:
        return tables
    start = calls.index(candidates[first])
    behind = {one for one in calls[start:] if one.shape and one.shape[:-1] == rows}
    behind |= {one for one, same in zip(candidates[:first], alike, strict=False) if same}
    if not all(alike[first:]):  # what does not change with these tokens has others
        moved = runs(inputs, disturbed=first)
        later = zip(candidates, seen, moved, alike, strict=False)
        behind -= {
            one for one, before, after, same in later if not same and torch.equal(before, after)
        }
    return behind | tables


def _giving(calls: Sequence[Call], rows: tuple[int, int]) -> list[Call]:
    """The calls of parts that take and give so many tokens."""
    modules = {one.module for one in calls if one.entered is not None and one.entered[:2] == rows}
    return [
        one
        for one in calls
        if one.module in modules and one.name and one.floating and not one.path
        and one.shape is not None and len(one.shape) == 3 and one.shape[:2] == rows
    ]  # fmt: skip


class _Tokens:
    """Runs of a model in which two tokens of some calls are seen, one from the middle, the last.

    Attributes:
        tables: the embeddings that are read by integers which are no input of the model: by the
            positions of a picture's tokens, say. What they give is no tokens of anything.
    """

    def __init__(self, model: nn.Module, calls: Sequence[Call], rows: tuple[int, int]) -> None:
        self._model, self._rows = model, rows
        self._modules = dict.fromkeys((each.name, each.module) for each in calls)
        self._given = model.integers() if isinstance(model, Bound) else []
        self.tables: set[nn.Module] = set()

    def __call__(self, inputs: Tensor, disturbed: int | None = None) -> list[Tensor]:
        """Of each call `(batch, 2, channels)`.

        Args:
            inputs: the picture.
            disturbed: the number of the call whose tokens are changed on their way.
        """
        seen: list[Tensor] = []

        def see(tensor: Tensor) -> Tensor | None:
            if tensor.ndim != 3 or tensor.shape[:2] != self._rows:
                return None
            seen.append(tensor[:, [self._rows[1] // 2, -1]].clone())
            if len(seen) - 1 != disturbed:
                return None
            generator = torch.Generator().manual_seed(1)
            return tensor + torch.randn(tensor.shape, generator=generator).to(tensor)

        tables = [module for _, module in self._modules if is_a(module, nn.Embedding)]
        with ExitStack() as stack:
            stack.enter_context(undisturbed(self._model))
            stack.enter_context(torch.no_grad())
            stack.enter_context(hooked([(one, self._read) for one in tables]))
            for one in self._modules:
                stack.enter_context(replacing(Layer(*one), see))
            self._model(inputs.clone())
        return seen

    def _read(self, module: nn.Module, args: Any, output: Any) -> None:  # noqa: ARG002
        """A forward hook of an embedding: whether what it is read by is no input."""
        asked = args[0] if args else None
        if isinstance(asked, Tensor) and (not self._given or self._counts(asked)):
            self.tables.add(module)

    def _counts(self, asked: Tensor) -> bool:
        """Whether integers are positions, and not an input of the model."""
        if any(one.shape == asked.shape and torch.equal(one, asked) for one in self._given):
            return False
        held = {one.untyped_storage().data_ptr() for one in self._model.buffers()}
        steps = asked.flatten(0, -2).diff(dim=-1) if asked.ndim > 1 else asked.diff()
        return asked.untyped_storage().data_ptr() in held or bool((steps == 1).all())


def scattered_calls(calls: Sequence[Call], inputs: Tensor) -> set[Call]:
    """The calls that give tokens in another order than the picture's.

    Hiera, for example, stores the tokens of a window side by side, so that pooling is a maximum of
    neighbours in memory. After enough poolings the tokens are in the picture's order again: each
    position is then made only of its own cell.
    """
    return _scattered(_laid(calls, inputs))


def _scattered(laid: Sequence[tuple[Call, Grid]]) -> set[Call]:
    order: tuple[Tensor, Grid] | None = None
    found = set()
    for call, grid in laid:
        if grid.form != "tokens":
            continue
        if call.order is not None:
            rows = call.order[grid.extra :] - grid.extra
            order = (rows if order is None or order[1] != grid else order[0][rows]), grid
        if order is not None and not _in_order(*order, grid):
            found.add(call)
    return found


def _in_order(order: Tensor, before: Grid, grid: Grid) -> bool:
    """Whether tokens that are pooled from reordered ones lie on the picture row by row.

    Args:
        order: where each of the reordered ones was.
        before: how they lay.
        grid: how the pooled ones would lie.
    """
    count = math.prod(grid.size)
    if len(order) % count or len(grid.size) != 2:
        return False
    (height, width), (rows, columns) = before.size, grid.size
    cells = order // width * rows // height * columns + order % width * columns // width
    wanted = torch.arange(count)
    return any(  # pooled tokens are neighbours in memory, or lie a count apart
        bool((groups == wanted[:, None]).all())
        for groups in (cells.reshape(-1, count).T, cells.reshape(count, -1))
    )


def _attending(
    found: Sequence[tuple[Call, Grid]], inputs: Tensor, sizes: Sequence[tuple[int, ...] | Grid]
) -> dict[str, int]:
    """The parts that give as many positions as they take, by name: blocks and attentions."""
    parts = {}
    for call, grid in found:
        if call.entered is not None and grid.fits(inputs.shape):
            taken = find_grid(call.entered, inputs.shape, None, sizes)
            if taken is not None and taken.size == grid.size:
                parts[call.name] = math.prod(grid.size) + grid.aside
    return parts


def _is_matrix(
    call: Call, grid: Grid, parts: Mapping[str, int], counts: Set[int], inputs: Tensor
) -> bool:
    """Whether what looks like a map is tokens by tokens, or by channels, of each attention head.

    Args:
        call, grid: what looks like a map.
        parts: the attentions, by name, and their numbers of tokens.
        counts: of tokens, anywhere in the model.
        inputs: the picture.
    """
    prefixes = [name for name in parts if call.name.startswith(f"{name}.")]
    if grid.form == "tokens" or grid.fits(inputs.shape):
        return any(grid.size == (parts[name], parts[name]) for name in prefixes)
    of_tokens = math.prod(grid.size) not in counts and not counts.isdisjoint(grid.size)
    return bool(prefixes) or of_tokens
