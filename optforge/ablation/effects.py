"""What each statement is worth, on seeds and data that decided nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from numpy import ndarray

from optforge.ablation.candidates import Candidate, Removals
from optforge.ablation.decision import Verdict, paired, plain
from optforge.ablation.empirical import Removal, Work
from optforge.ablation.keeping import protected
from optforge.ablation.rounding import Roundings
from optforge.ablation.tuning import tune
from optforge.errors import TimeIsUpError
from optforge.language import Program
from optforge.statistics import Interval, mean_interval_over_tasks, paired_interval

REPEATS = 24
_AT_ONCE = 6  # seeds; where the time ends, what is complete counts
SPLIT = "test"


@dataclass(frozen=True)
class Effect:
    """One row: what leaving a statement out does to the log loss.

    Args:
        statement: What it was.
        change: What becomes of it.
        status: ``removed``, ``rounded``, ``kept: worse``, ``kept: unresolved``,
            ``kept: protected``, ``kept: not decided``, or ``kept: not worse`` where the change
            alone would do no harm, but the trials ended, or others were made, before its turn.
        mean: Over tasks, with its interval of confidence 0.95; None if the time did not suffice.
        tasks: For each task the same.
        deciding: The verdict that decided, on other seeds; None if none did.
    """

    statement: str
    change: str
    status: str
    mean: Interval | None
    tasks: Mapping[str, Interval]
    deciding: Verdict | None = None

    def to_json(self) -> dict[str, Any]:
        """Give plain values."""
        return {
            "statement": self.statement,
            "change": self.change,
            "status": self.status,
            "effect": plain(self.mean) if self.mean else None,
            "tasks": {task: plain(value) for task, value in self.tasks.items()},
            "deciding_effect": plain(self.deciding.effect) if self.deciding else None,
        }


@dataclass(frozen=True)
class Effects:
    """The table of a derivation.

    Args:
        rows: Removed ones in order, then those that stay.
        total: The simple rule against the rule as given, both tuned; None without time.
        tasks: For each task the same.
        seeds: Fresh seeds of each task.
    """

    rows: tuple[Effect, ...]
    total: Interval | None
    tasks: Mapping[str, Interval]
    seeds: int

    def to_json(self) -> dict[str, Any]:
        """Give plain values."""
        return {
            "rows": [row.to_json() for row in self.rows],
            "total": plain(self.total) if self.total else None,
            "total_by_task": {task: plain(value) for task, value in self.tasks.items()},
            "seeds_a_task": self.seeds,
            "split": SPLIT,
        }


@dataclass(frozen=True)
class _Pair:
    """Two rules whose difference is one row."""

    before: Program
    after: Program


def measure_effects(work: Work, repeats: int = REPEATS) -> Effects:
    """Measure every change that was made, and leaving out every statement that stays.

    A statement that can be left out in several ways is measured in the one that was best on the
    tuning seeds. Rules are trained on fresh seeds and measured on test data.

    Args:
        work: Done.
        repeats: Fresh seeds of each task.
    """
    kept = _kept(work)
    pairs = [_Pair(work.given, work.current)]
    pairs += [_Pair(one.before, one.after) for one in work.removals]
    pairs += [pair for _, pair in kept if pair is not None]
    logs, seeds = _measured(work, pairs, repeats)
    found = iter(_intervals(work, pair, logs) for pair in pairs)
    total, by_task = next(found)
    rows = [_removed(one, *next(found)) for one in work.removals]
    free = _free(work)
    for one, pair in kept:
        mean, tasks = next(found) if pair is not None else (None, {})
        verdict = work.judged.get(one.key)
        rows.append(
            Effect(one.statement, one.change, _status(work, one, free), mean, tasks, verdict)
        )
    return Effects(tuple(rows), total, by_task, seeds)


def _kept(work: Work) -> list[tuple[Candidate, _Pair | None]]:
    """Choose for each statement that stays the way of leaving it out that harms least."""
    candidates = Removals(work.current).candidates()
    if not candidates:
        return []
    try:
        rules = [work.current, *(one.program for one in candidates)]
        what = "tuning what stays, without each statement"
        current, *forms = tune(work.trainer, rules, what, work.kept.rates)
    except TimeIsUpError:
        return [(one, None) for one in {one.statement: one for one in candidates}.values()]
    best: dict[str, tuple[float, Candidate, _Pair]] = {}
    for one, form in zip(candidates, forms, strict=True):
        if one.statement not in best or form.loss < best[one.statement][0]:
            best[one.statement] = (form.loss, one, _Pair(current.program, form.program))
    return [(one, pair) for _, one, pair in best.values()]


def _measured(work: Work, pairs: Sequence[_Pair], repeats: int) -> tuple[dict[str, ndarray], int]:
    programs = {p.text: p for pair in pairs for p in (pair.before, pair.after)}
    done = 0
    parts: list[ndarray] = []
    what = "fresh seeds and test data for the table"
    while done < repeats:
        last = min(done + _AT_ONCE, repeats)
        try:
            chosen = list(programs.values())
            parts.append(work.trainer.measure(chosen, "report", done, last, what, SPLIT))
        except TimeIsUpError:
            break
        done = last
    if not parts:
        return {}, 0
    logs = numpy.concatenate(parts, 2)
    return dict(zip(programs, logs, strict=True)), done


def _intervals(
    work: Work, pair: _Pair, logs: Mapping[str, ndarray]
) -> tuple[Interval | None, dict[str, Interval]]:
    if not logs:
        return None, {}
    differences, _ = paired(logs[pair.before.text], logs[pair.after.text])
    tasks = zip(work.trainer.tasks, differences, strict=True)
    by_task = {task.name: paired_interval(values) for task, values in tasks}
    return mean_interval_over_tasks(differences), by_task


def _removed(one: Removal, mean: Interval | None, tasks: dict[str, Interval]) -> Effect:
    status = "rounded" if one.candidate.values else "removed"
    return Effect(one.candidate.statement, one.candidate.change, status, mean, tasks, one.verdict)


def _free(work: Work) -> set[str]:
    """List the keys of the changes that lose nothing of what is protected."""
    way = Removals(work.current)
    return {one.key for one in protected(way, way.candidates(), work.kept)}


def _status(work: Work, one: Candidate, free: set[str]) -> str:
    if one.key not in free:
        return "kept: protected"
    verdict = work.judged.get(one.key)
    return f"kept: {verdict.outcome if verdict else 'not decided'}"


def longer_constants(work: Work) -> tuple[Effect, ...]:
    """Say of every way of giving a constant that is left fewer digits why it was not taken."""
    found = []
    for rates in (False, True):
        way = Roundings(work.current, rates)
        candidates = way.candidates()
        free = {one.key for one in protected(way, candidates, work.kept)}
        for one in candidates:
            status, verdict = _status(work, one, free), work.judged.get(one.key)
            found.append(Effect(one.statement, one.change, status, None, {}, verdict))
    return tuple(found)
