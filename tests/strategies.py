"""Random valid programs, for Hypothesis (`programs()`) and for seeded loops (`random_program`)."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from hypothesis import strategies as st

from optforge.language import (
    FUNCTION_SETS,
    FUNCTIONS,
    Function,
    Kind,
    Program,
    Statement,
    round_constant,
)
from optforge.language.function import mixes

NAMES = ("u", "x1", "x2", "tmp", "exp", "norm2")
CONSTANTS = (0.9, 0.1, 0.001, 1.0, -1.0, 0.0, -0.0, 2.0, 0.5, -0.5, 3.0, 1e-8, -2.5, 1e5, 0.123457)
MOST_STATEMENTS = 12
MOST_STATES = 4

ALL = tuple(FUNCTIONS)
PAPER = FUNCTION_SETS["paper"]
# Mostly functions that lead from one shape to another, with those that combine what they give.
SHAPING = (
    *("matmul", "matmul", "matmul", "transpose", "transpose", "orthogonalize", "where_matrix"),
    *("interp", "add", "multiply", "norm", "row_mean", "column_norm", "dot", "clip", "where"),
)

Choose = Callable[[Sequence[Any]], Any]


class Bounds(NamedTuple):
    """Kinds that a variable can have.

    Args:
        first: In the first round of the fix-point, where all states are scalars.
        low: At least, once the states that are sure to have their kind have it.
        high: At most, if all states have their highest kind.
    """

    first: int
    low: int
    high: int


SCALAR = Bounds(0, 0, 0)
_TREE = Bounds(Kind.TREE, Kind.TREE, Kind.TREE)
_KINDS = (Kind.TREE, Kind.SCALAR, Kind.ARRAY)
_SHAPES = (Kind.TRANSPOSED, Kind.ROW_SQUARE, Kind.COLUMN_SQUARE)


class _Builder:
    """Builds a program statement by statement, so that kinds always hold.

    States have a highest kind, chosen beforehand. Of each variable the highest kind (if states
    have theirs) and the lowest (if states are scalars) are tracked: a controlled argument must
    be a scalar at the highest, the update a tree at the lowest. With functions that change shapes
    some states are sure to have their kind, so that products may read them before they are set.
    """

    def __init__(
        self,
        choose: Choose,
        constant: Callable[[], float],
        states: int,
        functions: tuple[str, ...] = ALL,
    ) -> None:
        self.choose, self.constant, self.functions = choose, constant, functions
        names = ("weight", "grad", "m", "v", "s", "q", "rate")
        self.parameters = (*names[:2], *names[2 : 2 + states], names[-1])
        shaped = "matmul" in functions
        options = (*_KINDS, Kind.TREE, *_SHAPES) if shaped else _KINDS
        self.kinds = [choose(options) for _ in range(states)]
        self.sure = [
            shaped and kind >= Kind.TREE and choose((True, False, kind in _SHAPES))
            for kind in self.kinds
        ]
        self.bounds: dict[str, Bounds] = {}
        self.bounds |= dict.fromkeys(self.parameters[:2], _TREE)
        states_ = zip(self.parameters[2:-1], self.kinds, self.sure, strict=True)
        for name, kind, sure in states_:
            self.bounds[name] = Bounds(0, int(kind) if sure else 0, int(kind))
        self.bounds[self.parameters[-1]] = SCALAR

    def statement(self) -> Statement:
        row = FUNCTIONS[self.choose(self.functions)]
        if row.form in ("product", "transpose"):
            return self.shaping(row)
        arguments: list[str | float] = []
        for place in range(row.arity):
            arguments.append(self.argument(row, place, arguments))
        return self.assigned(row, arguments)

    def shaping(self, row: Function) -> Statement:
        """A product or a transpose, of what surely has a shape."""
        shaped = [name for name, bounds in self.bounds.items() if bounds.low >= Kind.TREE]
        first = self.choose(shaped)
        if row.form == "product":
            kind = self.bounds[first].low
            fitting = [n for n in shaped if row.allows((kind, self.bounds[n].low))]
            if fitting:
                return self.assigned(row, [first, self.choose(fitting)])
        return self.assigned(FUNCTIONS["transpose"], [first])

    def assigned(self, row: Function, arguments: list[str | float]) -> Statement:
        bounds = [self.of(a) for a in arguments]
        low, high = (int(row.result(tuple(b[i] for b in bounds))) for i in (1, 2))
        unknown = row.form in ("product", "transpose") and min(b.first for b in bounds) < Kind.TREE
        first = 0 if unknown else int(row.result(tuple(b.first for b in bounds)))
        target = self.target(first)
        self.bounds[target] = Bounds(first, low, high)
        return Statement(target, row.name, tuple(arguments))

    def of(self, argument: str | float) -> Bounds:
        return self.bounds[argument] if isinstance(argument, str) else SCALAR

    def argument(self, row: Function, place: int, earlier: Sequence[str | float]) -> str | float:
        if self.choose((True, False, False)):
            return self.constant()
        scalar = row.form == "controlled" and place == row.arity - 1
        kinds = tuple(self.of(a).high for a in earlier)
        names = [
            name
            for name, bounds in self.bounds.items()
            if (not scalar or bounds.high == 0) and mixes((*kinds, bounds.high))
        ]
        return self.choose(names) if names else self.constant()

    def target(self, first: int) -> str:
        """Any name, except that the last variable which is surely a tree must not be lost."""
        trees = self.trees()
        names = [
            name for name in (*NAMES, *self.parameters) if first == Kind.TREE or trees != [name]
        ]
        return self.choose(names)

    def trees(self) -> list[str]:
        return [name for name, bounds in self.bounds.items() if bounds.first == Kind.TREE]

    def outputs(self, statements: list[Statement]) -> tuple[str, ...]:
        """The update, a sure tree; for each state any variable that its kind can hold."""
        rest = []
        for kind, sure in zip(self.kinds, self.sure, strict=True):
            if sure and not any(b.first == kind for b in self.bounds.values()):
                statements += self.made(kind)
            rest.append(
                self.choose(
                    [
                        name
                        for name, bounds in self.bounds.items()
                        if (bounds.first == kind if sure else _holds(kind, bounds.high))
                    ]
                )
            )
        return (self.choose(self.trees()), *rest)

    def made(self, kind: Kind) -> list[Statement]:
        """Statements that give a value of a shape."""
        tree = self.trees()[0]
        turned = Statement("turned", "transpose", (tree,))
        self.bounds["turned"] = Bounds(*[Kind.TRANSPOSED] * 3)
        if kind == Kind.TRANSPOSED:
            return [turned]
        factors = (tree, "turned") if kind == Kind.ROW_SQUARE else ("turned", tree)
        name = f"square{int(kind)}"
        self.bounds[name] = Bounds(*[kind] * 3)
        return [turned, Statement(name, "matmul", factors)]


def _holds(kind: int, other: int) -> bool:
    return other <= kind and mixes((kind, other))


def build_program(
    choose: Choose,
    constant: Callable[[], float],
    functions: tuple[str, ...] = ALL,
    most_states: int = MOST_STATES,
) -> Program:
    """Build a valid program from two sources of choices."""
    builder = _Builder(choose, constant, choose(range(most_states + 1)), functions)
    statements = [builder.statement() for _ in range(choose(range(MOST_STATEMENTS + 1)))]
    if not any(bounds.high == Kind.SCALAR for bounds in builder.bounds.values()):
        statements.append(Statement("pi", "get_pi", ()))  # for the states that hold no more
        builder.bounds["pi"] = SCALAR
    outputs = builder.outputs(statements)
    return Program(builder.parameters, tuple(statements), outputs)


def random_program(source: random.Random, functions: tuple[str, ...] = ALL) -> Program:
    """Build a valid program of some functions; the same for the same state of the source."""

    def constant() -> float:
        ordinary = source.random() < 0.5
        return round_constant(source.gauss(0, 1)) if ordinary else source.choice(CONSTANTS)

    return build_program(source.choice, constant, functions)


_FLOATS = st.floats(-1e6, 1e6, allow_nan=False).map(round_constant) | st.sampled_from(CONSTANTS)


@st.composite
def programs(
    draw: st.DrawFn, functions: tuple[str, ...] = ALL, most_states: int = MOST_STATES
) -> Program:
    """Valid programs: 0 to 4 states of all kinds, some functions, shadowing, dead code."""
    return build_program(
        lambda options: draw(st.sampled_from(options)),
        lambda: draw(_FLOATS),
        functions,
        most_states,
    )


@st.composite
def rated_programs(draw: st.DrawFn, most_states: int = MOST_STATES) -> Program:
    """Valid programs whose update is multiplied by a rate, a constant above 0, at the end."""
    program = draw(programs(most_states=most_states))
    rate = draw(st.sampled_from([1e-3, 0.1, 0.75, 1.0, 2.0]))
    last = Statement("rated", "multiply", (program.outputs[0], rate))
    outputs = ("rated", *program.outputs[1:])
    return Program(program.parameters, (*program.statements, last), outputs)


def seeds() -> st.SearchStrategy[int]:
    """Seeds for `random.Random` where shrinking is not worth its price."""
    return st.integers(0, 2**32 - 1)
