"""Where a layer's positions lie on the picture: maps, channels-last maps and tokens.

Methods see `(batch, channels, *positions)` and nothing else. What a layer itself gives may be a
map with its channels first (convolutions) or last (Swin, LayerNorm), or tokens in rows, with class
and register tokens before them (ViT). Which it is, and how the tokens lie, follows from the size
of the picture: a layer reduces all its axes by the same stride.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Literal

import torch
from torch import Tensor, nn

from seewhy.models.exported import is_a, kind_of


@dataclass(frozen=True)
class Stack:
    """How several rows of a layer's tensor make the map of one image.

    Rows that come from a picture cut into tiles, from a video's frames, from copies that are
    flipped, or from several pictures that run as one batch.

    Attributes:
        count: rows of each image.
        lay: `one` of the rows is the picture's; they are the `frames` of a video, along one of its
            axes; `tiles`, row by row; or `copies` of the picture, of which each has channels of
            its own.
        along: whether an image's rows lie side by side (`images`), or every image's first row comes
            first, then every second (`rows`).
        which: the picture's row, or the axis of the frames.
        tiles: how many along each axis.
        flips: for each copy, the axes along which it is flipped.
    """

    count: int
    lay: Literal["one", "frames", "tiles", "copies"]
    along: Literal["images", "rows"] = "rows"
    which: int = 0
    tiles: tuple[int, ...] = ()
    flips: tuple[tuple[int, ...], ...] = ()

    def picture(self, shape: Sequence[int]) -> tuple[int, ...]:
        """What of a picture of that shape one row sees."""
        axes = list(shape[2:])
        if self.lay == "frames":
            del axes[self.which]
        if self.lay == "tiles":
            axes = [length // tiles for length, tiles in zip(axes, self.tiles, strict=True)]
        return (*shape[:2], *axes)

    def size(self, part: tuple[int, ...]) -> tuple[int, ...]:
        """The positions of the whole map, from those of one row's."""
        if self.lay == "frames":
            return (*part[: self.which], self.count, *part[self.which :])
        if self.lay == "tiles":
            return tuple(one * tiles for one, tiles in zip(part, self.tiles, strict=True))
        return part

    def part(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """The positions of one row's map, from those of the whole."""
        if self.lay == "frames":
            return (*size[: self.which], *size[self.which + 1 :])
        if self.lay == "tiles":
            return tuple(one // tiles for one, tiles in zip(size, self.tiles, strict=True))
        return size

    def rows(self, tensor: Tensor) -> Tensor:
        """`(count, images, ...)`: every image's first row, then every second."""
        if self.along == "rows":
            return tensor.reshape(self.count, -1, *tensor.shape[1:])
        return tensor.reshape(-1, self.count, *tensor.shape[1:]).transpose(0, 1)

    def back(self, rows: Tensor) -> Tensor:
        """The layer's tensor from `(count, images, ...)`."""
        return (rows if self.along == "rows" else rows.transpose(0, 1)).flatten(0, 1)

    def laid(self, maps: Sequence[Tensor]) -> Tensor:
        """The whole map from those of the rows, each `(images, channels, *positions)`."""
        if self.lay == "one":
            return maps[self.which]
        if self.lay == "frames":
            return torch.stack(list(maps), 2 + self.which)
        if self.lay == "copies":
            turned = [one.flip(_behind(axes)) for one, axes in zip(maps, self.flips, strict=True)]
            return torch.cat(turned, 1)
        parts = list(maps)
        for axis in reversed(range(len(self.tiles))):
            along = self.tiles[axis]
            parts = [torch.cat(parts[i : i + along], 2 + axis) for i in range(0, len(parts), along)]
        return parts[0]

    def apart(self, whole: Tensor, maps: Sequence[Tensor]) -> list[Tensor]:
        """The rows' maps from versions of the whole one; `maps` are the unchanged ones."""
        if self.lay == "one":
            parts = [one.expand(len(whole), *one.shape[1:]) for one in maps]
            parts[self.which] = whole
            return parts
        if self.lay == "frames":
            return list(whole.unbind(2 + self.which))
        if self.lay == "copies":
            parts = list(whole.chunk(self.count, 1))
            return [one.flip(_behind(axes)) for one, axes in zip(parts, self.flips, strict=True)]
        parts = [whole]
        for axis, along in enumerate(self.tiles):
            parts = [one for part in parts for one in part.chunk(along, 2 + axis)]
        return parts


def _behind(axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(2 + axis for axis in axes)


@dataclass(frozen=True)
class Grid:
    """How a layer's tensor is laid out.

    Attributes:
        size: positions along each axis of the picture: (height, width), or one number, or three.
        form: where the channels are; tokens are `(batch, extra + positions, channels)`, frames of
            a video that runs picture by picture `(batch * frames, channels, height, width)`.
        extra: tokens before those of the picture (class, distillation, registers).
        behind: tokens behind those of the picture (a detector's queries, a text).
        stack: how several rows of the tensor make one image's map; None where each is an image's.
        time_last: whether a video's tokens are in the order of places, and of frames at each place
            (TimeSformer); else they are in the order of frames.
    """

    size: tuple[int, ...]
    form: Literal["channels first", "channels last", "tokens", "frames"] = "channels first"
    extra: int = 0
    behind: int = 0
    stack: Stack | None = None
    time_last: bool = False

    @property
    def aside(self) -> int:
        """How many tokens are not the picture's."""
        return self.extra + self.behind

    def channels(self, shape: Sequence[int]) -> int:
        """How many channels the map of a tensor of that shape has."""
        channels = shape[1 if self.form in ("channels first", "frames") else -1]
        copies = self.stack is not None and self.stack.lay == "copies"
        return channels * self.stack.count if self.stack is not None and copies else channels

    def fits(self, picture: Sequence[int]) -> bool:
        """Whether it is what one stride along all axes of the picture leaves."""
        return _fits(self.size, picture[2:])

    def of(self, tensor: Tensor) -> Tensor:
        """`(batch, channels, *size)`: a view of the layer's tensor, or made of its rows."""
        if self.stack is not None:
            return self.stack.laid([self._row.of(one) for one in self.stack.rows(tensor)])
        if self.form == "channels first":
            return tensor
        if self.form == "frames":
            return tensor.reshape(-1, self.size[0], *tensor.shape[1:]).movedim(1, 2)
        if self.form == "tokens":
            tensor = tensor[:, self.extra : tensor.shape[1] - self.behind]
            size = (*self.size[1:], self.size[0]) if self.time_last else self.size
            tensor = tensor.reshape(len(tensor), *size, tensor.shape[-1])
            tensor = tensor.movedim(-2, 1) if self.time_last else tensor
        return tensor.movedim(-1, 1)

    def back(self, maps: Tensor, tensor: Tensor) -> Tensor:
        """Versions of the layer's tensor that have these maps; extra tokens are as in `tensor`.

        Args:
            maps: `(versions, channels, *size)`.
            tensor: one image's, in the layer's own form.
        """
        if self.stack is not None:
            rows = list(self.stack.rows(tensor))
            parts = self.stack.apart(maps, [self._row.of(one) for one in rows])
            pairs = zip(parts, rows, strict=True)
            return self.stack.back(torch.stack([self._row.back(*pair) for pair in pairs]))
        if self.form == "channels first":
            return maps
        if self.form == "frames":
            return maps.movedim(2, 1).flatten(0, 1)
        last = maps.movedim(1, -1)
        if self.form == "channels last":
            return last.contiguous()
        last = last.movedim(1, -2) if self.time_last else last
        first = tensor.shape[1] - self.behind
        before, behind = (
            some.expand(len(maps), -1, -1)
            for some in (tensor[:1, : self.extra], tensor[:1, first:])
        )
        return torch.cat([before, last.flatten(1, -2), behind], 1)

    @property
    def _row(self) -> Grid:
        """How one row of a stack lies."""
        assert self.stack is not None
        return Grid(self.stack.part(self.size), self.form, self.extra, self.behind)

    @property
    def in_order(self) -> bool:
        """Whether the rows of each image lie side by side."""
        return self.stack is None or self.stack.along == "images"

    def joined(self, versions: Sequence[Tensor]) -> Tensor:
        """Versions of a layer's tensor, and others, as one batch."""
        if self.stack is None or self.in_order:
            return torch.cat(list(versions))
        return self.stack.back(torch.cat([self.stack.rows(one) for one in versions], 1))

    def each(self, versions: Tensor) -> list[Tensor]:
        """Versions of a layer's tensor for one image, one by one."""
        if self.stack is not None:
            return [self.stack.back(one) for one in torch.split(self.stack.rows(versions), 1, 1)]
        if not len(versions):
            return []
        return list(torch.split(versions, self.size[0] if self.form == "frames" else 1))

    def __str__(self) -> str:
        positions = "×".join(map(str, self.size))
        return f"{positions} tokens" if self.form == "tokens" else positions


def find_grid(
    shape: Sequence[int],
    picture: Sequence[int],
    module: nn.Module | None = None,
    known: Sequence[tuple[int, ...] | Grid] = (),
    stack: Stack | None = None,
) -> Grid | None:
    """How a layer's output lies on the picture, if it does.

    Args:
        shape: of the output, with the batch.
        picture: the shape of the model's input, `(batch, channels, height, width)` or with one or
            three axes behind the channels.
        module: what gave the output; it decides where the shape alone leaves two ways.
        known: sizes of other layers' maps, for tokens of a picture that is not reduced alike
            along all its axes; and how tokens lie of which a run has shown it.
        stack: how several rows make one image's map, where that is known.

    Returns:
        None for an output that has no axis of positions, is another batch (the windows of an
        attention), or cannot be laid on the picture.
    """
    if stack is not None:
        one = (shape[0] // stack.count, *shape[1:])
        row = find_grid(one, stack.picture(picture), module, known)
        if row is None or row.form == "frames" or math.prod(row.size) < 2:
            return None
        return Grid(stack.size(row.size), row.form, row.extra, row.behind, stack)
    axes = tuple(picture[2:])
    inner = tuple(shape[1:])
    if len(axes) == 3 and len(inner) == 3 and shape[0] == picture[0] * axes[0] != picture[0]:
        size = (axes[0], *inner[1:])
        return Grid(size, "frames") if _fits(size, axes) else None
    if len(shape) < 3 or not axes or shape[0] != picture[0]:
        return None
    last = None if module is None else _channels_last(module, inner)
    return _laid(inner, axes, last, tuple(known))


@lru_cache(maxsize=4096)
def _laid(
    inner: tuple[int, ...],
    axes: tuple[int, ...],
    last: bool | None,
    known: tuple[tuple[int, ...] | Grid, ...],
) -> Grid | None:
    if len(axes) == 1 and len(inner) == 2:  # any length is some stride of a signal's
        return _tokens(inner[0], axes, known) if last else Grid(inner[1:])
    if len(inner) == len(axes) + 1:
        first_fits, last_fits = _fits(inner[1:], axes), _fits(inner[:-1], axes)
        if first_fits and last_fits:
            first_fits, last_fits = not last, bool(last)
        if first_fits or (not last_fits and not last):
            return Grid(inner[1:])
        if last_fits:
            return Grid(inner[:-1], "channels last")
    if len(inner) == 2:
        return _tokens(inner[0], axes, known)
    return None


def _fits(size: Sequence[int], axes: Sequence[int]) -> bool:
    """Whether one stride along all axes, rounded up or down, leaves these positions."""
    lows = [length / (positions + 1) for positions, length in zip(size, axes, strict=True)]
    highs = [length / max(positions - 1, 0.5) for positions, length in zip(size, axes, strict=True)]
    if len(axes) == 3:  # frames have a stride of their own
        lows, highs = lows[1:], highs[1:]
    fewer = all(positions <= length for positions, length in zip(size, axes, strict=True))
    return fewer and max(lows) < min(highs)


def _tokens(
    count: int, axes: tuple[int, ...], shown: Sequence[tuple[int, ...] | Grid]
) -> Grid | None:
    """The grid that leaves the fewest tokens over; rather a known one, or one that divides.

    One that a run has shown comes first. Where maps are known and none has that size, what is left
    over is no class token: the queries of a detector, for which some number of rows and columns
    could always be found.
    """
    for one in shown:
        if isinstance(one, Grid) and math.prod(one.size) + one.aside == count:
            return one
    known = [one for one in shown if not isinstance(one, Grid)]
    found: dict[tuple[bool, int], list[tuple[int, ...]]] = {}
    for size in _sizes(axes):
        extra = count - math.prod(size)
        if 0 <= extra <= _most_extra(size):
            strange = size not in known and not _divides(size, axes)
            found.setdefault((strange, extra), []).append(size)
    (strange, extra), sizes = min(found.items(), default=((True, 1), []))
    exact = any(math.prod(size) == count and min(size) > 1 for size in known)
    # A known map that leaves no token over comes before what leaves some.
    if sizes and not (extra and (exact or (strange and known))):
        if len(sizes) > 1:  # fewer frames of more positions, or more of fewer
            sizes = [size for size in sizes if size in known]
        return Grid(sizes[0], "tokens", extra) if sizes else None
    left = {size: count - math.prod(size) for size in known}
    fitting = [size for size, extra in left.items() if 0 <= extra <= _most_extra(size)]
    if not fitting:
        return None
    size = min(fitting, key=lambda one: (1 in one, left[one]))  # (1, n): one token's attention
    return Grid(size, "tokens", left[size])


def _divides(size: Sequence[int], axes: Sequence[int]) -> bool:
    """Whether one whole stride leaves these positions and no rest (frames have their own)."""
    strides = [length / positions for positions, length in zip(size, axes, strict=True)]
    return all(one.is_integer() for one in strides) and len(set(strides[-2:])) == 1


def _most_extra(size: Sequence[int]) -> int:
    """So many tokens at most are believed to stand before a grid's: a class and eight registers.

    More are something else, such as a detector's (YOLOS has them behind the picture's): where the
    picture's are among them is then found by changing it.
    """
    return min(9, max(2, math.prod(size) // 3))


def _sizes(axes: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Every grid that one stride along all axes leaves, rounded down or up."""
    found: dict[tuple[int, ...], None] = {}
    frames = axes[:1] if len(axes) == 3 else ()
    plane = axes[len(frames) :]
    for stride in range(1, min(plane) + 1):
        for rounded in (
            tuple(length // stride for length in plane),
            tuple(-(-length // stride) for length in plane),
        ):
            for along in product(*(sorted({n // t for t in range(1, n + 1)}) for n in frames)):
                found[(*along, *rounded)] = None
    return tuple(size for size in found if math.prod(size) > 1)


def _channels_last(module: nn.Module, inner: Sequence[int]) -> bool | None:
    """Whether the last part with weights works along the last axis; None: it has no weights.

    A block that holds a linear map and a convolution (ConvNeXt's) gives its channels first, which
    matters where there are as many channels as positions along an axis.
    """
    parts = [
        part
        for part in module.modules()
        if any(parameter is not None for parameter in part._parameters.values())
    ]
    if not parts:
        return None
    part = parts[-1]
    if isinstance(part, nn.RNNBase):
        return True
    if is_a(part, nn.Linear):
        convolutions = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
        return inner[0] != inner[-1] or not any(is_a(p, k) for p in parts for k in convolutions)
    weights = [one for one in part._parameters.values() if one is not None]
    if kind_of(part) == "LayerNorm":
        return weights[0].shape[-1] == inner[-1]
    # Of other norms and scales, which have a number for each channel.
    return all(tuple(one.shape) == (inner[-1],) for one in weights) and inner[0] != inner[-1]
