"""The result of a comparison: settings, pairs, tables and the report."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optforge.comparison import (
    Comparison,
    Findings,
    MeanPair,
    Pair,
    Summary,
    compare_pairs,
    mean_pairs,
    summaries,
)
from optforge.errors import CompareError
from optforge.report.comparison.page import to_markdown
from optforge.report.comparison.tables import verdicts
from optforge.report.frame import interval_columns, to_frame

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True, repr=False)
class ComparisonResult:
    """Result of a comparison. It prints as the main table of its report.

    Args:
        comparison: The comparison.
        findings: Trials, choices and final runs.
        sessions: Machines and versions.
        path: The directory, or None.
        stopped: Whether it was stopped before the end.

    Example:
        >>> from optforge import compare
        >>> few = dict(trials=2, seeds=2, finalists=1, again=0, extensions=0, fixed={"steps": 10})
        >>> result = compare(["digits_mlp"], ["adamw", "lion"], workers=0, **few)
        >>> sorted(result.best_params("lion", "digits_mlp"))
        ['beta1', 'beta2', 'lr', 'weight_decay']
        >>> [(row["optimizer"], row["verdict"]) for row in result.table]
        [('adamw', 'baseline'), ('lion', 'too few seeds')]
        >>> result.best["digits_mlp"] in ("adamw", "lion")
        True
    """

    comparison: Comparison
    findings: Findings
    sessions: tuple[Mapping[str, Any], ...]
    path: Path | None
    stopped: bool

    @property
    def found(self) -> Findings:
        """The former name of :attr:`findings`; deprecated."""
        warnings.warn("result.found is deprecated; use result.findings", DeprecationWarning, 2)
        return self.findings

    @property
    def pairs(self) -> list[Pair]:
        """Each optimizer against the baseline on each task, with intervals and p-values."""
        return compare_pairs(self.findings)

    @property
    def means(self) -> list[MeanPair]:
        """Each optimizer against the baseline in the mean over tasks; none for a single task."""
        return mean_pairs(self.findings)

    @property
    def summaries(self) -> list[Summary]:
        """Each optimizer on each task, on its own."""
        return summaries(self.findings)

    @property
    def markdown(self) -> str:
        """The report as text."""
        return to_markdown(self.comparison, self.findings, self.sessions)

    @property
    def table(self) -> list[dict[str, Any]]:
        """One row for each optimizer on each task, as plain values.

        ``test_loss``, ``test_metric`` and ``validation_loss`` are means over the final runs, with
        95 % intervals in ``..._low`` and ``..._high``; ``log_ratio`` is that of the test loss to
        the baseline's, seed by seed, below 0 if the optimizer is better; ``p_value`` is adjusted by
        Holm's method; ``params_...`` is the chosen setting. Unknown values are None.
        """
        pairs = {(pair.task, pair.recipe): pair for pair in self.pairs}
        return [_row(s, pairs.get((s.task, s.recipe)), self.findings) for s in self.summaries]

    @property
    def best(self) -> dict[str, str]:
        """The optimizer with the lowest mean test loss on each task, by the task's label.

        Whether it is certainly better than the baseline is in the verdicts of :attr:`table`. A task
        on which no final run has finished is left out.
        """
        means: dict[str, dict[str, float]] = {}
        for row in self.summaries:
            if row.test_loss is not None:
                means.setdefault(row.task, {})[row.recipe] = row.test_loss.mean
        return {task: min(losses, key=losses.__getitem__) for task, losses in means.items()}

    def best_params(self, optimizer: str, task: str | None = None) -> dict[str, float]:
        """Return the setting chosen for an optimizer on a task.

        Args:
            optimizer: Its name in the tables.
            task: The label of the task; optional if there is only one.

        Returns:
            Hyperparameters by name, for example ``lr`` and ``weight_decay``.

        Raises:
            CompareError: If there is no such task or optimizer, or none of its trials had a result.
        """
        results = {result.variant.label: result for result in self.findings.tasks}
        if task is None and len(results) == 1:
            (task,) = results
        tuned = results[task].tuned if task in results else {}
        if task is None or optimizer not in tuned:
            what = f"optimizer {optimizer!r} on {task}" if tuned else f"task {task!r}"
            raise CompareError(
                f"no results of {what}; there are the tasks {', '.join(results) or '(none)'} with "
                f"the optimizers {', '.join(r.name for r in self.comparison.recipes)}"
            )
        if tuned[optimizer].best is None:
            raise CompareError(f"no trial of {optimizer} on {task} had a finite result")
        return dict(tuned[optimizer].best or ())

    def to_frame(self) -> DataFrame:
        """Return :attr:`table` as a pandas data frame; needs ``pip install 'optforge[pandas]'``.

        Raises:
            OptforgeError: If pandas is not installed.
        """
        return to_frame(self.table)

    def _repr_html_(self) -> str:
        """Return the main table for a notebook."""
        return verdicts(self.findings, self.summaries, self.pairs).html()

    def __repr__(self) -> str:
        end = ", stopped before its end" if self.stopped else ""
        table = verdicts(self.findings, self.summaries, self.pairs)
        return f"{type(self).__name__}{end}\n{table.title}\n\n{table.markdown()}"


def _row(summary: Summary, pair: Pair | None, findings: Findings) -> dict[str, Any]:
    names = ("test_loss", "test_metric", "validation_loss")
    is_baseline = summary.recipe == findings.baseline
    row: dict[str, Any] = {"task": summary.task, "optimizer": summary.recipe}
    for name in names:
        row |= interval_columns(name, getattr(summary, name))
    row |= interval_columns("log_ratio", pair.test_loss if pair else None)
    row["p_value"] = pair.adjusted if pair else None
    row["verdict"] = pair.verdict if pair else "baseline" if is_baseline else None
    counts = asdict(summary)
    row |= {
        name: counts[name]
        for name in ("trials", "runs", "diverged_runs", "failed_runs", "step_ms", "seconds")
    }
    return row | {f"params_{name}": value for name, value in summary.best or ()}
