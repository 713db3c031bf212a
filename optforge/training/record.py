"""Weights and gradients of a few steps of a training run, for measuring rules on real inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from optforge.analysis import state_kinds
from optforge.language import Interpreter, Layout
from optforge.training.stack import Stack
from optforge.training.trainee import ProgramOrTrainee, trainee


@dataclass(frozen=True)
class Recording:
    """What a rule was given in some successive steps.

    Args:
        layout: Of the arrays.
        weights: Of each step ``[1, elements]``, NumPy arrays.
        gradients: Of each step, alike.
        lrs: Schedule value of each step.
        first: Number of the first of these steps in its run, from 0.
        total: Steps of the whole run.
    """

    layout: Layout
    weights: tuple[Any, ...]
    gradients: tuple[Any, ...]
    lrs: tuple[float, ...]
    first: int = 0
    total: int | None = None


def record(
    stack: Stack, candidate: ProgramOrTrainee, seed: int, first: int, count: int
) -> Recording:
    """Train one model by a rule and keep what the rule was given in steps first to first + count.

    Args:
        stack: A task that can be batched, uncompiled.
        candidate: The rule, with its schedule if it has one of its own.
        seed: Initialisation and data order.
        first: The first step that is kept, from 0.
        count: How many are kept; the run ends with the last.

    Example:
        >>> from optforge.language import load_rule
        >>> from optforge.tasks import load_task
        >>> kept = record(Stack(load_task("digits_mlp")), load_rule("adamw"), 0, 3, 2)
        >>> len(kept.gradients), kept.gradients[0].shape == kept.weights[0].shape
        (2, True)
    """
    task = stack.task
    one = trainee(candidate)
    lrs = one.values(task)[: first + count]
    rule = Interpreter(one.program, state_kinds(one.program), stack.layout, stack.dtype)
    scalars, states = rule.schedule(lrs, total=task.steps), rule.initial_states(1)
    weights = stack.initial([seed])
    kept = []
    for step in range(first + count):
        _, gradient = stack.gradients(weights, [seed], step)
        kept.append((weights.cpu().numpy(), gradient.cpu().numpy()))
        with torch.no_grad():
            update, states = rule.step(weights, gradient, states, scalars[step])
            weights = weights - update
    before, slopes = zip(*kept[first:], strict=True)
    return Recording(stack.layout, before, slopes, tuple(lrs[first:]), first, task.steps)
