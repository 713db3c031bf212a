"""Every function of the table against NumPy and SciPy in float64, element by element."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from optforge.language import FUNCTION_SETS, FUNCTIONS, Interpreter, Kind
from tests.helpers.array_oracles import ARRAY_ORACLES
from tests.helpers.oracles import (
    CONSTANTS,
    DTYPES,
    NUMPY,
    ORACLES,
    RATES,
    SPECIAL,
    Layouts,
    assert_close,
    expected_result,
    inputs,
    one_statement,
    spread,
)

ALL = sorted(ORACLES)
FORMS = {"constant", "literal", "rate"}  # what is no tensor with rows of its own


def test_every_row_of_the_table_has_an_oracle_and_no_oracle_is_left_over() -> None:
    clocks = {"get_step", "get_progress"}  # have tests of their own
    assert set(ORACLES) | ARRAY_ORACLES | clocks == set(FUNCTIONS)
    assert not set(ORACLES) & ARRAY_ORACLES


def test_the_set_paper_is_the_papers_43_functions_and_negative() -> None:
    unary = (
        "abs cos sin tan arcsin arccos arctan exp log sinh cosh tanh arcsinh arccosh arctanh "
        "sign exp2 exp10 expm1 log10 log2 log1p square sqrt cube cbrt reciprocal negative"
    )
    binary = "add subtract multiply divide power maximum minimum"
    whole = "norm global_norm dot cosine_sim clip interp"
    assert set(FUNCTION_SETS["paper"]) == set(
        f"{unary} {binary} {whole} get_pi get_e get_eps".split()
    )
    assert len(FUNCTION_SETS["paper"]) == 44 == len(set(FUNCTION_SETS["paper"]))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("arrays", [False, True], ids=["torch", "numpy"])
@pytest.mark.parametrize("name", ALL)
def test_function_in_a_program_is_its_oracle_for_all_kinds(
    name: str, arrays: bool, dtype: torch.dtype
) -> None:
    function = FUNCTIONS[name]
    forms = ("literal", "rate", Kind.SCALAR, Kind.ARRAY, Kind.TREE)
    for mixture in itertools.product(forms, repeat=function.arity):
        if function.form == "controlled" and mixture[-1] in (Kind.ARRAY, Kind.TREE):
            continue
        variants = max(
            len(CONSTANTS) if "literal" in mixture else 1, len(RATES) if "rate" in mixture else 1
        )
        for variant in range(variants):
            check_program(name, mixture, variant, dtype, arrays)


def check_program(
    name: str, mixture: tuple, variant: int, dtype: torch.dtype, arrays: bool
) -> None:
    """Run `x = name(...)` once for all rows; x comes back as the last state."""
    layout = Layouts.elementwise if FUNCTIONS[name].form == "elementwise" else Layouts.whole
    program, kinds = one_statement(name, mixture, variant)
    tree = np.ones((len(SPECIAL), layout.elements), NUMPY[dtype])
    states = [v for v in inputs(name, mixture, dtype) if v is not None] + [tree]
    handed = states if arrays else [torch.tensor(v) for v in states]
    before = [value.copy() for value in states]
    rule = Interpreter(program, kinds, layout, dtype, arrays)
    with np.errstate(all="ignore"):
        scalars = rule.scalars(RATES[variant % len(RATES)])
        _, after = rule.step(handed[-1], handed[-1], handed, scalars)
    for old, kept in zip(before, handed, strict=True):
        assert np.array_equal(old, kept, equal_nan=True), f"{name} changed its argument"
    expected = expected_result(name, mixture, variant, dtype, layout)
    got = np.asarray(after[-1])
    assert got.dtype == NUMPY[dtype] and isinstance(after[-1], np.ndarray) == arrays
    assert_close(got, spread(*expected, layout), name, dtype, (mixture, variant))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("engine", ["apply", "apply_numpy"])
@pytest.mark.parametrize("name", [n for n in ALL if FUNCTIONS[n].form == "elementwise"])
def test_apply_is_the_oracle_with_a_constant_in_any_place(
    name: str, engine: str, dtype: torch.dtype
) -> None:
    function = FUNCTIONS[name]
    tensor = torch.tensor(SPECIAL, dtype=dtype)[None]
    array = tensor.numpy()
    value = tensor if engine == "apply" else array
    apply = np.errstate(all="ignore")(getattr(function, engine))
    places = range(function.arity) if function.arity > 1 else ()
    for place, constant in itertools.product(places, CONSTANTS):
        if abs(constant) > torch.finfo(dtype).max:
            continue  # the interpreter makes these infinite first
        arguments = [constant if i == place else value for i in range(function.arity)]
        plain = [
            np.full_like(array, constant) if i == place else array for i in range(function.arity)
        ]
        expected = ORACLES[name].exact(dtype, *plain)
        assert_close(np.asarray(apply(*arguments)), expected, name, dtype, (place, constant))
    expected = ORACLES[name].exact(dtype, *[array] * function.arity)
    got = apply(*[value] * function.arity)
    assert_close(np.asarray(got), expected, name, dtype, "tensors")


@pytest.mark.parametrize(("name", "value"), [("pi", math.pi), ("e", math.e), ("eps", 1e-8)])
def test_constants_are_those_of_the_paper(name: str, value: float) -> None:
    assert FUNCTIONS[f"get_{name}"].apply() == value


def test_metadata_of_the_table_is_true() -> None:
    generator = np.random.default_rng(0)
    x, y = (torch.tensor(generator.normal(size=(3, 7))) for _ in range(2))
    x[0, 0], y[0, 0], x[0, 1], y[0, 1] = 0.0, -0.0, -0.0, 0.0
    for name, row in FUNCTIONS.items():
        assert name == row.name and row.meaning
        if row.arity != 2 or row.form in ("controlled", "product"):
            assert not row.commutative
            continue
        exchanged = row.apply(y, x)
        same = torch.equal(1 / row.apply(x, y), 1 / exchanged)  # 1 / x tells zeros apart
        assert row.commutative == same, name


def test_sign_and_extremes_keep_nan() -> None:
    nan = torch.tensor([[math.nan]])
    assert FUNCTIONS["sign"].apply(nan).isnan().all()
    for name in ("maximum", "minimum"):
        for pair in ((nan, 1.0), (1.0, nan), (nan, nan + 1), (nan * 0 + 1, math.nan)):
            assert FUNCTIONS[name].apply(*pair).isnan().all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_zero_trees_are_no_trouble(dtype: torch.dtype) -> None:
    zero, some = torch.zeros(2, 5, dtype=dtype), torch.ones(2, 5, dtype=dtype)
    for limit in (0.0, 1.0, -3.0, math.inf, torch.zeros(2, 1, dtype=dtype)):
        assert torch.equal(FUNCTIONS["clip"].apply(zero, limit), zero)
    for pair in ((zero, some), (some, zero), (zero, zero), (zero, 1.0), (some, 0.0)):
        assert torch.equal(FUNCTIONS["cosine_sim"].apply(*pair), torch.zeros(2, 1, dtype=dtype))


def test_similarity_of_small_and_of_large_trees_is_still_one() -> None:
    for scale in (1e-18, 1e18):
        tree = torch.tensor([[1.0, -2.0, 3.0]]) * scale
        assert FUNCTIONS["cosine_sim"].apply(tree, tree).item() == pytest.approx(1, rel=1e-5)


def test_power_is_ieee_at_the_roots() -> None:
    x = torch.tensor([[-math.inf, -0.0, 0.0, -4.0, 4.0]], dtype=torch.float64)
    root = FUNCTIONS["power"].apply(x, 0.5)[0].tolist()
    assert root[0] == math.inf and math.copysign(1, root[1]) == 1 and math.isnan(root[3])
    inverse = FUNCTIONS["power"].apply(x, -0.5)[0].tolist()
    assert inverse[:3] == [0.0, math.inf, math.inf] and inverse[4] == 0.5
