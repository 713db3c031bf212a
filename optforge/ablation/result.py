"""What a simplification hands over: the rule, its name, derivation and card."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from optforge.ablation.train import Trained
from optforge.equality.card import Card, property_card
from optforge.equality.exact import Simplified
from optforge.equality.recognise import Recognised, recognise
from optforge.language import Program


@dataclass(frozen=True)
class SimpleRule:
    """A simple rule and all that is known of it.

    Args:
        simplified: Program, derivation and what became of the states.
        recognised: What it is called.
        card: Its properties.
        trained: What training has shown; None for a rule that was simplified without.
    """

    simplified: Simplified
    recognised: Recognised
    card: Card
    trained: Trained | None = None

    @property
    def program(self) -> Program:
        """The simple rule."""
        return self.simplified.program

    def to_json(self) -> dict[str, Any]:
        """Give plain values: program, statements, states, name, steps, and the card."""
        known = self.recognised
        return {
            "program": self.program.text,
            "statements": len(self.program.statements),
            "states": list(self.program.states),
            "name": known.name,
            "nearest": {
                "family": known.family,
                "like": known.like,
                "distance_in_statements": known.distance,
            },
            "hyperparameters": dict(known.hyperparameters),
            "start": self.simplified.derivation.start,
            "steps": self.simplified.derivation.to_json(),
            "stopped_by": list(self.simplified.stops),
            "card": self.card.to_json(),
            "training": self.trained.to_json() if self.trained else None,
        }


def describe(simplified: Simplified, trained: Trained | None = None) -> SimpleRule:
    """Name a simplified rule and fill in its card.

    Example:
        >>> from optforge.language import load_rule
        >>> from optforge.equality import simplify_exact
        >>> describe(simplify_exact(load_rule("signum"))).to_json()["states"]
        ['momentum']
    """
    program = simplified.program
    return SimpleRule(simplified, recognise(program), property_card(program), trained)
