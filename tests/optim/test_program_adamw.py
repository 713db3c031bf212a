"""ProgramOptimizer.from_adamw: rate, decay and schedule from those of an AdamW."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from optforge.errors import OptimizerError
from optforge.language import mark_matrix, parameter_groups, parse
from optforge.optim.migration.rule_from_adamw import update_sizes
from optforge.optim.program import ProgramOptimizer
from optforge.optim.rules.roles import ArrayRole
from tests.helpers.parameters import parameter, train

NOISE = (0.1 / 1.9) ** 0.5  # root mean square of AdamW's updates on noise, with beta1 0.9


def adamw_of(*groups: object, lr: float = 1e-3) -> torch.optim.AdamW:
    return torch.optim.AdamW(list(groups) or [parameter(8, 4)], lr=lr, weight_decay=0.1)  # type: ignore


@pytest.mark.parametrize(
    ("rule", "ratio"),
    [
        ("adamw_bias_correction", 1.0),
        ("signum", NOISE),
        ("lion", NOISE),
        # Matrices have a root mean square of about 0.9; it takes seconds to measure.
        pytest.param("ortho_lion", NOISE, marks=pytest.mark.slow),
        pytest.param("muon", 1.3, marks=pytest.mark.slow),  # 0.2 times that
    ],
)
def test_the_rate_follows_from_the_length_of_updates(rule: str, ratio: float) -> None:
    group = ProgramOptimizer.from_adamw(adamw_of(), rule).param_groups[0]
    assert group["lr"] == pytest.approx(1e-3 * ratio, rel=0.2)
    assert group["lr"] * group["weight_decay"] == pytest.approx(1e-4)
    assert group["peak_lr"] == group["lr"]


def test_an_adam_of_other_betas_has_longer_updates() -> None:
    adamw = torch.optim.AdamW([parameter(4)], lr=1e-3, betas=(0.5, 0.999))
    group = ProgramOptimizer.from_adamw(adamw, "signum").param_groups[0]
    assert group["lr"] == pytest.approx(1e-3 * (0.5 / 1.5) ** 0.5, rel=0.05)


@pytest.mark.slow
def test_real_updates_are_as_long_as_was_measured() -> None:
    """On noise, per element, the two optimizers move the weights equally far."""
    moved = []
    for build in (lambda a: a, lambda a: ProgramOptimizer.from_adamw(a, "ortho_adam")):
        weight = parameter(24, 16)
        optimizer = build(torch.optim.AdamW([weight], lr=1e-3, weight_decay=0.0))
        train(optimizer, 100)
        before = weight.detach().clone()
        train(optimizer, 1, 100)
        moved.append((weight.detach() - before).square().mean().sqrt().item())
    assert moved[0] == pytest.approx(moved[1], rel=0.2)


@pytest.mark.slow
def test_groups_keep_what_they_are() -> None:
    model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 3))
    adamw = torch.optim.AdamW(parameter_groups(model), lr=1e-3, weight_decay=0.1)
    adamw.param_groups[1]["weight_decay"] = 0.0
    optimizer = ProgramOptimizer.from_adamw(adamw, "muon", foreach=False, beta3=0.99)
    first, second = optimizer.param_groups
    assert (first["matrices"], second["matrices"]) == (True, False)
    assert [len(g["params"]) for g in optimizer.param_groups] == [1, 2]
    assert first["params"][0] is model[1].weight
    assert second["weight_decay"] == 0.0 and second["foreach"] is False
    assert first["beta3"] == 0.99
    assert first["lr"] > second["lr"] == pytest.approx(1e-3, rel=0.1)


def test_a_schedule_goes_on_in_the_middle() -> None:
    def lambdas(
        optimizer: torch.optim.Optimizer, last: int = -1
    ) -> torch.optim.lr_scheduler.LambdaLR:
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: 1 - s / 10, last_epoch=last)

    adamw = adamw_of()
    scheduler = lambdas(adamw)
    for step in range(4):
        train(adamw, 1, step)
        scheduler.step()
    optimizer = ProgramOptimizer.from_adamw(adamw, "lion", ratio=0.25)
    group = optimizer.param_groups[0]
    assert group["lr"] == pytest.approx(0.25 * 6e-4)
    assert group["peak_lr"] == group["initial_lr"] == 0.25e-3
    follow = lambdas(optimizer, 4)
    train(optimizer, 1)
    follow.step()
    assert group["lr"] == pytest.approx(0.25e-3 * (1 - 6 / 10), abs=1e-9)


def test_a_warm_up_from_zero_is_taken_over() -> None:
    adamw = adamw_of()
    torch.optim.lr_scheduler.LambdaLR(adamw, lambda step: step / 10)
    optimizer = ProgramOptimizer.from_adamw(adamw, "lion", ratio=0.5)
    assert optimizer.param_groups[0]["lr"] == 0.0
    assert optimizer.param_groups[0]["peak_lr"] == 0.5e-3


def test_what_cannot_be_translated_is_refused() -> None:
    with pytest.raises(OptimizerError, match="depends on the size of the gradients"):
        ProgramOptimizer.from_adamw(adamw_of(), "momentum_sgd")
    with pytest.raises(OptimizerError, match="L2 decay"):
        adam = torch.optim.Adam([parameter(3)], weight_decay=0.1)
        ProgramOptimizer.from_adamw(adam, "lion")
    with pytest.raises(OptimizerError, match="not AdamW"):
        ProgramOptimizer.from_adamw(torch.optim.SGD([parameter(3)], lr=0.1), "lion")
    with pytest.raises(OptimizerError, match="ratio must be .*, got -1"):
        ProgramOptimizer.from_adamw(adamw_of(), "lion", ratio=-1.0)
    with pytest.raises(OptimizerError, match="left a peak"):
        ProgramOptimizer.from_adamw(adamw_of(lr=0.0), "lion", ratio=0.5)


def test_a_decay_that_the_rule_has_not_is_said() -> None:
    rule = parse("def train(w, g, lr):\n    u = sign(g)\n    u = u * lr\n    return u\n")
    with pytest.warns(UserWarning, match="no weight decay, so AdamW's weight_decay=0.1 "):
        ProgramOptimizer.from_adamw(adamw_of(), rule)


def test_weights_that_are_used_inside_of_the_update_are_said_once() -> None:
    rule = parse(
        "def train(w, g, lr):\n    d = w * 0.3\n    u = g + d\n    u = sign(u)\n    u = u * lr\n"
        "    return u\n"
    )
    weights = [parameter(3), parameter(4)]
    groups = [{"params": [weight], "weight_decay": 0.1} for weight in weights]
    with pytest.warns(UserWarning) as said:
        ProgramOptimizer.from_adamw(torch.optim.AdamW(groups, lr=1e-3), rule)
    (warning,) = said
    assert "uses the weights inside of its update" in str(warning.message)


def test_lengths_are_those_of_each_role() -> None:
    rule = parse(
        "def train(w, g, lr):\n    u = sign(g)\n    v = u * 3.0\n    u = where_matrix(u, v)\n"
        "    return u\n"
    )
    (lengths,) = update_sizes(rule, list(ArrayRole), [1.0])
    assert lengths == pytest.approx([1.0, 3.0, 3.0])
    marked = mark_matrix(parameter(8, 4))
    lr = ProgramOptimizer.from_adamw(
        torch.optim.AdamW([marked], lr=1.0, weight_decay=0.0), rule
    ).param_groups[0]["lr"]
    assert lr == pytest.approx(NOISE / 3, rel=0.05)


def test_a_rule_that_is_not_finite_on_noise_needs_a_ratio() -> None:
    rule = parse("def train(w, g, lr):\n    u = arccosh(g)\n    u = u * lr\n    return u")
    adamw = torch.optim.AdamW([torch.nn.Parameter(torch.ones(3, 4))], lr=1e-3)
    with pytest.raises(OptimizerError, match="does not stay finite"):
        ProgramOptimizer.from_adamw(adamw, rule)
