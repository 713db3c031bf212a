"""Steps of the learning rate around a given setting, extended if the best is at an end.

The learning rate is first varied by factors of about 3, extended if the best is at the end. Then
come factors of about 1.8 around the best, together with thirds and threefolds of the decay (or as
many more rates if a rule has no decay).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from optforge.tuning.space import Setting
from optforge.tuning.tune import Study, Trial

LR, DECAY = "lr", "weight_decay"  # a second decay begins with the name too
HOPELESS = 0.15  # log loss; several times what one seed of three tasks leaves uncertain
_COARSE = tuple(10 ** (k / 2) for k in range(-2, 3))  # factors of the learning rate
_FINE = tuple(10 ** (k / 4) for k in (-1, 0, 1))
_FINER = tuple(10 ** (k / 8) for k in range(-4, 5))  # as many as of rate and decay together
_EXTENSIONS = 8  # half decades that the first stage may go on in one direction


@dataclass
class Ladder:
    """Tunes learning rate and decay from a given setting, the first known setting of a study.

    The first study is the reference. A study that is behind it by more than :data:`HOPELESS` after
    the first stage has no finalists.

    Args:
        fixed: What stays unchanged: ``lr``, or ``weight_decay``, which stands for all decays.
    """

    fixed: frozenset[str] = frozenset()
    _low: list[float] = field(default_factory=list, init=False)
    _high: list[float] = field(default_factory=list, init=False)
    _rounds: int = field(default=0, init=False)

    def ask(self, studies: Sequence[Study[float]]) -> list[Sequence[Setting]]:
        """Return the coarse learning rates, and later the next one if the best is the last."""
        self._rounds += 1
        if self._rounds == 1:
            self._low, self._high = [_COARSE[0]] * len(studies), [_COARSE[-1]] * len(studies)
            return [self._rates(study, _COARSE) for study in studies]
        if self._rounds > 1 + _EXTENSIONS or LR in self.fixed:
            return []
        return [self._further(number, study) for number, study in enumerate(studies)]

    def finalists(self, studies: Sequence[Study[float]]) -> list[Sequence[Setting]]:
        """Return finer steps around the best of each study that is not hopeless."""
        best = [lowest(study.trials) for study in studies]
        limit = best[0].outcomes[0] + HOPELESS
        return [
            self._around(study.known[0], trial.setting) if trial.outcomes[0] <= limit else []
            for study, trial in zip(studies, best, strict=True)
        ]

    def _further(self, number: int, study: Study[float]) -> list[Setting]:
        initial, best = study.known[0], lowest(study.trials).setting
        rates = []
        if best == self._at(initial, self._low[number], 1.0):
            self._low[number] /= 10**0.5
            rates.append(self._low[number])
        if best == self._at(initial, self._high[number], 1.0):
            self._high[number] *= 10**0.5
            rates.append(self._high[number])
        return [self._at(initial, rate, 1.0) for rate in rates]

    def _around(self, initial: Setting, centre: Setting) -> list[Setting]:
        if any(name.startswith(DECAY) for name, _ in initial) and DECAY not in self.fixed:
            pairs = [(rate, decay) for rate in _FINE for decay in (0.3, 1.0, 3.0)]
            settings = [self._at(centre, rate, decay) for rate, decay in pairs]
        else:
            settings = [self._at(centre, rate, 1.0, digits=2) for rate in _FINER]
        return list(dict.fromkeys([*settings, initial]))

    def _rates(self, study: Study[float], rates: Sequence[float]) -> list[Setting]:
        return list(dict.fromkeys(self._at(study.known[0], rate, 1.0) for rate in rates))

    def _at(self, around: Setting, rate: float, decay: float, digits: int = 1) -> Setting:
        """Return a setting with some values replaced, in few digits; the others stay the same."""
        rate = 1.0 if LR in self.fixed else rate
        decay = 1.0 if DECAY in self.fixed else decay
        return tuple(
            (name, _few(value, rate if name == LR else decay, digits)) for name, value in around
        )


def lowest(trials: Sequence[Trial[float]]) -> Trial[float]:
    """Return the trial with the lowest outcome; of equal ones, that with the lowest values."""
    return min(trials, key=lambda trial: (trial.outcomes[0], trial.setting))


def _few(value: float, factor: float, digits: int) -> float:
    if math.isclose(factor, 1.0):
        return value
    number = float(f"{value * factor:.{digits}g}")
    return number if number != 1.0 else 1.1  # 1 would be folded away, and tuned no more
