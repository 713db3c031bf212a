"""The functional fingerprint: equal for programs that compute the same, whatever their form."""

from __future__ import annotations

from hashlib import blake2b

from optforge.analysis.liveness import Liveness, live_program, liveness
from optforge.analysis.walk import Environment, walk
from optforge.language import FUNCTIONS, Program, Statement

_COMMUTATIVE = frozenset(name for name, row in FUNCTIONS.items() if row.commutative)
_MEMORY_LIMIT = 1_000_000  # entries; the tables are only a cache and may be dropped at any time

_digests: dict[tuple[object, ...], int] = {}
_by_value: dict[float, int] = {}


def _digest(key: tuple[object, ...]) -> int:
    """Hash a tuple to 64 bits, the same in every process."""
    known = _digests.get(key)
    if known is None:
        if len(_digests) > _MEMORY_LIMIT:
            _digests.clear()
        known = int.from_bytes(blake2b(repr(key).encode(), digest_size=8).digest(), "big")
        _digests[key] = known
    return known


def _constant(value: float) -> int:
    known = _by_value.get(value)
    if known is None or value == 0:  # 0.0 and -0.0 are equal keys but different constants
        if len(_by_value) > _MEMORY_LIMIT:
            _by_value.clear()
        known = _by_value[value] = _digest(("constant", f"{value:.6g}"))
    return known


def _apply(number: int, statement: Statement, values: list[int]) -> int:
    if statement.function in _COMMUTATIVE:
        values.sort()
    key = (statement.function, *values)
    known = _digests.get(key)
    return _digest(key) if known is None else known


_WEIGHT, _GRADIENT, _LR = (_digest((name,)) for name in ("weight", "gradient", "lr"))
_STATE = _digest(("state",))


def fingerprint(program: Program, live: Liveness | None = None) -> str:
    r"""Hash what a program computes to 16 hexadecimal digits.

    Each value is hashed from its function and its arguments' hashes, so names, the order of
    independent statements and dead code leave no trace; commutative functions sort their
    arguments. States start with one common label, and the label of a state becomes the hash of
    its next value, marked as one of the step before, again and again: after :math:`2n - 1`
    rounds for n live states two programs agree exactly if a partition refinement of both cannot
    tell them apart (that is, if they compute the same from zero states), and the order of the
    states leaves no trace either.
    Constants count with six significant digits.

    Example:
        >>> from optforge.language import load_rule
        >>> fingerprint(load_rule("adamw")) == fingerprint(load_rule("program_3"))
        True
    """
    return lean_fingerprint(live_program(program, live if live is not None else liveness(program)))


def lean_fingerprint(lean: Program) -> str:
    """Give the fingerprint of a program that has no dead statements and states.

    Example:
        >>> from optforge.language import load_rule
        >>> lean = live_program(load_rule("program_8"))
        >>> lean_fingerprint(lean) == fingerprint(load_rule("program_8"))
        True
    """
    count = len(lean.states)
    labels = [_STATE] * count
    update, *labels = _round(lean, labels)
    for _ in range(2 * count - 1):
        update, *labels = _round(lean, labels)
    return f"{_digest((update, count)):016x}"


def _round(program: Program, labels: list[int]) -> list[int]:
    # "before": a value of the step before is not the same value of this step.
    before = [_digest(("before", label)) for label in labels]
    values = (_WEIGHT, _GRADIENT, *before, _LR)
    environment = Environment(program.parameters, values, _constant)
    walk(program.statements, environment, _apply)
    return [environment[name] for name in program.outputs]
