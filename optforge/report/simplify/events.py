"""Events of a simplification as sentences."""

from __future__ import annotations

from optforge.ablation.events import ChangeAccepted, Event, RulesEvolved
from optforge.report.words import log_difference


def event_sentence(event: Event) -> str:
    """Return an event as a sentence for a display.

    Example:
        >>> event_sentence(RulesEvolved(3))
        'evolution found 3 shorter rules that look as good'
    """
    if isinstance(event, str):
        return event
    if isinstance(event, ChangeAccepted):
        decision = event.decision
        return f"{event.change}: {decision.outcome}, {log_difference(decision.effect)}"
    if isinstance(event, RulesEvolved):
        return f"evolution found {event.count} shorter rules that look as good"
    return "the exact steps would merge what is protected, so they are left out here"
