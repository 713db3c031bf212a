"""Curves and maps around the best setting: how much an exact choice matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from optforge.comparison.cells.runner import Runner
from optforge.comparison.protocol import train_all
from optforge.comparison.result import TaskResult, Trial, TunedSetting
from optforge.comparison.settings import ComparisonSettings
from optforge.fitness.seeds import seeds
from optforge.tuning import Setting, setting_of

_SPAN = {"lr": 10.0, "weight_decay": 10.0}  # a curve reaches so many times up and down
_MAP_SPAN = {"lr": 4.0, "weight_decay": 10.0}


def sweep(result: TaskResult, settings: ComparisonSettings, runner: Runner) -> TaskResult:
    """Add the learning-rate curve and the map that the settings request."""
    tuned = dict(result.tuned)
    missing = sum(
        sum(sweep_points(settings, tuned_setting.space.names))
        for tuned_setting in tuned.values()
        if tuned_setting.best is None
    )
    runner.progress.skip(result.variant.label, missing * settings.sweep_seeds)
    if settings.sensitivity:
        points = {
            name: _curve(tuned_setting, settings.sensitivity)
            for name, tuned_setting in tuned.items()
        }
        swept = _train(result, points, settings, runner, "learning-rate curve")
        tuned = {
            name: replace(tuned_setting, sensitivity=swept[name])
            for name, tuned_setting in tuned.items()
        }
    if min(settings.heat_map) > 0:
        points = {
            name: _map(tuned_setting, settings.heat_map) for name, tuned_setting in tuned.items()
        }
        swept = _train(result, points, settings, runner, "heat map")
        tuned = {
            name: replace(tuned_setting, heat_map=swept[name])
            for name, tuned_setting in tuned.items()
        }
    return replace(result, tuned=tuned)


def sweep_points(settings: ComparisonSettings, names: Sequence[str]) -> tuple[int, int]:
    """Return the numbers of points on an optimizer's curve and map.

    Args:
        settings: Settings of the comparison.
        names: Names of the tuned dimensions; without a learning rate there is neither curve nor
            map.

    Example:
        >>> sweep_points(ComparisonSettings(sensitivity=7, heat_map=(5, 4)), ("lr",))
        (7, 5)
    """
    if "lr" not in names:
        return 0, 0
    rates, decays = settings.heat_map
    return settings.sensitivity, rates * (decays if "weight_decay" in names else min(1, decays))


def _train(
    result: TaskResult,
    points: Mapping[str, list[Setting]],
    settings: ComparisonSettings,
    runner: Runner,
    purpose: str,
) -> dict[str, tuple[Trial, ...]]:
    chosen = seeds(settings.seed, result.variant.task.name, "compare sweep", settings.sweep_seeds)
    trained = train_all(result.variant, points, chosen, runner, purpose)
    return {
        name: tuple(
            Trial(setting, outcomes) for setting, outcomes in zip(points[name], rows, strict=True)
        )
        for name, rows in trained.items()
    }


def _curve(tuned: TunedSetting, count: int) -> list[Setting]:
    if tuned.best is None or "lr" not in dict(tuned.best):
        return []
    values = dict(tuned.best)
    rates = values["lr"] * _factors(_SPAN["lr"], count)
    return [setting_of({**values, "lr": rate}) for rate in rates]


def _map(tuned: TunedSetting, counts: tuple[int, int]) -> list[Setting]:
    """Return the map row by row: all decays per learning rate; only rates without weight decay."""
    if tuned.best is None or "lr" not in dict(tuned.best):
        return []
    values = dict(tuned.best)
    rates = values["lr"] * _factors(_MAP_SPAN["lr"], counts[0])
    if "weight_decay" not in values:
        return [setting_of({**values, "lr": rate}) for rate in rates]
    decays = values["weight_decay"] * _factors(_MAP_SPAN["weight_decay"], counts[1])
    return [
        setting_of({**values, "lr": rate, "weight_decay": decay})
        for rate in rates
        for decay in decays
    ]


def _factors(span: float, count: int) -> np.ndarray:
    """Return factors around 1, evenly spaced on a logarithmic scale."""
    return np.ones(1) if count == 1 else np.geomspace(1 / span, span, count)
