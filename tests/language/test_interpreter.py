"""The interpreter against plain loops written from the paper, and against torch.optim."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from optforge.analysis import state_kinds
from optforge.errors import ProgramError
from optforge.language import Interpreter, Kind, Layout, Program, layout_of, load_rule, parse
from optforge.language.program import Statement
from tests.helpers.loops import LOOPS
from tests.strategies import programs, random_program, seeds

SHAPES = ((3, 4), (), (5,), (0, 2))
LAYOUT = layout_of(SHAPES)
STEPS = 50
SCHEDULE = [min(1.0, (i + 1) / 10) * (1 - i / (STEPS + 10)) for i in range(STEPS)]
ENGINES = pytest.mark.parametrize("arrays", [False, True], ids=["torch", "numpy"])


def gradients(rows: int = 1, steps: int = STEPS, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    noise = generator.normal(size=(steps, rows, LAYOUT.elements))
    return (noise + 0.3) * np.logspace(-2, 0.5, LAYOUT.elements)


def start(rows: int = 1) -> np.ndarray:
    return np.random.default_rng(99).normal(size=(rows, LAYOUT.elements))


def trained(
    program: Program,
    grads: np.ndarray,
    weights: np.ndarray,
    lrs: list[float] = SCHEDULE,
    arrays: bool = False,
) -> np.ndarray:
    """Weights after each step, ``[steps, rows, elements]``."""
    rule = Interpreter(program, state_kinds(program), LAYOUT, torch.float64, arrays)
    states, path = rule.initial_states(len(weights)), []
    value: Any = weights if arrays else torch.tensor(weights)
    with np.errstate(all="ignore"):
        for grad, scalars in zip(grads, rule.schedule(lrs), strict=True):
            handed = grad if arrays else torch.tensor(grad)
            update, states = rule.step(value, handed, states, scalars)
            value = value - update
            path.append(np.asarray(value).copy())
    return np.stack(path)


@ENGINES
@pytest.mark.parametrize("name", sorted(LOOPS))
def test_rule_is_the_loop_written_from_the_paper(name: str, arrays: bool) -> None:
    grads, weights = gradients(rows=2), start(rows=2)
    got = trained(load_rule(name), grads, weights, arrays=arrays)
    for row in range(2):
        expected = LOOPS[name](grads[:, row], weights[row], SCHEDULE)
        assert np.isfinite(expected).all()
        assert got[:, row] == pytest.approx(expected, rel=1e-11, abs=1e-14)


def torch_optimizer(
    build: Callable[[list[torch.Tensor]], torch.optim.Optimizer], rate: float
) -> np.ndarray:
    """Weights of each step of an optimizer of torch, on separate arrays."""
    sizes = [torch.Size(shape).numel() for shape in SHAPES]
    weights = torch.split(torch.tensor(start()[0]), sizes)
    tensors = [w.reshape(s).clone().requires_grad_() for w, s in zip(weights, SHAPES, strict=True)]
    optimizer, path = build(tensors), []
    for grad, lr in zip(gradients()[:, 0], SCHEDULE, strict=True):
        parts = torch.split(torch.tensor(grad), sizes)
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.grad = part.reshape(tensor.shape)
        optimizer.param_groups[0]["lr"] = rate * lr
        optimizer.step()
        path.append(torch.cat([t.detach().flatten() for t in tensors]).numpy())
    return np.stack(path)


@ENGINES
def test_adamw_with_bias_correction_is_torchs_adamw(arrays: bool) -> None:
    expected = torch_optimizer(
        lambda w: torch.optim.AdamW(w, lr=0.001, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01),
        0.001,
    )
    rule = load_rule("adamw_bias_correction")
    got = trained(rule, gradients(), start(), arrays=arrays)[:, 0]
    assert got == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_momentum_sgd_without_decay_is_torchs_sgd() -> None:
    """The decay is decoupled in the rule and not in torch, so it is taken out of both."""
    text = load_rule("momentum_sgd").text.replace("w * 0.0001", "w * 0.0")
    expected = torch_optimizer(lambda w: torch.optim.SGD(w, lr=0.1, momentum=0.9), 0.1)
    got = trained(parse(text), gradients(), start())[:, 0]
    assert got == pytest.approx(expected, rel=1e-12, abs=1e-15)


@given(programs(), seeds())
def test_rows_are_independent_of_each_other(program: Program, seed: int) -> None:
    grads, weights = gradients(3, 4, seed % 1000), start(3)
    got = trained(program, grads, weights, SCHEDULE[:4])
    grads[:, ::2], weights[::2] = 1e3, np.nan  # the rows beside
    assert np.array_equal(trained(program, grads, weights, SCHEDULE[:4])[:, 1], got[:, 1], True)


@pytest.mark.parametrize("name", sorted(LOOPS))
def test_a_row_alone_is_the_row_among_others(name: str) -> None:
    program, grads, weights = load_rule(name), gradients(4), start(4)
    together = trained(program, grads, weights)
    for row in range(4):
        alone = trained(program, grads[:, [row]], weights[[row]])
        assert alone[:, 0] == pytest.approx(together[:, row], rel=1e-12, abs=1e-15)


@given(programs(), st.lists(st.sampled_from([0.0, 1.0, 0.5, 0.3, 1e-3]), min_size=1, max_size=4))
def test_the_schedule_of_all_steps_is_that_of_each_step(program: Program, lrs: list[float]) -> None:
    for arrays in (False, True):
        rule = Interpreter(program, state_kinds(program), LAYOUT, torch.float64, arrays)
        with np.errstate(all="ignore"):
            together = rule.schedule(lrs)
            apart = [rule.scalars(lr, step, len(lrs)) for step, lr in enumerate(lrs)]
        assert len(together) == len(lrs)
        assert np.allclose(together, apart, rtol=1e-12, atol=0, equal_nan=True)
        assert all(type(value) is float for row in together for value in row)


def with_rate_as_a_state(program: Program) -> Program:
    """The same program, but the schedule value comes out of the first state."""
    start_ = Statement("kept", "add", (program.lr, 0.0))
    parameters = (*program.parameters[:2], program.lr, *program.states, "unused")
    outputs = (program.outputs[0], "kept", *program.outputs[1:])
    return Program(parameters, (start_, *program.statements), outputs)


@ENGINES
def test_what_is_computed_once_is_what_is_computed_in_every_step(arrays: bool) -> None:
    """The static path equals recomputing: with the schedule value in a state nothing is static."""
    source, equal, count = random.Random(1), 0, 0
    while count < 100:
        program = random_program(source)
        if len(program.states) == 4:
            continue
        kinds = state_kinds(program)
        static = Interpreter(program, kinds, LAYOUT, torch.float64, arrays)
        moved = with_rate_as_a_state(program)
        dynamic = Interpreter(moved, (Kind.SCALAR, *kinds), LAYOUT, torch.float64, arrays)
        values = [start(2), gradients(2, 1)[0], np.full((2, 1), 0.3)]
        handed: list[Any] = list(values) if arrays else [torch.tensor(v) for v in values]
        with np.errstate(all="ignore"):
            states, scalars = static.initial_states(2), dynamic.scalars(7.0)
            update, mine = static.step(handed[0], handed[1], states, static.scalars(0.3))
            other, rest = dynamic.step(handed[0], handed[1], [handed[2], *states], scalars)
        assert np.asarray(rest[0]) == pytest.approx(0.3)
        equal += agree([update, *mine], [other, *rest[1:]])
        count += 1
    assert equal >= 97  # not all: an ulp in front of a pole or a jump may become anything


def agree(some: list[Any], others: list[Any]) -> bool:
    pairs = zip(some, others, strict=True)
    return all(
        np.allclose(np.asarray(a), np.asarray(b), rtol=1e-9, atol=1e-12, equal_nan=True)
        for a, b in pairs
    )


@ENGINES
@given(program=programs())
def test_nothing_that_is_handed_in_is_changed(arrays: bool, program: Program) -> None:
    kinds = state_kinds(program)
    rule = Interpreter(program, kinds, LAYOUT, torch.float64, arrays)
    generator = np.random.default_rng(1)
    given_ = [generator.normal(size=(2, LAYOUT.width(k))) for k in (Kind.TREE, Kind.TREE, *kinds)]
    handed: list[Any] = [g.copy() for g in given_]
    if not arrays:
        handed = [torch.tensor(g) for g in given_]
    with np.errstate(all="ignore"):
        scalars = rule.scalars(0.5)
        kept = list(scalars)
        first, states = rule.step(handed[0], handed[1], handed[2:], scalars)
        for before, after in zip(given_, handed, strict=True):
            assert np.array_equal(before, np.asarray(after))
        assert np.array_equal(kept, scalars, equal_nan=True)
        again, _ = rule.step(handed[0], handed[1], handed[2:], scalars)  # nothing is remembered
    assert np.array_equal(np.asarray(first), np.asarray(again), equal_nan=True)
    assert first.shape == (2, LAYOUT.elements)
    assert [tuple(s.shape) for s in states] == [(2, LAYOUT.width(k)) for k in kinds]


def test_both_engines_compute_the_same() -> None:
    source, equal = random.Random(2), 0
    for seed in range(100):
        program, grads, weights = random_program(source), gradients(2, 2, seed), start(2)
        paths = [trained(program, grads, weights, [1.0, 0.5], arrays) for arrays in (False, True)]
        equal += agree(paths[:1], paths[1:])
    assert equal >= 95


def test_constants_beyond_float32_are_infinite_and_no_error() -> None:
    for line in (
        "interp(g, w, 1e300)",
        "min(g, 1e300)",
        "max(g, -1e300)",
        "g * 1e300",
        "g ** 1e300",
    ):
        program = parse(
            f"def train(w, g, lr):\n    x = 1e300 * lr\n    u = {line} + x\n    return u\n"
        )
        for arrays in (False, True):
            rule = Interpreter(program, (), LAYOUT, torch.float32, arrays)
            value: Any = np.ones((1, LAYOUT.elements), np.float32)
            value = value if arrays else torch.tensor(value)
            with np.errstate(all="ignore"):
                update, _ = rule.step(value, value, [], rule.scalars(1.0))
            assert not np.isfinite(np.asarray(update)).any()


def test_the_schedule_value_is_handed_over_with_peak_one() -> None:
    """The peak learning rate is a constant of the program."""
    rule = load_rule("adamw")
    one = trained(rule, gradients(1, 1), start(), [1.0])
    half = trained(rule, gradients(1, 1), start(), [0.5])
    assert one - start() == pytest.approx(2 * (half - start()), rel=1e-9)
    assert np.abs(one - start()).max() < 0.04  # 0.001 / sqrt(0.001) and the decay


def test_first_states_are_zeros_of_their_kinds() -> None:
    rule = Interpreter(load_rule("adamw_bias_correction"), (2, 2, 0), LAYOUT)
    states = rule.initial_states(3)
    assert [s.shape for s in states] == [(3, 18), (3, 18), (3, 1)]
    assert all(not s.any() and s.dtype == torch.float32 for s in states)
    assert rule.schedule([]) == [] and len(rule.schedule([1.0, 0.5])) == 2


def test_arrays_are_spread_and_normed_by_their_own_elements() -> None:
    program = parse("def train(w, g, lr):\n    n = norm(g)\n    u = w * n\n    return u\n")
    grads, weights = gradients(2, 1), start(2)
    after = trained(program, grads, weights, [1.0])[0]
    edges = np.cumsum([0, 12, 1, 5, 0])
    for row in range(2):
        for low, high in zip(edges[:-1], edges[1:], strict=True):
            norm = np.linalg.norm(grads[0, row, low:high])
            expected = weights[row, low:high] * (1 - norm)
            assert after[row, low:high] == pytest.approx(expected, rel=1e-12)


def test_layouts() -> None:
    assert LAYOUT.sizes == (12, 1, 5, 0) and LAYOUT.elements == 18
    assert [LAYOUT.width(kind) for kind in Kind] == [1, 4, 18, 18, 15, 22]
    assert LAYOUT.segments.tolist() == [0] * 12 + [1] + [2] * 5
    tree = np.random.default_rng(0).normal(size=(3, 18))
    norms = LAYOUT.norms(torch.tensor(tree)).numpy()
    assert norms == pytest.approx(LAYOUT.norms_numpy(tree), rel=1e-12) and norms.shape == (3, 4)
    spread = LAYOUT.spread(torch.tensor(norms)).numpy()
    assert (spread == LAYOUT.spread_numpy(norms)).all() and spread.shape == (3, 18)
    assert layout_of([(2, 1)]) == Layout((2,), shapes=((2, 1),), matrices=(False,))
    assert Layout((2, 3)).shapes_of(Kind.TREE) == ((2, 1), (3, 1))


def test_wrong_kinds_are_refused() -> None:
    program = parse("def train(w, g, s, lr):\n    u = clip(g, s)\n    return u, s\n")
    Interpreter(program, (Kind.SCALAR,), LAYOUT)
    for kind in (Kind.ARRAY, Kind.TREE):
        with pytest.raises(ProgramError, match="must be a scalar"):
            Interpreter(program, (kind,), LAYOUT)
    with pytest.raises(ProgramError, match="must be a tree"):
        Interpreter(parse("def train(w, g, lr):\n    return lr\n"), (), LAYOUT)


def test_seeded_programs_are_the_same_for_the_same_seed() -> None:
    first, second = (random_program(random.Random(5)) for _ in range(2))
    assert first == second
