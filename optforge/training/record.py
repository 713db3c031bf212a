"""Weights and gradients of a few training steps, for running rules on real inputs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from optforge.analysis import state_kinds
from optforge.language import Interpreter, Layout
from optforge.training.stack import Stack
from optforge.training.trainee import ProgramOrTrainee, trainee


@dataclass(frozen=True)
class Recording:
    """Inputs of a rule in several consecutive steps.

    Args:
        layout: Layout of the arrays, on the CPU.
        weights: Weights of each step, NumPy arrays ``[1, elements]``.
        gradients: Gradients of each step, in the same form.
        lrs: Schedule value of each step.
        first: Number of the first recorded step in the run, from 0.
        total: Number of steps of the whole run.
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
    """Train one model with a rule and record the rule's inputs in steps first to first + count.

    Args:
        stack: A task that can be batched, uncompiled.
        candidate: The rule, with its own schedule if it has one.
        seed: Seed of initialization and data order.
        first: The first step that is recorded, from 0.
        count: Number of recorded steps; the run ends with the last one.

    Example:
        >>> from optforge.language import load_rule
        >>> from optforge.tasks import load_task
        >>> kept = record(Stack(load_task("digits_mlp")), load_rule("adamw"), 0, 3, 2)
        >>> len(kept.gradients), kept.gradients[0].shape == kept.weights[0].shape
        (2, True)
    """
    task = stack.task
    trained_rule = trainee(candidate)
    lrs = trained_rule.values(task)[: first + count]
    rule = Interpreter(
        trained_rule.program, state_kinds(trained_rule.program), stack.layout, stack.dtype
    )
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
    layout = replace(stack.layout, device="cpu")
    return Recording(layout, before, slopes, tuple(lrs[first:]), first, task.steps)
