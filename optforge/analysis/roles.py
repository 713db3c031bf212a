"""The role of each constant in a program: mixing weight, weight decay, guard, ..."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from optforge.analysis.degree import Place
from optforge.analysis.kinds import variable_kinds
from optforge.analysis.walk import Environment, walk
from optforge.language import Kind, Program, Statement

LARGEST_EPS = 1e-4  # a constant that is added to a tree and is not larger guards a division
MOST_TERMS = 64  # a longer sum counts as one term

WEIGHT, GRADIENT, LR = "weight", "gradient", "lr"


@dataclass(frozen=True)
class Term:
    """A term of a sum: the constants that multiply it, and the inputs that the rest reads.

    Inputs are WEIGHT, GRADIENT, LR or the number of a state. Inputs of a number that scales a whole
    sum, such as a ratio of norms, are kept separately.
    """

    constants: frozenset[Place] = frozenset()
    sources: frozenset[str | int] = frozenset()
    scales: frozenset[str | int] = frozenset()


Sum = tuple[Term, ...]


@dataclass(frozen=True)
class Role:
    """The role of a constant.

    Args:
        name: Stem of the name: ``beta``, ``one_minus_beta``, ``momentum``, ``weight_decay``,
            ``eps``, ``power_of_beta`` (to be joined with the beta that it repeats) or
            ``constant``.
        states: The averaged states, for mixing weights.
    """

    name: str
    states: frozenset[str | int] = frozenset()


def roles(program: Program) -> dict[Place, Role]:
    """Return the role of each constant of a live, valid program.

    - ``beta``: the weight a in ``interp(new, old, a)``, the share of the old value;
      ``one_minus_beta``: the weight a in ``interp(old, new, a)``, the share of the new value. *Old*
      is the side that reads a state, or if both do, the side that does not read the gradient.
    - ``momentum``: multiplies an incoming state.
    - ``weight_decay``: multiplies, in a term of the update, a value that depends only on the
      weights.
    - ``eps``: at most 1e-4, and added to a tree or a lower bound of one.

    Example:
        >>> from optforge.language import load_rule
        >>> sorted(role.name for role in roles(load_rule("lion")).values())
        ['beta', 'beta', 'constant', 'weight_decay']
    """
    named: dict[Place, Role] = {}
    kinds = variable_kinds(program)

    def apply(number: int, statement: Statement, values: list[Sum]) -> Sum:
        for i, argument in enumerate(statement.arguments):
            if isinstance(argument, float):
                named[number, i] = _role(program, statement, i, values, kinds[number])
        return _result(number, statement, values, kinds[number])

    states = [(Term(sources=frozenset({i})),) for i in range(len(program.states))]
    ends = [(Term(sources=frozenset({name})),) for name in (WEIGHT, GRADIENT, LR)]
    environment = Environment[Sum](
        program.parameters, (*ends[:2], *states, ends[2]), lambda value: (Term(),)
    )
    walk(program.statements, environment, apply)
    update = environment[program.outputs[0]]
    for place in _decays(update):
        if named[place].name == "constant":
            named[place] = Role("weight_decay")
    return named


def _decays(update: Sum) -> list[Place]:
    """Return the constants of terms that read only the weights, except those in all terms."""
    common = frozenset.intersection(*(term.constants for term in update))
    decay = {p for t in update if {WEIGHT} <= t.sources <= {WEIGHT, LR} for p in t.constants}
    return sorted(decay - common)


def _role(
    program: Program, statement: Statement, i: int, values: list[Sum], kinds: dict[str, int]
) -> Role:
    name, constant = statement.function, statement.arguments[i]
    assert isinstance(constant, float)
    if name == "interp" and i == 2:
        return _mixing(_sources(values[0]), _sources(values[1]))
    if name == "power" and i == 0:
        return Role("power_of_beta")
    if len(statement.arguments) == 2:
        other = statement.arguments[1 - i]
        sources = _sources(values[1 - i])
        if name == "multiply" and len(sources) == 1 and isinstance(next(iter(sources)), int):
            return Role("momentum", sources)
        tree = isinstance(other, str) and kinds[other] >= Kind.TREE
        if name in ("add", "maximum") and tree and 0 < constant <= LARGEST_EPS:
            return Role("eps")
    return Role("constant")


def _mixing(x: frozenset[str | int], y: frozenset[str | int]) -> Role:
    """Return the role of a in ``interp(x, y, a) = (1 - a) x + a y``."""
    states_x, states_y = _states(x), _states(y)
    if states_y and not (states_x and GRADIENT in y and GRADIENT not in x):
        return Role("beta", states_y)
    return Role("one_minus_beta", states_x) if states_x else Role("constant")


def _sources(value: Sum) -> frozenset[str | int]:
    return frozenset().union(*(term.sources | term.scales for term in value))


def _states(sources: Iterable[str | int]) -> frozenset[str | int]:
    return frozenset(source for source in sources if isinstance(source, int))


def _result(number: int, statement: Statement, values: list[Sum], kinds: dict[str, int]) -> Sum:
    """Return a result's terms: sums stay, a one-term product is spread, others are one term."""
    per_argument = [
        (Term(frozenset({(number, i)})),) if isinstance(a, float) else value
        for i, (a, value) in enumerate(zip(statement.arguments, values, strict=True))
    ]
    name = statement.function
    if name in ("add", "subtract") and len(per_argument[0] + per_argument[1]) <= MOST_TERMS:
        return per_argument[0] + per_argument[1]
    if name == "negative":
        return per_argument[0]
    if name == "multiply":
        (few, factor), (many, _) = sorted(
            zip(per_argument, statement.arguments, strict=True), key=lambda pair: len(pair[0])
        )
        is_number = not isinstance(factor, str) or kinds[factor] < Kind.TREE
        return _scaled(few, many) if is_number and len(many) > 1 else _spread(few, many)
    if name == "divide":
        return _spread(_opaque(per_argument[1:]), per_argument[0])
    return _opaque(per_argument)


def _opaque(values: Iterable[Sum]) -> Sum:
    return (Term(sources=frozenset().union(*map(_sources, values))),)


def _scaled(factor: Sum, terms: Sum) -> Sum:
    """Multiply a sum by a scalar, or by one number per array."""
    (scale,) = factor if len(factor) == 1 else _opaque([factor])
    return tuple(
        Term(scale.constants | t.constants, t.sources, scale.sources | scale.scales | t.scales)
        for t in terms
    )


def _spread(factor: Sum, terms: Sum) -> Sum:
    """Multiply each term by a factor that counts as one term."""
    (single,) = factor if len(factor) == 1 else _opaque([factor])
    return tuple(
        Term(single.constants | t.constants, single.sources | t.sources, single.scales | t.scales)
        for t in terms
    )
