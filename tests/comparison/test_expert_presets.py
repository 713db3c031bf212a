"""Presets of the rules that experts would tune: their ranges, and a comparison that has them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from optforge.comparison import CellTable, load_recipe, recipe_names, run_comparison
from optforge.comparison.cells.runner import Runner
from optforge.comparison.recipes.recipe import TUNED, tuned_recipes
from optforge.language import discovered_names, rule_names
from optforge.optim import ProgramOptimizer
from tests.helpers.comparisons import few

EXPERTS = (
    "muon", "nadamw", "adan", "ademamix", "mars", "cautious_adamw", "cautious_lion", "lamb",
    "ortho_adam", "ortho_lion",
)  # fmt: skip
MATRICES = ("muon", "ortho_adam", "ortho_lion")


def test_every_expert_is_a_preset_and_a_shipped_rule() -> None:
    assert set(EXPERTS) <= set(recipe_names()) & set(rule_names())


@pytest.mark.parametrize("name", discovered_names())
def test_every_discovered_rule_is_a_preset_that_tunes_all_it_has(name: str) -> None:
    """But for plain factors, as of experts, so that a find has no more to tune than Muon."""
    recipe = load_recipe(name)
    assert {d.name.removeprefix("one_minus_") for d in recipe.space.dimensions} == {
        key for key in recipe.source.defaults if not key.startswith("constant_")
    }


@pytest.mark.parametrize("name", EXPERTS)
def test_all_that_remembers_is_tuned_and_its_default_is_within_a_decade(name: str) -> None:
    recipe = load_recipe(name)
    betas = {key for key in recipe.source.defaults if key.startswith("beta")}
    ranges = {dimension.name: dimension for dimension in recipe.space.dimensions}
    assert ranges.keys() == {"lr", "weight_decay", *(f"one_minus_{beta}" for beta in betas)}
    for beta in betas:
        memory, found = 1 - recipe.source.defaults[beta], ranges[f"one_minus_{beta}"]
        assert found.low / 10 < memory < found.high
        assert 1.3 < math.log10(found.high / found.low) < 2.6
    (tuned,) = tuned_recipes([recipe], TUNED)
    assert tuned.space == recipe.space


@pytest.mark.parametrize("name", EXPERTS)
def test_matrix_rules_alone_get_groups_that_say_so(name: str) -> None:
    model = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 3))
    optimizer = load_recipe(name).make(model, (("lr", 0.01),), 100)
    assert isinstance(optimizer, ProgramOptimizer)
    sizes = {g.get("matrices"): len(g["params"]) for g in optimizer.param_groups}
    assert sizes == ({True: 1, False: 2} if name in MATRICES else {None: 3})


@pytest.mark.parametrize("name", MATRICES)
def test_what_decays_and_what_is_a_matrix_decide_the_step_together(name: str) -> None:
    """Grouping by decay changes the decay of the vectors and nothing else."""
    ends = []
    for decay in ("all", "matrices"):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
        optimizer = load_recipe(name, decay=decay).make(
            model, (("lr", 0.01), ("weight_decay", 0.5))
        )
        model(torch.randn(8, 4)).square().sum().backward()
        optimizer.step()
        assert len(optimizer.param_groups) == 2
        ends.append([p.detach() for p in model.parameters()])
    for one, other in zip(*ends, strict=True):
        assert torch.equal(one, other) == (one.dim() == 2)


def test_adamw_and_muon_are_compared() -> None:
    comparison = few("adamw", "muon", trials=4, seeds=2, finalists=1, again=0)
    found, stopped = run_comparison(comparison, Runner(comparison.bench, CellTable(None)))
    assert not stopped
    best = dict(found.tasks[0].tuned["muon"].best or ())
    assert best.keys() == {"lr", "weight_decay", "beta1", "beta2", "beta3"}
    assert all(math.isfinite(o.test_loss) for o in found.tasks[0].tuned["muon"].finals)
