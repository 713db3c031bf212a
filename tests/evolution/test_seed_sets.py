"""A restart goes on with other seeds, so that no line of programs fits itself to one set."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from optforge.api.search_options import SearchOptions
from optforge.assessment.select import _in_turn
from optforge.evolution import make_executor
from optforge.evolution.candidate import Standing, key_of, seed_set_of
from optforge.evolution.genome import recall
from optforge.evolution.known import KnownPrograms
from optforge.execution import InlineExecutor
from optforge.fitness import Judge, rank
from optforge.language import load_rule
from optforge.runs import Proposal
from tests.helpers.searches import (
    evaluation,
    judged,
    pretend,
    rows,
    small,
    state,
    tiny_plan,
    train_search,
)

SETS = small(seed_sets=3, restart_after=60)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "journal.sqlite"
    pretend(path, SETS, 700)
    return path


def proposals_of(run: Path) -> list[Proposal]:
    return rows(run)["proposals"]


def test_each_restart_goes_on_with_the_next_set(run: Path) -> None:
    proposals = proposals_of(run)
    restarts = [p for p in proposals if p.mutation.startswith("restart")]
    assert len(restarts) >= 4
    for count, restart in enumerate(restarts, 1):
        assert seed_set_of(restart.fingerprint) == count % 3
    starts = [p for p in proposals if p.parent is None]
    for number, start in enumerate(starts):
        end = starts[number + 1].number if number + 1 < len(starts) else len(proposals)
        sets = {seed_set_of(p.fingerprint) for p in proposals[start.number : end]}
        assert sets == {seed_set_of(start.fingerprint)}


def test_what_is_judged_on_other_seeds_gets_a_verdict_of_its_own(run: Path) -> None:
    proposals = proposals_of(run)
    verdicts = {v.id: v.fingerprint for v in rows(run)["verdicts"]}
    assert len(set(verdicts.values())) == len(verdicts), "nothing is judged twice on a set"
    for p in proposals:
        own = recall(p.program).fingerprint
        assert verdicts[p.verdict] == p.fingerprint == key_of(own, seed_set_of(p.fingerprint))


def test_a_start_on_other_seeds_comes_with_the_best_and_is_waited_for(run: Path) -> None:
    proposals = proposals_of(run)
    first = next(p for p in proposals if p.mutation.startswith("restart"))
    assert not first.cached
    batch = [p for p in proposals if p.batch == first.batch]
    again = [p for p in batch if p.mutation == "again: other seeds"]
    assert batch == [first, *again] and 1 <= len(again) <= 8
    assert {p.parent for p in again} == {first.number}
    former = {recall(p.program).fingerprint for p in proposals[: first.number]}
    assert {recall(p.program).fingerprint for p in batch} <= former
    parents = {p.parent for p in proposals if p.batch == first.batch + 1}
    assert parents <= {p.number for p in batch}, "drawn when the start had its verdict"


def test_a_course_of_its_own_begins_with_the_initial_rule_alone(tmp_path: Path) -> None:
    pretend(tmp_path / "run", replace(SETS, restart="initial"), 500)
    proposals = proposals_of(tmp_path / "run")
    restarts = [p for p in proposals if p.mutation == "restart: initial"]
    assert len(restarts) >= 2
    for restart in restarts:
        assert restart.program == proposals[0].program
        if not restart.cached:
            assert [p for p in proposals if p.batch == restart.batch] == [restart]


def test_fresh_seeds_decide_what_progress_is(tmp_path: Path) -> None:
    """Programs get better on the seeds of the search without end, and never on fresh ones."""

    def better_and_better(job: Any) -> Any:
        better_and_better.value -= 0.001  # type: ignore[attr-defined]
        return evaluation(lambda program: better_and_better.value)(job)  # type: ignore[attr-defined]

    better_and_better.value = 0.0  # type: ignore[attr-defined]

    def answer(job: Any) -> Any:
        return better_and_better(job) if isinstance(job, Judge) else evaluation(lambda p: 0.5)(job)

    for sets, restarts in ((1, 0), (2, 2)):
        history = pretend(
            tmp_path / f"{sets}",
            replace(SETS, seed_sets=sets, rescore_every=1),
            300,
            executor=lambda _: InlineExecutor(lambda: answer),
        ).history
        assert history.tally.restarts == restarts


def test_a_resumed_search_goes_on_with_the_same_seeds(tmp_path: Path) -> None:
    whole = pretend(tmp_path / "whole", SETS, 600)
    for programs in (150, 290, 430, 600):
        parts = pretend(tmp_path / "parts", SETS, programs)
    assert rows(tmp_path / "whole") == rows(tmp_path / "parts")
    assert state(whole.history) == state(parts.history)


def test_a_verdict_compares_with_the_baseline_on_its_own_seeds() -> None:
    plan = tiny_plan(small(seed_sets=2))
    executor = make_executor(plan, 0)
    adamw = plan.baselines["Blobs"]["adamw"].program
    rules = (adamw, load_rule("lion"))
    try:
        jobs = [Judge(rules, (), (False, False), given=True, seed_set=n) for n in (0, 1)]
        for number, job in enumerate(jobs):
            executor.submit(number, job)
        done: list[Any] = [executor.next(60.0) for _ in jobs]
        results = {job.key: job.result for job in done}
    finally:
        executor.close()
    first, second = results[0], results[1]
    for outcome in (first[0], second[0]):  # the baseline itself: a ratio of 1 on every seed
        assert outcome.fitness == pytest.approx(0.0, abs=1e-6)
        assert {len(values) for values in outcome.scores.values()} == {2}
    assert first[1].scores != second[1].scores
    assert all(math.isfinite(o.fitness) for o in (first[1], second[1]))


def test_a_real_search_with_sets_of_seeds_trains_and_resumes(tmp_path: Path) -> None:
    plan = tiny_plan(small(seed_sets=2, restart_after=20, rescore_every=2))
    assert all(len(losses["search"]) == 4 for losses in plan.losses.values())
    train_search(tmp_path / "run", plan, 80)
    history = train_search(tmp_path / "run", plan, 140)
    assert history.tally.restarts >= 1


def test_finalists_are_taken_from_each_set_in_turn_and_once() -> None:
    texts = [f"def train(w, g, lr):\n    u = g * {n}.5\n    return u" for n in range(5)]
    keys = [recall(text).fingerprint for text in texts]
    first = [judged(-0.1 + n / 100, keys[n], texts[n]) for n in range(3)]
    second = [judged(-0.5 + n / 100, key_of(keys[n], 1), texts[n]) for n in (2, 3, 4)]
    order = [texts.index(c.text) for c in _in_turn([*first, *second])]
    assert order == [2, 0, 3, 1, 4]
    assert [c.text for c in _in_turn(first)] == texts[:3]


@pytest.mark.parametrize(
    ("given", "sets", "restart"),
    [
        ({"minutes": 6.0}, 1, ("best", 20_000)),
        ({"minutes": 60.0}, 6, ("initial", 4_000)),
        ({"minutes": 25.0}, 2, ("initial", 4_000)),
        ({"minutes": math.inf}, 6, ("initial", 4_000)),
        ({"programs": 500}, 1, ("best", 20_000)),
        ({"minutes": 60.0, "programs": 17_000}, 2, ("initial", 4_000)),
        ({"minutes": 60.0, "seed_sets": 1}, 1, ("best", 20_000)),
        ({"minutes": 60.0, "restart": "none"}, 6, ("none", 4_000)),
        ({"minutes": 6.0, "seed_sets": 3, "restart_after": 50}, 3, ("initial", 50)),
    ],
)
def test_long_searches_have_several_sets(
    given: dict[str, Any], sets: int, restart: tuple[str, int]
) -> None:
    settings = SearchOptions(**given).settings(load_rule("adamw"), [])
    assert (settings.seed_sets, settings.restart, settings.restart_after) == (sets, *restart)


def test_the_same_program_on_other_seeds_is_no_twin() -> None:
    known = KnownPrograms()
    key = rank(-0.1, 5, -0.1, 4.0, 9)
    for number, name in enumerate(("a1", "a1@1", "b2", "b2@2")):
        known.add(name, Standing(number, key, name[:2]), None)
    assert not known.has_numbers("a1", "a1") and not known.has_numbers("a1", "a1@1")
    known.add("c3@1", Standing(4, key, "a1"), None)
    assert known.has_numbers("a1", "a1@1") and not known.has_numbers("a1", "a1")
    assert known.has_numbers("b2", "d4") and known.has_numbers("b2", "d4@2")
    assert not known.has_numbers("b2", "d4@1")
