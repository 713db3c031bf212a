"""Fair comparisons of optimizers: recipes, tuning, fresh seeds, intervals.

Example:
    >>> from optforge.compare import load_recipe, recipe_names
    >>> load_recipe("adamw").space.names
    ('lr', 'weight_decay', 'one_minus_beta1', 'one_minus_beta2')
"""

from __future__ import annotations

from optforge.compare.algoperf import Scores, score_found
from optforge.compare.analyse import Pair, Summary, compare_pairs, summaries
from optforge.compare.cell import Cell, Outcome
from optforge.compare.collected import (
    ExtraPair,
    MapPair,
    Optimum,
    extra_pairs,
    map_pairs,
    optima,
)
from optforge.compare.comparison import Comparison, run_comparison
from optforge.compare.presets import load_recipe, recipe_names
from optforge.compare.recipe import Recipe
from optforge.compare.result import Found
from optforge.compare.run import Watch
from optforge.compare.settings import Settings
from optforge.compare.suite import comparison_from, read_suite, recipe_from
from optforge.compare.table import CELLS, CellTable
from optforge.compare.variant import Variant, variants, vary

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
