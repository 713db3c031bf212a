"""AdamW's settings become Lion's: each rate over the divisor, each rate times decay as before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import Parameter
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim import lr_scheduler as schedules

from optforge.errors import OptimizerError
from optforge.optim.lion import Lion
from optforge.optim.migration.recipe import lion_from_adamw

STEPS = 12
Rates = Callable[[Any], Any]  # from AdamW's units to those of the optimizer at hand


def sequence(o: Optimizer, r: Rates) -> schedules.LRScheduler:
    warmup = schedules.LinearLR(o, 0.25, total_iters=4)
    return schedules.SequentialLR(o, [warmup, schedules.CosineAnnealingLR(o, 8, r(1e-5))], [4])


def chain(o: Optimizer, r: Rates) -> schedules.LRScheduler:
    return schedules.ChainedScheduler(
        [schedules.ConstantLR(o, 0.5, 3), schedules.ExponentialLR(o, 0.9)], optimizer=o
    )


# Every scheduler of torch, as AdamW's user would write it; `r` wraps what is an absolute rate.
SCHEDULERS: dict[str, Callable[[Optimizer, Rates], Any]] = {
    "lambda": lambda o, r: schedules.LambdaLR(o, lambda step: 1 / (1 + step)),
    "multiplicative": lambda o, r: schedules.MultiplicativeLR(o, lambda step: 0.9),
    "step": lambda o, r: schedules.StepLR(o, 4),
    "multi step": lambda o, r: schedules.MultiStepLR(o, [2, 6]),
    "constant": lambda o, r: schedules.ConstantLR(o, 0.1, 4),
    "linear": lambda o, r: schedules.LinearLR(o, 0.1, 1.0, 5),
    "exponential": lambda o, r: schedules.ExponentialLR(o, 0.8),
    "polynomial": lambda o, r: schedules.PolynomialLR(o, 10, 2.0),
    "cosine": lambda o, r: schedules.CosineAnnealingLR(o, 10, eta_min=r(1e-4)),
    "restarts": lambda o, r: schedules.CosineAnnealingWarmRestarts(o, 5, eta_min=r(1e-4)),
    "cyclic": lambda o, r: schedules.CyclicLR(o, r(1e-4), r(2e-3), 3, cycle_momentum=False),
    "one cycle": lambda o, r: schedules.OneCycleLR(o, r(2e-3), 20, cycle_momentum=False),
    "sequence": sequence,
    "chain": chain,
}


def two_groups() -> list[dict[str, Any]]:
    return [
        {"params": [Parameter(torch.ones(2))], "lr": 1e-3, "weight_decay": 0.1},
        {"params": [Parameter(torch.ones(3))], "lr": 5e-4, "weight_decay": 0.0},
    ]


def rates_of(optimizer: Optimizer, scheduler: Any, steps: int) -> list[list[float]]:
    rates = []
    for _ in range(steps):
        rates.append([float(group["lr"]) for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return rates


def assert_divided(ours: list[list[float]], theirs: list[list[float]], divisor: float) -> None:
    wanted = torch.tensor(theirs, dtype=torch.float64) / divisor
    got = torch.tensor(ours, dtype=torch.float64)
    torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-18)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_whole_schedule_falls_by_the_divisor(name: str) -> None:
    adamw = AdamW(two_groups())
    recipe = lion_from_adamw(adamw, divisor=7)
    lion = Lion(recipe.groups)
    theirs = rates_of(adamw, SCHEDULERS[name](adamw, lambda rate: rate), STEPS)
    ours = rates_of(lion, SCHEDULERS[name](lion, recipe.scaled), STEPS)
    assert_divided(ours, theirs, 7)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_schedule_under_way_goes_on_divided(name: str) -> None:
    adamw = AdamW(two_groups())
    theirs = SCHEDULERS[name](adamw, lambda rate: rate)
    rates_of(adamw, theirs, 5)
    recipe = lion_from_adamw(adamw, divisor=4)
    fresh = lion_from_adamw(two_groups(), divisor=4).groups
    lion = Lion(fresh)
    ours = SCHEDULERS[name](lion, recipe.scaled)
    ours.load_state_dict(recipe.scheduler_state(theirs.state_dict()))
    for group, translated in zip(lion.param_groups, recipe.groups, strict=True):
        group["lr"] = translated["lr"]
    lion.step()  # torch warns where a scheduler steps first
    assert_divided(rates_of(lion, ours, STEPS), rates_of(adamw, theirs, STEPS), 4)


def test_reduce_on_plateau_keeps_its_floor_divided() -> None:
    adamw = AdamW(two_groups())
    theirs = schedules.ReduceLROnPlateau(adamw, factor=0.1, patience=0, min_lr=[1e-5, 2e-5])
    for loss in (1.0, 1.0, 2.0):
        theirs.step(loss)
    recipe = lion_from_adamw(adamw, divisor=10)
    lion = Lion(recipe.groups)
    ours = schedules.ReduceLROnPlateau(lion, factor=0.1, patience=0, min_lr=recipe.scaled([0.0, 0]))
    ours.load_state_dict(recipe.scheduler_state(theirs.state_dict()))
    for loss in (3.0, 4.0, 5.0):
        theirs.step(loss)
        ours.step(loss)
    assert [g["lr"] for g in lion.param_groups] == pytest.approx([1e-6, 2e-6], rel=1e-12)


@given(
    lr=st.floats(0, 1),
    decay=st.floats(0, 10),
    divisor=st.floats(1, 100),
)
def test_rate_times_decay_stays(lr: float, decay: float, divisor: float) -> None:
    words = lion_from_adamw({"lr": lr, "weight_decay": decay}, divisor=divisor).keywords
    assert words["lr"] * divisor == pytest.approx(lr, rel=1e-12, abs=1e-300)
    assert words["lr"] * words["weight_decay"] == pytest.approx(lr * decay, rel=1e-12, abs=1e-300)


# Table 12 of the paper, AdamW's pair and Lion's, where one divisor explains both.
@pytest.mark.parametrize(
    ("adamw", "lion", "divisor"),
    [
        ((3e-3, 0.1), (3e-4, 1.0), 10),  # ResNet-50
        ((1e-2, 0.1), (1e-3, 1.0), 10),  # ViT-S/16
        ((1e-3, 1.0), (1e-4, 10.0), 10),  # ViT-B/16, strong augmentation
        ((3e-4, 0.01), (3e-5, 0.1), 10),  # diffusion
        ((3e-3, 0.001), (3e-4, 0.01), 10),  # language model, medium
    ],
)
def test_the_papers_pairs(
    adamw: tuple[float, float], lion: tuple[float, float], divisor: float
) -> None:
    given = {"lr": adamw[0], "weight_decay": adamw[1]}
    words = lion_from_adamw(given, divisor=divisor).keywords
    assert (words["lr"], words["weight_decay"]) == pytest.approx(lion)


def test_groups_keep_what_means_the_same_and_lose_the_rest() -> None:
    weight = Parameter(torch.ones(2))
    adamw = AdamW([("layer.weight", weight)], lr=1e-3, maximize=True, amsgrad=True)
    (group,) = lion_from_adamw(adamw, betas=(0.95, 0.98)).groups
    assert group["params"][0] is weight
    assert group["param_names"] == ["layer.weight"]
    assert group["maximize"] is True
    assert group["betas"] == (0.95, 0.98)
    assert not {"eps", "amsgrad", "fused", "foreach", "decoupled_weight_decay"} & set(group)
    assert Lion([group]).param_groups[0]["weight_decay"] == pytest.approx(0.1)


def test_a_tensor_rate_is_not_shared_with_adamw() -> None:
    adamw = AdamW([Parameter(torch.ones(2))], lr=torch.tensor(1e-3))
    (group,) = lion_from_adamw(adamw).groups
    group["lr"].mul_(0)
    assert float(adamw.param_groups[0]["lr"]) == pytest.approx(1e-3)


def test_one_group_gives_keywords_and_different_groups_refuse() -> None:
    assert lion_from_adamw(two_groups()[:1]).keywords["lr"] == pytest.approx(1e-4)
    with pytest.raises(OptimizerError, match="2 groups with different settings"):
        _ = lion_from_adamw(two_groups()).keywords


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ({"lr": 1e-3}, {}, r"needs 'lr' and 'weight_decay'; got \['lr'\]"),
        ({"lr": float("nan"), "weight_decay": 0.0}, {}, "lr must be .*, got nan"),
        ({"lr": 1e-3, "weight_decay": -1.0}, {}, "weight_decay must be .*, got -1.0"),
        ({"lr": 1e-3, "weight_decay": 0.0}, {"divisor": 0.5}, "from 1 to 100"),
        ({"lr": 1e-3, "weight_decay": 0.0}, {"divisor": float("nan")}, "from 1 to 100"),
        ({"lr": 1e-3, "weight_decay": 0.0}, {"betas": (0.9, 1.0)}, "betas must be .* under 1"),
        ([Parameter(torch.ones(1))], {}, "got Parameter"),
        ([], {}, "no param group"),
        (Adam([Parameter(torch.ones(1))], weight_decay=0.1), {}, "L2 decay 0.1"),
        (SGD([Parameter(torch.ones(1))], weight_decay=0.1), {}, "not AdamW"),
    ],
)
def test_what_cannot_be_translated_is_refused(
    source: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptimizerError, match=message):
        lion_from_adamw(source, **options)


def test_adam_without_decay_translates() -> None:
    words = lion_from_adamw(Adam([Parameter(torch.ones(1))], lr=1e-3)).keywords
    assert words == {"lr": pytest.approx(1e-4), "betas": (0.9, 0.99), "weight_decay": 0.0}
