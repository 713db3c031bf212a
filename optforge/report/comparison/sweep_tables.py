"""The tables of further measurements: flatness, maps, the best of an axis, studies."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from optforge.comparison import Findings, Scores, extra_pairs, map_pairs, optima
from optforge.comparison.one_setting import CAP
from optforge.report.text_table import TextTable
from optforge.report.words import duration, p_value, percent, points, ratio, value
from optforge.statistics import Interval


def extra_measurements(findings: Findings) -> TextTable | None:
    """Return further measurements against the baseline, seed by seed; None if there are none."""
    rows = tuple(
        (pair.task, pair.name.replace("_", " "), pair.recipe, f"{pair.mean:.4g}",
         "" if pair.ratio is None else percent(pair.ratio),
         "" if pair.ratio is None else p_value(pair.ratio.p_value))
        for pair in sorted(extra_pairs(findings), key=lambda pair: (pair.task, pair.name))
    )  # fmt: skip
    if not rows:
        return None
    return TextTable(
        f"Further measurements of the final runs: geometric means, and changes against "
        f"{findings.baseline}, seed by seed, with 95 % intervals; p is not corrected. Where a "
        "value is not above 0 the mean is the plain one and there is no change. A rise is "
        "the training loss under noise on the weights over that without",
        ("<task", "<measured", "<optimizer", "mean", "change", "p"),
        rows,
    )


def maps(findings: Findings) -> TextTable | None:
    """Return the good share of each map; None without maps."""
    pairs = map_pairs(findings)
    if not pairs:
        return None
    rows = tuple(
        (pair.task, pair.recipe, str(pair.points), str(pair.share.count), _share(pair.share),
         "" if pair.difference is None else points(pair.difference),
         "" if pair.difference is None else p_value(pair.difference.p_value))
        for pair in pairs
    )  # fmt: skip
    return TextTable(
        f"Maps of learning rate and decay: share of points whose validation loss is at most "
        f"{100 * pairs[0].width:g} % above the optimizer's own best point of the same seed, and "
        f"the difference to {findings.baseline}, seed by seed, with 95 % intervals; p is not "
        "corrected",
        ("<task", "<optimizer", "points", "seeds", "good, %", "difference, points", "p"),
        rows,
    )


def best_of_axis(findings: Findings) -> TextTable | None:
    """Return where on an axis each optimizer is best; None without an axis."""
    best_values = optima(findings)
    if not best_values:
        return None
    rows = tuple(
        (optimum.task, optimum.recipe, best_text(optimum.best, optimum.shares),
         f"{optimum.low:g} to {optimum.high:g}",
         ", ".join(f"{x:g}: {100 * share:.0f} %" for x, share in optimum.shares.items() if share))
        for optimum in best_values
    )  # fmt: skip
    seeds = " or ".join(map(str, sorted({optimum.seeds for optimum in best_values})))
    return TextTable(
        f"Best {best_values[0].axis.replace('_', ' ')} of each optimizer by test loss, each "
        f"point tuned by itself; 95 % interval and shares by a bootstrap over {seeds} seeds. At an "
        "end of the axis the best may lie beyond it",
        ("<task", "<optimizer", "best", "interval", "<best of a resample"),
        rows,
    )


def best_text(best: float, points: Iterable[float]) -> str:
    """Return the best point of an axis; at an end, the best may also lie beyond it.

    Example:
        >>> best_text(32, [16, 32, 64]), best_text(16, [16, 32, 64])
        ('32', '<= 16 (end of the axis)')
    """
    known = list(points)
    if min(known) < best < max(known):
        return f"{best:g}"
    return f"{'<=' if best == min(known) else '>='} {best:g} (end of the axis)"


def _share(interval: Interval) -> str:
    low, high = max(0.0, interval.low), min(1.0, interval.high)
    return f"{100 * interval.mean:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def with_one_setting(findings: Findings) -> TextTable | None:
    """Return the table of the third ruleset, the fastest first; None if it was not measured."""
    if not findings.one_setting:
        return None
    tasks = [r.variant.label for r in findings.tasks if r.variant.label in _credited(findings)]
    ordered = sorted(
        findings.one_setting, key=lambda row: -row.speed.mean if row.speed else math.inf
    )
    rows = [
        (
            row.recipe,
            ratio(row.speed),
            f"{row.arrived[0]} of {row.arrived[1]}",
            *(_mean_credit(row.credits.get(task, ())) for task in tasks),
            ", ".join(f"{name} {value(x)}" for name, x in row.setting or ()) or "none",
        )
        for row in ordered
    ]
    return TextTable(
        f"One setting for all tasks: how many times sooner than the whole budget the validation "
        f"loss is reached that {findings.baseline}, tuned for each task, ends with; geometric mean "
        f"with its 95 % interval, credit of a run at most {CAP:g}, and {1 / CAP:g} for a miss",
        ("<optimizer", "speed", "arrive", *tasks, "<setting"),
        tuple(rows),
    )


def _credited(findings: Findings) -> set[str]:
    return {task for row in findings.one_setting for task in row.credits}


def _mean_credit(logs: Sequence[float]) -> str:
    return f"{math.exp(sum(logs) / len(logs)):.2f}" if logs else "-"


def studies(scores: Scores) -> TextTable:
    """Return the table of the second ruleset."""
    tasks = sorted({task for by_task in scores.times.values() for task in by_task})
    shown = duration if scores.unit == "seconds" else value
    rows = [
        (
            name,
            f"{scores.scores[name]:.3f}",
            *(shown(by_task.get(task, math.inf)) for task in tasks),
        )
        for name, by_task in sorted(scores.times.items(), key=lambda item: -scores.scores[item[0]])
    ]
    return TextTable(
        f"Time to target in {scores.unit}, median over studies of the best of five trials; "
        "score: area under the performance profile up to 4 times the fastest",
        ("<optimizer", "score", *tasks),
        tuple(rows),
    )
