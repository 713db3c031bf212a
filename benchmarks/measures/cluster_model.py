"""A discrete-event model of a search on many workers: one driver, a queue, workers.

The driver does one thing at a time, as `evolution/pipeline.py` does: draw a batch, take a result,
commit the next batch in order. Batch n is drawn when batch n - lag is committed. A worker judges
one batch at a time, in the order in which batches were drawn.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from random import Random
from typing import Any

import simpy


@dataclass(frozen=True)
class ServiceTimes:
    """What the parts of a search take, in seconds, measured.

    Args:
        judging: Of batches of a real search, each on one worker.
        proposals: Programs drawn for each of them, known ones included.
        rescoring: Of one measurement of a leader on fresh seeds.
        rescored: Share of the batches with which a leader is measured.
        drawing: Of one program: mutate, check, fingerprint, look up.
        sending: Of one job: pickle it and hand it over.
        receiving: Of one result: take it and unpickle it.
        committing: Of one transaction of the journal.
        writing: Of one program in it, and in the history.
    """

    judging: tuple[float, ...]
    proposals: tuple[int, ...]
    rescoring: float
    rescored: float
    drawing: float
    sending: float
    receiving: float
    committing: float
    writing: float

    def driving(self) -> float:
        """Return the mean seconds of the driver for a batch."""
        rows = sum(self.proposals) / len(self.proposals)
        jobs = 1 + self.rescored
        return (
            rows * (self.drawing + self.writing)
            + jobs * (self.sending + self.receiving)
            + self.committing
        )

    def working(self) -> float:
        """Return the mean seconds of a worker for a batch."""
        return sum(self.judging) / len(self.judging) + self.rescored * self.rescoring


@dataclass(frozen=True)
class Layout:
    """How a search is spread.

    Args:
        workers: Processes that judge.
        lag: Batches that are on their way at once, for each driver.
        islands: Drivers with a population and a journal each; they share the workers evenly.
        together: Batches in one transaction of the journal.
    """

    workers: int
    lag: int
    islands: int = 1
    together: int = 1


@dataclass(frozen=True)
class Load:
    """What a layout does once it is under way.

    Args:
        programs: Programs a second, all islands together.
        waiting: Share of the workers' time without a job.
        driving: Share of the time in which the driver works.
        behind: Programs that are drawn, in the mean, between the last that selection has seen and
            the one that it draws.
    """

    programs: float
    waiting: float
    driving: float
    behind: float


def simulate(times: ServiceTimes, layout: Layout, seed: int = 0, rounds: int = 25) -> Load:
    """Simulate one island and multiply, for islands share nothing.

    Args:
        times: Service times.
        layout: How the search is spread.
        seed: Of the draw of service times.
        rounds: Batches for each worker; more where the lag or the number of workers is small. The
            first fifth is not counted.
    """
    workers = max(1, layout.workers // layout.islands)
    batches = max(rounds * workers, 8 * layout.lag, 500)
    return _Island(times, workers, layout, Random(seed), batches).run()


class _Island:
    def __init__(
        self, times: ServiceTimes, workers: int, layout: Layout, random: Random, batches: int
    ) -> None:
        self.times, self.layout, self.random, self.batches = times, layout, random, batches
        self.environment = simpy.Environment()
        self.workers = simpy.Resource(self.environment, workers)
        self.results = simpy.Store(self.environment)
        self.missing: dict[int, int] = {}  # jobs of a batch that are not back
        self.drawn: list[int] = []  # programs, by batch
        self.worked = self.driven = 0.0  # seconds, added up over all workers, and of the driver

    def run(self) -> Load:
        """Run to the end and return the differences since a fifth of the batches."""
        driver = self.environment.process(self.drive())
        self.environment.run(driver)
        (begun, worked, driven, first), (now, *ends, last) = self.marks
        elapsed, layout = now - begun, self.layout
        return Load(
            programs=layout.islands * sum(self.drawn[first:last]) / elapsed,
            waiting=1 - (ends[0] - worked) / (self.workers.capacity * elapsed),
            driving=(ends[1] - driven) / elapsed,
            behind=layout.lag * sum(self.drawn) / len(self.drawn),
        )

    def drive(self) -> Generator[Any, Any, None]:
        """Draw, receive, commit, as the loop of the pipeline does."""
        committed = 0
        self.marks: list[tuple[float, float, float, int]] = []
        for number in range(self.batches):
            while committed < number - self.layout.lag + 1:
                while self.missing[committed]:
                    yield from self.receive()
                yield from self.commit(committed)
                committed += 1
                if committed == self.batches // 5:
                    self.mark(committed)
            yield from self.draw(number)
        self.mark(committed)

    def mark(self, committed: int) -> None:
        """Note the clock; what running jobs have worked so far counts."""
        now = self.environment.now
        begun = [request.usage_since for request in self.workers.users]
        running = sum(now - since for since in begun if since is not None)
        self.marks.append((now, self.worked + running, self.driven, committed))

    def draw(self, number: int) -> Generator[Any, Any, None]:
        place = self.random.randrange(len(self.times.judging))
        jobs = [self.times.judging[place]]
        if self.random.random() < self.times.rescored:
            jobs.append(self.times.rescoring)
        rows = self.times.proposals[place]
        yield from self.work(rows * self.times.drawing + len(jobs) * self.times.sending)
        self.drawn.append(rows)
        self.missing[number] = len(jobs)
        for seconds in jobs:
            self.environment.process(self.judge(number, seconds))

    def judge(self, number: int, seconds: float) -> Generator[Any, Any, None]:
        with self.workers.request() as worker:
            yield worker
            yield self.environment.timeout(seconds)
        self.worked += seconds
        self.results.put(number)

    def receive(self) -> Generator[Any, Any, None]:
        number = yield self.results.get()
        yield from self.work(self.times.receiving)
        self.missing[number] -= 1

    def commit(self, number: int) -> Generator[Any, Any, None]:
        share = self.times.committing / self.layout.together
        yield from self.work(share + self.drawn[number] * self.times.writing)

    def work(self, seconds: float) -> Generator[Any, Any, None]:
        yield self.environment.timeout(seconds)
        self.driven += seconds
