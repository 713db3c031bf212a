"""Re-tuning before a comparison: learning rate and decay, alike for every rule."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy

from optforge.ablation.rule_trainer import FAILED, RuleTrainer
from optforge.analysis.hyperparameters import Lifted, lift
from optforge.language import Program

SEEDS = (1, 3)  # of each stage
TOLERANCE = 0.01  # a setting is left only for one that is better by more, in log loss
HOPELESS = 0.15  # log loss; several times what one seed of three tasks leaves uncertain
_COARSE = tuple(10 ** (k / 2) for k in range(-2, 3))  # factors of the learning rate
_FINE = tuple(10 ** (k / 4) for k in (-1, 0, 1))
_FINER = tuple(10 ** (k / 8) for k in range(-4, 5))  # as many as of rate and decay together
_EXTENSIONS = 8  # half decades that the first stage may go on in one direction
_PURPOSE = "tune"
LR, DECAY = "lr", "weight_decay"  # a second decay begins with the name too

Setting = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Tuned:
    """A rule with the learning rate and decay that were best for it.

    Args:
        program: The rule with them.
        values: Learning rate and decays by name.
        trials: Settings that were tried.
        loss: Mean log loss on the tuning seeds, which favours the chosen setting.
    """

    program: Program
    values: Mapping[str, float]
    trials: int
    loss: float


@dataclass
class _Search:
    """One rule and what its settings gave."""

    lifted: Lifted
    fixed: frozenset[str] = frozenset()
    losses: dict[Setting, float] = field(default_factory=dict)
    trials: int = 0

    @property
    def given(self) -> Setting:
        values = self.lifted.values
        return tuple((name, values[name]) for name in (LR, *self.decays))

    @property
    def decays(self) -> list[str]:
        return [name for name in self.lifted.values if name.startswith(DECAY)]

    @property
    def best(self) -> Setting:
        return min(self.losses, key=lambda setting: (self.losses[setting], setting))

    def program(self, setting: Setting) -> Program:
        return self.lifted.with_values(dict(setting))

    def at(self, around: Setting, rate: float, decay: float, digits: int = 1) -> Setting:
        """Give a setting with other values, in few digits; what does not change stays."""
        rate = 1.0 if LR in self.fixed else rate
        decay = 1.0 if DECAY in self.fixed else decay
        return tuple(
            (name, _few(value, rate if name == LR else decay, digits)) for name, value in around
        )


def _few(value: float, factor: float, digits: int) -> float:
    if math.isclose(factor, 1.0):
        return value
    number = float(f"{value * factor:.{digits}g}")
    return number if number != 1.0 else 1.1  # 1 would be folded away, and tuned no more


def tune(
    trainer: RuleTrainer, programs: Sequence[Program], what: str, keep: Iterable[str] = ()
) -> list[Tuned]:
    """Give every rule its best learning rate and decay, each by the same procedure.

    First the learning rate by factors of about 3, further where the best is at the end; then
    factors of about 1.8 around the best, together with thirds and threefolds of the decay (as
    many rates more where a rule has none). A rule keeps its setting unless another one is better
    by more than :data:`TOLERANCE`: the best of many on few seeds is partly luck.

    The first rule is the reference. One that is behind it by more than :data:`HOPELESS` after
    the first stage is not tuned further.

    Args:
        trainer: Where rules are trained, on seeds that decide nothing else.
        programs: The rules, the reference first.
        what: Is being done, for the display.
        keep: Names of hyper-parameters that stay as they are, in all rules: ``lr``, or any decay
            for all decays.
    """
    fixed = frozenset(DECAY if name.startswith(DECAY) else name for name in keep)
    searches = [_Search(lift(program), fixed) for program in programs]
    _coarse(trainer, searches, what)
    centres = [search.best for search in searches]
    losses = [search.losses[centre] for search, centre in zip(searches, centres, strict=True)]
    hopeful = [loss <= losses[0] + HOPELESS for loss in losses]
    wanted = [
        _around(search, centre) if goes_on else []
        for search, centre, goes_on in zip(searches, centres, hopeful, strict=True)
    ]
    for search, goes_on in zip(searches, hopeful, strict=True):
        search.trials = len(search.losses)
        if goes_on:
            search.losses.clear()
    _try(trainer, searches, wanted, SEEDS[1], what)
    return [_chosen(search, len(tried)) for search, tried in zip(searches, wanted, strict=True)]


def _coarse(trainer: RuleTrainer, searches: Sequence[_Search], what: str) -> None:
    wanted = [list(dict.fromkeys(s.at(s.given, rate, 1.0) for rate in _COARSE)) for s in searches]
    _try(trainer, searches, wanted, SEEDS[0], what)
    low, high = [_COARSE[0]] * len(searches), [_COARSE[-1]] * len(searches)
    for _ in range(_EXTENSIONS):
        wanted = []
        for number, search in enumerate(searches):
            rates = []
            if LR in search.fixed:
                wanted.append([])
                continue
            if search.best == search.at(search.given, low[number], 1.0):
                low[number] /= 10**0.5
                rates.append(low[number])
            if search.best == search.at(search.given, high[number], 1.0):
                high[number] *= 10**0.5
                rates.append(high[number])
            wanted.append([search.at(search.given, rate, 1.0) for rate in rates])
        if not any(wanted):
            return
        _try(trainer, searches, wanted, SEEDS[0], what)


def _around(search: _Search, centre: Setting) -> list[Setting]:
    if search.decays and DECAY not in search.fixed:
        pairs = [(rate, decay) for rate in _FINE for decay in (0.3, 1.0, 3.0)]
        settings = [search.at(centre, rate, decay) for rate, decay in pairs]
    else:
        settings = [search.at(centre, rate, 1.0, digits=2) for rate in _FINER]
    return list(dict.fromkeys([*settings, search.given]))


def _try(
    trainer: RuleTrainer,
    searches: Sequence[_Search],
    wanted: Sequence[Sequence[Setting]],
    seeds: int,
    what: str,
) -> None:
    pairs = [
        (s, setting) for s, settings in zip(searches, wanted, strict=True) for setting in settings
    ]
    programs = [search.program(setting) for search, setting in pairs]
    logs = trainer.measure(programs, _PURPOSE, 0, seeds, what)
    capped = numpy.where(numpy.isfinite(logs), logs, FAILED)
    for (search, setting), value in zip(pairs, capped.mean((1, 2)).tolist(), strict=True):
        search.losses[setting] = value


def _chosen(search: _Search, trials: int) -> Tuned:
    best, given = search.best, search.given
    if search.losses[given] <= search.losses[best] + TOLERANCE:
        best = given
    loss = search.losses[best]
    return Tuned(search.program(best), dict(best), search.trials + trials, loss)
