"""The settings of a funnel in its journal: made from a search, and read back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from optforge.api.funnel_options import FunnelOptions
from optforge.errors import reading, real_number, whole_number
from optforge.evolution.overfitting import KIND as VALIDATE
from optforge.evolution.overfitting import Validation, overfitted_ranges
from optforge.evolution.plan import read_schedules
from optforge.jobs import Display
from optforge.promotion import FunnelCandidate, Stage, collect
from optforge.promotion.stage import read_ladder, stored_ladder
from optforge.runs import Journal, RunDirectory
from optforge.runs.file_names import JOURNAL
from optforge.tasks import Task
from optforge.training import trained_alone
from optforge.tuning import PLAIN_SHAPE, Setting, fittable, shape_setting, tunable

SETTINGS_KEY = "funnel"  # key of the settings in the journal


@dataclass(frozen=True)
class FunnelSettings:
    """What the journal of a funnel stores.

    Args:
        run: Directory of the search.
        stages: The stages, the cheapest first.
        candidates: The candidates, the best first.
        baseline: Optimizer to beat.
        alpha: Chance of any wrong promotion in a stage.
        seed: Random seed of all training.
        alone: Names of the tasks whose models train one at a time.
        schedules: Schedules under which the constants of candidates are tried first.
        known: Settings of the baseline that are tried first.
    """

    run: str
    stages: tuple[Stage, ...]
    candidates: tuple[FunnelCandidate, ...]
    baseline: str
    alpha: float
    seed: int
    alone: tuple[str, ...]
    schedules: tuple[Setting, ...]
    known: tuple[Setting, ...]


def read_settings(journal: Journal, ladder: Any = None) -> FunnelSettings:
    """Read the settings of a funnel from its journal.

    Args:
        journal: Journal of the funnel.
        ladder: The stages once more, if some were given as objects.

    Raises:
        OptforgeError: If a value is missing or of a wrong kind, or a stage is not what it was.
    """
    stages = read_ladder(ladder) if ladder is not None else ()
    with journal.content():
        stored = journal.settings[SETTINGS_KEY]
        # The options check these values as they did when they were given.
        names = ("baseline", "alpha", "seed")
        options = FunnelOptions(str(stored["run"]), **{name: stored[name] for name in names})
        settings = FunnelSettings(
            str(options.run),
            stored_ladder(stored["stages"], stages),
            tuple(_candidate(values) for values in stored["candidates"]),
            options.baseline,
            options.alpha,
            options.seed,
            tuple(stored["alone"]),
            _settings(stored["schedules"]),
            _settings(stored["known"]),
        )
        _check_tunable(settings)
    return settings


def new_settings(options: FunnelOptions, watch: Display) -> dict[str, Any]:
    """Return the settings of a new funnel as JSON-serializable values.

    Args:
        options: Options of the funnel.
        watch: The display.

    Raises:
        OptforgeError: If a stage or the search cannot be used.
    """
    stages = read_ladder(options.ladder, options.trials)
    with Journal.open(_journal(options), write=False) as journal, journal.content():
        stored, candidates = journal.settings, _candidates(journal, options)
        shapes = {shape_setting(shape) for shape in read_schedules(stored).values()}
        known = _known(stored, options.baseline)
    return {
        "run": str(options.run),
        "stages": [stage.stored() for stage in stages],
        "candidates": [asdict(candidate) for candidate in candidates],
        "schedules": [dict(shape) for shape in sorted({*shapes, PLAIN_SHAPE})],
        "known": known,
        "alone": trained_alone(tasks_of(stages), watch.say),
        **{name: getattr(options, name) for name in ("baseline", "alpha", "seed")},
    }


def candidate_count(options: FunnelOptions) -> int:
    """Return how many programs of the search would enter a funnel.

    Raises:
        OptforgeError: If the search cannot be read.
    """
    with Journal.open(_journal(options), write=False) as journal, journal.content():
        return len(_candidates(journal, options))


def tasks_of(stages: Sequence[Stage]) -> list[Task]:
    """Return the tasks among the sources of stages."""
    return [stage.source for stage in stages if isinstance(stage.source, Task)]


def _candidates(journal: Journal, options: FunnelOptions) -> list[FunnelCandidate]:
    return collect(journal, options.candidates, _trusted(journal))


def _trusted(journal: Journal) -> Callable[[int], bool]:
    """Return whether a proposal was made outside of meta-overfitting."""
    validations = [Validation.read(event.detail) for event in journal.events(VALIDATE)]
    ranges = overfitted_ranges(validations)
    return lambda number: not any(begin < number <= end for begin, end in ranges)


def _known(stored: dict[str, Any], baseline: str) -> list[dict[str, float]]:
    """Return the settings that the baseline was tuned to on the tasks of the search."""
    tasks = stored.get("search", {}).get("tasks", ())
    tuned = [stored["baselines"][task].get(baseline) for task in tasks]
    return [{**dict(PLAIN_SHAPE), **entry["parameters"]} for entry in tuned if entry is not None]


def _candidate(values: Mapping[str, Any]) -> FunnelCandidate:
    candidate = FunnelCandidate(**values)
    _ = candidate.program  # which must be one
    whole_number("the number of a candidate", candidate.number)
    whole_number("the cluster of a candidate", candidate.cluster_size)
    real_number("the fitness of a candidate", candidate.fitness)
    return candidate


def _check_tunable(settings: FunnelSettings) -> None:
    """Build what is tried first, so that a wrong setting is told before anything is trained."""
    if not settings.stages:
        raise ValueError("it has no stage")
    rules = [fittable(candidate.program, settings.schedules) for candidate in settings.candidates]
    for rule in (replace(tunable(settings.baseline), known=settings.known), *rules):
        for setting in rule.known:
            _ = rule.build(setting), rule.space.nearest(setting)


def _settings(stored: Sequence[Mapping[str, float]]) -> tuple[Setting, ...]:
    for values in stored:
        for name, value in values.items():
            real_number(name, value)
    return tuple(tuple(sorted(values.items())) for values in stored)


def _journal(options: FunnelOptions) -> Path:
    with reading(options.run, "give the directory of a search"):
        return RunDirectory.open(options.run).path / JOURNAL
