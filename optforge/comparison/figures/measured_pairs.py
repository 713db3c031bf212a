"""Statistics over several runs: paired flatness, width of maps, the best point of an axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optforge.comparison.cells.cell import CellResult
from optforge.comparison.figures.pairs import ended
from optforge.comparison.result import Findings, TaskResult, Trial, TunedSetting, log_loss
from optforge.statistics import Interval, paired_interval

WIDTH = 0.10  # a point of a map is good whose loss is at most this share above the best one
_UNDER, _WITHOUT, _RISE = "loss_under_", "loss_without_noise", "rise_under_"
_RESAMPLES = 2000


@dataclass(frozen=True)
class ExtraPair:
    """A further measurement of an optimizer against that of the baseline, seed by seed.

    Args:
        task: Label of the task.
        recipe: Name of the recipe.
        name: Name of the measurement. ``rise_under_...`` is the ratio of the loss with noise to
            that without, so that a lower training loss alone does not look flat.
        mean: Geometric mean of the optimizer's own values; plain mean if one is not above 0.
        ratio: Log ratio to the baseline, below 0 if smaller; None for the baseline itself, and if
            a value is not above 0, as an unbiased distance or a share of misses may be.
    """

    task: str
    recipe: str
    name: str
    mean: float
    ratio: Interval | None


@dataclass(frozen=True)
class MapPair:
    """The good share of a map of learning rates and decays, seed by seed.

    Args:
        task: Label of the task.
        recipe: Name of the recipe.
        width: How far above the optimizer's best loss on the same seed a good point may lie, as a
            share of it.
        points: Number of points of the map.
        share: Share of good points, over the seeds that have a result at every point.
        difference: Paired difference to the baseline's share. None for the baseline itself, and if
            the maps differ in size (as without weight decay) or have no seed in common.
    """

    task: str
    recipe: str
    width: float
    points: int
    share: Interval
    difference: Interval | None


@dataclass(frozen=True)
class Optimum:
    """The value of an axis at which an optimizer is best, with its uncertainty.

    Args:
        task: Name of the task, without the axis.
        recipe: Name of the recipe.
        axis: Name of the axis.
        best: Value with the lowest geometric mean test loss.
        low: Lower end of the 95 % interval of a bootstrap over seeds.
        high: Upper end of that interval.
        shares: Share of resamples in which each value is the best.
        seeds: Number of fresh seeds with a result at every point.
        at_end: Whether the best value is the lowest or the highest tried, so that a better one
            may lie beyond.
    """

    task: str
    recipe: str
    axis: str
    best: float
    low: float
    high: float
    shares: dict[float, float]
    seeds: int
    at_end: bool


def extra_pairs(findings: Findings) -> list[ExtraPair]:
    """Compare all further measurements of the final runs with those of the baseline."""
    return [
        _extra_pair(result, tuned, name, findings.baseline)
        for result in findings.tasks
        for tuned in result.tuned.values()
        for name in extra_names(result)
        if any(math.isfinite(_extra(o, name)) for o in tuned.finals)
    ]


def extra_names(result: TaskResult) -> list[str]:
    """Return the names of further measurements, and of the rises that follow from them."""
    of_runs = (o.extras for tuned in result.tuned.values() for o in tuned.finals)
    names = list(dict.fromkeys(name for extras in of_runs for name in extras))
    rises = [_RISE + name.removeprefix(_UNDER) for name in names if name.startswith(_UNDER)]
    return [*names, *(rises if _WITHOUT in names else [])]


def map_pairs(findings: Findings, width: float = WIDTH) -> list[MapPair]:
    """Compare the good share of each optimizer's map with that of the baseline."""
    return [
        _map_pair(result, tuned, result.tuned.get(findings.baseline), width)
        for result in findings.tasks
        for tuned in result.tuned.values()
        if _known(tuned.heat_map).any()
    ]


def _map_pair(
    result: TaskResult, tuned: TunedSetting, base: TunedSetting | None, width: float
) -> MapPair:
    points, known = tuned.heat_map, _known(tuned.heat_map)
    shares = good_shares(points, width)
    difference = None
    if base is not None and base is not tuned and len(base.heat_map) == len(points):
        both = known & _known(base.heat_map)
        if both.any():
            difference = paired_interval((shares - good_shares(base.heat_map, width))[both])
    share = paired_interval(shares[known])
    return MapPair(result.variant.label, tuned.recipe, width, len(points), share, difference)


def _known(points: Sequence[Trial]) -> NDArray[np.bool_]:
    """Return which seeds of a map have a result at every point, ``[seeds]``."""
    by_seed = zip(*(trial.outcomes for trial in points), strict=True)
    return np.array([not any(o.failed for o in seed) for seed in by_seed], dtype=bool)


def good_shares(points: Sequence[Trial], width: float = WIDTH) -> NDArray[np.float64]:
    """Return, for each seed, the share of points whose loss is near the seed's lowest.

    Args:
        points: Points of a map, each trained on the same seeds.
        width: How far above the lowest loss a good point may lie, as a share of it.

    Returns:
        Shares [seeds]; NaN for a seed on which every point diverged or has no result.

    Example:
        >>> losses = [(1.0, 2.0), (1.05, 9.0), (3.0, 2.1)]
        >>> runs = [Trial((), tuple(CellResult(loss=x) for x in row)) for row in losses]
        >>> good_shares(runs).round(3).tolist()
        [0.667, 0.667]
    """
    table = np.array([[_validation(o) for o in trial.outcomes] for trial in points])
    best = table.min(axis=0)
    good = table <= best + math.log1p(width)
    return np.where(np.isfinite(best), good.mean(axis=0), math.nan)


def optima(findings: Findings) -> list[Optimum]:
    """Return where on the one numeric axis of a comparison each optimizer is best.

    The means are taken over log test losses. Seeds are resampled with replacement, the same ones at
    every point since runs of one seed share weights and data order; the interval is taken from the
    percentiles. A point at which a run diverged is never the best; a seed without a result at one
    point is left out at all points.

    Returns:
        One optimum for each task and optimizer; empty without an axis of three points or more. An
        axis of ``steps`` has none, since longer runs are always better.

    Source: Efron, Bootstrap Methods: Another Look at the Jackknife, 1979.
    """
    best_values = []
    for results, axis in _axes(findings):
        points = [float(result.variant.axes[axis]) for result in results]
        for name in results[0].tuned:
            optimum = _optimum(results, name, points, axis)
            best_values += [] if optimum is None else [optimum]
    return best_values


def _extra_pair(result: TaskResult, tuned: TunedSetting, name: str, baseline: str) -> ExtraPair:
    values = [x for o in tuned.finals if math.isfinite(x := _extra(o, name))]
    pairs = [] if tuned.recipe == baseline else ended(result, tuned.recipe, baseline)
    both = [(_extra(a, name), _extra(b, name)) for a, b in pairs]
    ratio = None
    if both and not any(x <= 0 for pair in both for x in pair):
        ratio = paired_interval([math.log(a) - math.log(b) for a, b in both])
    return ExtraPair(result.variant.label, tuned.recipe, name, _mean(values), ratio)


def _mean(values: Sequence[float]) -> float:
    """Return the geometric mean, or the plain one where a value is not above 0."""
    if any(value <= 0 for value in values):
        return math.fsum(values) / len(values)
    return math.exp(math.fsum(map(math.log, values)) / len(values))


def _extra(outcome: CellResult, name: str) -> float:
    if outcome.diverged or outcome.failed:
        return math.nan
    if name.startswith(_RISE):
        noisy = outcome.extras.get(_UNDER + name.removeprefix(_RISE), math.nan)
        plain = outcome.extras.get(_WITHOUT, math.nan)
        return noisy / plain if plain > 0 else math.nan
    return outcome.extras.get(name, math.nan)


def _validation(outcome: CellResult) -> float:
    return math.inf if outcome.diverged or outcome.failed else log_loss(outcome.loss)


def _test(outcome: CellResult) -> float:
    return math.inf if outcome.diverged else log_loss(outcome.test_loss)


def _axes(findings: Findings) -> list[tuple[list[TaskResult], str]]:
    """Return the results of each task along its one numeric axis, in the axis's order."""
    by_task: dict[str, list[TaskResult]] = {}
    for result in findings.tasks:
        axes = result.variant.axes
        if len(axes) == 1 and "steps" not in axes and _is_number(next(iter(axes.values()))):
            by_task.setdefault(result.variant.task.name, []).append(result)
    kept = []
    for results in by_task.values():
        axis = next(iter(results[0].variant.axes))
        same = [r for r in results if axis in r.variant.axes]
        if len(same) >= 3:
            kept.append((sorted(same, key=lambda r: r.variant.axes[axis]), axis))
    return kept


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _optimum(
    results: Sequence[TaskResult], name: str, points: Sequence[float], axis: str
) -> Optimum | None:
    runs = [result.tuned[name].finals for result in results]
    if len({len(row) for row in runs}) > 1:
        return None
    by_seed = [row for row in zip(*runs, strict=True) if not any(o.failed for o in row)]
    table = np.array([[_test(o) for o in row] for row in by_seed]).reshape(-1, len(points)).T
    values, seeds = np.array(points), table.shape[1]
    whole = np.isfinite(table).all(axis=1)
    if not seeds or not whole.any():
        return None
    table[~whole] = math.inf
    drawn = np.random.default_rng(0).integers(0, seeds, (_RESAMPLES, seeds))
    places = table[:, drawn].mean(axis=2).argmin(axis=0)
    ordered = np.sort(values[places])
    low, high = ordered[int(0.025 * _RESAMPLES)], ordered[int(0.975 * _RESAMPLES)]
    best = float(values[table.mean(axis=1).argmin()])
    return Optimum(
        task=results[0].variant.task.name,
        recipe=name,
        axis=axis,
        best=best,
        low=float(low),
        high=float(high),
        shares={point: float(np.mean(values[places] == point)) for point in points},
        seeds=seeds,
        at_end=best in (min(points), max(points)),
    )
