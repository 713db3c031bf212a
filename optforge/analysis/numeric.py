"""The numeric fingerprint: the numbers of a program over a few steps on fixed inputs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

import numpy
import torch

from optforge.analysis.kinds import state_kinds
from optforge.language import FUNCTIONS, Interpreter, Layout, Program

PROBE = Layout((5, 3, 1))
# As many elements, for programs with functions that tell matrices, rows and columns apart.
_PROBE_WITH_MATRIX = Layout((6, 3), shapes=((2, 3), (3, 1)), matrices=(True, False))
# A sign or a mask hides small differences of a few elements, not of some hundred.
_WIDE = Layout((192, 96, 112))
_WIDE_WITH_MATRICES = Layout(
    (192, 96, 112), shapes=((16, 12), (8, 12), (112, 1)), matrices=(True, True, False)
)
_SHAPED = ("lines", "matrix", "by_role", "transpose", "product")
STEPS = 4


def _has_shapes(program: Program) -> bool:
    forms = {FUNCTIONS[statement.function].form for statement in program.statements}
    return not forms.isdisjoint(_SHAPED)


@dataclass(frozen=True)
class Scales:
    """Sizes of the fixed inputs; the defaults are those of the numeric fingerprint.

    Args:
        weights: Standard deviation of the weights.
        gradients: Standard deviation of the largest gradients; the smallest are a hundredth of
            them.
    """

    weights: float = 1.0
    gradients: float = 1.0


REALISTIC = Scales(0.1, 0.03)  # as recorded from the shipped tasks


@lru_cache(3)
def _inputs(scales: Scales, count: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return fixed weights and gradients of several scales, ``[1, n]`` and ``[STEPS, 1, n]``."""
    generator = torch.Generator().manual_seed(20230213)
    weights = torch.randn(1, count, generator=generator, dtype=torch.float64)
    noise = torch.randn(STEPS, 1, count, generator=generator, dtype=torch.float64)
    sizes = torch.logspace(-2, 0, count, dtype=torch.float64)
    gradients = (noise + 0.5) * sizes
    return scales.weights * weights.numpy(), scales.gradients * gradients.numpy()


def probe_updates(lean: Program, scales: Scales = Scales()) -> numpy.ndarray:
    """Run a program for a few steps on fixed inputs.

    Args:
        lean: A program without dead statements.
        scales: Sizes of the inputs.

    Returns:
        The updates, float64 ``[STEPS, 9]``.
    """
    return _updates(lean, scales, _PROBE_WITH_MATRIX if _has_shapes(lean) else PROBE)


def wide_updates(lean: Program) -> numpy.ndarray:
    """Run a program as :func:`probe_updates` does, on some hundred weights.

    Args:
        lean: A program without dead statements.

    Returns:
        The updates, float64 ``[STEPS, 400]``.
    """
    return _updates(lean, Scales(), _WIDE_WITH_MATRICES if _has_shapes(lean) else _WIDE)


def _updates(lean: Program, scales: Scales, layout: Layout) -> numpy.ndarray:
    weights, gradients = _inputs(scales, layout.elements)
    with numpy.errstate(all="ignore"):
        rule = Interpreter(lean, state_kinds(lean), layout, torch.float64, arrays=True)
        scalars = rule.schedule([1.0, 0.75, 0.5, 0.25])
        states, updates = rule.initial_states(1), []
        for step in range(STEPS):
            update, states = rule.step(weights, gradients[step], states, scalars[step])
            weights = weights - update
            updates.append(update)
    return numpy.concatenate(updates)


def probe_gradients(scales: Scales = Scales()) -> numpy.ndarray:
    """Return the gradients of the probe, float64 ``[STEPS, 9]``."""
    return _inputs(scales, PROBE.elements)[1][:, 0]


def numeric_fingerprint(updates: numpy.ndarray) -> str:
    """Hash updates to 16 hexadecimal digits, rounded to five significant digits.

    All non-finite values count as equal, so programs that fail in the same way are equal.

    Example:
        >>> from optforge.language import load_rule
        >>> numeric_fingerprint(probe_updates(load_rule("adamw"))) == numeric_fingerprint(
        ...     probe_updates(load_rule("program_3")))
        True
    """
    texts = [f"{value:.4e}" if abs(value) < 1e300 else "x" for value in updates.flatten().tolist()]
    return blake2b(" ".join(texts).encode(), digest_size=8).hexdigest()
