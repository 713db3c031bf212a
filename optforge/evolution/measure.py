"""Measuring programs on fresh seeds, spread over the executor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy

from optforge.evolution.recovery import Recovery
from optforge.execution import Executor
from optforge.fitness import Measure
from optforge.runs import Journal
from optforge.training import ProgramOrTrainee

_SEEDS_A_JOB = 3
_PROGRAMS_A_JOB = 16


def measure(
    executor: Executor,
    journal: Journal,
    programs: Mapping[str, Sequence[ProgramOrTrainee]],
    seeds: Mapping[str, Sequence[int]],
    split: str,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, numpy.ndarray]:
    """Train programs on tasks and give log losses.

    Args:
        executor: With no other job outstanding.
        journal: Takes note of workers that die.
        programs: For each task what to train; their number may differ between tasks. Programs
            without a schedule of their own train under that of the search.
        seeds: For each task its seeds.
        split: ``validation`` or ``test``.
        watch: Told how many jobs are done and how many there are.

    Returns:
        For each task float64 ``[programs, seeds]``; infinite where training failed.
    """
    results = {
        task: numpy.full((len(programs[task]), len(seeds[task])), numpy.inf) for task in programs
    }
    recovery = Recovery(journal, executor)
    places: dict[int, tuple[str, slice, slice]] = {}
    for task, chosen in programs.items():
        for rows in _chunks(len(chosen), _PROGRAMS_A_JOB):
            for columns in _chunks(len(seeds[task]), _SEEDS_A_JOB):
                place = len(places) + 1
                places[place] = (task, rows, columns)
                job = Measure(tuple(chosen[rows]), task, tuple(seeds[task][columns]), split)
                recovery.submit(-1, place, job)
    done = 0
    while done < len(places):
        outcome = executor.next(timeout=0.25)
        finished = recovery.receive(outcome) if outcome is not None else None
        if finished is not None:
            task, rows, columns = places[finished[1]]
            results[task][rows, columns] = finished[2]
            done += 1
        watch(done, len(places))
    return {task: _logs(losses) for task, losses in results.items()}


def _logs(losses: numpy.ndarray) -> numpy.ndarray:
    """Logs of losses; what is not above 0 is no loss, and as bad as one that diverged."""
    return numpy.log(numpy.where(losses > 0, losses, numpy.inf))


def _chunks(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
