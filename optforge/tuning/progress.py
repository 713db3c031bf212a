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
        self.finished = self.running = self.paid = self._raced = 0
        self.began = time.monotonic()
        trainer.runner.watch = self.jobs

    def counting(self, losses: Losses) -> Losses:
        """Wrap a function that returns losses, counting each call as a round."""

        def counted(
            candidates: Mapping[str, Sequence[Trainee]], purpose: str, count: int
        ) -> Mapping[str, ndarray]:
            number, trained = sum(map(len, candidates.values())), self.trainer.trained
            # What a race leaves out is finished with those that had their other seeds.
            self.running = self._raced * (count - 1) if self._raced else number * count
            self._raced = number if count == 1 else 0
            values = losses(candidates, purpose, count)
            if self.trainer.trained > trained:  # what was known says nothing of the pace
                self.paid += self.running
            self.finished, self.running = self.finished + self.running, 0
            self.jobs("", 0, 1)
            return values

        return counted

    def jobs(self, what: str, done: int, total: int) -> None:
        """Record the number of finished jobs of a round."""
        running = self.running * done // max(1, total)
        finished, left = self.finished + running, None
        if self.paid + running:
            pace = (time.monotonic() - self.began) / (self.paid + running)
            left = pace * (self.total - finished)
        self.watch(self.what, finished, self.total, left)
