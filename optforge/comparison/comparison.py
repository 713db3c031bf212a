"""A whole comparison: its tasks and recipes, its storage, and how it is run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from optforge.comparison.cells.runner import (
    Bench,
    Runner,
)
from optforge.comparison.cells.trial_step import check_recipe
from optforge.comparison.cells.variant import Variant
from optforge.comparison.cost import Line, counts, estimate, expected_cells
from optforge.comparison.environment import environment, older_keys, other_versions
from optforge.comparison.one_setting import OneSetting, one_setting
from optforge.comparison.progress import Progress, Share
from optforge.comparison.protocol import compare_on
from optforge.comparison.recipes.recipe import Recipe, tuned_recipes
from optforge.comparison.result import Findings, TaskResult
from optforge.comparison.settings import ComparisonSettings
from optforge.comparison.studies import study
from optforge.comparison.sweep import sweep
from optforge.errors import CompareError, StoppedError
from optforge.execution import process_count
from optforge.fitness.seeds import seeds
from optforge.jobs import Display, Silent
from optforge.tasks import check_task, has_metric, initial_model
from optforge.tasks.source import is_installed
from optforge.training.devices import checked_device


@dataclass(frozen=True)
class Comparison:
    """Tasks, recipes and settings of a comparison; everything except the machine.

    Args:
        variants: Tasks, with the axes of a sweep applied.
        recipes: The recipes to compare; dimensions that are not tuned are left out of the run.
        settings: Numbers of trials, seeds and further measurements.
        baseline: Name of the recipe that the others are compared with; the first by default.
        title: Title of the report.
        claim: The claim to be tested, in words.
        device: Where to train.

    Raises:
        CompareError: If there is nothing to compare, a name occurs twice, or this machine lacks the
            device.
    """

    variants: tuple[Variant, ...]
    recipes: tuple[Recipe, ...]
    settings: ComparisonSettings = field(default_factory=ComparisonSettings)
    baseline: str = ""
    title: str = ""
    claim: str = ""
    device: str = "cpu"

    def __post_init__(self) -> None:
        names = [recipe.name for recipe in self.recipes]
        if not self.variants or not names:
            raise CompareError("there is nothing to compare; give a task and an optimizer at least")
        if twice := {name for name in names if names.count(name) > 1}:
            raise CompareError(
                f"two optimizers are called {sorted(twice)[0]!r}; write other=name for one of them"
            )
        if self.baseline and self.baseline not in names:
            raise CompareError(f"the baseline {self.baseline!r} is not among {', '.join(names)}")
        checked_device(self.device, CompareError)

    @property
    def against(self) -> str:
        """The name of the baseline."""
        return self.baseline or self.recipes[0].name

    @cached_property
    def tuned_recipes(self) -> tuple[Recipe, ...]:
        """The recipes with only the tuned dimensions."""
        return tuned_recipes(self.recipes, self.settings.tune)

    @property
    def has_own_code(self) -> bool:
        """Whether a task or an optimizer is not part of an installed package."""
        builds = [recipe.source.build for recipe in self.recipes]
        makers = [getattr(build, "func", build) for build in builds]
        code = [*(type(variant.task) for variant in self.variants), *makers]
        return not all(is_installed(getattr(x, "__module__", type(x).__module__)) for x in code)

    @property
    def bench(self) -> Bench:
        """Tasks and recipes in the form that workers need."""
        return Bench(
            {variant.label: variant for variant in self.variants},
            {recipe.name: recipe for recipe in self.tuned_recipes},
            self.device,
        )

    def plan(self) -> list[Line]:
        """Count the runs and measure their cost; takes about a second per line of the plan."""
        return estimate(self.variants, self.tuned_recipes, self.settings, self.device)


def run_comparison(
    comparison: Comparison,
    runner: Runner,
    each: Callable[[Findings], None] = lambda findings: None,
    progress: Progress | None = None,
    before_first: Callable[[], None] | None = None,
) -> tuple[Findings, bool]:
    """Run every cell that the table lacks, task by task.

    Args:
        comparison: The comparison to run.
        runner: Trains the cells that its table lacks; must be built with ``comparison.bench``.
        each: Called with the findings after every task, to save them.
        progress: Progress of this plan, as :func:`expected` returns it; created here by default.
        before_first: Called before the first run that the table lacks; by default it measures the
            costs of this plan.

    Returns:
        The findings, and whether the comparison was stopped before its end.

    Example:
        >>> from optforge.comparison import CellTable, Runner, load_recipe, vary
        >>> from optforge.tasks import load_task
        >>> task = vary(load_task("digits_mlp"), {"steps": 10})
        >>> settings = ComparisonSettings(trials=1, seeds=2, finalists=1, again=0, extensions=0)
        >>> comparison = Comparison((task,), (load_recipe("lion"),), settings)
        >>> runner = Runner(comparison.bench, CellTable(None))
        >>> findings, stopped = run_comparison(comparison, runner)
        >>> len(findings.tasks[0].tuned["lion"].finals), stopped
        (2, False)
    """
    check(comparison, runner.watch)
    _describe(comparison, runner)
    runner.progress = progress or expected(comparison, process_count(runner.workers))
    for task, share in runner.progress.shares.items():
        share.stored = sum(runner.table.count(task, r.name) for r in comparison.tuned_recipes)

    def measure_costs() -> None:
        runner.watch.say("Measuring what a run costs")
        measure(comparison, runner.progress)

    runner.before_first = before_first or measure_costs
    results: list[TaskResult] = []
    with runner:
        for variant in comparison.variants:
            try:
                results.append(_compare_on(comparison, variant, runner))
            except StoppedError:
                return _findings(comparison, results), True
            each(_findings(comparison, results))
        try:
            rows = one_setting_of(comparison, results, runner)
        except StoppedError:
            return _findings(comparison, results), True
        if rows:
            each(_findings(comparison, results, rows))
    return _findings(comparison, results, rows), False


def one_setting_of(
    comparison: Comparison, results: Sequence[TaskResult], runner: Runner
) -> tuple[OneSetting, ...]:
    """Return the third ruleset of a comparison whose tasks are complete."""
    recipes, settings = comparison.tuned_recipes, comparison.settings
    return one_setting(results, recipes, settings, runner, comparison.against)


def _describe(comparison: Comparison, runner: Runner) -> None:
    """Record in the table the versions of its next cells, and report differences to older ones."""
    table, count = runner.table, process_count(runner.workers)
    session = environment(count, device=comparison.device)
    if table and (mixed := other_versions(table.sessions, session)):
        runner.watch.say(mixed)
    if table and comparison.has_own_code and (older := older_keys(table.sessions)):
        runner.watch.say(older)
    table.describe(session)


def check(comparison: Comparison, watch: Display | None = None) -> None:
    """Check every task, and run one step of every optimizer on it, before anything else.

    Points of an axis at which the parameters have the same shapes are checked once.

    Args:
        comparison: The comparison to check.
        watch: A display.

    Raises:
        OptforgeError: If a task breaks its contract, or an optimizer cannot make a step on it.
    """
    seen: set[tuple[str, tuple[Any, ...]]] = set()
    for variant in comparison.variants:
        (watch or Silent()).say(f"Reading the data of {variant.label}")
        check_task(variant.task)
        if comparison.settings.objective == "metric" and not has_metric(variant.task):
            raise CompareError(
                f"objective is 'metric', and {variant.task.name} has none: its targets are no "
                "classes; give it a metric(), of which higher is better, or choose by 'loss'"
            )
        (seed,) = seeds(comparison.settings.seed, variant.task.name, "compare tune", 1)
        shapes = tuple(tuple(p.shape) for p in initial_model(variant.task, seed).parameters())
        if (variant.task.name, shapes) not in seen:
            seen.add((variant.task.name, shapes))
            for recipe in comparison.tuned_recipes:
                check_recipe(variant, recipe, seed, comparison.device)


def _compare_on(comparison: Comparison, variant: Variant, runner: Runner) -> TaskResult:
    recipes, settings = comparison.tuned_recipes, comparison.settings
    result = compare_on(variant, recipes, settings, runner, comparison.against)
    result = sweep(result, settings, runner)
    return study(result, recipes, settings, runner)


def _findings(
    comparison: Comparison, results: Sequence[TaskResult], rows: tuple[OneSetting, ...] = ()
) -> Findings:
    return Findings(tuple(results), comparison.against, comparison.settings.objective, rows)


def expected(comparison: Comparison, workers: int) -> Progress:
    """Return the progress of a plan with its largest number of cells and costs still unknown."""
    cells = sum(sum(counts(comparison.settings, r)) for r in comparison.tuned_recipes)
    shares = {variant.label: Share(cells, 1.0) for variant in comparison.variants}
    return Progress(shares, max(1, workers))


def measure(comparison: Comparison, progress: Progress) -> None:
    """Time one optimizer on every task, since most of the cost depends on the model."""
    first, settings = comparison.tuned_recipes[:1], comparison.settings
    lines = estimate(comparison.variants, first, settings, comparison.device)
    for task, (_, each) in expected_cells(lines).items():
        progress.shares[task].estimate = each
