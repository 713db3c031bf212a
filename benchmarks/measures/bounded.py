"""A trainer for studies that go on where they were stopped."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from pathlib import Path

from optforge.execution import start_executor
from optforge.fitness import Evaluator
from optforge.jobs import JobRunner, Store, Trainer
from optforge.tasks import Task
from optforge.training import trained_alone


def bounded_trainer(
    tasks: Mapping[str, Task], out: Path, minutes: float, workers: int = 0
) -> Trainer:
    """A trainer that keeps every loss in ``out/losses`` and raises when its minutes are up.

    Args:
        tasks: The tasks by name.
        out: Directory of the study.
        minutes: Its time.
        workers: Number of worker processes; 0 to train in this one.
    """
    everything = tuple(tasks.values())
    alone = trained_alone(everything, print)
    factory = functools.partial(Evaluator, tasks=everything, alone=alone)
    executor = start_executor(factory, workers)
    deadline = time.monotonic() + 60 * minutes
    runner = JobRunner(executor, window=max(1, workers), deadline=deadline)
    rows, seeds = (16, 4) if workers else (2, 2)
    return Trainer(runner, tasks, 0, Store(out / "losses", compiled=False), rows, seeds)
