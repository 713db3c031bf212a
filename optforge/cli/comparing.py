"""Running comparisons for a person: plan, progress, signals, and what is said at the end."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from optforge.api.comparison import (
    ComparisonResult,
    conduct,
    finished_runs,
    prepare,
)
from optforge.cli.console import is_live, screen
from optforge.cli.stopping import Stopping
from optforge.comparison import Comparison
from optforge.comparison.cells.runner import LIMIT
from optforge.comparison.comparison import check, expected, measure
from optforge.comparison.cost import UNIT, Line
from optforge.comparison.finished import Finished
from optforge.comparison.progress import Whole
from optforge.execution import worker_count
from optforge.report.comparison.json_report import to_json
from optforge.report.comparison.plan_table import plan_table, seconds_left
from optforge.report.comparison.tables import all_tables
from optforge.report.text_table import TextTable
from optforge.report.words import duration

STOPPED = 130
_FRAME = 0.5  # seconds; nothing is drawn more often
_EVERY = 10.0  # seconds between two plain lines


def conduct_all(
    asked: Mapping[str, tuple[Comparison, Mapping[str, Any]]],
    where: Path,
    *,
    resume: bool,
    workers: int | None,
    as_json: bool,
    figures: bool,
    limit: float,
    force: bool = False,
) -> None:
    """Run comparisons one after another, each in its directory; print what was found.

    Args:
        asked: Comparisons with what to store of them, by name.
        where: A directory; of several each has a folder of its name there.
        resume: Go on from what is there.
        workers: Processes; one a core by default.
        as_json: Print the reports as JSON and nothing else on the standard output.
        figures: Whether to draw.
        limit: Seconds that one run may take in a worker.
        force: Whether files in ``where`` that optforge did not write may be replaced.
    """
    console = screen()
    reports: dict[str, Any] = {}
    places = {name: where / name if name else where for name in asked}
    for name, (_, definition) in asked.items():  # all, so that resuming needs the directory alone
        prepare(places[name], resume, definition, force)
    plan = SuitePlan([comparison for comparison, _ in asked.values()], worker_count(workers))
    with Stopping() as stopping:
        for place, (name, (comparison, _)) in enumerate(asked.items()):
            path = places[name]
            display = _Live(console) if is_live() and not as_json else _Plain(as_json)
            stopping.armed = True
            watch = plan.watched(place, display)
            with display:
                display.say(f"{comparison.title or 'The comparison'} is in {path}")
                result = conduct(
                    comparison, path, True, workers, watch, stop=stopping, figures=figures,
                    limit=limit, progress=plan.whole.parts[place], before_first=watch.measure,
                )  # fmt: skip
            if as_json:
                reports[name or "comparison"] = to_json(
                    comparison, result.found, list(result.sessions)
                )
            elif result.found.tasks:
                print_result(result, console)
            if result.stopped:
                options = _options(workers, limit, figures, as_json)
                _say_stopped(where, options, as_json)
                raise typer.Exit(STOPPED)
    if as_json:
        typer.echo(json.dumps(reports if len(reports) > 1 else next(iter(reports.values()))))


class SuitePlan:
    """How far all comparisons of a suite are, as one plan with one time that is left."""

    def __init__(self, comparisons: Sequence[Comparison], workers: int) -> None:
        self.comparisons = comparisons
        self.whole = Whole([expected(comparison, workers) for comparison in comparisons])
        self._measured = False

    def watched(self, place: int, display: _Live | _Plain) -> _PartOfSuite:
        """The display of one comparison, which shows them all."""
        self.whole.current = place
        return _PartOfSuite(self, display)

    def measure(self, display: _Live | _Plain) -> None:
        """Time one optimizer on every task that is still to come, once."""
        if self._measured:
            return
        self._measured = True
        parts = list(zip(self.comparisons, self.whole.parts, strict=True))[self.whole.current :]
        for number, (comparison, part) in enumerate(parts, 1):
            display.say(f"Measuring what a run costs ({number} of {len(parts)})")
            measure(comparison, part)


class _PartOfSuite:
    """What one comparison says goes on; what it shows becomes the state of all."""

    def __init__(self, plan: SuitePlan, display: _Live | _Plain) -> None:
        self._plan, self._display = plan, display

    def say(self, text: str) -> None:
        """Show a sentence."""
        self._display.say(text)

    def progress(self, what: str, done: int, total: int, left: float | None = None) -> None:
        """Show the whole plan; the part that moved belongs to it."""
        del done, total, left
        whole = self._plan.whole
        self._display.progress(what, whole.done, whole.total, whole.seconds_left)

    def measure(self) -> None:
        """Time the runs to come."""
        self._plan.measure(self._display)


def show_plan(
    asked: Mapping[str, Comparison], workers: int | None, out: Path | None = None
) -> None:
    """Print what would run, and what it costs; runs that are finished in ``out`` do not count.

    Raises:
        OptforgeError: As the comparison itself would, if a task or an optimizer cannot be used.
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
        _print(console, plan_table(lines, count, left))
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
    """Print the tables, and where the files are."""
    for table in all_tables(result.found):
        console.print()
        _print(console, table)
    if result.path is not None:
        console.print()
        console.print(f"Report, figures and cells are in {result.path}", markup=False)


def _print(console: Console, table: TextTable) -> None:
    """Print a table; the tasks become headings, so that what is measured has room."""
    console.print(Text(table.title, "italic"))
    grouped = table.heads[0] == "task" and len(table.heads) > 2
    first = 1 if grouped else 0
    shown = Table(box=None, pad_edge=False, header_style="dim")
    for head, left in list(zip(table.heads, table.left, strict=True))[first:]:
        shown.add_column(head, justify="left" if left else "right", overflow="fold")
    task = None
    for row in table.rows:
        if grouped and row[0] != task:
            task = row[0]
            shown.add_row(Text(task, "bold"))
        shown.add_row(*(Text(cell) for cell in row[first:]))
    console.print(shown)


def _say_stopped(where: Path, options: Sequence[str], as_json: bool) -> None:
    """Say how to go on, beside what is read as JSON and not in it."""
    words = ["optforge", "compare", "--resume", "--out", str(where), *options]
    text = f"Stopped; nothing is lost. Go on with: {shlex.join(words)}"
    console = Console(stderr=True, highlight=False) if as_json else screen()
    console.print(text, markup=False, soft_wrap=True)


def _options(workers: int | None, limit: float, figures: bool, as_json: bool) -> list[str]:
    """The options of the machine, which no directory keeps; those by default are not named."""
    words = [] if workers is None else ["--workers", str(workers)]
    words += [] if limit == LIMIT else ["--limit", f"{limit:g}"]
    words += [] if figures else ["--no-figures"]
    return [*words, "--json"] if as_json else words


class _Live:
    """A bar over the whole plan."""

    def __init__(self, console: Console) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"), console=console, auto_refresh=False,
        )  # fmt: skip
        self._task = self._bar.add_task("starting", total=None, left="")
        self._drawn = 0.0

    def __enter__(self) -> _Live:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """Show a sentence in place of what goes on."""
        self._bar.update(self._task, description=text)
        self._bar.refresh()

    def progress(self, what: str, done: int, total: int, left: float | None = None) -> None:
        """Move the bar, if the last frame is old enough."""
        now = time.monotonic()
        if now < self._drawn + _FRAME and done < total:
            return
        self._drawn = now
        self._bar.update(
            self._task,
            description=what,
            completed=done,
            total=total,
            left=f"{duration(left)} left" if left is not None else "",
        )
        self._bar.refresh()


class _Plain:
    """A line now and then."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._printed = time.monotonic()

    def __enter__(self) -> _Plain:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def say(self, text: str) -> None:
        """Print a sentence."""
        if not self._quiet:
            typer.echo(text)

    def progress(self, what: str, done: int, total: int, left: float | None = None) -> None:
        """Print a line if it is time for one."""
        now = time.monotonic()
        if self._quiet or now < self._printed + _EVERY:
            return
        self._printed = now
        typer.echo(f"{done} of {total} runs, {duration(left or 0.0)} left; {what}")
