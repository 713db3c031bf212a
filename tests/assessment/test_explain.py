"""What explains a gain: one thing tuned of AdamW, measured on the seeds of the table."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optforge.api.explanation import ExplanationResult
from optforge.assessment.explain import (
    Explanation,
    explain,
    explain_shipped,
)
from optforge.assessment.rows import ADAMW, FOUND, STRAIGHT
from optforge.assessment.table import Row, Table
from optforge.evolution.plan import SearchPlan
from optforge.execution import InlineExecutor
from optforge.fitness import Evaluator, Measure, seeds
from optforge.report.search.explanation import (
    explanation_json,
    explanation_markdown,
    explanation_verdict,
)
from optforge.runs import Journal
from optforge.statistics import mean_interval_over_tasks, paired_interval
from optforge.tasks import Schedule
from optforge.training import Stack, Trainee, train_population, trainee
from optforge.tuning import THINGS, Effort, thing
from optforge.tuning.optimizers import adamw
from tests.helpers.searches import ADAMW as SETTING
from tests.helpers.searches import small, tiny_plan
from tests.helpers.tiny import Blobs, Sums
from tests.helpers.training import trainer_on

MODULE = sys.modules[explain.__module__]
TASKS = (Blobs(), Sums())
TRIALS, REPEATS = 10, 6
STACKS = {task.name: Stack(task) for task in TASKS}
# What the search trains its candidates under; the plain AdamW must not profit from it.
SHAPE = Schedule(0.05, 0.3, 0.3)
PLAIN = Trainee(adamw(SETTING | {"lr": 0.01}), Schedule())
SCHEDULED = Trainee(adamw(SETTING | {"lr": 0.02}), SHAPE)


class Recording(InlineExecutor):
    """Remembers what was asked of an evaluator that has a schedule of its own."""

    def __init__(self) -> None:
        shapes = dict.fromkeys(STACKS, SHAPE)
        super().__init__(lambda: Evaluator(TASKS, schedules=shapes))
        self.asked: list[Measure] = []

    def submit(self, key: int, job: Any) -> None:
        self.asked.append(job)
        super().submit(key, job)


def measured(one: Trainee) -> dict[str, np.ndarray]:
    """Log test losses on the seeds of the report."""
    return {
        name: train_population(stack, [one], seeds(0, name, "report", REPEATS), split="test")
        .losses.log()[0]
        .numpy()
        for name, stack in STACKS.items()
    }


def a_table(rows: dict[str, dict[str, np.ndarray]]) -> Table:
    """A table from log losses; the first is the reference."""
    reference = next(iter(rows.values()))

    def row(name: str, logs: dict[str, np.ndarray]) -> Row:
        differences = {task: logs[task] - reference[task] for task in logs}
        tasks = {task: paired_interval(values) for task, values in differences.items()}
        of = {task: tuple(values.tolist()) for task, values in logs.items()}
        return Row(name, tasks, mean_interval_over_tasks(list(differences.values())), 8.0, 0.1,
                   "", of)  # fmt: skip

    return Table(tuple(row(*one) for one in rows.items()), tuple(STACKS), (), REPEATS)


@pytest.fixture(scope="module")
def plan() -> SearchPlan:
    made = tiny_plan(small(repeats=1, rescore_repeats=1), TASKS)
    return replace(made, schedules=dict.fromkeys(STACKS, SHAPE))


@pytest.fixture(scope="module")
def explained(
    plan: SearchPlan, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Explanation, Recording, Table]]:
    """The rule of this table is AdamW with another schedule, called a discovery."""
    table = a_table({ADAMW: measured(PLAIN), FOUND: measured(SCHEDULED), STRAIGHT: measured(PLAIN)})
    executor = Recording()
    path = tmp_path_factory.mktemp("explain") / "journal"
    with Journal.create(path, {}) as journal:
        trainer = trainer_on(executor, journal, plan.settings.seed)
        yield explain(plan, table, trainer, Effort(TRIALS, final_seeds=3)), executor, table


Found = tuple[Explanation, Recording, Table]


def test_an_adamw_whose_schedule_is_all_there_is_is_said_to_be_explained(explained: Found) -> None:
    found, _, table = explained
    assert found.whole == table.difference(FOUND, ADAMW) and found.whole.high < 0, "it does gain"
    assert found.straight == table.difference(STRAIGHT, ADAMW)
    assert explanation_verdict(found).startswith("The gain is explained by AdamW with ")
    rows = {row.name: row for row in found.rows}
    assert list(rows) == list(THINGS) and found.kept <= 0.3
    for name in ("schedule", "all of these"):
        assert rows[name].left.mean > found.whole.mean / 2, "most of it, by the schedule alone"
    assert rows["rate"].gain.mean == rows["rate"].gain.high == 0.0


def test_every_row_is_recomputed_and_paired_with_the_table(explained: Found) -> None:
    """Each task its own setting; what has no tuned schedule has the plain one."""
    found, _, table = explained
    logs = {
        row.name: {
            task: train_population(
                STACKS[task], [one], seeds(0, task, "report", REPEATS), split="test"
            )
            .losses.log()[0]
            .numpy()
            for task, one in row.trainees.items()
        }
        for row in found.rows
    }
    rule = {task: np.array(values) for task, values in table.row(FOUND).logs.items()}
    for row in found.rows:
        own = logs[row.name]
        gain = mean_interval_over_tasks([own[task] - logs["rate"][task] for task in own])
        left = mean_interval_over_tasks([rule[task] - own[task] for task in own])
        for ours, theirs in ((row.gain, gain), (row.left, left)):
            assert (ours.mean, ours.low, ours.high) == pytest.approx(
                (theirs.mean, theirs.low, theirs.high), abs=1e-4
            )
        tuned = "decay_power" in THINGS[row.name].names
        assert all((one.schedule == Schedule()) != tuned for one in row.trainees.values())
        averaged = "one_minus_average" in THINGS[row.name].names
        assert all((one.average > 0) == averaged for one in row.trainees.values())


def test_each_thing_has_the_same_number_of_trials_on_other_seeds_than_the_table(
    explained: Found,
) -> None:
    found, executor, _ = explained
    assert (found.trials, found.repeats) == (TRIALS, REPEATS)
    for task in STACKS:
        chosen = seeds(0, task, "fit, tune", 1)
        jobs = [job for job in executor.asked if (job.task, job.seeds) == (task, chosen)]
        trained = sum(len(job.programs) for job in jobs)
        # What two of them draw alike is trained once.
        assert len(THINGS) * (TRIALS - 1) < trained <= len(THINGS) * TRIALS
        shapes = Counter(trainee(one).schedule for job in jobs for one in job.programs)
        # Of nine things the schedule is in two; one more is the plain one, tried first of all. What
        # is left out was drawn alike by two things that have the plain schedule.
        twice = len(THINGS) * TRIALS - trained
        assert shapes[Schedule()] == (len(THINGS) - 2) * TRIALS + 1 - twice
        assert {job.split for job in jobs} == {"validation"}
        tested = [job for job in executor.asked if job.task == task and job.split == "test"]
        used = {seed for job in tested for seed in job.seeds}
        assert used == set(seeds(0, task, "report", REPEATS))


def test_in_a_notebook_an_explanation_shows_its_sentences_and_its_table(explained: Found) -> None:
    shown = ExplanationResult(**vars(explained[0]))
    assert shown.rows == explained[0].rows
    html = shown._repr_html_()
    assert f"<p>{escape(explanation_verdict(shown))}</p>" in html
    assert html.count("<tr>") == 1 + len(shown.rows) >= 1 + len(THINGS)


def test_an_explanation_prints_in_a_line_and_has_a_frame(explained: Found) -> None:
    result = ExplanationResult(**vars(explained[0]))
    assert explanation_verdict(result) in repr(result) and "\n" not in repr(result)
    assert result.best.left.mean == max(row.left.mean for row in result.rows)
    pytest.importorskip("pandas")
    frame = result.to_frame()
    assert list(frame["tuned"]) == [row.name for row in result.rows]
    assert list(frame["left_low"]) == [row.left.low for row in result.rows]
    assert len(result.table.rows) == len(frame)


def test_a_gain_that_nothing_reaches_is_not_explained(explained: Found) -> None:
    found, _, table = explained
    nearest = max(found.rows, key=lambda row: row.left.mean)
    far = [replace(row, left=paired_interval([-0.5, -0.51, -0.49])) for row in found.rows]
    far[3] = replace(far[3], left=paired_interval([-0.2, -0.21, -0.19]))
    whole = paired_interval([-0.4, -0.41, -0.39])
    other = replace(found, rows=tuple(far), whole=whole)
    text = explanation_verdict(other)
    assert text.startswith("Nothing of these explains the gain: the nearest, bias correction,")
    assert "50 % of the gain" in text and other.kept == pytest.approx(0.5)
    level = replace(found, whole=paired_interval([-0.4, 0.41, 0.1]))
    assert explanation_verdict(level) == f"There is no gain over {ADAMW} to explain."
    assert nearest.name in explanation_verdict(found)
    lost = replace(found, whole=paired_interval([0.4, 0.41, 0.39]))
    assert explanation_json(lost)["share_kept"] is None, "JSON has no word for it"


def test_files_hold_every_row_with_its_interval(explained: Found) -> None:
    found, _, _ = explained
    stored = json.loads(json.dumps(explanation_json(found), allow_nan=False))
    assert [row["tuned"] for row in stored["rows"]] == list(THINGS)
    assert stored["rows"][0]["rules"]["Blobs"]["schedule"] == vars(Schedule())
    assert (stored["trials"], stored["repeats"]) == (TRIALS, REPEATS)
    text = explanation_markdown(found)
    for part in (*(f"| {name} |" for name in THINGS), "straightened", explanation_verdict(found)):
        assert part in text


def test_shipped_settings_are_measured_and_nothing_is_tuned(
    plan: SearchPlan, explained: Found, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All or none: with one thing missing, or other data, the settings are of no use."""
    _, _, table = explained
    given = {"lr": 0.02, "weight_decay": 0.1, "beta1": 0.9, "beta2": 0.99, "bias_correction": 1.0,
             "clip": 1.0, "eps": 1e-3, "average": 0.5, "warmup": 0.2, "decay_power": 0.5,
             "final_lr": 0.1}  # fmt: skip
    things: dict[str, Any] = {
        name: {
            "parameters": {
                n: given[n] for n in (k.replace("one_minus_", "") for k in thing(name).space.names)
            },
            "loss": 0.0,
            "trials": 9,
        }
        for name in THINGS
    }
    content = {
        "tasks": {task.name: {"hash": task.hash} for task in TASKS},
        "things": {task.name: dict(things) for task in TASKS},
    }
    monkeypatch.setattr(MODULE, "stored", lambda: content)
    executor = Recording()
    with Journal.create(tmp_path / "journal", {}) as journal:
        trainer = trainer_on(executor, journal, plan.settings.seed)
        found = explain_shipped(plan, table, trainer)
        assert found is not None and found.trials == 9
        assert {job.split for job in executor.asked} == {"test"}
        for row in found.rows:
            one = thing(row.name).build(things[row.name]["parameters"])
            assert row.trainees == dict.fromkeys(STACKS, one)
        del content["things"]["Sums"]["schedule"]
        assert explain_shipped(plan, table, trainer) is None
        content["things"]["Sums"] = dict(things)
        content["tasks"]["Sums"]["hash"] = "another"
        assert explain_shipped(plan, table, trainer) is None
        content.pop("things")
        assert explain_shipped(plan, table, trainer) is None
