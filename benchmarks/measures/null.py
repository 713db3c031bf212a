"""Comparisons of an optimizer with itself on other seeds: p-values must be uniform."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from optforge.comparison import CellResult, Findings, compare_pairs, load_recipe, vary
from optforge.comparison.cells.cell import Cell
from optforge.comparison.cells.runner import Bench
from optforge.comparison.result import TaskResult, TunedSetting
from optforge.fitness.seeds import seeds
from optforge.tasks import Data, Split, Task

SETTING = (("beta1", 0.9), ("beta2", 0.99), ("lr", 0.03), ("weight_decay", 0.1))


class Points(Task):
    """Points around three centres: a run takes ten milliseconds."""

    name = "null_points"
    steps, batch_size = 15, 16

    def data(self) -> Data:
        """Three draws from one generator."""
        generator = torch.Generator().manual_seed(11)
        centres = torch.randn(3, 4, generator=generator)
        return Data(*(self.draw(size, centres, generator) for size in (240, 90, 300)))

    def draw(self, count: int, centres: torch.Tensor, generator: torch.Generator) -> Split:
        """Labels in turn, points about their centres."""
        labels = torch.arange(count) % 3
        return Split(centres[labels] + torch.randn(count, 4, generator=generator), labels)

    def model(self) -> nn.Module:
        """4-8-3."""
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


def null_p_values(
    count: int, each: int = 10, watch: Callable[[int], None] = lambda done: None
) -> list[float]:
    """Compare AdamW with AdamW, each time on seeds that share nothing.

    Args:
        count: Comparisons.
        each: Fresh seeds of each side.
        watch: Told how many are done.

    Returns:
        The p-value of each, from the harness's own analysis of its own runs.
    """
    variant, recipe = vary(Points(), {}), load_recipe("adamw")
    bench = Bench({variant.label: variant}, {"a": recipe, "b": recipe})
    found = []
    for number in range(count):
        chosen = seeds(number, variant.task.name, "null", 2 * each)
        runs = [_run(bench, variant.label, seed) for seed in chosen]
        tuned = {
            name: TunedSetting(name, recipe.space, (), (), SETTING, finals=tuple(runs[first::2]))
            for first, name in enumerate("ab")
        }
        (pair,) = compare_pairs(Findings((TaskResult(variant, tuned),), "a"))
        found.append(pair.test_loss.p_value)
        watch(number + 1)
    return found


def _run(bench: Bench, label: str, seed: int) -> CellResult:
    return bench.answer(Cell(label, "a", SETTING, seed, test=True))
