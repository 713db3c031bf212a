"""The tables of a comparison, as plain text cells for the terminal and for Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from optforge.comparison import (
    Findings,
    Pair,
    Summary,
    compare_pairs,
    mean_pairs,
    score_findings,
    summaries,
)
from optforge.comparison.figures.analysis import every_run
from optforge.report.comparison.halves import halves_table
from optforge.report.comparison.ranges import final_ranges, range_text, uneven_ranges
from optforge.report.comparison.sweep_tables import (
    best_of_axis,
    extra_measurements,
    maps,
    studies,
    with_one_setting,
)
from optforge.report.text_table import TextTable
from optforge.report.words import duration, number, p_value, percent, points, ratio, size, value


def all_tables(findings: Findings) -> Iterator[TextTable]:
    """Yield the tables of a comparison, the most important first."""
    results, pairs = summaries(findings), compare_pairs(findings)
    yield verdicts(findings, results, pairs)
    over_tasks = means(findings)
    if over_tasks is not None:
        yield over_tasks
    yield choices(findings, results)
    uneven = uneven_ranges(findings)
    if uneven is not None:
        yield uneven
    lucky = halves_table(findings)
    if lucky is not None:
        yield lucky
    yield costs(findings, results)
    missing = without_result(results)
    if missing is not None:
        yield missing
    for table in (best_of_axis(findings), maps(findings), extra_measurements(findings)):
        if table is not None:
            yield table
    for unit in ("seconds", "steps"):
        scores = score_findings(findings, unit)
        if scores is not None:
            yield studies(scores)
    shared_setting = with_one_setting(findings)
    if shared_setting is not None:
        yield shared_setting


def verdicts(findings: Findings, results: Sequence[Summary], pairs: Sequence[Pair]) -> TextTable:
    """Return the main table: losses on fresh seeds, and the paired comparison."""
    by_name = {(p.task, p.recipe): p for p in pairs}
    rows = []
    for summary in results:
        pair = by_name.get((summary.task, summary.recipe))
        rows.append(
            (
                summary.task,
                summary.recipe,
                *_measured(summary),
                *_against(pair, summary, findings.baseline),
            )
        )
    return TextTable(
        f"Fresh seeds, test data; change and ratio are against {findings.baseline}, seed by seed, "
        "with 95 % intervals over seeds; p after Holm's correction. Steps to its end: after which "
        f"share of its steps an optimizer has the validation loss that {findings.baseline} ends "
        "with",
        ("<task", "<optimizer", "test loss", "test metric, %", "change of loss", "p",
         "metric, points", "steps to target", "steps to its end", "<verdict"),
        tuple(rows),
    )  # fmt: skip


def _measured(summary: Summary) -> tuple[str, str]:
    if summary.best is None:
        return _no_trial(summary), "-"
    metric = summary.test_metric and summary.test_metric.scaled(100)
    return number(summary.test_loss), number(metric, 2)


def _no_trial(summary: Summary) -> str:
    """Return why no setting was chosen; trials without a result may not have diverged."""
    if summary.failed_trials >= summary.trials:
        return "no trial has a result"
    return "all trials diverged" + (" or have no result" if summary.failed_trials else "")


def _against(pair: Pair | None, summary: Summary, baseline: str) -> tuple[str, ...]:
    if pair is None:
        return "", "", "", "", "", "baseline" if summary.recipe == baseline else "-"
    steps = ratio(pair.steps)
    if pair.arrived != (pair.test_loss.count, pair.test_loss.count):
        steps += f" ({pair.arrived[0]} and {pair.arrived[1]} of {pair.test_loss.count} arrive)"
    return (
        percent(pair.test_loss),
        p_value(pair.adjusted),
        points(pair.test_metric),
        steps,
        _to_its_end(pair),
        pair.verdict,
    )


def _to_its_end(pair: Pair) -> str:
    if pair.final_steps is not None or not pair.reached:
        return ratio(pair.final_steps)
    return f"- ({pair.reached} of {pair.test_loss.count})"


def means(findings: Findings) -> TextTable | None:
    """Return the table of means over tasks; None for one task, or for variants of one."""
    pairs = mean_pairs(findings)
    if not pairs:
        return None
    rows = tuple(
        (pair.recipe, percent(pair.test_loss), p_value(pair.adjusted), ratio(pair.final_steps),
         pair.verdict)
        for pair in pairs
    )  # fmt: skip
    return TextTable(
        f"Mean over all {len(pairs[0].tasks)} tasks, each with the same weight, against "
        f"{findings.baseline}, for optimizers with results on all of them: geometric means of the "
        "ratios above. The intervals are about these tasks, not about others like them",
        ("<optimizer", "change of loss", "p", "steps to its end", "<verdict"),
        rows,
    )


def choices(findings: Findings, results: Sequence[Summary]) -> TextTable:
    """Return the table of chosen settings and the effort behind them."""
    rows = []
    ranges = final_ranges(findings)
    for summary in results:
        now = ranges[summary.task, summary.recipe]
        values = {name: value(x) for name, x in (summary.best or ())}
        setting = ", ".join(f"{name} {x}" for name, x in values.items())
        rows.append(
            (
                summary.task,
                summary.recipe,
                setting or "none",
                value(summary.effective_decay),
                str(summary.trials),
                f"{summary.diverged_trials} + {summary.diverged_runs} of {summary.runs}",
                ", ".join(f"{name} {range_text(now[name])}" for name in summary.grown) or "-",
                ", ".join(summary.edges) or "-",
                value(summary.good_rates),
            )
        )
    shaped = any(name == "final_lr" for summary in results for name, _ in summary.best or ())
    final = ". final_lr: share of the peak rate at the end" if shaped else ""
    return TextTable(
        "Chosen settings. Diverged: trials + final runs. Grown: ranges extended because the best "
        "trial lay at their edge, as they are now; still at the edge: after that. Good rates: "
        "highest over lowest learning rate within 1 % of the best loss" + final,
        ("<task", "<optimizer", "<setting", "lr x decay", "trials", "diverged", "<grown",
         "<still at the edge", "good rates"),
        tuple(rows),
    )  # fmt: skip


def costs(findings: Findings, results: Sequence[Summary]) -> TextTable:
    """Return the table of time and memory."""
    runs = [len(every_run(t)) for result in findings.tasks for t in result.tuned.values()]
    rows = [
        (
            summary.task,
            summary.recipe,
            f"{summary.step_ms:.3g}",
            size(summary.optimizer_bytes),
            peak(summary.peak_mb),
            str(count),
            duration(summary.seconds),
        )
        for summary, count in zip(results, runs, strict=True)
    ]
    return TextTable(
        "Cost: medians of a step, bytes of the optimizer's states, growth of memory while "
        "training, and all runs together",
        ("<task", "<optimizer", "step, ms", "states", "peak, MB", "runs", "run time"),
        tuple(rows),
    )


def peak(megabytes: float) -> str:
    """Return the growth of memory: unknown, too small to measure, or MB.

    Example:
        >>> peak(math.nan), peak(0.2), peak(104.31)
        ('—', '< 1', '104.3')
    """
    if not math.isfinite(megabytes):
        return "—"
    return "< 1" if megabytes < 1 else f"{megabytes:.1f}"


def without_result(results: Sequence[Summary]) -> TextTable | None:
    """Return the table of runs that died or hit the time limit; None if there are none."""
    rows = tuple(
        (summary.task, summary.recipe, f"{summary.failed_trials} of {summary.trials}",
         f"{summary.failed_runs} of {summary.runs}")
        for summary in results
        if summary.failed_trials or summary.failed_runs
    )  # fmt: skip
    if not rows:
        return None
    return TextTable(
        "Runs without a result: their process died or was ended at the limit of time. They did "
        "not diverge as far as is known, count in no figure, and are tried again by --resume",
        ("<task", "<optimizer", "trials", "final runs"),
        rows,
    )
