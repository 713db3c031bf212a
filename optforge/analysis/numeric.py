"""The numeric fingerprint: what a program does over a few steps on fixed inputs."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

import numpy
import torch

from optforge.analysis.kinds import state_kinds
from optforge.language import Interpreter, Layout, Program

PROBE = Layout((5, 3, 1))
STEPS = 4


@lru_cache(1)
def _inputs() -> tuple[numpy.ndarray, numpy.ndarray]:
    """Fixed weights and gradients of several scales, float64 ``[1, 9]`` and ``[STEPS, 1, 9]``."""
    generator = torch.Generator().manual_seed(20230213)
    weights = torch.randn(1, PROBE.elements, generator=generator, dtype=torch.float64)
    noise = torch.randn(STEPS, 1, PROBE.elements, generator=generator, dtype=torch.float64)
    scales = torch.logspace(-2, 0, PROBE.elements, dtype=torch.float64)
    return weights.numpy(), ((noise + 0.5) * scales).numpy()


def probe_updates(lean: Program) -> numpy.ndarray:
    """Run a program for a few steps on fixed inputs.

    Args:
        lean: A program without dead statements.

    Returns:
        The updates, float64 ``[STEPS, 9]``.
    """
    weights, gradients = _inputs()
    with numpy.errstate(all="ignore"):
        rule = Interpreter(lean, state_kinds(lean), PROBE, torch.float64, arrays=True)
        scalars = rule.schedule([1.0, 0.75, 0.5, 0.25])
        states, updates = rule.initial_states(1), []
        for step in range(STEPS):
            update, states = rule.step(weights, gradients[step], states, scalars[step])
            weights = weights - update
            updates.append(update)
    return numpy.concatenate(updates)


def probe_gradients() -> numpy.ndarray:
    """The gradients of the probe, float64 ``[STEPS, 9]``."""
    return _inputs()[1][:, 0]


def numeric_fingerprint(updates: numpy.ndarray) -> str:
    """Hash updates to 16 hexadecimal digits, rounded to five significant digits.

    All non-finite values count as equal, so that programs which fail alike are alike.

    Example:
        >>> from optforge.language import load_rule
        >>> numeric_fingerprint(probe_updates(load_rule("adamw"))) == numeric_fingerprint(
        ...     probe_updates(load_rule("program_3")))
        True
    """
    texts = [f"{value:.4e}" if abs(value) < 1e300 else "x" for value in updates.flatten().tolist()]
    return blake2b(" ".join(texts).encode(), digest_size=8).hexdigest()
