"""Children differ from their parents in one thing, are valid, and follow the paper's laws."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest
from hypothesis import assume, given
from scipy import stats

from optforge.analysis import state_kinds
from optforge.errors import SearchError
from optforge.language import (
    Kind,
    Program,
    Statement,
    load_rule,
    parse,
    round_constant,
    round_constants,
)
from optforge.search import Mutator
from tests.strategies import programs, seeds

ADAMW = load_rule("adamw")
WITHOUT_CONSTANTS = parse("def train(w, g, lr):\n    u = g * lr\n    return u")


def child(parent: Program, seed: int, **settings: object) -> tuple[Program, str]:
    """A child; parents that nothing can be changed in are of no interest here."""
    try:
        return Mutator(**settings).child(parent, random.Random(seed))  # type: ignore[arg-type]
    except SearchError:
        assume(False)
        raise


def check_one_change(parent: Program, made: Program, what: str) -> None:
    """Find the one statement or argument in which they differ, where the words say it is."""
    assert (made.parameters, made.outputs) == (parent.parameters, parent.outputs)
    state_kinds(made)  # raises if it is not valid
    word, place, *rest = what.split()
    old, new, at = list(parent.statements), list(made.statements), int(place)
    if word == "insert":
        inserted = new.pop(at)
        assert inserted.function == rest[0] and new == old
        check_six_digits(inserted.arguments)
    elif word == "delete":
        del old[at]
        assert new == old
    else:
        assert word == "modify" and rest[0] == "argument"
        changed = [i for i, (a, b) in enumerate(zip(old, new, strict=True)) if a != b]
        assert changed == [at]
        before, after = old[at], new[at]
        assert (before.target, before.function) == (after.target, after.function)
        pairs = zip(before.arguments, after.arguments, strict=True)
        assert [i for i, (a, b) in enumerate(pairs) if a != b] == [int(rest[1])]
        check_six_digits(after.arguments[int(rest[1])])


def check_six_digits(arguments: object) -> None:
    for value in arguments if isinstance(arguments, tuple) else (arguments,):
        assert isinstance(value, str) or value == round_constant(value)


@given(programs(), seeds())
def test_one_thing_changes_and_the_child_is_valid(parent: Program, seed: int) -> None:
    made, what = child(parent, seed, max_statements=64)
    check_one_change(parent, made, what)
    assert made != parent


@given(programs(), seeds())
def test_a_long_walk_keeps_every_limit(parent: Program, seed: int) -> None:
    trees = state_kinds(parent).count(Kind.TREE)
    limit = len(parent.statements) + 1
    mutator, source, made = (
        Mutator(max_statements=limit, max_states=trees),
        random.Random(seed),
        parent,
    )
    for _ in range(30):
        try:
            made, _ = mutator.child(made, source)
        except SearchError:
            assume(False)
        assert len(made.statements) <= limit
        assert state_kinds(made).count(Kind.TREE) <= trees


@given(programs(), seeds())
def test_constants_only_touches_one_constant(parent: Program, seed: int) -> None:
    made, what = child(round_constants(parent), seed, constants_only=True)
    assert what.startswith("modify ")
    check_one_change(round_constants(parent), made, what)
    pairs = zip(parent.statements, made.statements, strict=True)
    for old, new in pairs:
        for a, b in zip(old.arguments, new.arguments, strict=True):
            assert isinstance(a, str) == isinstance(b, str)
            if isinstance(a, str):
                assert a == b
            elif isinstance(b, float) and b != round_constant(a):
                assert math.copysign(1, a) == math.copysign(1, b), "doubling keeps the sign"


@given(programs(), seeds())
def test_same_seed_same_child(parent: Program, seed: int) -> None:
    assert child(parent, seed) == child(parent, seed)


def test_a_program_at_its_longest_grows_no_more() -> None:
    source = random.Random(0)
    mutator = Mutator(max_statements=len(ADAMW.statements))
    words = Counter(mutator.child(ADAMW, source)[1].split()[0] for _ in range(300))
    assert words["insert"] == 0 and words["delete"] > 0 and words["modify"] > 0


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (2.0, 1.0, 1.0), (1.0, 0.0, 3.0)])
def test_weights_are_those_of_the_draw(weights: tuple[float, float, float]) -> None:
    """The first draws, before invalid children are thrown away."""
    source, mutator = random.Random(1), Mutator(*weights, max_statements=99)
    words: Counter[str] = Counter()
    while words.total() < 4000:
        drawn = mutator._draw(ADAMW, source)
        # In a modification, drawing the old argument again gives nothing; count it as well.
        words[drawn[1].split()[0] if drawn else "modify"] += 1
    for word, weight in zip(("insert", "delete", "modify"), weights, strict=True):
        share = weight / sum(weights)
        margin = 4 * math.sqrt(share * (1 - share) / 4000)
        assert abs(words[word] / 4000 - share) <= margin


def test_insertions_in_place_rewrite_what_is_still_read() -> None:
    source = random.Random(6)
    mutator = Mutator(delete=0.0, modify=0.0, in_place=1.0, max_statements=99)
    for _ in range(500):
        made, what = mutator.child(ADAMW, source)
        place = int(what.split()[1])
        inserted, rest = made.statements[place], made.statements[place + 1 :]
        if not inserted.arguments:
            continue
        assert inserted.target in inserted.arguments
        reads = [s for s in rest if inserted.target in s.arguments]
        writes = [s for s in rest if s.target == inserted.target]
        read_first = reads and (not writes or rest.index(reads[0]) <= rest.index(writes[0]))
        assert read_first or (not writes and inserted.target in made.outputs)


def test_a_given_rewriting_comes_within_a_few_thousand_programs() -> None:
    source, mutator = random.Random(7), Mutator()
    wanted = Statement("lr", "sqrt", ("lr",))
    found = sum(wanted in mutator.child(ADAMW, source)[0].statements for _ in range(20_000))
    assert found >= 3


def test_every_function_place_and_kind_of_argument_turns_up() -> None:
    source = random.Random(2)
    mutator = Mutator(delete=0.0, modify=0.0, in_place=0.0, max_statements=99)
    children = [mutator.child(ADAMW, source) for _ in range(3000)]
    assert {what.split()[2] for _, what in children} == set(mutator.functions)
    assert {int(what.split()[1]) for _, what in children} == set(range(len(ADAMW.statements) + 1))
    inserted = [made.statements[int(what.split()[1])] for made, what in children]
    constants = [a for s in inserted for a in s.arguments if isinstance(a, float)]
    share = len(constants) / sum(len(s.arguments) for s in inserted)
    assert 0.2 < share < 0.35  # a quarter before the invalid are thrown away
    assert stats.kstest(constants, "norm").pvalue > 1e-3
    old = {*ADAMW.parameters, *(s.target for s in ADAMW.statements)}
    assert any(s.target not in old for s in inserted) and any(s.target in old for s in inserted)


def test_old_constants_are_doubled_a_normal_number_of_times() -> None:
    source, mutator = random.Random(3), Mutator(constants_only=True)
    powers = []
    for _ in range(2000):
        made, what = mutator.child(ADAMW, source)
        _, place, _, number = what.split()
        old, new = (p.statements[int(place)].arguments[int(number)] for p in (ADAMW, made))
        assert isinstance(old, float) and isinstance(new, float)
        powers.append(math.log2(new / old))
    assert stats.kstest(powers, "norm").pvalue > 1e-3


def test_a_variable_may_become_a_variable_or_a_constant() -> None:
    source, mutator = random.Random(4), Mutator(insert=0.0, delete=0.0)
    kinds: Counter[tuple[bool, bool]] = Counter()
    for _ in range(2000):
        made, what = mutator.child(ADAMW, source)
        _, place, _, number = what.split()
        old, new = (p.statements[int(place)].arguments[int(number)] for p in (ADAMW, made))
        kinds[isinstance(old, str), isinstance(new, str)] += 1
    assert kinds[True, True] > 0 and kinds[True, False] > 0 and kinds[False, False] > 0
    assert kinds[False, True] == 0, "constants are doubled, as the paper has it"


def test_constants_stay_below_ten_to_the_ten() -> None:
    parent = parse("def train(w, g, lr):\n    u = g * 9e9\n    return u")
    for seed in range(50):
        made, _ = Mutator(constants_only=True).child(parent, random.Random(seed))
        assert abs(float(made.statements[0].arguments[1])) <= 1e10


@pytest.mark.parametrize("parent", [WITHOUT_CONSTANTS, Program(("w", "g", "lr"), (), ("g",))])
def test_nothing_to_change_is_a_clear_error(parent: Program) -> None:
    with pytest.raises(SearchError, match="at least\\s+one constant"):
        Mutator(constants_only=True).child(parent, random.Random(0))


def test_a_scalar_state_does_not_grow_into_a_tree_beyond_the_limit() -> None:
    parent = load_rule("adamw_bias_correction")
    assert state_kinds(parent).count(Kind.TREE) == 2
    source, mutator = random.Random(5), Mutator(max_states=2, max_statements=40)
    for _ in range(400):
        made, _ = mutator.child(parent, source)
        assert state_kinds(made).count(Kind.TREE) <= 2
    free = Mutator(max_states=3, max_statements=40)
    grown = [state_kinds(free.child(parent, source)[0]).count(Kind.TREE) for _ in range(400)]
    assert 3 in grown, "without the limit it happens"
