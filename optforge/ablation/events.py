"""What happens while a rule is simplified, for whoever shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from optforge.ablation.decision import Decision


@dataclass(frozen=True)
class ChangeAccepted:
    """A change was made.

    Args:
        change: As ``sign(momentum) -> momentum``; several are joined by semicolons.
        decision: Why.
    """

    change: str
    decision: Decision


@dataclass(frozen=True)
class RulesEvolved:
    """An evolution without insertion has ended.

    Args:
        count: Shorter rules that look as good.
    """

    count: int


@dataclass(frozen=True)
class ExactStepsSkipped:
    """The exact steps would have merged what is protected, so they were left out."""


Event = str | ChangeAccepted | RulesEvolved | ExactStepsSkipped  # exact steps send sentences
Tell = Callable[[Event], None]
