"""Meta-validation: leaders of a search are scored on larger tasks while it goes on.

A search goes on fitting its tasks after it has stopped finding what holds elsewhere. The paper
calls that meta-overfitting; half of its runs began early. Here its onset restarts the search, and a
funnel takes no candidates from what came behind it.

Source: "Symbolic Discovery of Optimization Algorithms", section 2.3.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from torch.utils.flop_counter import FlopCounterMode

from optforge.evolution.candidate import Candidate
from optforge.evolution.history import History
from optforge.evolution.overfitting import KIND
from optforge.evolution.rescale import rescaled
from optforge.fitness import Measure
from optforge.language import Program
from optforge.runs import Event
from optforge.tasks import Task, augmented, initial_model

SEEDS = 3  # of each task: the same for all, so that incumbents are compared in pairs
_RATES = (1.0, 1 / 3, 3.0)  # a good rule whose rate fits the small tasks only is not lost


@dataclass(frozen=True)
class Validator:
    """Measures incumbents on larger tasks, on a fixed share of the arithmetic of a search.

    Args:
        seeds: The seeds of each task.
        share: Share of the arithmetic.
        cost: Arithmetic of one validation, in mean training steps of the search.
    """

    seeds: Mapping[str, Sequence[int]]
    share: float
    cost: float

    def leader(self, history: History, in_flight: Collection[str | None]) -> Candidate | None:
        """Return the incumbent if it is to be validated with the next batch.

        Args:
            history: History of all committed batches.
            in_flight: Fingerprints being validated by batches in flight.
        """
        under_way = sum(fingerprint is not None for fingerprint in in_flight)
        needed = (len(history.validations) + under_way + 1) * self.cost
        if not self.seeds or self.share * history.tally.steps < needed:
            return None
        incumbent = history.incumbent(history.phase)
        known = {*(v.fingerprint for v in history.validations), *in_flight}
        return None if incumbent is None or incumbent.fingerprint in known else incumbent

    def jobs(self, leader: Candidate) -> list[Measure]:
        """Return the jobs that validate a leader, one per task, at three learning rates."""
        programs = rates(leader.program)
        return [Measure(programs, task, tuple(seeds), "validation") for task, seeds in
                self.seeds.items()]  # fmt: skip

    def event(
        self,
        history: History,
        batch: int,
        leader: Candidate,
        measured: Sequence[Sequence[Sequence[float]]],
    ) -> Event:
        """Return the event that is stored in the journal.

        Args:
            history: History of all batches before this one.
            batch: Number of the batch.
            leader: The validated program.
            measured: The result of each job of :meth:`jobs`: losses ``[rates][seeds]``.
        """
        detail: dict[str, Any] = {
            "fingerprint": leader.fingerprint,
            "program": leader.text,
            "at": history.next_number,
            "fitness": leader.fitness,
            "logs": {
                task: _best_rate(losses) for task, losses in zip(self.seeds, measured, strict=True)
            },
        }
        return Event(batch, KIND, detail)


def rates(program: Program) -> tuple[Program, ...]:
    """Return a rule at its learning rate, a third of it and three times it.

    Example:
        >>> from optforge.language import load_rule
        >>> len(rates(load_rule("lion")))
        3
    """
    scaled = (program if rate == 1 else rescaled(program, rate) for rate in _RATES)
    return tuple(rule for rule in scaled if rule is not None)


def validation_cost(tasks: Sequence[Task], proxies: Sequence[Task]) -> float:
    """Return the arithmetic of one validation over that of a mean step on the proxies.

    It is counted and not timed, so that the history of a search does not depend on the machine.

    Args:
        tasks: The tasks of the validation.
        proxies: The tasks of the search.
    """
    trainings = len(_RATES) * SEEDS
    mean = sum(map(step_operations, proxies)) / len(proxies)
    return sum(trainings * task.steps * step_operations(task) for task in tasks) / mean


def step_operations(task: Task) -> float:
    """Return the floating-point operations of a training step, those of matrix products.

    Example:
        >>> from optforge.tasks import load_task
        >>> step_operations(load_task("mnist_mlp"))
        432128.0
    """
    model, train = initial_model(task, 0), task.splits.train
    size = task.batch_size
    inputs, targets = augmented(task, train.inputs[:size], train.targets[:size], 0, 0)
    with FlopCounterMode(display=False) as counter:
        task.loss(model(inputs), targets).backward()
    return max(1.0, float(counter.get_total_flops()))


def _best_rate(losses: Sequence[Sequence[float]]) -> list[float]:
    """Return the log losses at the learning rate with the lowest mean, one per seed."""
    values = numpy.asarray(losses, dtype=numpy.float64)  # [rates, seeds]
    logs = numpy.log(numpy.where(values > 0, values, numpy.inf))
    means = numpy.where(numpy.isfinite(logs).all(1), logs.mean(1), numpy.inf)
    return logs[int(means.argmin())].tolist()
