"""Children rescaled so that their updates are as long as their parent's.

An update divided by another root of the second moment may be a better direction but a hundred times
as long. With its parent's learning rate such a child fails at once, and the two changes that it
needs never happen together. So a share of the children gets both at once.
"""

from __future__ import annotations

import math

import numpy
import torch

from optforge.analysis import live_program, liveness, state_kinds
from optforge.analysis.degree import degrees
from optforge.evolution.genome import Genome
from optforge.language import Interpreter, Program, Statement, round_constant
from optforge.tasks import Task, users_code
from optforge.training import ProgramOrTrainee, Recording, Stack, one_thread, record

_FIRST = 0.3  # share of the run before the steps that are recorded
_STEPS, _IGNORED = 5, 2  # recorded steps; of these the first only fill the states
_ALIKE = 1.25  # ratios within are no change of size
_REMEMBERED = 20_000


class Yardstick:
    """Measures how long the updates of a program are, on weights and gradients of a real run.

    Args:
        recording: Weights and gradients that the programs are run on.
    """

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self._sizes: dict[str, float] = {}

    @classmethod
    def of(
        cls, task: Task, rule: ProgramOrTrainee, seed: int, device: str = "cpu"
    ) -> Yardstick | None:
        """Record a run of a task under its tuned rule; None if the model cannot be batched."""
        stack = Stack(task, device=device)
        with one_thread(), users_code(task, "a training"):
            if not stack.batched or task.steps < 2 * _STEPS:
                return None
            return cls(record(stack, rule, seed, round(_FIRST * (task.steps - _STEPS)), _STEPS))

    def size(self, genome: Genome) -> float:
        """Return the norm of a program's updates; NaN if they are not finite."""
        known = self._sizes.get(genome.fingerprint)
        if known is None:
            if len(self._sizes) >= _REMEMBERED:
                self._sizes.clear()
            known = self._sizes[genome.fingerprint] = self._measured(genome.lean)
        return known

    def ratio(self, parent: Genome, child: Genome) -> float | None:
        """Return the factor, to two digits, that makes a child's update as long; None if near 1."""
        wanted, size = self.size(parent), self.size(child)
        ratio = wanted / size if size > 0 else math.nan
        if not math.isfinite(ratio) or ratio <= 0 or 1 / _ALIKE < ratio < _ALIKE:
            return None
        return float(f"{ratio:.2g}")

    def _measured(self, lean: Program) -> float:
        kept = self.recording
        with numpy.errstate(all="ignore"):
            dtype = torch.from_numpy(kept.weights[0]).dtype
            rule = Interpreter(lean, state_kinds(lean), kept.layout, dtype, arrays=True)
            scalars = rule.schedule(list(kept.lrs), kept.first, kept.total)
            states, total = rule.initial_states(1), 0.0
            for step, (weights, gradient) in enumerate(
                zip(kept.weights, kept.gradients, strict=True)
            ):
                update, states = rule.step(weights, gradient, states, scalars[step])
                if step >= _IGNORED:
                    total += float(numpy.square(update, dtype=numpy.float64).sum())
        return math.sqrt(total) if math.isfinite(total) else math.nan


def rescaled(program: Program, ratio: float) -> Program | None:
    """Multiply the learning rate of a program; None if no constant of the program is a rate.

    Args:
        program: A valid program; its dead statements are kept.
        ratio: The factor.

    Example:
        >>> from optforge.language import load_rule
        >>> rescaled(load_rule("lion"), 2.0).statements[5].text
        'lr = lr * 0.0002'
    """
    numbers = [n for n in range(len(program.statements)) if liveness(program).across >> n & 1]
    lean = live_program(program)
    for number in reversed(range(len(lean.statements))):  # the rate is near the end, if any
        statement = lean.statements[number]
        for place, value in enumerate(statement.arguments):
            rate = isinstance(value, float) and value > 0
            if rate and degrees(lean, ((number, place),)).update == 1.0:
                return _multiplied(program, numbers[number], place, ratio)
    return None


def _multiplied(program: Program, number: int, place: int, ratio: float) -> Program:
    statements = list(program.statements)
    old = statements[number]
    arguments = list(old.arguments)
    arguments[place] = round_constant(float(arguments[place]) * ratio)
    statements[number] = Statement(old.target, old.function, tuple(arguments))
    return Program(program.parameters, tuple(statements), program.outputs)
