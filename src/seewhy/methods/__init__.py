"""METHODS: every method by its name. A method is its formula: a function of what it needs."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from seewhy.methods import attention, backprop, cam, optimisation, perturbation

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
    "fem": cam.fem,
    "kpca-cam": cam.kpca_cam,
    "shapley-cam": cam.shapley_cam,
    "ablation-cam": perturbation.ablation_cam,
    "ablation-cam-relative": perturbation.ablation_cam_relative,
    "ablation-cam-slope": perturbation.ablation_cam_slope,
    "recipro-cam": perturbation.recipro_cam,
    "recipro-cam-gaussian": perturbation.recipro_cam_gaussian,
    "score-cam": perturbation.score_cam,
    "score-cam-bounded": perturbation.score_cam_bounded,
    "score-cam-increase": perturbation.score_cam_increase,
    "ss-cam": perturbation.ss_cam,
    "is-cam": perturbation.is_cam,
    "group-cam": perturbation.group_cam,
    "opti-cam": optimisation.opti_cam,
    "occlusion": perturbation.occlusion,
    "rise": perturbation.rise,
    "saliency": backprop.saliency,
    "input-times-gradient": backprop.input_times_gradient,
    "smooth-grad": backprop.smooth_grad,
    "var-grad": backprop.var_grad,
    "square-grad": backprop.square_grad,
    "integrated-gradients": backprop.integrated_gradients,
    "full-grad": backprop.full_grad,
    "guided-backprop": backprop.guided_backprop,
    "deconvnet": backprop.deconvnet,
    "guided-grad-cam": backprop.guided_grad_cam,
    "attention-rollout": attention.attention_rollout,
    "attention-relevance": attention.attention_relevance,
    "legrad": attention.legrad,
}
