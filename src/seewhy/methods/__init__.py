"""METHODS: every method by its name. A method is its formula: a function of what it needs.

The names are known without torch, so that help and tab completion need not wait for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from seewhy.errors import MethodError, not_known

if TYPE_CHECKING:
    from seewhy.methods.method import Method, MethodLike

FORMULAS: dict[str, str] = {
    "cam": "cam:cam",
    "grad-cam": "cam:grad_cam",
    "grad-cam++": "cam:grad_cam_plus_plus",
    "grad-cam++-normalised": "cam:grad_cam_plus_plus_normalised",
    "smooth-grad-cam++": "cam:smooth_grad_cam_plus_plus",
    "xgrad-cam": "cam:xgrad_cam",
    "hires-cam": "cam:hires_cam",
    "layer-cam": "cam:layer_cam",
    "eigen-cam": "cam:eigen_cam",
    "eigen-grad-cam": "cam:eigen_grad_cam",
    "grad-cam-elementwise": "cam:grad_cam_elementwise",
    "fem": "cam:fem",
    "kpca-cam": "cam:kpca_cam",
    "shapley-cam": "cam:shapley_cam",
    "ablation-cam": "perturbation:ablation_cam",
    "ablation-cam-relative": "perturbation:ablation_cam_relative",
    "ablation-cam-slope": "perturbation:ablation_cam_slope",
    "recipro-cam": "perturbation:recipro_cam",
    "recipro-cam-gaussian": "perturbation:recipro_cam_gaussian",
    "score-cam": "perturbation:score_cam",
    "score-cam-bounded": "perturbation:score_cam_bounded",
    "score-cam-increase": "perturbation:score_cam_increase",
    "ss-cam": "perturbation:ss_cam",
    "is-cam": "perturbation:is_cam",
    "group-cam": "perturbation:group_cam",
    "opti-cam": "optimisation:opti_cam",
    "occlusion": "perturbation:occlusion",
    "rise": "perturbation:rise",
    "saliency": "backprop:saliency",
    "input-times-gradient": "backprop:input_times_gradient",
    "smooth-grad": "backprop:smooth_grad",
    "var-grad": "backprop:var_grad",
    "square-grad": "backprop:square_grad",
    "integrated-gradients": "backprop:integrated_gradients",
    "full-grad": "backprop:full_grad",
    "guided-backprop": "backprop:guided_backprop",
    "deconvnet": "backprop:deconvnet",
    "guided-grad-cam": "backprop:guided_grad_cam",
    "attention-rollout": "attention:attention_rollout",
    "attention-relevance": "attention:attention_relevance",
    "legrad": "attention:legrad",
}
"""The name of each method, and where its formula is: a module of this folder and a function."""


class _Methods(Mapping[str, "Method"]):
    """The methods by name; a formula is imported when its method is first looked up."""

    def __getitem__(self, name: str) -> Method:
        return _named(name)

    def __iter__(self) -> Iterator[str]:
        return iter(FORMULAS)

    def __len__(self) -> int:
        return len(FORMULAS)

    def __contains__(self, name: object) -> bool:
        return name in FORMULAS

    def __repr__(self) -> str:
        return f"<{len(self)} methods: {', '.join(self)}>"


METHODS: Mapping[str, Method] = _Methods()


def method_of(method: MethodLike) -> Method:
    """The method that a name or a function stands for.

    Raises:
        MethodError: the name is not known, or the function cannot be a method.
    """
    from seewhy.methods.method import Method

    if isinstance(method, Method):
        return method
    if isinstance(method, str):
        check_known(method)
        return _named(method)
    return Method.of(method)


def check_known(name: str) -> None:
    """Check that there is a method of this name.

    Raises:
        MethodError: there is none; the message says which are near.
    """
    if name not in FORMULAS:
        raise MethodError(not_known("method", name, FORMULAS))


@cache
def _named(name: str) -> Method:
    from seewhy.methods.method import Method

    module, function = FORMULAS[name].split(":")
    return Method.of(getattr(import_module(f"seewhy.methods.{module}"), function), name)
