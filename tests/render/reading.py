"""What a reader who has the key gets back from single pixels of an overlay."""

from __future__ import annotations

import numpy as np

from seewhy.render.oklab import encoded_of, light_of, oklab_of
from seewhy.render.style import Style, paint

# Machado, Oliveira and Fernandes 2009, severity 1, on light.
_EYES = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
               [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
               [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
               [0.004733, 0.691367, 0.303900]],
}  # fmt: skip
_JUST_NOTICEABLE = 0.02  # in OKLab


def seen_as(rgb: np.ndarray, who: str) -> np.ndarray:
    """sRGB (..., 3), 0 to 1, as people who lack a cone see it, or as grey print shows it."""
    if who == "normal":
        return rgb
    light = light_of(rgb)
    if who == "grey":
        return encoded_of(light @ [[0.2126] * 3, [0.7152] * 3, [0.0722] * 3])
    return encoded_of(np.clip(light @ np.array(_EYES[who]).T, 0, 1))


def error_of_reading(
    drawn: np.ndarray,
    shares: np.ndarray,
    style: Style,
    *,
    signed: bool,
    who: str,
    count: int = 3000,
) -> tuple[float, float]:
    """The mean error of the value read, as a share of the scale, and the rank correlation.

    The key is made by the overlay's own function, over 21 greys.
    """
    rng = np.random.default_rng(0)
    chosen = rng.choice(shares.size, min(3000, shares.size), replace=False)
    values = np.linspace(-1 if signed else 0, 1, 61 if signed else 41)
    greys = np.rint(255 * np.linspace(0.02, 0.98, 21)).astype(np.uint8)
    below = np.broadcast_to(greys[None, :, None], (len(values), len(greys), 3))
    steps = values[:, None].repeat(len(greys), 1)
    key = paint(np.ascontiguousarray(below), steps, style, signed=signed)
    known = oklab_of(seen_as(key / 255, who)).reshape(-1, 3)
    pixels = oklab_of(seen_as(drawn / 255, who)).reshape(-1, 3)[chosen]
    apart = ((pixels[:, None] - known[None]) ** 2).sum(-1)
    nearest = apart.reshape(len(chosen), *steps.shape).min(-1)
    weights = np.exp(-(nearest - nearest.min(1, keepdims=True)) / (2 * _JUST_NOTICEABLE**2))
    read = (weights * values).sum(1) / weights.sum(1)
    true = shares.reshape(-1)[chosen]
    ranks = [np.argsort(np.argsort(one)) for one in (read, true)]
    return float(np.abs(read - true).mean()), float(np.corrcoef(*ranks)[0, 1])


def moved(picture: np.ndarray, drawn: np.ndarray, shares: np.ndarray) -> float:
    """How far (OKLab, median) the picture is moved where the map is below a tenth, or NaN."""
    low = np.abs(shares) < 0.1
    if low.sum() <= 50:
        return float("nan")
    apart = np.linalg.norm(oklab_of(drawn / 255) - oklab_of(picture / 255), axis=-1)
    return float(np.median(apart[low]))
