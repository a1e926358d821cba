"""Methods that show what stands out, whichever class they are asked for."""

from __future__ import annotations

from collections.abc import Collection

WITHOUT_TARGET = frozenset({"activations", "attentions", "tokens_read", "inputs", "image", "note"})
"""Evidence that is the same for every target: what a layer, the pixels or attention hold.

`tokens_read` asks where the head reads the tokens, by the score's gradient; which class it is of
decides only how much of that each token gets, not what the tokens have looked at."""


def is_class_blind(needs: Collection[str]) -> bool:
    """Whether a method that needs this evidence gives the same map whatever it is asked.

    Args:
        needs: the names of the method's parameters that are evidence.
    """
    return set(needs) <= WITHOUT_TARGET


def target_plays_no_part(method: str, target: str) -> str:
    """What is to be said of a class-blind method's map for a target, in words."""
    return (
        f"'{target}' plays no part in this map: {method} shows what stands out, the same for every "
        "target; ask grad-cam, layer-cam or occlusion why the network says so"
    )
