"""Who stands in the table: all with the same number of trials, the control with its name."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from optforge.analysis import live_program
from optforge.assessment.contend import contenders
from optforge.assessment.rows import ADAMW, CONSTANTS, FOUND, LION, MUON, ONE_SETTING, STRAIGHT
from optforge.assessment.straighten import straightened
from optforge.assessment.table import Contender
from optforge.evolution.history import History
from optforge.evolution.plan import SearchPlan
from optforge.execution import InlineExecutor
from optforge.fitness import Measure, seeds
from optforge.language import Program, load_rule, parse, round_constants
from optforge.runs import Journal
from optforge.tasks import Schedule, Task, load_task
from optforge.training import Trainee, trainee
from optforge.tuning import OPTIMIZERS, Baseline, baselines, trainee_json, tunable
from tests.helpers import searches
from tests.helpers.searches import judged, small
from tests.helpers.tiny import Blobs, Sums, WithDropout
from tests.helpers.training import trainer_on

TASK = load_task("digits_mlp")
START, WINNER = load_rule("adamw"), live_program(load_rule("program_4"))
CONTROL = parse("def train(w, g, lr):\n    lr = lr * 0.5\n    u = g * lr\n    return u")
SHAPE = {"warmup": 0.25, "decay_power": 0.5, "final_lr": 0.125}
PLAIN = Schedule(0.1, 1.0, 0.0)
TRIALS = 7
SETTINGS = {
    "adamw": searches.ADAMW,
    "lion": searches.LION,
    "muon": {
        "lr": 0.02, "weight_decay": 0.1, "beta1": 0.9, "rest_beta1": 0.9, "rest_beta2": 0.99,
        "rest_share": 0.3,
    },
}  # fmt: skip


class Recording(InlineExecutor):
    """Measures out of thin air, whatever is trained, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(lambda: self.losses)
        self.asked: list[Measure] = []

    def losses(self, job: Any) -> list[list[float]]:
        self.asked.append(job)
        texts = [str(trainee_json(trainee(one))) + job.task for one in job.programs]
        values = [hashlib.sha256(text.encode()).digest()[0] / 256 + 0.5 for text in texts]
        return [[value for _ in job.seeds] for value in values]

    def trials(self, task: str) -> list[Trainee]:
        """What was tried on a task, each once for all its seeds."""
        first = seeds(0, task, "fit, tune", 1)
        return [trainee(one) for job in self.asked if job.seeds == first for one in job.programs]


def a_plan(
    tasks: tuple[Task, ...], held_out: tuple[Task, ...] = (),
    shipped: tuple[str, ...] = OPTIMIZERS, shape: dict[str, float] | None = None, **changes: Any,
) -> SearchPlan:  # fmt: skip
    """A plan whose baselines nobody tuned; those that are not shipped are missing."""
    names, hashes = tuple(t.name for t in tasks), tuple(t.hash for t in tasks)
    settings = small(**{"start": START.text, "tasks": names, "hashes": hashes, **changes})
    found = {
        name: Baseline(name, {**SETTINGS[name], **(shape or {})}, 0.0, TRIALS) for name in shipped
    }
    baselines = {task.name: found for task in (*tasks, *held_out)}
    own = found["adamw"].trainee.schedule
    schedules = {} if own is None else dict.fromkeys(baselines, own)
    return SearchPlan(settings, tasks, held_out, baselines, {}, schedules)


def contend(
    path: Path, made: SearchPlan, best: Program = START
) -> tuple[dict[str, Contender], list[str], Recording]:
    history, executor = History(made.settings, ()), Recording()
    history.phase = "structure"
    history.best = [judged(0.1, "f", best.text, "constants")]
    path.mkdir(exist_ok=True)
    with Journal.create(path / "journal", {}) as journal:
        rows, notes = contenders(
            made, history, WINNER, trainer_on(executor, journal, made.settings.seed)
        )
    assert [row.name for row in rows][0] == ADAMW and len({row.name for row in rows}) == len(rows)
    return {row.name: row for row in rows}, notes, executor


def commit(monkeypatch: pytest.MonkeyPatch, **entries: Any) -> None:
    """Ship these entries instead of those of the file."""
    content = {"tasks": {}, **{name: one for name, one in entries.items() if one is not None}}
    monkeypatch.setattr(baselines, "stored", lambda: content)


def committed(digits: str = TASK.hash, trials: int = TRIALS) -> dict[str, Any]:
    tuned = Trainee(CONTROL, Schedule(0.2, 2.0, 0.0))
    return {
        "tasks": [TASK.name], "hashes": {TASK.name: digits}, "program": CONTROL.text,
        "programs": 99, "trials": trials, "tuned": {TASK.name: trainee_json(tuned)},
        "joint": trainee_json(Trainee(CONTROL, Schedule(0.3))),
    }  # fmt: skip


def test_every_row_is_tuned_by_the_same_number_of_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(monkeypatch)
    made = a_plan((Blobs(), Sums()), (WithDropout(),))
    rows, notes, executor = contend(tmp_path, made)
    alone = [ADAMW, CONSTANTS, FOUND, STRAIGHT, LION, MUON]
    jointly = [name + ONE_SETTING for name in (ADAMW, CONSTANTS, FOUND, MUON)]
    assert list(rows) == [*alone, *jointly]
    assert all(f"{TRIALS} a task" in rows[name].trials for name in alone)
    assert all(f"{TRIALS} for all" in rows[name].trials for name in jointly)
    # Constants, the rule and the straightened one on each; four with one setting on the proxies.
    # What the control and the rule draw alike for a task and for all is trained once.
    for task, count in (("Blobs", 3 + 4 - 2), ("Sums", 3 + 4 - 2), ("WithDropout", 3)):
        assert len(executor.trials(task)) == count * TRIALS
    assert {name: row.rescale for name, row in rows.items()} == {
        name: name in jointly for name in rows
    }
    for name, row in rows.items():
        assert set(row.trainees) == {"Blobs", "Sums", "WithDropout"}
        assert (len({*row.trainees.values()}) == 1) == (
            name in jointly or name in (ADAMW, LION, MUON)
        )
    assert any(f"tuned by {TRIALS} trials a task on validation data" in note for note in notes)
    assert any("Held-out tasks took no part" in note for note in notes)
    assert {job.split for job in executor.asked} == {"validation"}


def test_the_rule_itself_is_tried_first_under_every_schedule_that_candidates_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(monkeypatch)
    rows, _, executor = contend(tmp_path, a_plan((Blobs(),), shape=SHAPE))
    tried = executor.trials("Blobs")
    for rule in (START, WINNER, straightened(WINNER)):
        functions = [s.function for s in live_program(rule).statements]
        under = {
            one.schedule for one in tried
            if [s.function for s in one.program.statements] == functions
        }  # fmt: skip
        assert {PLAIN, Schedule(0.25, 0.5, 0.125)} <= under, "no draw is exactly one of these"
    assert rows[ADAMW].trainees["Blobs"].schedule == Schedule(0.25, 0.5, 0.125)


def test_baselines_that_are_not_shipped_are_tuned_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for tasks of one's own, where the search waits for AdamW alone."""
    commit(monkeypatch)
    rows, _, executor = contend(tmp_path, a_plan((Blobs(), Sums()), shipped=("adamw",)))
    for task in ("Blobs", "Sums"):
        states = Counter(one.program.states for one in executor.trials(task))
        assert states["momentum",] == TRIALS, "Lion, each task by itself"
        assert rows[LION].trainees[task].program.states == ("momentum",)
        assert "orthogonalize" in rows[MUON].trainees[task].program.text
    assert rows[LION].trials == rows[MUON].trials == f"{TRIALS} a task"


def test_shipped_settings_are_used_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {"tasks": [TASK.name], "hashes": {TASK.name: TASK.hash}, "loss": 0.0}
    joint = {
        name: {**entry, "parameters": {**SETTINGS[name], **SHAPE}, "trials": trials}
        for name, trials in (("adamw", TRIALS), ("muon", TRIALS + 1))
    }
    commit(monkeypatch, joint=joint, constants=committed())
    rows, _, executor = contend(tmp_path, a_plan((TASK,)))
    shape = Schedule(0.25, 0.5, 0.125)
    assert rows[ADAMW + ONE_SETTING].trainees[TASK.name].schedule == shape
    assert rows[MUON + ONE_SETTING].trainees[TASK.name].schedule != shape, "of other trials"
    assert rows[CONSTANTS].trainees[TASK.name] == Trainee(CONTROL, Schedule(0.2, 2.0, 0.0))
    assert rows[CONSTANTS + ONE_SETTING].trainees[TASK.name] == Trainee(CONTROL, Schedule(0.3))
    # The rule, straightened, and Muon with one setting; with a single task, one setting for all is
    # that of the task, and nothing is trained twice.
    assert len(executor.trials(TASK.name)) == 3 * TRIALS
    again, _, other = contend(tmp_path / "again", a_plan((TASK,)))
    assert again == rows and len(other.trials(TASK.name)) == 3 * TRIALS


def test_a_control_of_other_trials_is_tuned_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(monkeypatch, constants=committed(trials=TRIALS + 1))
    rows, _, executor = contend(tmp_path, a_plan((TASK,)))
    tried = executor.trials(TASK.name)
    assert Trainee(CONTROL, PLAIN) in tried, "what was found is where it begins"
    assert rows[CONSTANTS].trainees[TASK.name] in tried
    assert f"{TRIALS} a task" in rows[CONSTANTS].trials


@pytest.mark.parametrize("digits", [TASK.hash, "another"])
def test_the_committed_control_of_adamw(
    digits: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(monkeypatch, constants=committed(digits))
    adamw = round_constants(load_rule("adamw"))
    rows, notes, _ = contend(tmp_path, a_plan((TASK,), start=adamw.text))
    assert "search of 99 programs" in rows[CONSTANTS].trials
    for name in (CONSTANTS, CONSTANTS + ONE_SETTING):
        assert rows[name].trainees[TASK.name].program == CONTROL
    other = [note for note in notes if "another version of the data of digits_mlp" in note]
    assert len(other) == (digits != TASK.hash)
    assert all(note.startswith(f"{CONSTANTS}: found on") for note in other)


def test_it_is_named_where_the_search_began_with_another_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(monkeypatch, constants=committed())
    rows, _, _ = contend(tmp_path, a_plan((TASK,), start=load_rule("lion").text))
    assert CONSTANTS not in rows
    assert rows[f"AdamW, {CONSTANTS}"].trainees[TASK.name].program == CONTROL


@pytest.mark.parametrize("found", [None, committed() | {"tasks": ["another"]}])
def test_on_other_tasks_the_warm_start_has_its_own(
    found: dict[str, Any] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(monkeypatch, constants=found)
    lion = load_rule("lion")
    rows, _, executor = contend(tmp_path, a_plan((TASK,), start=lion.text), lion)
    assert Trainee(lion, PLAIN) in executor.trials(TASK.name)
    assert rows[CONSTANTS].trainees[TASK.name].program.states == lion.states


def test_a_search_over_constants_is_its_own_control(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the best on fresh seeds, not the one that was lucky in the search."""
    commit(monkeypatch, constants=committed())
    made = a_plan((TASK,), start=load_rule("lion").text, strategy="constants")
    rows, notes, executor = contend(tmp_path, made, load_rule("lion"))
    tried = executor.trials(TASK.name)
    assert {one.program.states for one in tried} > {WINNER.states}
    assert load_rule("lion").states not in {one.program.states for one in tried}
    assert rows[CONSTANTS].trainees[TASK.name].program.states == WINNER.states
    assert FOUND not in rows and STRAIGHT not in rows
    assert not any("another version" in note for note in notes)


def test_a_baseline_of_another_version_of_the_data_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(monkeypatch)
    made = a_plan((Blobs(),))
    made.baselines["Blobs"]["lion"] = Baseline("lion", SETTINGS["lion"], 0.0, TRIALS, "old")  # type: ignore[index]
    _, notes, _ = contend(tmp_path, made)
    assert "lion: old" in notes


def test_settings_of_the_baselines_are_complete() -> None:
    for name in OPTIMIZERS:
        names = {n.replace("one_minus_", "") for n in tunable(name).space.names}
        assert names == {*SETTINGS[name], *SHAPE}
