"""Random valid programs, for Hypothesis (`programs()`) and for seeded loops (`random_program`)."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

from optforge.language import FUNCTIONS, Kind, Program, Statement, round_constant

NAMES = ("u", "x1", "x2", "tmp", "exp", "norm2")
CONSTANTS = (0.9, 0.1, 0.001, 1.0, -1.0, 0.0, -0.0, 2.0, 0.5, -0.5, 3.0, 1e-8, -2.5, 1e5, 0.123457)
MOST_STATEMENTS = 12

Choose = Callable[[Sequence[Any]], Any]


class _Builder:
    """Builds a program statement by statement, so that kinds always hold.

    States have a highest kind, chosen beforehand. Of each variable the highest kind (if states
    have theirs) and the lowest (if states are scalars) are tracked: a controlled argument must
    be a scalar at the highest, the update a tree at the lowest.
    """

    def __init__(self, choose: Choose, constant: Callable[[], float], states: int) -> None:
        self.choose, self.constant = choose, constant
        names = ("weight", "grad", "m", "v", "s", "q", "rate")
        self.parameters = (*names[:2], *names[2 : 2 + states], names[-1])
        self.kinds = [choose((Kind.TREE, Kind.SCALAR, Kind.ARRAY)) for _ in range(states)]
        tree = (int(Kind.TREE), int(Kind.TREE))
        self.bounds = {self.parameters[0]: tree, self.parameters[1]: tree}
        for name, kind in zip(self.parameters[2:-1], self.kinds, strict=True):
            self.bounds[name] = (0, int(kind))
        self.bounds[self.parameters[-1]] = (0, 0)

    def statement(self) -> Statement:
        row = FUNCTIONS[self.choose(tuple(FUNCTIONS))]
        arguments = [
            self.argument(row.form == "controlled", i, row.arity) for i in range(row.arity)
        ]
        bounds = [(0, 0) if isinstance(a, float) else self.bounds[a] for a in arguments]
        low, high = (int(row.result(tuple(b[i] for b in bounds))) for i in (0, 1))
        target = self.target(low)
        self.bounds[target] = (low, high)
        return Statement(target, row.name, tuple(arguments))

    def argument(self, controlled: bool, place: int, arity: int) -> str | float:
        if self.choose((True, False, False)):
            return self.constant()
        scalar = controlled and place == arity - 1
        names = [name for name, (_, high) in self.bounds.items() if not scalar or high == 0]
        return self.choose(names) if names else self.constant()

    def target(self, low: int) -> str:
        """Any name, except that the last variable which is surely a tree must not be lost."""
        trees = self.trees()
        names = [name for name in (*NAMES, *self.parameters) if low == Kind.TREE or trees != [name]]
        return self.choose(names)

    def trees(self) -> list[str]:
        return [name for name, (low, _) in self.bounds.items() if low == Kind.TREE]

    def outputs(self) -> tuple[str, ...]:
        """The update, a sure tree; for each state any variable that its kind can hold."""
        rest = [
            self.choose([name for name, (_, high) in self.bounds.items() if high <= kind])
            for kind in self.kinds
        ]
        return (self.choose(self.trees()), *rest)


def build_program(choose: Choose, constant: Callable[[], float]) -> Program:
    """Build a valid program from two sources of choices."""
    builder = _Builder(choose, constant, choose(range(5)))
    statements = [builder.statement() for _ in range(choose(range(MOST_STATEMENTS + 1)))]
    if not any(high == Kind.SCALAR for _, high in builder.bounds.values()):
        statements.append(Statement("pi", "get_pi", ()))  # for the states that hold no more
        builder.bounds["pi"] = (0, 0)
    return Program(builder.parameters, tuple(statements), builder.outputs())


def random_program(source: random.Random) -> Program:
    """Build a valid program; the same for the same state of the source."""

    def constant() -> float:
        ordinary = source.random() < 0.5
        return round_constant(source.gauss(0, 1)) if ordinary else source.choice(CONSTANTS)

    return build_program(source.choice, constant)


_FLOATS = st.floats(-1e6, 1e6, allow_nan=False).map(round_constant) | st.sampled_from(CONSTANTS)


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Valid programs: 0 to 4 states of all kinds, all functions, shadowing, dead code."""
    return build_program(lambda options: draw(st.sampled_from(options)), lambda: draw(_FLOATS))


def seeds() -> st.SearchStrategy[int]:
    """Seeds for `random.Random` where shrinking is not worth its price."""
    return st.integers(0, 2**32 - 1)
