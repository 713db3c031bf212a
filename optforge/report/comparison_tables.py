"""The tables of a comparison, as plain text cells for the terminal and for Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from optforge.compare import (
    Found,
    Pair,
    Scores,
    Summary,
    compare_pairs,
    extra_pairs,
    map_pairs,
    optima,
    score_found,
    summaries,
)
from optforge.compare.analyse import every_run
from optforge.compare.cost import Line
from optforge.report.words import (
    duration,
    number,
    p_value,
    percent,
    points,
    ratio,
    size,
    value,
)
from optforge.statistics import Interval


@dataclass(frozen=True)
class TextTable:
    """A table whose cells are text.

    Args:
        title: What it shows, in a sentence.
        columns: Heads; those that begin with ``<`` are aligned to the left.
        rows: Cells.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def heads(self) -> tuple[str, ...]:
        """Heads without marks."""
        return tuple(column.removeprefix("<") for column in self.columns)

    @property
    def left(self) -> tuple[bool, ...]:
        """Which columns are aligned to the left."""
        return tuple(column.startswith("<") for column in self.columns)

    def markdown(self) -> str:
        """As GitHub's Markdown.

        Example:
            >>> print(TextTable("", ("<a", "b"), (("x", "1"),)).markdown())
            | a | b |
            |---|--:|
            | x | 1 |
        """
        rule = "|".join("---" if left else "--:" for left in self.left)
        lines = [" | ".join(self.heads), *(" | ".join(row) for row in self.rows)]
        first, *rest = [f"| {line} |" for line in lines]
        return "\n".join([first, f"|{rule}|", *rest])


def all_tables(found: Found) -> Iterator[TextTable]:
    """What was found, most wanted first."""
    told, pairs = summaries(found), compare_pairs(found)
    yield verdicts(found, told, pairs)
    yield choices(told)
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


def verdicts(found: Found, told: Sequence[Summary], pairs: Sequence[Pair]) -> TextTable:
    """The main table: losses on fresh seeds, and the paired comparison."""
    by_name = {(p.task, p.recipe): p for p in pairs}
    rows = []
    for one in told:
        pair = by_name.get((one.task, one.recipe))
        rows.append((one.task, one.recipe, *_measured(one), *_against(pair, one, found.baseline)))
    return TextTable(
        f"Fresh seeds, test data; change and ratio are against {found.baseline}, seed by seed, "
        "with 95 % intervals; p after Holm's correction",
        ("<task", "<optimizer", "test loss", "test metric, %", "change of loss", "p",
         "metric, points", "steps to target", "<verdict"),
        tuple(rows),
    )  # fmt: skip


def _measured(one: Summary) -> tuple[str, str]:
    if one.best is None:
        return "all trials diverged", "-"
    metric = one.test_metric
    if metric is None or not math.isfinite(metric.mean):
        return number(one.test_loss), "-"
    half = 50 * (metric.high - metric.low)
    spread = f" ± {half:.2f}" if math.isfinite(half) else ""
    return number(one.test_loss), f"{100 * metric.mean:.2f}{spread}"


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


def choices(told: Sequence[Summary]) -> TextTable:
    """What was chosen, and how much it took."""
    rows = []
    for one in told:
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
                ", ".join(one.grown) or "-",
                ", ".join(one.edges) or "-",
                value(one.good_rates),
            )
        )
    return TextTable(
        "Chosen settings. Diverged: trials + final runs. Grown: ranges extended because the best "
        "trial lay at their edge; still at the edge: after that. Good rates: highest over lowest "
        "learning rate within 1 % of the best loss",
        ("<task", "<optimizer", "<setting", "lr x decay", "trials", "diverged", "<grown",
         "<still at the edge", "good rates"),
        tuple(rows),
    )  # fmt: skip


def costs(found: Found, told: Sequence[Summary]) -> TextTable:
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


def extra_measurements(found: Found) -> TextTable | None:
    """What was measured besides, against the baseline seed by seed; None if nothing was."""
    rows = tuple(
        (one.task, one.name.replace("_", " "), one.recipe, f"{one.mean:.4g}",
         "" if one.ratio is None else percent(one.ratio),
         "" if one.ratio is None else p_value(one.ratio.p_value))
        for one in sorted(extra_pairs(found), key=lambda one: (one.task, one.name))
    )  # fmt: skip
    if not rows:
        return None
    return TextTable(
        f"Further measurements of the final runs: geometric means, and changes against "
        f"{found.baseline}, seed by seed, with 95 % intervals; p is not corrected. A rise is the "
        "training loss under noise on the weights over that without",
        ("<task", "<measured", "<optimizer", "mean", "change", "p"),
        rows,
    )


def maps(found: Found) -> TextTable | None:
    """How much of each map is good; None without maps."""
    pairs = map_pairs(found)
    if not pairs:
        return None
    rows = tuple(
        (one.task, one.recipe, str(one.points), str(one.share.count), _share(one.share),
         "" if one.difference is None else points(one.difference),
         "" if one.difference is None else p_value(one.difference.p_value))
        for one in pairs
    )  # fmt: skip
    return TextTable(
        f"Maps of learning rate and decay: share of points whose validation loss is at most "
        f"{100 * pairs[0].width:g} % above the optimizer's own best point of the same seed, and "
        f"the difference to {found.baseline}, seed by seed, with 95 % intervals; p is not "
        "corrected",
        ("<task", "<optimizer", "points", "seeds", "good, %", "difference, points", "p"),
        rows,
    )


def best_of_axis(found: Found) -> TextTable | None:
    """Where on an axis each optimizer is best; None without one."""
    told = optima(found)
    if not told:
        return None
    rows = tuple(
        (one.recipe, f"{one.best:g}", f"{one.low:g} to {one.high:g}",
         ", ".join(f"{x:g}: {100 * share:.0f} %" for x, share in one.shares.items() if share))
        for one in told
    )  # fmt: skip
    return TextTable(
        f"Best {told[0].axis.replace('_', ' ')} of each optimizer by test loss, each point tuned "
        f"by itself; 95 % interval and shares by a bootstrap over {told[0].seeds} seeds",
        ("<optimizer", "best", "interval", "<best of a resample"),
        rows,
    )


def _share(interval: Interval) -> str:
    low, high = max(0.0, interval.low), min(1.0, interval.high)
    return f"{100 * interval.mean:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def studies(scores: Scores) -> TextTable:
    """The second ruleset."""
    tasks = sorted({task for of in scores.times.values() for task in of})
    shown = duration if scores.unit == "seconds" else value
    rows = [
        (name, f"{scores.scores[name]:.3f}", *(shown(of.get(task, math.inf)) for task in tasks))
        for name, of in sorted(scores.times.items(), key=lambda item: -scores.scores[item[0]])
    ]
    return TextTable(
        f"Time to target in {scores.unit}, median over studies of the best of five trials; "
        "score: area under the performance profile up to 4 times the fastest",
        ("<optimizer", "score", *tasks),
        tuple(rows),
    )


def plan_table(lines: Sequence[Line], workers: int) -> TextTable:
    """What would run, and what it costs."""
    rows = [
        (
            line.task,
            line.recipe,
            str(line.tuning),
            str(line.finals),
            str(line.sweeps),
            duration(line.seconds + line.validations),
            duration(line.total / workers),
        )
        for line in lines
    ]
    total = sum(line.total for line in lines) / workers
    cells = sum(line.cells for line in lines)
    rows.append(("all", "", "", "", f"{cells} runs", "", duration(total)))
    return TextTable(
        f"The plan, at most, on {workers} worker{'s' if workers > 1 else ''}",
        ("<task", "<optimizer", "tuning", "final", "other", "longest run", "time"),
        tuple(rows),
    )
