"""The cheapest rejection: a few steps on fixed inputs before any training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy

from optforge.analysis import numeric_fingerprint, probe_updates, reads_gradient, wide_updates
from optforge.analysis.numeric import REALISTIC, Scales, probe_gradients
from optforge.language import Program

_TINY, _HUGE = 1e-9, 1e3  # no weight of order 1 is trained by such updates


@dataclass(frozen=True)
class ProbeResult:
    """Result of the probe.

    Args:
        numeric: The numeric fingerprint.
        reason: Why the program is rejected, or None.
    """

    numeric: str
    reason: str | None


def probe(lean: Program) -> ProbeResult:
    """Run a program on fixed inputs and reject it if it cannot train anything.

    Updates are rejected if they are not finite, do not depend on the gradient, move no weight, move
    weights too far, or point uphill (their inner product with the gradients, summed over the steps,
    is negative). The inputs are of order 1. A rejected program is probed again with weights and
    gradients as small as in training, where an ``arcsin`` is finite, and this second probe decides.

    Args:
        lean: A valid program without dead statements.

    Example:
        >>> from optforge.language import load_rule, parse
        >>> probe(load_rule("lion")).reason is None
        True
        >>> probe(parse("def train(w, g, lr):\\n    u = negative(g)\\n    return u")).reason
        'ascending'
    """
    updates = probe_updates(lean)
    numeric = numeric_fingerprint(wide_updates(lean))
    if not reads_gradient(lean):
        return ProbeResult(numeric, "constant")
    reason = wrong(updates, Scales())
    if reason is not None:
        reason = wrong(probe_updates(lean, REALISTIC), REALISTIC)
    return ProbeResult(numeric, reason)


def wrong(updates: numpy.ndarray, scales: Scales) -> str | None:
    """Return what is wrong with updates on inputs of these scales, or None."""
    if not numpy.isfinite(updates).all():
        return "not finite"
    largest = numpy.abs(updates).max()
    if largest < _TINY:
        return "frozen"
    if largest > _HUGE:
        return "exploding"
    return "ascending" if (updates * probe_gradients(scales)).sum() <= 0 else None
