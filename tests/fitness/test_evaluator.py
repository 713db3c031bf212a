"""Verdicts, recomputed by an ordinary loop; hurdles, audits, what diverges."""

from __future__ import annotations

import math
from itertools import accumulate

import pytest
import torch

from optforge.fitness import JUDGED, Evaluator, Judge, Measure, Outcome, plan_stages, rank
from optforge.language import Program, load_rule, parse
from optforge.tasks import Schedule, load_task
from optforge.training import Stack, Trainee, train_population
from tests.helpers.plain import RULES, train
from tests.helpers.tiny import Blobs, Sums

TASKS = [Blobs(), Sums()]
STAGES = plan_stages(TASKS, 3)
SEEDS = {"Blobs": (11, 12, 13), "Sums": (21, 22, 23)}
BASELINE = {"Blobs": (-0.5, -0.6, -0.7), "Sums": (-2.0, -2.1, -2.2)}
FREE = (math.inf,) * (STAGES[-1].last + 1)
SGD = parse("def train(w, g, lr):\n    u = g * 0.1\n    u = u * lr\n    return u")
# Passes the probe, where gradients do not grow; in training steps overshoot more and more.
DIVERGING = parse("def train(w, g, lr):\n    u = g * 300.0\n    return u")
UPHILL = parse("def train(w, g, lr):\n    u = g * -0.01\n    return u")

BLIND = parse("def train(w, g, lr):\n    u = w * 0.01\n    u = u * lr\n    return u")
# Of weights it is told no more than their signs where gradients are small, as they are in training.
INFINITE = parse(
    "def train(w, g, lr):\n    a = g * 40.0\n    b = arcsin(a)\n    u = b * 0.001\n    return u"
)


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    return Evaluator(TASKS, STAGES, SEEDS, BASELINE)


def judge(
    evaluator: Evaluator,
    programs: list[Program],
    hurdles: tuple[float, ...] = FREE,
    audited: bool = False,
) -> list[Outcome]:
    return evaluator.judge(Judge(tuple(programs), hurdles, (audited,) * len(programs)))


@pytest.mark.parametrize("name", ["adamw", "whole_tree"])
def test_a_full_verdict_recomputed(evaluator: Evaluator, name: str) -> None:
    program, rule, states = RULES[name]
    outcome = judge(evaluator, [SGD, program])[1]
    runs = {
        task.name: [train(task, rule, states, seed, torch.float32) for seed in SEEDS[task.name]]
        for task in TASKS
    }
    ratios = {
        task: [math.log(run.loss) - base for run, base in zip(of, BASELINE[task], strict=True)]
        for task, of in runs.items()
    }
    for task, values in ratios.items():
        assert outcome.scores[task] == pytest.approx(values, rel=1e-4)
    blobs, sums = ratios["Blobs"], ratios["Sums"]
    full = (sum(blobs) / 3 + sum(sums) / 3) / 2
    assert outcome.fitness == pytest.approx(full, rel=1e-4) and outcome.loss == outcome.fitness
    looks = [*_looks(runs["Blobs"][0].training, (2, 3, 7, 13)), blobs[0]]
    looks += _looks(runs["Sums"][0].training, (2, 6, 10))
    looks += [(blobs[0] + sums[0]) / 2, (sum(blobs) / 3 + sums[0]) / 2, full]
    assert outcome.trace == pytest.approx(looks, rel=1e-4)
    assert outcome.stage_name == JUDGED and outcome.stage == len(FREE) + 1
    assert outcome.audit_fitness is None
    assert outcome.steps == 3 * 20 + 3 * 16 and outcome.seconds > 0


def _looks(losses: list[float], marks: tuple[int, ...]) -> list[float]:
    """Log of the mean training loss since the look before."""
    parts = zip((0, *marks), marks, strict=False)
    return [math.log(sum(losses[a:b]) / (b - a)) for a, b in parts]


@pytest.fixture(scope="module")
def free(evaluator: Evaluator) -> Outcome:
    """The verdict where no hurdle stands."""
    return judge(evaluator, [SGD])[0]


@pytest.mark.parametrize("position", range(len(FREE)))
def test_a_hurdle_rejects_where_it_stands(
    evaluator: Evaluator, free: Outcome, position: int
) -> None:
    hurdles = [math.inf] * len(FREE)
    hurdles[position] = free.trace[position] - 1e-3
    (stage,) = (s for s in STAGES if s.first <= position <= s.last)
    (out,) = judge(evaluator, [SGD], tuple(hurdles))
    assert out.fitness == math.inf and out.audit_fitness is None
    assert out.stage_name == stage.name and out.stage == position + 1
    assert len(out.trace) == position + 1
    assert out.loss == out.trace[-1] == pytest.approx(free.trace[position], rel=1e-4)
    assert out.steps <= free.steps and (position == len(FREE) - 1 or out.steps < free.steps)
    hurdles[position] = free.trace[position] + 1e-3
    assert judge(evaluator, [SGD], tuple(hurdles))[0].stage_name == JUDGED
    hurdles[position] = free.trace[position] - 1e-3
    (audited,) = judge(evaluator, [SGD], tuple(hurdles), audited=True)
    assert audited.audit_fitness == pytest.approx(free.fitness, rel=1e-4)
    assert (audited.fitness, audited.stage, audited.stage_name) == (
        math.inf, out.stage, out.stage_name,
    )  # fmt: skip
    assert len(audited.trace) == len(FREE) and audited.steps == free.steps


def test_no_hurdles_let_everything_pass(evaluator: Evaluator) -> None:
    """As for the warm start, before there is anything to compare with."""
    (outcome,) = judge(evaluator, [SGD], hurdles=())
    assert outcome.stage_name == JUDGED


@pytest.mark.parametrize("audited", [False, True])
def test_divergence_is_the_worst_and_hurts_nobody(evaluator: Evaluator, audited: bool) -> None:
    together = judge(evaluator, [DIVERGING, SGD, load_rule("lion")], audited=audited)
    assert together[0].fitness == math.inf and together[0].loss == math.inf
    assert together[0].stage_name.startswith(("Blobs", "Sums"))
    assert together[0].audit_fitness is None, "nothing was left that could be trained on"
    for outcome, program in zip(together[1:], [SGD, load_rule("lion")], strict=True):
        (alone,) = judge(evaluator, [program])
        assert outcome.fitness == pytest.approx(alone.fitness, rel=1e-4)
        assert outcome.stage_name == JUDGED


def test_what_the_probe_rejects_is_not_trained(evaluator: Evaluator) -> None:
    (outcome,) = judge(evaluator, [UPHILL])
    assert (outcome.stage, outcome.stage_name) == (0, "probe: ascending")
    assert (outcome.steps, outcome.trace, outcome.fitness) == (0, (), math.inf)
    (audited,) = judge(evaluator, [UPHILL], audited=True)
    assert audited.audit_fitness is not None and math.isfinite(audited.audit_fitness)
    assert audited.stage == 0 and audited.fitness == math.inf


def test_looks_of_one_stage_are_not_compared_with_each_other(evaluator: Evaluator) -> None:
    """Log training losses at checkpoints, log ratios at the end: the one that got further leads."""
    (free,) = judge(evaluator, [SGD])
    stage = next(s for s in STAGES if s.task == "Sums" and s.checkpoints)
    early, late = ([math.inf] * len(FREE) for _ in range(2))
    early[stage.last - 1] = free.trace[stage.last - 1] - 1e-3
    late[stage.last] = free.trace[stage.last] - 1e-3
    (stopped,), (ended,) = (judge(evaluator, [SGD], tuple(limits)) for limits in (early, late))
    assert stopped.stage_name == ended.stage_name == stage.name
    assert stopped.loss < ended.loss, "a training loss below a ratio says nothing"
    ranks = [rank(o.fitness, o.stage, o.loss, o.state_bytes, o.live_statements)
             for o in (free, ended, stopped, judge(evaluator, [UPHILL])[0])]  # fmt: skip
    assert ranks == sorted(ranks) and len(set(ranks)) == 4


@pytest.mark.parametrize("program", [BLIND, INFINITE], ids=["constant", "not finite"])
def test_an_audit_trains_whatever_the_probe_says(evaluator: Evaluator, program: Program) -> None:
    (rejected,) = judge(evaluator, [program])
    assert rejected.stage == 0 and rejected.steps == 0 and rejected.audit_fitness is None
    (audited,) = judge(evaluator, [program], audited=True)
    assert audited.steps > 0 and audited.audit_fitness is not None
    (given,) = evaluator.judge(Judge((program,), (), (False,), given=True))
    assert audited.audit_fitness == pytest.approx(given.fitness, rel=1e-6)
    assert (audited.stage, audited.fitness) == (0, math.inf)


def test_an_audit_that_diverges_is_a_right_rejection(evaluator: Evaluator) -> None:
    """A hurdle rejects it while its loss is finite; trained on, it has none."""
    (out,) = judge(evaluator, [DIVERGING], (-10.0,) * len(FREE), audited=True)
    assert math.isfinite(out.loss) and out.audit_fitness == math.inf
    assert judge(evaluator, [DIVERGING], (-10.0,) * len(FREE))[0].audit_fitness is None


def test_rules_that_were_given_are_trained_whatever_the_probe_says(evaluator: Evaluator) -> None:
    (outcome,) = evaluator.judge(Judge((UPHILL,), (), (False,), given=True))
    assert outcome.steps > 0 and outcome.stage_name == JUDGED and math.isfinite(outcome.fitness)


def test_further_is_better_also_at_the_first_stage(evaluator: Evaluator) -> None:
    """A program that the probe let pass has come further than one that it did not."""
    (rejected,) = judge(evaluator, [SGD], (-10.0,) * len(FREE))
    (probed,) = judge(evaluator, [UPHILL])
    assert rejected.stage > probed.stage


def test_costs_count_what_is_live(evaluator: Evaluator) -> None:
    (outcome,) = judge(evaluator, [load_rule("program_8")])
    assert (outcome.live_statements, outcome.state_bytes) == (12, 4.0)


def test_one_task_one_seed() -> None:
    task = Blobs()
    (outcome,) = judge(
        Evaluator([task], plan_stages([task], 1), {"Blobs": (3,)}, {"Blobs": (0.0,)}), [SGD]
    )
    expected = train_population(Stack(task), [SGD], [3]).losses.log().item()
    assert outcome.fitness == pytest.approx(expected, rel=1e-5)


def test_measure_gives_the_losses_of_the_named_split(evaluator: Evaluator) -> None:
    programs = (SGD, DIVERGING)
    for split in ("validation", "test"):
        rows = evaluator(Measure(programs, "Sums", (5, 6), split))
        expected = train_population(Stack(Sums()), programs, (5, 6), split=split).losses
        torch.testing.assert_close(
            torch.tensor(rows, dtype=torch.float64), expected, rtol=1e-5, atol=0
        )
    assert rows[1] == [math.inf, math.inf]


def test_programs_train_under_the_schedule_of_their_task() -> None:
    """Candidates of a search, and whatever is measured without a schedule of its own."""
    shape, other = Schedule(0.4, 0.5, 0.2), Schedule(0.2, 2.0, 0.0)
    own = Evaluator(TASKS, STAGES, SEEDS, BASELINE, schedules={"Blobs": shape})
    (outcome,) = judge(own, [SGD])
    for task, one in (("Blobs", Trainee(SGD, shape)), ("Sums", Trainee(SGD))):
        stack = own.stacks[task]
        logs = train_population(stack, [one], SEEDS[task]).losses.log()[0].tolist()
        expected = [log - base for log, base in zip(logs, BASELINE[task], strict=True)]
        assert outcome.scores[task] == pytest.approx(expected, rel=1e-4)
    some = (SGD, Trainee(SGD), Trainee(SGD, other), Trainee(SGD, other, 0.8))
    under = [Trainee(SGD, shape), Trainee(SGD, shape), *some[2:]]
    rows = own.measure(Measure(some, "Blobs", (5, 6), "test"))
    expected = train_population(own.stacks["Blobs"], under, (5, 6), split="test").losses
    assert rows == [pytest.approx(row, rel=1e-4) for row in expected.tolist()]
    assert len({round(row[0], 6) for row in rows}) == 3


def test_what_is_dead_in_a_trainee_costs_nothing_and_changes_nothing(
    evaluator: Evaluator,
) -> None:
    dead = parse(SGD.text.replace("    u = u * lr", "    dead = sqrt(g)\n    u = u * lr"))
    shape = Schedule(0.2, 2.0, 0.0)
    some = (Trainee(SGD, shape, 0.5), Trainee(dead, shape, 0.5))
    first, second = evaluator(Measure(some, "Blobs", (5,), "validation"))
    assert first == second


def test_seconds_are_shared_by_steps(evaluator: Evaluator) -> None:
    hurdles = list(FREE)
    hurdles[0] = judge(evaluator, [SGD])[0].trace[0] + 0.05
    slow = parse(SGD.text.replace("0.1", "-0.0001").replace("u * lr", "u + g"))
    outcomes = judge(evaluator, [SGD, slow], tuple(hurdles))
    assert all(outcome.seconds > 0 for outcome in outcomes)
    assert list(accumulate(outcome.steps for outcome in outcomes))[-1] > 0


@pytest.mark.parametrize("searched", ["own", "shipped"])
def test_what_is_held_out_is_compiled_where_it_trains_for_long(
    searched: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shipped held-out task trains for less time than compiling takes."""
    monkeypatch.setattr(Evaluator, "_warm", lambda self, compile: None)
    judged = Blobs() if searched == "own" else load_task("digits_mlp")
    held_out = [load_task("names_cnn"), Sums()]
    stages = plan_stages([judged], 3)
    evaluator = Evaluator([judged, *held_out], stages, SEEDS, BASELINE, compile=True)
    compiled = {name: stack.compile for name, stack in evaluator.stacks.items()}
    assert compiled == {judged.name: True, "names_cnn": False, "Sums": True}
