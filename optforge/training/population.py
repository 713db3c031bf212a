"""Training of many candidates at once: one gradient call for all, one short rule for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from optforge.training.rules import rules_for
from optforge.training.single import train_alone
from optforge.training.stack import Stack
from optforge.training.trainee import ProgramOrTrainee, Trainee, trainee

Judge = Callable[[int, list[int], Tensor], Sequence[bool]]


@dataclass(frozen=True)
class Trained:
    """Results of training a batch of candidates.

    Args:
        losses: Validation loss of each candidate and seed, float64 ``[candidates, seeds]``;
            infinite for those that left early or turned non-finite.
        metrics: Validation metrics of the same shape; NaN where there is none.
        steps: Number of steps that each candidate ran.
        curve: Mean training loss since the previous checkpoint, ``[checkpoints, candidates,
            seeds]``; NaN after a candidate left.
    """

    losses: Tensor
    metrics: Tensor
    steps: tuple[int, ...]
    curve: Tensor


def train_population(
    stack: Stack,
    candidates: Sequence[ProgramOrTrainee],
    seeds: Sequence[int],
    *,
    checkpoints: Sequence[int] = (),
    judge: Judge | None = None,
    split: str = "validation",
) -> Trained:
    """Train every candidate on every seed, all at once.

    Args:
        stack: The task.
        candidates: Programs, which train under the task's own schedule, or trainees. Dead
            statements cost time, so remove them first.
        seeds: Seeds of initialization and data order, common to all candidates.
        checkpoints: Steps after which ``judge`` is called, increasing.
        judge: Receives the number of the checkpoint, the numbers of the candidates still in the
            batch and their mean training losses ``[candidates left, seeds]``; returns for each
            whether it continues. Without a judge only non-finite candidates leave.
        split: The split on which the final losses are measured.

    Returns:
        Losses and curves; the results do not depend on which other candidates are in the batch.

    Example:
        >>> from optforge.language import load_rule
        >>> from optforge.tasks import load_task
        >>> stack = Stack(load_task("digits_mlp"))
        >>> trained = train_population(stack, [load_rule("adamw"), load_rule("lion")], [0])
        >>> trained.losses.shape, bool((trained.losses < 2.0).all())
        (torch.Size([2, 1]), True)
    """
    trainees = [trainee(candidate) for candidate in candidates]
    if not stack.batched:
        return _one_at_a_time(stack, trainees, list(seeds), checkpoints, judge, split)
    run = _PopulationRun(stack, trainees, list(seeds), len(checkpoints))
    marks = {step: number for number, step in enumerate(checkpoints)}
    for step in range(stack.task.steps):
        run.step(step)
        if step + 1 in marks:
            run.checkpoint(marks[step + 1], step + 1, judge)
            if not run.left:
                break
    return run.finish(split)


class _PopulationRun:
    """The batch in training: weights of the remaining candidates, and one rule for each.

    Row ``place * seeds + s`` holds the candidate at a place on seed s; the rows after those of the
    candidates pad the last call and are never read.
    """

    def __init__(
        self, stack: Stack, trainees: Sequence[Trainee], seeds: list[int], checkpoints: int
    ) -> None:
        self.stack, self.seeds, self.count = stack, seeds, len(trainees)
        task, rows = stack.task, len(seeds)
        self.rules = rules_for(stack, trainees, rows)
        self.left = list(range(self.count))
        self.steps = [task.steps] * self.count
        self.curve = torch.full((checkpoints, self.count, rows), torch.nan, dtype=torch.float64)
        self.averages = {
            number: (candidate.average, stack.initial(seeds))
            for number, candidate in enumerate(trainees)
            if candidate.average
        }
        weights, held = stack.initial(seeds), stack.held(seeds)
        held = [value.repeat(self.count, *[1] * (value.dim() - 1)) for value in held]
        self._place(weights.repeat(self.count, 1), held)

    def _place(self, weights: Tensor, held: list[Tensor]) -> None:
        """Lay out the rows of the remaining candidates and all views into them."""
        rows, elements = weights.shape
        # Where the shape of a call is not fixed, small batches need no filling.
        call = self.stack.rows if self.stack.fixed else min(self.stack.rows, max(rows, 1))
        filled = -(-rows // call) * call
        self.weights = weights.new_zeros(filled, elements)
        self.weights[:rows] = weights
        self.gradient = torch.zeros_like(self.weights)
        self.held = [_filled(value, filled) for value in held]
        seeds = self.seeds * (filled // len(self.seeds) + 1)
        self.calls = [
            (slice(start, start + call), seeds[start : start + call])
            for start in range(0, filled, call)
        ]
        self.scales = self.stack.row_scales(seeds[:filled])
        self.rules.place(self.left, self.weights, self.gradient)
        self.total = torch.zeros(filled, dtype=torch.float64, device=self.stack.sums_on)
        self.since = 0

    def _block(self, place: int) -> Tensor:
        """Return a view of the weights of the candidate at a place, ``[seeds, elements]``."""
        return self.weights[place * len(self.seeds) : (place + 1) * len(self.seeds)]

    def step(self, step: int) -> None:
        scales = self.scales
        for rows, seeds in self.calls:
            held = [value[rows] for value in self.held]
            losses, gradient = self.stack.gradients(self.weights[rows], seeds, step, held)
            self.gradient[rows] = gradient if scales is None else gradient * scales[rows]
            self.total[rows] += losses.to(self.stack.sums_on)
        self.since += 1
        self.rules.step(step)
        self.stack.round(self.weights)
        for place, number in enumerate(self.left):
            if number in self.averages:
                memory, average = self.averages[number]
                average += (1 - memory) * (self._block(place) - average)

    def checkpoint(self, number: int, step: int, judge: Judge | None) -> None:
        used = len(self.left) * len(self.seeds)
        losses = (self.total[:used] / self.since).view(len(self.left), -1).cpu()
        self.curve[number, self.left] = losses
        keep = losses.isfinite().all(1).tolist()
        if judge is not None:
            verdicts = judge(number, list(self.left), losses)
            keep = [a and bool(b) for a, b in zip(keep, verdicts, strict=True)]
        self.total.zero_()
        self.since = 0
        if not all(keep):
            self._leave(keep, step)

    def _leave(self, keep: list[bool], step: int) -> None:
        for number, stays in zip(self.left, keep, strict=True):
            if not stays:
                self.steps[number] = step
        rows = torch.tensor(keep).repeat_interleave(len(self.seeds))
        self.left = [n for n, stays in zip(self.left, keep, strict=True) if stays]
        stay = rows.nonzero()[:, 0].to(self.weights.device)
        self._place(self.weights[stay], [value[stay] for value in self.held])

    def finish(self, split: str) -> Trained:
        shape = (self.count, len(self.seeds))
        losses = torch.full(shape, torch.inf, dtype=torch.float64)
        metrics = torch.full(shape, torch.nan, dtype=torch.float64)
        if self.left:
            for place, number in enumerate(self.left):
                if number in self.averages:
                    self._block(place)[...] = self.averages[number][1]
            used = len(self.left) * shape[1]
            held = [value[:used] for value in self.held]
            measured = self.stack.evaluate(self.weights[:used], split, held)
            for result, values in zip((losses, metrics), measured, strict=True):
                result[self.left] = values.to("cpu", torch.float64).view(-1, shape[1])
        return Trained(_finite(losses), metrics, tuple(self.steps), self.curve)


def _filled(rows: Tensor, count: int) -> Tensor:
    """Pad to the given number of rows with copies of the first row."""
    return torch.cat([rows, rows[:1].expand(count - len(rows), *rows.shape[1:])])


def _finite(losses: Tensor) -> Tensor:
    return torch.where(losses.isfinite(), losses, torch.inf)


def _one_at_a_time(
    stack: Stack,
    trainees: Sequence[Trainee],
    seeds: list[int],
    checkpoints: Sequence[int],
    judge: Judge | None,
    split: str,
) -> Trained:
    """Train each candidate by itself, for models that cannot be batched."""
    losses = torch.full((len(trainees), len(seeds)), torch.inf, dtype=torch.float64)
    metrics = torch.full_like(losses, torch.nan)
    curve = torch.full((len(checkpoints), *losses.shape), torch.nan, dtype=torch.float64)
    steps = []
    for number, candidate in enumerate(trainees):
        # Seeds advance side by side, so that the judge sees all of them at a checkpoint.
        runs = [train_alone(stack, candidate, seed, checkpoints, split) for seed in seeds]
        done = 0
        for mark, step in enumerate(checkpoints):
            curve[mark, number] = torch.tensor([next(run).loss for run in runs], dtype=curve.dtype)
            done = step
            values = curve[mark, number : number + 1]
            if not values.isfinite().all() or (
                judge is not None and not judge(mark, [number], values)[0]
            ):
                break
        else:
            results = [next(run) for run in runs]
            losses[number] = torch.tensor([r.loss for r in results], dtype=torch.float64)
            metrics[number] = torch.tensor([r.metric for r in results], dtype=torch.float64)
            done = stack.task.steps
        steps.append(done)
    return Trained(_finite(losses), metrics, tuple(steps), curve)
