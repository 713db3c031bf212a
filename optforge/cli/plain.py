"""Plain lines for files, pipes and simple terminals."""

from __future__ import annotations

import math
import sys
import time

import typer

from optforge.cli.console import forgive, silence
from optforge.cli.track import Track, clock, phase_words
from optforge.evolution.budget import Budget
from optforge.evolution.history import History
from optforge.evolution.leaders import leader, rescored, validated
from optforge.evolution.plan import SearchPlan
from optforge.report.words import duration
from optforge.runs import RunDirectory

_EVERY = 10.0  # seconds between two lines
_SAMPLE = 1.0


class PlainDisplay:
    """Prints a line about every ten seconds, and one whenever something new starts.

    Args:
        beside: Whether to print to the standard error.
    """

    def __init__(self, beside: bool = False) -> None:
        self._beside = beside
        self._track: Track | None = None
        self._sampled = self._printed = -math.inf
        self._done = self._total = 0
        self._phase = ""

    def __enter__(self) -> PlainDisplay:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def say(self, text: str) -> None:
        """Print a sentence; an output that is gone or full takes no more, and the work goes on."""
        output = sys.stderr if self._beside else sys.stdout
        try:
            typer.echo(text, err=self._beside)  # which flushes
        except OSError:
            silence(output)
        forgive(output)

    def progress(self, what: str, done: int, total: int, left: float | None = None) -> None:
        """Print the start of each measurement, and then a line now and then."""
        now = time.monotonic()
        if (begun := total != self._total or done < self._done) or now >= self._printed + _EVERY:
            self._printed = now
            rest = "" if left is None or done == total else f", {duration(left)} left"
            self.say(f"{what}: {done} of {total}{rest}")
        if begun or done >= self._done:
            self._done, self._total = done, total

    def begin(
        self, plan: SearchPlan, directory: RunDirectory, budget: Budget, workers: int
    ) -> None:
        """Print the directory of the run and what comes first."""
        self._track = Track(plan, directory, budget, workers)
        self.say(f"The run is in {directory.path}; Ctrl-C stops it and loses nothing")
        self.say(starting(plan, workers))

    def show(self, history: History) -> None:
        """Print a line if it is time for one."""
        track, now = self._track, time.monotonic()
        if track is None or now < self._sampled + _SAMPLE:
            return
        self._sampled = now
        moving = track.note(history)
        if moving and (now >= self._printed + _EVERY or history.phase != self._phase):
            self._printed, self._phase = now, history.phase
            self.say(summary(track, history))


def starting(plan: SearchPlan, workers: int) -> str:
    """Return a description of what happens before the first program is judged."""
    who = f"{workers} worker{'s' if workers != 1 else ''}" if workers else "the evaluation"
    if plan.settings.compiled:
        return f"Starting {who} and compiling the training (up to a minute or two the first time)"
    return f"Starting {who}"


def summary(track: Track, history: History) -> str:
    """Return the progress of a search in one line."""
    tally = history.tally
    left = track.remaining(history)
    best, fresh = leader(history), rescored(history)
    parts = [
        f"{clock(track.elapsed)} {phase_words(history)}"
        + (f", {clock(left)} left" if left is not None else ""),
        f"{tally.proposals:,} programs ({track.rates('proposed')[0]:.0f}/s)",
        f"{tally.evaluated:,} new ({track.rates('evaluated')[0]:.0f}/s)",
        f"{tally.judged:,} judged in full",
        f"cache {100 * tally.cached / max(1, tally.proposals):.0f} %",
    ]
    if best is not None:
        again = f", on fresh seeds {fresh[0]:+.4f}" if fresh else ""
        parts.append(f"best {best.fitness:+.4f}{again}")
    larger = validated(history)
    if larger is not None:
        begun = f", meta-overfitted {tally.overfitted} times" if tally.overfitted else ""
        parts.append(f"on larger tasks {larger:+.4f}{begun}")
    return " | ".join(parts)
