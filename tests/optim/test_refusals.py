"""Every refusal comes before the first change: groups, states and weights stay as they were."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

from optforge.errors import OptimizerError
from optforge.language import parse
from optforge.optim import Lion, ProgramOptimizer


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def stepped(optimizer: Any, steps: int = 2) -> list[Tensor]:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for step in range(steps):
        for parameter in parameters:
            parameter.grad = draw(*parameter.shape, seed=step + 1).to(parameter.dtype)
        optimizer.step()
    return [parameter.detach().clone() for parameter in parameters]


CLOCK = parse(
    "def train(w, g, m, lr):\n    m = interp(g, m, 0.9)\n    t = get_step()\n"
    "    s = t * 0.001\n    u = m * s\n    return u, m\n"
)
SPARSE = torch.sparse_coo_tensor(
    torch.tensor([[1]]), torch.ones(1, 3), (2, 3), check_invariants=True
)


def subject(kind: str) -> Any:
    groups = [
        {"params": [Parameter(draw(4, 5)), Parameter(draw(6).bfloat16())], "lr": 2.0**-12},
        {"params": [Parameter(draw(2, 3))]},
    ]
    if kind == "lion":
        return Lion(groups, nonfinite="raise", momentum_dtype="8bit", fused=None)
    return ProgramOptimizer(groups, CLOCK if kind == "clock" else "lion", lr=0.25)


def saved_with(**changes: Any) -> Callable[[Any], Any]:
    def load(optimizer: Any) -> None:
        saved = copy.deepcopy(optimizer.state_dict())
        saved["param_groups"][1].update(changes)
        optimizer.load_state_dict(saved)

    return load


def saved_entry(**changes: Any) -> Callable[[Any], Any]:
    def load(optimizer: Any) -> None:
        saved = copy.deepcopy(optimizer.state_dict())
        saved["state"][2].update(changes)
        optimizer.load_state_dict(saved)

    return load


def step_with(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A step that the last parameter, of the last group, makes impossible."""

    def step(optimizer: Any) -> None:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.ones_like(parameter)
        change(optimizer.param_groups[-1]["params"][-1])
        optimizer.step()

    return step


def assign(name: str, value: Any) -> Callable[[Any], Any]:
    return lambda parameter: setattr(parameter, name, value)


def swapped(parameter: Any) -> None:
    parameter.data = torch.zeros(9, 3)


def complex_now(parameter: Any) -> None:
    parameter.data = parameter.data.to(torch.complex64)


def added(**group: Any) -> Callable[[Any], Any]:
    return lambda optimizer: optimizer.add_param_group(
        {"params": [Parameter(torch.ones(3)), Parameter(torch.ones(3))], **group}
    )


REFUSALS: dict[str, Callable[[Any], Any]] = {
    **{f"add {k}": added(**{k: v}) for k, v in (("lr", -1.0), ("foreach", 1), ("maximize", "no"))},
    "add both ways": added(foreach=True, fused=True),
    "add a misspelt key": added(weight_decy=0.1),
    "add integers": added(params=[Parameter(torch.ones(3)), torch.ones(3, dtype=torch.int32)]),
    "add float8": added(
        params=[Parameter(torch.ones(3)), torch.ones(3).to(torch.float8_e5m2), torch.ones(2)]
    ),
    "add a parameter twice": lambda o: o.add_param_group({"params": o.param_groups[0]["params"]}),
    "add no dict": lambda o: o.add_param_group([Parameter(torch.ones(3))]),
    **{
        f"load {k}={v}": saved_with(**{k: v})
        for k, v in (
            *(("lr", float("nan")), ("lr", "0.1"), ("weight_decay", float("inf"))),
            *(("foreach", 7), ("maximize", None), ("params", [1, 2, 3])),
        )
    },
    "load both ways": saved_with(foreach=True, fused=True),
    "load too few groups": lambda o: o.load_state_dict(
        {**o.state_dict(), "param_groups": o.state_dict()["param_groups"][:1]}
    ),
    "load a shape": saved_entry(momentum=torch.zeros(7), m=torch.zeros(7)),
    "load a list": lambda o: o.load_state_dict({"state": [], "groups": []}),
    "load SGD": lambda o: o.load_state_dict(
        torch.optim.SGD([{"params": g["params"]} for g in o.param_groups]).state_dict()
    ),
    "step resized": step_with(swapped),
    "step cast to complex": step_with(complex_now),
}
ONLY_LION: dict[str, Callable[[Any], Any]] = {
    "step with NaN": step_with(lambda p: p.grad.fill_(float("nan"))),
    **{
        f"load {k}={v}": saved_with(**{k: v})
        for k, v in (
            *(("betas", (0.9, 1.0)), ("rounding", "up"), ("seed", -1), ("reference_lr", 0.0)),
            *(("nonfinite", None), ("decay_mode", "l2"), ("momentum_dtype", "4bit")),
        )
    },
    "load a scale": saved_entry(momentum_scale=torch.zeros(2, 1)),
    "load a count": lambda o: saved_count(o),
    "add a complex weight to 8 bits": added(params=[torch.ones(3, dtype=torch.complex64)]),
}
ONLY_RULES: dict[str, Callable[[Any], Any]] = {
    "load peak_lr=0": saved_with(peak_lr=0.0),
    "load schedule=inf": saved_with(schedule=float("inf")),
    "load step=-1": saved_with(step=-1),
    "load another rule": saved_with(fingerprint="0"),
}


def saved_count(optimizer: Any) -> None:
    saved = copy.deepcopy(optimizer.state_dict())
    saved["state"][1]["step"] = float("nan")
    optimizer.load_state_dict(saved)


def snapshot(optimizer: Any) -> Any:
    groups = [dict(group) for group in optimizer.param_groups]
    weights = [[id(p) for p in group.pop("params")] for group in groups]
    states = {id(p): {n: v.clone() for n, v in s.items()} for p, s in optimizer.state.items()}
    return groups, weights, states


CASES = [
    pytest.param(kind, case, id=f"{kind}: {case}")
    for kind, more in (("lion", ONLY_LION), ("rule", ONLY_RULES), ("clock", ONLY_RULES))
    for case in {**REFUSALS, **more}
    if not (kind == "clock" and case in ("add a misspelt key", "load weight_decay=inf"))
]


@pytest.mark.parametrize(("kind", "case"), CASES)
@pytest.mark.parametrize("is_fresh", [True, False], ids=["fresh", "stepped"])
def test_a_refusal_leaves_the_optimizer_as_it_was(kind: str, case: str, is_fresh: bool) -> None:
    refusal = {**REFUSALS, **(ONLY_LION if kind == "lion" else ONLY_RULES)}[case]
    if is_fresh and case in ("load a shape", "load a scale", "load a count"):
        pytest.skip("nothing is saved yet")
    optimizer = subject(kind)
    if not is_fresh:
        stepped(optimizer)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    old = [parameter.detach().clone() for parameter in parameters[:2]]
    groups, weights, states = snapshot(optimizer)
    with pytest.raises((OptimizerError, ValueError, TypeError, FloatingPointError)):
        refusal(optimizer)
    new_groups, new_weights, new_states = snapshot(optimizer)
    assert new_groups == groups and new_weights == weights
    assert new_states.keys() == states.keys()
    for number, state in states.items():
        assert state.keys() == new_states[number].keys()
        assert all(torch.equal(value, new_states[number][name]) for name, value in state.items())
    assert all(torch.equal(p, o) for p, o in zip(parameters[:2], old, strict=True))


def test_a_refused_sparse_gradient_leaves_the_groups_before_it_alone() -> None:
    for kind in ("lion", "rule", "clock"):
        optimizer = subject(kind)
        before = snapshot(optimizer)
        with pytest.raises(OptimizerError, match="sparse"):
            step_with(assign("grad", SPARSE))(optimizer)
        assert repr(snapshot(optimizer)) == repr(before)
