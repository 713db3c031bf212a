"""Whether the models of a task train faster together or one at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch

from optforge.tasks import TASKS, Task
from optforge.training.batch_check import batching_problem
from optforge.training.memory import one_thread
from optforge.training.random_numbers import random_numbers
from optforge.training.stack import Stack

_ROWS = 16  # models in a measured call, fewer than a batch of a search has
_CALLS = 3
_GAIN = 1.1  # by so much a loop must be faster: together the rules are faster as well


def trained_alone(
    tasks: Sequence[Task], say: Callable[[str], None], device: str = "cpu"
) -> tuple[str, ...]:
    """Return the names of the tasks whose models train faster, or only, one at a time.

    Shipped tasks are known to train faster together and are not measured. The answer is stored in a
    run's settings, because the two ways round differently and a resumed run must continue as it
    began.

    Args:
        tasks: All tasks of a run.
        say: Called with a sentence about each task that trains one at a time.
        device: Device to train on. On a GPU, models that can train together do so, unmeasured.
    """
    names = []
    for task in tasks:
        reason = None if type(task) is TASKS.get(task.name) else _reason(task, device)
        if reason is not None:
            say(f"The models of {task.name} train one at a time: {reason}")
            names.append(task.name)
    return tuple(names)


def _reason(task: Task, device: str) -> str | None:
    """Return why a task's models should train one at a time; None if they should not."""
    stack = Stack(task, device=device, batched=True)
    if (problem := batching_problem(stack)) is not None:
        return f"vmap cannot batch them ({problem})"
    if stack.on_gpu:
        return None
    with one_thread():
        together, alone = gradient_seconds(stack)
    if together > _GAIN * alone:
        return f"that is {together / alone:.1f} times as fast as together"
    return None


def gradient_seconds(stack: Stack) -> tuple[float, float]:
    """Return the seconds of one model's gradient, trained with others and alone."""
    rows = stack.rows if stack.fixed else min(stack.rows, _ROWS)
    weights, held = stack.initial([0] * rows), stack.held([0] * rows)
    together = _fastest(lambda: stack.gradients(weights, [0] * rows, 0, held)) / rows
    model, (inputs, targets) = stack.fresh_model(0), stack.batch(0, 0)
    parameters = [p for p in model.parameters() if p.requires_grad]

    def alone() -> None:
        with random_numbers(0, 0, stack.random):
            loss = stack.task.loss(model(inputs), targets)
        torch.autograd.grad(loss, parameters, allow_unused=True)

    return together, _fastest(alone)


def _fastest(call: Callable[[], object]) -> float:
    """Return the processor seconds of the fastest of a few calls, after a first call for setup.

    Processor time is used so that other work on the machine does not matter.
    """
    call()
    seconds = []
    for _ in range(_CALLS):
        start = time.process_time()
        call()
        seconds.append(time.process_time() - start)
    return min(seconds)
