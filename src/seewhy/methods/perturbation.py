"""The perturbation methods: what the score does when a part of the layer or the image is gone.

Every function sees one image and all its targets at once: a changed version is computed once, and
each target reads its score there. The arguments are called after what a function needs:

- `activations`: `(channels, *spatial)`, the layer's, with 1 to 3 spatial dimensions.
- `scores`: `(targets,)`, of the image as it is.
- `image`: `(channels, *spatial)`, prepared for the model: an image, a signal or a volume.
- `gradients`: `(targets, channels, *spatial)`, of each score by the activations.
- `rerun(count, make)`: scores `(count, targets)` of `count` versions of the activations. It asks
  `make(which)` for the versions numbered `which`, a few at a time, so that memory stays bounded.
- `without_channels(channels)`: scores `(n, targets)` where one channel of the layer each is zero.
- `forward(count, make)`: the same for versions of the image.
- `forward_probability(count, make)`: the same, but for each target the probability of its class.
- `note(said)`: takes what the reader of the map should know.

Results are raw maps `(targets, *spatial)`, neither scaled nor resized: at the layer's
resolution where a function has `activations`, otherwise at the image's. They do not depend on how
many versions are made at once. What the caller may choose is keyword-only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import conv1d, one_hot, pad

from seewhy.errors import MethodError, at_least_one
from seewhy.methods.positions import at_positions, spatial
from seewhy.methods.signed import Note, note_negative_sums
from seewhy.scaling import resize_map, unit_range

Make = Callable[[Tensor], Tensor]
Versions = Callable[[int, Make], Tensor]
Channels = Callable[[Tensor], Tensor]


# --- Channels taken away ------------------------------------------------------------------------


def ablation_cam(
    activations: Tensor,
    scores: Tensor,
    without_channels: Channels,
    note: Note | None = None,
) -> Tensor:
    """Channels weighted by how far the score falls when the channel is set to zero (Desai 2020).

    The weight is the fall y − y_k itself. The paper divides it by y, which for y > 0 gives the
    same picture, and for y < 0 turns it round: see `ablation_cam_relative`. Channels are set to 0
    whatever their sign; pytorch-grad-cam sets them to about −1e7 where any value is negative.
    """
    return _weighted_sum(_drops(activations, scores, without_channels, note), activations).relu()


def ablation_cam_relative(
    activations: Tensor,
    scores: Tensor,
    without_channels: Channels,
    note: Note | None = None,
) -> Tensor:
    """Ablation-CAM with the paper's weights (y − y_k) / y (Desai 2020; pytorch-grad-cam).

    Where the score is negative, the map shows what speaks against the target.

    Raises:
        MethodError: where a score is 0.
    """
    if (scores == 0).any():
        raise MethodError(
            "the score of a target is 0, but ablation-cam-relative divides by it. Use "
            "ablation-cam, which does not."
        )
    weights = _drops(activations, scores, without_channels, note) / scores[:, None]
    return _weighted_sum(weights, activations).relu()


def ablation_cam_slope(
    activations: Tensor,
    scores: Tensor,
    without_channels: Channels,
    note: Note | None = None,
) -> Tensor:
    """Ablation-CAM with the slope (y − y_k) / ‖A_k‖ that the paper starts from (Desai 2020).

    The norm is the sum of absolute values. With it, for activations that are not negative and a
    head of global average pooling and one linear map, this is CAM over the number of positions.
    """
    norms = activations.to(scores).abs().flatten(1).sum(1)
    weights = _drops(activations, scores, without_channels, note) / torch.where(
        norms == 0, 1, norms
    )
    return _weighted_sum(weights, activations).relu()


# --- Positions kept -----------------------------------------------------------------------------


def recipro_cam(activations: Tensor, rerun: Versions) -> Tensor:
    """The score of the layer with all but one position set to zero; signed (Byun 2022).

    The authors' code reads probabilities: there the target is one (`p:`). As in it and in
    openvino_xai, a position stands alone; `recipro_cam_gaussian` keeps some of its neighbours.
    """
    sides = [torch.eye(size) for size in activations.shape[1:]]
    return _position_scores(activations, rerun, sides)


def recipro_cam_gaussian(activations: Tensor, rerun: Versions) -> Tensor:
    """Recipro-CAM through a Gaussian 3 wide, cut off at the edges; signed (Byun 2022).

    1/2 of the position and 1/4 of each neighbour, along every dimension: 3 × 3 on a picture.
    As in openvino_xai each position keeps its own activations, times the mask. The authors' code,
    where this is switched off, has the middle position's activations in all nine places instead.
    On a transformer's last norm before its attention this is ViT-ReciproCAM (Byun 2023), where the
    head reads the class token, which is kept.
    """
    sides = []
    for size in activations.shape[1:]:
        places = torch.arange(size)
        sides.append((2 - (places[:, None] - places).abs()).relu() / 4)
    return _position_scores(activations, rerun, sides)


# --- The image seen through the layer's channels ------------------------------------------------


def score_cam(
    activations: Tensor, scores: Tensor, image: Tensor, forward_probability: Versions
) -> Tensor:
    """Channels weighted by the class's probability on the image seen through them (Wang 2020).

    As in the authors' code: each channel is upsampled, then scaled to 0..1, and multiplies the
    image; the softmax probability there is its weight; constant channels are left out. The code
    sums upsampled channels and then rectifies, this rectifies at the layer's resolution: the same
    where activations are not negative. The paper's Algorithm 1 is `score_cam_increase`.
    """
    channels = _varying(activations)
    weights = _scores_through(channels, scores, image, forward_probability)[0]
    return _weighted_sum(weights, channels).relu()


def score_cam_bounded(
    activations: Tensor,
    scores: Tensor,
    image: Tensor,
    forward_probability: Versions,
    *,
    error: float = 0.05,
) -> Tensor:
    """Score-CAM that stops once the channels left cannot change the map much (after Wang 2020).

    Its weights are probabilities, or differences of them, which lie between −1 and 1. So the
    channels not looked at yet, the weakest, can change a position by no more than the sum of their
    absolute values there. The map is within `error` times its own greatest value of `score_cam`'s.

    Args:
        activations, scores, image, forward_probability: see above.
        error: as above, for every target; 0 looks through every channel.
    """
    channels = _varying(activations)
    sizes = channels.flatten(1).abs().amax(1)
    channels = channels[sizes.argsort(stable=True, descending=True)]
    values = channels.to(scores).abs().flatten(1)
    left_over = values.flip(0).cumsum(0).flip(0).amax(1)
    total = scores.new_zeros(len(scores), *activations.shape[1:])
    step = min(32, max(1, len(channels) // 16))  # small batches cost more than a look is worth
    for first in range(0, len(channels), step):
        if (left_over[first] <= error * total.flatten(1).amax(1)).all():
            break
        some = channels[first : first + step]
        weights = _scores_through(some, scores, image, forward_probability)[0]
        total += _weighted_sum(weights, some)
    return total.relu()


def score_cam_increase(
    activations: Tensor, scores: Tensor, image: Tensor, forward: Versions
) -> Tensor:
    """Score-CAM with a softmax of the scores over the channels (Wang 2020, Algorithm 1).

    The baseline image's score, which the algorithm subtracts from all, leaves a softmax as it is
    and is never computed. Constant channels, whose mask would be 0/0, take no part.
    """
    channels = _varying(activations)
    weights = _scores_through(channels, scores, image, forward)[0].softmax(1)
    return _weighted_sum(weights, channels).relu()


def ss_cam(
    activations: Tensor,
    scores: Tensor,
    image: Tensor,
    forward: Versions,
    *,
    samples: int = 35,
    noise: float = 2.0,
    seed: int = 0,
) -> Tensor:
    """Algorithm 1 of Score-CAM with scores averaged over noisy masks (Wang 2020, SS-CAM).

    All channels get the same noise: they are only compared with one another, and so the luck of
    the draw is the same for each.

    Args:
        activations, scores, image, forward: see above.
        samples: how many noisy masks a channel.
        noise: standard deviation of what is added to a mask in 0..1.
        seed: of the noise.
    """
    at_least_one(MethodError, samples=samples)
    generator = torch.Generator().manual_seed(seed)
    drawn = noise * torch.randn(samples, 1, *image.shape[1:], generator=generator)
    drawn = drawn.to(image)
    channels = _varying(activations)
    through = _scores_through(
        channels, scores, image, forward, samples, lambda masks, sample: masks + drawn[sample]
    )
    return _weighted_sum(through.mean(0).softmax(1), channels).relu()


def is_cam(
    activations: Tensor, scores: Tensor, image: Tensor, forward: Versions, *, steps: int = 10
) -> Tensor:
    """Algorithm 1 of Score-CAM with scores averaged over masks times 1/N .. N/N (Naidu 2020).

    torch-cam's factors are running sums of these and go up to (N + 1) / 2.
    """
    at_least_one(MethodError, steps=steps)
    shares = at_positions(torch.arange(1, steps + 1).to(image), image[None]) / steps
    channels = _varying(activations)
    through = _scores_through(
        channels, scores, image, forward, steps, lambda masks, step: masks * shares[step]
    )
    return _weighted_sum(through.mean(0).softmax(1), channels).relu()


def group_cam(
    activations: Tensor,
    gradients: Tensor,
    image: Tensor,
    forward_probability: Versions,
    *,
    groups: int = 32,
) -> Tensor:
    """Groups of Grad-CAM's channels, weighted by what seeing them adds to a blur (Zhang 2021).

    As in the authors' code: in each group the strongest 30 % of positions are kept, upsampled,
    scaled to 0..1 and blended between the image and its blurred copy (51 wide, sigma 50 pixels);
    the weight is the probability gained over the blurred copy, and what it weights is the mask.

    Args:
        activations, gradients, image, forward_probability: see above.
        groups: how many groups of neighbouring channels; fewer where there are fewer channels.
    """
    at_least_one(MethodError, groups=groups)
    weighted = gradients.mean(spatial(gradients), keepdim=True) * activations
    merged = torch.stack([part.sum(1).relu() for part in weighted.chunk(groups, 1)], 1)
    target = torch.arange(len(merged), device=merged.device).repeat_interleave(merged.shape[1])
    merged = merged.flatten(0, 1)
    wide = merged.to(torch.promote_types(merged.dtype, torch.float32))  # quantile takes no half
    # One by one: it takes at most 16 million values.
    threshold = torch.stack([one.flatten().quantile(0.7) for one in wide])
    merged = torch.where(merged > at_positions(threshold, merged), merged, 0)
    target, merged = target[_varies(merged)], merged[_varies(merged)]
    blurred = _blurred(image, radius=25, sigma=50.0)
    # Version 0 is the blurred copy alone: what the others gain, they gain over it.
    seen = torch.cat([merged.new_zeros(1, *merged.shape[1:]), merged])

    def blended(which: Tensor) -> Tensor:
        masks = _unit_masks(seen[which.to(seen.device)], image)
        return blurred + masks * (image - blurred)

    probabilities = forward_probability(len(seen), blended)
    gains = (probabilities[1:] - probabilities[0]) * one_hot(target, len(gradients)).to(
        probabilities
    )
    low, high = _extremes(merged, image)
    return _weighted_sum(gains.mT, (merged - low) / (high - low)).relu()


# --- The image with parts hidden ----------------------------------------------------------------


def occlusion(
    image: Tensor,
    scores: Tensor,
    forward: Versions,
    *,
    window: int | Sequence[int] = 32,
    stride: int | Sequence[int] = 16,
    value: float = 0.0,
) -> Tensor:
    """How far the score falls when a square hides the pixel; signed (Zeiler 2014).

    Squares overlap; a pixel gets the mean over those that hide it. The last square of a row or
    column reaches over the edge, as captum's does. Of a signal it is a stretch, of a volume a box.

    Args:
        image, scores, forward: see above.
        window: side of the square in the model's pixels, or one for each spatial dimension.
        stride: from one square to the next, likewise.
        value: what the square is filled with; 0 is the mean colour where inputs are standardised.

    Raises:
        MethodError: for a square larger than the image, or gaps between the squares.
    """
    size = image.shape[1:]
    windows, strides = _each_side("window", window, size), _each_side("stride", stride, size)
    if any(side > whole for side, whole in zip(windows, size, strict=True)):
        raise MethodError(
            f"window={window} is larger than an image of {_by(size)} pixels; choose at "
            f"most {min(size)}"
            + (f", or one for each of {_by(size)}." if len(set(size)) > 1 else ".")
        )
    if any(step > side for step, side in zip(strides, windows, strict=True)):
        raise MethodError(
            f"stride={stride} leaves pixels between windows of {window}; choose at most {window}."
        )
    sides = [_covered(*side).to(image) for side in zip(size, windows, strides, strict=True)]
    counts = [len(side) for side in sides]

    def hidden(which: Tensor) -> Tensor:
        return torch.where(_products(sides, which.to(image.device))[:, None] > 0, value, image)

    drops = scores - forward(math.prod(counts), hidden)
    grid = drops.mT.reshape(-1, *counts)
    sides = [side.to(drops) for side in sides]
    hits = _spread(grid.new_ones(1, *counts), sides)
    return _spread(grid, sides) / hits


def rise(
    image: Tensor,
    forward_probability: Versions,
    *,
    masks: int = 4000,
    cells: int | Sequence[int] = 7,
    keep: float = 0.5,
    seed: int = 0,
) -> Tensor:
    """The mean of random masks, each times the probability of the class behind it (Petsiuk 2018).

    A mask is a coarse grid of open and closed cells, upsampled and shifted by less than a cell.
    Of a volume the grid is one of boxes, of a signal a row.
    Values do not add up to the score: divided by `keep`, they are probabilities given that the
    pixel is seen. 4000 masks of 7 × 7 cells are the paper's for VGG-16; it has 8000 for ResNet-50.

    Args:
        image, forward_probability: see above.
        masks: how many; the noise falls with their square root.
        cells: a side of the grid, or one for each spatial dimension.
        keep: the share of cells that are open.
        seed: of the masks.
    """
    at_least_one(MethodError, masks=masks)
    counts = _each_side("cells", cells, image.shape[1:])
    if not 0 < keep <= 1:
        raise MethodError(f"keep must be a share above 0 and up to 1, not {keep}.")
    grids, shifts = rise_grids(image, masks, counts, keep, seed)

    def drawn(which: Tensor) -> Tensor:
        sides = [
            _shifted_upsampling(size, count, shift[which.to(shift.device)]).to(image)
            for size, count, shift in zip(image.shape[1:], counts, shifts, strict=True)
        ]
        return _spread(grids[which.to(grids.device)].to(image), [side.mT for side in sides])

    weights = forward_probability(masks, lambda which: image * drawn(which)[:, None])
    total = weights.new_zeros(weights.shape[1], *image.shape[1:])
    for which in torch.split(torch.arange(masks), 64):  # made again: cheaper than to keep all
        some = weights[which.to(weights.device)]
        total += torch.einsum("nt,n...->t...", some, drawn(which).to(weights))
    return total / (masks * keep)


def rise_grids(
    image: Tensor, masks: int, cells: Sequence[int], keep: float, seed: int
) -> tuple[Tensor, list[Tensor]]:
    """RISE's draws: open cells `(masks, *cells)`, and shifts along each dimension `(masks,)`.

    A cell has ceil(size / cells) pixels a side, and a shift is less than a cell.
    """
    generator = torch.Generator().manual_seed(seed)
    grids = (torch.rand(masks, *cells, generator=generator) < keep).float()
    shifts = [
        torch.randint(-(-size // count), (masks,), generator=generator)
        for size, count in zip(image.shape[1:], cells, strict=True)
    ]
    return grids, shifts


# --- What they share ----------------------------------------------------------------------------


def _weighted_sum(weights: Tensor, activations: Tensor) -> Tensor:
    """The channels, each times its weight `(targets, channels)`, added up for each target."""
    return torch.einsum("tk,k...->t...", weights, activations.to(weights))


def _drops(
    activations: Tensor, scores: Tensor, without_channels: Channels, note: Note | None
) -> Tensor:
    """How far each score falls without each channel, `(targets, channels)`."""
    drops = scores.new_zeros(len(scores), len(activations))
    alive = activations.flatten(1).any(1).nonzero()[:, 0]  # without a dead channel nothing changes
    if len(alive):
        drops[:, alive] = scores[:, None] - without_channels(alive).mT
    note_negative_sums(note, activations, drops)
    return drops


def _position_scores(activations: Tensor, rerun: Versions, sides: Sequence[Tensor]) -> Tensor:
    """The score of each position's mask: the product of that position's row of every side.

    Args:
        activations, rerun: see above.
        sides: along each dimension what a position keeps of all, `(size, size)`.
    """
    size = activations.shape[1:]
    sides = [side.to(activations) for side in sides]

    def kept(which: Tensor) -> Tensor:
        return activations * _products(sides, which.to(activations.device))[:, None]

    return rerun(math.prod(size), kept).mT.reshape(-1, *size)


def _products(sides: Sequence[Tensor], which: Tensor) -> Tensor:
    """Rows of all sides multiplied, `(len(which), *sizes)`: of each side `(count, size)` one.

    `which` counts the choices of a row of each side, the last side's the fastest.
    """
    rows = torch.unravel_index(which, [len(side) for side in sides])
    made, *others = (side[row] for side, row in zip(sides, rows, strict=True))
    for other in others:
        made = made[..., None] * other.reshape(len(other), *(1,) * (made.ndim - 1), -1)
    return made


def _spread(grid: Tensor, sides: Sequence[Tensor]) -> Tensor:
    """A grid `(rows, *counts)` laid out to `(rows, *sizes)`, dimension by dimension.

    Each of `sides` says what a place on the grid adds to a pixel: `(count, size)`, or
    `(rows, count, size)`.
    """
    for side in sides:  # what is the first dimension goes, and comes back as the last
        rows, count, *others = grid.shape
        grid = (grid.reshape(rows, count, -1).mT @ side).reshape(rows, *others, -1)
    return grid


def _varies(channels: Tensor) -> Tensor:
    return channels.flatten(1).amax(1) > channels.flatten(1).amin(1)


def _varying(activations: Tensor) -> Tensor:
    """The channels that are not constant; nor are they when upsampled, which is injective."""
    return activations[_varies(activations)]


def _unchanged(masks: Tensor, _variant: Tensor) -> Tensor:
    return masks


def _scores_through(
    channels: Tensor,
    scores: Tensor,
    image: Tensor,
    forward: Versions,
    variants: int = 1,
    vary: Callable[[Tensor, Tensor], Tensor] = _unchanged,
) -> Tensor:
    """Scores `(variants, targets, channels)` of the image seen through each variant of a mask."""

    def seen(which: Tensor) -> Tensor:
        which = which.to(channels.device)
        masks = _unit_masks(channels[which // variants], image)
        return image * vary(masks, which % variants)

    if len(channels) == 0:
        return scores.new_zeros(variants, len(scores), 0)
    made = forward(len(channels) * variants, seen)
    return made.reshape(len(channels), variants, -1).permute(1, 2, 0)


def _upsampled(channels: Tensor, image: Tensor) -> Tensor:
    return resize_map(channels[:, None], image.shape[1:]).to(image)


def _extremes(channels: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
    """The least and the greatest value of each upsampled channel, `(channels, 1, ...)`."""
    large = _upsampled(channels, image).flatten(1)
    return at_positions(large.amin(1), channels), at_positions(large.amax(1), channels)


def _unit_masks(channels: Tensor, image: Tensor) -> Tensor:
    """Channels upsampled to the image, then scaled to 0..1, `(channels, 1, *spatial)`."""
    return unit_range(_upsampled(channels, image))


def _blurred(image: Tensor, *, radius: int, sigma: float) -> Tensor:
    """A Gaussian blur over mirrored edges, as far as the image goes."""
    for dimension in range(image.ndim - 1, 0, -1):
        rows = image.movedim(dimension, -1)
        reach = min(radius, rows.shape[-1] - 1)
        offsets = torch.arange(-reach, reach + 1, dtype=torch.float64)
        kernel = (-(offsets**2) / (2 * sigma**2)).exp()
        kernel = (kernel / kernel.sum()).to(image)
        mirrored = pad(rows.reshape(-1, 1, rows.shape[-1]), (reach, reach), mode="reflect")
        image = conv1d(mirrored, kernel[None, None]).reshape(rows.shape).movedim(-1, dimension)
    return image


def _covered(size: int, window: int, stride: int) -> Tensor:
    """Which pixels `(windows, size)` of a side each window covers: 1 or 0."""
    starts = torch.arange(0, size - window + stride, stride)[:, None]
    pixels = torch.arange(size)
    return ((pixels >= starts) & (pixels < starts + window)).float()


def _shifted_upsampling(size: int, cells: int, shifts: Tensor) -> Tensor:
    """The matrices `(masks, size, cells)` that upsample a side of RISE's grid and crop it."""
    cell = -(-size // cells)
    # The grid is drawn cells + 1 cells long, so that the crop fits in at every shift.
    pixels = shifts[:, None] + torch.arange(size, dtype=torch.float64)
    places = ((pixels + 0.5) * cells / ((cells + 1) * cell) - 0.5).clamp(0, cells - 1)
    return (1 - (places[..., None] - torch.arange(cells)).abs()).relu()


def _each_side(name: str, value: int | Sequence[int], size: Sequence[int]) -> list[int]:
    """One number for each spatial dimension, from one for all or one for each."""
    each = [value] * len(size) if isinstance(value, int) else list(value)
    if len(each) != len(size):
        raise MethodError(
            f"{name}={value} has {len(each)} numbers, but it needs one, or one for each "
            f"of the {len(size)} dimensions of {_by(size)}."
        )
    for one in each:
        at_least_one(MethodError, **{name: one})
    return each


def _by(size: Sequence[int]) -> str:
    return " × ".join(map(str, size))
