"""What each part of a search is worth: controls, and searches that lack one part.

    python benchmarks/search_ablations.py run [--variants NAME,...] [--minutes 2] [--seeds 0,1,2]
    python benchmarks/search_ablations.py show

Each variant searches for as many minutes as all others (those with `x4` for four times as many) on
the shipped proxies; its winner, as it was found, is measured on fresh seeds that chose nothing.
Every search ends as one line of `results/search_ablations/rows.jsonl`; the same command goes on
with those that are missing. `show` prints for each variant the change of validation loss against
tuned AdamW, the mean over its runs with a Student-t interval between runs (a run's own seeds are
not runs), and the difference to the search as it is. The machine must be idle: what is equal is
the time.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from measures.kept import keep, read
from scipy.stats import ttest_ind

from optforge.api.search_options import SearchOptions
from optforge.assessment.select import select
from optforge.evolution import Budget, SearchPlan, make_executor, make_search
from optforge.evolution.session import make_plan, make_trainer
from optforge.jobs import JobRunner
from optforge.language import load_rule
from optforge.report.text_table import TextTable
from optforge.report.words import percent
from optforge.runs import RunDirectory
from optforge.statistics import Interval, paired_interval
from optforge.tasks import PROXY_TASKS, load_task
from optforge.training import one_thread
from optforge.tuning import BaselineTuner

OUT = Path(__file__).parents[1] / "results" / "search_ablations"
ROWS, WHOLE, LONGER = "rows.jsonl", "evolution", " x4"
SHARED: Mapping[str, Any] = {"population": 200, "tournament": 6}
PATIENCE = 15.0  # seconds for what is on its way when the time is up
# What a variant has in the place of the search's own.
VARIANTS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    WHOLE: ("the search as it is", {}),
    "constants": ("only constants change", {"strategy": "constants"}),
    "random": ("no selection", {"strategy": "random"}),
    "cold start": ("from SGD with momentum in the place of AdamW", {"start": "momentum_sgd"}),
    "tournament of 2": ("weak selection", {"tournament": 2}),
    "tournament of 50": ("strong selection", {"tournament": 50}),
    "population of 1,000": ("slower turnover", {"population": 1000, "tournament": 30}),
    "paper's cache": ("known is what abstract execution proves", {"known_by": "fingerprint"}),
    "paper's mutations": (
        "variables drawn uniformly, rates not adjusted, no states added",
        {"in_place": 0.0, "rescale": 0.0, "mutations": (1.0, 1.0, 1.0)},
    ),
    "no matrices": ("without functions of matrices", {"functions": ("paper", "masks", "rows")}),
    "paper's functions": ("the paper's functions alone", {"functions": ("paper",)}),
    "one scale": ("gradients as they are", {"gradient_spread": 1.0}),
}
CONTROLS = ("constants", "random")  # also with four times the minutes


@dataclass(frozen=True)
class Searched:
    """One search.

    Args:
        variant: Its name.
        seed: Seed of the search.
        minutes: Its time.
        programs: Number of proposals.
        new: Number of those that were evaluated.
        fitness: Mean log validation loss of its winner over tuned AdamW's, on fresh seeds.
        low: Lower end of the 95 % interval over these seeds.
        high: Upper end of it.
        program: Text of the winner.
        seconds: What all of it took.
    """

    variant: str
    seed: int
    minutes: float
    programs: int
    new: int
    fitness: float
    low: float
    high: float
    program: str
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("verb", choices=("run", "show"))
    longer = [name + LONGER for name in CONTROLS]
    parser.add_argument("--variants", default=",".join((*VARIANTS, *longer)))
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    if given.verb == "show":
        show(read(Searched, given.out / ROWS))
    else:
        run(given)


def run(given: argparse.Namespace) -> None:
    """Search with what is missing, a seed of all variants after the other."""
    known = {(row.variant, row.seed) for row in read(Searched, given.out / ROWS)}
    seeds, variants = map(int, given.seeds.split(",")), given.variants.split(",")
    left = [(v, seed) for seed in seeds for v in variants if (v, seed) not in known]
    for done, (variant, seed) in enumerate(left, 1):
        row = searched(variant, seed, given)
        keep(row, given.out / ROWS)
        print(f"{done} of {len(left)}: {variant}, seed {seed}: {row.fitness:+.4f}", flush=True)


def searched(variant: str, seed: int, given: argparse.Namespace) -> Searched:
    """Search, choose the winner on fresh seeds as every search does, and leave out the table."""
    began = time.monotonic()
    minutes = given.minutes * (4 if variant.endswith(LONGER) else 1)
    plan = make_searched_plan(VARIANTS[variant.removesuffix(LONGER)][1], seed, minutes)
    with (
        tempfile.TemporaryDirectory() as folder,
        RunDirectory.create(Path(folder) / "run", plan.stored()) as directory,
        closing(make_executor(plan, given.workers)) as executor,
    ):
        runner = JobRunner(executor, directory.journal)
        history = make_search(plan, runner).run(Budget(minutes, None))
        executor.abandon(PATIENCE)
        adamw = {task: tuned["adamw"].trainee for task, tuned in plan.baselines.items()}
        trainer = make_trainer(plan, directory, runner)
        best = select(trainer, history, plan.settings, adamw)[0]
    return Searched(
        variant, seed, minutes, history.tally.proposals, history.tally.evaluated, best.fitness,
        best.low, best.high, best.text, time.monotonic() - began,
    )  # fmt: skip


def make_searched_plan(changes: Mapping[str, Any], seed: int, minutes: float) -> SearchPlan:
    options = SearchOptions(**{**SHARED, **changes}, seed=seed, minutes=minutes)
    tasks = [load_task(name) for name in PROXY_TASKS]
    settings = options.settings(load_rule(options.start), tasks)
    settings = replace(settings, hashes=tuple(task.hash for task in tasks), compiled=True)
    with one_thread():
        return make_plan(settings, tasks, (), print, BaselineTuner())


def show(rows: Sequence[Searched]) -> None:
    by_variant = {name: [r for r in rows if r.variant == name] for name in
                  dict.fromkeys(row.variant for row in rows)}  # fmt: skip
    whole = by_variant.get(WHOLE, [])
    lines = tuple(line(name, found, whole) for name, found in by_variant.items())
    heads = ("<variant", "<what is other", "minutes", "runs", "programs", "against AdamW",
             "each run", "against evolution")  # fmt: skip
    print(TextTable("", heads, lines).markdown())


def line(name: str, rows: Sequence[Searched], whole: Sequence[Searched]) -> tuple[str, ...]:
    each = ", ".join(f"{100 * math.expm1(row.fitness):+.1f}" for row in rows)
    return (
        name, VARIANTS[name.removesuffix(LONGER)][0], f"{rows[0].minutes:g}", str(len(rows)),
        f"{sum(row.programs for row in rows) / len(rows):.0f}",
        between_runs(rows), each,
        "" if name == WHOLE else welch(rows, whole),
    )  # fmt: skip


def between_runs(rows: Sequence[Searched]) -> str:
    """The mean with its interval; one run alone says nothing of how runs differ."""
    interval = paired_interval([row.fitness for row in rows])
    return percent(interval) if len(rows) > 1 else f"{100 * math.expm1(interval.mean):+.1f} %"


def welch(rows: Sequence[Searched], whole: Sequence[Searched]) -> str:
    """The difference of two means of runs, with Welch's 95 % interval."""
    if min(len(rows), len(whole)) < 2:
        return "-"
    a, b = ([row.fitness for row in of] for of in (rows, whole))
    test: Any = ttest_ind(a, b, equal_var=False)
    low, high = test.confidence_interval()
    mean = sum(a) / len(a) - sum(b) / len(b)
    return percent(Interval(mean, float(low), float(high), float(test.pvalue), len(a) + len(b)))


if __name__ == "__main__":
    main()
