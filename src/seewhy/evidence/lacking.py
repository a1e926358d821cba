"""What a model cannot show: the rows of the table that it lacks, and why."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from seewhy.evidence.table import TABLE
from seewhy.models.bound import Bound
from seewhy.models.modules import modules_of

DECLARED = "lacking_evidence"
"""The attribute of a module that stands in for another framework's model: a mapping from rows of
the table to the reason why they cannot be given, which completes `the evidence, which ...`."""


def lacking(model: Bound) -> dict[str, str]:
    """The rows that a model cannot give, by name, and why not."""
    found: dict[str, str] = {}
    modules = modules_of(model)
    if any(isinstance(one, torch.jit.ScriptModule) for one in modules):
        reason = "TorchScript does not provide (the model that it was made from does)"
        found |= {row.name: reason for row in TABLE.values() if "operations" in row.needs}
    for one in modules:
        # By hand: a module's own look-up of what it lacks is slow, and this is asked in every call.
        declared: Mapping[str, str] = vars(one).get(DECLARED) or getattr(type(one), DECLARED, {})
        if strange := [name for name in declared if name not in TABLE]:
            raise ValueError(
                f"{type(one).__name__}.{DECLARED} names {', '.join(strange)}, but the table "
                f"of evidence has only {', '.join(TABLE)}."
            )
        found |= declared
    return found
