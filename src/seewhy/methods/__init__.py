"""METHODS: every method by its name. A method is its formula: a function of what it needs."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from seewhy.methods import cam

METHODS: dict[str, Callable[..., Tensor]] = {
    "cam": cam.cam,
    "grad-cam": cam.grad_cam,
    "grad-cam++": cam.grad_cam_plus_plus,
    "grad-cam++-normalised": cam.grad_cam_plus_plus_normalised,
    "smooth-grad-cam++": cam.smooth_grad_cam_plus_plus,
    "xgrad-cam": cam.xgrad_cam,
    "hires-cam": cam.hires_cam,
    "layer-cam": cam.layer_cam,
    "eigen-cam": cam.eigen_cam,
    "eigen-grad-cam": cam.eigen_grad_cam,
    "grad-cam-elementwise": cam.grad_cam_elementwise,
}
