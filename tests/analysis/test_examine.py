"""One walk for kinds and liveness against the two that it stands for."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optforge.analysis import examine, liveness, state_kinds
from optforge.analysis.examine import _at_once
from optforge.errors import ProgramError
from optforge.evolution.mutation import Mutator
from optforge.language import FUNCTIONS, Kind, Program, Statement, load_rule, rule_names
from tests.strategies import SHAPING, programs


@given(
    programs() | programs(SHAPING),
    st.lists(st.sampled_from(list(map(int, Kind))), min_size=4, max_size=4),
    st.sampled_from([0, 0, 0, -1, 1]),
)
def test_any_guess_gives_what_the_slow_walks_give(
    program: Program, guess: list[int], more: int
) -> None:
    expected = tuple(guess[: max(0, len(program.states) + more)])
    assert examine(program, expected) == (state_kinds(program), liveness(program))


@pytest.mark.parametrize("name", rule_names())
def test_the_right_guess_needs_one_walk(name: str) -> None:
    program = load_rule(name)
    assert _at_once(program, state_kinds(program)) == (liveness(program), None)


@settings(max_examples=200)
@given(programs() | programs(SHAPING), st.integers(0, 2**32 - 1))
def test_invalid_edits_are_refused_alike(program: Program, seed: int) -> None:
    source = random.Random(seed)
    names = [*program.parameters, *(s.target for s in program.statements), "undefined"]
    function = source.choice(list(FUNCTIONS))
    arity = FUNCTIONS[function].arity + (source.random() < 0.1)
    extra = Statement(source.choice(names), function, tuple(source.choices(names, k=arity)))
    place = source.randrange(len(program.statements) + 1)
    body = (*program.statements[:place], extra, *program.statements[place:])
    edited = Program(program.parameters, body, program.outputs)
    try:
        slow = (state_kinds(edited), liveness(edited))
    except ProgramError as error:
        with pytest.raises(ProgramError):
            examine(edited, state_kinds(program))
        with pytest.raises(ProgramError) as caught:
            examine(edited)
        assert str(caught.value) == str(error)
    else:
        assert examine(edited, state_kinds(program)) == slow


def test_most_children_need_one_walk_and_nearly_all_two() -> None:
    source, parent = random.Random(0), load_rule("adamw")
    kinds, walks = state_kinds(parent), Counter[int]()
    for _ in range(200):
        child = Mutator().child(parent, source)[0]
        live, better = _at_once(child, kinds)
        if live is None and better is not None:  # some make a state a scalar
            walks[2] += _at_once(child, better)[0] is not None
        walks[1] += live is not None
    assert walks[1] > 150 and walks[1] + walks[2] > 190
