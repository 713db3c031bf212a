"""Children differ from their parents in one thing, are valid, and follow the paper's laws."""

from __future__ import annotations

import hashlib
import math
import random
from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given
from scipy import stats

from optforge.analysis import cost, live_program, state_kinds, variable_kinds
from optforge.errors import SearchError
from optforge.evolution import Mutator
from optforge.language import (
    FUNCTION_SETS,
    MAX_STATES,
    Kind,
    Program,
    Statement,
    load_rule,
    parse,
    round_constant,
    round_constants,
)
from optforge.optim import ProgramOptimizer
from tests.strategies import programs, rated_programs, seeds

ADAMW = load_rule("adamw")
SETS = tuple(FUNCTION_SETS)
WITHOUT_CONSTANTS = parse("def train(w, g, lr):\n    u = g * lr\n    return u")


def child(parent: Program, seed: int, **settings: object) -> tuple[Program, str]:
    return Mutator(**settings).child(parent, random.Random(seed))  # type: ignore[arg-type]


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
    kept = cost(parent).state_bytes
    limit = len(parent.statements) + 1
    mutator, source, made = (
        Mutator(max_statements=limit, max_state_bytes=kept, add_state=0.5, functions=SETS),
        random.Random(seed),
        parent,
    )
    for _ in range(30):
        try:
            made, _ = mutator.child(made, source)
        except SearchError:  # nothing fits these limits any more: begin the walk again
            made = parent
        assert len(made.statements) <= limit
        assert cost(made).state_bytes <= kept and len(state_kinds(made)) <= MAX_STATES


@given(rated_programs(), seeds())
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


@pytest.mark.parametrize(
    "weights",
    [(1.0, 1.0, 1.0, 0.0), (2.0, 1.0, 1.0, 0.0), (1.0, 0.0, 3.0, 0.0), (1.0, 1.0, 1.0, 0.25)],
)
def test_weights_are_those_of_the_draw(weights: tuple[float, float, float, float]) -> None:
    """The first draws, before invalid children are thrown away."""
    source = random.Random(1)
    mutator = Mutator(*weights[:3], add_state=weights[3], max_statements=99)
    words: Counter[str] = Counter()
    while words.total() < 4000:
        drawn = mutator._draw(ADAMW, source)
        # In a modification, drawing the old argument again gives nothing; count it as well.
        words[drawn[1].split()[0] if drawn else "modify"] += 1
    for word, weight in zip(("insert", "delete", "modify", "add"), weights, strict=True):
        share = weight / sum(weights)
        margin = 4 * math.sqrt(share * (1 - share) / 4000)
        if not weights[3] or word in ("insert", "delete"):
            assert abs(words[word] / 4000 - share) <= margin
        elif word == "add":  # all averages, and of the other half what takes two arguments
            assert share / 2 - margin <= words[word] / 4000 <= share + margin


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


def test_insertions_on_matrices_leave_all_other_arrays_as_they_were() -> None:
    mutator = Mutator(delete=0.0, modify=0.0, in_place=1.0, on_matrices=1.0,
                      functions=("paper", "matrices"))  # fmt: skip
    # Without a constant of the rate, which an optimizer takes for the rate itself.
    parent = parse(ADAMW.text.replace("    lr = lr * 0.001\n", ""))
    source, apart = random.Random(8), 0
    for _ in range(60):
        child, what = mutator.child(parent, source)
        if not what.endswith(" on matrices"):  # a function without arguments
            continue
        assert child.statements[int(what.split()[1]) + 1].function == "where_matrix"
        (vector, matrix), (vector_before, matrix_before) = map(after_steps, (child, parent))
        torch.testing.assert_close(vector, vector_before, rtol=0, atol=0, equal_nan=True)
        apart += not torch.equal(matrix, matrix_before)
    assert apart > 20, "matrices go another way"


def after_steps(program: Program) -> tuple[torch.Tensor, torch.Tensor]:
    """A vector and a hidden matrix after three steps on the same gradients."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((7,), (3, 4))
    weights = [torch.randn(shape, generator=generator) for shape in shapes]
    groups = [{"params": [w], "matrices": w.ndim == 2} for w in weights]
    optimizer = ProgramOptimizer(groups, program, lr=0.1)
    for _ in range(3):
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step()
    return weights[0], weights[1]


def test_a_given_rewriting_comes_within_a_few_thousand_programs() -> None:
    source, mutator = random.Random(7), Mutator()
    wanted = Statement("lr", "sqrt", ("lr",))
    found = sum(wanted in mutator.child(ADAMW, source)[0].statements for _ in range(20_000))
    assert found >= 3


def test_every_function_place_and_kind_of_argument_turns_up() -> None:
    source = random.Random(2)
    mutator = Mutator(delete=0.0, modify=0.0, in_place=0.0, max_statements=99)
    children = [mutator.child(ADAMW, source) for _ in range(3000)]
    assert {what.split()[2] for _, what in children} == set(FUNCTION_SETS["paper"])
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
    assert cost(parent).state_bytes == 8.0 and len(parent.states) == 3
    source, mutator = random.Random(5), Mutator(max_state_bytes=8.0, max_statements=40)
    for _ in range(400):
        made, _ = mutator.child(parent, source)
        assert cost(made).state_bytes <= 8.0
    free = Mutator(max_state_bytes=12.0, max_statements=40)
    grown = [cost(free.child(parent, source)[0]).state_bytes for _ in range(400)]
    assert 12.0 in grown, "without the limit it happens"


def test_what_is_kept_for_other_arrays_alone_is_within_the_limit() -> None:
    """Nearly all weights are in hidden matrices; a state that these do not read costs nothing."""
    parent = load_rule("muon")
    assert state_kinds(parent).count(Kind.TREE) > 1 and cost(parent).state_bytes == 4.0
    source, mutator = random.Random(8), Mutator(max_state_bytes=4.0, max_statements=40)
    made = [mutator.child(parent, source)[0] for _ in range(200)]
    assert all(cost(child).state_bytes <= 4.0 for child in made)
    trees = [state_kinds(live_program(child)).count(Kind.TREE) for child in made]
    assert max(trees) > 1, "most need both states still"


@pytest.mark.parametrize("functions", [("masks",), ("matrices", "time"), SETS])
def test_functions_come_from_the_chosen_sets_each_as_often(functions: tuple[str, ...]) -> None:
    source = random.Random(9)
    mutator = Mutator(delete=0.0, modify=0.0, functions=functions, max_statements=99)
    of = {name: group for group in functions for name in FUNCTION_SETS[group]}
    drawn = [mutator._draw(ADAMW, source) for _ in range(3000)]
    names = Counter(what.split()[2] for _, what in filter(None, drawn))
    assert set(names) == set(of), "all of these, and no other"
    shares = Counter({group: 0 for group in functions})
    for name, count in names.items():
        shares[of[name]] += count
    assert len(shares) == 1 or stats.chisquare(list(shares.values())).pvalue > 1e-3
    for group in functions:
        within = [names[name] for name in FUNCTION_SETS[group]]
        assert len(within) == 1 or stats.chisquare(within).pvalue > 1e-3
    for _ in range(100):
        made, what = mutator.child(ADAMW, source)
        assert what.split()[2] in of
        state_kinds(made)


@pytest.mark.parametrize(
    ("start", "changes", "digest"),
    [
        ("adamw", {}, "9df84e3fba6b039f"),
        ("adamw", {"in_place": 0.0, "insert": 3.0}, "fa810c8e7e70c7c6"),
        ("lion", {}, "bdf90cd997b0afee"),
        ("program_8", {"in_place": 0.0, "insert": 3.0}, "b78e0c34793e28bf"),
    ],
)
def test_in_the_papers_space_children_are_what_they_were(
    start: str, changes: dict[str, Any], digest: str
) -> None:
    """The digests were made before there were other sets of functions and a mutation for states."""
    source, made, found = random.Random(start), load_rule(start), hashlib.sha256()
    mutator = Mutator(**changes)
    for number in range(400):
        drawn, what = mutator.child(made, source)
        found.update(f"{what}\n{drawn.text}".encode())
        made = load_rule(start) if number % 20 == 19 else drawn
    assert found.hexdigest()[:16] == digest


def test_functions_of_whole_arrays_are_inserted_where_there_are_arrays() -> None:
    """Numbers have no rows and no matrices; the paper's own draws stay what they were."""
    source = random.Random(10)
    mutator = Mutator(delete=0.0, modify=0.0, functions=("rows", "matrices"), max_statements=99)
    elsewhere = 0
    for _ in range(400):
        drawn = mutator._draw(ADAMW, source)
        assert drawn is not None
        made, what = drawn
        inserted = made.statements[int(what.split()[1])]
        kinds = variable_kinds(ADAMW)[int(what.split()[1])]
        if inserted.function == "where_matrix":
            elsewhere += any(isinstance(a, float) for a in inserted.arguments)
            continue
        assert all(isinstance(a, str) and kinds[a] >= Kind.TREE for a in inserted.arguments)
    assert elsewhere, "what chooses between values takes numbers as well"
