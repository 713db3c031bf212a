"""Each row of each target's table is the function of the language, element by element."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

import jax
import numpy as np
import pytest
import torch

from optforge.analysis import state_kinds
from optforge.exporters.jax_table import JAX
from optforge.exporters.latex_table import LATEX
from optforge.exporters.source import PLAIN, TargetTable
from optforge.exporters.torch_table import TORCH
from optforge.language import FUNCTIONS, Interpreter, Kind, Layout, Program, Statement
from tests.helpers.exported import module_of, update_of
from tests.helpers.oracles import CONSTANTS, ORACLES, SPECIAL, Array, assert_close

ARRAYS = {"torch": TORCH, "optax": JAX}
# XLA takes e^(x - ln 2), so that the rounding of the exponent counts as often as its size.
LOOSE = {("optax", "cosh"): 32, ("optax", "sinh"): 32}
FORMS = ("literal", "schedule", Kind.SCALAR, Kind.ARRAY, Kind.TREE)
NUMBERS = (*CONSTANTS, np.inf, -np.inf, np.nan, 1e-8, 0.3)
TINY = np.finfo(np.float64).tiny


@pytest.mark.parametrize("table", [TORCH, JAX, LATEX], ids=["torch", "jax", "latex"])
def test_a_table_has_every_function_and_no_other(table: TargetTable) -> None:
    assert set(table.rows) == set(FUNCTIONS)
    named = {s.helper for row in table.rows.values() for s in _variants(row)} - {""}
    assert named <= set(table.helpers)
    needed = {*table.needs} | {n for needs in table.needs.values() for n in needs}
    assert needed <= set(table.helpers)


def _variants(row: Any) -> list[Any]:
    return [row, *(v for v in (row.float_first, row.float_last) if v)]


@pytest.mark.parametrize("name", sorted(PLAIN))
def test_plain_floats_never_raise_and_give_what_the_function_gives(name: str) -> None:
    arity = FUNCTIONS[name].arity
    for values in itertools.product((*SPECIAL, 1e308), repeat=arity):
        text = PLAIN[name].format(**dict(zip("xya", map(_literal, values), strict=False)))
        got = np.array([eval(text, {"math": __import__("math"), "nan": np.nan, "inf": np.inf})])
        if name in ("mean", "row_mean", "column_mean"):  # of one number
            expected = np.array(values), np.zeros(1)
        else:
            expected = ORACLES[name].exact(torch.float64, *(np.array([v]) for v in values))
        assert_close(got, tuple(e.reshape(-1) for e in expected), name, torch.float64, values)


def _literal(value: float) -> str:
    return f"({value!r})"


def one_function(name: str, forms: tuple[Any, ...], literals: list[float]) -> Program:
    """`update = weight + f(...)`, with states a, b, c of the forms that are kinds."""
    names = [n for n, form in zip("abc", forms, strict=False) if isinstance(form, Kind)]
    arguments = [
        "lr" if form == "schedule" else value if form == "literal" else letter
        for form, value, letter in zip(forms, literals, "abc", strict=False)
    ]
    back = {Kind.SCALAR: "lr", Kind.ARRAY: "size", Kind.TREE: "w"}
    body = (
        Statement("size", "norm", ("w",)),
        Statement("x", name, tuple(arguments)),
        Statement("u", "add", ("w", "x")),
    )
    outputs = ("u", *(back[form] for form in forms if isinstance(form, Kind)))
    return Program(("w", "g", *names, "lr"), body, outputs)


def columns(name: str, forms: tuple[Any, ...]) -> Iterator[list[Any]]:
    """Arguments of one call: vectors for arrays, numbers for the rest; all pairs of values."""
    special = np.array(SPECIAL)
    trees = [place for place, form in enumerate(forms) if form == Kind.TREE]
    vectors: dict[int, Array] = dict.fromkeys(trees, special)
    if len(trees) > 1:
        vectors[trees[0]] = np.repeat(special, len(special))
        vectors[trees[1]] = np.tile(special, len(special))
    if len(trees) > 2:
        vectors[trees[2]] = np.roll(vectors[trees[1]], 7)
    rest = [place for place, form in enumerate(forms) if form != Kind.TREE]
    count = len(NUMBERS)
    for turn in range(count * (2 if len(rest) > 1 else 1) if rest else 1):
        strides = (1, 7, 4)  # every number meets several others
        own = {
            p: NUMBERS[(turn * strides[i] + i * (turn // count)) % count]
            for i, p in enumerate(rest)
        }
        own |= {p: own[rest[0]] for p in rest if forms[p] == forms[rest[0]] == "schedule"}
        own |= {p: own[rest[1]] for p in rest[1:] if forms[p] == forms[rest[1]] == "schedule"}
        yield [vectors[place] if place in vectors else own[place] for place in range(len(forms))]


def call(module: Any, target: str, forms: tuple[Any, ...], values: list[Any]) -> Array:
    """Run the pure update function on float64 with zero weights."""
    convert: Callable[[Any], Any] = torch.tensor if target == "torch" else jax.numpy.asarray
    length = max(np.size(v) for v in values) if values else 3
    length = 3 if length == 1 else length
    given: dict[str, Any] = {"weight": convert(np.zeros(length)), "schedule": 0.5}
    literals = iter(sorted(n for n in _parameters(module) if n not in KNOWN))
    for form, value, letter in zip(forms, values, "abc", strict=False):
        if isinstance(form, Kind):
            given[letter] = convert(np.asarray(value, np.float64))
        elif form == "schedule":
            given["schedule"] = value
        elif form == "literal":
            given[next(literals)] = value
    given["lr" if target == "torch" else "learning_rate"] = 1.0
    accepted = {k: v for k, v in given.items() if k in _parameters(module)}
    result = update_of(module)(**accepted)
    return np.asarray(result[0] if isinstance(result, tuple) else result)


KNOWN = {"weight", "a", "b", "c", "schedule", "lr", "learning_rate"}


@lru_cache(maxsize=8)
def _parameters(module: Any) -> list[str]:
    return list(inspect.signature(update_of(module)).parameters)


ELEMENTWISE = sorted(
    n for n, row in FUNCTIONS.items() if row.form == "elementwise" or n == "interp"
)


# JAX compiles each of the 125 ways to hand over three arguments.
LONG = ("where", "interp", "cosine_sim")


def on_each_target(names: Iterable[str]) -> pytest.MarkDecorator:
    """Every function on every target; those that take seconds there are slow."""
    cases = [
        pytest.param(name, target, marks=[pytest.mark.slow] if slow else [], id=f"{name}-{target}")
        for name in names
        for target in ARRAYS
        for slow in [target == "optax" and name in LONG]
    ]
    return pytest.mark.parametrize(("name", "target"), cases)


@on_each_target([*ELEMENTWISE, "get_pi", "get_e", "get_eps"])
def test_elementwise_functions_are_their_oracles_over_edge_values(target: str, name: str) -> None:
    with jax.enable_x64(True), np.errstate(all="ignore"):
        for forms in itertools.product(FORMS, repeat=FUNCTIONS[name].arity):
            if FUNCTIONS[name].form == "controlled" and forms[-1] in (Kind.ARRAY, Kind.TREE):
                continue
            check_elementwise(target, name, forms)


def check_elementwise(target: str, name: str, forms: tuple[Any, ...]) -> None:
    literals = [0.37, 0.41, 0.43]  # lifted to keywords, which take the values that are tried
    if forms.count("literal") < 2:
        module = module_of(one_function(name, forms, literals), target)
        for values in columns(name, forms):
            compare(module, target, name, forms, values)
    if "literal" in forms:  # these stand in the text itself
        for written in (0.0, 1.0, -1.0):
            module = module_of(one_function(name, forms, [written] * 3), target)
            for values in itertools.islice(columns(name, forms), 0, None, 6):
                values = [
                    written if form == "literal" else value
                    for form, value in zip(forms, values, strict=True)
                ]
                compare(module, target, name, forms, values, written=True)


def compare(
    module: Any,
    target: str,
    name: str,
    forms: tuple[Any, ...],
    values: list[Any],
    written: bool = False,
) -> None:
    if target == "optax":  # XLA takes denormal numbers for zero
        values = [np.where(np.abs(v) < TINY, np.copysign(0.0, v), v)[()] for v in values]
    given = [f if f != "literal" or not written else "written" for f in forms]
    got = call(module, target, tuple(given), values)
    arguments = np.broadcast_arrays(*[np.asarray(v, np.float64) for v in values])
    value, tolerance = ORACLES[name].exact(torch.float64, *[a.copy() for a in arguments])
    tolerance = tolerance * LOOSE.get((target, name), 1)
    expected = (
        np.broadcast_to(np.ravel(value), got.shape),
        np.broadcast_to(np.ravel(tolerance), got.shape),
    )
    assert_close(got, expected, name, torch.float64, (forms, values))


WHOLE = ("norm", "global_norm", "dot", "cosine_sim", "clip")
LAYOUT = Layout((6, 0, 1, 5))


def rows(place: int, kind: Kind) -> Array:
    """Ordinary values, and rows that hold zeros, infinities, NaN, tiny and large values."""
    source = np.random.default_rng(place)
    values = source.normal(size=(16, LAYOUT.width(kind)))
    scales = np.roll([0.0, 1e-12, 1e12, 1.0, 1e150, 1e-150, 1e-3, 0.0], 3 * place)
    values[:8] *= scales[:, None]
    for row, special in enumerate((np.inf, -np.inf, np.nan, 1e300, 0.0, -0.0, 1e-30, 1e30), 8):
        values[row, (5 * row + place) % values.shape[1]] = special
    return values


@on_each_target(WHOLE)
def test_functions_of_the_tree_are_the_interpreters_for_all_kinds(target: str, name: str) -> None:
    """The interpreter agrees with NumPy oracles in the tests of the language."""
    with jax.enable_x64(True), np.errstate(all="ignore"):
        for forms in itertools.product(FORMS, repeat=FUNCTIONS[name].arity):
            if FUNCTIONS[name].form == "controlled" and forms[-1] in (Kind.ARRAY, Kind.TREE):
                continue
            for literal in (0.7, 2.5, 0.0, 1.0):
                check_whole(target, name, forms, [literal] * 2)
                if "literal" not in forms:
                    break


def check_whole(target: str, name: str, forms: tuple[Any, ...], literals: list[float]) -> None:
    program = one_function(name, forms, literals)
    module = module_of(program, target)
    kinds = [form for form in forms if isinstance(form, Kind)]
    states = [rows(place, kind) for place, kind in enumerate(kinds)]
    interpreter = Interpreter(program, state_kinds(program), LAYOUT, torch.float64)
    zeros = torch.zeros(16, LAYOUT.elements, dtype=torch.float64)
    want, _ = interpreter.step(
        zeros, zeros, [torch.tensor(s) for s in states], interpreter.scalars(0.5)
    )
    for row in range(16):
        got = one_row(module, target, kinds, [state[row] for state in states])
        size = 1.0 if name == "cosine_sim" else np.abs(want[row].numpy())
        size = size + _cancelled(name, kinds, [state[row] for state in states])
        tolerance = 32 * np.finfo(np.float64).eps * size + 4 * TINY
        expected = want[row].numpy(), np.broadcast_to(tolerance, got.shape)
        assert_close(got, expected, name, torch.float64, (forms, literals, row))


def _cancelled(name: str, kinds: list[Kind], states: list[Array]) -> float:
    """What an inner product adds up, where it cancels."""
    if name != "dot" or not states:
        return 0.0
    sizes = [np.linalg.norm(s) * np.sqrt(LAYOUT.elements) for s in states]
    total = float(np.prod(sizes)) if len(sizes) == 2 else float(3 * sizes[0])
    return total if np.isfinite(total) else 0.0


def one_row(module: Any, target: str, kinds: list[Kind], states: list[Array]) -> Array:
    convert: Callable[[Any], Any] = torch.tensor if target == "torch" else jax.numpy.asarray
    names = _parameters(module)
    wide = "weights" in names

    def tree(row: Array, kind: Kind) -> Any:
        if kind == Kind.SCALAR:
            return convert(row[0])
        cuts = np.split(row, np.cumsum(LAYOUT.sizes)[:-1]) if kind == Kind.TREE else list(row)
        return [convert(np.asarray(part)) for part in cuts]

    given: dict[str, Any] = {"schedule": 0.5, "lr": 1.0, "learning_rate": 1.0}
    given["weights"] = given["weight"] = tree(np.zeros(LAYOUT.elements), Kind.TREE)
    given |= {n: tree(s, k) for n, s, k in zip(_states(names), states, kinds, strict=True)}
    given = {n: v for n, v in given.items() if n in names}
    if wide:
        result = update_of(module)(**given)
        parts = result if isinstance(result, list) else result[0]
        return np.concatenate([np.asarray(part) for part in parts])
    parts = []
    for number in range(len(LAYOUT.sizes)):
        own = {n: v[number] if isinstance(v, list) else v for n, v in given.items()}
        result = update_of(module)(**own)
        parts.append(np.asarray(result[0] if isinstance(result, tuple) else result))
    return np.concatenate(parts)


def _states(names: list[str]) -> list[str]:
    return sorted(n for n in names if n in ("a", "b", "c"))
