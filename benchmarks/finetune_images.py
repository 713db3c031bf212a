"""Pre-training on glyphs, fine-tuning on letters at a higher resolution, by the same optimizer.

    python benchmarks/finetune_images.py [--size tiny] [--out results/images/finetune]

A miniature of table 3 of Symbolic Discovery (JFT or ImageNet-21K, then ImageNet). For each
optimizer: its setting for pre-training is tuned as in any comparison (in OUT/pretraining); every
seed of fine-tuning then starts from a pre-training of its own with that setting; the setting for
fine-tuning is tuned and chosen alike, and measured on fresh seeds with test data once (in OUT).
Both stages go on where they were stopped; weights are kept in runs/ and made again if missing.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from torch.optim import Optimizer

from optforge.compare import CELLS, CellTable, Comparison, Found, Recipe, Settings, load_recipe
from optforge.compare.protocol import compare_on
from optforge.compare.result import TaskResult
from optforge.compare.run import Bench, Runner
from optforge.compare.space import Setting
from optforge.compare.surroundings import surroundings
from optforge.compare.variant import Variant, vary
from optforge.comparing import conduct
from optforge.fitness.seeds import seeds
from optforge.report.comparison import write_report
from optforge.tasks import Task, load_task
from optforge.training.pretrain import pretrain

SETTINGS = Settings(trials=10, seeds=10, finalists=2, again=1)
OPTIMIZERS = ("adamw", "lion")
STAGES = (("tune", SETTINGS.tune_seeds), ("choose", SETTINGS.again), ("final", SETTINGS.seeds))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--size", default="tiny", help="of the ViT: tiny, small or base (tiny)")
    parser.add_argument("--out", type=Path, default=Path("results/images/finetune"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    before = load_task(f"glyphs_vit_{options.size}")
    recipes = tuple(load_recipe(name) for name in OPTIMIZERS)
    comparison = Comparison((vary(before, {}),), recipes, SETTINGS, title="Pre-training on glyphs")
    found = conduct(comparison, options.out / "pretraining", resume=True, workers=0).found
    after = load_task(f"finetune_vit_{options.size}")
    with CellTable(options.out / CELLS) as table:
        table.describe(surroundings(0))
        results = [
            fine_tune(before, after, recipe, found.tasks[0].tuned[recipe.name].best, table)
            for recipe in recipes
        ]
        scratch = [from_scratch(after, recipe, table) for recipe in recipes]
        report(joined(results), joined(scratch), recipes, table, options.out)


def fine_tune(
    before: Task, after: Task, recipe: Recipe, setting: Setting | None, table: CellTable
) -> TaskResult:
    """Make the weights that are missing, then tune and measure as always."""
    if setting is None:
        raise SystemExit(f"all trials of {recipe.name} diverged in pre-training")
    place = f"runs/pretrained/{before.name}-{recipe.name}-{{seed}}.pt"

    def make(parameters: Iterable[nn.Parameter]) -> Optimizer:
        return recipe.source.make(parameters, {**dict(recipe.fixed), **dict(setting)})

    for purpose, count in STAGES:
        for seed in seeds(SETTINGS.seed, after.name, f"compare {purpose}", count):
            if not Path(place.replace("{seed}", str(seed))).exists():
                pretrain(before, make, seed, place)
    return _compare(vary(after, {"checkpoint": place}, []), recipe, table)


def from_scratch(after: Task, recipe: Recipe, table: CellTable) -> TaskResult:
    """The control: the same task from random weights."""
    return _compare(vary(after, {"checkpoint": "scratch"}, []), recipe, table)


def _compare(variant: Variant, recipe: Recipe, table: CellTable) -> TaskResult:
    bench = Bench({variant.label: variant}, {recipe.name: recipe})
    with Runner(bench, table) as runner:
        result = compare_on(variant, [recipe], SETTINGS, runner, recipe.name)
    print(f"{recipe.name}: {len(result.tuned[recipe.name].finals)} final runs of {variant.label}")
    return result


def joined(results: list[TaskResult]) -> TaskResult:
    """One task with all optimizers; its target is that of the baseline."""
    return replace(results[0], tuned={n: t for result in results for n, t in result.tuned.items()})


def report(
    tuned: TaskResult, scratch: TaskResult, recipes: tuple[Recipe, ...], table: CellTable, out: Path
) -> None:
    named = [
        replace(result, variant=replace(result.variant, label=label))
        for label, result in (("pre-trained", tuned), ("from scratch", scratch))
    ]
    comparison = Comparison(
        tuple(result.variant for result in named), recipes, SETTINGS,
        title="Pre-training on glyphs, fine-tuning on letters at a higher resolution",
        claim="table 3: pre-trained and fine-tuned, Lion is ahead of AdamW by 0.5 to 0.8 points",
    )  # fmt: skip
    write_report(comparison, Found(tuple(named), OPTIMIZERS[0]), table.sessions, out)


if __name__ == "__main__":
    main()
