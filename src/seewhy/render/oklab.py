"""Colours in OKLab, where equal distances look about equal: https://bottosson.github.io/posts/oklab.

For the few colours of a ramp; pixels are painted by tables.
"""

from __future__ import annotations

import numpy as np

_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ],
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def light_of(encoded: np.ndarray) -> np.ndarray:
    """Light from sRGB's numbers, both 0 to 1."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def encoded_of(light: np.ndarray) -> np.ndarray:
    """SRGB's numbers from light, both 0 to 1."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def oklab_of(rgb: np.ndarray) -> np.ndarray:
    """SRGB (..., 3), 0 to 1, in OKLab (..., 3): lightness, green to red, blue to yellow."""
    made: np.ndarray = np.cbrt(light_of(rgb) @ _TO_CONES.T) @ _TO_LAB.T
    return made


def rgb_of(lab: np.ndarray) -> np.ndarray:
    """SRGB (..., 3), 0 to 1, from OKLab; what no screen shows is clipped."""
    cones = (lab @ np.linalg.inv(_TO_LAB).T) ** 3
    return encoded_of(np.clip(cones @ np.linalg.inv(_TO_CONES).T, 0, 1))


def of_hex(colors: tuple[str, ...]) -> np.ndarray:
    """`("#8E0E6E", ...)` as sRGB (colours, 3), 0 to 1."""
    numbers = [list(bytes.fromhex(color.removeprefix("#"))) for color in colors]
    return np.array(numbers) / 255


def ramp(colors: tuple[str, ...], places: tuple[float, ...], steps: int) -> np.ndarray:
    """`steps + 1` colours from 0 to 1, mixed in OKLab between these: sRGB (steps + 1, 3)."""
    share = np.linspace(0, 1, steps + 1)
    planes = [np.interp(share, places, plane) for plane in oklab_of(of_hex(colors)).T]
    return rgb_of(np.stack(planes, -1))
