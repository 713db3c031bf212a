"""Functions of arrays, rows, columns and matrices against plain loops, in both engines."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from optforge.errors import ProgramError
from optforge.language import FUNCTIONS, Interpreter, Kind, Program, Statement, layout_of, parse
from optforge.language.orthogonal import orthogonalized
from tests.helpers.array_oracles import (
    ARRAY_ORACLES,
    LAYOUT,
    NO_MATRICES,
    expected_value,
    newton_schulz,
    shapes_of,
    tolerance,
    values,
)
from tests.helpers.oracles import DTYPES, NUMPY

ENGINES = pytest.mark.parametrize("arrays", [False, True], ids=["torch", "numpy"])


def one_statement(name: str, kinds: tuple[int, ...]) -> tuple[Program, list[int]]:
    """The program `x = name(a, b)`, whose last state holds x."""
    names = "ab"[: len(kinds)]
    statement = Statement("x", name, tuple(names))
    program = Program(("w", "g", *names, "out", "lr"), (statement,), ("w", *names, "x"))
    return program, [*kinds, FUNCTIONS[name].result(kinds)]


def computed(
    program: Program, kinds: list[int], states: list[np.ndarray], dtype: torch.dtype, arrays: bool
) -> np.ndarray:
    """The last state after one step."""
    rule = Interpreter(program, kinds, LAYOUT, dtype, arrays)
    tree = np.ones((len(states[0]), LAYOUT.elements), NUMPY[dtype])
    last = np.zeros((len(tree), LAYOUT.width(kinds[-1])), NUMPY[dtype])
    every = [tree, *states, last]
    handed: list[Any] = [v.copy() for v in every] if arrays else [torch.tensor(v) for v in every]
    with np.errstate(all="ignore"):
        _, after = rule.step(handed[0], handed[0], handed[1:], rule.scalars(1.0))
    for old, kept in zip(every, handed, strict=True):
        assert np.array_equal(old, np.asarray(kept), equal_nan=True), "an argument was changed"
    assert isinstance(after[-1], np.ndarray) == arrays
    assert np.asarray(after[-1]).dtype == NUMPY[dtype]
    return np.asarray(after[-1])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@ENGINES
@pytest.mark.parametrize("name", sorted({*ARRAY_ORACLES, "norm"}))
def test_function_is_its_oracle_for_all_kinds(name: str, arrays: bool, dtype: torch.dtype) -> None:
    row, accepted = FUNCTIONS[name], 0
    for kinds in itertools.product(Kind, repeat=row.arity):
        if not row.allows(kinds):
            continue
        arguments = [values(kind, place, dtype) for place, kind in enumerate(kinds)]
        program, state_kinds = one_statement(name, kinds)
        got = computed(program, state_kinds, arguments, dtype, arrays).astype(np.float64)
        expected = expected_value(name, kinds, arguments)
        sizes = expected_value(name, kinds, [np.abs(a) for a in arguments])
        finite = np.isfinite(expected)
        with np.errstate(invalid="ignore"):
            close = np.abs(got - expected) <= tolerance(name, dtype, expected, np.abs(sizes))
        close |= ~finite & ((got == expected) | (np.isnan(got) & np.isnan(expected)))
        assert close.all(), (name, kinds, np.argwhere(~close)[0], got[~close], expected[~close])
        accepted += 1
    assert accepted >= {"transpose": 4, "matmul": 8}.get(name, 6)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@ENGINES
def test_where_matrix_takes_numbers_at_full_precision(arrays: bool, dtype: torch.dtype) -> None:
    program = parse(
        "def train(w, g, a, b, c, lr):\n    a = where_matrix(0.1, lr)\n"
        "    b = where_matrix(w, 0.3)\n    c = where_matrix(lr, g)\n    u = w * a\n"
        "    return u, a, b, c\n"
    )
    rule = Interpreter(program, (1, 2, 2), LAYOUT, dtype, arrays)
    numbers = [values(Kind.TREE, place, dtype) for place in (0, 1)]
    handed: list[Any] = numbers if arrays else [torch.tensor(v) for v in numbers]
    with np.errstate(all="ignore"):
        update, states = rule.step(handed[0], handed[1], rule.initial_states(7), rule.scalars(0.7))
    kind, roles = NUMPY[dtype], np.array(LAYOUT.matrices)
    wide = np.repeat(roles, LAYOUT.sizes)
    a = np.where(roles, kind(0.1), kind(0.7))
    assert np.array_equal(np.asarray(states[0]), np.tile(a, (7, 1)))
    assert np.array_equal(states[1], np.where(wide, numbers[0], kind(0.3)), equal_nan=True)
    assert np.array_equal(states[2], np.where(wide, kind(0.7), numbers[1]), equal_nan=True)
    expected = numbers[0] * np.repeat(a, LAYOUT.sizes)
    assert np.array_equal(np.asarray(update), expected, equal_nan=True)


@pytest.mark.parametrize("shape", [(8, 8), (4, 20), (20, 4), (2, 2), (64, 65), (3, 300), (1, 5)])
def test_singular_values_come_near_one(shape: tuple[int, int]) -> None:
    """The law of the function, for matrices that are not near to being singular."""
    generator = np.random.default_rng(3)
    for scale in (1e-6, 1.0, 1e6):
        left, _ = np.linalg.qr(generator.normal(size=(shape[0],) * 2))
        right, _ = np.linalg.qr(generator.normal(size=(shape[1],) * 2))
        stretch = np.zeros(shape)
        np.fill_diagonal(stretch, generator.uniform(0.2, 1.0, size=min(shape)))
        matrix = scale * left @ stretch @ right
        turned = orthogonalized(torch.tensor(matrix)).numpy()
        singular = np.linalg.svd(turned, compute_uv=False) / np.sqrt(max(shape))
        assert singular.min() > 0.6 and singular.max() < 1.25
        # the same singular vectors: the nearest orthogonal matrix, up to the sizes above
        u, _, v = np.linalg.svd(matrix, full_matrices=False)
        inner = u.T @ turned @ v.T / np.sqrt(max(shape))
        assert np.abs(inner - np.diag(np.diag(inner))).max() < 1e-9
        assert turned == pytest.approx(newton_schulz(matrix), rel=1e-9, abs=1e-9)
        assert 0.5 < np.sqrt(np.mean(turned**2)) < 1.25


def test_without_matrices_the_functions_of_matrices_work_element_by_element() -> None:
    program = parse(
        "def train(w, g, a, b, lr):\n    a = orthogonalize(g)\n    b = matmul(w, g)\n"
        "    u = where_matrix(w, g)\n    return u, a, b\n"
    )
    flat = "def train(w, g, a, lr):\n    t = transpose(g)\n    a = matmul(t, w)\n    return w, a\n"
    w, g = (torch.tensor(values(Kind.TREE, place, torch.float64)) for place in (0, 1))
    with pytest.raises(ProgramError, match="matmul"):
        Interpreter(program, (2, 2), NO_MATRICES, torch.float64)
    rule = Interpreter(parse(flat), (Kind.COLUMN_SQUARE,), NO_MATRICES, torch.float64)
    _, states = rule.step(w, g, rule.initial_states(7), rule.scalars(1.0))
    assert torch.allclose(states[0], w * g, equal_nan=True)


@ENGINES
def test_the_clock_counts_from_one_up_to_the_whole_run(arrays: bool) -> None:
    program = parse(
        "def train(w, g, a, b, lr):\n    a = get_step()\n    b = get_progress()\n"
        "    c = get_step() * lr\n    u = g * c\n    return u, a, b\n"
    )
    rule = Interpreter(program, (0, 0), LAYOUT, torch.float64, arrays)
    tree: Any = np.ones((2, LAYOUT.elements))
    tree = tree if arrays else torch.tensor(tree)
    seen = []
    for scalars in rule.schedule([1.0, 0.5, 0.25, 0.0]):
        update, states = rule.step(tree, tree, rule.initial_states(2), scalars)
        seen.append((*[float(s[1, 0]) for s in states], float(update[0, 0])))
    assert seen == [(1, 0.25, 1), (2, 0.5, 1), (3, 0.75, 0.75), (4, 1, 0)]
    later = rule.schedule([1.0, 1.0], first=2, total=8)
    assert later == [rule.scalars(1.0, 2, 8), rule.scalars(1.0, 3, 8)]
    assert sorted(later[0]) == [0.375, 3.0, 3.0] and sorted(later[1]) == [0.5, 4.0, 4.0]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_clock_is_exact_in_long_runs(dtype: torch.dtype) -> None:
    text = "def train(w, g, lr):\n    s = get_step()\n    u = g * s\n    return u\n"
    rule = Interpreter(parse(text), (), LAYOUT, dtype)
    assert [row[0] for row in rule.schedule([1.0] * 3, 999_997)] == [999_998, 999_999, 1_000_000]


def test_shapes_of_a_layout_are_those_of_its_kinds() -> None:
    for kind in list(Kind)[Kind.TREE :]:
        assert list(LAYOUT.shapes_of(kind)) == shapes_of(kind)
        assert LAYOUT.width(kind) == sum(r * c for r, c in shapes_of(kind))
        assert NO_MATRICES.width(kind) == LAYOUT.elements


def test_what_has_no_two_sides_is_no_matrix() -> None:
    shapes = ((3, 1), (1, 3), (3,), (), (0, 4), (4, 0), (3, 1, 1, 1), (3, 2), (1, 2, 2))
    assert layout_of(shapes).matrices == (False,) * 7 + (True, False)
    assert layout_of(shapes, matrices=[True] * 9).matrices == layout_of(shapes).matrices
    assert not any(layout_of(shapes, matrices=[False] * 9).matrices)
    with pytest.raises(ValueError, match="argument"):
        layout_of(shapes, matrices=[True])
