"""The end of a run: winner, table, files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from optforge.assessment.contend import contenders
from optforge.assessment.explain import (
    Explanation,
    explain_shipped,
    explanation_json,
    explanation_lines,
)
from optforge.assessment.select import Finalist, pareto, select
from optforge.assessment.table import Table, build_table, finite, interval_json, table_json
from optforge.assessment.verdict import (
    FOUND,
    best_rule,
    commented,
    rules_by_task,
    schedule_words,
    verdict,
)
from optforge.evolution.history import History
from optforge.evolution.plan import SearchPlan
from optforge.jobs import Trainer
from optforge.runs import RunDirectory
from optforge.runs.directory import BEST, TABLE_JSON, TABLE_MARKDOWN
from optforge.statistics import Interval
from optforge.training import Trainee
from optforge.tuning import trainee_json


@dataclass(frozen=True)
class Finish:
    """What a run ends with.

    Args:
        finalists: The best on fresh seeds, the best first.
        table: The fair table; its first row is the tuned AdamW.
        verdict: In a sentence or two, what was found.
        counts: What the search did: programs, rejections by stage, checks of itself.
        explanation: How much of the gain single things explain that anybody may tune; None where
            the settings for that are not shipped, so that `optforge explain` has to tune them.
    """

    finalists: tuple[Finalist, ...]
    table: Table
    verdict: str
    counts: Mapping[str, Any] = field(default_factory=dict)
    explanation: Explanation | None = None

    @property
    def best(self) -> Finalist:
        """The winner of the selection, as the search left it."""
        return self.finalists[0]

    @property
    def rule(self) -> Trainee:
        """The rule that the run ends with, tuned to one setting for all tasks."""
        return best_rule(self.table) or Trainee(self.best.program)

    @property
    def pareto(self) -> list[Finalist]:
        """The finalists that no other beats in everything."""
        return pareto(self.finalists)


def finish(
    made: SearchPlan, history: History, directory: RunDirectory, trainer: Trainer
) -> Finish | None:
    """Choose the winner on fresh seeds, then measure it fairly; None if nothing was judged.

    Args:
        made: Of the run.
        history: Of the search.
        directory: Takes the files.
        trainer: Trains whatever is measured.
    """
    if not history.best:
        return None
    adamw = {task: of["adamw"].trainee for task, of in made.baselines.items()}
    finalists = select(trainer, history, made.settings, adamw)
    rows, notes = contenders(made, history, finalists[0].program, trainer)
    held_out = [task.name for task in made.held_out]
    table = build_table(trainer, rows, made.settings.tasks, held_out, notes)
    explanation = explain_shipped(made, table, trainer) if table.has(FOUND) else None
    counts = history.tally.plain()
    done = Finish(tuple(finalists), table, verdict(table), counts, explanation)
    write_files(done, directory)
    return done


def write_files(done: Finish, directory: RunDirectory) -> None:
    """Write rule and tables into the run's directory."""
    directory.write_text(BEST, _commented(done))
    for name, text in rules_by_task(done.table).items():
        directory.write_text(name, text)
    directory.write_text(TABLE_JSON, json.dumps(finish_json(done), indent=2) + "\n")
    directory.write_text(TABLE_MARKDOWN, table_markdown(done))


def finish_json(done: Finish) -> dict[str, Any]:
    """Give everything as plain values."""
    return {
        "verdict": done.verdict,
        "rule": trainee_json(done.rule),
        "program": done.best.text,
        "table": table_json(done.table),
        "against": _against(done.table),
        "explanation": None if done.explanation is None else explanation_json(done.explanation),
        "counts": dict(done.counts),
        "finalists": [_plain(finalist) for finalist in done.finalists],
        "pareto": [_plain(finalist) for finalist in done.pareto],
    }


def _against(table: Table) -> dict[str, Any]:
    """The discovered rule against each other row, in the mean over the proxy tasks."""
    names = [row.name for row in table.rows]
    if not table.has(FOUND):
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
        f"Log ratio of test loss to {table.rows[0].title}, lower is better: mean and Student-t "
        f"95 % interval of paired differences over {table.repeats} fresh seeds a task.",
        "",
        "| " + " | ".join(header) + " |",
        "|" + "---|" * len(header),
    ]
    for row in table.rows:
        cells = [row.title, _cell(row.proxies), *(_cell(row.tasks[task]) for task in tasks)]
        cells += [f"{row.state_bytes:g}", f"{1e3 * row.step_seconds:.1f}", row.trials]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", *(f"- {note}" for note in table.notes), "", "```python"]
    lines += [done.rule.program.text.rstrip(), "```", "", schedule_words(done.rule), ""]
    lines += [] if done.explanation is None else [*explanation_lines(done.explanation), ""]
    lines += ["Pareto list, scored on fresh validation seeds:"]
    lines += ["", "| fitness | state bytes | statements | step, ms / 1M |", "|---|---|---|---|"]
    for f in done.pareto:
        cells = [f"{f.fitness:+.4f}", f"{f.state_bytes:g}", str(f.live_statements)]
        lines.append("| " + " | ".join([*cells, f"{1e3 * f.step_seconds:.1f}"]) + " |")
    if done.counts:
        lines += ["", "What the search did:", "", *(f"- {line}" for line in told(done.counts))]
    return "\n".join(lines) + "\n"


def told(counts: Mapping[str, Any]) -> list[str]:
    """Say in lines what :meth:`optforge.evolution.history.Tally.plain` counts."""
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
    text = done.rule.program.text
    return commented(f"{done.verdict}{more} {schedule_words(done.rule)}", text)
