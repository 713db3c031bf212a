"""The baselines are tuned as said, and the committed ones are what the file says they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from optforge.execution import InlineExecutor
from optforge.fitness import Evaluator, seeds
from optforge.jobs import JobRunner, Store, Trainer
from optforge.language import load_rule, parse
from optforge.tasks import HELD_OUT_TASK, PROXY_TASKS, Schedule, Task, load_task
from optforge.training import ProgramOrTrainee, Stack, Trainee, train_population
from optforge.tuning import (
    JOINT,
    OPTIMIZERS,
    THINGS,
    TRIALS,
    Effort,
    Space,
    Tuned,
    baseline_tunable,
    baselines,
    in_process,
    losses_by,
    shipped,
    shipped_control,
    shipped_jointly,
    stored,
    thing,
    trainee_from_json,
    trainee_json,
    tunable,
    tune_together,
)
from optforge.tuning.optimizers import adamw
from tests.helpers.tiny import Blobs, Sums

TASKS = (*PROXY_TASKS, HELD_OUT_TASK)


class Recording(InlineExecutor):
    """Remembers what was trained, on which seeds."""

    def __init__(self, *tasks: Task) -> None:
        super().__init__(lambda: Evaluator(tasks))
        self.trained: dict[int, list[ProgramOrTrainee]] = {}

    def submit(self, key: int, job: Any) -> None:
        assert job.split == "validation", "tuning looks at validation data alone"
        for seed in job.seeds:
            self.trained.setdefault(seed, []).extend(job.programs)
        super().submit(key, job)


def trainer(executor: Recording, *tasks: Task) -> Trainer:
    by_name = {task.name: task for task in tasks}
    return Trainer(JobRunner(executor), by_name, 0, Store(None, compiled=False))


def tuned(
    trainer: Trainer,
    tasks: Sequence[str],
    optimizer: str,
    effort: Effort,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> Tuned:
    """The best setting of an optimizer."""
    job = (baseline_tunable(optimizer), tasks)
    (best,) = tune_together([job], losses_by(trainer), effort, watch)
    return best


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_tuning_respects_its_trials_and_beats_the_default(optimizer: str) -> None:
    executor, done = Recording(Blobs()), []
    found = tuned(
        trainer(executor, Blobs()), ["Blobs"], optimizer, Effort(40), lambda *of: done.append(of)
    )
    first, again = seeds(0, "Blobs", "tune", 3), seeds(0, "Blobs", "tune again", 12)
    tried, finalists = executor.trained[first[0]], executor.trained[again[0]]
    assert found.trials == 40 and done == [(16, 40), (32, 40), (40, 40)]
    assert 38 <= len(tried) <= 40, "equal settings are trained once"
    candidate = baseline_tunable(optimizer)
    known = {candidate.build(setting) for setting in candidate.known}  # always measured again
    assert set(executor.trained) == {*first, *again} and known <= set(finalists)
    assert 11 <= len(set(finalists) - known) <= 12
    assert found.trainee in finalists and set(finalists) <= {*tried, *known}
    rules = [found.trainee, Trainee(load_rule(optimizer))]
    best, default = train_population(Stack(Blobs()), rules, again).losses.log().mean(1).tolist()
    assert best == pytest.approx(found.loss, rel=1e-3)
    assert best < default - 0.1


def test_tuning_is_reproducible() -> None:
    first, second = (tuned(in_process([Blobs()]), ["Blobs"], "adamw", Effort(20)) for _ in range(2))
    assert first == second


def test_a_single_trial_is_possible() -> None:
    assert tuned(in_process([Blobs()]), ["Blobs"], "lion", Effort(1)).trials == 1


def test_one_setting_for_several_tasks_is_the_best_of_their_mean() -> None:
    tasks, names = [Blobs(), Sums()], ["Blobs", "Sums"]
    found = tuned(in_process(tasks), names, "adamw", Effort(16))
    losses = losses_by(in_process(tasks))
    finals = losses(dict.fromkeys(names, [found.trainee]), "tune again", 12)
    mean = sum(float(values.mean()) for values in finals.values()) / 2
    assert mean == pytest.approx(found.loss, rel=1e-3)


def test_another_version_of_the_data_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = {"parameters": {"lr": 0.1}, "loss": -1.0, "trials": 9}
    both = {"tasks": ["Blobs"], "hashes": {"Blobs": Blobs().hash}, **entry}
    table = {
        "tasks": {"Blobs": {"hash": Blobs().hash, "lion": entry}},
        "joint": {"adamw": both},
    }
    monkeypatch.setattr(baselines, "stored", lambda: table)
    same, joint = shipped(Blobs(), "lion"), shipped_jointly([Blobs()], "adamw")
    for found in (same, joint):
        assert found is not None and (found.note, found.trials, found.loss) == ("", 9, -1.0)
    assert shipped(Blobs(), "adamw") is None and shipped_jointly([Blobs()], "muon") is None
    assert shipped_jointly([Blobs(), Sums()], "adamw") is None, "a setting of other tasks"

    class Longer(Blobs):
        name = "Blobs"
        steps = 21

    for other in (shipped(Longer(), "lion"), shipped_jointly([Longer()], "adamw")):
        assert other is not None and "another version" in other.note and "Blobs" in other.note


@pytest.mark.parametrize("schedule", [None, Schedule(0.2, 0.7, 0.1)])
def test_a_trainee_survives_the_file(schedule: Schedule | None) -> None:
    trainee = Trainee(load_rule("program_8"), schedule, 0.9)
    assert trainee_from_json(trainee_json(trainee)) == trainee


def check_setting(entry: Mapping[str, Any], space: Space) -> None:
    """A setting has every name of its space, and lies in it."""
    known = {d.name.removeprefix("one_minus_"): d for d in space.dimensions}
    assert set(known) == set(entry["parameters"]) and entry["trials"] == TRIALS
    for name, dimension in known.items():
        value = entry["parameters"][name]
        value = 1 - value if dimension.name.startswith("one_minus_") else value
        if not dimension.ordered:
            assert value in (dimension.low, dimension.high)
            continue
        slack = 1e-6 + 1e-5 * dimension.low
        assert dimension.low - slack <= value <= dimension.high * (1 + 1e-5) + 1e-6, name


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("task", TASKS)
def test_every_shipped_task_has_every_baseline_with_the_same_trials(
    task: str, optimizer: str
) -> None:
    check_setting(stored()["tasks"][task][optimizer], tunable(optimizer).space)


@pytest.mark.parametrize("optimizer", JOINT)
def test_one_setting_for_all_proxies_is_shipped_with_the_same_trials(optimizer: str) -> None:
    entry = stored()["joint"][optimizer]
    check_setting(entry, tunable(optimizer).space)
    assert entry["tasks"] == list(PROXY_TASKS) and set(entry["hashes"]) == set(PROXY_TASKS)


def test_a_setting_of_its_own_is_no_worse_than_one_for_all() -> None:
    tasks = stored()["tasks"]
    for optimizer in JOINT:
        mean = sum(tasks[task][optimizer]["loss"] for task in PROXY_TASKS) / len(PROXY_TASKS)
        assert mean < stored()["joint"][optimizer]["loss"] + 0.01


@pytest.mark.parametrize("name", THINGS)
@pytest.mark.parametrize("task", PROXY_TASKS)
def test_every_thing_that_anybody_may_tune_is_shipped(task: str, name: str) -> None:
    check_setting(stored()["things"][task][name], thing(name).space)


@pytest.mark.parametrize("task", PROXY_TASKS)
def test_all_things_together_are_no_worse_than_the_tuned_adamw(task: str) -> None:
    """For that is one of the settings that were tried first; it has no eps and no averaging."""
    everything = stored()["things"][task]["all of these"]
    assert everything["loss"] < stored()["tasks"][task]["adamw"]["loss"] + 0.01


def test_the_control_is_shipped_tuned_like_the_others() -> None:
    control = stored()["constants"]
    assert control["tasks"] == list(PROXY_TASKS) and set(control["hashes"]) == set(PROXY_TASKS)
    assert control["trials"] == TRIALS and set(control["tuned"]) >= set(TASKS)  # letters as well
    assert control["command"].startswith("optforge search --strategy constants")
    given = parse(control["program"])
    setting = {"lr": 0.01, "weight_decay": 0.1, "beta1": 0.9, "beta2": 0.99}
    forms = [adamw({**setting, "bias_correction": corrected}) for corrected in (0, 1)]
    assert [s.function for s in given.statements] in [
        [s.function for s in form.statements] for form in forms
    ]
    for trainee in map(trainee_from_json, (*control["tuned"].values(), control["joint"])):
        assert trainee.schedule is not None and trainee.average == 0.0
        assert len(trainee.program.statements) <= len(given.statements) + 1
    assert shipped_control([load_task(name) for name in PROXY_TASKS]) == control


SHIPPED = [("mnist_mlp", "adamw")] + [
    pytest.param(task, name, marks=pytest.mark.slow)
    for task in TASKS
    for name in OPTIMIZERS
    if (task, name) != ("mnist_mlp", "adamw")
]


@pytest.mark.parametrize(("task", "optimizer"), SHIPPED)
def test_a_shipped_loss_is_that_of_its_setting(task: str, optimizer: str) -> None:
    """Trained again on the seeds that chose it; on other data the loss is another."""
    found = shipped(load_task(task), optimizer)
    assert found is not None
    if found.note:
        pytest.skip(found.note)
    check_loss([load_task(task)], found.trainee, found.loss)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", JOINT)
def test_the_loss_of_one_setting_is_the_mean_over_the_proxies(optimizer: str) -> None:
    tasks = [load_task(name) for name in PROXY_TASKS]
    found = shipped_jointly(tasks, optimizer)
    assert found is not None
    if found.note:
        pytest.skip(found.note)
    check_loss(tasks, found.trainee, found.loss)


@pytest.mark.parametrize(
    "name", [pytest.param("averaged weights", marks=pytest.mark.slow), "all of these"]
)
def test_a_shipped_thing_is_adamw_with_its_setting(name: str) -> None:
    entry = stored()["things"]["mnist_mlp"][name]
    trainee = thing(name).build(tuple(entry["parameters"].items()))
    check_loss([load_task("mnist_mlp")], trainee, entry["loss"])


def check_loss(tasks: Sequence[Task], trainee: Trainee, loss: float) -> None:
    """The mean log loss on the seeds that settings were chosen by.

    It was measured with compiled kernels. Where a large rate makes training chaotic, their other
    rounding is at worst like other seeds.
    """
    losses = losses_by(in_process(tasks))
    logs = losses(dict.fromkeys([task.name for task in tasks], [trainee]), "tune again", 12)
    mean = sum(float(values.mean()) for values in logs.values()) / len(tasks)
    variance = sum(float(values.var(ddof=1)) / values.size for values in logs.values())
    assert mean == pytest.approx(loss, abs=0.01 + math.sqrt(variance) / len(tasks))
