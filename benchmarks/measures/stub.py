"""A real search whose candidates are not trained: verdicts are made from the programs' text.

About two thirds of the new programs are rejected, at any stage. The fitness of the others is
noise and a part that children inherit: the names of the functions that a program computes with.
No child is rescaled: there is no `Yardstick`, which needs a recorded training.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from optforge.analysis import live_program
from optforge.evolution.history import History
from optforge.evolution.loop import Search
from optforge.evolution.plan import SearchPlan
from optforge.evolution.rescore import Rescorer
from optforge.evolution.settings import Settings
from optforge.execution import Completed
from optforge.fitness import JUDGED, Judge, Measure, Outcome, Stage
from optforge.jobs import JobRunner
from optforge.language import Program, load_rule, round_constants
from optforge.runs import Journal
from optforge.tasks import PROXY_TASKS, load_task
from optforge.training import trainee

_REJECTED = 2 / 3


class StubExecutor:
    """Answers every job at once."""

    def __init__(self, stages: tuple[Stage, ...]) -> None:
        self.stages = stages
        self.jobs: deque[tuple[int, Any]] = deque()

    def submit(self, key: int, job: Any) -> None:
        self.jobs.append((key, job))

    def next(self, timeout: float | None = None) -> Completed:
        del timeout
        key, job = self.jobs.popleft()
        return Completed(key, self.answer(job), 0.0)

    def abandon(self, seconds: float) -> None:
        del seconds
        self.jobs.clear()

    def close(self) -> None:
        self.jobs.clear()

    def answer(self, job: Judge | Measure) -> Any:
        if isinstance(job, Measure):
            return [
                [0.5 + _share(trainee(p).program.text + str(s)) for s in job.seeds]
                for p in job.programs
            ]
        return [pseudo_outcome(program, self.stages) for program in job.programs]


def pseudo_outcome(program: Program, stages: tuple[Stage, ...]) -> Outcome:
    """A verdict that depends on the text of the program alone."""
    lean = live_program(program)
    digits = hashlib.sha256(lean.text.encode()).hexdigest()
    luck, noise, place = (int(digits[i : i + 8], 16) / 2**32 for i in (0, 8, 16))
    inherited = sum(_share(name) - 0.5 for name in {s.function for s in lean.statements})
    fitness = 0.2 * math.tanh(inherited) + 0.1 * noise
    first = program.text == _START.text
    rejected = luck < _REJECTED and not first
    stage = stages[int(place * len(stages))]
    count = stage.first + 1 if rejected else stages[-1].last + 1
    return Outcome(
        numeric_fingerprint=digits[:16],
        fitness=math.inf if rejected else fitness,
        stage=count if rejected else count + 1,
        stage_name=stage.name if rejected else JUDGED,
        loss=fitness,
        audit_fitness=None,
        state_bytes=4.0 * len(lean.states),
        live_statements=len(lean.statements),
        scores={} if rejected else {t: (fitness,) * 3 for t in PROXY_TASKS},
        trace=tuple(fitness for _ in range(count)),
        steps=100,
        seconds=0.0,
    )


@dataclass
class Costs:
    """Seconds and programs of the parts of a search that are not training."""

    drawing: float = 0.0
    drawn: int = 0
    committing: float = 0.0
    committed: int = 0
    applying: float = 0.0
    cached: int = 0

    def clear(self) -> None:
        self.__init__()


@dataclass
class StubRun:
    """A search from AdamW on the default suite's stages, in a directory that vanishes."""

    seed: int
    costs: Costs = field(default_factory=Costs)

    def __enter__(self) -> StubRun:
        tasks = tuple(load_task(name) for name in PROXY_TASKS)
        settings = Settings(_START.text, PROXY_TASKS, (), self.seed)
        plan = SearchPlan(settings, tasks, (), {}, {})
        self.stages = plan.stages
        self._directory = TemporaryDirectory()
        self.journal = Journal.create(Path(self._directory.name) / "journal.sqlite", {})
        self.search = Search(
            History(settings, plan.slacks()),
            JobRunner(StubExecutor(plan.stages), self.journal),
            Rescorer(
                settings.rescore_every,
                plan.seeds("rescore", settings.rescore_repeats),
                {name: (0.0,) * settings.rescore_repeats for name in PROXY_TASKS},
            ),
        )
        self._time_parts()
        return self

    def __exit__(self, *_: object) -> None:
        self.journal.close()
        self._directory.cleanup()

    @property
    def proposals(self) -> int:
        return self.search.history.tally.proposals

    def run(self, stop: Callable[[History], bool]) -> None:
        """Drive the search until told to stop; once for a run, as the journal is not replayed."""
        self.search.run(stop)

    def _time_parts(self) -> None:
        """Put a clock around drawing a batch, writing it, and taking it into the history."""
        draw, commit, costs = self.search.draw, self.journal.commit, self.costs
        apply = self.search.history.apply

        def timed_draw(number: int) -> Any:
            start = time.perf_counter()
            batch = draw(number)
            costs.drawing += time.perf_counter() - start
            costs.drawn += len(batch.candidates)
            costs.cached += sum(not candidate.new for candidate in batch.candidates)
            return batch

        def timed_commit(batch: int, proposals: Any = (), *rest: Any) -> None:
            start = time.perf_counter()
            commit(batch, proposals, *rest)
            costs.committing += time.perf_counter() - start
            costs.committed += len(proposals)

        def timed_apply(*given: Any) -> None:
            start = time.perf_counter()
            apply(*given)
            costs.applying += time.perf_counter() - start

        vars(self.search)["draw"] = timed_draw
        vars(self.search.history)["apply"] = timed_apply
        vars(self.journal)["commit"] = timed_commit


_START = round_constants(load_rule("adamw"))


def _share(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32
