"""The property card: a rule's invariances, bounds and costs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy
from numpy import ndarray

from optforge.analysis import cost
from optforge.analysis.walk import Environment, walk
from optforge.equality.reference import ReferenceRule, layout_for
from optforge.language import Program, Statement

_STEPS = 6  # of learning rates
_TRIED = 32  # steps of the trials of invariance
_NEAR = 1e-4  # relative: what the guards of divisions may change
# Factors that are tried, far enough apart to find thresholds such as that of clip; powers of two
# round nothing.
_FACTORS = (4.0, 256.0)
_MAGNITUDES = tuple(10.0**power for power in range(-4, 3))  # of gradients


@dataclass(frozen=True)
class Card:
    """Properties of a rule; those *by trial* were measured on random inputs over several steps.

    Args:
        gradient_scaling: Effect of multiplying all gradients by 4 and 256 on the update:
            ``invariant``, ``proportional``, or ``neither``. By trial, guards aside.
        parameter_scaling: The same for weights and gradients together.
        sign_flip: Whether flipping the signs of weights and gradients flips the update (``odd``),
            leaves it (``even``) or neither. By trial.
        elementwise_flip: Whether that holds for each element on its own. By trial.
        bound: A bound of the update's magnitude for lr = 1, as ``a + b |w|``; None if none is
            known. By interval arithmetic, so it is proven, but may be loose.
        states: Number of states.
        state_bytes: Bytes of state per parameter, in float32.
        statements: Number of live statements.
        learning_rates: Least and largest ratio of update to gradient, at weight zero, after some
            steps of a constant gradient between 1e-4 and 100. By trial.
    """

    gradient_scaling: str
    parameter_scaling: str
    sign_flip: str
    elementwise_flip: str
    bound: str | None
    states: int
    state_bytes: float
    statements: int
    learning_rates: tuple[float, float] | None

    def to_json(self) -> dict[str, Any]:
        """Return the content as JSON-serializable values."""
        return asdict(self)


def property_card(program: Program) -> Card:
    """Compute the card of a rule.

    Example:
        >>> from optforge.language import load_rule
        >>> card = property_card(load_rule("lion"))
        >>> card.gradient_scaling, card.bound, card.state_bytes
        ('invariant', '0.0001 + 1e-05 |w|', 4.0)
    """
    costs = cost(program)
    elements = layout_for(program).elements
    some = numpy.where(numpy.arange(elements) % 2 == 0, -1.0, 1.0)
    return Card(
        _scaling(program, weights=False),
        _scaling(program, weights=True),
        _flip(program, -numpy.ones(elements)),
        _flip(program, some),
        _bound(program),
        len(program.states),
        costs.state_bytes,
        costs.statements,
        _learning_rates(program),
    )


def _run(
    program: Program, change: Callable[[ndarray, ndarray], tuple[ndarray, ndarray]]
) -> ndarray:
    """Return the updates of some steps on fixed random inputs, which are changed before use."""
    rule, source = ReferenceRule(program), numpy.random.default_rng(11)
    states, updates = rule.zeros(), []
    for step in range(_TRIED):
        weights, gradients = change(*source.normal(size=(2, rule.layout.elements)) * 0.2)
        lr, moment = 1.0 - step / _TRIED, (step, _TRIED)
        stepped = rule.step(weights, gradients, states, lr, moment=moment)
        states = stepped.states
        updates.append(stepped.update)
    return numpy.array(updates)


def _same(first: ndarray, second: ndarray) -> bool:
    finite = numpy.isfinite(first) & numpy.isfinite(second)
    if not finite.any():
        return False
    scale = float(numpy.max(numpy.abs(first[finite])))
    return bool(numpy.all(numpy.abs(first - second)[finite] <= _NEAR * max(scale, 1e-300)))


def _scaling(program: Program, weights: bool) -> str:
    effects = {_scaled(program, factor if weights else 1.0, factor) for factor in _FACTORS}
    return effects.pop() if len(effects) == 1 else "neither"


def _scaled(program: Program, weight: float, gradient: float) -> str:
    plain = _run(program, lambda w, g: (w, g))
    scaled = _run(program, lambda w, g: (weight * w, gradient * g))
    if _same(plain, scaled):
        return "invariant"
    return "proportional" if _same(gradient * plain, scaled) else "neither"


def _flip(program: Program, signs: ndarray) -> str:
    plain = _run(program, lambda w, g: (w, g))
    flipped = _run(program, lambda w, g: (signs * w, signs * g))
    if _same(signs * plain, flipped):
        return "odd"
    return "even" if _same(plain, flipped) else "neither"


def _learning_rates(program: Program) -> tuple[float, float] | None:
    """Measure update / gradient for constant gradients."""
    ratios = []
    for magnitude in _MAGNITUDES:
        rule = ReferenceRule(program)
        states = rule.zeros()
        zeros = numpy.zeros(rule.layout.elements)
        gradients = numpy.full(rule.layout.elements, magnitude)
        for step in range(_STEPS):
            moment = (step, _STEPS)
            stepped = rule.step(zeros, gradients, states, 1.0, moment=moment)
            states = stepped.states
            ratios.append(float(numpy.max(numpy.abs(stepped.update))) / magnitude)
    finite = [ratio for ratio in ratios if math.isfinite(ratio)]
    return (min(finite), max(finite)) if finite else None


Bound = tuple[float, float]  # |value| <= first + second |w|
_ONE = frozenset(("sign", "sin", "cos", "tanh", "cosine_sim"))
_HALF_PI = frozenset(("arctan", "arcsin"))
# Of numbers within a bound these are within it; of trees whose bound grows with |w| too, or not.
_CHOOSING = frozenset(("where", "where_matrix"))
_AVERAGING = frozenset(("mean", "rms", "transpose"))
_AVERAGING |= {f"{line}_{name}" for line in ("row", "column") for name in ("mean", "rms")}
_GROWING = frozenset(("sinh", "arcsinh", "cbrt", "cube", "expm1", "square", "abs", "negative"))


def _bound(program: Program) -> str | None:
    infinite = (math.inf, 0.0)
    names = program.parameters
    inputs = [(0.0, 1.0), infinite, *[infinite] * len(program.states), (1.0, 0.0)]
    environment = Environment[Bound](names, inputs, lambda value: (abs(value), 0.0))

    def apply(number: int, statement: Statement, values: list[Bound]) -> Bound:
        return _bounded(statement, values)

    walk(program.statements, environment, apply)
    constant, slope = environment[program.outputs[0]]
    if not (math.isfinite(constant) and math.isfinite(slope)):
        return None
    return f"{constant:.6g} + {slope:.6g} |w|" if slope else f"{constant:.6g}"


def _bounded(statement: Statement, values: list[Bound]) -> Bound:
    name = statement.function
    if name in _ONE:
        return 1.0, 0.0
    if name in _HALF_PI:
        return math.pi / 2, 0.0
    if name == "arccos":
        return math.pi, 0.0
    if name in ("add", "subtract", "maximum", "minimum"):
        return values[0][0] + values[1][0], values[0][1] + values[1][1]
    if name in _CHOOSING:
        return max(v[0] for v in values[-2:]), max(v[1] for v in values[-2:])
    if name == "get_progress":
        return 1.0, 0.0
    if name in _AVERAGING and values[0][1] == 0:
        return values[0]
    if name == "multiply":
        return _times(*values)
    if name == "interp" and isinstance(statement.arguments[2], float):
        a = statement.arguments[2]
        parts = _times(values[0], (abs(1 - a), 0.0)), _times(values[1], (abs(a), 0.0))
        return parts[0][0] + parts[1][0], parts[0][1] + parts[1][1]
    if name == "clip":  # no element is larger than the norm, which the limit bounds
        return (values[1][0], 0.0) if math.isfinite(values[1][0]) else values[0]
    if name in ("abs", "negative"):
        return values[0]
    if name in _GROWING and values[0][1] == 0 and values[0][0] < 300:
        plain = {"square": lambda x: x * x, "cube": lambda x: x**3, "cbrt": lambda x: x ** (1 / 3)}
        return plain.get(name, getattr(math, name.replace("arcsinh", "asinh"), abs))(
            values[0][0]
        ), 0.0
    if name == "divide" and isinstance(statement.arguments[1], float):
        return _times(values[0], (abs(1 / (statement.arguments[1] + 1e-8)), 0.0))
    return math.inf, 0.0


def _times(first: Bound, second: Bound) -> Bound:
    for left, right in ((first, second), (second, first)):
        if left == (0.0, 0.0):
            return 0.0, 0.0
        if left[1] == 0:
            return left[0] * right[0] if right[0] else 0.0, left[0] * right[1] if right[1] else 0.0
    return math.inf, 0.0
