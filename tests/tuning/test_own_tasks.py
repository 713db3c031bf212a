"""Baselines of own tasks start at once, end in time, and are never trained twice."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

import optforge
from optforge.errors import StoppedError
from optforge.jobs import Store
from optforge.tasks import Task
from optforge.tuning import PLAIN_SHAPE, Baseline, BaselineTuner, Effort, losses_by
from optforge.tuning.optimizers import USUAL, trainee_of
from optforge.tuning.own_tasks import seconds_of_training
from tests.helpers.tiny import Blobs, Sums

FIRST = BaselineTuner(trials=6)


def tuned(tuner: BaselineTuner, tasks: Sequence[Task]) -> tuple[dict[str, Baseline], int]:
    """The baselines, and how many trainings they took."""
    with tuner.trainer(tasks) as trainer:
        return tuner.tune(trainer)[0], trainer.trained


def after(calls: int) -> Callable[[], bool]:
    """A stop that is asked for after so many looks."""
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > calls

    return stop


def test_a_second_start_and_another_search_train_nothing_again(tmp_path: Path) -> None:
    tuner = replace(FIRST, file=tmp_path / "losses")
    first, trained = tuned(tuner, [Blobs(), Sums()])
    assert set(first) == {"Blobs", "Sums"} and trained > 100
    assert tuned(tuner, [Blobs(), Sums()]) == (first, 0)
    assert tuned(tuner, [Sums()]) == ({"Sums": first["Sums"]}, 0), "of a search on one of them"


def test_a_few_trials_end_no_worse_than_what_is_usual(tmp_path: Path) -> None:
    """Torch's defaults with the plain schedule, on the seeds that the best is chosen by."""
    tuner = BaselineTuner(trials=4, file=tmp_path / "losses")
    with tuner.trainer([Blobs()]) as trainer:
        best, effort = tuner.tune(trainer)
        usual = trainee_of("adamw", {**USUAL["adamw"], **dict(PLAIN_SHAPE)})
        logs = losses_by(trainer)({"Blobs": [usual]}, "tune again", effort.final_seeds)
    assert best["Blobs"].loss <= logs["Blobs"].mean() + 1e-9


def test_a_stop_loses_nothing_and_the_next_start_goes_on(tmp_path: Path) -> None:
    whole, total = tuned(replace(FIRST, file=tmp_path / "whole"), [Blobs()])
    stopped = replace(FIRST, file=tmp_path / "stopped", stop=after(5))
    with pytest.raises(StoppedError), stopped.trainer([Blobs()]) as trainer:
        stopped.tune(trainer)
    assert 0 < trainer.trained < total
    rest, trained = tuned(replace(stopped, stop=lambda: False), [Blobs()])
    assert rest == whole and trainer.trained + trained == total


def test_progress_ends_at_its_total_where_known_settings_are_further_finalists(
    tmp_path: Path,
) -> None:
    shown: list[tuple[int, int]] = []
    watch = replace(
        BaselineTuner(trials=16, file=tmp_path / "losses"),
        watch=lambda what, done, total, left: shown.append((done, total)),
    )
    tuned(watch, [Blobs()])
    assert all(done <= total for done, total in shown) and shown[-1][0] == shown[-1][1]


@pytest.mark.slow
def test_workers_change_nothing(tmp_path: Path) -> None:
    alone, _ = tuned(replace(FIRST, file=tmp_path / "alone"), [Blobs()])
    on_two, _ = tuned(replace(FIRST, file=tmp_path / "two", workers=2), [Blobs()])
    assert on_two == alone


@pytest.mark.parametrize(
    ("minutes", "workers", "trials"), [(0.1, 1, 4), (1.0, 1, 16), (1.0, 2, 32), (math.inf, 1, 256)]
)
def test_as_many_trials_are_made_as_fit_a_fifth_of_the_minutes(
    minutes: float, workers: int, trials: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 0.3 seconds a training, 12 seconds of one worker are 40 trainings."""
    monkeypatch.setattr("optforge.tuning.own_tasks.seconds_of_training", lambda *task: 0.3)
    tuner = BaselineTuner(minutes=minutes, workers=workers)
    effort = tuner.effort([Blobs()], Store(None, compiled=False))
    assert effort == Effort.of(trials)
    assert trials == 4 or 0.3 * effort.expected_runs <= 12 * minutes * workers


@pytest.mark.parametrize(
    ("minutes", "size"),
    [(1.0, 16), (2.0, 32), (0.1, 4), (0.4, 8), (4.0, 64), (math.inf, 64), (None, 64)],
)
def test_a_batch_of_slow_candidates_is_small(
    minutes: float | None, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 0.3 seconds a training, a tenth of a minute trains 20 candidates once."""
    monkeypatch.setattr("optforge.tuning.own_tasks.seconds_of_training", lambda *task: 0.3)
    tuner, store = BaselineTuner(minutes=minutes), Store(None, compiled=False)
    assert tuner.batch([Blobs()], store, 64) == size
    assert tuner.batch([], store, 64) == 64, "shipped tasks are known to be fast"


def test_the_number_of_trials_is_the_same_at_the_next_start_however_busy_the_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tuner = BaselineTuner(minutes=1.0)
    first = tuner.effort([Blobs()], Store(tmp_path / "losses", compiled=False))
    monkeypatch.setattr("optforge.tuning.own_tasks.seconds_of_training", lambda *task: 1e9)
    assert tuner.effort([Blobs()], Store(tmp_path / "losses", compiled=False)) == first


def test_a_budget_of_programs_never_depends_on_the_machine() -> None:
    effort = BaselineTuner().effort([Blobs()], Store(None, compiled=False))
    assert effort == Effort.of(64) and not effort.is_light and Effort.of(32).is_light


def test_without_own_tasks_nothing_is_trained_and_all_is_tuned_in_full() -> None:
    tuner = BaselineTuner(minutes=0.1, workers=2)
    with tuner.trainer([]) as trainer:
        assert tuner.tune(trainer) == ({}, Effort()) and trainer.trained == 0


def test_the_length_of_a_training_is_told_from_its_first_steps() -> None:
    """A tenth of them; where there is a single step, from the whole training."""
    calls = 0

    class Counting(Blobs):
        steps = 200

        def loss(self, output: Tensor, targets: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            return super().loss(output, targets)

    class Single(Blobs):
        steps = 1

    assert seconds_of_training(Counting()) > 0 and 0 < calls < 50
    assert seconds_of_training(Single()) > 0


def test_progress_counts_all_trainings_and_tells_the_time_left(tmp_path: Path) -> None:
    shown: list[tuple[int, int, float | None]] = []
    watch = replace(FIRST, file=tmp_path / "losses", watch=lambda what, *rest: shown.append(rest))
    tuned(watch, [Blobs(), Sums()])
    done = [row[0] for row in shown]
    assert done == sorted(done) and done[-1] == shown[-1][1] == 2 * Effort(6).runs
    assert all(left is not None and left >= 0 for _, _, left in shown[1:])
    assert len(set(done)) > 10, "not only at the end of each round"


def test_a_search_on_an_own_task_stops_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table says what few trials are worth; the effort is stored with the run."""
    monkeypatch.setenv("OPTFORGE_CACHE", str(tmp_path / "cache"))
    options: dict[str, Any] = {
        "programs": 60, "workers": 0, "population": 20, "held_out": (), "trials": 4,
        "compile": False, "fresh_seeds": 3,
    }  # fmt: skip
    with pytest.raises(StoppedError):
        optforge.search([Blobs()], out=tmp_path / "run", stop=after(5), **options)
    assert not (tmp_path / "run").exists()
    kept = (tmp_path / "cache" / "tuning" / "losses-2").read_text().splitlines()
    result = optforge.search([Blobs()], out=tmp_path / "run", simplify=False, **options)
    after_all = (tmp_path / "cache" / "tuning" / "losses-2").read_text().splitlines()
    assert kept and after_all[: len(kept)] == kept and len(set(after_all)) == len(after_all)
    assert result.table.rows[0].title == "lightly tuned AdamW"
    page = (tmp_path / "run" / "table.md").read_text(encoding="utf-8")
    assert "| lightly tuned AdamW |" in page and "| tuned AdamW |" not in page
    with result.journal as journal:
        assert journal.settings["tuning"] == vars(Effort(4, fresh_seeds=3))


def test_a_training_too_short_for_the_clock_gets_all_trials() -> None:
    tuner = BaselineTuner(minutes=1.0, workers=1)
    assert tuner.fitting(0.0).trials == tuner.fitting(1e-12).trials == 256
