"""The end of a run: winner, table, files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from optforge.analysis import fingerprint
from optforge.execution import Executor
from optforge.fitness import other_version, stored
from optforge.language import Program, load_rule, parse, round_constants
from optforge.runs import RunDirectory
from optforge.search.fit import TRIALS
from optforge.search.history import History
from optforge.search.select import Finalist, pareto, select
from optforge.search.session import Plan
from optforge.search.table import Contender, Table, build_table, finite, interval_json, table_json
from optforge.search.verdict import (
    ADAMW,
    CONSTANTS,
    FOUND,
    LION,
    ONE_SETTING,
    commented,
    rules_by_task,
    verdict,
)
from optforge.statistics import Interval
from optforge.tasks import TASKS

Watch = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Finish:
    """What a run ends with.

    Args:
        finalists: The best on fresh seeds, the best first.
        table: The fair table; its first row is the tuned AdamW.
        verdict: In a sentence or two, what was found.
        counts: What the search did: programs, rejections by stage, checks of itself.
    """

    finalists: tuple[Finalist, ...]
    table: Table
    verdict: str
    counts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def best(self) -> Finalist:
        """The result of the search."""
        return self.finalists[0]

    @property
    def pareto(self) -> list[Finalist]:
        """The finalists that no other beats in everything."""
        return pareto(self.finalists)


def finish(
    made: Plan,
    history: History,
    directory: RunDirectory,
    executor: Executor,
    watch: Watch = lambda what, done, total: None,
) -> Finish | None:
    """Choose the winner on fresh seeds, then measure it fairly; None if nothing was judged.

    Args:
        made: Of the run.
        history: Of the search.
        directory: Takes the files.
        executor: Idle.
        watch: Told what is being done and how far it is.
    """
    if not history.best:
        return None
    adamw = {task: of["adamw"].program for task, of in made.baselines.items()}
    finalists = select(
        executor,
        directory.journal,
        history,
        made.settings,
        adamw,
        lambda done, total: watch("Measuring the best on fresh seeds", done, total),
    )
    contenders, notes = _contenders(made, history, finalists[0])
    table = build_table(
        executor,
        directory.journal,
        contenders,
        made.settings.tasks,
        [task.name for task in made.held_out],
        made.settings.seed,
        notes,
        lambda done, total: watch("Measuring the table on test data", done, total),
        lambda done, total: watch("Tuning what was found for each task", done, total),
    )
    done = Finish(tuple(finalists), table, verdict(table), history.tally.plain())
    write_files(done, directory)
    return done


def _contenders(
    made: Plan, history: History, winner: Finalist
) -> tuple[list[Contender], list[str]]:
    tasks = [task.name for task in (*made.tasks, *made.held_out)]
    rows = []
    for name, label in (("adamw", ADAMW), ("lion", LION)):
        of = {task: made.baselines[task][name] for task in tasks}
        trials = f"{next(iter(of.values())).trials} a task"
        rows.append(Contender(label, {task: b.program for task, b in of.items()}, trials))
    notes = [
        f"{name}: {b.note}" for of in made.baselines.values() for name, b in of.items() if b.note
    ]
    fits = min([TRIALS, *(b.trials for of in made.baselines.values() for b in of.values())])
    control = _control(made, history, winner)
    if control is not None:
        rows.insert(1, _fitted(control.name, control.program, control.searched, tasks, fits))
        rows.append(_one_setting(control.name, control.program, control.searched, tasks))
        notes += [f"{control.name}: {control.note}"] if control.note else []
    if made.settings.strategy != "constants":
        searched = f"search of {history.tally.proposals} programs"
        program = parse(winner.text)
        rows.insert(2 + (control is not None), _fitted(FOUND, program, searched, tasks, fits))
        rows.append(_one_setting(FOUND, program, searched, tasks))
    fitted = [row.name for row in rows if row.trials_to_fit]
    notes.append(
        f"For {' and '.join(fitted)} learning rate, decay and averages are tuned for each proxy "
        f"task by {fits} trials, on validation data; AdamW and Lion alike by the trials that the "
        "table gives. The rows with one setting for all tasks are as their searches left them."
    )
    if made.held_out:
        notes.append(
            "On held-out tasks AdamW and Lion are tuned as everywhere; the others go there as "
            "their searches left them, with the best of 13 learning rates."
        )
    return rows, notes


def _fitted(
    name: str, program: Program, searched: str, tasks: Sequence[str], fits: int
) -> Contender:
    trials = f"{searched}, {fits} a task"
    return Contender(name, dict.fromkeys(tasks, program), trials, True, fits)


def _one_setting(name: str, program: Program, searched: str, tasks: Sequence[str]) -> Contender:
    return Contender(name + ONE_SETTING, dict.fromkeys(tasks, program), searched, True)


@dataclass(frozen=True)
class _Control:
    """A rule of which only constants were searched: what a discovery has to beat."""

    name: str
    program: Program
    searched: str
    note: str = ""


def _control(made: Plan, history: History, winner: Finalist) -> _Control | None:
    """Give AdamW with constants from a search of the same budget, or the warm start with its own.

    Its name says whose constants they are, where it is not the warm start's.
    """
    searched = f"search of {history.tally.proposals} programs"
    if made.settings.strategy == "constants":
        return _Control(CONSTANTS, parse(winner.text), searched)
    found = stored().get("constants")
    shipped = all(type(task) is TASKS.get(task.name) for task in made.tasks)
    if found is not None and shipped and tuple(found["tasks"]) == made.settings.tasks:
        adamw = fingerprint(round_constants(load_rule("adamw")))
        own = fingerprint(parse(made.settings.start)) == adamw
        return _Control(
            CONSTANTS if own else f"AdamW, {CONSTANTS}",
            parse(found["program"]),
            f"search of {found['programs']} programs",
            other_version(found, made.tasks),
        )
    incumbent = history.incumbent("constants")
    if incumbent is None:
        return None
    programs = min(history.tally.proposals, made.settings.constants_programs or 10**12)
    return _Control(CONSTANTS, parse(incumbent.text), f"search of {programs} programs")


def write_files(done: Finish, directory: RunDirectory) -> None:
    """Write rule and tables into the run's directory."""
    directory.write_text("best.py", _commented(done))
    for name, text in rules_by_task(done.table).items():
        directory.write_text(name, text)
    directory.write_text("table.json", json.dumps(finish_json(done), indent=2) + "\n")
    directory.write_text("table.md", table_markdown(done))


def finish_json(done: Finish) -> dict[str, Any]:
    """Give everything as plain values."""
    return {
        "verdict": done.verdict,
        "program": done.best.text,
        "table": table_json(done.table),
        "against": _against(done.table),
        "counts": dict(done.counts),
        "finalists": [_plain(finalist) for finalist in done.finalists],
        "pareto": [_plain(finalist) for finalist in done.pareto],
    }


def _against(table: Table) -> dict[str, Any]:
    """The discovered rule against each other row, in the mean over the proxy tasks."""
    names = [row.name for row in table.rows]
    if FOUND not in names:
        return {}
    return {n: interval_json(table.difference(FOUND, n)) for n in names if n != FOUND}


def _plain(finalist: Finalist) -> dict[str, Any]:
    """Plain values that JSON has words for; the fitness of one that diverged becomes None."""
    values = asdict(finalist)
    return {k: finite(v) if isinstance(v, float) else v for k, v in values.items()}


def table_markdown(done: Finish) -> str:
    """Give the table, the program and the Pareto list as Markdown."""
    table = done.table
    tasks = [*table.proxies, *table.held_out]
    header = ["optimizer", "mean over proxies"]
    header += [t if t in table.proxies else f"{t} (held out)" for t in tasks]
    header += ["state bytes / parameter", "step, ms / 1M", "tuned by"]
    lines = [
        done.verdict,
        "",
        f"Log ratio of test loss to {table.rows[0].name}, lower is better: mean and Student-t 95 % "
        f"interval of paired differences over {table.repeats} fresh seeds a task.",
        "",
        "| " + " | ".join(header) + " |",
        "|" + "---|" * len(header),
    ]
    for row in table.rows:
        cells = [row.name, _cell(row.proxies), *(_cell(row.tasks[task]) for task in tasks)]
        cells += [f"{row.state_bytes:g}", f"{1e3 * row.step_seconds:.1f}", row.trials]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", *(f"- {note}" for note in table.notes), "", "```python"]
    lines += [done.best.text.rstrip(), "```", "", "Pareto list, scored on fresh validation seeds:"]
    lines += ["", "| fitness | state bytes | statements | step, ms / 1M |", "|---|---|---|---|"]
    for f in done.pareto:
        cells = [f"{f.fitness:+.4f}", f"{f.state_bytes:g}", str(f.live_statements)]
        lines.append("| " + " | ".join([*cells, f"{1e3 * f.step_seconds:.1f}"]) + " |")
    if done.counts:
        lines += ["", "What the search did:", "", *(f"- {line}" for line in told(done.counts))]
    return "\n".join(lines) + "\n"


def told(counts: Mapping[str, Any]) -> list[str]:
    """Say in lines what :meth:`optforge.search.history.Tally.plain` counts."""
    known = 1 - counts["new"] / max(1, counts["programs"])
    rejected = ", ".join(f"{count:,} at {stage}" for stage, count in counts["rejected"].items())
    return [
        f"{counts['programs']:,} programs, {counts['new']:,} of them new "
        f"({100 * known:.0f} % known already), {counts['judged']:,} judged in full",
        f"rejected: {rejected or 'none'}; of {counts['audited']} that were trained on all the "
        f"same, {counts['wrongly_rejected']} would have been among the best",
        f"fingerprints: {counts['same_fingerprint_other_numbers']} equal with other numbers, "
        f"{counts['same_numbers_other_fingerprint']:,} different with equal numbers",
    ]


def _cell(value: Interval) -> str:
    return f"{value.mean:+.3f} [{value.low:+.3f}, {value.high:+.3f}]"


def _commented(done: Finish) -> str:
    tuned = ", ".join(rules_by_task(done.table))
    more = f" Here it has one setting for all tasks; tuned for each: {tuned}." if tuned else ""
    return commented(done.verdict + more, done.best.text)
