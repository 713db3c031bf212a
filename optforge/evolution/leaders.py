"""How far a search has come: its best in the search, on fresh seeds, on larger tasks."""

from __future__ import annotations

from optforge.evolution.candidate import Candidate
from optforge.evolution.history import History


def leader(history: History) -> Candidate | None:
    """Return the best program of the phase by its fitness in the search."""
    leading = history.leaders
    return leading[0] if leading else None


def rescored(history: History) -> tuple[float, bool] | None:
    """Return the best value on fresh seeds, and whether it is the leader's."""
    ours = history.leaders
    known = [c for c in ours if c.fingerprint in history.rescored]
    if not known:
        return None
    if known[0] is ours[0]:
        return history.rescored[ours[0].fingerprint], True
    return min(history.rescored[c.fingerprint] for c in known), False


def validated(history: History) -> float | None:
    """Return the log loss of the last incumbent on larger tasks over that of the first one."""
    losses = [validation.loss for validation in history.validations]
    return losses[-1] - losses[0] if losses else None
