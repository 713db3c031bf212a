"""How the models of a task train fastest: together or one at a time, compiled or not."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from optforge.tasks import TASKS, Task, is_shipped, users_code
from optforge.training.batch_check import batching_problem
from optforge.training.memory import one_thread
from optforge.training.parts import gradients_of
from optforge.training.random_numbers import random_numbers
from optforge.training.stack import Stack

_ROWS = 16  # models in a measured call, fewer than a batch of a search has
_CALLS = 3
_GAIN = 1.1  # by so much another way must be faster: together the rules are faster as well


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
    return ways_to_train(tasks, say, device, compile=False)[0]


def spared_by_compiler(tasks: Sequence[Task], judged: Collection[str]) -> set[str]:
    """Return the names of the shipped tasks that no candidate is judged on.

    They train for less time than compiling takes.

    Example:
        >>> from optforge.tasks import load_task
        >>> tasks = [load_task("mnist_mlp"), load_task("names_cnn")]
        >>> spared_by_compiler(tasks, {"mnist_mlp"})
        {'names_cnn'}
    """
    return {task.name for task in tasks if is_shipped(task)}.difference(judged)


def ways_to_train(
    tasks: Sequence[Task],
    say: Callable[[str], None],
    device: str,
    compile: bool | None,
    spared: Collection[str] = (),
) -> tuple[tuple[str, ...], bool]:
    """Choose how the models of a run train, by a short measurement on the user's own tasks.

    Args:
        tasks: All tasks of a run.
        say: Called with a sentence about what takes long, and about each task that trains one at a
            time.
        device: Device to train on. On a GPU nothing is measured.
        compile: Whether kernels are compiled; None to compile those of the user's tasks on trial,
            and to stay with that if one of them trains faster by it. What is compiled here, workers
            find in the compiler's cache.
        spared: Names of tasks whose kernels are not compiled.

    Returns:
        The names of the tasks that train one at a time, and whether kernels are compiled.
    """
    user_tasks = [task for task in tasks if type(task) is not TASKS.get(task.name)]
    tried = {task.name: compile is not False and task.name not in spared for task in user_tasks}
    if any(tried.values()):
        say("Measuring how models train fastest; compiling takes up to a minute, once a machine")
    speeds = {task.name: _Speeds.of(task, device, tried[task.name]) for task in user_tasks}
    if compile is None:
        compile = any(speed.pays_to_compile for speed in speeds.values())
    alone = []
    for name, speed in speeds.items():
        if (reason := speed.reason_against_batches(compile)) is not None:
            say(f"The models of {name} train one at a time: {reason}")
            alone.append(name)
    return tuple(alone), compile


@dataclass(frozen=True)
class _Speeds:
    """Seconds of one model's gradient in each way; 0 where it is not measured.

    Args:
        problem: Why the models cannot train together, if they cannot.
        together: With others, uncompiled.
        compiled: With others, compiled if such a kernel can be.
        alone: In a loop.
    """

    problem: str | None = None
    together: float = 0.0
    compiled: float = 0.0
    alone: float = 0.0

    @classmethod
    def of(cls, task: Task, device: str, compile: bool) -> _Speeds:
        """Measure the models of a task.

        Args:
            task: The task.
            device: Device to train on.
            compile: Whether to measure compiled kernels as well, which takes up to a minute once.
        """
        with users_code(task, "a training step"):
            return cls._measured(task, device, compile)

    @classmethod
    def _measured(cls, task: Task, device: str, compile: bool) -> _Speeds:
        stack = Stack(task, device=device, batched=True)
        problem = batching_problem(stack)
        if problem is not None or stack.on_gpu:
            return cls(problem)
        with one_thread():
            together, alone = gradient_seconds(stack)
            fast = Stack(task, device=device, compile=compile, batched=True)
            compiled = gradient_seconds(fast)[0] if fast.compile else together
        return cls(None, together, compiled, alone)

    @property
    def pays_to_compile(self) -> bool:
        """Whether compiled kernels are faster than both other ways."""
        return self.compiled * _GAIN < min(self.together, self.alone)

    def reason_against_batches(self, compile: bool) -> str | None:
        """Return why the models should train one at a time; None if they should not."""
        if self.problem is not None:
            return f"vmap cannot batch them ({self.problem})"
        together = self.compiled if compile else self.together
        if together > _GAIN * self.alone:
            return f"that is {together / self.alone:.1f} times as fast as together"
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
        gradients_of(loss, parameters)

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
