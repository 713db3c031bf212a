"""Means over tasks against SciPy, and where none is made."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from optforge.comparison import CellResult, Findings, load_recipe, mean_pairs, vary
from optforge.comparison.result import TaskResult, TunedSetting
from optforge.report.comparison.tables import means
from tests.helpers.tiny import Blobs, Sums

SPACE = load_recipe("adamw").space
TASKS = (Blobs, Sums)


def runs(losses: np.ndarray) -> tuple[CellResult, ...]:
    return tuple(CellResult(loss=float(x), test_loss=float(x), test_metric=0.0) for x in losses)


def findings(*tasks: dict[str, tuple[CellResult, ...]]) -> Findings:
    results = [
        TaskResult(
            vary(kind(), {}),
            {name: TunedSetting(name, SPACE, (), (), (("lr", 0.1),), finals=of)
             for name, of in finals.items()},
        )
        for kind, finals in zip(TASKS, tasks, strict=False)
    ]  # fmt: skip
    return Findings(tuple(results), "a")


def drawn(seed: int = 0, shift: float = -0.4) -> tuple[Findings, list[np.ndarray]]:
    """Two tasks of other noise, and the log differences on them."""
    generator = np.random.default_rng(seed)
    tasks, differences = [], []
    for noise in (0.1, 0.4):
        base = np.exp(generator.normal(size=12))
        change = generator.normal(shift, noise, size=12)
        tasks.append({"a": runs(base), "b": runs(base * np.exp(change))})
        differences.append(change)
    return findings(*tasks), differences


def test_the_mean_is_of_tasks_not_of_seeds() -> None:
    """The difference from zero is Welch's test of one task against the negative of the other."""
    made, (first, second) = drawn()
    (pair,) = mean_pairs(made)
    theirs = stats.ttest_ind(first, -second, equal_var=False)
    low, high = theirs.confidence_interval(0.95)
    assert pair.test_loss.mean == pytest.approx((first.mean() + second.mean()) / 2)
    assert (pair.test_loss.low, pair.test_loss.high) == pytest.approx((low / 2, high / 2))
    assert pair.adjusted == pytest.approx(theirs.pvalue) and pair.least_seeds == 12
    assert pair.verdict == "better" and pair.tasks == ("Blobs", "Sums")
    table = means(made)
    assert table is not None and table.rows[0][0] == "b" and table.rows[0][-1] == "better"


def test_p_values_are_corrected_over_the_optimizers() -> None:
    made, _ = drawn()
    other, _ = drawn(1, 0.0)
    both = [
        replace(mine, tuned={**mine.tuned, "c": theirs.tuned["b"]})
        for mine, theirs in zip(made.tasks, other.tasks, strict=True)
    ]
    b, c = mean_pairs(Findings(tuple(both), "a"))
    assert b.adjusted == pytest.approx(min(1.0, 2 * b.test_loss.p_value))
    assert (b.recipe, c.recipe) == ("b", "c") and c.adjusted >= b.adjusted


def test_no_mean_is_made_where_it_would_say_nothing() -> None:
    made, _ = drawn()
    assert mean_pairs(Findings(made.tasks[:1], "a")) == [], "a single task"
    sizes = [vary(Blobs(), {"batch_size": size}) for size in (4, 8)]
    swept = [replace(made.tasks[0], variant=size) for size in sizes]
    assert mean_pairs(Findings(tuple(swept), "a")) == [], "variants of a task"
    partly = replace(made.tasks[1], tuned={"a": made.tasks[1].tuned["a"]})
    assert mean_pairs(Findings((made.tasks[0], partly), "a")) == [], "one task is missing"


def test_a_run_that_diverged_claims_nothing_in_the_mean() -> None:
    made, _ = drawn()
    broken = made.tasks[1].tuned["b"]
    finals = (replace(broken.finals[0], diverged=True), *broken.finals[1:])
    tuned = {**made.tasks[1].tuned, "b": replace(broken, finals=finals)}
    (pair,) = mean_pairs(Findings((made.tasks[0], replace(made.tasks[1], tuned=tuned)), "a"))
    assert pair.test_loss.mean == math.inf and pair.verdict == "undecided"


def test_steps_to_the_end_are_the_geometric_mean_over_tasks_and_all_must_arrive() -> None:
    def run(*losses: float) -> CellResult:
        curve = tuple((10 * n, loss, 0.5, 0.1) for n, loss in enumerate(losses, 1))
        return CellResult(loss=losses[-1], test_loss=1.0, curve=curve, steps=40)

    base = (run(0.9, 0.8, 0.7, 0.6), run(0.9, 0.8, 0.7, 0.6))
    half, same = (run(0.8, 0.6, 0.5, 0.4),) * 2, (run(0.9, 0.8, 0.7, 0.5),) * 2
    (pair,) = mean_pairs(findings({"a": base, "b": half}, {"a": base, "b": same}))
    assert pair.final_steps is not None
    assert math.exp(pair.final_steps.mean) == pytest.approx((20 / 40 * 40 / 40) ** 0.5)
    late = (half[0], run(0.9, 0.9, 0.9, 0.9))
    (pair,) = mean_pairs(findings({"a": base, "b": late}, {"a": base, "b": same}))
    assert pair.final_steps is None, "those that arrive are a selection"
