"""Inputs that other optimizers meet in the wild: what is stepped right, and what is refused."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import Parameter
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LinearLR, OneCycleLR

from optforge.errors import OptimizerError
from optforge.language import rule_names
from optforge.optim import (
    Lion,
    ProgramOptimizer,
    convert_state_dict,
    google_state_dict,
    lion_from_adamw,
)

KINDS: dict[str, Callable[..., Optimizer]] = {
    "lion": Lion,
    "rule": lambda params, **settings: ProgramOptimizer(params, "lion", **settings),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def stepped(optimizer: Optimizer, *weights: Tensor) -> Optimizer:
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    return optimizer


@each_kind
@pytest.mark.parametrize("steps", range(3, 9))
def test_a_schedule_that_ends_at_zero_ends_there(kind: str, steps: int) -> None:
    """torch's factors leave rates such as -3e-20."""
    weight = Parameter(torch.ones(2))
    optimizer: Any = KINDS[kind]([weight], lr=0.1)
    schedule = LinearLR(optimizer, 1 / 3, 0.0, total_iters=steps)
    for _ in range(steps):
        stepped(optimizer, weight)
        schedule.step()
    before = weight.detach().clone()
    stepped(optimizer, weight)
    torch.testing.assert_close(weight.detach(), before)
    other: Any = KINDS[kind]([weight], lr=0.1)
    other.load_state_dict(optimizer.state_dict())
    with pytest.raises(OptimizerError, match="not negative"):
        optimizer.param_groups[0]["lr"] = -1e-6
        stepped(optimizer, weight)


@each_kind
@pytest.mark.parametrize("view", ["conj", "transposed", "imaginary"])
def test_conjugate_and_negative_views_are_refused(kind: str, view: str) -> None:
    whole = torch.tensor([[1 + 2j, 3 - 1j], [1j, 2 + 0j]])
    views = {"conj": whole.conj(), "transposed": whole.mH, "imaginary": whole.conj().imag}
    if kind == "rule" and view != "imaginary":
        pytest.skip("rules refuse all complex parameters")
    with pytest.raises(OptimizerError, match="resolve_conj"):
        KINDS[kind]([Parameter(views[view])])
    optimizer = KINDS[kind]([Parameter(torch.ones(1))])
    with pytest.raises(OptimizerError, match="resolve_conj"):
        optimizer.add_param_group({"params": [Parameter(views[view])]})
    assert len(optimizer.param_groups) == 1


@each_kind
def test_states_of_nobody_are_refused_and_named(kind: str) -> None:
    weight = Parameter(torch.ones(2))
    saved = stepped(KINDS[kind]([weight]), weight).state_dict()
    saved["state"] = {json.loads(json.dumps(str(key))): v for key, v in saved["state"].items()}
    optimizer = stepped(KINDS[kind]([weight]), weight)
    before = copy.deepcopy(optimizer.state_dict())
    with pytest.raises(OptimizerError, match=r"states for \['0'\], and its groups have \[0\]"):
        optimizer.load_state_dict(saved)
    assert str(optimizer.state_dict()) == str(before)
    adamw = stepped(torch.optim.AdamW([weight]), weight).state_dict()
    adamw["state"] = {"w": adamw["state"][0]}
    with pytest.raises(OptimizerError, match="states for"):
        convert_state_dict(adamw, Lion([weight]))


@each_kind
@pytest.mark.parametrize("foreach", [False, None])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("tie", ["transposed", "view"])
def test_parameters_in_one_memory_get_a_step_each(
    kind: str, foreach: bool | None, dtype: torch.dtype, tie: str
) -> None:
    base = torch.arange(1, 7, dtype=dtype).view(2, 3)
    first = Parameter(base)
    second = {"transposed": Parameter(base.t()), "view": Parameter(base.view(6))}
    pair = [first, second[tie]]
    settings = {"lr": 0.125, "weight_decay": 0.0, "foreach": foreach}
    stepped(KINDS[kind](pair, **settings), *pair)
    wanted = torch.arange(1, 7, dtype=dtype).view(2, 3) - 2 * 0.125
    torch.testing.assert_close(first.detach(), wanted)


def test_the_decay_of_adamax_is_not_taken_for_adamw_s() -> None:
    weight = Parameter(torch.ones(4, 4))
    adamax = torch.optim.Adamax([weight], weight_decay=0.1)
    for source in (adamax, adamax.param_groups):
        with pytest.raises(OptimizerError, match="L2 decay 0.1 inside the gradient"):
            lion_from_adamw(source)
    with pytest.raises(OptimizerError, match="L2 decay"):
        ProgramOptimizer.from_adamw(adamax, "lion")
    assert lion_from_adamw(torch.optim.Adamax([weight])).groups[0]["weight_decay"] == 0
    assert lion_from_adamw({"lr": 1e-3, "weight_decay": 0.1}).groups[0]["weight_decay"] == 1.0


@each_kind
@pytest.mark.parametrize("value", [np.array([0.1]), np.array([[0.1]]), torch.tensor([[0.1]])])
def test_arrays_of_one_element_are_numbers(kind: str, value: Any) -> None:
    optimizer = KINDS[kind]([Parameter(torch.ones(1))], lr=value, weight_decay=value)
    (group,) = optimizer.param_groups
    assert float(group["lr"]) == float(group["weight_decay"]) == pytest.approx(0.1)
    with pytest.raises(OptimizerError):
        KINDS[kind]([Parameter(torch.ones(1))], lr=np.array([0.1, 0.2]))


@each_kind
def test_betas_may_be_a_tensor(kind: str) -> None:
    weight, twin = Parameter(torch.ones(3)), Parameter(torch.ones(3))
    for w, betas in ((weight, torch.tensor([0.8, 0.95])), (twin, (0.8, 0.95))):
        optimizer = KINDS[kind]([w], lr=0.1, betas=betas)
        stepped(stepped(optimizer, w), w)
    torch.testing.assert_close(weight.detach(), twin.detach())
    with pytest.raises(OptimizerError, match="betas"):
        KINDS[kind]([Parameter(torch.ones(3))], betas=torch.tensor(0.9))


@each_kind
@pytest.mark.parametrize(
    "mode", [lambda: torch.device("meta"), FakeTensorMode], ids=["meta", "fake"]
)
@pytest.mark.parametrize("foreach", [False, None])
def test_dry_runs_step_and_have_the_states_of_real_ones(
    kind: str, mode: Any, foreach: bool | None
) -> None:
    with mode():
        model = torch.nn.Linear(3, 2)
        model(torch.randn(2, 3)).sum().backward()
        optimizer = KINDS[kind](model.parameters(), foreach=foreach)
        optimizer.step()
        optimizer.step()
    shapes = [tuple(v.shape) for s in optimizer.state.values() for v in s.values() if v.dim()]
    assert shapes == [(2, 3), (2,)]


@pytest.mark.parametrize(
    "mode", [lambda: torch.device("meta"), FakeTensorMode], ids=["meta", "fake"]
)
@pytest.mark.parametrize("rule", rule_names())
def test_every_rule_has_dry_runs(rule: str, mode: Any) -> None:
    with mode():
        model = torch.nn.Linear(3, 2)
        model(torch.randn(2, 3)).sum().backward()
        optimizer = ProgramOptimizer(model.parameters(), rule, total_steps=10)
        optimizer.step()
        optimizer.step()
    assert len(optimizer.state) == 2


def test_notes_of_tools_in_a_group_are_no_misspelt_options() -> None:
    notes = {"base_weight_decay": 0.1, "weight_decay_mult": 2.0, "reference": "x", "lrs": [1.0]}
    group = {"params": [Parameter(torch.ones(1))], **notes}
    assert notes.items() <= Lion([group]).param_groups[0].items()
    for name in ("weight_decy", "wd", "betaz", "cautios"):
        with pytest.raises(OptimizerError, match="unknown group key"):
            Lion([{"params": [Parameter(torch.ones(1))], name: 0.1}])


def test_a_one_cycle_above_the_reference_of_independent_decay_is_told() -> None:
    weight = Parameter(torch.full((2,), 8.0))
    lion = Lion([weight], lr=1e-4, weight_decay=0.01, decay_mode="independent")
    OneCycleLR(lion, max_lr=0.5, total_steps=10, cycle_momentum=False)
    with pytest.warns(UserWarning, match="max_lr=0.5 is above reference_lr=0.0001"):
        stepped(lion, weight)
    fitting = Lion([{"params": [weight], "reference_lr": 0.5}], weight_decay=0.01,
                   decay_mode="independent")  # fmt: skip
    OneCycleLR(fitting, max_lr=0.5, total_steps=10, cycle_momentum=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stepped(fitting, weight)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int32, torch.uint8, torch.complex64], ids=str)
def test_a_rule_refuses_states_that_were_cast(dtype: torch.dtype) -> None:
    weight = Parameter(torch.ones(2))
    rule = stepped(ProgramOptimizer([weight], "adamw"), weight)
    saved = rule.state_dict()
    saved["state"] = {k: {n: v.to(dtype) for n, v in s.items()} for k, s in saved["state"].items()}
    with pytest.raises(OptimizerError, match="let nothing cast the state dict"):
        ProgramOptimizer([weight], "adamw").load_state_dict(saved)


def test_what_is_no_optimizer_or_state_is_said_so() -> None:
    weight = Parameter(torch.ones(2))
    lion, adamw = stepped(Lion([weight]), weight), stepped(torch.optim.AdamW([weight]), weight)
    saved = lion.state_dict()
    calls: list[tuple[str, Callable[[], Any]]] = [
        ("must be an optforge.optim.Lion, got AdamW", lambda: google_state_dict(adamw)),
        ("got ProgramOptimizer",
         lambda: convert_state_dict(adamw.state_dict(), ProgramOptimizer([weight], "lion"))),
        ("got NoneType; pass an AdamW", lambda: lion_from_adamw(None)),  # type: ignore[arg-type]
        ("a state dict has", lambda: lion.load_state_dict(None)),  # type: ignore[arg-type]
        ("a state dict has", lambda: lion.load_state_dict({**saved, "state": None})),
        ("a state dict has", lambda: lion.load_state_dict({**saved, "param_groups": [{}]})),
    ]  # fmt: skip
    for words, call in calls:
        with pytest.raises(OptimizerError, match=words):
            call()
    assert str(lion.state_dict()) == str(saved)
