"""What a plan takes from how long a training takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from optforge.api.search import _say_ahead
from optforge.evolution import make_plan
from optforge.evolution.plan import SearchPlan
from optforge.evolution.session import make_trainer
from optforge.execution import InlineExecutor
from optforge.jobs import JobRunner, Silent
from optforge.language import FUNCTION_SETS, load_rule, parse
from optforge.runs import RunDirectory
from optforge.tasks import PROXY_TASKS, load_task
from optforge.tuning import BaselineTuner
from tests.helpers.searches import small
from tests.helpers.tiny import Blobs


@pytest.mark.parametrize(("seconds", "size", "constants"), [(0.3, 16, 10), (1e-3, 64, 40)])
def test_slow_candidates_mean_small_batches_jobs_and_a_short_first_phase(
    seconds: float, size: int, constants: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 0.3 seconds a training, a tenth of a minute trains 20 candidates once."""
    monkeypatch.setattr("optforge.tuning.own_tasks.seconds_of_training", lambda *task: seconds)
    task = Blobs()
    settings = small(tasks=("Blobs",), hashes=(task.hash,), batch=64, constants_programs=40)
    tuner = BaselineTuner(trials=4, minutes=1.0, file=tmp_path / "losses")
    plan = make_plan(settings, (task,), (), lambda text: None, tuner)
    assert (plan.settings.batch, plan.settings.constants_programs) == (size, constants)
    with RunDirectory.create(tmp_path / "run", plan.stored()) as directory:
        runner = JobRunner(InlineExecutor(lambda: lambda job: None))
        trainer = make_trainer(plan, directory, runner)
    assert trainer.slow == ({"Blobs": size // 2} if seconds > 0.1 else {})
    assert trainer.programs_a_job == 16


def test_what_a_search_begins_with_has_no_function_of_matrices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An orthogonalized update is to be found: the tuned Muon is in the table, not at the start."""
    monkeypatch.setattr(
        "optforge.evolution.session._log_losses", lambda stack, rule, chosen: [0.0] * len(chosen)
    )
    tasks = tuple(load_task(name) for name in PROXY_TASKS)
    hashes = tuple(task.hash for task in tasks)
    settings = small(tasks=PROXY_TASKS, hashes=hashes, start=load_rule("adamw").text)
    tuner = BaselineTuner(file=tmp_path / "losses")
    made = make_plan(settings, tasks, (), lambda text: None, tuner)
    assert all("muon" in tuned for tuned in made.baselines.values())
    begun = [parse(text) for text in (made.settings.start, *made.settings.suggestions)]
    assert len(begun) == 1 + len(tasks) + 2, "tuned for each task, for all, and by constants alone"
    used = {statement.function for program in begun for statement in program.statements}
    assert used <= set(FUNCTION_SETS["paper"])


def plan(**changes: Any) -> SearchPlan:
    task = load_task("digits_mlp")
    settings = small(tasks=(task.name,), hashes=(task.hash,), **changes)
    return SearchPlan(settings, (task,), (), {}, {})


def test_gradients_are_scaled_on_two_thirds_of_the_seeds_of_fitness() -> None:
    made = plan(gradient_spread=16.0)
    for task, scales in made.gradient_scales.items():
        for purpose, count in made.settings.fitness_seeds.items():
            found = [scales[seed] for seed in made.seeds(purpose, count)[task]]
            assert found == [(1.0, 1 / 16, 16.0)[place % 3] for place in range(count)]
    assert plan().gradient_scales == {}, "as earlier runs had it"


@pytest.mark.parametrize(
    ("lag", "programs", "told"),
    [(12, 4000, "12 batches 768 of 4,000"), (12, 7680, ""), (12, None, ""), (3, 10, "")],
)
def test_a_lag_that_costs_a_short_search_its_gain_is_told_of(
    lag: int, programs: int | None, told: str
) -> None:
    """Measured in docs/cluster.md; the default lag of two workers is never told of."""
    sentences: list[str] = []

    class Display(Silent):
        def say(self, text: str) -> None:
            sentences.append(text)

    _say_ahead(small(lag=lag, batch=64), programs, Display())
    assert len(sentences) == bool(told) and all(told in text for text in sentences)
    assert all("fewer than 7,680" in text for text in sentences)
