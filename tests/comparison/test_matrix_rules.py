"""Rules that compute with matrices learn from the model which parameters are hidden matrices."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from optforge.comparison import Recipe, load_recipe
from optforge.comparison.recipes.optimizer_source import OptimizerSource, rule_source
from optforge.comparison.recipes.recipe import default_space
from optforge.language import mark_matrix, parse

ORTHO = """
def train(w, g, m, lr):
    m = interp(g, m, 0.9)
    update = orthogonalize(m)
    wd = w * 0.1
    update = update + wd
    lr = lr * 0.01
    update = update * lr
    return update, m
"""
PROGRESS = """
def train(w, g, lr):
    progress = get_progress()
    lr = lr * 0.01
    lr = lr * progress
    update = g * lr
    return update
"""
ROWS = """
def train(w, g, lr):
    size = row_rms(g)
    update = g / size
    lr = lr * 0.01
    update = update * lr
    return update
"""


class Words(nn.Module):
    """A table, a layer, something frozen and a table of its own that is marked."""

    def __init__(self) -> None:
        super().__init__()
        self.places = mark_matrix(nn.Parameter(torch.zeros(3, 4)))
        self.table = nn.Embedding(9, 4)
        self.inner = nn.Linear(4, 4)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.out = nn.Linear(4, 3, bias=False)


class Kept(Optimizer):
    """Keeps what it was made with."""

    def __init__(self, params: Any, **keywords: Any) -> None:
        self.given, self.keywords = params, keywords
        super().__init__(params, {"lr": 0.1})


def kept(text: str, steps: int | None = None, **changes: Any) -> tuple[Any, dict[str, Any]]:
    """What a rule's optimizer would be made with."""
    real = rule_source(parse(text))
    source = OptimizerSource("kept", Kept, real.accepts, real.defaults, real.tells_matrices,
                    real.asks_progress)  # fmt: skip
    optimizer = Recipe("kept", source, default_space(source), **changes).make(
        Words(), (("lr", 0.1),), steps
    )
    assert isinstance(optimizer, Kept)
    return optimizer.given, optimizer.keywords


def test_groups_say_which_parameters_are_hidden_matrices() -> None:
    groups, keywords = kept(ORTHO)
    shapes = [(g["matrices"], [tuple(p.shape) for p in g["params"]]) for g in groups]
    assert shapes == [(True, [(4, 4), (3, 4)]), (False, [(3, 4), (9, 4), (4,)])]
    assert keywords == {"lr": 0.1}


def test_groups_of_decay_and_of_matrices_go_together() -> None:
    groups, _ = kept(ORTHO, decay="matrices")
    found = [(g["matrices"], g.get("weight_decay"), len(g["params"])) for g in groups]
    assert found == [(True, None, 2), (False, None, 2), (False, 0.0, 1)]


@pytest.mark.parametrize("text", [ROWS, PROGRESS])
def test_other_rules_get_the_parameters_as_they_are(text: str) -> None:
    given, _ = kept(text, decay="matrices")
    model = Words()
    assert [p.shape for p in given] == [p.shape for p in model.parameters() if p.requires_grad]


def test_other_optimizers_never_hear_of_matrices() -> None:
    for decay in ("all", "matrices"):
        for group in load_recipe("adamw", decay=decay).make(Words(), ()).param_groups:
            assert "matrices" not in group


def test_a_rule_that_asks_for_its_progress_hears_how_long_the_run_is() -> None:
    assert kept(PROGRESS, 160)[1] == {"lr": 0.1, "total_steps": 160}
    assert kept(PROGRESS)[1] == {"lr": 0.1}
    assert kept(ORTHO, 160)[1] == {"lr": 0.1}


def test_sources_of_rules_travel_to_workers() -> None:
    source = pickle.loads(pickle.dumps(rule_source(parse(ORTHO))))
    assert source.tells_matrices and not source.asks_progress
