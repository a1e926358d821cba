"""Is the map true? Annotated pictures × methods × metrics, each figure with its protocol."""

from seewhy.evaluation.decisions import Decisions
from seewhy.evaluation.result import Evaluation
from seewhy.evaluation.running import evaluate

__all__ = ["Decisions", "Evaluation", "evaluate"]
