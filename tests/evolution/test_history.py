"""Hurdles, audits, limits of the warm start, resuming on other tasks."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from optforge.errors import RunError, SearchError
from optforge.evolution import History, Settings, make_executor, read_plan
from optforge.evolution.candidate import Candidate
from optforge.evolution.pipeline import is_audited
from optforge.evolution.plan import read_schedules
from optforge.evolution.starts import check_start
from optforge.language import load_rule, parse, round_constants
from optforge.runs import Event, Journal, Verdict
from optforge.tasks import Schedule
from optforge.training import Stack, Trainee, train_population
from optforge.tuning import Baseline
from optforge.tuning.optimizers import adamw
from tests.helpers.searches import ADAMW as BASELINE
from tests.helpers.searches import small, tiny_plan
from tests.helpers.tiny import Blobs, Sums
from tests.helpers.training import trainer_on

TEXT = load_rule("lion").text
SGD = parse("def train(w, g, lr):\n    u = g * 0.3\n    u = u * lr\n    return u")


def verdict(
    number: int, fitness: float, trace: Sequence[float] = (), audit: float | None = None
) -> Verdict:
    judged = math.isfinite(fitness)
    return Verdict(
        number, f"f{number}", f"n{number}", fitness, 3 if judged else 1,
        "judged" if judged else "stage", fitness, audit, 8.0, 9, {}, tuple(trace), 10, 0.1,
    )  # fmt: skip


def candidate(number: int, phase: str = "structure") -> Candidate:
    return Candidate(number, TEXT, f"f{number}", phase, None if number == 0 else 0, "x")


def told(settings: Settings, verdicts: Sequence[Verdict], slacks: Sequence[float]) -> History:
    history = History(settings, slacks)
    for one in verdicts:
        history.apply([candidate(one.id)], [one])
    return history


def test_hurdles_are_a_quantile_of_the_best_and_the_slack() -> None:
    verdicts = [verdict(i, 0.1 * i, (i, 10.0 * i)) for i in range(4)]
    history = told(small(hurdle=0.75), verdicts, (0.5, 0.25))
    assert history.hurdles() == (3.5, 30.25)
    assert told(small(hurdle=0.0), verdicts, (0.5, 0.25)).hurdles() == (0.5, 0.25)
    assert history.hurdles("f1") == (1.5, 10.25), "a start in flight is measured by itself"


def test_the_rejected_set_no_hurdles() -> None:
    history = told(small(), [verdict(0, 0.0, (1.0,)), verdict(1, math.inf, ())], (0.5,))
    assert history.hurdles() == (1.5,)
    assert told(small(), [verdict(0, math.inf)], (0.5,)).hurdles() == ()
    assert History(small(), (0.5,)).hurdles() == ()


def test_hurdles_only_tighten_as_better_ones_come() -> None:
    verdicts = [verdict(i, -0.01 * i, (2.0 - 0.01 * i,)) for i in range(200)]
    limits, history = [], History(small(), (0.0,))
    for one in verdicts:
        history.apply([candidate(one.id)], [one])
        limits.append(history.hurdles()[0])
    assert limits == sorted(limits, reverse=True) and limits[-1] < limits[0]


def test_a_warm_start_passes_its_own_hurdles() -> None:
    trace = (0.7, 0.3, -0.1)
    history = told(small(), [verdict(0, 0.0, trace)], (0.03, 0.03, 0.03))
    assert all(value <= limit for value, limit in zip(trace, history.hurdles(), strict=True))


def test_false_rejects_are_those_that_would_have_been_among_the_best() -> None:
    verdicts = [
        verdict(0, 0.0, (1.0,)),
        verdict(1, math.inf, audit=-0.1),
        verdict(2, math.inf, audit=0.4),
    ]
    history = told(small(), verdicts, (0.5,))
    assert (history.tally.audited, history.tally.false_rejects) == (2, 1)


def test_counts_add_up() -> None:
    history = told(small(), [verdict(0, 0.0, (1.0,)), verdict(1, math.inf)], (0.5,))
    again = Candidate(2, TEXT, "f1", "structure", 0, "x", new=False)
    history.apply([again], [], [Event(2, "mismatch", {"fingerprint": "f1"})])
    tally = history.tally
    assert (tally.proposals, tally.cached, tally.evaluated, tally.judged) == (3, 1, 2, 1)
    assert tally.mismatches == 1 and tally.training_seconds == pytest.approx(0.2)


def test_only_so_many_of_the_best_are_kept() -> None:
    history = told(small(), [verdict(i, float(i % 97), (1.0,)) for i in range(400)], (0.5,))
    best = [candidate.fitness for candidate in history.leading("structure")]
    expected = sorted(float(i % 97) for i in range(400))[: len(best)]
    assert best == expected and 32 <= len(best) <= 100
    assert len(history.population.members) == 20


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 1.0])
def test_the_share_of_audits(share: float) -> None:
    settings = small(audit=share)
    drawn = [is_audited(settings, f"fingerprint {i}") for i in range(20_000)]
    margin = 4 * math.sqrt(share * (1 - share) / 20_000)
    assert abs(sum(drawn) / 20_000 - share) <= margin
    assert drawn[:50] == [is_audited(settings, f"fingerprint {i}") for i in range(50)]


@pytest.mark.parametrize(
    ("rule", "changes", "message"),
    [
        (
            "adamw",
            {"max_state_bytes": 4.0},
            "keeps 8 bytes.*--max-state-bytes allows 4; give --max-state-bytes 8",
        ),
        ("lion", {"max_state_bytes": 0.0}, "keeps 4 bytes.*--max-state-bytes allows 0"),
        ("program_8", {"max_statements": 20}, "has 21 statements and --max-statements allows 20"),
    ],
)
def test_a_warm_start_that_does_not_fit_is_refused(
    rule: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(SearchError, match=message):
        check_start(load_rule(rule), small(**changes))
    check_start(load_rule(rule), small(max_state_bytes=8.0, max_statements=21))


def test_states_that_nothing_reads_are_no_reason_to_refuse() -> None:
    """Program 8 returns a state that it never reads, and a counter is no state of the weights."""
    check_start(load_rule("program_8"), small(max_state_bytes=4.0))
    check_start(adamw(BASELINE | {"bias_correction": 1}), small(max_state_bytes=8.0))


def test_a_search_over_constants_needs_one() -> None:
    bare = parse("def train(w, g, lr):\n    u = g * lr\n    return u")
    with pytest.raises(SearchError, match="no constant"):
        check_start(bare, small(strategy="constants"))
    check_start(bare, small())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strategy": "luck"}, "strategy is 'luck'; allowed are evolution, constants, random"),
        ({"restart": "never"}, "restart is 'never'; allowed are best, initial, none"),
        ({"population": 0}, "population is 0; it must be at least 1"),
        ({"tournament": 21}, r"tournament \(21\) is larger than the population \(20\)"),
        ({"repeats": 0}, "repeats is 0"),
        ({"batch": 0}, "batch is 0"),
        ({"lag": 0}, "lag is 0"),
        ({"repeats": 10**20}, "repeats is 1.*; it must be at least 1, and at most 1,000,000"),
        ({"population": 10**20}, "population is 1.*, and at most 1,000,000"),
        ({"max_state_bytes": 16.5}, "max-state-bytes is 16.5; allowed are 0 to 16"),
        ({"max_state_bytes": -1.0}, "allowed are 0 to 16"),
        ({"max_state_bytes": math.nan}, "must be a number"),
        ({"functions": ()}, "no set of functions is given; there are paper, masks"),
        ({"functions": ("paper", "nonsense")}, "functions is 'nonsense'; allowed are paper, masks"),
        ({"add_state": -0.5}, "none may be negative"),
        ({"add_state": 1.0, "insert": 0.0, "modify": 0.0}, "not all 0"),
        ({"in_place": 1.5}, "in-place is 1.5; it is a share, from 0 to 1"),
        ({"on_matrices": 0.5}, "on-matrices is 0.5, but the functions are paper; add the set"),
        ({"rescale": -0.1}, "rescale is -0.1; it is a share"),
        ({"insert": -1.0}, "none may be negative"),
        ({"insert": 0.0, "modify": 0.0}, "not all 0"),
    ],
)
def test_settings_out_of_range(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SearchError, match=message):
        small(**changes)


def test_settings_survive_the_journal() -> None:
    settings = small(
        start=round_constants(load_rule("program_8")).text, seed=2**40,
        functions=("paper", "rows"), add_state=0.25, max_state_bytes=12.0,
    )  # fmt: skip
    stored = json.loads(json.dumps(settings.stored()))
    assert Settings.read(stored) == settings
    for name in (
        "lag",
        "in_place",
        "functions",
        "max_state_bytes",
        "add_state",
    ):  # journals of former versions lack some
        with pytest.raises(RunError, match=f"lack '{name}'.*another version.*resume it with"):
            Settings.read({key: value for key, value in stored.items() if key != name})


def test_a_plan_is_read_back_and_refuses_another_task() -> None:
    plan = tiny_plan(small(), [Blobs()])
    again = read_plan(plan.stored(), [Blobs()], [])
    assert (again.settings, again.stages, again.slacks()) == (
        plan.settings,
        plan.stages,
        plan.slacks(),
    )
    assert again.baselines == plan.baselines and again.losses == plan.losses
    assert again.schedules == plan.schedules == {}

    class Longer(Blobs):
        name, steps = "Blobs", 21

    with pytest.raises(RunError, match="task 'Blobs' is not what it was"):
        read_plan(plan.stored(), [Longer()], [])
    held = tiny_plan(small(), [Sums()], [Blobs()])
    with pytest.raises(RunError, match="task 'Blobs' is not what it was"):
        read_plan(held.stored(), [Sums()], [Longer()])


def test_the_schedules_of_a_plan_are_those_of_the_tuned_adamw_and_are_read_back() -> None:
    plan = tiny_plan(small(), [Blobs()], [Sums()])
    tuned = Baseline("adamw", {**BASELINE, "warmup": 0.25, "decay_power": 0.5}, 0.0, 7)
    lion = {"lr": 0.01, "weight_decay": 0.1, "beta1": 0.9, "beta2": 0.99, "warmup": 0.5}
    plan = replace(
        plan,
        baselines={
            "Blobs": {"adamw": tuned, "lion": Baseline("lion", lion, 0.0, 9)},
            "Sums": plan.baselines["Sums"],
        },
    )
    stored = json.loads(json.dumps(plan.stored()))
    again = read_plan(stored, [Blobs()], [Sums()])
    assert again.schedules == read_schedules(stored) == {"Blobs": Schedule(0.25, 0.5, 0.0)}
    assert again.effort.trials == 7, "as many as AdamW got"


def test_candidates_train_under_the_schedule_of_the_tuned_adamw(tmp_path: Path) -> None:
    """In the search, its selection and wherever they have no schedule of their own."""
    shape = Schedule(0.25, 0.5, 0.1)
    plan = replace(tiny_plan(small(), [Blobs()]), schedules={"Blobs": shape})
    some, seed = [SGD, Trainee(SGD, shape), Trainee(SGD, Schedule())], {"Blobs": (3,)}
    with Journal.create(tmp_path / "journal", {}) as journal:
        found = trainer_on(make_executor(plan, 0), journal).losses({"Blobs": some}, seed, "test")[
            "Blobs"
        ]
    trained = train_population(Stack(Blobs()), some[1:], [3], split="test").losses.log()
    assert found[1:].tolist() == pytest.approx(trained.numpy(), rel=1e-4)
    assert found[0] == pytest.approx(found[1], rel=1e-6) and found[0] != pytest.approx(found[2])


def test_there_is_a_slack_for_each_position_of_a_trace() -> None:
    plan = tiny_plan(small(slack=0.1))
    slacks = plan.slacks()
    assert len(slacks) == plan.stages[-1].last + 1
    first = plan.stages[0]
    assert list(slacks[: first.last + 1]) == sorted(slacks[: first.last + 1], reverse=True)
    assert min(slacks) == pytest.approx(0.1)


def test_slack_is_larger_while_tasks_are_unseen() -> None:
    """With three tasks by the roots of 3 and 3/2; runs of earlier versions go on without it."""

    class Third(Sums):
        name = "Third"

    plan = tiny_plan(small(slack=0.1, repeats=3))
    three = replace(plan, tasks=(*plan.tasks, Third()))
    before = replace(three, settings=replace(three.settings, task_slack=0.0))
    ends = [stage.last for stage in three.stages]
    ratios = [three.slacks()[end] / before.slacks()[end] for end in ends]
    assert ratios == pytest.approx([3**0.5, 1.5**0.5, *[1.0] * (len(ends) - 2)])
    stored = {key: value for key, value in plan.settings.stored().items() if key != "task_slack"}
    assert Settings.read(stored).task_slack == 0.0
