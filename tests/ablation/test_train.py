"""Simplifying by training, end to end on tasks that train in milliseconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from optforge.ablation import (
    Options,
    RuleTrainer,
    SimpleRule,
    describe,
    simplify_by_training,
)
from optforge.ablation.tuning import tune
from optforge.analysis.hyperparameters import lift
from optforge.equality import EMPIRICAL
from optforge.errors import SimplifyError, StoppedError
from optforge.execution import Completed, Failed, InlineExecutor
from optforge.fitness import Evaluator, Measure
from optforge.jobs import JobRunner, Store
from optforge.language import Program, load_rule, parse
from optforge.report.simplify.files import simple_rule_json
from optforge.report.simplify.page import simplify_markdown
from tests.helpers.tiny import Blobs, Sums

# Squashing gradients is what a step of this size needs; a decay of 1e-7 is nothing.
RULE = """
def train(w, g, m, lr):
    squashed = tanh(g)
    m = interp(squashed, m, 0.8123456)
    wobble = w * 1e-07
    update = m + wobble
    update = update * lr
    update = update * 0.5
    return update, m
"""
QUICK = Options(margin=0.05, looks=(4, 8, 16), repeats=6)


def rule_trainer(path: Path | None = None, **more: Any) -> RuleTrainer:
    tasks = (Blobs(), Sums())
    evaluator = Evaluator(tasks)
    runner = JobRunner(InlineExecutor(lambda: evaluator), window=4, **more)
    return RuleTrainer.of(tasks, runner, Store(path, False))


def simplified(
    rule: str | Program = RULE, trainer: RuleTrainer | None = None, **options: Any
) -> tuple[SimpleRule, RuleTrainer]:
    program = parse(rule) if isinstance(rule, str) else rule
    trainer = trainer or rule_trainer()
    settings = Options(**{**vars(QUICK), **options})
    return describe(*simplify_by_training(program, trainer, settings)), trainer


@pytest.fixture(scope="module")
def done() -> SimpleRule:
    return simplified()[0]


def test_what_does_nothing_leaves_and_what_matters_stays(done: SimpleRule) -> None:
    assert "weight *" not in done.program.text and "interp" not in done.program.text
    statuses = {row.change: row.status for row in done.trained.effects.rows}  # type: ignore[union-attr]
    assert statuses["momentum + decay -> momentum"] == "removed"
    kept = [row for row in done.trained.effects.rows if row.status.startswith("kept")]  # type: ignore[union-attr]
    rows = [row.statement for row in kept]
    assert rows, "each statement that can be left out and stays has a row"


def test_each_step_of_training_has_its_figures(done: SimpleRule) -> None:
    steps = [step for step in done.simplified.derivation.steps if step.kind == EMPIRICAL]
    assert steps
    for step in steps:
        effect = step.figures["effect"]
        assert effect["low"] <= effect["mean"] <= effect["high"]
        assert set(step.figures["tasks"]) == {"Blobs", "Sums"}
        mean = sum(task["mean"] for task in step.figures["tasks"].values()) / 2
        assert mean == pytest.approx(effect["mean"]), step.why
        assert step.figures["margin"] == 0.05 and " of 3" in step.figures["looks"]
    done.simplified.derivation.check()
    assert parse(done.simplified.derivation.start) == parse(RULE)


def test_json_and_page_say_the_same(done: SimpleRule) -> None:
    found = json.loads(json.dumps(simple_rule_json(done), allow_nan=False))
    assert found["training"]["tasks"] == ["Blobs", "Sums"]
    assert found["steps"][-1]["after"] == found["program"] == done.program.text
    text = simplify_markdown(done)
    for row in found["training"]["effects"]["rows"]:
        assert row["change"] in text and row["effect"]["low"] <= row["effect"]["high"]
    assert found["training"]["effects"]["seeds_a_task"] == 6


def test_constants_get_few_digits(done: SimpleRule) -> None:
    assert "0.8123456" not in done.program.text


@pytest.mark.slow
def test_a_protected_statement_stays(done: SimpleRule) -> None:
    found, _ = simplified(keep=("tanh",))
    assert "tanh(" in found.program.text
    (row,) = [r for r in found.trained.effects.rows if r.change.startswith("tanh(")]  # type: ignore[union-attr]
    assert row.status == "kept: protected" and row.mean is not None


def test_kept_rates_are_left_out_of_tuning() -> None:
    trainer, far = rule_trainer(), parse(load_rule("lion").text.replace("0.0001", "0.0000001"))
    (free,) = tune(trainer, [far], "test")
    assert free.values["lr"] > 1e-5, "or the test shows nothing"
    (fixed,) = tune(trainer, [far], "test", keep=("lr",))
    assert fixed.values["lr"] == 1e-7 and fixed.trials <= 4
    (decayed,) = tune(trainer, [far], "test", keep=("weight_decay",))
    assert decayed.values["weight_decay"] == 0.1 and decayed.values["lr"] > 1e-5


def test_a_kept_learning_rate_is_never_moved() -> None:
    found, _ = simplified(keep=("lr",), looks=(3, 6), repeats=2)
    steps = [step for step in found.simplified.derivation.steps if step.kind == EMPIRICAL]
    assert steps
    for step in steps:
        values = [lift(parse(text)).values["lr"] for text in (step.before, step.after)]
        assert values[0] == values[1], step.why


def test_an_unknown_name_to_keep_is_named_with_what_there_is() -> None:
    with pytest.raises(SimplifyError, match="'momentm'.*tanh"):
        simplified(keep=("momentm",))


def test_without_time_the_exact_form_is_left_and_nothing_is_claimed() -> None:
    found, _ = simplified(minutes=1e-9)
    assert found.trained is not None and found.trained.ended == "the time was up"
    assert all(step.kind != EMPIRICAL for step in found.simplified.derivation.steps)
    assert found.trained.effects.total is None
    assert "did not suffice" in simplify_markdown(found)


@pytest.mark.slow
def test_a_stopped_derivation_goes_on_from_the_file(tmp_path: Path, done: SimpleRule) -> None:
    path = tmp_path / "losses"
    asked = [0]

    def stop() -> bool:
        asked[0] += 1
        return asked[0] > 40

    with pytest.raises(StoppedError):
        simplified(trainer=rule_trainer(path, stop=stop))
    with path.open("a") as file:
        file.write("0123 cut off in the mid")
    before = len(path.read_text().splitlines())
    found, second = simplified(trainer=rule_trainer(path))
    assert simple_rule_json(found) == simple_rule_json(done), "as if it had never been stopped"
    third, last = simplified(trainer=rule_trainer(path))
    assert simple_rule_json(third) == simple_rule_json(done) and last.trained == 0
    assert before > 0 and second.trained > 0


@pytest.mark.slow
def test_the_limit_of_comparisons_is_named() -> None:
    found, _ = simplified(most_comparisons=2)
    assert found.trained is not None
    assert "comparisons were made, and more are not" in found.trained.ended
    assert found.trained.ended in simplify_markdown(found)


@pytest.mark.slow
def test_unresolved_statements_leave_when_asked() -> None:
    noisy: dict[str, Any] = {"looks": (2, 3), "margin": 1e-4}
    kept, _ = simplified(**noisy)
    dropped, _ = simplified(**noisy, drop_unresolved=True)
    assert len(dropped.program.statements) < len(kept.program.statements)
    assert any(r.status == "kept: unresolved" for r in kept.trained.effects.rows)  # type: ignore[union-attr]


@pytest.mark.slow
def test_evolution_without_insertion_shortens_too() -> None:
    found, _ = simplified(programs=200, margin=0.2)
    steps = found.simplified.derivation.steps
    (step,) = [step for step in steps if "by evolution" in step.why]
    assert step.kind == EMPIRICAL and step.figures["effect"]["high"] < 0.2
    assert len(parse(step.after).statements) < len(parse(step.before).statements)


def test_reference_and_candidates_are_tuned_by_the_same_trials() -> None:
    trainer = rule_trainer()
    timid = parse(RULE.replace("0.5", "0.0005"))
    found = tune(trainer, [timid, parse(RULE), load_rule("lion")], "test")
    assert found[0].values["lr"] > 0.005, "a rate a thousand times too small is found"
    assert found[0].loss < 1.05 * abs(found[1].loss) + found[1].loss
    assert set(found[2].values) == {"lr", "weight_decay"}


class Deadly:
    """An executor whose workers die at one rule."""

    def __init__(self, victim: str) -> None:
        self.victim, self.jobs = victim, list[tuple[int, Measure]]()
        self.evaluator = Evaluator((Blobs(),))

    def submit(self, key: int, job: Measure) -> None:
        self.jobs.append((key, job))

    def next(self, timeout: float | None = None) -> Completed | Failed:
        key, job = self.jobs.pop(0)
        if any(self.victim in program.text for program in job.programs):
            return Failed(key, "died", "exit code 9")
        return Completed(key, self.evaluator(job), 0.0)

    def close(self) -> None:
        pass


def test_a_rule_that_ends_its_worker_has_no_loss_and_harms_no_other() -> None:
    trainer = RuleTrainer.of((Blobs(),), JobRunner(Deadly("cosh")), Store(None, False))
    deadly = parse("def train(w, g, lr):\n    u = cosh(g)\n    u = u * lr\n    return u\n")
    logs = trainer.measure([deadly, load_rule("lion"), load_rule("signum")], "test", 0, 2, "test")
    assert logs.shape == (3, 1, 2)
    assert (logs[0] == float("inf")).all() and (logs[1:] < 2).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [({"margin": 0.0}, "margin"), ({"minutes": -1.0}, "minutes"), ({"looks": (3, 3)}, "looks")],
)
def test_options_out_of_range_are_sentences(options: dict[str, Any], said: str) -> None:
    with pytest.raises(SimplifyError, match=said):
        Options(**options)
