"""Result of a simplification: the rule, its name, derivation and card."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from optforge.ablation.train import TrainingEvidence
from optforge.equality.card import Card, property_card
from optforge.equality.exact import Simplified
from optforge.equality.recognise import Recognised, recognise
from optforge.language import Program


@dataclass(frozen=True)
class SimpleRule:
    """A simple rule and everything known about it.

    Args:
        simplified: Program, derivation and what became of the states.
        recognised: Its name.
        card: Its properties.
        trained: Evidence from training; None for a rule that was simplified without training.
    """

    simplified: Simplified
    recognised: Recognised
    card: Card
    trained: TrainingEvidence | None = None

    @property
    def program(self) -> Program:
        """The simple rule."""
        return self.simplified.program

    def _repr_html_(self) -> str:
        """Return the name and the rule for a notebook."""
        name, text = escape(self.recognised.sentence), escape(self.program.text.rstrip())
        return f"<p><b>{name}</b></p><pre>{text}</pre>"


def describe(simplified: Simplified, trained: TrainingEvidence | None = None) -> SimpleRule:
    """Recognize a simplified rule and fill in its card.

    Example:
        >>> from optforge.language import load_rule
        >>> from optforge.equality import simplify_exact
        >>> describe(simplify_exact(load_rule("signum"))).recognised.family
        'Signum'
    """
    program = simplified.program
    return SimpleRule(simplified, recognise(program), property_card(program), trained)
