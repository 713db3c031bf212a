"""Recipes: every preset trains, settings arrive, files and libraries are found."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from optforge.comparison import load_recipe, recipe_names
from optforge.errors import CompareError
from optforge.exporters import export
from optforge.language import discovered_names, load_rule, rule_names, rule_text
from optforge.optim import Lion, ProgramOptimizer
from optforge.tuning import Setting

SETTING: Setting = (("beta1", 0.8), ("beta2", 0.97), ("lr", 0.02), ("weight_decay", 0.3))


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 17), nn.Tanh(), nn.Linear(17, 3))


def of(name: str) -> Setting:
    recipe = load_recipe(name)
    return tuple(
        (n, v) for n, v in SETTING if recipe.source.tunable(n) and n not in dict(recipe.fixed)
    )


@pytest.mark.parametrize("name", recipe_names())
def test_a_preset_lowers_a_loss(name: str) -> None:
    recipe = load_recipe(name)
    net = model()
    x, y = torch.randn(64, 20), torch.arange(64) % 3
    optimizer = recipe.make(net, recipe.space.grid(1)[0])
    first = last = 0.0
    for step in range(60):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        first, last = (loss.item() if step == 0 else first), loss.item()
    assert last < 0.9 * first


@pytest.mark.parametrize("name", recipe_names())
def test_spaces_are_as_wide_for_all(name: str) -> None:
    for dimension in load_recipe(name).space.dimensions:
        if dimension.name in ("lr", "weight_decay"):
            decades = math.log10(dimension.high / dimension.low)
            assert decades == pytest.approx(2.5 if dimension.name == "lr" else 3.0, abs=0.03)


def test_settings_arrive_where_libraries_have_them() -> None:
    group = load_recipe("adamw").make(model(), SETTING).param_groups[0]
    assert (group["lr"], group["weight_decay"], group["betas"]) == (0.02, 0.3, (0.8, 0.97))
    assert group["fused"] is True
    group = load_recipe("sgd").make(model(), of("sgd")).param_groups[0]
    assert (group["lr"], group["weight_decay"], group["momentum"]) == (0.02, 0.3, 0.8)
    group = load_recipe("adafactor").make(model(), SETTING).param_groups[0]
    assert (group["momentum"], group["beta2_cap"]) == (0.8, 0.97)
    assert load_recipe("amsgrad").make(model(), SETTING).param_groups[0]["amsgrad"] is True
    assert load_recipe("nadam").make(model(), SETTING).defaults["decoupled_weight_decay"] is True


def test_decay_of_matrices_alone_leaves_biases_out() -> None:
    recipe = load_recipe("lion", decay="matrices")
    groups = recipe.make(model(), SETTING).param_groups
    assert [group["weight_decay"] for group in groups] == [0.3, 0.0]
    assert {p.dim() for p in groups[0]["params"]} == {2}
    assert {p.dim() for p in groups[1]["params"]} == {1}


def test_the_presets_of_lion_and_the_rule_agree() -> None:
    nets = [model(), model()]
    makers = [load_recipe("lion"), load_recipe("rule=", "./optforge/language/rules/lion.txt")]
    for net, recipe in zip(nets, makers, strict=True):
        optimizer = recipe.make(net, SETTING)
        for step in range(5):
            optimizer.zero_grad()
            torch.manual_seed(step)
            net(torch.randn(8, 20)).square().sum().backward()
            optimizer.step()
    for one, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def oracle(name: str, w: np.ndarray, grads: list[np.ndarray], lr: float, wd: float) -> np.ndarray:
    """PowerSign, AddSign and the momentum ablations, from their papers, in NumPy."""
    beta = {"ablation_0.99": 0.99}.get(name, 0.9)
    m = np.zeros_like(w)
    for g in grads:
        m = beta * m + (1 - beta) * g
        agree = np.sign(g) * np.sign(m)
        update = {
            "powersign": np.e**agree * g, "addsign": (1 + agree) * g,
        }.get(name, np.sign(m))  # fmt: skip
        w = w - lr * (update + wd * w)
    return w


@pytest.mark.parametrize("name", ["powersign", "addsign", "ablation_0.9", "ablation_0.99"])
def test_shipped_rules_follow_their_papers(name: str) -> None:
    generator = np.random.default_rng(1)
    start, grads = generator.normal(size=30), [generator.normal(size=30) for _ in range(6)]
    net = nn.Module()
    net.w = nn.Parameter(torch.tensor(start))
    optimizer = load_recipe(name).make(net, (("lr", 0.03), ("weight_decay", 0.2)))
    for g in grads:
        net.w.grad = torch.tensor(g)
        optimizer.step()
    expected = oracle(name, start, grads, 0.03, 0.2)
    np.testing.assert_allclose(net.w.detach().numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "name",
    ["torch:RMSprop", "torch.optim.Adamax", "timm:lion", "pytorch_optimizer:adabelief", "rprop",
     "lamb"],
)  # fmt: skip
def test_optimizers_of_libraries_are_found_by_name(name: str) -> None:
    recipe = load_recipe(name)
    optimizer = recipe.make(model(), recipe.space.grid(1)[0])
    assert isinstance(optimizer, torch.optim.Optimizer)
    assert "lr" in recipe.space.names


@pytest.mark.parametrize("name", rule_names())
def test_every_shipped_rule_can_be_compared_whatever_the_presets_are_called(name: str) -> None:
    recipe = load_recipe(f"rule:{name}")
    place = f"discovered/{name}" if name in discovered_names() else name
    assert (
        recipe.content_key
        == load_recipe(name, f"./optforge/language/rules/{place}.txt").content_key
    )
    assert isinstance(recipe.make(model(), recipe.space.grid(1)[0]), ProgramOptimizer)


def test_a_rule_file_is_parsed_and_not_run(tmp_path: Path) -> None:
    file = tmp_path / "best.py"
    file.write_text(rule_text("adamw"))
    recipe = load_recipe(str(file))
    assert recipe.name == "best.py"
    assert isinstance(recipe.make(model(), recipe.space.grid(1)[0]), ProgramOptimizer)
    assert (
        recipe.content_key
        == load_recipe("rule:adamw", "./optforge/language/rules/adamw.txt").content_key
    )


def test_an_exported_file_is_found_and_does_as_the_rule(tmp_path: Path) -> None:
    file = tmp_path / "exported.py"
    file.write_text(export(load_rule("lion"), "torch", "lion"))
    recipe = load_recipe(str(file))
    assert set(recipe.space.names) >= {"lr", "weight_decay", "one_minus_beta1", "one_minus_beta2"}
    nets = [model(), model()]
    for net, made in zip(nets, (recipe, load_recipe("lion")), strict=True):
        optimizer = made.make(net, SETTING)
        net(torch.ones(2, 20)).sum().backward()
        optimizer.step()
    for one, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_a_class_of_ones_own_needs_no_file() -> None:
    recipe = load_recipe("mine", Lion, space={"lr": [1e-4, 1e-2]})
    assert isinstance(recipe.make(model(), (("lr", 1e-3),)), Lion)


def test_the_key_is_of_the_content_and_not_of_the_name(tmp_path: Path) -> None:
    assert load_recipe("twin", "adamw").content_key == load_recipe("adamw").content_key
    others = [load_recipe("adamw", clip=1.0), load_recipe("adamw", schedule="linear"),
              load_recipe("adamw", decay="matrices"), load_recipe("amsgrad"),
              load_recipe("adamw", fixed={"eps": 1e-6})]  # fmt: skip
    assert len({recipe.content_key for recipe in (load_recipe("adamw"), *others)}) == 6


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"name": "adamv"}, "no optimizer 'adamv'"),
        ({"name": "torch:Nope"}, "torch has no optimizer 'Nope'"),
        ({"name": "missing.py:Mine"}, "cannot be read"),
        ({"name": "sgd", "space": {"one_minus_beta2": [0.1, 0.2]}}, "cannot tune 'beta2'"),
        ({"name": "sgd", "schedule": "step"}, "schedule 'step'"),
        ({"name": "sgd", "decay": "none"}, "decay 'none'"),
    ],
)
def test_mistakes_are_told_in_a_sentence(arguments: dict, says: str) -> None:
    with pytest.raises(CompareError, match=says):
        load_recipe(**arguments)
