r"""Pre-training on one task, fine-tuning on another, by the same optimizer.

    python benchmarks/finetune_images.py [--size tiny] [--out results/images/finetune] [--plan]
    python benchmarks/finetune_images.py --before basic_glyphs_small --after finetune_vit_tiny \
        --optimizers adafactor,adamw,lion --out results/contrastive/finetune

A miniature of table 3 of Symbolic Discovery (JFT or ImageNet-21K, then ImageNet); the second
command is one of the fine-tuned column of table 1, and `--before glyphs_vit_tiny --after
basic_glyphs_small` has the optimizer under test in both stages of table 1. The setting of
each optimizer for pre-training is tuned as in any comparison (in OUT/pretraining); every seed of
fine-tuning then starts from a pre-training of its own with that setting; the settings for
fine-tuning are tuned together, so that all get the same trials, and measured on fresh seeds with
test data once (in OUT). The control is the same fine-tuning from random weights.

A run is at most one pre-training and one fine-tuning, and is kept when it ends: after Ctrl-C, or
`kill -9`, calling the script again goes on. Weights are kept in runs/pretrained under the hash of
what they come from, and made again, bit for bit, where they are missing. `--quick` shows that it
works, in a folder of its own unless --out is given.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from optforge.api.comparison import Destination, conduct
from optforge.api.keywords import WorkOptions
from optforge.cli.display import STOPPED
from optforge.cli.stopping import Stopping
from optforge.comparison import (
    CELLS,
    Cell,
    CellResult,
    CellTable,
    Comparison,
    ComparisonSettings,
    Findings,
    Recipe,
    Variant,
    load_recipe,
    vary,
)
from optforge.comparison.cells.runner import Bench, Runner
from optforge.comparison.cells.train import run_cell
from optforge.comparison.cost import estimate
from optforge.comparison.environment import environment
from optforge.comparison.protocol import compare_on
from optforge.comparison.result import TaskResult
from optforge.errors import StoppedError
from optforge.report.comparison.page import write_report
from optforge.report.comparison.plan_table import plan_table
from optforge.report.words import duration
from optforge.tasks import load_task
from optforge.tasks.pretrained import SCRATCH
from optforge.training.pretrain import save_weights
from optforge.tuning import Setting

OPTIMIZERS = ("adamw", "lion", "sgd", "adafactor")
SETTINGS = ComparisonSettings(trials=16, extensions=2, seeds=10, finalists=2, again=1)
QUICK = ComparisonSettings(trials=1, seeds=2, finalists=1, again=1, extensions=1, extra=1)
# By the beginnings of the names of both tasks.
CLAIMS = {
    (
        "glyphs",
        "finetune",
    ): ("table 3: pre-trained and fine-tuned, Lion is ahead of AdamW by 0.5 to 0.8 points"),
    (
        "glyphs",
        "basic",
    ): ("table 1: BASIC-L reaches 88.3 % of zero-shot accuracy with Lion, 85.7 with Adafactor"),
    (
        "basic",
        "finetune",
    ): ("table 1: fine-tuned, BASIC-L reaches 91.1 % with Lion, 90.9 with Adafactor"),
}
WEIGHTS, RESULTS = Path("runs/pretrained"), Path("results/images/finetune")


@dataclass(frozen=True)
class Started(Bench):
    """A bench on which every recipe fine-tunes what it pre-trained itself.

    Args:
        before: The task of pre-training.
        settings: By recipe the setting that was chosen there.
        weights: Folder of what is pre-trained.
    """

    before: Variant | None = None
    settings: Mapping[str, Setting] = field(default_factory=dict)
    weights: Path = WEIGHTS

    def key(self, cell: Cell) -> str:
        """The key of a cell, in which the pre-training stands for its weights."""
        return super().key(replace(cell, start=self._chain(cell)))

    def answer(self, cell: Cell) -> CellResult:
        """Pre-train if that was not done, then fine-tune; in a worker."""
        base = self.variants[cell.task].task
        task = vary(base, {"checkpoint": str(self.weights_of(cell))}, [])
        vars(task.task)["splits"] = base.splits  # weights change no data: built once a process
        return run_cell(task, self.recipes[cell.recipe], cell, self.device)

    def weights_of(self, cell: Cell) -> Path:
        """The weights that a cell starts from, pre-trained if they are not there."""
        assert self.before is not None
        told = json.dumps([self._chain(cell), cell.seed])
        file = self.weights / f"{hashlib.sha256(told.encode()).hexdigest()[:20]}.pt"
        if not file.exists():
            first = Cell(self.before.label, cell.recipe, self.settings[cell.recipe], cell.seed)
            save = functools.partial(save_weights, task=self.before.task, seed=cell.seed, file=file)
            run_cell(self.before, self.recipes[cell.recipe], first, self.device, keep=save)
        return file

    def _chain(self, cell: Cell) -> tuple[Any, ...]:
        assert self.before is not None
        recipe_key = self.recipes[cell.recipe].content_key
        return (self.before.task.hash, recipe_key, self.settings[cell.recipe])


def main(arguments: list[str] | None = None) -> None:
    options = read_options(arguments)
    torch.set_num_threads(1)
    with Stopping() as stopping:
        stopping.armed = True
        try:
            work(options, stopping)
        except (StoppedError, KeyboardInterrupt):
            print("Stopped; what is finished is kept: call it again with the same options")
            raise SystemExit(STOPPED) from None


def work(options: argparse.Namespace, stop: Callable[[], bool]) -> None:
    """Pre-train, fine-tune and report."""
    before, after = tasks(options)
    recipes = tuple(load_recipe(name) for name in options.optimizers.split(","))
    given: dict[str, Any] = {"trials": options.trials, "tune": tuple(options.tune.split(","))}
    if options.after:
        given["extras"] = ("scores",)
    settings = QUICK if options.quick else replace(SETTINGS, **given)
    comparison = Comparison((before,), recipes, settings, title=f"Pre-training: {before.label}")
    if options.plan:
        plan(comparison, after, options.workers)
        return
    choose_folders(options)
    pretraining = options.out / "pretraining"
    drawn = not options.quick
    place = Destination(pretraining, resume=True, figures=drawn)
    first = conduct(comparison, place, WorkOptions(workers=options.workers, stop=stop))
    if first.stopped:
        raise StoppedError
    chosen = {
        name: of.best for name, of in first.findings.tasks[0].tuned.items() if of.best is not None
    }
    recipes = tuple(recipe for recipe in recipes if recipe.name in chosen)
    started = Started({after.label: after}, by_name(recipes), "cpu", before, chosen,
                      options.weights)  # fmt: skip
    with CellTable(options.out / CELLS) as table:
        table.describe(environment(options.workers))
        results = [
            fine_tune(bench, after, recipes, settings, table, options.workers, stop)
            for bench in (started, Bench({after.label: after}, by_name(recipes)))
        ]
        report(before, results, recipes, settings, table, options.out, drawn)


def choose_folders(options: argparse.Namespace) -> None:
    """Where results and weights go; figures that mean nothing stay away from committed ones."""
    if options.out is None:
        options.out = Path(tempfile.mkdtemp(prefix="finetune-")) if options.quick else RESULTS
        print(f"results are in {options.out}")
    if options.weights is None:
        options.weights = options.out / "weights" if options.quick else WEIGHTS


def by_name(recipes: Iterable[Recipe]) -> dict[str, Recipe]:
    return {recipe.name: recipe for recipe in recipes}


def tasks(options: argparse.Namespace) -> tuple[Variant, Variant]:
    """The task of pre-training, and that of fine-tuning from random weights."""
    quick = {"steps": 4} if options.quick else {}
    first = quick or {"steps": options.pretraining_steps or 200 * (options.before is None)}
    second = quick or {"steps": options.steps}
    names = (
        options.before or f"glyphs_vit_{options.size}",
        options.after or f"finetune_vit_{options.size}",
    )
    before = vary(load_task(names[0]), {k: v for k, v in first.items() if v}, [])
    given = {k: v for k, v in second.items() if v}
    return before, vary(load_task(names[1]), {**given, "checkpoint": SCRATCH}, [])


def fine_tune(
    bench: Bench, after: Variant, recipes: tuple[Recipe, ...], settings: ComparisonSettings,
    table: CellTable, workers: int, stop: Callable[[], bool],
) -> TaskResult:  # fmt: skip
    """Tune all together and measure, as always."""
    with Runner(bench, table, workers, stop=stop) as runner:
        result = compare_on(after, recipes, settings, runner, recipes[0].name)
    kind = "pre-trained" if isinstance(bench, Started) else "from scratch"
    print(f"fine-tuning, {kind}: {sum(len(t.trials) for t in result.tuned.values())} trials")
    return replace(result, variant=replace(after, label=kind))


def plan(comparison: Comparison, after: Variant, workers: int) -> None:
    """Print what would run, and what it costs."""
    console, settings, count = Console(width=110), comparison.settings, max(1, workers)
    first = comparison.plan()
    second = estimate((after,), comparison.tuned_recipes, settings)
    weights = settings.tune_seeds + settings.again + settings.seeds
    for title, lines in (("Pre-training", first), ("Fine-tuning and from scratch, each", second)):
        console.print(title, style="bold")
        console.print(plan_table(lines, count).markdown(), highlight=False)
    making = weights * sum(line.seconds for line in first)
    total = sum(line.total for line in first) + making + 2 * sum(line.total for line in second)
    console.print(f"Pre-trainings that seeds of fine-tuning start from: {weights} for each "
                  f"optimizer, {duration(making / count)}")  # fmt: skip
    console.print(f"All: {duration(total / count)}")


def report(
    before: Variant, results: list[TaskResult], recipes: tuple[Recipe, ...],
    settings: ComparisonSettings, table: CellTable, out: Path, drawn: bool,
) -> None:  # fmt: skip
    comparison = Comparison(
        tuple(result.variant for result in results), recipes, settings,
        title=f"Pre-training on {before.label}, then fine-tuning, by the same optimizer",
        claim=claim_of(before, results[0].variant),
    )  # fmt: skip
    write_report(comparison, Findings(tuple(results), recipes[0].name), table.sessions, out, drawn)


def claim_of(before: Variant, after: Variant) -> str:
    """The claim that a pair of tasks puts to the test, if there is one."""
    names = before.task.name, after.task.name
    fits = (all(map(str.startswith, names, pair)) for pair in CLAIMS)
    return next((claim for claim, fit in zip(CLAIMS.values(), fits, strict=True) if fit), "")


def read_options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add = parser.add_argument
    add("--size", default="tiny", help="of the ViT: tiny, small or base (tiny)")
    add("--before", help="task of pre-training (glyphs_vit_SIZE)")
    add("--after", help="task with an attribute checkpoint (finetune_vit_SIZE)")
    add("--trials", type=int, default=SETTINGS.trials, help=f"of each ({SETTINGS.trials})")
    add("--tune", default=",".join(SETTINGS.tune), help=f"dimensions ({','.join(SETTINGS.tune)})")
    add("--out", type=Path, help=f"directory of the result ({RESULTS}; quick: a temporary one)")
    add("--optimizers", default=",".join(OPTIMIZERS), help="the first is the baseline")
    add("--pretraining-steps", type=int, help="of each pre-training (200; of --before its own)")
    add("--steps", type=int, help="of each fine-tuning (the task's own)")
    add("--weights", type=Path, help=f"folder of what is pre-trained ({WEIGHTS}; quick: in --out)")
    add("--workers", type=int, default=os.cpu_count() or 1, help="processes; 0: none but this")
    add("--plan", action="store_true", help="print what would run and its cost")
    add("--quick", action="store_true", help="tiny sizes: only to see that it works")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
