"""The result of a search on the screen: verdict, program, table, Pareto list, files."""

from __future__ import annotations

import math
import shlex

from rich.console import Console
from rich.rule import Rule
from rich.table import Table as Grid
from rich.text import Text

from optforge.ablation import SimpleRule
from optforge.api.search_result import SearchResult
from optforge.assessment.finish import Finish
from optforge.assessment.rows import ADAMW, FOUND, ONE_SETTING, STRAIGHT
from optforge.assessment.table import Table
from optforge.cli.console import print_page_command
from optforge.cli.derived import print_derivation, print_effects
from optforge.cli.explained import print_explanation
from optforge.execution import usable_cores
from optforge.promotion.cost import SECONDS, costs_of
from optforge.promotion.stage import read_ladder
from optforge.report.promotion.page import cost_words
from optforge.report.search.files import rules_by_task
from optforge.report.search.page import count_lines
from optforge.report.search.verdict import schedule_words
from optforge.report.simplify.files import PICTURE, SIMPLE_JSON, SIMPLE_PAGE, SIMPLE_RULE
from optforge.report.words import number
from optforge.statistics import Interval

_FILES = {
    "best.py": "the rule, one setting for all tasks; 'optforge show {path}/best.py'",
    SIMPLE_RULE: "the simple form of it",
    SIMPLE_PAGE: "why it may replace the rule; continue with 'optforge simplify {path}'",
    SIMPLE_JSON: "the same with all figures",
    PICTURE: "its update against gradient and momentum",
    "table.md": "the table, to read",
    "table.json": "the table with every loss",
    "history.png": "the course of the search",
    "journal.sqlite": "every program and verdict",
}


def print_result(result: SearchResult, console: Console) -> None:
    """Print the result of a finished search."""
    done = result.finish
    if done is None:
        console.print(
            "Nothing was judged before the end, so there is nothing to show; "
            f"resume it: optforge search --resume {result.path}",
            soft_wrap=True,
        )
        print_page_command(result.path, console)
        return
    for line in count_lines(result.history.tally.plain()):
        console.print(line, style="dim", markup=False)
    console.print()
    console.print(result.verdict, markup=False, style="bold")
    _headline(console, "the discovered rule")
    console.print(done.rule.program.text.rstrip(), markup=False)
    console.print(schedule_words(done.rule), markup=False, style="dim")
    if result.simple is not None:
        _headline(console, "the simple rule")
        _print_simple(result.simple, console)
    _headline(console, "the fair table")
    _print_table(done.table, console)
    if done.explanation is not None:
        _headline(console, "what would explain the gain")
        print_explanation(done.explanation, console)
    elif done.table.has(FOUND):
        console.print(_explaining(result), markup=False, soft_wrap=True, style="dim")
    _headline(console, "Pareto list, scored on fresh validation seeds")
    console.print(_pareto(done))
    _headline(console, "files")
    console.print(_files(result))
    print_page_command(result.path, console)
    console.print(_next_step(result), markup=False, soft_wrap=True)


def _explaining(result: SearchResult) -> str:
    """Return the command that explains the gain where AdamW's single things are not tuned yet."""
    command = shlex.join(["optforge", "explain", str(result.path)])
    return f"How much of the gain single things explain that anybody may tune: {command}"


def _next_step(result: SearchResult) -> str:
    """Return what the funnel would cost, which tells what holds on larger tasks."""
    ladder, judged = read_ladder(), result.history.tally.judged
    costs, workers = costs_of(ladder, judged, SECONDS), usable_cores()
    return (
        f"Which finds hold on larger tasks: 'optforge funnel {result.path}', "
        f"{cost_words(costs, workers)} for {len(ladder)} stages; --plan says more"
    )


def _print_simple(simple_rule: SimpleRule, console: Console) -> None:
    console.print(simple_rule.program.text.rstrip(), markup=False)
    console.print(simple_rule.recognised.sentence, markup=False, style="bold")
    console.print()
    print_derivation(simple_rule, console)
    if simple_rule.trained is not None:
        console.print()
        print_effects(simple_rule, console)


def _headline(console: Console, text: str) -> None:
    console.print()
    console.print(Rule(text, align="left", style="dim"))


def _print_table(table: Table, console: Console) -> None:
    """Print contenders as columns, so that the table fits a narrow terminal."""
    grid = Grid(box=None, pad_edge=False, header_style="bold")
    grid.add_column("", no_wrap=True)
    beside = [row for row in table.rows if row.name.endswith(ONE_SETTING) or row.name == STRAIGHT]
    rows = [row for row in table.rows if row not in beside]
    for row in rows:
        grid.add_column(row.title, justify="right")
    grid.add_row("mean over proxies", *(_cell(row.proxies, row.name) for row in rows))
    for task in (*table.proxies, *table.held_out):
        label = task if task in table.proxies else f"{task}, held out"
        grid.add_row(label, *(_cell(row.tasks[task], row.name) for row in rows))
    grid.add_row("state bytes a parameter", *(f"{row.state_bytes:g}" for row in rows))
    steps = [f"{1e3 * row.step_seconds:.1f}" for row in rows]
    grid.add_row("step, ms a million", *steps)
    grid.add_row("tuned by", *(row.trials for row in rows))
    console.print(grid)
    for row in beside:
        for_all = " for all tasks" if row.name.endswith(ONE_SETTING) else ""
        console.print(f"{row.title}{for_all}, mean over proxies: ", end="", style="dim")
        console.print(_cell(row.proxies, row.name))
    console.print(
        f"Log of test loss over {table.rows[0].title}'s, lower is better: mean and 95 % interval "
        f"of paired differences, {table.repeats} fresh seeds a task",
        style="dim",
    )
    for note in table.notes:
        console.print(note, style="dim", markup=False)


def _cell(value: Interval, name: str) -> Text:
    if name == ADAMW:
        return Text("0", "dim")
    if not math.isfinite(value.mean):
        return Text("failed", "red")
    style = "green" if value.high < 0 else "red" if value.low > 0 else ""
    return Text(number(value, 3, "+"), style)


def _pareto(done: Finish) -> Grid:
    grid = Grid(box=None, pad_edge=False, header_style="dim")
    columns = ("fitness", "95 % interval", "when chosen", "seeds", "state bytes", "statements")
    for column in (*columns, "step, ms"):
        grid.add_column(column, justify="right")
    for f in done.pareto:
        grid.add_row(
            f"{f.fitness:+.4f}",
            f"{f.low:+.4f} to {f.high:+.4f}",
            f"{f.search_fitness:+.4f}",
            str(f.repeats),
            f"{f.state_bytes:g}",
            str(f.live_statements),
            f"{1e3 * f.step_seconds:.1f}",
        )
    return grid


def _files(result: SearchResult) -> Grid:
    grid = Grid.grid(padding=(0, 2))
    files = dict(_FILES)
    if result.finish is not None:
        files |= dict.fromkeys(rules_by_task(result.finish.table), "the rule tuned for one task")
    for name, what in files.items():
        path = result.path / name
        if path.exists():
            words = what.format(path=result.path)
            grid.add_row(Text(str(path), "cyan"), Text(words, "dim", overflow="fold"))
    return grid
