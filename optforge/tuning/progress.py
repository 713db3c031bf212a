"""Progress of tuning in trainings, over all of its rounds."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from numpy import ndarray

from optforge.jobs import Trainer
from optforge.training import Trainee
from optforge.tuning.trainees import Losses

Watch = Callable[[str, int, int, float | None], None]


class TrainingProgress:
    """Counts trainings over all rounds and estimates the remaining time.

    Args:
        trainer: Does the training; the display of its runner is replaced.
        watch: Display of the work, the finished and total number of trainings, and the seconds
            left.
        what: Description of the work.
        total: Number of all trainings, or a bound.
    """

    def __init__(self, trainer: Trainer, watch: Watch, what: str, total: int) -> None:
        self.trainer, self.watch, self.what, self.total = trainer, watch, what, total
        self.finished = self.running = 0
        self.began = time.monotonic()
        trainer.runner.watch = self.jobs

    def counting(self, losses: Losses) -> Losses:
        """Wrap a function that returns losses, counting each call as a round."""

        def counted(
            candidates: Mapping[str, Sequence[Trainee]], purpose: str, count: int
        ) -> Mapping[str, ndarray]:
            self.running = sum(len(trainees) * count for trainees in candidates.values())
            values = losses(candidates, purpose, count)
            self.finished, self.running = self.finished + self.running, 0
            self.jobs("", 0, 1)
            return values

        return counted

    def jobs(self, what: str, done: int, total: int) -> None:
        """Record the number of finished jobs of a round."""
        finished = self.finished + self.running * done // max(1, total)
        trained, left = self.trainer.trained, None
        if trained:  # what was known already says nothing of the pace
            left = (time.monotonic() - self.began) / trained * (self.total - finished)
        self.watch(self.what, finished, self.total, left)
