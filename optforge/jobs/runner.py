"""Running a list of jobs to its end, with progress, a stop and a deadline."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from optforge.errors import StoppedError, TimeIsUpError
from optforge.execution import Executor
from optforge.jobs.failures import OUTSIDE, JobKey
from optforge.jobs.recovery import Job, Recovery
from optforge.runs import Journal

Watch = Callable[[str, int, int], None]
POLL_SECONDS = 0.25  # between two looks at the clock and the display


@dataclass
class JobRunner:
    """Runs jobs; the one place that knows how work is stopped.

    Args:
        executor: Runs the jobs; must have none in flight.
        journal: Journal for the deaths of workers, if any.
        watch: Called with the description of the work and the numbers of finished and of all jobs.
        stop: Called now and then; True requests a stop.
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

    def recovery(self) -> Recovery:
        """Return what submits jobs to the executor one by one."""
        return Recovery(self.executor, self.journal, self.retry_timeouts)

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
        recovery, window, submitted, done = self.recovery(), self.window or len(jobs), 0, 0
        while done < len(jobs):
            if self.stop():
                raise StoppedError
            late = time.monotonic() > self.deadline
            while not late and submitted < len(jobs) and submitted - done < window:
                recovery.submit(JobKey(OUTSIDE, submitted + 1), jobs[submitted])
                submitted += 1
            if late and done == submitted:
                raise TimeIsUpError
            finished = recovery.next(timeout=POLL_SECONDS)
            if finished is not None:
                done += 1
                yield finished[0].place - 1, finished[1]
            self.watch(what, done, len(jobs))
