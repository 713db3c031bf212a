"""Conditions on kinds under which a row applies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

from optforge.equality.patterns import (
    ALL_KINDS,
    ARRAYS,
    PLAIN,
    SCALARS,
    Kinds,
    formed_and_sound,
    formed_kinds,
    sets_of,
    sound_kinds,
)
from optforge.equality.rewrite import Rewrite
from optforge.language import Kind

_ARRAY = int(Kind.ARRAY)


@dataclass(frozen=True)
class _Atom:
    """A condition: its variables, its egglog text, and whether given kinds meet it."""

    names: tuple[str, ...]
    text: str
    holds: Callable[[Kinds], bool]


@lru_cache(None)
def gates(rule: Rewrite, kinds: tuple[int, ...] = ALL_KINDS) -> list[list[str]]:
    """Return the conditions on kinds for egglog, one list for each rule.

    Without products there are few kinds, and each sound choice becomes a rule. With products there
    are many choices, and those that a few comparisons separate from the others form one rule.

    Args:
        rule: A row of the table.
        kinds: Kinds that values can have.

    Example:
        >>> gates(Rewrite("x * 0.0", "0.0"))
        [['(= 0 (kind x))']]
        >>> gates(Rewrite("orthogonalize(x * n)", "orthogonalize(x)"))
        [['(= kn (kind n))', '(= kx (kind x))', '(<= kn 1)', '(>= kx kn)']]
    """
    if sound_kinds(rule, kinds) is None:
        return [[]]
    formed, sound = formed_and_sound(rule, kinds)
    if kinds != PLAIN or sets_of(rule) != {"paper"}:
        unsound = [
            assignment for assignment in formed_kinds(rule.before, kinds) if assignment not in sound
        ]
        return [_conditions(atoms) for atoms in _covered(sound, unsound)]
    if sound == formed:
        sound = [
            {name: assignment[name] for name in assignment if name in SCALARS | ARRAYS}
            for assignment in sound
        ]
    unique = [
        assignment for place, assignment in enumerate(sound) if assignment not in sound[:place]
    ]
    return [
        [f"(= {kind} (kind {name}))" for name, kind in assignment.items()] for assignment in unique
    ]


def _covered(sound: Sequence[Kinds], unsound: Sequence[Kinds]) -> list[list[_Atom]]:
    """Return a few conjunctions that together hold for all sound kinds and for no others."""
    if not sound:
        return []
    whole = _conjunction(sound, unsound)
    if whole is not None:
        return [whole]
    for atom in _atoms(tuple(sound[0])):
        parts = [
            [assignment for assignment in sound if atom.holds(assignment) == wanted]
            for wanted in (True, False)
        ]
        halves = [_conjunction(part, unsound) for part in parts if part]
        if len(halves) == 2 and all(part is not None for part in halves):
            return [part for part in halves if part is not None]
    name = next(name for name in sound[0] if len({assignment[name] for assignment in sound}) > 1)
    kinds = dict.fromkeys(assignment[name] for assignment in sound)
    parts = [[assignment for assignment in sound if assignment[name] == kind] for kind in kinds]
    return [conjunction for part in parts for conjunction in _covered(part, unsound)]


def _conjunction(sound: Sequence[Kinds], unsound: Sequence[Kinds]) -> list[_Atom] | None:
    """Return conditions that hold for all sound kinds and together exclude the others."""
    atoms = [a for a in _atoms(tuple(sound[0])) if all(a.holds(assignment) for assignment in sound)]
    if any(all(atom.holds(assignment) for atom in atoms) for assignment in unsound):
        return None
    for atom in list(reversed(atoms)):
        fewer = [other for other in atoms if other is not atom]
        if not any(all(other.holds(assignment) for other in fewer) for assignment in unsound):
            atoms = fewer
    return atoms


@lru_cache(None)
def _atoms(names: tuple[str, ...]) -> list[_Atom]:
    """Return the possible conditions, simplest first."""
    atoms = []
    for n in names:
        atoms += [
            _Atom(
                (),
                f"(= {kind} (kind {n}))",
                lambda assignment, n=n, kind=kind: assignment[n] == kind,
            )
            for kind in ALL_KINDS
        ]
        for most in (_ARRAY, _ARRAY + 1):
            atoms.append(
                _Atom((n,), f"(<= k{n} {most})", lambda assignment, n=n, m=most: assignment[n] <= m)
            )
        for least in (_ARRAY, _ARRAY + 1):
            atoms.append(
                _Atom(
                    (n,), f"(>= k{n} {least})", lambda assignment, n=n, m=least: assignment[n] >= m
                )
            )
    for n, m in combinations(names, 2):
        text = f"(<= (min k{n} k{m}) {_ARRAY})"
        atoms += [
            _Atom(
                (n, m),
                f"(= k{n} k{m})",
                lambda assignment, n=n, m=m: assignment[n] == assignment[m],
            ),
            _Atom(
                (n, m),
                f"(<= k{n} k{m})",
                lambda assignment, n=n, m=m: assignment[n] <= assignment[m],
            ),
            _Atom(
                (n, m),
                f"(>= k{n} k{m})",
                lambda assignment, n=n, m=m: assignment[n] >= assignment[m],
            ),
            _Atom(
                (n, m),
                text,
                lambda assignment, n=n, m=m: min(assignment[n], assignment[m]) <= _ARRAY,
            ),
        ]
    return atoms


def _conditions(atoms: Sequence[_Atom]) -> list[str]:
    names = dict.fromkeys(name for atom in atoms for name in atom.names)
    return [*(f"(= k{name} (kind {name}))" for name in names), *(atom.text for atom in atoms)]
