"""A stage of one's own: a training script that gets an optimizer and returns a loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from optforge.errors import USERS_ERRORS, FunnelError, one_line
from optforge.files import split_class
from optforge.fitness import Evaluator, Measure
from optforge.language import parameter_groups
from optforge.optim import ProgramOptimizer
from optforge.tasks import Schedule, Task
from optforge.tasks.content import UnknownContentError, content_key
from optforge.tasks.files import run_file
from optforge.training import Trainee, trainee


@dataclass(frozen=True)
class OptimizerFactory:
    """Makes the optimizer that a training script is asked to use.

    Args:
        trainee: Rule and schedule, tuned for this run.

    Example:
        >>> import torch
        >>> from optforge.language import load_rule
        >>> make = OptimizerFactory(Trainee(load_rule("lion"), Schedule(power=0.5)))
        >>> optimizer = make(torch.nn.Linear(2, 1), steps=100)
        >>> scheduler = make.scheduler(optimizer, steps=100)  # step it after each optimizer.step()
        >>> f"{scheduler.get_last_lr()[0] / optimizer.param_groups[0]['peak_lr']:.2f}"
        '0.10'
    """

    trainee: Trainee

    def __call__(self, model: nn.Module | Iterable[Any], steps: int) -> ProgramOptimizer:
        """Return an optimizer for a model, or for parameters or groups.

        Args:
            model: The model; hidden matrices are told from embeddings. Parameters or groups as in
                `torch.optim` are taken as they are.
            steps: Number of steps of the whole run.
        """
        groups = parameter_groups(model) if isinstance(model, nn.Module) else model
        return ProgramOptimizer(groups, self.trainee.program, total_steps=steps)

    def scheduler(self, optimizer: ProgramOptimizer, steps: int) -> LambdaLR:
        """Return the tuned schedule as a scheduler of torch."""
        shape = self.trainee.schedule or Schedule()
        return LambdaLR(optimizer, lambda step: shape.value(min(step, steps - 1), steps))


Train: TypeAlias = Callable[[OptimizerFactory, int], Any]


@dataclass(frozen=True)
class Script:
    """A user's training script as a stage of a funnel.

    Args:
        train: Trains with the optimizer of a factory, all random numbers drawn from a seed, and
            returns a loss above 0, lower is better; NaN or infinity where training failed.
        name: Name of the stage.

    Example:
        >>> def train(make, seed):
        ...     return 0.5
        >>> train.cache_key = "train 1"  # only needed where the function is in no file
        >>> Script(train, "mine").name
        'mine'
    """

    train: Train
    name: str

    @cached_property
    def hash(self) -> str:
        """Sixteen digits that change with the code of the script.

        Raises:
            FunnelError: If the code cannot be read.
        """
        try:
            return content_key(self.train)
        except UnknownContentError as error:
            raise FunnelError(
                f"runs of the script {self.name} cannot be told from those of an edited one: it "
                f"uses {error}; set {self.name}.cache_key, a text that you change with the code"
            ) from error

    def loss(self, candidate: Trainee, seed: int) -> float:
        """Train once and return the loss.

        Raises:
            FunnelError: If it returned no number.
        """
        value = self.train(OptimizerFactory(candidate), seed)
        value = value.detach() if isinstance(value, Tensor) else value
        try:
            number = float(value)
        except (TypeError, ValueError) as error:
            raise FunnelError(
                f"the script {self.name} returned {value!r}; return a loss, a number above 0"
            ) from error
        return number if number > 0 else math.inf  # NaN too


def is_script(place: str) -> bool:
    """Return whether ``file.py:name`` is that of a function, by its first letter or what it is."""
    file, name = split_class(place)
    if not name[:1].islower():
        return False
    member = getattr(run_file(Path(file), "script", FunnelError), name, None)
    return not isinstance(member, type)


def script_from_file(place: str) -> Script:
    """Return the script that a function in a file is; the file is executed as on import.

    Args:
        place: ``file.py:function``.

    Raises:
        FunnelError: If there is no such file or function.
    """
    file, name = split_class(place)
    function = getattr(run_file(Path(file), "script", FunnelError), name or "", None)
    if not callable(function):
        raise FunnelError(f"{file} has no function {name!r}; give a script as file.py:function")
    return Script(function, name)


class StageEvaluator(Evaluator):
    """Answers jobs on tasks and scripts; built once in each worker.

    Args:
        tasks: All tasks that jobs may name.
        scripts: All scripts that jobs may name.
        alone: Names of the tasks whose models train one at a time.
    """

    def __init__(
        self, tasks: Sequence[Task], scripts: Sequence[Script], alone: Sequence[str] = ()
    ) -> None:
        super().__init__(tasks, (), {}, {}, alone=alone)
        self.scripts = {script.name: script for script in scripts}

    def measure(self, job: Measure) -> list[list[float]]:
        """Train every program on every seed and return the losses."""
        script = self.scripts.get(job.task)
        if script is None:
            return super().measure(job)
        try:
            return [[script.loss(trainee(p), seed) for seed in job.seeds] for p in job.programs]
        except FunnelError:
            raise
        except USERS_ERRORS as error:
            raise FunnelError(f"the script {job.task} failed: {one_line(error)}") from error
