"""One step of the rules of all candidates, on the CPU or on a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Protocol

import numpy
import torch
from torch import Tensor

from optforge.analysis import state_kinds
from optforge.language import Interpreter
from optforge.training.products import run_together
from optforge.training.stack import Stack
from optforge.training.trainee import Trainee


class Rules(Protocol):
    """Rules and states of many candidates, each with the same number of rows."""

    def place(self, left: Sequence[int], weights: Tensor, gradient: Tensor) -> None:
        """Continue with the remaining candidates.

        Args:
            left: Numbers of the remaining candidates.
            weights: ``[rows, elements]``, in this order; updated in place.
            gradient: Gradients in the same layout, filled before each step.
        """
        ...

    def step(self, step: int) -> None:
        """Update the weights and all states by the gradient; steps count from 0."""
        ...


def rules_for(stack: Stack, trainees: Sequence[Trainee], rows: int) -> Rules:
    """Return the best implementation of rules for a stack: on a GPU a kernel if possible.

    Args:
        stack: Stack with layout, dtype and device.
        trainees: The candidates.
        rows: Number of rows of each candidate, one per seed.
    """
    if has_kernel(stack):
        from optforge.training.device_rules import DeviceRules

        schedules = [candidate.values(stack.task) for candidate in trainees]
        return DeviceRules(_interpreters(stack, trainees, False), schedules, rows)
    return EagerRules(stack, trainees, rows)


def has_kernel(stack: Stack) -> bool:
    """Return whether the kernel can run the rules: float32 on a CUDA device, no empty array."""
    return (
        torch.device(stack.device).type == "cuda"
        and stack.dtype == torch.float32
        and all(stack.layout.sizes)
        and find_spec("triton") is not None
    )


class EagerRules:
    """One interpreter per candidate, with shared calls for matrix products."""

    def __init__(self, stack: Stack, trainees: Sequence[Trainee], rows: int) -> None:
        self.arrays = stack.device == "cpu"
        self.seeds = rows
        self.rules = _interpreters(stack, trainees, self.arrays)
        lrs = [candidate.values(stack.task) for candidate in trainees]
        with numpy.errstate(all="ignore"):
            self.scalars = [rule.schedule(v) for rule, v in zip(self.rules, lrs, strict=True)]
        self.states = [rule.initial_states(rows) for rule in self.rules]
        self.left: list[int] = []

    def place(self, left: Sequence[int], weights: Tensor, gradient: Tensor) -> None:
        """Set views of the remaining candidates' rows; states of the others are freed."""
        for number in set(self.left) - set(left):
            self.states[number] = []
        self.left = list(left)
        self.rows = [self._block(weights, place) for place in range(len(left))]
        self.gradients = [self._block(gradient, place) for place in range(len(left))]

    def step(self, step: int) -> None:
        """Update weights and states, one candidate after another."""
        with torch.no_grad(), numpy.errstate(all="ignore"):
            for place, (update, states) in enumerate(self._updates(step)):
                weights = self.rows[place]
                # Weights and gradient are overwritten in place; a state that is one of them stays.
                inputs = (weights, self.gradients[place])
                self.states[self.left[place]] = [
                    _copy(state) if any(state is value for value in inputs) else state
                    for state in states
                ]
                weights -= update

    def _updates(self, step: int) -> list[tuple[Any, list[Any]]]:
        """Compute the updates and next states of all remaining candidates."""
        inputs = [
            (weights, gradient, self.states[number], self.scalars[number][step])
            for number, weights, gradient in zip(self.left, self.rows, self.gradients, strict=True)
        ]
        return run_together([self.rules[number] for number in self.left], inputs)

    def _block(self, matrix: Tensor, place: int) -> Any:
        """Return a view of one candidate's rows ``[seeds, elements]`` in the form for its rule."""
        block = matrix[place * self.seeds : (place + 1) * self.seeds]
        return block.numpy() if self.arrays else block


def _interpreters(stack: Stack, trainees: Sequence[Trainee], arrays: bool) -> list[Interpreter]:
    return [
        Interpreter(
            candidate.program, state_kinds(candidate.program), stack.layout, stack.dtype, arrays
        )
        for candidate in trainees
    ]


def _copy(state: Any) -> Any:
    return state.clone() if isinstance(state, Tensor) else state.copy()
