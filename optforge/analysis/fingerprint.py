"""The functional fingerprint: equal for programs that compute the same, in any form."""

from __future__ import annotations

from hashlib import blake2b

from optforge.analysis.liveness import Liveness, live_program, liveness
from optforge.language import FUNCTIONS, Program

_COMMUTATIVE = frozenset(name for name, row in FUNCTIONS.items() if row.commutative)
_MEMORY_LIMIT = 1_000_000  # entries; the tables are only a cache and may be dropped at any time

_Body = list[tuple[str, str, list[str | int]]]  # target, function, arguments; constants hashed

_digests: dict[tuple[object, ...], int] = {}
_by_value: dict[float, int] = {}


def _digest(key: tuple[str, *tuple[int | str, ...]]) -> int:
    """Hash a word and numbers or texts to 64 bits, the same in every process."""
    known = _digests.get(key)
    if known is None:
        if len(_digests) > _MEMORY_LIMIT:
            _digests.clear()
        known = int.from_bytes(blake2b(_packed(key), digest_size=8).digest(), "big")
        _digests[key] = known
    return known


def _packed(key: tuple[str, *tuple[int | str, ...]]) -> bytes:
    """Join the parts of a key so that different keys give different bytes."""
    return b"|".join([p.encode() if isinstance(p, str) else p.to_bytes(8, "big") for p in key])


def _constant(value: float) -> int:
    known = _by_value.get(value)
    if known is None or value == 0:  # 0.0 and -0.0 are equal keys but different constants
        if len(_by_value) > _MEMORY_LIMIT:
            _by_value.clear()
        known = _by_value[value] = _digest(("constant", f"{value:.6g}"))
    return known


_WEIGHT, _GRADIENT, _LR = (_digest((name,)) for name in ("weight", "gradient", "lr"))
_STATE = _digest(("state",))


def fingerprint(program: Program, live: Liveness | None = None) -> str:
    r"""Hash what a program computes to 16 hexadecimal digits.

    Each value is hashed from its function and its arguments' hashes, so names, the order of
    independent statements and dead code have no effect; commutative functions sort their arguments.
    All states start with the same label. In each round, the label of a state becomes the hash of
    its next value, marked as belonging to the previous step. After :math:`2n - 1` rounds for n live
    states, two programs have equal fingerprints exactly if a partition refinement of both cannot
    distinguish them, that is, if they compute the same from zero states. So the order of the states
    has no effect either. Constants count with six significant digits.

    Example:
        >>> from optforge.language import load_rule
        >>> fingerprint(load_rule("adamw")) == fingerprint(load_rule("program_3"))
        True
    """
    return lean_fingerprint(live_program(program, live if live is not None else liveness(program)))


def lean_fingerprint(lean: Program) -> str:
    """Return the fingerprint of a program without dead statements and states.

    Example:
        >>> from optforge.language import load_rule
        >>> lean = live_program(load_rule("program_8"))
        >>> lean_fingerprint(lean) == fingerprint(load_rule("program_8"))
        True
    """
    count, constants = len(lean.states), dict[str | int, int]()
    of_update, of_states = _split(lean, constants)
    labels = [_STATE] * count
    for _ in range(2 * count - 1):
        labels = _round(lean, lean.outputs[1:], of_states, constants, labels)
    (update,) = _round(lean, lean.outputs[:1], of_update, constants, labels)
    return f"{_digest(('program', update, count)):016x}"


def _split(lean: Program, constants: dict[str | int, int]) -> tuple[_Body, _Body]:
    """Return the statements behind the update, and those behind the next states.

    Most are behind the update alone, which only the last round needs.

    Args:
        lean: A program without dead statements.
        constants: Receives the hash of each constant under itself, so that all arguments of the
            statements can be looked up.
    """
    update, states = {lean.outputs[0]}, set(lean.outputs[1:])
    bodies: tuple[_Body, _Body] = ([], [])
    for statement in reversed(lean.statements):
        target, arguments = statement.target, list[str | int]()
        for argument in statement.arguments:
            if not isinstance(argument, str):
                argument = _constant(argument)
                constants[argument] = argument
            arguments.append(argument)
        for needed, body in zip((update, states), bodies, strict=True):
            if target in needed:
                needed.discard(target)
                needed.update(arguments)  # type: ignore[arg-type]  # hashes are no one's target
                body.append((target, statement.function, arguments))
    for body in bodies:
        body.reverse()
    return bodies


def _round(
    lean: Program,
    outputs: tuple[str, ...],
    body: _Body,
    constants: dict[str | int, int],
    labels: list[int],
) -> list[int]:
    """Hash one step as :func:`optforge.analysis.walk.walk` would, without its calls."""
    # "before": a value of the step before is not the same value of this step.
    before = [_digest(("before", label)) for label in labels]
    values = constants.copy()
    values.update(zip(lean.parameters, (_WEIGHT, _GRADIENT, *before, _LR), strict=True))
    get, known = values.__getitem__, _digests.get
    for target, function, arguments in body:
        hashes = map(get, arguments)
        key = (function, *(sorted(hashes) if function in _COMMUTATIVE else hashes))
        values[target] = known(key) or _digest(key)
    return [values[name] for name in outputs]
