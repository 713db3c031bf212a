"""Kinds and liveness in one walk, for those who check thousands of programs a second."""

from __future__ import annotations

from optforge.analysis.kinds import state_kinds
from optforge.analysis.liveness import Liveness, across_steps, liveness
from optforge.errors import ProgramError
from optforge.language import FUNCTIONS, Kind, Program, Statement

# Kinds as bits, so that the largest of several is their union; a value carries two bits of kind
# from below, two from above, then its dependencies.
_BITS = {Kind.SCALAR: 0, Kind.ARRAY: 1, Kind.TREE: 3}
_ALL = 15
_ARITY = {name: row.arity for name, row in FUNCTIONS.items()}
_CONTROLLED = frozenset(name for name, row in FUNCTIONS.items() if row.form == "controlled")


_INVALID = Liveness(0, 0, 0)


def _result(name: str) -> list[int]:
    """Tabulate the kind bits of a function's result over those of its arguments' union."""
    row, kinds = FUNCTIONS[name], {bits: kind for kind, bits in _BITS.items()}

    def one(bits: int) -> int:
        return _BITS[Kind(row.result((kinds[bits],) * row.arity))] if bits in kinds else 0

    return [one(bits & 3) | one(bits >> 2) << 2 for bits in range(16)]


_RESULTS = {
    name: _result(name)
    for name, row in FUNCTIONS.items()
    if row.form not in ("elementwise", "controlled")
}


def examine(
    program: Program, expected: tuple[int, ...] | None = None
) -> tuple[tuple[int, ...], Liveness]:
    r"""Give :func:`state_kinds` and :func:`liveness` of a program.

    With a good guess of the kinds one walk finds both. It carries three values at once: kinds
    :math:`F(\bot)` from states that are all scalars, kinds :math:`F(k)` from the guess k, and
    dependencies. If :math:`F(\bot) = k` and :math:`F(k) \le k`, then k is the least fix-point,
    for that lies between. Otherwise the fix-points are computed step by step.

    Args:
        program: Any program.
        expected: A guess, such as the kinds of its parent.

    Raises:
        ProgramError: As :func:`state_kinds` does; with a guess it may not say what is wrong,
            for a search throws away thousands of such programs.

    Example:
        >>> from optforge.language import load_rule
        >>> kinds, live = examine(load_rule("program_8"), (2, 2))
        >>> kinds, live.across.bit_count()
        ((2, 2), 12)
    """
    if expected is not None and len(expected) == len(program.states):
        live = _at_once(program, expected)
        if live is _INVALID:
            raise ProgramError("the program is not valid; state_kinds says what is wrong")
        if live is not None:
            return expected, live
    return state_kinds(program), liveness(program)


def _at_once(program: Program, expected: tuple[int, ...]) -> Liveness | None:
    """Do it in one walk; None if the guess was wrong, `_INVALID` if no guess can be right."""
    count = len(program.statements)
    guessed = [_BITS[Kind(kind)] for kind in expected]
    states = [(16 << (count + place)) | bits << 2 for place, bits in enumerate(guessed)]
    values = dict(zip(program.parameters, (_ALL, _ALL, *states, 0), strict=True))
    try:
        if not _walk(program.statements, values):
            return None
        update, *rest = [values[name] for name in program.outputs]
    except KeyError:  # a name that is not there
        return _INVALID
    for value, bits in zip(rest, guessed, strict=True):
        if (value >> 2 & 3) | bits != bits:
            return None
    if update & 12 != 12:  # no kinds below the guess make it a tree either
        return _INVALID
    for value, bits in zip(rest, guessed, strict=True):
        if value & 3 != bits:
            return None
    return across_steps(update >> 4, [value >> 4 for value in rest], count)


def _walk(statements: tuple[Statement, ...], values: dict[str, int]) -> bool:
    """Walk as :func:`optforge.analysis.walk.walk` does, without its calls: half of the time."""
    own = 16
    for statement in statements:
        name, arguments, merged = statement.function, statement.arguments, own
        for argument in arguments:
            if argument.__class__ is str:
                merged |= values[argument]  # type: ignore[index]
        if _ARITY[name] != len(arguments):
            return False
        if name in _RESULTS:
            merged = merged & ~_ALL | _RESULTS[name][merged & _ALL]
        elif name in _CONTROLLED:
            control = arguments[-1]
            if isinstance(control, str) and values[control] & 12:
                return False
        values[statement.target] = merged
        own <<= 1
    return True
