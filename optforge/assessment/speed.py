"""Time of one step of a rule."""

from __future__ import annotations

import time

import numpy
import torch

from optforge.analysis import live_program, state_kinds
from optforge.language import Interpreter, Program, layout_of

_SHAPES = ((500, 500),) * 4
_ENOUGH = 0.25  # seconds; orthogonalising takes a few dozen times as long as AdamW


def step_seconds(program: Program, repeats: int = 5) -> float:
    """Time one step of a rule on a million float32 parameters in four matrices, interpreted.

    Args:
        program: A valid program.
        repeats: Number of steps, of which the fastest counts; a slow rule takes fewer, at least
            two.

    Returns:
        Seconds; comparable only within one run on one machine.
    """
    lean = live_program(program)
    rule = Interpreter(lean, state_kinds(lean), layout_of(_SHAPES), arrays=True)
    generator = torch.Generator().manual_seed(0)
    weights, gradients = (
        torch.randn(1, rule.layout.elements, generator=generator).numpy() for _ in range(2)
    )
    times, states = [], rule.initial_states(1)
    with numpy.errstate(all="ignore"):
        scalars = rule.scalars(1.0)
        for _ in range(repeats):
            start = time.perf_counter()
            _, states = rule.step(weights, gradients, states, scalars)
            times.append(time.perf_counter() - start)
            if len(times) > 1 and sum(times) > _ENOUGH:
                break
    return min(times)
