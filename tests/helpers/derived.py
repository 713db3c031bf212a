"""Simple forms of shipped rules. Deriving one takes seconds, so each is derived once."""

from __future__ import annotations

from functools import cache

from optforge.equality import Simplified, simplify_exact
from optforge.language import load_rule


@cache
def simple(name: str) -> Simplified:
    """Simplify a shipped rule without training."""
    return simplify_exact(load_rule(name))
