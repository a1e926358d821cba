"""Images larger than memory: explained tile by tile, the maps laid side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from seewhy.attribution import attribute
from seewhy.errors import ImageError, MethodError, TargetError
from seewhy.models.load import LoadedModel
from seewhy.targets import PerImage, Predicted, Several, TopK, parse_target


class Sliceable(Protocol):
    """A tensor, an array, or an array on disk (numpy's memmap, zarr, HDF5)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(channels, *spatial)."""

    def __getitem__(self, place: Any) -> Any:
        """A part of it, which is read when it is asked for."""


def attribute_tiles(
    model: nn.Module | LoadedModel,
    image: Sliceable,
    target: Any,
    *,
    tile: int | Sequence[int],
    overlap: float = 0.5,
    prepare: Callable[[Any], Tensor] = torch.as_tensor,
    batch_size: int = 4,
    **options: Any,
) -> Tensor:
    """One raw map of an image of any size, of which a few tiles at a time are in memory.

    Each tile is an image of its own to the model, as it is to models that are trained on tiles
    (slides, aerial photographs): what lies beyond a tile has no say in its map. Tiles begin where
    positions of the layer do, so that maps are added up position by position and never resized;
    where tiles overlap, a position counts the more the further it is from its tile's edges.

    Args:
        model: as `attribute` takes it.
        image: `(channels, *spatial)`; tiles are read from it by slicing.
        target: one target for all tiles, named: each tile would predict a class of its own.
        tile: a side of the tiles in pixels, or one for each spatial dimension: the size that the
            model was trained on, as a rule. Tiles that reach over the image's end have zeros there.
        overlap: the share of a tile's side that the next one covers too, from 0 to less than 1.
        prepare: makes a tile the model's input `(channels, *tile)`; what is read is one already.
        batch_size: tiles that go through the model at once.
        options: `method`, `layer` and all else that `attribute` takes.

    Returns:
        The map `(*spatial)` at the layer's resolution, float32: of ceil(size / stride) positions,
        where a position is `stride` pixels of the model's input.

    Raises:
        ImageError: an image of another shape.
        MethodError: tiles that are no multiple of the stride, or several maps asked for.
        TargetError: no target.

    Example:
        >>> import seewhy, torch
        >>> network = torch.nn.Sequential(
        ...     torch.nn.Conv2d(3, 8, 4, stride=4),
        ...     torch.nn.ReLU(),
        ...     torch.nn.AdaptiveAvgPool2d(1),
        ...     torch.nn.Flatten(),
        ...     torch.nn.Linear(8, 2),
        ... )
        >>> slide = torch.rand(3, 256, 512)
        >>> seewhy.attribute_tiles(network, slide, target=1, tile=128).shape
        torch.Size([64, 128])
    """
    size = tuple(image.shape[1:])
    if not 1 <= len(size) <= 3 or 0 in image.shape:
        raise ImageError(
            "the image must be (channels, *spatial) with 1 to 3 spatial dimensions, "
            f"not {tuple(image.shape)}."
        )
    sides = [tile] * len(size) if isinstance(tile, int) else [int(side) for side in tile]
    if len(sides) != len(size) or min(sides) < 1:
        raise MethodError(
            f"tile must be a positive number, or one for each of {len(size)} "
            f"dimensions, not {tile}."
        )
    if not 0 <= overlap < 1:
        raise MethodError(f"overlap must be a share of at least 0 and below 1, not {overlap}.")
    if batch_size < 1:
        raise MethodError(f"batch_size must be at least 1, not {batch_size}.")
    choice = parse_target(target, model.labels if isinstance(model, LoadedModel) else None)
    if any(isinstance(part, Predicted | TopK | PerImage | Several) for part in choice.parts()):
        raise TargetError(
            "all tiles are explained for the same target. Name a class, since each "
            "tile would predict its own class."
        )

    def explained(starts: Sequence[tuple[int, ...]]) -> Tensor:
        tiles = torch.stack([read(start) for start in starts])
        maps = attribute(model, tiles, target, **options)
        if not isinstance(maps, Tensor):
            raise MethodError(
                "several layers give several maps. Name one layer, or combine them with fuse=."
            )
        return maps.cpu()

    def read(start: tuple[int, ...]) -> Tensor:
        return _tile(image, start, sides, prepare)

    def doubled(dimension: int) -> Tensor:
        where = {name: options[name] for name in ("layer", "fuse", "output") if name in options}
        longer = torch.cat([read(origin)] * 2, 1 + dimension)[None]
        maps = attribute(model, longer, target, method=_first_channel, **where)
        assert isinstance(maps, Tensor)
        return maps

    origin = (0,) * len(size)
    first = explained([origin])[0]
    strides = _strides(first.shape, sides, doubled)
    total = torch.zeros([-(-whole // stride) for whole, stride in zip(size, strides, strict=True)])
    weight = torch.zeros_like(total)
    near = [torch.minimum(torch.arange(n) + 1, n - torch.arange(n)) for n in first.shape]
    counts = torch.stack(torch.meshgrid(*near, indexing="ij")).prod(0).float()

    def add(start: tuple[int, ...], one: Tensor) -> None:
        places, inside = [], []
        for at, stride, whole, cells in zip(start, strides, total.shape, one.shape, strict=True):
            begin = at // stride
            end = min(begin + cells, whole)
            places.append(slice(begin, end))
            inside.append(slice(0, end - begin))
        total[tuple(places)] += (one * counts)[tuple(inside)]
        weight[tuple(places)] += counts[tuple(inside)]

    add(origin, first)
    steps = zip(size, sides, strides, strict=True)
    starts = product(*(_starts(*one, overlap) for one in steps))
    next(starts)  # the first tile is explained already
    for some in _batches(starts, batch_size):
        for start, one in zip(some, explained(some), strict=True):
            add(start, one)
    return total / weight


def _first_channel(activations: Tensor) -> Tensor:
    return activations[:, 0]


def _tile(
    image: Sliceable,
    start: tuple[int, ...],
    sides: Sequence[int],
    prepare: Callable[[Any], Tensor],
) -> Tensor:
    """One tile, with zeros beyond the image's end."""
    place = tuple(slice(at, at + side) for at, side in zip(start, sides, strict=True))
    read = prepare(image[(slice(None), *place)])
    missing = [side - there for side, there in zip(sides, read.shape[1:], strict=True)]
    beyond = [amount for side in reversed(missing) for amount in (0, side)]
    return pad(read, beyond)


def _strides(
    positions: Sequence[int], sides: Sequence[int], doubled: Callable[[int], Tensor]
) -> list[int]:
    """The pixels of a position along each dimension, from a tile's map and that of two tiles.

    `doubled(dimension)` is the map of a tile twice as long there. A tile that is no multiple of the
    stride has a position that is padded or cut off, and two together have not twice as many.
    """
    for dimension, (count, side) in enumerate(zip(positions, sides, strict=True)):
        if count == side:  # a map of pixels
            continue
        try:
            twice = doubled(dimension).shape[1 + dimension]
        except Exception:  # the model takes this size only, and its positions divide it
            twice = 2 * count
        if side % count or twice != 2 * count:
            raise MethodError(
                f"a tile of {side} pixels gives {count} positions along dimension "
                f"{dimension}, but a tile of {2 * side} gives {twice}. Choose a tile that "
                "is a multiple of the network's stride, so that the maps fit together."
            )
    return [side // count for side, count in zip(sides, positions, strict=True)]


def _starts(whole: int, side: int, stride: int, overlap: float) -> list[int]:
    """Where tiles begin along a dimension: at multiples of the stride."""
    step = max(stride, int(side * (1 - overlap)) // stride * stride)
    last = max(0, -(-(whole - side) // stride) * stride)  # reaches over the end by least
    return [*range(0, last, step), last]


def _batches(starts: Iterator[tuple[int, ...]], batch_size: int) -> Iterator[list[tuple[int, ...]]]:
    some: list[tuple[int, ...]] = []
    for start in starts:
        some.append(start)
        if len(some) == batch_size:
            yield some
            some = []
    if some:
        yield some
