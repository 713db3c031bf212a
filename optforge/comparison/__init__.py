"""Fair comparisons of optimizers: recipes, tuning, fresh seeds, intervals.

Example:
    >>> from optforge.comparison import load_recipe, recipe_names
    >>> load_recipe("adamw").space.names
    ('lr', 'weight_decay', 'one_minus_beta1', 'one_minus_beta2')
"""

from __future__ import annotations

from optforge.comparison.algoperf import Scores, score_found
from optforge.comparison.analyse import Pair, Summary, compare_pairs, summaries
from optforge.comparison.cell import Cell, Outcome
from optforge.comparison.collected import (
    ExtraPair,
    MapPair,
    Optimum,
    extra_pairs,
    map_pairs,
    optima,
)
from optforge.comparison.comparison import Comparison, run_comparison
from optforge.comparison.presets import load_recipe, recipe_names
from optforge.comparison.recipe import Recipe
from optforge.comparison.result import Found
from optforge.comparison.run import Watch
from optforge.comparison.settings import Settings
from optforge.comparison.suite import comparison_from, read_suite, recipe_from
from optforge.comparison.table import CELLS, CellTable
from optforge.comparison.variant import Variant, variants, vary

__all__ = [
    "CELLS",
    "Cell",
    "CellTable",
    "Comparison",
    "ExtraPair",
    "Found",
    "MapPair",
    "Optimum",
    "Outcome",
    "Pair",
    "Recipe",
    "Scores",
    "Settings",
    "Summary",
    "Variant",
    "Watch",
    "compare_pairs",
    "extra_pairs",
    "comparison_from",
    "load_recipe",
    "map_pairs",
    "optima",
    "read_suite",
    "recipe_from",
    "recipe_names",
    "run_comparison",
    "score_found",
    "summaries",
    "variants",
    "vary",
]
