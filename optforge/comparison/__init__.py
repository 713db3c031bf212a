"""Fair comparisons of optimizers: recipes, tuning, fresh seeds, intervals.

Example:
    >>> from optforge.comparison import load_recipe, recipe_names
    >>> load_recipe("adamw").space.names
    ('lr', 'weight_decay', 'one_minus_beta1', 'one_minus_beta2')
"""

from __future__ import annotations

from optforge.comparison.cells.cell import Cell, CellResult
from optforge.comparison.cells.cell_table import CELLS, CellTable
from optforge.comparison.cells.runner import Runner
from optforge.comparison.cells.variant import Variant, variants, vary
from optforge.comparison.comparison import Comparison, run_comparison
from optforge.comparison.figures.analysis import Summary, summaries
from optforge.comparison.figures.means import MeanPair, mean_pairs
from optforge.comparison.figures.measured_pairs import (
    ExtraPair,
    MapPair,
    Optimum,
    extra_pairs,
    map_pairs,
    optima,
)
from optforge.comparison.figures.pairs import Pair, compare_pairs
from optforge.comparison.figures.time_to_target import Scores, score_findings
from optforge.comparison.presets import load_recipe, recipe_names
from optforge.comparison.recipes.recipe import Recipe
from optforge.comparison.result import Findings
from optforge.comparison.settings import ComparisonSettings
from optforge.comparison.suite import comparison_from, read_suite, recipe_from

__all__ = [
    "CELLS",
    "Cell",
    "CellTable",
    "Comparison",
    "ExtraPair",
    "Findings",
    "MapPair",
    "MeanPair",
    "Optimum",
    "CellResult",
    "Pair",
    "Recipe",
    "Runner",
    "Scores",
    "ComparisonSettings",
    "Summary",
    "Variant",
    "compare_pairs",
    "extra_pairs",
    "comparison_from",
    "load_recipe",
    "map_pairs",
    "mean_pairs",
    "optima",
    "read_suite",
    "recipe_from",
    "recipe_names",
    "run_comparison",
    "score_findings",
    "summaries",
    "variants",
    "vary",
]
