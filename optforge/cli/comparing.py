"""Comparisons on the command line: plan, progress, signals, and the final output."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from optforge.api.comparison import Destination, conduct, finished_runs, prepare
from optforge.api.comparison_result import ComparisonResult
from optforge.api.keywords import WorkOptions
from optforge.cli.console import print_page_command, print_table, screen
from optforge.cli.display import make_display, say_stopped
from optforge.cli.stopping import Stopping
from optforge.comparison import Comparison
from optforge.comparison.cells.runner import LIMIT
from optforge.comparison.comparison import check, expected, measure
from optforge.comparison.cost import UNIT, Line
from optforge.comparison.finished import Finished
from optforge.comparison.progress import Whole
from optforge.execution import choose_workers, process_count, worker_count
from optforge.jobs import Display
from optforge.report.comparison.json_report import to_json
from optforge.report.comparison.plan_table import plan_table, seconds_left
from optforge.report.comparison.tables import all_tables
from optforge.report.words import duration


@dataclass(frozen=True)
class Manner:
    """How comparisons are run and shown; this is not stored in their directory.

    Args:
        resume: Whether to continue from existing cells.
        workers: Number of worker processes; one per core by default.
        cluster: Address of a Ray cluster; this machine by default.
        limit: Time limit of one run in a worker, in seconds.
        figures: Whether to draw figures.
        force: Whether files that optforge did not write may be replaced.
        as_json: Whether to print the reports as JSON and nothing else to the standard output.
    """

    resume: bool = False
    workers: int | None = None
    cluster: str | None = None
    limit: float = LIMIT
    figures: bool = True
    force: bool = False
    as_json: bool = False

    def words(self) -> list[str]:
        """Return the options of a command that continues in the same manner, without defaults."""
        words = [] if self.workers is None else ["--workers", str(self.workers)]
        words += [] if self.cluster is None else ["--cluster", self.cluster]
        words += [] if self.limit == LIMIT else ["--limit", f"{self.limit:g}"]
        words += [] if self.figures else ["--no-figures"]
        return [*words, "--json"] if self.as_json else words


Asked = Mapping[str, tuple[Comparison, Mapping[str, Any]]]


def conduct_all(asked: Asked, where: Path, manner: Manner) -> None:
    """Run comparisons one after another, each in its directory, and print their results.

    Args:
        asked: Comparisons and their definitions, by name.
        where: A directory; several comparisons each have a subdirectory of their name.
        manner: How they are run and shown.
    """
    reports: dict[str, Any] = {}
    places = {name: where / name if name else where for name in asked}
    for name, (_, definition) in asked.items():  # all, so that resuming needs the directory alone
        prepare(places[name], manner.resume, definition, manner.force)
    comparisons = [comparison for comparison, _ in asked.values()]
    plan = SuitePlan(comparisons, process_count(choose_workers(manner.workers, manner.cluster)))
    with Stopping() as stopping:
        stopping.armed = True
        for number, (name, comparison) in enumerate(zip(asked, comparisons, strict=True)):
            result = _conducted(plan, number, places[name], manner, stopping)
            if manner.as_json:
                report = to_json(comparison, result.findings, list(result.sessions))
                reports[name or "comparison"] = report
            elif result.findings.tasks:
                print_result(result, screen())
            if result.stopped:
                words = ["optforge", "compare", "--resume", "--out", str(where), *manner.words()]
                text = f"Stopped; nothing is lost. Resume with: {shlex.join(words)}"
                say_stopped(text, beside=manner.as_json)
    if manner.as_json:
        typer.echo(json.dumps(reports if len(reports) > 1 else next(iter(reports.values()))))


def _conducted(
    plan: SuitePlan, number: int, path: Path, manner: Manner, stopping: Stopping
) -> ComparisonResult:
    comparison = plan.comparisons[number]
    with make_display(quiet=manner.as_json) as display:
        watch = plan.watched(number, display)
        display.say(f"{comparison.title or 'The comparison'} is in {path}")
        place = Destination(
            path, True, None, manner.figures, plan.whole.parts[number], watch.measure
        )
        machine = WorkOptions(
            workers=manner.workers, cluster=manner.cluster, watch=watch, stop=stopping
        )
        return conduct(comparison, place, machine, manner.limit)


class SuitePlan:
    """The progress of all comparisons of a suite, as one plan with one remaining time."""

    def __init__(self, comparisons: Sequence[Comparison], workers: int) -> None:
        self.comparisons = comparisons
        self.whole = Whole([expected(comparison, workers) for comparison in comparisons])
        self._measured = False

    def watched(self, place: int, display: Display) -> _PartOfSuite:
        """Return the display of one comparison, which shows the progress of all."""
        self.whole.current = place
        return _PartOfSuite(self, display)

    def measure(self, display: Display) -> None:
        """Time one optimizer on every task that is still to come, once."""
        if self._measured:
            return
        self._measured = True
        parts = list(zip(self.comparisons, self.whole.parts, strict=True))[self.whole.current :]
        for number, (comparison, part) in enumerate(parts, 1):
            display.say(f"Measuring what a run costs ({number} of {len(parts)})")
            measure(comparison, part)


class _PartOfSuite:
    """The display of one comparison: it passes on sentences and shows the progress of all."""

    def __init__(self, plan: SuitePlan, display: Display) -> None:
        self._plan, self._display, self.say = plan, display, display.say

    def progress(self, what: str, done: int, total: int, left: float | None = None) -> None:
        """Show the progress of the whole plan, of which this comparison is a part."""
        del done, total, left
        whole = self._plan.whole
        self._display.progress(what, whole.done, whole.total, whole.seconds_left)

    def measure(self) -> None:
        """Time the runs to come."""
        self._plan.measure(self._display)


def show_plan(
    asked: Mapping[str, Comparison], workers: int | None, out: Path | None = None
) -> None:
    """Print the planned runs and their cost; runs already finished in ``out`` do not count.

    Raises:
        OptforgeError: If a task or an optimizer cannot be used, as in the comparison itself.
    """
    console = screen()
    count = max(1, worker_count(workers))
    total = 0.0
    for name, comparison in asked.items():
        check(comparison)
        done = finished_runs(comparison, out / name) if out is not None else Finished()
        lines = comparison.plan()
        if name or comparison.title:
            console.print(Text(": ".join(x for x in (name, comparison.title) if x), "bold"))
        left = [done.left(line.task, line.recipe, line.cells) for line in lines]
        print_table(console, plan_table(lines, count, left))
        _warn(console, [line for line, runs in zip(lines, left, strict=True) if runs])
        total += sum(map(seconds_left, lines, left)) / count
    if len(asked) > 1:
        console.print(f"All {len(asked)} comparisons: {duration(total)}")


def _warn(console: Console, lines: list[Line]) -> None:
    long = [line for line in lines if line.seconds + line.validations > UNIT]
    if long:
        console.print(
            Text(
                f"A single run on {long[0].task} takes {duration(long[0].seconds)}; what is "
                "interrupted is repeated from the start of its run",
                "yellow",
            )
        )


def print_result(result: ComparisonResult, console: Console) -> None:
    """Print the tables and the location of the files."""
    for table in all_tables(result.findings):
        console.print()
        print_table(console, table)
    if result.path is not None:
        console.print()
        console.print(f"Report, figures and cells are in {result.path}", markup=False)
        print_page_command(result.path, console)
