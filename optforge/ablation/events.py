"""Events of a simplification, for its display."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from optforge.ablation.decision import Decision


@dataclass(frozen=True)
class ChangeAccepted:
    """A change was made.

    Args:
        change: The change, such as ``sign(momentum) -> momentum``; several are joined by
            semicolons.
        decision: The decision that accepted it.
    """

    change: str
    decision: Decision


@dataclass(frozen=True)
class RulesEvolved:
    """An evolution without insertion has ended.

    Args:
        count: Number of shorter rules that look as good.
    """

    count: int


@dataclass(frozen=True)
class ExactStepsSkipped:
    """The exact steps were left out because they would have merged protected values."""


Event = str | ChangeAccepted | RulesEvolved | ExactStepsSkipped  # exact steps send sentences
Tell = Callable[[Event], None]
