"""A new state: an average of a value, or the value one step before, whatever reads it following."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given

from optforge.analysis import (
    cost,
    fingerprint,
    live_program,
    numeric_fingerprint,
    probe_updates,
    state_kinds,
)
from optforge.errors import SearchError
from optforge.evolution import Mutator
from optforge.evolution.genome import Genome, recall
from optforge.language import (
    FUNCTION_SETS,
    MAX_STATES,
    Interpreter,
    Layout,
    Program,
    Statement,
    load_rule,
    parse,
)
from tests.helpers.searches import pretend, rows, small
from tests.strategies import rated_programs, seeds

SETS = tuple(FUNCTION_SETS)
ADAMW, LION = load_rule("adamw"), load_rule("lion")
SGD = parse("def train(w, g, lr):\n    d = g * 0.3\n    u = d * lr\n    return u")
FULL = parse(
    "def train(w, g, a, b, c, d, lr):\n    u = g * lr\n    u = u + a\n    u = u + b\n"
    "    u = u + c\n    u = u + d\n    return u, g, a, b, c"
)
IDLE = parse(
    "def train(w, g, a, b, c, d, lr):\n    u = g * lr\n    u = u + a\n    d = d + b\n"
    "    return u, g, a, c, d"
)


def adding(**settings: object) -> Mutator:
    """A mutator that does nothing else."""
    only = {"insert": 0.0, "delete": 0.0, "modify": 0.0, "add_state": 1.0}
    return Mutator(**{"max_statements": 99, **only, **settings})  # type: ignore[arg-type]


def added(parent: Program, made: Program, what: str) -> Statement:
    """The one statement that is new; everything else is what it was, but for who is read."""
    word, kind, place, name = what.split()
    assert (word, kind) == ("add", "state")
    assert made.parameters[:-2] == parent.parameters[:-1] and made.lr == parent.lr
    new = made.statements[int(place)]
    state = made.parameters[-2]
    old = {*parent.parameters, *(s.target for s in parent.statements)}
    assert new.function == name and {state, new.target}.isdisjoint(old) and state != new.target
    target = new.arguments[0]
    assert new.arguments[1] == state and target in old
    assert made.outputs[-1] in (new.target, target), "the mixture is kept, or the value itself"
    rest = [*made.statements[: int(place)], *made.statements[int(place) + 1 :]]
    back = [
        Statement(
            s.target, s.function, tuple(target if a == new.target else a for a in s.arguments)
        )
        for s in rest
    ]
    assert tuple(back) == parent.statements
    outputs = tuple(target if name == new.target else name for name in made.outputs[:-1])
    assert outputs == parent.outputs
    return new


@given(rated_programs(most_states=MAX_STATES - 1), seeds())
def test_a_child_is_its_parent_with_a_mixture_in_the_place_of_a_value(
    parent: Program, seed: int
) -> None:
    mutator = adding(functions=SETS)
    child, mutation = mutator.draw(recall(parent), random.Random(seed))
    added(parent, child.program, mutation)
    assert child == examined(child.program), "what is known of the parent only saves time"
    assert (child.program, mutation) == mutator.child(parent, random.Random(seed))


def examined(program: Program) -> Genome:
    """What is known of a program, found out from nothing but itself."""
    lean = live_program(program)
    return Genome(program, state_kinds(program), lean, fingerprint(program))


def test_without_the_mixture_the_child_is_the_parent() -> None:
    source, expected = random.Random(0), numeric_fingerprint(probe_updates(ADAMW))
    for _ in range(200):
        made, what = adding(functions=SETS).child(ADAMW, source)
        new = added(ADAMW, made, what)
        kept = Statement(new.target, "multiply", (new.arguments[0], 1.0))
        statements = tuple(kept if s is new else s for s in made.statements)
        same = Program(made.parameters, statements, made.outputs)
        lean = live_program(same)
        assert numeric_fingerprint(probe_updates(lean)) == expected


def test_an_average_of_the_gradient_can_be_drawn_and_is_momentum() -> None:
    """The weights go the way of a loop by hand, with the memory that was drawn."""
    found = {}
    for seed in range(300):
        made, what = adding().child(SGD, random.Random(seed))
        new = added(SGD, made, what)
        if new.function == "interp" and new.arguments[0] == "g" and what.split()[2] == "0":
            found[made.outputs[-1] == new.target] = made, new.arguments[2]
    assert set(found) == {True, False}, "an average of all steps, and one of two steps"
    gradients = np.random.default_rng(0).standard_normal((12, 7))
    for average, (made, memory) in found.items():
        assert isinstance(memory, float) and 0 < memory < 1
        rule = Interpreter(made, state_kinds(made), Layout((4, 3)), torch.float64)
        states = rule.initial_states(1)
        weights, w, m = torch.zeros(1, 7, dtype=torch.float64), np.zeros(7), np.zeros(7)
        for gradient in gradients:
            update, states = rule.step(
                weights, torch.from_numpy(gradient)[None], states, rule.scalars(1.0)
            )
            weights = weights - update
            mixed = memory * m + (1 - memory) * gradient
            m = mixed if average else gradient
            w -= 0.3 * mixed
            np.testing.assert_allclose(weights[0].numpy(), w, rtol=1e-9, atol=1e-12)


def test_memories_reach_from_one_step_to_a_few_hundred() -> None:
    made = [adding().child(SGD, random.Random(seed)) for seed in range(400)]
    memories = np.array([
        float(new.arguments[2]) for new in (added(SGD, *one) for one in made)
        if new.function == "interp"
    ])  # fmt: skip
    assert memories.min() < 0.5 and memories.max() > 0.99 and (memories < 0.9969).all()
    quartiles = np.quantile(np.log10(1 - memories), [0.25, 0.5, 0.75])
    np.testing.assert_allclose(quartiles, [-1.925, -1.35, -0.775], atol=0.25)


@pytest.mark.parametrize("limit", [8.0, 12.0, 16.0])
def test_states_that_matter_stay_within_the_limit(limit: float) -> None:
    source, found = random.Random(1), set()
    for _ in range(300):
        made, _ = adding(max_state_bytes=limit, functions=SETS).child(ADAMW, source)
        found.add(cost(made).state_bytes)
    assert max(found) == min(limit, 12.0), "one more than AdamW has, or one in place of its own"


def test_one_that_nothing_reads_makes_room() -> None:
    assert len(FULL.states) == len(IDLE.states) == MAX_STATES
    assert len(live_program(FULL).states) == 4 and len(live_program(IDLE).states) == 1
    source = random.Random(2)
    for _ in range(100):
        made, what = adding().child(IDLE, source)
        added(live_program(IDLE), made, what)
        assert len(made.states) == 2
    with pytest.raises(SearchError, match="no valid mutation"):
        adding().child(FULL, source)


def test_a_program_at_its_longest_gets_no_state() -> None:
    mutator = Mutator(max_statements=len(ADAMW.statements), add_state=9.0)
    source = random.Random(3)
    assert not any(mutator.child(ADAMW, source)[1].startswith("add") for _ in range(200))


def test_a_search_adds_states_within_its_limit_and_resumes(tmp_path: Path) -> None:
    settings = small(start=LION.text, add_state=1.0, max_state_bytes=8.0, functions=SETS)
    pretend(tmp_path / "j", settings, 400)
    proposals = rows(tmp_path / "j")["proposals"]
    found = [parse(p.program) for p in proposals]
    assert max(cost(program).state_bytes for program in found) == 8.0
    grown = [p for p in proposals if p.mutation.startswith("add state")]
    assert len(grown) > 20 and len({p.fingerprint for p in grown}) > 10
    for part in (150, 400):
        pretend(tmp_path / "parts", settings, part)
    assert rows(tmp_path / "parts") == rows(tmp_path / "j")
