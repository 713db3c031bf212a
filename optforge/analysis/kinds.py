"""Abstract execution over kinds: whether a program is well formed, and what each variable holds."""

from __future__ import annotations

from collections.abc import Callable

from optforge.analysis.walk import Environment, walk
from optforge.errors import ProgramError
from optforge.language import FUNCTIONS, Function, Kind, Program, Statement
from optforge.language.function import mixes

_ELEMENTWISE = {name: row.arity for name, row in FUNCTIONS.items() if row.form == "elementwise"}
_SHAPING = frozenset(
    name for name, row in FUNCTIONS.items() if row.form in ("product", "transpose")
)
_SCALAR, _TREE = int(Kind.SCALAR), int(Kind.TREE)


def constant(value: float) -> int:
    """Return the kind of a constant, a scalar."""
    return _SCALAR


def _apply(number: int, statement: Statement, kinds: list[int]) -> int:
    if _ELEMENTWISE.get(statement.function) == len(kinds):  # nearly all, so it is the short way
        largest = max(kinds)
        if largest <= _TREE or mixes(tuple(kinds)):
            return largest
    row = FUNCTIONS[statement.function]
    if len(kinds) != row.arity:
        raise ProgramError(
            f"statement {number + 1}, '{statement.text}': got {len(kinds)} arguments; "
            f"{statement.function} takes {row.arity}"
        )
    kind = row.result(tuple(kinds))
    if kind < _SCALAR:
        raise ProgramError(
            f"statement {number + 1}, '{statement.text}': {_why_not(row, tuple(kinds))}"
        )
    return kind


def _why_not(row: Function, kinds: tuple[int, ...]) -> str:
    """Explain why a function does not accept arguments of these kinds."""
    shapes = " and ".join(_PER[kind] for kind in kinds)
    if row.form == "transpose":
        return f"transpose got one value per {shapes}; it takes a tree"
    if row.form == "product":
        return (
            f"matmul got one value per {shapes}; it takes two trees, and the columns of the "
            "first must be the rows of the second"
        )
    if not mixes(kinds):
        return (
            f"{row.name} got one value per {shapes}; these have different shapes and cannot be "
            "combined element by element; see transpose and matmul"
        )
    return (
        f"the last argument of {row.name} is one value per {_PER[kinds[-1]]}; a scalar is allowed"
    )


_PER = (
    "program",
    "array",
    "element (a tree)",
    "element of transposed matrices",
    "element of matrices of rows by rows",
    "element of matrices of columns by columns",
)


def joined(kind: int, other: int) -> int:
    """Return the kind that holds values of both kinds.

    Raises:
        ProgramError: If both have shapes and these differ.
    """
    if not mixes((kind, other)):
        raise ProgramError(
            f"a state would be one value per {_PER[kind]} and one per {_PER[other]} in turn; "
            "it must keep its shape"
        )
    return max(kind, other)


def state_kinds(program: Program) -> tuple[int, ...]:
    r"""Check all kinds and return those of the states.

    A state keeps its kind from step to step. Its kind is the smallest one that holds every value
    that the program returns for it: the least fixed point of the walk, from scalars upwards. So a
    moment of the gradient is a tree, and a step counter stays a scalar.

    Raises:
        ProgramError: If arguments have the wrong kinds (the message names the statement, what it
            received and what is allowed), a variable is undefined, or the update is not a tree.

    Example:
        >>> from optforge.language import load_rule
        >>> [Kind(kind).name for kind in state_kinds(load_rule("adamw_bias_correction"))]
        ['TREE', 'TREE', 'SCALAR']
    """
    kinds = (_SCALAR,) * len(program.states)
    shaping = any(statement.function in _SHAPING for statement in program.statements)
    while True:
        environment = _kinds_after(program, kinds, _lenient if shaping else _apply)
        try:
            update, *rest = [environment[name] for name in program.outputs]
        except KeyError as error:
            raise ProgramError(f"{error.args[0]!r} is returned but never defined") from None
        grown = tuple(map(joined, kinds, rest))
        if grown == kinds:
            break
        kinds = grown
    if shaping:
        _kinds_after(program, kinds, _apply)
    if update != _TREE:
        raise ProgramError(
            f"the update '{program.outputs[0]}' is one value per {_PER[update]}; "
            "it must be a tree, one value per weight"
        )
    return kinds


def _lenient(number: int, statement: Statement, kinds: list[int]) -> int:
    """Apply a function like :func:`_apply`; a product with a still unknown state is unknown."""
    name = statement.function
    if name in _SHAPING and len(kinds) == FUNCTIONS[name].arity and min(kinds) < _TREE:
        return _SCALAR
    return _apply(number, statement, kinds)


def _kinds_after(
    program: Program, kinds: tuple[int, ...], apply: Callable[[int, Statement, list[int]], int]
) -> Environment[int]:
    values = (_TREE, _TREE, *kinds, _SCALAR)
    try:
        return walk(program.statements, Environment(program.parameters, values, constant), apply)
    except KeyError:
        raise _unknown(program) from None


def _unknown(program: Program) -> ProgramError:
    """Return the error for the first statement that reads an undefined name."""
    known = list(program.parameters)
    for number, statement in enumerate(program.statements, 1):
        where = f"statement {number}, '{statement.target} = {statement.function}(...)'"
        for name in statement.arguments:
            if isinstance(name, str) and name not in known:
                return ProgramError(
                    f"{where}: variable {name!r} is read before it is defined; "
                    f"known here: {', '.join(known[:12])}"
                )
        if statement.function not in FUNCTIONS:
            return ProgramError(
                f"{where}: unknown function {statement.function!r}; "
                f"allowed are {', '.join(FUNCTIONS)}"
            )
        known.append(statement.target)
    return ProgramError("a variable is read before it is defined")


def variable_kinds(program: Program) -> list[dict[str, int]]:
    """Return the kinds of all variables before each statement, for building new statements."""
    values = (_TREE, _TREE, *state_kinds(program), _SCALAR)
    environment = Environment(program.parameters, values, constant)
    before: list[dict[str, int]] = []

    def note(number: int, statement: Statement, kinds: list[int]) -> int:
        before.append({str(name): kind for name, kind in environment.items()})
        return _apply(number, statement, kinds)

    walk(program.statements, environment, note)
    return [*before, {str(name): kind for name, kind in environment.items()}]
