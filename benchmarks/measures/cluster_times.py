"""Measure what the driver and the workers of a search take, for the model of a cluster."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory
from typing import Any

import torch

from optforge.evolution.history import History
from optforge.execution import Completed, Executor, Workers, process_count, start_executor
from optforge.fitness import JUDGED, Judge
from optforge.language import parse
from optforge.runs import Event, Journal

from .cluster_model import ServiceTimes
from .stub import StubExecutor, StubRun

_WARM = 2_000  # programs before the clocks count
_TIMED = 5_000
_JOBS = 40  # for each worker, to time sending and receiving


def service_times(run: Path, workers: Workers) -> ServiceTimes:
    """Return the service times of a search like the one in a directory.

    Args:
        run: Directory of a finished run; its journal tells how long its batches took.
        workers: Where jobs are sent to measure what that takes.
    """
    judging, proposals, rescoring, rescored = of_journal(run)
    drawing, writing, job, result = driver()
    committing = transaction()
    sending, receiving = transport(job, result, workers)
    return ServiceTimes(
        judging, proposals, rescoring, rescored, drawing, sending, receiving, committing,
        max(0.0, writing - committing * len(judging) / sum(proposals)),
    )  # fmt: skip


def of_journal(run: Path) -> tuple[tuple[float, ...], tuple[int, ...], float, float]:
    """Return seconds and programs of each batch, and seconds and share of re-scoring.

    A leader is measured on as many seeds as a program that is judged in full, so that is what it
    is taken to need. The first phase is left out: in it nearly all programs are judged in full.
    """
    journal = Journal.open(run / "journal.sqlite", write=False)
    try:
        settings = journal.settings["search"]
        verdicts = {verdict.id: verdict for verdict in journal.verdicts()}
        rows = [row for row in journal.proposals() if row.number >= settings["constants_programs"]]
        rescores = sum(event.kind == "rescore" for event in journal.events())
    finally:
        journal.close()
    seconds: dict[int, float] = {}
    counts: dict[int, int] = {}
    for row in rows:
        counts[row.batch] = counts.get(row.batch, 0) + 1
        new = row.verdict is not None and not row.cached
        took = verdicts[row.verdict].seconds if new and row.verdict is not None else 0.0
        seconds[row.batch] = seconds.get(row.batch, 0.0) + took
    whole = list(counts)[1:]  # the first may hold the end of the first phase
    full = mean(v.seconds for v in verdicts.values() if v.stage_name == JUDGED)
    return (
        tuple(seconds[batch] for batch in whole),
        tuple(counts[batch] for batch in whole),
        full,
        min(1.0, rescores / len(counts)),
    )


def driver() -> tuple[float, float, Judge, Any]:
    """Return seconds of drawing and of committing a program, a job and its result.

    Committing is the transaction of the journal and the update of the history.
    """
    torch.set_num_threads(1)
    with StubRun(seed=0) as run:
        costs, warmed = run.costs, False

        def stop(history: History) -> bool:
            nonlocal warmed
            if not warmed and history.tally.proposals >= _WARM:
                warmed = True
                costs.clear()
            return warmed and costs.committed >= _TIMED

        run.run(stop)
        members = list(run.search.history.population.members)
        programs = tuple(member.genome.program for member in members[: run.search.settings.batch])
        job = Judge(programs, run.search.history.hurdles(None), (False,) * len(programs))
        committing = (costs.committing + costs.applying) / costs.committed
        return costs.drawing / costs.drawn, committing, job, StubExecutor(run.stages).answer(job)


def transaction(repeats: int = 50) -> float:
    """Return the median seconds of a transaction with next to nothing in it."""
    seconds = []
    with TemporaryDirectory() as directory:
        journal = Journal.create(Path(directory) / "journal.sqlite", {})
        for number in range(repeats):
            start = time.perf_counter()
            journal.commit(number, [], [], [Event(number, "mismatch", {"fingerprint": "0"})])
            seconds.append(time.perf_counter() - start)
        journal.close()
    return median(seconds)


def transport(job: Judge, result: Any, workers: Workers) -> tuple[float, float]:
    """Return median seconds of the driver to send a job, and to take a result that is there."""
    executor = start_executor(functools.partial(_answering, result), workers)
    try:
        _answers(executor, [job] * process_count(workers))  # all are up
        count = _JOBS * process_count(workers)
        sending = [_seconds(lambda n=n: executor.submit(n, job)) for n in range(count)]
        time.sleep(1.0 + 0.02 * count)  # all results are there
        receiving = [_seconds(lambda: executor.next(timeout=60.0)) for _ in range(count)]
    finally:
        executor.close()
    return median(sending), median(receiving)


def _answers(executor: Executor, jobs: list[Judge]) -> None:
    for number, job in enumerate(jobs):
        executor.submit(number, job)
    for _ in jobs:
        outcome = executor.next(timeout=120.0)
        if not isinstance(outcome, Completed):
            raise RuntimeError(f"a worker did not answer: {outcome}")


def _answering(result: Any) -> Callable[[Any], Any]:
    """Build a worker that answers every job with the same result, after reading the job."""

    def answer(job: Judge) -> Any:
        parse(job.programs[0].text)
        return result

    return answer


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
