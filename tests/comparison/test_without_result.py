"""Runs without a result count in no figure; what is told of axes and maps beside."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from optforge.comparison import CellResult, Findings, load_recipe, map_pairs, optima, vary
from optforge.comparison.figures.analysis import best_so_far
from optforge.comparison.figures.measured_pairs import good_shares
from optforge.comparison.figures.pairs import pair
from optforge.comparison.figures.time_to_target import score_findings
from optforge.comparison.result import TaskResult, Trial, TunedSetting
from optforge.tasks import Task
from tests.helpers.tiny import Blobs, Sums

SPACE = load_recipe("adamw").space
DEAD = CellResult(failed="no answer within 600 s")


def ended(loss: float) -> CellResult:
    lost = math.isnan(loss)
    return CellResult(loss=loss, test_loss=loss, metric=0.9, test_metric=0.9, diverged=lost)


def tuned(name: str, finals: list[CellResult]) -> TunedSetting:
    return TunedSetting(name, SPACE, (), (), (("lr", 0.1),), finals=tuple(finals))


def along(
    table: list[list[CellResult]], points: list[float], task: Task | None = None,
    axis: str = "batch_size",
) -> Findings:  # fmt: skip
    results = (
        TaskResult(vary(task or Blobs(), {axis: point}), {"a": tuned("a", row)})
        for point, row in zip(points, table, strict=True)
    )
    return Findings(tuple(results), "a")


def random_runs(seed: int, points: int = 3, seeds: int = 6) -> list[list[CellResult]]:
    losses = np.exp(np.random.default_rng(seed).normal(size=(points, seeds)))
    return [[ended(x) for x in row] for row in losses]


def test_the_seed_of_a_dead_run_is_left_out_at_every_point_of_an_axis() -> None:
    table = random_runs(1)
    without = [row[:2] + row[3:] for row in table]
    table[1][2] = DEAD
    (told,), (expected,) = (optima(along(t, [8, 16, 32])) for t in (table, without))
    assert told == expected and told.seeds == 5


def test_without_a_whole_seed_there_is_no_optimum() -> None:
    assert optima(along([[DEAD]] * 3, [8, 16, 32])) == []


def test_an_optimum_names_its_task_and_tells_whether_it_is_at_an_end() -> None:
    rows = [[ended(x)] * 2 for x in (1.0, 2.0, 3.0)]
    parts = [
        along(rows, [8, 16, 32]),
        along([rows[1], rows[0], rows[2]], [8, 16, 32], Sums()),
    ]
    told = optima(Findings(tuple(t for part in parts for t in part.tasks), "a"))
    assert [(o.task, o.best, o.at_end) for o in told] == [("Blobs", 8, True), ("Sums", 16, False)]
    assert optima(along(rows, [8, 16, 32], axis="steps")) == []  # longer is better by itself


def maps(points: list[list[CellResult]]) -> tuple[Trial, ...]:
    return tuple(Trial((("lr", 0.1 * n),), tuple(row)) for n, row in enumerate(points, 1))


def test_maps_leave_out_the_seeds_of_dead_runs_in_pairs() -> None:
    one, other = random_runs(2, 4), random_runs(3, 4)
    without = [[row[1:4] + row[5:] for row in table] for table in (one, other)]
    base, own = (
        replace(tuned(n, []), heat_map=maps(t)) for n, t in zip("ab", without, strict=True)
    )
    expected = map_pairs(Findings((TaskResult(vary(Blobs(), {}), {"a": base, "b": own}),), "a"))
    one[1][0], other[3][4] = DEAD, DEAD
    base, own = replace(base, heat_map=maps(one)), replace(own, heat_map=maps(other))
    told = map_pairs(Findings((TaskResult(vary(Blobs(), {}), {"a": base, "b": own}),), "a"))
    assert [p.share.count for p in told] == [5, 5]
    assert told[1].difference == expected[1].difference
    assert np.isfinite([told[0].share.low, told[1].share.low]).all()


def test_a_map_of_dead_runs_is_not_shown_and_one_of_another_size_is_not_compared() -> None:
    base = replace(tuned("a", []), heat_map=maps(random_runs(4, 6)))
    own = replace(tuned("b", []), heat_map=maps(random_runs(5, 3)))
    dead = replace(tuned("c", []), heat_map=maps([[DEAD, DEAD]] * 3))
    result = TaskResult(vary(Blobs(), {}), {"a": base, "b": own, "c": dead})
    told = map_pairs(Findings((result,), "a"))
    assert [(p.recipe, p.points, p.difference) for p in told] == [("a", 6, None), ("b", 3, None)]
    assert np.isnan(good_shares(dead.heat_map)).all()
    without = TaskResult(vary(Blobs(), {}), {"a": tuned("a", [])})
    assert map_pairs(Findings((without,), "a")) == []


def test_dead_trials_are_no_worst_ones() -> None:
    trials = [Trial((), (ended(math.exp(x)),)) for x in (3.0, 1.0, 2.0)]
    dead = Trial((), (ended(0.1), DEAD))
    assert best_so_far([*trials, dead]) == pytest.approx(best_so_far(trials))


def test_a_diverged_run_has_a_worse_metric_not_a_better_one() -> None:
    runs = {"a": tuned("a", [ended(1.0)] * 2), "b": tuned("b", [ended(1.0), ended(math.nan)])}
    found = pair(TaskResult(vary(Blobs(), {}), runs), "b", "a")
    assert found.test_metric.mean == -math.inf and found.test_loss.mean == math.inf


def test_dead_trials_of_studies_are_no_misses() -> None:
    def arriving(step: int) -> CellResult:
        return CellResult(curve=((step, 0.1, 0.9, 0.01 * step),))

    def studied(name: str, *studies: list[CellResult]) -> TunedSetting:
        return replace(tuned(name, []), studies=tuple(map(tuple, studies)))

    good = studied("a", [arriving(10), DEAD], [arriving(20), arriving(30)])
    half = studied("b", [arriving(40), DEAD], [DEAD, DEAD])
    dead = studied("b", [DEAD, DEAD])
    one, two = vary(Blobs(), {}), vary(Sums(), {})
    results = (
        TaskResult(one, {"a": good, "b": half}, target=0.5),
        TaskResult(two, {"a": good, "b": dead}, target=0.5),
    )
    told = score_findings(Findings(results, "a"), "steps")
    assert told is not None
    assert told.times == {"a": {"Blobs": 15.0}, "b": {"Blobs": 40.0}}
    assert score_findings(Findings(results[1:], "a")) is None
