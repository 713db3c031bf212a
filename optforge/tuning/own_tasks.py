"""Baselines of tasks that are not shipped: tuned on all workers before a search, and cached.

Only AdamW is tuned then, because all candidates are compared with it; the other rows of the table
get the same number of trials at the end. By default this is the number that fits into :data:`SHARE`
of the minutes of the search. It is stored with the run, so that the history does not depend on the
machine.

Every loss is appended to a file in the user's cache as soon as it is known, under a key of task,
settings and seed. So a second start, or another search on the same task, repeats no training, and a
stop loses at most the jobs in flight.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from torch import Tensor

from optforge.execution import Workers, process_count, start_executor
from optforge.fitness import Evaluator
from optforge.jobs import JobRunner, Store, Trainer
from optforge.language import load_rule
from optforge.tasks import Task, users_code
from optforge.tasks.data.cache import directory
from optforge.training import Stack, is_gpu, train_population
from optforge.tuning.baselines import Baseline, baseline_tunable
from optforge.tuning.progress import TrainingProgress, Watch
from optforge.tuning.trainees import FULL, Effort, losses_by, tune_together

SHARE = 0.2  # of the minutes of a search, for all own tasks together
TRIALS_WITHOUT_MINUTES = 64  # where the budget of a search is a number of programs
BATCHES = (4, 8, 16, 32)  # candidates of a batch where the default takes too long
_BATCH_SHARE = 0.1  # of the minutes of a search, in which one worker trains a batch once
_TRIALS = (4, 8, 16, 32, 64, 128, 256)  # few numbers, so that another search finds the same ones
VERSION = 2  # of what is kept; raised when the same training gives other losses
_PROGRAMS, _SEEDS = 2, 3  # of one job: small, so that all workers are busy and little is lost
_JOB_SECONDS = 3600.0
_TIMED = 0.1  # share of the steps of a training that its length is told from


@dataclass(frozen=True)
class BaselineTuner:
    """Tunes AdamW on the user's own tasks.

    Args:
        trials: Number of settings to try; None for as many as fit.
        minutes: Length of the search; None if its budget is a number of programs.
        workers: Number of worker processes; 0 to train in this process.
        watch: Display of the work, the finished and total number of trainings, and the seconds
            left.
        stop: Called now and then; True requests a stop.
        alone: Names of the tasks whose models train one at a time.
        device: Device to train on.
        file: File of the losses; ``tuning/losses-2`` in the user's cache by default.

    Example:
        >>> from optforge.tasks import load_task
        >>> task = load_task("digits_mlp")
        >>> BaselineTuner(trials=8).effort([task], Store(None, False)).trials
        8
    """

    trials: int | None = None
    minutes: float | None = None
    workers: Workers = 0
    watch: Watch = lambda what, done, total, left: None
    stop: Callable[[], bool] = lambda: False
    alone: Sequence[str] = ()
    device: str = "cpu"
    file: Path | None = None

    @contextmanager
    def trainer(self, tasks: Sequence[Task]) -> Iterator[Trainer]:
        """Start the workers, and stop them afterwards; without tasks there are none."""
        factory = functools.partial(
            Evaluator,
            tasks=tuple(tasks),
            alone=self.alone,
            device=self.device,
        )
        workers = self.workers if tasks else 0
        with closing(start_executor(factory, workers, _JOB_SECONDS)) as executor:
            runner = JobRunner(executor, stop=self.stop)
            file = self.file or directory() / "tuning" / f"losses-{VERSION}"
            store = Store(file, compiled=False, device=self.device)
            by_name = {task.name: task for task in tasks}
            yield Trainer(runner, by_name, 0, store, _PROGRAMS, _SEEDS)

    def tune(self, trainer: Trainer) -> tuple[dict[str, Baseline], Effort]:
        """Tune AdamW on all tasks of a trainer side by side.

        Returns:
            The baseline of each task, and how much it and the rest of the table are tuned.

        Raises:
            StoppedError: If a stop is requested; the next start continues from there.
        """
        tasks = [task for task in trainer.tasks.values() if isinstance(task, Task)]
        if not tasks:
            return {}, FULL  # as what is shipped was tuned
        effort = self.effort(tasks, trainer.store)
        what = f"Tuning AdamW, the baseline, on {', '.join(trainer.tasks)}"
        baseline = baseline_tunable("adamw")
        total = effort.runs_with(len(baseline.known)) * len(tasks)
        progress = TrainingProgress(trainer, self.watch, what, total)
        jobs = [(baseline, [task.name]) for task in tasks]
        tuned = tune_together(jobs, progress.counting(losses_by(trainer)), effort)
        baselines = [Baseline("adamw", best.parameters, best.loss, best.trials) for best in tuned]
        return dict(zip(trainer.tasks, baselines, strict=True)), effort

    def effort(self, tasks: Sequence[Task], store: Store) -> Effort:
        """Return how much everything is tuned.

        Args:
            tasks: All of the user's own tasks.
            store: Stores how long a training takes, so that the next start decides in the same way.
        """
        if self.trials is not None or self.minutes is None:
            return self.fitting(0.0)
        return self.fitting(sum(self._known_seconds(task, store) for task in tasks))

    def fitting(self, seconds: float) -> Effort:
        """Return the largest effort that fits into a share of the minutes.

        Args:
            seconds: Seconds of one training on every task.

        Example:
            >>> BaselineTuner(minutes=10, workers=2).fitting(0.5).trials
            128
        """
        if self.trials is not None or self.minutes is None:
            return Effort(self.trials) if self.trials else Effort.of(TRIALS_WITHOUT_MINUTES)
        budget = SHARE * 60 * self.minutes * max(1, process_count(self.workers))
        efforts = map(Effort.of, _TRIALS)  # a clock may not have seen a short training
        fitting = [effort for effort in efforts if effort.expected_runs * seconds <= budget]
        return fitting[-1] if fitting else Effort.of(_TRIALS[0])

    def batch(self, tasks: Sequence[Task], store: Store, default: int) -> int:
        """Return how many new candidates a batch of the search has, at most ``default``.

        What a search knows it learns batch by batch, so a short one on slow tasks has small ones.

        Args:
            tasks: All of the user's own tasks.
            store: Stores how long a training takes, as for :meth:`effort`.
            default: Number for tasks whose candidates train fast, or without minutes.
        """
        if self.minutes is None or not tasks:
            return default
        budget = _BATCH_SHARE * 60 * self.minutes
        seconds = sum(self._known_seconds(task, store) for task in tasks)
        sizes = [size for size in (*BATCHES, default) if size * seconds <= budget]
        return min(default, max(sizes, default=BATCHES[0]))

    def _known_seconds(self, task: Task, store: Store) -> float:
        place = "" if self.device == "cpu" else f"|{self.device}"
        text = f"seconds of a training|{task.name}|{task.hash}{place}"
        key = blake2b(text.encode(), digest_size=12).hexdigest()
        if store.get(key) is None:
            store.put({key: seconds_of_training(task, task.name in self.alone, self.device)})
        return store.get(key) or 0.0


def seconds_of_training(
    task: Task,
    is_alone: bool = False,
    device: str = "cpu",
    timed: int | None = None,
    programs: int = _PROGRAMS,
    rule: str = "adamw",
) -> float:
    """Estimate the seconds of one training in a batch of a job from its first steps.

    Args:
        task: The task.
        is_alone: Whether its models train one at a time.
        device: Device to train on.
        timed: Number of steps to time; a tenth of them by default.
        programs: Number of programs that train at once, each on three seeds.
        rule: Name of the rule that trains.

    Example:
        >>> from optforge.tasks import load_task
        >>> 0 < seconds_of_training(load_task("digits_mlp")) < 10
        True
    """
    timed = timed or max(1, round(_TIMED * task.steps))
    marks = [1, 1 + timed] if task.steps > timed else []  # the first step pays for what is new
    # The time of the processor does not depend on what else the machine does.
    clock = time.perf_counter if is_gpu(device) else time.process_time
    times = [clock()]

    def judge(mark: int, places: list[int], losses: Tensor) -> list[bool]:
        times.append(clock())
        return [mark == 0 for _ in places]

    candidates = [load_rule(rule)] * programs
    with users_code(task, "a training"):
        train_population(
            Stack(task, device=device, batched=False if is_alone else None),
            candidates,
            range(_SEEDS),
            checkpoints=marks,
            judge=judge if marks else None,
        )
    times.append(clock())
    seconds = (times[2] - times[1]) * task.steps / timed if marks else times[-1] - times[0]
    return seconds / (programs * _SEEDS)
