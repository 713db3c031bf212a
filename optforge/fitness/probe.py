"""The cheapest rejection: a few steps on fixed inputs, before any training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy

from optforge.analysis import numeric_fingerprint, probe_updates, reads_gradient
from optforge.analysis.numeric import probe_gradients
from optforge.language import Program

_TINY, _HUGE = 1e-9, 1e3  # no weight of order 1 is trained by such updates


@dataclass(frozen=True)
class Probe:
    """What the probe found.

    Args:
        numeric: The numeric fingerprint.
        reason: Why the program is rejected, or None.
    """

    numeric: str
    reason: str | None


def probe(lean: Program) -> Probe:
    """Run a program on fixed inputs and reject what cannot train anything.

    Rejected are updates that are not finite, that do not depend on the gradient, that move no
    weight, that throw weights far away, and that point uphill, that is with a negative inner
    product with the gradients summed over the steps.

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
    numeric = numeric_fingerprint(updates)
    return Probe(numeric, _reason(lean, updates))


def _reason(lean: Program, values: numpy.ndarray) -> str | None:
    if not numpy.isfinite(values).all():
        return "not finite"
    if not reads_gradient(lean):
        return "constant"
    largest = numpy.abs(values).max()
    if largest < _TINY:
        return "frozen"
    if largest > _HUGE:
        return "exploding"
    return "ascending" if (values * probe_gradients()).sum() <= 0 else None
