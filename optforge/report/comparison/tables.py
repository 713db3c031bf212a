"""The tables of a comparison, as plain text cells for the terminal and for Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from optforge.comparison import Findings, Pair, Summary, compare_pairs, score_found, summaries
from optforge.comparison.figures.analysis import every_run
from optforge.report.comparison.halves import luck_table
from optforge.report.comparison.ranges import final_ranges, range_text, uneven_ranges
from optforge.report.comparison.sweep_tables import best_of_axis, extra_measurements, maps, studies
from optforge.report.text_table import TextTable
from optforge.report.words import duration, number, p_value, percent, points, ratio, size, value


def all_tables(found: Findings) -> Iterator[TextTable]:
    """What was found, most wanted first."""
    told, pairs = summaries(found), compare_pairs(found)
    yield verdicts(found, told, pairs)
    yield choices(found, told)
    uneven = uneven_ranges(found)
    if uneven is not None:
        yield uneven
    lucky = luck_table(found)
    if lucky is not None:
        yield lucky
    yield costs(found, told)
    missing = without_result(told)
    if missing is not None:
        yield missing
    for made in (best_of_axis(found), maps(found), extra_measurements(found)):
        if made is not None:
            yield made
    for unit in ("seconds", "steps"):
        scores = score_found(found, unit)
        if scores is not None:
            yield studies(scores)


def verdicts(found: Findings, told: Sequence[Summary], pairs: Sequence[Pair]) -> TextTable:
    """The main table: losses on fresh seeds, and the paired comparison."""
    by_name = {(p.task, p.recipe): p for p in pairs}
    rows = []
    for one in told:
        pair = by_name.get((one.task, one.recipe))
        rows.append((one.task, one.recipe, *_measured(one), *_against(pair, one, found.baseline)))
    return TextTable(
        f"Fresh seeds, test data; change and ratio are against {found.baseline}, seed by seed, "
        "with 95 % intervals over seeds; p after Holm's correction",
        ("<task", "<optimizer", "test loss", "test metric, %", "change of loss", "p",
         "metric, points", "steps to target", "<verdict"),
        tuple(rows),
    )  # fmt: skip


def _measured(one: Summary) -> tuple[str, str]:
    if one.best is None:
        return _no_trial(one), "-"
    metric = one.test_metric and one.test_metric.scaled(100)
    return number(one.test_loss), number(metric, 2)


def _no_trial(one: Summary) -> str:
    """Why no setting was chosen; what has no result did not diverge as far as is known."""
    if one.failed_trials >= one.trials:
        return "no trial has a result"
    return "all trials diverged" + (" or have no result" if one.failed_trials else "")


def _against(pair: Pair | None, one: Summary, baseline: str) -> tuple[str, ...]:
    if pair is None:
        return "", "", "", "", "baseline" if one.recipe == baseline else "-"
    steps = ratio(pair.steps)
    if pair.arrived != (pair.test_loss.count, pair.test_loss.count):
        steps += f" ({pair.arrived[0]} and {pair.arrived[1]} of {pair.test_loss.count} arrive)"
    return (
        percent(pair.test_loss),
        p_value(pair.adjusted),
        points(pair.test_metric),
        steps,
        pair.verdict,
    )


def choices(found: Findings, told: Sequence[Summary]) -> TextTable:
    """What was chosen, and how much it took."""
    rows = []
    ranges = final_ranges(found)
    for one in told:
        now = ranges[one.task, one.recipe]
        values = {name: value(x) for name, x in (one.best or ())}
        setting = ", ".join(f"{name} {x}" for name, x in values.items())
        rows.append(
            (
                one.task,
                one.recipe,
                setting or "none",
                value(one.effective_decay),
                str(one.trials),
                f"{one.diverged_trials} + {one.diverged_runs} of {one.runs}",
                ", ".join(f"{name} {range_text(now[name])}" for name in one.grown) or "-",
                ", ".join(one.edges) or "-",
                value(one.good_rates),
            )
        )
    shaped = any(name == "final_lr" for one in told for name, _ in one.best or ())
    final = ". final_lr: share of the peak rate at the end" if shaped else ""
    return TextTable(
        "Chosen settings. Diverged: trials + final runs. Grown: ranges extended because the best "
        "trial lay at their edge, as they are now; still at the edge: after that. Good rates: "
        "highest over lowest learning rate within 1 % of the best loss" + final,
        ("<task", "<optimizer", "<setting", "lr x decay", "trials", "diverged", "<grown",
         "<still at the edge", "good rates"),
        tuple(rows),
    )  # fmt: skip


def costs(found: Findings, told: Sequence[Summary]) -> TextTable:
    """Time and memory."""
    runs = [len(every_run(t)) for result in found.tasks for t in result.tuned.values()]
    rows = [
        (
            one.task,
            one.recipe,
            f"{one.step_ms:.3g}",
            size(one.optimizer_bytes),
            peak(one.peak_mb),
            str(count),
            duration(one.seconds),
        )
        for one, count in zip(told, runs, strict=True)
    ]
    return TextTable(
        "Cost: medians of a step, bytes of the optimizer's states, growth of memory while "
        "training, and all runs together",
        ("<task", "<optimizer", "step, ms", "states", "peak, MB", "runs", "run time"),
        tuple(rows),
    )


def peak(megabytes: float) -> str:
    """Growth of memory: unknown, too little to be told, or MB.

    Example:
        >>> peak(math.nan), peak(0.2), peak(104.31)
        ('—', '< 1', '104.3')
    """
    if not math.isfinite(megabytes):
        return "—"
    return "< 1" if megabytes < 1 else f"{megabytes:.1f}"


def without_result(told: Sequence[Summary]) -> TextTable | None:
    """Runs that ended with their process or at the limit; None if there are none."""
    rows = tuple(
        (one.task, one.recipe, f"{one.failed_trials} of {one.trials}",
         f"{one.failed_runs} of {one.runs}")
        for one in told
        if one.failed_trials or one.failed_runs
    )  # fmt: skip
    if not rows:
        return None
    return TextTable(
        "Runs without a result: their process died or was ended at the limit of time. They did "
        "not diverge as far as is known, count in no figure, and are tried again by --resume",
        ("<task", "<optimizer", "trials", "final runs"),
        rows,
    )
