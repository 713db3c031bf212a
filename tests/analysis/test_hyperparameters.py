"""Lifting: every shipped rule has the hyper-parameters that its paper names."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given

from optforge.analysis import fingerprint, state_kinds
from optforge.analysis.degree import degrees
from optforge.analysis.hyperparameters import lift
from optforge.errors import ProgramError
from optforge.language import (
    FUNCTIONS,
    Interpreter,
    Kind,
    Program,
    layout_of,
    load_rule,
    parse,
    round_constant,
    rule_names,
)
from tests.strategies import MOST_STATEMENTS, build_program, programs, rated_programs

ADAM = {"lr": 0.001, "beta1": 0.9, "beta2": 0.999, "weight_decay": 0.01}
LION = {"lr": 0.0001, "beta1": 0.9, "beta2": 0.99, "weight_decay": 0.1}
# Read off the papers' listings, not off our own output.
SHIPPED = {
    "adabelief": {**ADAM, "eps": 1e-16},
    "adafactor": {"lr": 0.001, "constant_1": -0.8, "eps": 1e-30, "weight_decay": 0.01},
    "adamw": ADAM,
    "adamw_bias_correction": ADAM,
    "adan": {"lr": 0.001, "beta1": 0.98, "beta2": 0.92, "beta3": 0.99, "weight_decay": 0.02},
    "ademamix": {**ADAM, "beta3": 0.9999, "constant_1": 5.0},
    "cautious_adamw": {**ADAM, "constant_1": 0.001},
    "cautious_lion": {**LION, "constant_1": 0.001},
    "lamb": {**ADAM, "eps": 1e-6},
    "lion": LION,
    "mars": {
        **{"lr": 0.003, "beta1": 0.95, "constant_1": 0.025, "beta2": 0.99},
        "weight_decay": 0.01,
    },
    "momentum_sgd": {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.0001},
    "muon": {**ADAM, "beta1": 0.95, "beta2": 0.9, "constant_1": 0.2, "beta3": 0.999},
    "nadam": ADAM,
    "nadamw": ADAM,
    "ortho_adam": ADAM,
    "ortho_lion": LION,
    "ortho_momentum": {"lr": 0.01, "beta1": 0.75},
    "ortho_split": {
        **{"lr": 0.01, "beta1": 0.6, "beta2": 0.95, "constant_1": 2.3, "weight_decay": 0.01},
    },
    "program_3": ADAM,
    "program_4": {"lr": 0.0002, "beta1": 0.899, "beta2": 1.109, "weight_decay": 0.4602},
    "program_5": {"lr": 0.0216, "one_minus_beta1": 0.16, "one_minus_beta2": 0.001},
    "program_6": {"lr": 0.0606, "one_minus_beta1": 0.1, "one_minus_beta2": 0.0015},
    "program_7": {
        **{"lr": 0.03721, "one_minus_beta1": 0.1, "one_minus_beta2": 0.001},
        "weight_decay": 0.0238,
    },
    "program_8": {
        **{"lr": 0.0002171761734643951, "beta1": 0.8999999761581421},
        **{"beta2": 1.109133005142212, "weight_decay": 0.4601978361606598},
    },
    "signum": {"lr": 0.001, "beta1": 0.9, "weight_decay": 0.01},
}
LAYOUT = layout_of(((2, 3), (0, 2), (2,), ()))
SCALING = ("add", "subtract", "multiply", "multiply", "abs", "negative", "square", "sqrt", "cbrt")
SCALING += ("sign", "maximum", "norm", "global_norm", "cosine_sim", "clip", "interp", "divide")
SHAPED = ("mean", "rms", "row_mean", "row_norm", "row_rms", "column_mean", "column_norm")
SHAPED += ("column_rms", "where", "orthogonalize", "where_matrix", "transpose", "matmul", "matmul")


def rule(body: str, states: str = "m, v", outputs: str = "u, m, v") -> Program:
    lines = "".join(f"    {line}\n" for line in body.split("; "))
    names = ", ".join(name for name in ("w, g", states, "lr") if name)
    return parse(f"def train({names}):\n{lines}    return {outputs}\n")


def updates(program: Program, steps: int = 4) -> np.ndarray:
    """Updates for given weights and gradients; the weights do not follow the updates."""
    source = np.random.default_rng(7)
    with np.errstate(all="ignore"):
        ready = Interpreter(program, state_kinds(program), LAYOUT, torch.float64, arrays=True)
        states, found = ready.initial_states(1), []
        for step in range(steps):
            w, g = (source.normal(size=(1, LAYOUT.elements)) for _ in range(2))
            update, states = ready.step(w, g, states, ready.scalars(1.0 - 0.2 * step))
            found.append(update)
    return np.concatenate(found)


def ordinary(values: np.ndarray) -> np.ndarray:
    """Where values are finite and far from overflow and underflow, which do not scale."""
    return (np.abs(values) > 1e-200) & (np.abs(values) < 1e200)


def assert_scaled(got: np.ndarray, base: np.ndarray, factor: float) -> None:
    kept = ordinary(got) & ordinary(base)
    np.testing.assert_allclose(got[kept], factor * base[kept], rtol=1e-6)


def test_every_shipped_rule_is_in_the_table() -> None:
    assert set(SHIPPED) == set(rule_names())


@pytest.mark.parametrize("name", rule_names())
def test_a_shipped_rule_has_the_hyper_parameters_of_its_paper(name: str) -> None:
    lifted = lift(load_rule(name))
    assert lifted.values == SHIPPED[name]
    assert lifted.scale == "lr"
    assert next(iter(lifted.values)) == "lr"


@pytest.mark.parametrize("name", rule_names())
def test_the_rate_of_a_shipped_rule_scales_its_update_and_nothing_else(name: str) -> None:
    lifted = lift(load_rule(name))
    doubled = updates(lifted.with_values({"lr": 2 * lifted.values["lr"]}))
    np.testing.assert_array_equal(doubled, 2 * updates(lifted.program))  # exact: a power of two


def test_the_rate_of_program_8_leaves_the_clip_by_the_schedule_alone() -> None:
    lifted = lift(load_rule("program_8"))
    places = dict(zip(lifted.values, (h.places for h in lifted.hyperparameters), strict=True))
    (place,) = places["lr"]
    assert lifted.program.statements[0].text == "g = clip(g, lr)"
    assert lifted.program.statements[place[0]].text == "lr = lr * 0.0002171761734643951"
    # The schedule is not the rate: it moves the clip, so the update is not half as large.
    ready = Interpreter(
        lifted.program, state_kinds(lifted.program), LAYOUT, torch.float64, arrays=True
    )
    w, g = np.full((1, 9), 0.5), np.linspace(-1, 1, 9)[None]
    whole, half = (ready.step(w, g, ready.initial_states(1), ready.scalars(s)) for s in (1.0, 0.5))
    assert not np.allclose(whole[1][0], half[1][0], rtol=0.1)  # the state sees the clip
    rate = {"lr": 0.5 * lifted.values["lr"]}
    slower = Interpreter(lifted.with_values(rate), (2,), LAYOUT, torch.float64, arrays=True)
    update, states = slower.step(w, g, slower.initial_states(1), slower.scalars(1.0))
    np.testing.assert_array_equal(update, 0.5 * whole[0])
    np.testing.assert_array_equal(states[0], whole[1][0])


def test_bias_correction_follows_the_betas() -> None:
    lifted = lift(load_rule("adamw_bias_correction"))
    changed = lifted.with_values({"beta1": 0.8, "beta2": 0.95}).text
    assert "0.9 " not in changed and "0.999" not in changed
    for line in ("m = interp(g, m, 0.8)", "v = interp(g2, v, 0.95)", "0.8 ** count"):
        assert line in changed
    assert "0.95 ** count" in changed


def test_equal_betas_of_different_states_stay_two() -> None:
    text = load_rule("adamw_bias_correction").text.replace("0.999", "0.9")
    lifted = lift(parse(text))
    assert lifted.values == {**ADAM, "beta2": 0.9}
    changed = lifted.with_values({"beta2": 0.5})
    assert "interp(g, m, 0.9)" in changed.text and "decay_m = 0.9 ** count" in changed.text
    assert "interp(g2, v, 0.5)" in changed.text and "decay_v = 0.5 ** count" in changed.text


def test_one_beta_that_is_read_twice_is_one() -> None:
    nadam = lift(load_rule("nadam"))
    beta1 = next(h for h in nadam.hyperparameters if h.name == "beta1")
    assert len(beta1.places) == 2


@pytest.mark.parametrize(
    ("body", "values"),
    [
        ("u = g * lr", {"lr": 1.0}),  # no constant: the rate multiplies from outside
        ("u = sin(g); u = u * lr", {"lr": 1.0}),
        ("u = g * 0.3; u = sin(u); u = u * lr", {"lr": 1.0, "constant_1": 0.3}),
        ("u = g * -0.3", {"lr": 1.0, "constant_1": -0.3}),  # a rate is not negative
        ("u = g / 3.0; u = u * lr", {"lr": 1.0, "constant_1": 3.0}),  # a guarded division
        ("u = sign(g); u = u * 0.2; u = u * lr", {"lr": 0.2}),
        ("u = sqrt(lr); u = u * 0.2; u = u * g", {"lr": 0.2}),
        ("x = lr * 0.1; y = g * 2.0; u = x * y", {"lr": 0.1, "constant_1": 2.0}),
        ("x = g * 0.1; y = w * 0.1; u = x + y", {"lr": 0.1}),  # written out: both scale together
        ("u = lr * g; x = lr * w; x = x * 0.1; u = u + x", {"lr": 1.0, "weight_decay": 0.1}),
        ("x = clip(g, 0.7); u = x * 0.5; u = u * lr", {"lr": 0.5, "constant_1": 0.7}),
        ("x = g + 1e-6; u = w / x; u = u * 0.5", {"lr": 0.5, "eps": 1e-6}),
        ("x = maximum(g, 1e-6); u = w / x; u = u * 0.5", {"lr": 0.5, "eps": 1e-6}),
        ("x = 1.0 - lr; u = x * g", {"lr": 1.0}),  # 1.0 is part of the formula
        ("x = square(0.1); u = g * x", {"lr": 1.0, "constant_1": 0.1}),  # of degree two
        ("x = lr * 0.01; u = clip(g, x)", {"lr": 1.0, "constant_1": 0.01}),  # not of degree one
    ],
)
def test_programs_without_states(body: str, values: dict[str, float]) -> None:
    assert lift(rule(body, "", "u")).values == values


@pytest.mark.parametrize(
    ("body", "values"),
    [  # the rate may enter through a state
        ("m = m * 0.9; x = g * 0.01; m = m + x; u = m * lr", {"lr": 0.01, "momentum": 0.9}),
        ("m = interp(g, m, 0.9); u = m * 0.1", {"lr": 0.1, "beta1": 0.9}),
        # two could be it: the one that no state depends on
        (
            "x = g * 0.3; m = m + x; u = m * lr; u = u * 0.1",
            {"lr": 0.1, "constant_1": 0.3},
        ),
        # not both: the state would grow with the rate's square
        ("x = g * 0.3; m = m * x; m = m + x; u = m * lr", {"lr": 1.0, "constant_1": 0.3}),
        ("m = g * 0.3; v = cos(m); u = g * v", {"lr": 1.0, "constant_1": 0.3}),
        ("m = g * 0.3; m = sign(m); u = m * lr", {"lr": 1.0, "constant_1": 0.3}),
    ],
)
def test_programs_with_states(body: str, values: dict[str, float]) -> None:
    assert lift(rule(body)).values == values


def test_a_state_that_feeds_itself_alone_is_not_taken_for_zero() -> None:
    program = rule("v = v * 0.5; v = cos(v); u = v * g", "v", "u, v")
    assert degrees(program, [(0, 1)]).update is None


def test_dead_code_has_no_hyper_parameters() -> None:
    lifted = lift(rule("x = g * 3.0; m = cosh(x); m = g * 0.5; u = m * lr; v = v * 7.0"))
    assert lifted.values == {"lr": 0.5}
    assert lifted.program.states == ()


@given(programs())
def test_putting_the_values_back_changes_nothing(program: Program) -> None:
    lifted = lift(program)
    assert fingerprint(lifted.with_values(lifted.values)) == fingerprint(program)
    assert len({h.name for h in lifted.hyperparameters}) == len(lifted.hyperparameters)


def scaling_program(seed: int, scaling: tuple[str, ...] = SCALING) -> Program:
    """A random program of which much scales: few other functions, as many statements as allowed."""
    source = random.Random(seed)

    def choose(options: Sequence[Any]) -> Any:
        if options == tuple(FUNCTIONS) and source.random() < 0.9:
            return source.choice(scaling)
        return max(options) if options == range(MOST_STATEMENTS + 1) else source.choice(options)

    return build_program(choose, lambda: round_constant(source.gauss(0, 1)))


@pytest.mark.parametrize("scaling", [SCALING, SCALING + SHAPED + SHAPED], ids=len)
def test_degrees_are_what_numbers_say(scaling: tuple[str, ...]) -> None:
    """A power of two scales exactly, so that what is said to scale can be seen to."""
    checked: list[float] = []
    for seed in range(600):
        lifted = lift(scaling_program(seed, scaling))
        for h in lifted.hyperparameters:
            degree = degrees(lifted.program, h.places).update
            base, scaled = (updates(lifted.with_values({h.name: s * h.value})) for s in (1.0, 64.0))
            kept = ordinary(base) & ordinary(scaled)
            if degree is None or h.value == 0 or not kept.any():
                continue
            expected = 64.0**degree * base[kept]
            np.testing.assert_allclose(scaled[kept], expected, rtol=1e-6, err_msg=str(seed))
            checked.append(degree)
    assert len(checked) > 30 and checked.count(1.0) > 10


@pytest.mark.parametrize(
    ("line", "degree"),
    [
        *((f"x = {name}(c)", 1.0) for name in SHAPED[:8]),
        ("x = transpose(c)", 1.0),
        ("x = matmul(c, transpose(c))", 2.0),
        ("x = matmul(w, transpose(c))", 1.0),
        ("x = orthogonalize(c)", 0.0),
        ("x = where(c, g, w)", 0.0),
        ("x = where(g, c, c * w)", 1.0),
        ("x = where(g, c, w)", None),
        ("x = where(c, c, w)", None),
        ("x = where_matrix(c, c * w)", 1.0),
        ("x = where_matrix(c, w)", None),
        ("x = c * get_step()", 1.0),
        ("x = c * get_progress()", 1.0),
        ("x = get_progress() ** c", None),
    ],
)
def test_degrees_of_the_functions_beyond_the_paper(line: str, degree: float | None) -> None:
    """Read off the state, and seen in its value: c is a tree that the constant scales."""
    program = parse(f"def train(w, g, s, lr):\n    c = g * 0.5\n    {line}\n    return w, x\n")
    assert degrees(program, [(0, 1)]).states == (degree,)
    if degree is not None:
        scaled = parse(program.text.replace("g * 0.5", "g * 4.0"))
        got, base = (first_state(p) for p in (scaled, program))
        np.testing.assert_allclose(got, 8.0**degree * base, rtol=1e-12)


def first_state(program: Program) -> np.ndarray:
    source = np.random.default_rng(5)
    w, g = (source.normal(size=(1, LAYOUT.elements)) for _ in range(2))
    rule = Interpreter(program, state_kinds(program), LAYOUT, torch.float64, arrays=True)
    _, (state,) = rule.step(w, g, rule.initial_states(1), rule.scalars(0.5))
    return state


def test_a_guard_of_a_product_of_matrices_is_one() -> None:
    text = "x = transpose(g); x = matmul(g, x); x = x + 1e-6; v = interp(x, v, 0.9); "
    lifted = lift(rule(text + "u = matmul(v, w); u = u * lr", "v", "u, v"))
    assert lifted.values == {"lr": 1.0, "eps": 1e-6, "beta1": 0.9}
    assert state_kinds(lifted.program) == (Kind.ROW_SQUARE,)


@given(rated_programs())
def test_a_rate_scales_the_update(program: Program) -> None:
    lifted = lift(program)
    assert lifted.scale == "lr"
    faster = lifted.with_values({"lr": 64 * lifted.values["lr"]})
    assert_scaled(updates(faster), updates(lifted.program), 64.0)


def test_an_outer_rate_is_one_more_statement() -> None:
    lifted = lift(rule("u = sin(g)", "", "u"))
    assert lifted.scale is None
    assert lifted.with_values({"lr": 1.0}) == lifted.program
    np.testing.assert_array_equal(
        updates(lifted.with_values({"lr": 0.25})), 0.25 * updates(lifted.program)
    )


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ProgramError, match="'beta3'; this rule has lr, beta1, beta2, weight_decay"):
        lift(load_rule("lion")).with_values({"beta3": 0.9})


def test_an_invalid_program_is_refused() -> None:
    with pytest.raises(ProgramError, match="must be a tree"):
        lift(rule("u = lr * 0.1", "", "u"))
