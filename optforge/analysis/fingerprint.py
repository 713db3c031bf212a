"""The functional fingerprint: equal for programs that compute the same, in any form."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Any

from optforge.analysis.liveness import Liveness, live_program, liveness
from optforge.language import FUNCTIONS, Program

_COMMUTATIVE = frozenset(name for name, row in FUNCTIONS.items() if row.commutative)
_MEMORY_LIMIT = 1_000_000  # entries; the tables are only a cache and may be dropped at any time

_STATES_REMEMBERED = 20_000  # programs
_Hashed = tuple[str, str, tuple[str | int, ...]]  # target, function, arguments; constants hashed
_Body = tuple[_Hashed, ...]

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
    of_update, of_states = _split(lean)
    labels = _labels(lean.parameters, lean.outputs[1:], of_states)
    (update,) = _round(lean.parameters, lean.outputs[:1], of_update, labels)
    return f"{_digest(('program', update, len(labels))):016x}"


def _split(lean: Program) -> tuple[_Body, _Body]:
    """Return the statements behind the update, and those behind the next states.

    Most are behind the update alone, which only the last round needs.
    """
    update, states = {lean.outputs[0]}, set(lean.outputs[1:])
    of_update: list[_Hashed] = []
    of_states: list[_Hashed] = []
    for statement in reversed(lean.statements):
        target, arguments = statement.target, statement.arguments
        hashed = tuple([a if isinstance(a, str) else _constant(a) for a in arguments])
        prepared = (target, statement.function, hashed)
        if target in update:
            update.discard(target)
            update.update(hashed)  # type: ignore[arg-type]  # hashes are no one's target
            of_update.append(prepared)
        if target in states:
            states.discard(target)
            states.update(hashed)  # type: ignore[arg-type]
            of_states.append(prepared)
    return tuple(of_update[::-1]), tuple(of_states[::-1])


@lru_cache(_STATES_REMEMBERED)
def _labels(parameters: tuple[str, ...], outputs: tuple[str, ...], body: _Body) -> list[int]:
    """Return the labels of the states after all rounds but the last.

    Most children change nothing behind their parent's states, so these are remembered.
    """
    labels = [_STATE] * len(outputs)
    for _ in range(2 * len(outputs) - 1):
        labels = _round(parameters, outputs, body, labels)
    return labels


def _round(
    parameters: tuple[str, ...], outputs: tuple[str, ...], body: _Body, labels: list[int]
) -> list[int]:
    """Hash one step as :func:`optforge.analysis.walk.walk` would, without its calls."""
    # "before": a value of the step before is not the same value of this step.
    before = [_digest(("before", label)) for label in labels]
    values: dict[str | int, int] = {}
    values.update(zip(parameters, (_WEIGHT, _GRADIENT, *before, _LR), strict=True))
    get, known = values.get, _digests.get
    for target, function, arguments in body:
        hashes: Any = map(get, arguments, arguments)  # a constant is its own hash
        key = (function, *(sorted(hashes) if function in _COMMUTATIVE else hashes))
        values[target] = known(key) or _digest(key)
    return [values[name] for name in outputs]
