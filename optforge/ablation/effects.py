"""What each statement is worth, on seeds and data that decided nothing."""

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
    """One row: what leaving a statement out does to the log loss.

    Args:
        statement: What it was.
        change: What becomes of it.
        status: ``removed``, ``rounded``, ``kept: worse``, ``kept: unresolved``,
            ``kept: protected``, ``kept: not decided``, or ``kept: not worse`` where the change
            alone would do no harm, but the trials ended, or others were made, before its turn.
        mean: Over tasks, with its interval of confidence 0.95; None if the time did not suffice.
        tasks: For each task the same.
        decision: What decided it, on other seeds; None if none did.
    """

    statement: str
    change: str
    status: str
    mean: Interval | None
    tasks: Mapping[str, Interval]
    decision: Decision | None = None


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


@dataclass(frozen=True)
class _Pair:
    """Two rules whose difference is one row."""

    before: Program
    after: Program


def measure_effects(simplifier: Simplifier, repeats: int = REPEATS) -> Effects:
    """Measure every change that was made, and leaving out every statement that stays.

    A statement that can be left out in several ways is measured in the one that was best on the
    tuning seeds. Rules are trained on fresh seeds and measured on test data.

    Args:
        simplifier: Done.
        repeats: Fresh seeds of each task.
    """
    kept = _kept(simplifier)
    pairs = [_Pair(simplifier.given, simplifier.current)]
    pairs += [_Pair(one.before, one.after) for one in simplifier.accepted]
    pairs += [pair for _, pair in kept if pair is not None]
    logs, seeds = _measured(simplifier, pairs, repeats)
    found = iter(_intervals(simplifier, pair, logs) for pair in pairs)
    total, by_task = next(found)
    rows = [_removed(one, *next(found)) for one in simplifier.accepted]
    free = _free(simplifier)
    for one, pair in kept:
        mean, tasks = next(found) if pair is not None else (None, {})
        decision = simplifier.judged.get(one.key)
        rows.append(
            Effect(one.statement, one.change, _status(simplifier, one, free), mean, tasks, decision)
        )
    return Effects(tuple(rows), total, by_task, seeds)


def _kept(simplifier: Simplifier) -> list[tuple[ProposedChange, _Pair | None]]:
    """Choose for each statement that stays the way of leaving it out that harms least."""
    candidates = Removals(simplifier.current).candidates()
    if not candidates:
        return []
    try:
        rules = [simplifier.current, *(one.program for one in candidates)]
        what = "tuning what stays, without each statement"
        current, *forms = tune(simplifier.trainer, rules, what, simplifier.protection.rates)
    except TimeIsUpError:
        return [(one, None) for one in {one.statement: one for one in candidates}.values()]
    best: dict[str, tuple[float, ProposedChange, _Pair]] = {}
    for one, form in zip(candidates, forms, strict=True):
        if one.statement not in best or form.loss < best[one.statement][0]:
            best[one.statement] = (form.loss, one, _Pair(current.program, form.program))
    return [(one, pair) for _, one, pair in best.values()]


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


def _removed(one: AcceptedChange, mean: Interval | None, tasks: dict[str, Interval]) -> Effect:
    status = "rounded" if one.proposal.values else "removed"
    return Effect(one.proposal.statement, one.proposal.change, status, mean, tasks, one.decision)


def _free(simplifier: Simplifier) -> set[str]:
    """List the keys of the changes that lose nothing of what is protected."""
    source = Removals(simplifier.current)
    return {one.key for one in allowed_changes(source, source.candidates(), simplifier.protection)}


def _status(simplifier: Simplifier, one: ProposedChange, free: set[str]) -> str:
    if one.key not in free:
        return "kept: protected"
    decision = simplifier.judged.get(one.key)
    return f"kept: {decision.outcome if decision else 'not decided'}"


def longer_constants(simplifier: Simplifier) -> tuple[Effect, ...]:
    """Say of every way of giving a constant that is left fewer digits why it was not taken."""
    found = []
    for rates in (False, True):
        source = Roundings(simplifier.current, rates)
        candidates = source.candidates()
        free = {one.key for one in allowed_changes(source, candidates, simplifier.protection)}
        for one in candidates:
            status, decision = _status(simplifier, one, free), simplifier.judged.get(one.key)
            found.append(Effect(one.statement, one.change, status, None, {}, decision))
    return tuple(found)
