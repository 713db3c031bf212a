"""Hurdles, audits, limits of the warm start, resuming on other tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from optforge.errors import RunError, SearchError
from optforge.fitness.baseline import adamw
from optforge.language import load_rule, parse, round_constants
from optforge.runs import Event, Proposal, Verdict
from optforge.search import History, Settings, read_plan
from optforge.search.propose import check_start, idle_states, is_audited
from tests.helpers.searches import ADAMW as BASELINE
from tests.helpers.searches import small, tiny_plan
from tests.helpers.tiny import Blobs, Sums

TEXT = load_rule("lion").text


def verdict(
    number: int, fitness: float, trace: Sequence[float] = (), audit: float | None = None
) -> Verdict:
    judged = math.isfinite(fitness)
    return Verdict(
        number, f"f{number}", f"n{number}", fitness, 3 if judged else 1,
        "judged" if judged else "stage", fitness, audit, 8.0, 9, {}, tuple(trace), 10, 0.1,
    )  # fmt: skip


def proposal(number: int, phase: str = "structure") -> Proposal:
    start = None if number == 0 else 0
    return Proposal(number, number, phase, start, "x", TEXT, f"f{number}", number)


def told(settings: Settings, verdicts: Sequence[Verdict], slacks: Sequence[float]) -> History:
    history = History(settings, slacks)
    for one in verdicts:
        history.apply([proposal(one.id)], [one])
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
        history.apply([proposal(one.id)], [one])
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
    again = Proposal(2, 2, "structure", 0, "x", TEXT, "f1", 1, cached=True)
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
        ("adamw", {"max_states": 1}, "keeps 2 states and --states allows 1"),
        ("program_8", {"max_statements": 20}, "has 21 statements and --max-statements allows 20"),
    ],
)
def test_a_warm_start_that_does_not_fit_is_refused(
    rule: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(SearchError, match=message):
        check_start(load_rule(rule), small(**changes))
    check_start(load_rule(rule), small(max_states=2, max_statements=21))


def test_more_states_than_the_warm_start_has_are_of_no_use() -> None:
    corrected = BASELINE | {"bias_correction": 1}
    for program, states in (
        (load_rule("lion"), 1), (load_rule("adamw"), 2), (adamw(corrected), 3),
    ):  # fmt: skip
        assert idle_states(program, small(max_states=states)) is None
        said = idle_states(program, small(max_states=states + 1))
        assert said is not None and f"{states + 1} is more than the {states}" in said


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
        ({"max_states": 5}, "allowed are 0 to 4"),
        ({"in_place": 1.5}, "in-place is 1.5; it is a share, from 0 to 1"),
        ({"rescale": -0.1}, "rescale is -0.1; it is a share"),
        ({"insert": -1.0}, "none may be negative"),
        ({"insert": 0.0, "modify": 0.0}, "not all 0"),
    ],
)
def test_settings_out_of_range(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SearchError, match=message):
        small(**changes)


def test_settings_survive_the_journal() -> None:
    settings = small(start=round_constants(load_rule("program_8")).text, seed=2**40)
    stored = settings.stored() | {"tasks": list(settings.tasks), "hashes": list(settings.hashes)}
    assert Settings.read(stored) == settings
    for name in ("lag", "in_place"):  # journals of former versions lack the latter
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

    class Longer(Blobs):
        name, steps = "Blobs", 21

    with pytest.raises(RunError, match="task 'Blobs' is not what it was"):
        read_plan(plan.stored(), [Longer()], [])
    held = tiny_plan(small(), [Sums()], [Blobs()])
    with pytest.raises(RunError, match="task 'Blobs' is not what it was"):
        read_plan(held.stored(), [Sums()], [Longer()])


def test_there_is_a_slack_for_each_position_of_a_trace() -> None:
    plan = tiny_plan(small(slack=0.1))
    slacks = plan.slacks()
    assert len(slacks) == plan.stages[-1].last + 1
    first = plan.stages[0]
    assert list(slacks[: first.last + 1]) == sorted(slacks[: first.last + 1], reverse=True)
    assert min(slacks) == pytest.approx(0.1)
