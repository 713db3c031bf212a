"""Draw grids of images with the models of a finished diffusion comparison.

    python benchmarks/diffusion_grids.py results/diffusion/resolutions [--seed 0] [--images 64]

For each task and optimizer, the best setting is trained once more with the given seed. All models
draw from the same noise. The grid is stored as TASK-OPTIMIZER.png beside the result. It takes as
long as one run and the drawing.
"""

from __future__ import annotations

import argparse
import copy
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from torchvision.utils import save_image

from optforge.api.comparison import finished_runs, stored_comparison
from optforge.comparison import Cell, Recipe, Variant
from optforge.comparison.cells.train import run_cell
from optforge.tasks.diffusion import GlyphDiffusion
from optforge.tuning import Setting


def main(arguments: list[str] | None = None) -> None:
    options = read_options(arguments)
    torch.set_num_threads(1)
    comparison, _ = stored_comparison(options.result)
    recipes = {recipe.name: recipe for recipe in comparison.tuned_recipes}
    found = finished_runs(comparison, options.result).findings.tasks
    if not found:
        raise SystemExit(f"{options.result} has no finished task; run its comparison first")
    for result in found:
        for name, tuned in result.tuned.items():
            if tuned.best is not None:
                file = options.result / f"{result.variant.label}-{name}.png"
                grid(result.variant, recipes[name], tuned.best, file, options)
                print(file)


def grid(
    variant: Variant, recipe: Recipe, setting: Setting, file: Path, options: argparse.Namespace
) -> None:
    """Train one model and draw with it, as the score of its run, before the model is gone."""
    task = copy.copy(variant.task)
    if not isinstance(task, GlyphDiffusion):
        raise SystemExit(f"{variant.label} is not a diffusion task; give a diffusion comparison")
    drawn = task.drawn

    def scores(model: nn.Module, seed: int) -> dict[str, float]:
        images = drawn(model, options.images, options.steps, seed)
        save_image(images / 2 + 0.5, file, nrow=8, padding=1, pad_value=0.5)
        return {}

    vars(task)["scores"] = scores
    cell = Cell(variant.label, recipe.name, setting, options.seed, extras=("scores",))
    run_cell(replace(variant, task=task), recipe, cell)


def read_options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add = parser.add_argument
    add("result", type=Path, help="directory of a finished comparison")
    add("--seed", type=int, default=0, help="seed of training and noise (0)")
    add("--images", type=int, default=64, help="images of a grid (64)")
    add("--steps", type=int, default=100, help="sampling steps (100)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
