"""The effect of each statement, measured on seeds and data that decided nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy
from numpy import ndarray

from optforge.ablation.decision import Decision, paired
from optforge.ablation.protection import allowed_changes
from optforge.ablation.removals import ProposedChange, Removals
from optforge.ablation.rounding import Roundings
from optforge.ablation.simplifier import AcceptedChange, Simplifier
from optforge.ablation.tuning import tune
from optforge.errors import TimeIsUpError
from optforge.language import Program
from optforge.statistics import Interval, mean_interval_over_tasks, paired_interval

REPEATS = 24
_AT_ONCE = 6  # seeds; where the time ends, what is complete counts
SPLIT = "test"


@dataclass(frozen=True)
class Effect:
    """One row: the effect of leaving a statement out on the log loss.

    Args:
        statement: Text of the statement.
        change: The change to it.
        status: ``removed``, ``rounded``, ``kept: worse``, ``kept: unresolved``, ``kept:
            protected``, ``kept: not decided``, or ``kept: not worse`` if the change alone would do
            no harm, but the trials ended or other changes were made before its turn.
        mean: Mean over tasks with its 95 % confidence interval; None if time ran out.
        tasks: The same for each task.
        decision: The decision about it, on other seeds; None if there was none.
    """

    statement: str
    change: str
    status: str
    mean: Interval | None
    tasks: Mapping[str, Interval]
    decision: Decision | None = None


@dataclass(frozen=True)
class Effects:
    """The table of effects of a derivation.

    Args:
        rows: Removed statements in order, then those that stay.
        total: The simple rule against the given rule, both tuned; None if time ran out.
        tasks: The same for each task.
        seeds: Number of fresh seeds of each task.
    """

    rows: tuple[Effect, ...]
    total: Interval | None
    tasks: Mapping[str, Interval]
    seeds: int


@dataclass(frozen=True)
class _Pair:
    """Two rules whose difference is one row."""

    before: Program
    after: Program


def measure_effects(simplifier: Simplifier, repeats: int = REPEATS) -> Effects:
    """Measure each change that was made, and the removal of each statement that stays.

    A statement that can be left out in several ways is measured in the way that was best on the
    tuning seeds. Rules are trained on fresh seeds and measured on test data.

    Args:
        simplifier: A simplifier that has finished.
        repeats: Number of fresh seeds of each task.
    """
    kept = _kept(simplifier)
    pairs = [_Pair(simplifier.given, simplifier.current)]
    pairs += [_Pair(change.before, change.after) for change in simplifier.accepted]
    pairs += [pair for _, pair in kept if pair is not None]
    logs, seeds = _measured(simplifier, pairs, repeats)
    intervals = iter(_intervals(simplifier, pair, logs) for pair in pairs)
    total, by_task = next(intervals)
    rows = [_removed(change, *next(intervals)) for change in simplifier.accepted]
    free = _free(simplifier)
    for change, pair in kept:
        mean, tasks = next(intervals) if pair is not None else (None, {})
        decision = simplifier.judged.get(change.key)
        rows.append(
            Effect(
                change.statement,
                change.change,
                _status(simplifier, change, free),
                mean,
                tasks,
                decision,
            )
        )
    return Effects(tuple(rows), total, by_task, seeds)


def _kept(simplifier: Simplifier) -> list[tuple[ProposedChange, _Pair | None]]:
    """Choose, for each statement that stays, the least harmful way of leaving it out."""
    candidates = Removals(simplifier.current).candidates()
    if not candidates:
        return []
    try:
        rules = [simplifier.current, *(change.program for change in candidates)]
        what = "tuning what stays, without each statement"
        current, *forms = tune(simplifier.trainer, rules, what, simplifier.protection.rates)
    except TimeIsUpError:
        return [
            (change, None)
            for change in {change.statement: change for change in candidates}.values()
        ]
    best: dict[str, tuple[float, ProposedChange, _Pair]] = {}
    for change, form in zip(candidates, forms, strict=True):
        if change.statement not in best or form.loss < best[change.statement][0]:
            best[change.statement] = (form.loss, change, _Pair(current.program, form.program))
    return [(change, pair) for _, change, pair in best.values()]


def _measured(
    simplifier: Simplifier, pairs: Sequence[_Pair], repeats: int
) -> tuple[dict[str, ndarray], int]:
    programs = {p.text: p for pair in pairs for p in (pair.before, pair.after)}
    done = 0
    parts: list[ndarray] = []
    what = "fresh seeds and test data for the table"
    while done < repeats:
        last = min(done + _AT_ONCE, repeats)
        try:
            chosen = list(programs.values())
            parts.append(simplifier.trainer.measure(chosen, "report", done, last, what, SPLIT))
        except TimeIsUpError:
            break
        done = last
    if not parts:
        return {}, 0
    logs = numpy.concatenate(parts, 2)
    return dict(zip(programs, logs, strict=True)), done


def _intervals(
    simplifier: Simplifier, pair: _Pair, logs: Mapping[str, ndarray]
) -> tuple[Interval | None, dict[str, Interval]]:
    if not logs:
        return None, {}
    differences, _ = paired(logs[pair.before.text], logs[pair.after.text])
    tasks = zip(simplifier.trainer.tasks, differences, strict=True)
    by_task = {task.name: paired_interval(values) for task, values in tasks}
    return mean_interval_over_tasks(differences), by_task


def _removed(change: AcceptedChange, mean: Interval | None, tasks: dict[str, Interval]) -> Effect:
    status = "rounded" if change.proposal.values else "removed"
    return Effect(
        change.proposal.statement, change.proposal.change, status, mean, tasks, change.decision
    )


def _free(simplifier: Simplifier) -> set[str]:
    """Return the keys of the changes that lose nothing that is protected."""
    source = Removals(simplifier.current)
    return {
        change.key for change in allowed_changes(source, source.candidates(), simplifier.protection)
    }


def _status(simplifier: Simplifier, change: ProposedChange, free: set[str]) -> str:
    if change.key not in free:
        return "kept: protected"
    decision = simplifier.judged.get(change.key)
    return f"kept: {decision.outcome if decision else 'not decided'}"


def longer_constants(simplifier: Simplifier) -> tuple[Effect, ...]:
    """Explain, for each shorter form of a constant, why it was not accepted."""
    rows = []
    for rates in (False, True):
        source = Roundings(simplifier.current, rates)
        candidates = source.candidates()
        free = {change.key for change in allowed_changes(source, candidates, simplifier.protection)}
        for change in candidates:
            status, decision = _status(simplifier, change, free), simplifier.judged.get(change.key)
            rows.append(Effect(change.statement, change.change, status, None, {}, decision))
    return tuple(rows)
