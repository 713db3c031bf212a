"""ProgramOptimizer: its two rates, param groups, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from optforge.errors import OptimizerError, ProgramError
from optforge.language import load_rule, parse
from optforge.optim.program import ProgramOptimizer
from tests.helpers.parameters import EVERY_KIND, give_gradients, parameter, train
from tests.helpers.parity import Reference, Scenario

WAYS: dict[str, dict[str, Any]] = {"loop": {"foreach": False}, "foreach": {"foreach": True}}


# Rate and schedule ------------------------------------------------------------------------------


def test_lr_sets_the_rate_and_leaves_the_schedule_at_its_peak() -> None:
    weights = [parameter(3)]
    optimizer = ProgramOptimizer(weights, "program_8", lr=0.01)
    give_gradients(weights, 0)
    start, gradient = weights[0].detach().numpy().copy(), weights[0].grad.numpy().copy()  # type: ignore
    optimizer.step()
    rule = load_rule("program_8").text.replace("0.0002171761734643951", "0.01")
    reference = Reference(parse(rule), Scenario(((3,),)).layout)
    wanted, _ = reference.step(start, reference.zeros(), gradient, 1.0)  # fed 1: clip(g, 1)
    np.testing.assert_allclose(weights[0].detach().numpy(), wanted, rtol=1e-14)


def test_a_torch_scheduler_moves_the_schedule_of_program_8_and_so_its_clip() -> None:
    scenario = Scenario(((4,),), steps=20, seed=2, scale=30.0)  # so that the clip has work
    weights, gradients = scenario.draw()
    weight = torch.nn.Parameter(torch.from_numpy(weights.copy()))
    optimizer = ProgramOptimizer([weight], "program_8", lr=0.5)
    factors = [1.0 - step / 25 for step in range(21)]
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: factors[step])
    rule = load_rule("program_8").text.replace("0.0002171761734643951", "0.5")
    reference = Reference(parse(rule), scenario.layout)
    states = reference.zeros()
    unlike, unlike_states = weights, reference.zeros()  # what a rate of 0.5 f(t) would give
    for step, gradient in enumerate(gradients):
        weight.grad = torch.from_numpy(gradient.copy())
        optimizer.step()
        scheduler.step()
        weights, states = reference.step(weights, states, gradient, factors[step])
        np.testing.assert_allclose(weight.detach().numpy(), weights, rtol=1e-12)
        moved = rule.replace("0.5\n", f"{0.5 * factors[step]!r}\n")
        constant = Reference(parse(moved), scenario.layout)
        unlike, unlike_states = constant.step(unlike, unlike_states, gradient, 1.0)
    tracked = optimizer.state[weight]["v"].numpy()  # the average of the clipped gradients
    np.testing.assert_allclose(tracked, states[0], rtol=1e-12)
    assert not np.allclose(tracked, unlike_states[0], rtol=0.1)  # the clip has seen the schedule


def test_one_cycle_begins_below_the_peak_and_reaches_it() -> None:
    """OneCycleLR writes its first rate into `initial_lr`; the peak is still the rule's rate."""
    weights = [parameter(3)]
    optimizer = ProgramOptimizer(weights, "lion", lr=0.1, weight_decay=0.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, 10, cycle_momentum=False)
    for _ in range(9):
        before, rate = weights[0].detach().clone(), optimizer.param_groups[0]["lr"]
        give_gradients(weights, 0)
        optimizer.step()
        moved = (weights[0].detach() - before).abs()
        torch.testing.assert_close(moved, torch.full_like(moved, rate))
        scheduler.step()


def test_a_warm_up_from_zero_does_nothing_at_zero() -> None:
    weights = [parameter(3)]
    optimizer = ProgramOptimizer(weights, "adamw", lr=0.1)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: float(step > 0))
    before = weights[0].detach().clone()
    train(optimizer, 1)
    torch.testing.assert_close(weights[0].detach(), before, rtol=0, atol=0)


def test_schedule_is_fed_to_the_rule() -> None:
    program = parse("def train(w, g, lr):\n    u = cos(lr)\n    u = u * g\n    return u\n")
    weights = [parameter(3)]
    optimizer = ProgramOptimizer(weights, program, schedule=0.25)
    optimizer.param_groups[0]["lr"] = 0.5  # half of the peak, which is 1 without a constant
    give_gradients(weights, 0)
    wanted = weights[0].detach() - np.cos(0.125) * weights[0].grad  # type: ignore
    optimizer.step()
    torch.testing.assert_close(weights[0].detach(), wanted)


def test_a_rate_multiplies_the_update_of_a_rule_without_one() -> None:
    program = parse("def train(w, g, lr):\n    u = sin(g)\n    return u\n")
    weights = [parameter(3)]
    optimizer = ProgramOptimizer(weights, program, lr=0.3)
    assert optimizer.param_groups[0]["lr"] == 0.3
    give_gradients(weights, 0)
    wanted = weights[0].detach() - 0.3 * torch.sin(weights[0].grad)  # type: ignore
    optimizer.step()
    torch.testing.assert_close(weights[0].detach(), wanted)


# Groups -----------------------------------------------------------------------------------------


def test_groups_have_hyper_parameters_of_their_own() -> None:
    def pair() -> list[torch.nn.Parameter]:
        return [parameter(4, seed=1), parameter(2, 3, seed=2)]

    both = pair()
    optimizer = ProgramOptimizer(
        [
            {"params": both[:1], "lr": 0.1, "beta1": 0.5},
            {"params": both[1:], "weight_decay": 0.3, "maximize": True},
        ],
        "adamw_bias_correction",
        lr=0.02,
    )
    got = train(optimizer, 10)
    other = pair()
    theirs = torch.optim.AdamW(
        [
            {"params": other[:1], "lr": 0.1, "betas": (0.5, 0.999)},
            {"params": other[1:], "weight_decay": 0.3, "maximize": True},
        ],
        lr=0.02,
    )
    torch.testing.assert_close(got, train(theirs, 10), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("way", WAYS)
def test_clip_goes_over_all_groups_with_the_limit_of_each(way: str) -> None:
    program = parse("def train(w, g, lr):\n    u = clip(g, 0.5)\n    return u\n")
    weights = [parameter(3), parameter(2)]
    groups = [{"params": weights[:1]}, {"params": weights[1:], "constant_1": 0.25}]
    optimizer = ProgramOptimizer(groups, program, **WAYS[way])
    give_gradients(weights, 0)
    grads = [w.grad.clone() for w in weights if w.grad is not None]
    length = torch.sqrt(sum((g**2).sum() for g in grads))  # type: ignore
    assert length > 0.5
    before = [w.detach().clone() for w in weights]
    optimizer.step()
    for w, old, g, limit in zip(weights, before, grads, (0.5, 0.25), strict=True):
        torch.testing.assert_close(w.detach(), old - g * limit / length)


def test_a_group_may_be_empty_or_come_later() -> None:
    weights = [parameter(3)]
    optimizer = ProgramOptimizer([{"params": []}, {"params": weights}], "program_8")
    train(optimizer, 2)
    late = parameter(2, seed=5)
    optimizer.add_param_group({"params": [late], "lr": 0.5})
    assert optimizer.param_groups[2]["peak_lr"] == 0.5
    before = late.detach().clone()
    train(optimizer, 1)
    assert not torch.equal(late.detach(), before)


def test_what_has_no_gradient_stays_and_is_no_part_of_the_tree() -> None:
    program = parse(EVERY_KIND)
    weights = [parameter(3), parameter(2, seed=1), parameter(2, seed=2)]
    optimizer = ProgramOptimizer(weights, program)
    alone = [parameter(3)]
    reference = ProgramOptimizer(alone, program)
    for step in range(3):
        give_gradients(weights[:1], step)
        give_gradients(alone, step)
        optimizer.step()
        reference.step()
    torch.testing.assert_close(weights[0].detach(), alone[0].detach(), rtol=0, atol=0)
    torch.testing.assert_close(weights[1].detach(), parameter(2, seed=1).detach())
    assert set(optimizer.state) == {weights[0]}
    optimizer.zero_grad()
    optimizer.step()  # nothing at all to do


# Refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight_decy": 0.1}, "unknown hyper-parameter 'weight_decy'; this rule has lr, beta1"),
        ({"eps": 1e-8}, "unknown hyper-parameter 'eps'"),
        ({"lr": 0.0}, "lr must be a finite number above 0.*, got 0.0"),
        ({"lr": -1.0}, "got -1.0"),
        ({"lr": float("nan")}, "got nan"),
        ({"lr": "fast"}, "got 'fast'"),
        ({"beta1": float("inf")}, "beta1 must be a finite number, got inf"),
        ({"beta1": True}, "beta1 must be .*, got True"),
        ({"betas": (0.9,)}, "must be 2 numbers, for beta1, beta2"),
        ({"foreach": 1}, "foreach must be True, False or None, got 1"),
        ({"foreach": True, "fused": True}, "exclude each other"),
        ({"maximize": None}, "maximize must be True or False, got None"),
        ({"schedule": "cosine"}, "schedule must be .*, got 'cosine'"),
    ],
)
def test_settings_that_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptimizerError, match=message):
        ProgramOptimizer([parameter(3)], "adamw", **options)


def test_a_misspelt_setting_of_a_group_is_refused_and_a_note_is_not() -> None:
    with pytest.raises(OptimizerError, match="did you mean 'weight_decay'"):
        ProgramOptimizer([{"params": [parameter(3)], "weight_decy": 0.1}], "adamw")
    optimizer = ProgramOptimizer([{"params": [parameter(3)], "layer": 3}], "adamw")
    assert optimizer.param_groups[0]["layer"] == 3


@pytest.mark.parametrize("dtype", [torch.complex64, torch.int32])
def test_parameters_that_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(OptimizerError, match=str(dtype)):
        ProgramOptimizer([torch.zeros(2, dtype=dtype)], "adamw")


def test_sparse_gradients_are_refused() -> None:
    embedding = torch.nn.Embedding(4, 2, sparse=True)
    optimizer = ProgramOptimizer(embedding.parameters(), "adamw")
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(OptimizerError, match="sparse=False"):
        optimizer.step()


def test_a_rule_comes_by_name_file_or_program(tmp_path: Path) -> None:
    file = tmp_path / "rule.py"
    file.write_text(load_rule("lion").text)
    paths = [train(ProgramOptimizer([parameter(3)], r), 2) for r in ("lion", file, str(file))]
    paths.append(train(ProgramOptimizer([parameter(3)], load_rule("lion")), 2))
    assert all(torch.equal(path, paths[0]) for path in paths)
    with pytest.raises(ProgramError, match="no rule 'lyon'"):
        ProgramOptimizer([parameter(3)], "lyon")
