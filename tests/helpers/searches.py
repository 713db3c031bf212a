"""Small searches: with verdicts out of thin air, or on tiny tasks."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from optforge.analysis import cost, fingerprint, live_program, numeric_fingerprint, wide_updates
from optforge.evolution import (
    Budget,
    History,
    Search,
    SearchPlan,
    Settings,
    make_executor,
    make_search,
)
from optforge.evolution.candidate import Candidate, Standing
from optforge.evolution.known import MEMORY
from optforge.evolution.rescore import Rescorer
from optforge.execution import Executor, InlineExecutor
from optforge.fitness import JUDGED, Measure, Outcome, rank, seeds
from optforge.jobs import JobRunner
from optforge.language import Program, rule_text
from optforge.runs import Journal, RunDirectory
from optforge.tasks import Task
from optforge.training import Stack, train_population, trainee
from optforge.tuning import Baseline
from tests.helpers.tiny import Blobs, Sums

Quality = Callable[[Program], float]
ADAMW = {"lr": 0.03, "weight_decay": 0.1, "beta1": 0.9, "beta2": 0.99, "bias_correction": 0.0}
LION = {"lr": 0.01, "weight_decay": 0.1, "beta1": 0.9, "beta2": 0.99}


def small(**changes: Any) -> Settings:
    """Settings of a search that takes a moment."""
    return replace(
        Settings(
            start=rule_text("adamw"),
            tasks=("Blobs",),
            hashes=("none",),
            population=20,
            repeats=2,
            batch=8,
            restart_after=10_000,
            rescore_repeats=2,
            rescore_every=4,
        ),
        **changes,
    )


def by_content(program: Program) -> float:
    """A fitness that nobody can foresee; a third of the programs is rejected."""
    digest = hashlib.sha256(fingerprint(program).encode()).digest()
    value = int.from_bytes(digest[:4], "big") / 2**32
    return value - 0.5 if value < 2 / 3 else math.inf


def evaluation(quality: Quality, numeric: str | None = None) -> Callable[[Any], Any]:
    """Answers jobs with a quality instead of training."""

    def outcome(program: Program, audited: bool) -> Outcome:
        lean = live_program(program)
        value, costs = quality(program), cost(lean)
        judged = math.isfinite(value)
        return Outcome(
            numeric or numeric_fingerprint(wide_updates(lean)),
            value,
            2 if judged else 1,
            JUDGED if judged else "Blobs, repeat 0",
            value,
            0.0 if audited and not judged else None,
            costs.state_bytes,
            costs.statements,
            {"Blobs": (value, value)} if judged else {},
            (value, value) if judged else (),
            40,
            0.001,
        )

    def answer(job: Any) -> Any:
        if isinstance(job, Measure):
            rules = [trainee(candidate).program for candidate in job.programs]
            return [[math.exp(quality(rule)) for _ in job.seeds] for rule in rules]
        return [outcome(p, a) for p, a in zip(job.programs, job.audits, strict=True)]

    return answer


def pretend(
    path: Path,
    settings: Settings,
    programs: int,
    quality: Quality = by_content,
    executor: Callable[..., Executor] = InlineExecutor,
    **other: Any,
) -> Search:
    """Search with invented verdicts, until there are so many proposals; resumes what is there.

    Other arguments are those of :func:`evaluation` and, if they are ``recheck`` or ``memory``, of
    the search.
    """
    exists = path.exists()
    journal = Journal.open(path, write=True) if exists else Journal.create(path, {})
    with journal:
        ours = {name: other.pop(name) for name in ("recheck", "memory") if name in other}
        made = executor(lambda: evaluation(quality, **other))
        search = invented_search(settings, JobRunner(made, journal), **ours)
        search.run(lambda history: history.tally.proposals >= programs)
    return search


def invented_search(
    settings: Settings, runner: JobRunner, memory: int = MEMORY, **more: Any
) -> Search:
    """A search whose verdicts are invented, as are slacks and baseline."""
    fresh = {"Blobs": seeds(settings.seed, "Blobs", "rescore", 2)}
    rescorer = Rescorer(settings.rescore_every, fresh, {"Blobs": (0.0, 0.0)})
    return Search(History(settings, (0.03, 0.03), memory), runner, rescorer, **more)


def judged(fitness: float, name: str, text: str, phase: str = "structure") -> Candidate:
    """A candidate with a full verdict."""
    standing = Standing(0, rank(fitness, 3, fitness, 8.0, 9), "")
    return Candidate(0, text, name, phase, standing=standing)


def rows(path: Path) -> dict[str, list[Any]]:
    """The history in a journal, timings aside; events in no order but that of their batches."""
    with Journal.open(path, write=False) as journal:
        committed = journal.batches
        events = [e for e in journal.events() if 0 <= e.batch < committed]
        return {
            "proposals": list(journal.proposals()),
            "verdicts": [replace(verdict, seconds=0.0) for verdict in journal.verdicts()],
            "events": sorted((e.batch, e.kind, str(sorted(e.detail.items()))) for e in events),
        }


def state(history: History) -> dict[str, Any]:
    """Everything that a history knows, timings aside."""
    known = {name: value for name, value in vars(history).items() if name != "population"}
    members = [(m.number, m.text, m.rank) for m in history.population.members]
    tally = replace(history.tally, training_seconds=0.0)
    return known | {"tally": tally, "members": members, "settings": None}


def tiny_plan(
    settings: Settings, tasks: Sequence[Task] = (), held_out: Sequence[Task] = ()
) -> SearchPlan:
    """A plan on real tasks, with baselines that nobody had to tune."""
    tasks = tuple(tasks) or (Blobs(), Sums())
    names, hashes = tuple(t.name for t in tasks), tuple(t.hash for t in tasks)
    settings = replace(settings, tasks=names, hashes=hashes)
    found = {"adamw": Baseline("adamw", ADAMW, 0.0, 7), "lion": Baseline("lion", LION, 0.0, 7)}
    baselines = {task.name: found for task in (*tasks, *held_out)}
    draft = SearchPlan(settings, tasks, tuple(held_out), baselines, {})
    rule = found["adamw"].program
    losses = {
        task.name: {
            purpose: train_population(Stack(task), [rule], draft.seeds(purpose, count)[task.name])
            .losses.log()[0]
            .tolist()
            for purpose, count in settings.fitness_seeds.items()
        }
        for task in tasks
    }
    return replace(draft, losses=losses)


def train_search(
    path: Path, plan: SearchPlan, programs: int, workers: int = 0, timeout: float = 60.0
) -> History:
    """Search by training; resumes what is there."""
    directory = (
        RunDirectory.open(path, write=True) if path.exists()
        else RunDirectory.create(path, plan.stored())
    )  # fmt: skip
    executor: Executor = make_executor(plan, workers, timeout)
    try:
        with directory:
            runner = JobRunner(executor, directory.journal)
            return make_search(plan, runner).run(Budget(None, programs))
    finally:
        executor.close()
