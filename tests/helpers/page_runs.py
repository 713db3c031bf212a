"""Runs made for the tests of their pages: a journal of any length, with names that hold markup."""

from __future__ import annotations

import json
import math
from pathlib import Path

from optforge.analysis import fingerprint
from optforge.assessment.table import Row, Table
from optforge.language import load_rule
from optforge.report.search.table_json import table_json
from optforge.runs import Event, Journal, Proposal, Verdict
from optforge.statistics import mean_interval_over_tasks, paired_interval

HOSTILE = "<script>window.hacked=1</script><img src=x onerror=window.hacked=1>&\"'"
BATCH = 50
ADAMW, LION = load_rule("adamw"), load_rule("lion")


def make_run(path: Path, programs: int = 400, task: str = HOSTILE) -> Path:
    """Write a run of that many programs that stopped before its table."""
    path.mkdir(parents=True)
    search = {"start": ADAMW.text, "tasks": [task], "seed": 3, "rescore_repeats": 6}
    settings = {"search": search, "held_out": [], "versions": {"machine": HOSTILE}}
    with Journal.create(path / "journal.sqlite", settings) as journal:
        grow_run(journal, 0, programs, task)
    return path


def grow_run(journal: Journal, start: int, end: int, task: str = HOSTILE) -> None:
    """Commit further batches, each with a leader that is trained on fresh seeds."""
    for first in range(start, end, BATCH):
        numbers = range(first, min(first + BATCH, end))
        proposals = [make_proposal(number, number // BATCH) for number in numbers]
        verdicts = [make_verdict(number, task) for number in numbers if not number % 2]
        last = [verdict for verdict in verdicts if math.isfinite(verdict.fitness)][-1]
        leader = {"fingerprint": last.fingerprint, "fitness": last.fitness + 0.01}
        event = Event(first // BATCH, "rescore", leader)
        journal.commit(first // BATCH, proposals, verdicts, [event])


def value(number: int) -> float:
    return 0.1 / (1 + number) - 0.1


def finish_run(path: Path, task: str = HOSTILE) -> Table:
    """Write the table of a run."""
    table = make_table(task)
    finalist = {"text": LION.text, "search_fitness": -0.1, "fitness": -0.09, "low": -0.095,
                "high": -0.085, "repeats": 30, "state_bytes": 4.0, "live_statements": 7,
                "step_seconds": 0.5}  # fmt: skip
    results = {
        "verdict": f"A verdict on {HOSTILE}.", "rule": {"program": LION.text},
        "program": LION.text, "table": table_json(table), "explanation": None,
        "counts": {}, "finalists": [finalist], "pareto": [finalist],
    }  # fmt: skip
    (path / "table.json").write_text(json.dumps(results))
    return table


def make_table(*tasks: str, name: str = f"discovered {HOSTILE}") -> Table:
    """A table of two contenders; the gain is larger on each further task."""
    losses = {"tuned AdamW": [0.5, 0.52, 0.51], name: [0.4, 0.41, 0.42]}
    rows = [_row(name, logs, losses["tuned AdamW"], tasks) for name, logs in losses.items()]
    return Table(tuple(rows), tasks, (), 3, (HOSTILE,))


def _row(name: str, logs: list[float], reference: list[float], tasks: tuple[str, ...]) -> Row:
    gains = {
        task: [(1 + place) * (a - b) for a, b in zip(logs, reference, strict=True)]
        for place, task in enumerate(tasks)
    }
    intervals = {task: paired_interval(gain) for task, gain in gains.items()}
    mean = mean_interval_over_tasks(list(gains.values()))
    own = {
        task: tuple(b + gain for b, gain in zip(reference, gains[task], strict=True))
        for task in tasks
    }
    return Row(name, intervals, mean, 8.0, 0.01, "256 a task", own)


def make_proposal(number: int, batch: int) -> Proposal:
    """A proposal; every second one is known already."""
    rule = LION if number == 4 else ADAMW
    parent = None if number == 0 else max(0, number - number % 2 - 2)
    mutation = "start" if parent is None else f"modify {HOSTILE}"
    judged = number - number % 2
    print_of = fingerprint(LION) if judged == 4 else f"f{judged}"
    phase = "constants" if number < 100 else "structure"
    return Proposal(number, batch, phase, parent, mutation, rule.text, print_of, judged,
                    cached=bool(number % 2))  # fmt: skip


def make_verdict(number: int, task: str) -> Verdict:
    """A verdict: of every third one that it was rejected, of the others that they get better."""
    rejected = number % 3 == 1 and number != 4
    scores = {} if rejected else {task: tuple(value(number) + d for d in (-0.01, 0.0, 0.01))}
    print_of = fingerprint(LION) if number == 4 else f"f{number}"
    fitness = math.inf if rejected else value(number)
    stage = f"probe: {HOSTILE}" if rejected else "judged"
    return Verdict(number, print_of, f"n{number}", fitness, 0, stage, 0.3, None, 8.0, 9, scores,
                   (), 10, 0.25)  # fmt: skip
