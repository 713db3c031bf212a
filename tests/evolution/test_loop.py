"""What a search writes down, with verdicts out of thin air."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from pathlib import Path

import pytest

from optforge.analysis import cost, fingerprint
from optforge.evolution.history import History
from optforge.execution import InlineExecutor
from optforge.jobs import JobRunner
from optforge.language import Program, load_rule, parse
from optforge.runs import Event, Journal, Proposal
from tests.evolution.test_mutation import check_one_change
from tests.helpers.searches import (
    by_content,
    evaluation,
    invented_search,
    pretend,
    rows,
    small,
    state,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search with all that can happen: constants first, restarts, re-scoring."""
    path = tmp_path_factory.mktemp("run") / "journal.sqlite"
    pretend(path, BUSY, 600)
    return path


BUSY = small(constants_programs=100, restart_after=60)


def test_numbers_batches_and_verdicts_are_in_order(run: Path) -> None:
    history = rows(run)
    proposals: list[Proposal] = history["proposals"]
    assert [p.number for p in proposals] == list(range(len(proposals)))
    assert [p.batch for p in proposals] == sorted(p.batch for p in proposals)
    assert len(proposals) >= 600 and proposals[0].batch == 0 and proposals[1].batch == 1
    new = [p for p in proposals if not p.cached]
    assert [p.verdict for p in new] == [v.id for v in history["verdicts"]]
    assert [p.fingerprint for p in new] == [v.fingerprint for v in history["verdicts"]]
    assert len({p.fingerprint for p in new}) == len(new), "nothing is judged twice"
    sizes = Counter(p.batch for p in new)
    assert {sizes[batch] for batch in range(1, proposals[-1].batch + 1)} == {BUSY.batch}
    of = {v.id: v.fingerprint for v in history["verdicts"]}
    assert all(of[p.verdict] == p.fingerprint == fingerprint(parse(p.program)) for p in proposals)


def test_every_child_is_its_parent_changed_once(run: Path) -> None:
    proposals: list[Proposal] = rows(run)["proposals"]
    for p in proposals:
        if p.parent is not None:
            parent = proposals[p.parent]
            assert parent.phase == p.phase
            check_one_change(parse(parent.program), parse(p.program), p.mutation)


def test_parents_are_known_with_the_lag_and_not_too_old(run: Path) -> None:
    proposals: list[Proposal] = rows(run)["proposals"]
    ends = {p.batch: p.number for p in proposals}
    starts = [p.number for p in proposals if p.parent is None]
    for p in proposals:
        if p.parent is None or p.parent in starts:
            continue
        assert proposals[p.parent].batch <= p.batch - BUSY.lag
        assert p.parent > ends[p.batch - BUSY.lag] - BUSY.population


def test_children_of_a_start_in_flight_are_its_own(run: Path) -> None:
    """Until a start has its verdict, the population is its copies."""
    proposals: list[Proposal] = rows(run)["proposals"]
    for start in (p for p in proposals if p.parent is None and p.number):
        later = [
            p for p in proposals if start.batch <= p.batch < start.batch + BUSY.lag and p != start
        ]
        assert later and {p.parent for p in later} == {start.number}
        assert {p.phase for p in later} == {start.phase}


def leader(run: Path, proposals: list[Proposal], batch: int) -> str:
    """The best of some proposals as a search knows them after a batch: fresh scores count first."""
    among = {p.fingerprint for p in proposals if p.batch <= batch}
    with Journal.open(run, write=False) as journal:
        events = [e.detail for e in journal.events("rescore") if e.batch <= batch]
        scores = {v.fingerprint: v.fitness for v in journal.verdicts()}
    fresh = {d["fingerprint"]: d["fitness"] for d in events if d["fingerprint"] in among}
    return min(fresh or among, key=lambda value: fresh.get(value, scores[value]))


def test_phases_follow_and_structure_starts_from_the_best_constants(run: Path) -> None:
    history = rows(run)
    proposals: list[Proposal] = history["proposals"]
    phases = [p.phase for p in proposals]
    first = phases.index("structure")
    assert set(phases[:first]) == {"constants"} and set(phases[first:]) == {"structure"}
    lag = (BUSY.lag + 2) * 16 * BUSY.batch
    assert BUSY.constants_programs <= first < BUSY.constants_programs + lag
    start = proposals[first]
    assert (start.parent, start.mutation, start.cached) == (None, "start: best constants", True)
    assert start.fingerprint == leader(run, proposals[:first], start.batch - BUSY.lag)
    initial = parse(proposals[0].program)
    for p in proposals[:first]:
        names = [(s.target, s.function) for s in parse(p.program).statements]
        assert names == [(s.target, s.function) for s in initial.statements]


def test_restarts_come_when_progress_stops(run: Path) -> None:
    history = rows(run)
    proposals: list[Proposal] = history["proposals"]
    restarts = [p for p in proposals if p.mutation == "restart: best"]
    assert restarts
    for restart in restarts:
        if restart.phase != "structure":
            continue
        before = [
            p for p in proposals
            if p.phase == restart.phase and p.batch <= restart.batch - BUSY.lag
        ]  # fmt: skip
        best = leader(run, before, restart.batch - BUSY.lag)
        assert restart.fingerprint == best
        stale = before[-BUSY.restart_after + 1 :]
        assert all(p.cached or p.fingerprint != best for p in stale)


@pytest.mark.parametrize("constants", [0, 40])
def test_restart_from_the_initial_rule(tmp_path: Path, constants: int) -> None:
    settings = small(restart="initial", restart_after=50, constants_programs=constants)
    pretend(tmp_path / "j", settings, 500)
    proposals: list[Proposal] = rows(tmp_path / "j")["proposals"]
    starts = [p for p in proposals if p.parent is None and p.phase == "structure"]
    again = [p for p in starts if p.mutation == "restart: initial"]
    assert len(again) >= 2
    assert {p.program for p in again} == {starts[0].program}


def test_no_restart_where_none_is_wanted(tmp_path: Path) -> None:
    search = pretend(tmp_path / "j", small(restart="none", restart_after=20), 400)
    proposals: list[Proposal] = rows(tmp_path / "j")["proposals"]
    assert [p.number for p in proposals if p.parent is None] == [0]
    assert search.history.tally.restarts == 0


def test_progress_delays_a_restart(tmp_path: Path) -> None:
    better = itertools.count()
    search = pretend(tmp_path / "j", small(restart_after=60), 400, lambda program: -next(better))
    assert search.history.tally.restarts == 0


def test_the_random_strategy_selects_nothing(tmp_path: Path) -> None:
    pretend(tmp_path / "j", small(strategy="random", restart_after=10), 300)
    proposals: list[Proposal] = rows(tmp_path / "j")["proposals"]
    assert {p.phase for p in proposals} == {"random"}
    assert {p.parent for p in proposals} == {None, 0} and proposals[0].parent is None
    lengths = {len(parse(p.program).statements) for p in proposals}
    assert len(lengths) > 5, "walks differ in length"


def test_the_constants_strategy_changes_constants_only(tmp_path: Path) -> None:
    pretend(tmp_path / "j", small(strategy="constants", restart_after=60), 400)
    proposals: list[Proposal] = rows(tmp_path / "j")["proposals"]
    assert {p.phase for p in proposals} == {"constants"}
    shapes = {tuple((s.target, s.function) for s in parse(p.program).statements) for p in proposals}
    assert len(shapes) == 1
    assert any(p.mutation.startswith("restart") for p in proposals)


def test_the_history_is_that_of_the_journal(run: Path, tmp_path: Path) -> None:
    live = pretend(tmp_path / "j", BUSY, 600)
    assert rows(tmp_path / "j") == rows(run), "the same settings, the same history"
    read = pretend(tmp_path / "j", BUSY, 600)
    assert state(read.history) == state(live.history)
    assert rows(tmp_path / "j") == rows(run), "reading changes nothing"


def test_a_search_in_many_sessions_is_that_of_one(run: Path, tmp_path: Path) -> None:
    for programs in (1, 2, 90, 130, 131, 300, 420, 600):
        last = pretend(tmp_path / "j", BUSY, programs)
    assert rows(tmp_path / "j") == rows(run)
    assert state(last.history) == state(pretend(run, BUSY, 600).history)


def test_a_stop_at_any_moment_leaves_a_prefix(run: Path, tmp_path: Path) -> None:
    """As a budget of minutes does."""
    source, whole = random.Random(0), rows(run)
    for number in range(6):
        path, left = tmp_path / f"{number}", [source.randrange(1, 90)]

        def stop(history: History, left: list[int] = left) -> bool:
            left[0] -= 1
            return left[0] < 0

        search_until(path, stop)
        part = rows(path)
        for table in ("proposals", "verdicts", "events"):
            assert part[table] == whole[table][: len(part[table])]


def search_until(path: Path, stop: object) -> None:
    with Journal.create(path, {}) as journal:
        executor = InlineExecutor(lambda: evaluation(by_content))
        search = invented_search(BUSY, JobRunner(executor, journal))
        search.run(stop)  # type: ignore[arg-type]


@pytest.mark.parametrize("lag", [1, 2, 7])
def test_any_lag_works(tmp_path: Path, lag: int) -> None:
    settings = small(lag=lag, constants_programs=50, restart_after=50)
    pretend(tmp_path / "whole", settings, 300)
    for programs in (70, 150, 300):
        pretend(tmp_path / "parts", settings, programs)
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")


def test_another_seed_is_another_search(run: Path, tmp_path: Path) -> None:
    pretend(tmp_path / "j", small(constants_programs=100, restart_after=60, seed=1), 100)
    assert rows(tmp_path / "j")["proposals"][1:20] != rows(run)["proposals"][1:20]


def test_the_leader_is_measured_on_fresh_seeds(run: Path) -> None:
    history = rows(run)
    with Journal.open(run, write=False) as journal:
        events = list(journal.events("rescore"))
    assert events and len({e.detail["fingerprint"] for e in events}) == len(events)
    of = {v.fingerprint: v.fitness for v in history["verdicts"]}
    for event in events:
        assert event.batch % BUSY.rescore_every == 0
        assert event.detail["fitness"] == pytest.approx(of[event.detail["fingerprint"]])


def test_a_rescored_leader_that_was_lucky_does_not_stay(tmp_path: Path) -> None:
    """Measured again it is worst; what was measured better is the incumbent."""
    search = pretend(tmp_path / "j", small(), 200)
    history = search.history
    first, second = history.leading("structure")[:2]
    history.rescored = {first.fingerprint: 0.3, second.fingerprint: -0.1}
    assert history.incumbent("structure") == second
    history.rescored = {}
    assert history.incumbent("structure") == first


def test_a_fresh_score_is_pooled_with_the_old_one(tmp_path: Path) -> None:
    """Seeds count alike; the rank falls in the population, among the best and in the lookup."""
    settings = small(rescore_repeats=2)  # and 2 seeds in the search
    history = pretend(tmp_path / "j", settings, 200).history
    lucky, second = history.leading("structure")[:2]
    member = history.known[lucky.fingerprint].rank
    history.apply([], [], [Event(9, "rescore", {"fingerprint": lucky.fingerprint, "fitness": 9.0})])
    pooled = (settings.seeds * member[2] + 2 * 9.0) / (settings.seeds + 2)
    assert history.known[lucky.fingerprint].rank == (0.0, 0.0, pooled, *member[3:])
    assert history.leading("structure")[0].fingerprint == second.fingerprint
    assert history.phase_best == second.fitness
    ranks = {m.rank for m in history.population.members if m.fingerprint == lucky.fingerprint}
    assert ranks <= {(0.0, 0.0, pooled, *member[3:])}


@pytest.mark.parametrize("states", [0, 1, 2])
def test_states_stay_bounded(tmp_path: Path, states: int) -> None:
    start = {0: "def train(w, g, lr):\n    u = g * 0.1\n    u = u * lr\n    return u"}.get(
        states, load_rule({1: "lion", 2: "adamw_bias_correction"}.get(states, "lion")).text
    )
    pretend(tmp_path / "j", small(start=start, max_state_bytes=4.0 * states), 400)
    for p in rows(tmp_path / "j")["proposals"]:
        assert cost(parse(p.program)).state_bytes <= 4.0 * states


def test_programs_stay_below_the_longest(tmp_path: Path) -> None:
    pretend(tmp_path / "j", small(max_statements=12, insert=5.0), 300)
    lengths = [len(parse(p.program).statements) for p in rows(tmp_path / "j")["proposals"]]
    assert max(lengths) == 12


def test_when_nearly_all_is_known_a_batch_ends(tmp_path: Path) -> None:
    """One statement with one constant: deleting and inserting is all there is to find."""
    start = "def train(w, g, lr):\n    u = g * 0.1\n    return u"
    settings = small(start=start, insert=0.0, delete=1.0, modify=1.0, max_state_bytes=0.0)
    pretend(tmp_path / "j", settings, 300)
    sizes = Counter(p.batch for p in rows(tmp_path / "j")["proposals"])
    assert max(sizes.values()) <= 16 * settings.batch


def test_different_numbers_of_equal_programs_are_counted(tmp_path: Path) -> None:
    good = pretend(tmp_path / "good", small(), 300, recheck=1.0)
    assert good.history.tally.mismatches == 0 and good.history.tally.cached > 20
    bad = pretend(tmp_path / "bad", small(), 300, numeric="0", recheck=1.0)
    with Journal.open(tmp_path / "bad", write=False) as journal:
        events = list(journal.events("mismatch"))
    assert bad.history.tally.mismatches == len(events) > 10
    pretend(tmp_path / "resumed", small(), 150, numeric="0", recheck=0.0)
    resumed = pretend(tmp_path / "resumed", small(), 300, recheck=1.0)
    assert resumed.history.tally.mismatches == 0  # numbers of an earlier session tell nothing


def test_a_start_that_is_rejected_does_not_stop_the_search(tmp_path: Path) -> None:
    start = fingerprint(load_rule("adamw"))

    def quality(program: Program) -> float:
        return math.inf if fingerprint(program) == start else by_content(program)

    search = pretend(tmp_path / "j", small(constants_programs=50), 200, quality)
    assert search.history.best


def test_nothing_is_ever_judged(tmp_path: Path) -> None:
    search = pretend(
        tmp_path / "j", small(constants_programs=50, restart_after=30), 300, lambda p: math.inf
    )
    assert not search.history.best and search.history.tally.restarts > 0
    assert search.history.incumbent("structure") is None


def test_no_leader_is_measured_twice_while_batches_are_in_flight(tmp_path: Path) -> None:
    settings = small(lag=5, rescore_every=1, constants_programs=0)
    for programs in (60, 150):  # interrupted once
        pretend(tmp_path / "parts", settings, programs)
    pretend(tmp_path / "whole", settings, 150)
    with Journal.open(tmp_path / "whole", write=False) as journal:
        measured = [e.detail["fingerprint"] for e in journal.events("rescore")]
    assert len(measured) > 3 and len(set(measured)) == len(measured)
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")
