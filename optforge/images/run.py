"""From a preset and pictures to a trained model in a folder that can be resumed."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from optforge.errors import TrainingError
from optforge.images import checkpoint
from optforge.images.choices import Changes, Machine
from optforge.images.data import ImageData, open_data
from optforge.images.evaluate import Score
from optforge.images.log import Log
from optforge.images.plan import Plan, make_plan
from optforge.images.processes import Processes, processes
from optforge.images.trainer import Step, Trainer


class Watch:
    """What a display overrides; it is told things in the first process only."""

    def begin(self, plan: Plan, parameters: int, first: int) -> None:
        """Take the plan, the size of the model and the steps that are done already."""

    def step(self, step: Step) -> None:
        """Take a step."""

    def score(self, number: int, score: Score) -> None:
        """Take an evaluation after some number of steps."""


@dataclass(frozen=True)
class Trained:
    """What came out.

    Args:
        plan: What was trained.
        steps: Steps done so far.
        score: The last evaluation.
        folder: Where checkpoint and log are.
    """

    plan: Plan
    steps: int
    score: Score
    folder: Path


def train_images(
    preset: str,
    data: str,
    folder: str | Path,
    optimizer: str = "lion",
    changes: Changes | None = None,
    machine: Machine | None = None,
    *,
    initial: str | None = None,
    resume: bool = False,
    watch: Watch | None = None,
) -> Trained:
    """Train a preset on pictures; under torchrun, with all its processes.

    Args:
        preset: A name in ``PRESETS``.
        data: Where the pictures are; see ``open_data``.
        folder: For checkpoint and log.
        optimizer: ``adamw``, ``lion``, ``adafactor`` or ``sgd``.
        changes: To the preset.
        machine: How it runs.
        initial: A checkpoint to fine-tune, of the same architecture; give it when resuming too.
        resume: Go on from the folder's checkpoint; without one, begin.
        watch: A display.

    Returns:
        The last score and where everything is.

    Raises:
        TrainingError: If something does not fit, is missing, or the loss diverges.
    """
    machine, path = machine or Machine(), Path(folder)
    with processes(machine.device) as among:
        found = open_data(data)
        plan = make_plan(
            preset,
            optimizer,
            changes or Changes(),
            examples=len(found.train),
            classes=len(found.classes),
            pieces=among.world * machine.accumulation,
            precision=machine.precision,
            data=found.digest,
            initial=None if initial is None else checkpoint.digest(Path(initial)),
        )
        # The trainer refers to the group of processes and must end before the group does, so no
        # name here holds it.
        return _Run(
            _trainer(plan, found, among, machine, path, initial, resume),
            machine,
            path,
            watch or Watch(),
        ).go()


def _trainer(
    plan: Plan,
    data: ImageData,
    among: Processes,
    machine: Machine,
    folder: Path,
    initial: str | None,
    resume: bool,
) -> Trainer:
    exists = (folder / checkpoint.CHECKPOINT).is_file()
    if exists and not resume:
        raise TrainingError(
            f"{folder} holds a training already; go on with it (resume), or choose another folder"
        )
    trainer = Trainer(plan, data, among, compile=machine.compile, workers=machine.workers)
    if exists:
        trainer.load(checkpoint.load(folder, plan))
    elif initial is not None:
        trainer.start_from(checkpoint.read(Path(initial))["model"])
    if among.first:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrainingError(f"the folder {folder} cannot be made: {error.strerror}") from None
    among.wait()
    return trainer


class _Run:
    """The loop around a trainer: evaluations, checkpoints and the log."""

    def __init__(self, trainer: Trainer, machine: Machine, folder: Path, watch: Watch) -> None:
        self.trainer, self.folder, self.watch = trainer, folder, watch
        self.plan, self.first, self.log = trainer.plan, trainer.among.first, Log(folder)
        tenth = max(1, self.plan.steps // 10)
        self.evaluate_every = tenth if machine.evaluate_every is None else machine.evaluate_every
        steps = machine.checkpoint_every
        self.checkpoint_every = self.evaluate_every if steps is None else steps
        self.checkpoint_seconds = 60 * machine.checkpoint_minutes
        more = machine.stop_after
        self.last = self.plan.steps if more is None else min(self.plan.steps, trainer.steps + more)
        self.since = self.saved = time.perf_counter()

    def go(self) -> Trained:
        if self.first:
            self._begin()
        score: Score | None = None
        for step in self.trainer.run(self.last):
            end = step.number == self.last
            if self.first:
                self._tell(step)
            if end or step.number % self.evaluate_every == 0:
                score = self._evaluate(step.number)
                self._log(number=step.number, validation=dataclasses.asdict(score))
            if end or step.number % self.checkpoint_every == 0 or self._waited():
                self._save(step.number)
        self.trainer.among.wait()
        # Of a training that had ended before, the log has this score already.
        score = score or self._evaluate(self.trainer.steps)
        return Trained(self.plan, self.trainer.steps, score, self.folder)

    def _begin(self) -> None:
        done = self.trainer.steps
        parameters = sum(p.numel() for p in self.trainer.model.parameters())
        self.watch.begin(self.plan, parameters, done)
        self.log.forget_after(done)
        self._log(plan=dataclasses.asdict(self.plan), first=done, torch=torch.__version__)

    def _tell(self, step: Step) -> None:
        now = time.perf_counter()
        rate = self.plan.batch_size / (now - self.since)
        self.since = now
        self._log(**dataclasses.asdict(step), images_per_second=round(rate, 2))
        self.watch.step(step)

    def _evaluate(self, number: int) -> Score:
        score = self.trainer.evaluate()
        if self.first:
            self.watch.score(number, score)
        self.since = time.perf_counter()
        return score

    def _waited(self) -> bool:
        return time.perf_counter() - self.saved >= self.checkpoint_seconds

    def _save(self, number: int) -> None:
        """Save in the first process; the others, whose clocks differ, need not know of it."""
        if self.first:
            checkpoint.save(self.folder, self.plan, number, self.trainer.state())
        self.saved = time.perf_counter()

    def _log(self, **content: Any) -> None:
        if self.first:
            self.log.add(**content)
