"""The settings of a comparison: amount of tuning, repetitions, measurements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from numbers import Integral
from typing import Any

from optforge.comparison.cells.measurements import EXTRAS
from optforge.comparison.recipes.recipe import TUNED
from optforge.errors import CompareError
from optforge.options import plain_value, with_plain_fields

SAMPLERS = ("sobol", "grid")
OBJECTIVES = ("loss", "metric")
TRIALS_A_STUDY = 5
_MOST = 1_000_000  # of anything that is counted; more would end in a lack of memory
_LARGEST_SEED = 2**31  # samplers add small numbers to it and take no more than 32 bits
_LEAST = {"trials": 1, "seeds": 1, "finalists": 1, "again": 0, "tune_seeds": 1, "extensions": 0,
          "extra": 0, "sensitivity": 0, "sweep_seeds": 1, "studies": 0,
          "one_setting": 0, "seed": 0}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ComparisonSettings:
    """Settings of a comparison, the same for every optimizer and task.

    Args:
        trials: Settings tried for each optimizer on each task.
        seeds: Fresh seeds on which the best setting of each is measured; ten or more for claims.
        finalists: Number of best trials that are trained again before one is chosen.
        again: Number of further seeds for that; 0 chooses by the trials alone.
        tune_seeds: Number of seeds of each trial.
        tune: Dimensions to tune: ``lr``, ``weight_decay``, ``betas``; on request ``schedule``,
            which stands for ``warmup``, ``decay_power`` and ``final_lr``; dimensions of your own
            space; or arguments of an optimizer, as momentum, with a range around their default. By
            default all dimensions of the space.
        sampler: ``sobol`` or ``grid``.
        objective: How settings are chosen on validation data: by ``loss``, or by ``metric``, where
            higher is better.
        extensions: How often a range may grow because a best trial lies in its outer tenth.
        extra: Further trials of every optimizer when one range grows; None: a quarter.
        sensitivity: Number of learning rates on a curve around the best setting, 0 for none.
        heat_map: Numbers of learning rates and decays on a grid around the best setting.
        sweep_seeds: Number of seeds of each point of curves and maps.
        studies: Number of AlgoPerf-style studies of five trials each, 0 for none.
        one_setting: Number of settings tried for each optimizer to find one for all tasks, by the
            steps to the loss that the baseline tuned for each task ends with; 0 for none.
        extras: Further measurements of the final runs: ``flatness``, ``scores`` (the task's own).
        seed: Random seed from which all others are derived.

    Raises:
        CompareError: If a value is not allowed.

    Example:
        >>> ComparisonSettings(trials=20).extra_trials
        5
    """

    trials: int = 16
    seeds: int = 10
    finalists: int = 3
    again: int = 2
    tune_seeds: int = 1
    tune: tuple[str, ...] = TUNED
    sampler: str = "sobol"
    objective: str = "loss"
    extensions: int = 1
    extra: int | None = None
    sensitivity: int = 0
    heat_map: tuple[int, int] = (0, 0)
    sweep_seeds: int = 2
    studies: int = 0
    one_setting: int = 0
    extras: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        with_plain_fields(self, CompareError)
        sides = plain_value(self.heat_map)
        if isinstance(sides, list | tuple):
            sides = [int(n) if isinstance(n, Integral) else n for n in sides]
            object.__setattr__(self, "heat_map", tuple(sides))
        for name, least in _LEAST.items():
            value, most = getattr(self, name), _LARGEST_SEED if name == "seed" else _MOST
            if (value is not None or name != "extra") and not _is_count(value, least, most):
                allowed = f"a number of at least {least}, and at most {most}"
                raise CompareError(f"{name} is {value!r}; it must be {allowed}")
        for name in ("tune", "extras"):
            _check_names(name, getattr(self, name))
        for name, allowed in (("sampler", SAMPLERS), ("objective", OBJECTIVES)):
            if getattr(self, name) not in allowed:
                raise CompareError(f"{name} is {getattr(self, name)!r}; choose {_or(allowed)}")
        if unknown := set(self.extras) - EXTRAS.keys():
            raise CompareError(f"no measurement {sorted(unknown)[0]!r}; there is {_or(EXTRAS)}")
        counts = isinstance(self.heat_map, list | tuple) and len(self.heat_map) == 2
        if not counts or not all(_is_count(count, 0) for count in self.heat_map):
            raise CompareError(f"heat_map is {self.heat_map!r}; give two counts, as in 5,5")

    @property
    def extra_trials(self) -> int:
        """Number of further trials of every optimizer in a round of extension."""
        return max(2, self.trials // 4) if self.extra is None else self.extra

    def stored(self) -> dict[str, Any]:
        """Return the settings as JSON-serializable values."""
        return {name: _plain(value) for name, value in asdict(self).items()}

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> ComparisonSettings:
        """Read settings from what :meth:`stored` returned, or from a suite.

        Raises:
            CompareError: If a name is unknown or a value is not allowed.
        """
        if not isinstance(values, Mapping):
            raise CompareError(f"settings is {values!r}; write a table, as in {{ trials = 16 }}")
        known = {field.name for field in fields(cls)}
        if unknown := sorted(values.keys() - known):
            raise CompareError(
                f"unknown setting {unknown[0]!r} of a comparison; there are "
                f"{', '.join(sorted(known))}"
            )
        changed: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        return cls(**changed)


def _is_count(value: Any, least: int, most: int = _MOST) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _check_names(name: str, value: Any) -> None:
    """Check that a value is a list of strings; a single string would be read letter by letter."""
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise CompareError(f"{name} is {value!r}; give a list of names, as in ['lr']")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _or(names: Any) -> str:
    return " or ".join(names)
