"""Time of one step of a rule."""

from __future__ import annotations

import functools
import time
from dataclasses import replace

import numpy
import torch

from optforge.analysis import live_program, state_kinds
from optforge.language import Interpreter, Program, Statement, layout_of

_SHAPES = ((500, 500),) * 4
_REPEATS = 5
_ENOUGH = 0.25  # seconds; orthogonalising takes a few dozen times as long as AdamW


def step_seconds(program: Program) -> float:
    """Time one step of a rule on a million float32 parameters in four matrices, interpreted.

    The fastest of five steps counts, of at least two where a rule is slow. Rules that differ in
    constants alone are timed once in a process, so that their rows of a table show one time.

    Args:
        program: A valid program.

    Returns:
        Seconds; comparable only within one process on one machine.
    """
    lean = live_program(program)
    return _fastest(replace(lean, statements=tuple(map(_without_constants, lean.statements))))


def _without_constants(statement: Statement) -> Statement:
    if statement.function == "power":  # whose time depends on the exponent
        return statement
    return replace(
        statement, arguments=tuple(a if isinstance(a, str) else 0.5 for a in statement.arguments)
    )


@functools.lru_cache(maxsize=256)
def _fastest(lean: Program) -> float:
    rule = Interpreter(lean, state_kinds(lean), layout_of(_SHAPES), arrays=True)
    generator = torch.Generator().manual_seed(0)
    weights, gradients = (
        torch.randn(1, rule.layout.elements, generator=generator).numpy() for _ in range(2)
    )
    times, states = [], rule.initial_states(1)
    with numpy.errstate(all="ignore"):
        scalars = rule.scalars(1.0)
        for _ in range(_REPEATS):
            start = time.perf_counter()
            _, states = rule.step(weights, gradients, states, scalars)
            times.append(time.perf_counter() - start)
            if len(times) > 1 and sum(times) > _ENOUGH:
                break
    return min(times)
