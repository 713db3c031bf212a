"""Constants in the fewest digits that keep the fitness."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from optforge.ablation.removals import ProposedChange
from optforge.analysis.hyperparameters import STRUCTURE, Lifted, lift
from optforge.language import Program

_MOST = 4  # digits that are tried


def digits(value: float) -> int:
    """Count the significant digits of a constant as it is printed.

    Example:
        >>> digits(0.8999999761581421), digits(0.99), digits(200.0)
        (16, 2, 1)
    """
    return len(Decimal(repr(value)).normalize().as_tuple().digits)


def shorter(value: float) -> list[float]:
    """List the neighbours of a constant that have fewer digits, the fewest digits first.

    For each number of digits the nearest one that is not 0 or 1, which are structure.

    Example:
        >>> shorter(0.99822), shorter(0.8999999761581421)
        ([0.9, 0.99, 0.998, 0.9982], [0.9])
    """
    found: dict[float, None] = {}
    own = digits(value)
    for count in range(1, min(own, _MOST + 1)):
        unit = Decimal(10) ** (math.floor(math.log10(abs(value))) + 1 - count)
        exact = Decimal(repr(value)) / unit
        near = [float(exact.to_integral_value(way) * unit) for way in (ROUND_FLOOR, ROUND_CEILING)]
        near = [number for number in near if number not in STRUCTURE and number != value]
        if near:
            found[min(near, key=lambda number: abs(number - value))] = None
    return [number for number in found if digits(number) < own]


class Roundings:
    """All ways of writing one constant of a rule in fewer digits.

    Args:
        program: A rule.
        rates: Whether those that re-tuning sets (learning rate and decay) are meant, or the others.

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
        """List them, constant by constant, the fewest digits first."""
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
        return self.lifted.with_values({name: v for one in chosen for name, v in one.values})


def fewest(candidates: Sequence[ProposedChange], effects: Sequence[float]) -> list[ProposedChange]:
    """Of candidates that are not worse, take for each constant the one with the fewest digits."""
    best: dict[str, tuple[int, float, ProposedChange]] = {}
    for one, effect in zip(candidates, effects, strict=True):
        ((name, value),) = one.values
        rank = (digits(value), effect, one)
        if name not in best or rank[:2] < best[name][:2]:
            best[name] = rank
    return [one for _, _, one in best.values()]


def _is_rate(name: str) -> bool:
    return name == "lr" or name.startswith("weight_decay")
