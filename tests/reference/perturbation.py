"""The perturbation methods as loops over Python floats (float64), each from its paper.

One image, one target, one changed version at a time. `score` gives the target's score of a layer's
activations (channels, height, width), or of an image (channels, height, width), and `probability`
that of its class. A result is a float64 tensor (height, width).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from reference.cam import Grid, bilinear, positions, positive_part, rectified, weighted_sum

Score = Callable[[Tensor], float]


def as_map(grid: Grid) -> Tensor:
    return torch.tensor(grid, dtype=torch.float64)


# --- Channels taken away ------------------------------------------------------------------------


def drop_without(channel: int, activations: Tensor, score: Score) -> float:
    """y - y_k: how far the score falls when every value of channel k becomes 0."""
    changed = activations.clone()
    for i, j in positions(activations[channel].tolist()):
        changed[channel, i, j] = 0.0
    return score(activations) - score(changed)


def ablation_cam(activations: Tensor, score: Score) -> Tensor:
    """Desai and Ramaswamy 2020 without the division: ReLU(sum_k (y - y_k) A_k)."""
    weights = [drop_without(k, activations, score) for k in range(len(activations))]
    return as_map(rectified(weighted_sum(weights, activations.tolist())))


def ablation_cam_relative(activations: Tensor, score: Score) -> Tensor:
    """Desai and Ramaswamy 2020 as implemented: w_k = (y - y_k) / y."""
    y = score(activations)
    weights = [drop_without(k, activations, score) / y for k in range(len(activations))]
    return as_map(rectified(weighted_sum(weights, activations.tolist())))


def ablation_cam_slope(activations: Tensor, score: Score) -> Tensor:
    """Desai and Ramaswamy 2020's motivation: w_k = (y - y_k) / ||A_k||, here the sum of |A_k|."""
    weights = []
    for k, channel in enumerate(activations.tolist()):
        norm = 0.0
        for i, j in positions(channel):
            norm += abs(channel[i][j])
        weights.append(drop_without(k, activations, score) / norm if norm else 0.0)
    return as_map(rectified(weighted_sum(weights, activations.tolist())))


# --- Positions kept -----------------------------------------------------------------------------


def recipro_cam(activations: Tensor, score: Score) -> Tensor:
    """Byun and Lee 2022: the score of the layer with nothing left but one position."""
    _, height, width = activations.shape
    result = [[0.0] * width for _ in range(height)]
    for i in range(height):
        for j in range(width):
            kept = torch.zeros_like(activations)
            for k in range(len(activations)):
                kept[k, i, j] = activations[k, i, j]
            result[i][j] = score(kept)
    return as_map(result)


def recipro_cam_gaussian(activations: Tensor, score: Score) -> Tensor:
    """The same with a 3 x 3 Gaussian mask: 1/4 at the position, 1/8 beside it, 1/16 diagonally."""
    _, height, width = activations.shape
    result = [[0.0] * width for _ in range(height)]
    for i in range(height):
        for j in range(width):
            kept = torch.zeros_like(activations)
            for a in range(max(i - 1, 0), min(i + 2, height)):
                for b in range(max(j - 1, 0), min(j + 2, width)):
                    share = 1 / 4 / 2 ** (abs(a - i) + abs(b - j))
                    for k in range(len(activations)):
                        kept[k, a, b] = share * activations[k, a, b]
            result[i][j] = score(kept)
    return as_map(result)


def vit_recipro_cam(
    stream: Tensor, normed: Tensor, grid: tuple[int, int], score: Callable[[Tensor, Tensor], float]
) -> Tensor:
    """ViT-ReciproCAM (Byun and Lee 2023) as openvino_xai has it, with its defaults.

    One class token, then the patches. What the last block gets, `stream` for its skip connection
    and `normed` for its attention (tokens, channels), both keep the class token and a Gaussian's
    share of 3 x 3 patches; `score` is the class's logit behind it.
    """
    height, width = grid
    result = [[0.0] * width for _ in range(height)]
    for i in range(height):
        for j in range(width):
            kept, kept_normed = torch.zeros_like(stream), torch.zeros_like(normed)
            kept[0], kept_normed[0] = stream[0], normed[0]
            for a in range(max(i - 1, 0), min(i + 2, height)):
                for b in range(max(j - 1, 0), min(j + 2, width)):
                    share = 1 / 4 / 2 ** (abs(a - i) + abs(b - j))
                    token = 1 + a * width + b
                    kept[token] = share * stream[token]
                    kept_normed[token] = share * normed[token]
            result[i][j] = score(kept, kept_normed)
    return as_map(result)


# --- The image seen through channels ------------------------------------------------------------


def unit_mask(channel: Grid, height: int, width: int) -> Grid | None:
    """Wang 2020, s(Up(A_k)): upsampled first, then min-max to [0, 1]; None where it is constant."""
    values = [value for row in channel for value in row]
    if min(values) == max(values):
        return None
    mask = bilinear(channel, height, width)
    low = min(min(row) for row in mask)
    high = max(max(row) for row in mask)
    return [[(value - low) / (high - low) for value in row] for row in mask]


def seen_through(mask: Grid, image: Tensor) -> Tensor:
    colours = image.tolist()
    for colour in colours:
        for i, j in positions(mask):
            colour[i][j] *= mask[i][j]
    return torch.tensor(colours, dtype=torch.float64)


def score_cam(activations: Tensor, image: Tensor, probability: Score) -> Tensor:
    """The authors' code: w_k = the class's probability on X o H_k; constant channels left out.

    They sum the upsampled channels and rectify there; here the layer's own channels are summed.
    """
    weights = []
    for channel in activations.tolist():
        mask = unit_mask(channel, *image.shape[1:])
        weights.append(0.0 if mask is None else probability(seen_through(mask, image)))
    return as_map(rectified(weighted_sum(weights, activations.tolist())))


def softmax_weighted(activations: Tensor, values: list[float | None]) -> Tensor:
    """ReLU(sum_k softmax(values)_k A_k); a channel without a value takes no part."""
    highest = max((value for value in values if value is not None), default=0.0)
    powers = [0.0 if value is None else math.exp(value - highest) for value in values]
    total = sum(powers)
    weights = [power / total if total else 0.0 for power in powers]
    return as_map(rectified(weighted_sum(weights, activations.tolist())))


def score_cam_increase(
    activations: Tensor, image: Tensor, score: Score, baseline: Tensor
) -> Tensor:
    """Wang 2020, Algorithm 1: softmax over the channels of f(X o H_k) - f(X_b)."""
    values: list[float | None] = []
    for channel in activations.tolist():
        mask = unit_mask(channel, *image.shape[1:])
        if mask is None:
            values.append(None)
        else:
            values.append(score(seen_through(mask, image)) - score(baseline))
    return softmax_weighted(activations, values)


def ss_cam(activations: Tensor, image: Tensor, score: Score, noise: Tensor) -> Tensor:
    """Wang 2020 (SS-CAM): the mean score over noisy masks, before the softmax.

    noise: (samples, height, width), what is added to a channel's mask in each sample.
    """
    values: list[float | None] = []
    for channel in activations.tolist():
        mask = unit_mask(channel, *image.shape[1:])
        if mask is None:
            values.append(None)
            continue
        mean = 0.0
        for field in noise.tolist():
            noisy = [[0.0] * len(row) for row in mask]
            for i, j in positions(mask):
                noisy[i][j] = mask[i][j] + field[i][j]
            mean += score(seen_through(noisy, image)) / len(noise)
        values.append(mean)
    return softmax_weighted(activations, values)


def is_cam(activations: Tensor, image: Tensor, score: Score, steps: int) -> Tensor:
    """Naidu 2020: the mean score of i/N H_k o X over i = 1..N, before the softmax."""
    values: list[float | None] = []
    for channel in activations.tolist():
        mask = unit_mask(channel, *image.shape[1:])
        if mask is None:
            values.append(None)
            continue
        mean = 0.0
        for i in range(1, steps + 1):
            scaled = [[i / steps * m for m in row] for row in mask]
            mean += score(seen_through(scaled, image)) / steps
        values.append(mean)
    return softmax_weighted(activations, values)


# --- The image with parts hidden ----------------------------------------------------------------


def occlusion(image: Tensor, score: Score, window: int, stride: int, value: float) -> Tensor:
    """Zeiler and Fergus 2014: the score's fall under a square, averaged where squares overlap.

    The squares start every `stride` pixels until one reaches the far edge, which cuts it off.
    """
    _, height, width = image.shape
    total = [[0.0] * width for _ in range(height)]
    count = [[0] * width for _ in range(height)]
    top = 0
    while True:
        left = 0
        while True:
            inside = [
                (i, j)
                for i in range(top, min(top + window, height))
                for j in range(left, min(left + window, width))
            ]
            changed = image.tolist()
            for i, j in inside:
                for colour in changed:
                    colour[i][j] = value
            drop = score(image) - score(torch.tensor(changed, dtype=torch.float64))
            for i, j in inside:
                total[i][j] += drop
                count[i][j] += 1
            if left + window >= width:
                break
            left += stride
        if top + window >= height:
            break
        top += stride
    return as_map([[total[i][j] / count[i][j] for j in range(width)] for i in range(height)])


def rise_mask(grid: Grid, shift: tuple[int, int], height: int, width: int) -> Grid:
    """Petsiuk 2018: the grid upsampled to (s+1) cells a side, then cropped at a random shift."""
    cells = len(grid)
    cell_height, cell_width = math.ceil(height / cells), math.ceil(width / cells)
    large = bilinear(grid, (cells + 1) * cell_height, (cells + 1) * cell_width)
    down, right = shift
    return [row[right : right + width] for row in large[down : down + height]]


def rise(
    image: Tensor,
    probability: Score,
    grids: list[Grid],
    shifts: list[tuple[int, int]],
    keep: float,
) -> Tensor:
    """Petsiuk 2018: 1 / (N p) sum_i f(I o M_i) M_i."""
    _, height, width = image.shape
    result = [[0.0] * width for _ in range(height)]
    for grid, shift in zip(grids, shifts, strict=True):
        mask = rise_mask(grid, shift, height, width)
        weight = probability(seen_through(mask, image))
        for i, j in positions(mask):
            result[i][j] += weight * mask[i][j] / (len(grids) * keep)
    return as_map(result)


# --- Groups of channels -------------------------------------------------------------------------


def percentile(values: list[float], share: float) -> float:
    """With linear interpolation between the two nearest of the sorted values."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def gaussian_blur(image: Tensor, radius: int, sigma: float) -> Tensor:
    """Both sides mirrored at the outermost pixel's centre; at most as far as the image goes."""

    def mirrored(index: int, size: int) -> int:
        if index < 0:
            return -index
        return 2 * (size - 1) - index if index >= size else index

    _, height, width = image.shape
    up, side = min(radius, height - 1), min(radius, width - 1)
    result = []
    for colour in image.tolist():
        grid = [[0.0] * width for _ in range(height)]
        for i, j in positions(grid):
            total = weights = 0.0
            for a in range(-up, up + 1):
                for b in range(-side, side + 1):
                    weight = math.exp(-(a * a + b * b) / (2 * sigma**2))
                    weights += weight
                    total += weight * colour[mirrored(i + a, height)][mirrored(j + b, width)]
            grid[i][j] = total / weights
        result.append(grid)
    return torch.tensor(result, dtype=torch.float64)


def group_cam(
    activations: Tensor, gradients: Tensor, image: Tensor, probability: Score, groups: int
) -> Tensor:
    """Zhang 2021 and its code: Grad-CAM's channels in groups, each scored over a blurred image.

    The groups are of equal size, the last one smaller. What is summed is the mask, not the group.
    """
    _, height, width = activations.shape
    blurred = gaussian_blur(image, 25, 50.0)
    weights = [sum(g[i][j] for i, j in positions(g)) / (height * width) for g in gradients.tolist()]
    size = math.ceil(len(activations) / groups)
    result = [[0.0] * width for _ in range(height)]
    for first in range(0, len(activations), size):
        members = activations.tolist()[first : first + size]
        group = rectified(weighted_sum(weights[first : first + size], members))
        threshold = percentile([value for row in group for value in row], 0.7)
        group = [[value if value > threshold else 0.0 for value in row] for row in group]
        mask = unit_mask(group, *image.shape[1:])
        if mask is None:
            continue
        large = bilinear(group, *image.shape[1:])
        low = min(min(row) for row in large)
        high = max(max(row) for row in large)
        blend = seen_through(mask, image)
        blend += seen_through([[1 - value for value in row] for row in mask], blurred)
        gain = probability(blend) - probability(blurred)
        for i, j in positions(group):
            result[i][j] += gain * (group[i][j] - low) / (high - low)
    return as_map([[positive_part(value) for value in row] for row in result])
