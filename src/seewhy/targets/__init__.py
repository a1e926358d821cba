"""What is being explained: a target turns a network's outputs into one number an image.

Outputs are logits, a float tensor (batch, classes), or (batch,) or (batch, 1) for networks that
give one number; or maps `(batch, classes, *size)`, boxes (batch, n, 4 + classes), embeddings
(batch, size), tokens (batch, positions, vocabulary). A `Target` is called on them and returns
scores (batch,), differentiable. Targets combine with + − ×, compare by structure, print themselves
and save to JSON.

Which class is meant may be known only once the outputs are there (`Predicted`, `TopK`, a list with
one target an image). `parse_target` reads what a user wrote; `resolve` settles it for each image.

Logit or probability? The probability of class c moves with every logit: its gradient is
p_c (1 − p_c) times that of z_c − logsumexp of the other logits. A probability target thus explains
c against the other classes; evidence that all classes share cancels out.
"""

from seewhy.targets.any_of import AnyOf
from seewhy.targets.boxes import BoxScore
from seewhy.targets.class_names import find_class, short_label
from seewhy.targets.grammar import parse_target
from seewhy.targets.kinds import (
    Binary,
    Choice,
    ClassScore,
    Contrast,
    Counterfactual,
    Finer,
    Function,
    Predicted,
    Probability,
    Product,
    Regression,
    Sum,
    Target,
    of_probability,
    probability_of,
)
from seewhy.targets.language import Sentence, Token
from seewhy.targets.many import PerImage, Several, TopK
from seewhy.targets.outputs import looks_like_probabilities
from seewhy.targets.ranking import predictions
from seewhy.targets.regions import Mask, Region
from seewhy.targets.resolution import Resolved, resolve
from seewhy.targets.saving import target_from_json
from seewhy.targets.similarity import Similarity
from seewhy.targets.unrestored import Unrestored

__all__ = [
    "AnyOf",
    "Binary",
    "BoxScore",
    "Choice",
    "ClassScore",
    "Contrast",
    "Counterfactual",
    "Finer",
    "Function",
    "Mask",
    "PerImage",
    "Predicted",
    "Probability",
    "Product",
    "Region",
    "Regression",
    "Resolved",
    "Sentence",
    "Several",
    "Similarity",
    "Sum",
    "Target",
    "Token",
    "TopK",
    "Unrestored",
    "find_class",
    "looks_like_probabilities",
    "of_probability",
    "parse_target",
    "predictions",
    "probability_of",
    "resolve",
    "short_label",
    "target_from_json",
]
