"""Running a list of jobs to its end, with progress, a stop and a deadline."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from optforge.errors import StoppedError, TimeIsUpError
from optforge.execution import Executor
from optforge.jobs.recovery import Job, Recovery
from optforge.runs import Journal

Watch = Callable[[str, int, int], None]
_POLL = 0.25  # seconds between two looks at the clock and the display


@dataclass
class JobRunner:
    """Runs jobs on an executor; the one place that knows how work is stopped.

    Args:
        executor: Runs the jobs; must have none in flight.
        journal: Takes note of workers that die, where there is one.
        watch: Shown what is done, how many jobs are finished, and how many there are.
        stop: Asked now and then whether to stop.
        window: Jobs handed over at once; few, and little is lost when the time is up. None for all.
        deadline: Of the clock :func:`time.monotonic`; what is in flight then is waited for.
        retry_timeouts: Whether a job that took too long is done again.
    """

    executor: Executor
    journal: Journal | None = None
    watch: Watch = lambda what, done, total: None
    stop: Callable[[], bool] = lambda: False
    window: int | None = None
    deadline: float = math.inf
    retry_timeouts: bool = True

    @property
    def interrupted(self) -> bool:
        """Whether a stop is asked for or the time is up."""
        return self.stop() or time.monotonic() > self.deadline

    def run(self, jobs: Sequence[Job], what: str = "") -> Iterator[tuple[int, Any]]:
        """Yield the number and the result of each job, as they finish.

        Args:
            jobs: In the order in which they are handed over.
            what: Is being done, for the display.

        Raises:
            StoppedError: If a stop is asked for; jobs may be in flight.
            TimeIsUpError: If the deadline passes; no job is in flight.
            JobError: If a job raises an exception.
        """
        recovery = Recovery(self.executor, self.journal, self.retry_timeouts)
        window, handed, done = self.window or len(jobs), 0, 0
        while done < len(jobs):
            if self.stop():
                raise StoppedError
            late = time.monotonic() > self.deadline
            while not late and handed < len(jobs) and handed - done < window:
                recovery.submit(-1, handed + 1, jobs[handed])
                handed += 1
            if late and done == handed:
                raise TimeIsUpError
            outcome = self.executor.next(timeout=_POLL)
            finished = recovery.receive(outcome) if outcome is not None else None
            if finished is not None:
                done += 1
                yield finished[1] - 1, finished[2]
            self.watch(what, done, len(jobs))
