"""Roundings: constants in the fewest digits that keep the fitness."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from optforge.ablation.removals import ProposedChange
from optforge.analysis.hyperparameters import STRUCTURE, Lifted, lift
from optforge.language import Program

_MOST = 4  # digits that are tried


def digits(value: float) -> int:
    """Return the number of significant digits of a constant as printed.

    Example:
        >>> digits(0.8999999761581421), digits(0.99), digits(200.0)
        (16, 2, 1)
    """
    return len(Decimal(repr(value)).normalize().as_tuple().digits)


def shorter(value: float) -> list[float]:
    """Return the neighbors of a constant that have fewer digits, fewest digits first.

    There is one for each number of digits: the nearest that is not 0 or 1, which would change the
    structure.

    Example:
        >>> shorter(0.99822), shorter(0.8999999761581421)
        ([0.9, 0.99, 0.998, 0.9982], [0.9])
    """
    nearest: dict[float, None] = {}
    length = digits(value)
    for count in range(1, min(length, _MOST + 1)):
        unit = Decimal(10) ** (math.floor(math.log10(abs(value))) + 1 - count)
        exact = Decimal(repr(value)) / unit
        near = [float(exact.to_integral_value(way) * unit) for way in (ROUND_FLOOR, ROUND_CEILING)]
        near = [number for number in near if number not in STRUCTURE and number != value]
        if near:
            nearest[min(near, key=lambda number: abs(number - value))] = None
    return [number for number in nearest if digits(number) < length]


class Roundings:
    """All ways of writing one constant of a rule in fewer digits.

    Args:
        program: A rule.
        rates: Whether to round the constants that re-tuning sets (learning rate and decay) or the
            others.

    Example:
        >>> from optforge.language import load_rule
        >>> rule = load_rule("program_8")
        >>> [str(c) for c in Roundings(rule, rates=False).candidates()][:2]
        ['beta1 = 0.8999999761581421 -> 0.9', 'beta2 = 1.109133005142212 -> 2.0']
    """

    def __init__(self, program: Program, rates: bool) -> None:
        self.lifted: Lifted = lift(program)
        self.chosen = [
            h for h in self.lifted.hyperparameters if _is_rate(h.name) == rates and h.value != 0
        ]

    def candidates(self) -> list[ProposedChange]:
        """Return the roundings, constant by constant, fewest digits first."""
        return [
            ProposedChange(
                self.lifted.with_values({h.name: value}),
                f"{h.name} = {h.value!r}",
                f"{h.name} = {h.value!r} -> {value!r}",
                f"{h.name} {value!r}",
                values=((h.name, value),),
            )
            for h in self.chosen
            for value in sorted(shorter(h.value), key=digits)
        ]

    def together(self, chosen: Sequence[ProposedChange]) -> Program | None:
        """Round several constants at once."""
        return self.lifted.with_values({name: v for change in chosen for name, v in change.values})


def fewest(candidates: Sequence[ProposedChange], effects: Sequence[float]) -> list[ProposedChange]:
    """Choose, among candidates that are not worse, the fewest digits for each constant."""
    best: dict[str, tuple[int, float, ProposedChange]] = {}
    for change, effect in zip(candidates, effects, strict=True):
        ((name, value),) = change.values
        rank = (digits(value), effect, change)
        if name not in best or rank[:2] < best[name][:2]:
            best[name] = rank
    return [change for _, _, change in best.values()]


def _is_rate(name: str) -> bool:
    return name == "lr" or name.startswith("weight_decay")
