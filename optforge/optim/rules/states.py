"""The states of a rule: which are kept for a parameter, and what is one number a group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from optforge.errors import OptimizerError
from optforge.optim.checks import check_fits
from optforge.optim.precision.rounding import wide_dtype
from optforge.optim.rules.arrays import state_shape
from optforge.optim.rules.graph import RuleGraph
from optforge.optim.rules.roles import graph_for, role_of
from optforge.optim.rules.settings import reads_clock
from optforge.optim.rules.values import GroupNumbers
from optforge.optim.settings import as_float
from optforge.optim.steps.layout import is_distributed

States = Mapping[Tensor, dict[str, Tensor]]  # what an optimizer keeps
Shape = tuple[int, ...]


def graph_of_parameter(base: RuleGraph, parameter: Tensor, group: Mapping[str, Any]) -> RuleGraph:
    """Return what a rule computes for a parameter."""
    return graph_for(base, role_of(parameter, group["matrices"])) if base.by_role else base


def state_shapes(
    base: RuleGraph, parameter: Tensor, group: Mapping[str, Any]
) -> Mapping[str, Shape | None]:
    """Return the shape of each state of a parameter by name; None for what its group shares."""
    return _shapes(graph_of_parameter(base, parameter, group), tuple(parameter.shape))


@lru_cache(1 << 12)
def _shapes(graph: RuleGraph, shape: Shape) -> Mapping[str, Shape | None]:
    names = graph.lifted.program.states
    shapes = {n: state_shape(graph.kinds[n], shape, graph.of_matrices) for n in graph.stored}
    return {names[n]: shapes.get(n) for n in sorted((*graph.shared, *graph.stored))}


def check_step(
    base: RuleGraph, states: States, group: Mapping[str, Any], active: Sequence[Tensor]
) -> None:
    """Refuse what a step cannot use, before anything is changed.

    Raises:
        OptimizerError: For gradients, states and shards that are refused.
    """
    for parameter in active:
        assert parameter.grad is not None
        graph, kept = graph_of_parameter(base, parameter, group), states.get(parameter) or {}
        shapes = _shapes(graph, tuple(parameter.shape))
        rows = {n: (kept[n], s) for n, s in shapes.items() if s is not None and n in kept}
        check_fits(parameter, parameter.grad, rows)
        if graph.by_shape:
            _check_whole(parameter)


def _check_whole(parameter: Tensor) -> None:
    """Refuse a sharded parameter: a shard has other rows, columns and singular values."""
    if is_distributed(parameter) and not all(p.is_replicate() for p in parameter.placements):
        raise OptimizerError(
            f"a parameter of shape {tuple(parameter.shape)} is sharded ({parameter.placements}), "
            "but this rule looks at whole rows, columns or matrices; keep the parameter replicated "
            "(DDP, or leave it out of fully_shard), or take a rule without such functions"
        )


def numbers_of(
    base: RuleGraph, states: States, group: dict[str, Any], active: Sequence[Tensor]
) -> GroupNumbers:
    """Return the inputs of a step that are one number a group, and make missing states."""
    scalars = _scalars(base, states, group)
    for parameter in active:
        state, dtype = states[parameter], wide_dtype(parameter.dtype)
        for name, shape in state_shapes(base, parameter, group).items():
            if name not in state:
                state[name] = scalars[name] if shape is None else _zeros(parameter, shape)
            elif shape is not None and state[name].dtype is not dtype:  # the parameter was cast
                state[name] = state[name].to(dtype)
    peak, names = group["peak_lr"], base.lifted.program.states
    constants = {name: as_float(group[name]) for name in base.lifted.values if name != "lr"}
    return GroupNumbers(
        as_float(group["schedule"]) * (as_float(group["lr"]) / peak),
        {"lr": peak, **constants},
        {number: scalars[names[number]] for number in base.shared},
        _clock(base, group),
    )


def _clock(graph: RuleGraph, group: dict[str, Any]) -> dict[str, float]:
    """Count a step of a group, where the rule reads the number or the share of the steps."""
    if not reads_clock(graph):
        return {}
    group["step"] = step = group["step"] + 1
    total = group["total_steps"]
    return {"get_step": step, "get_progress": min(1.0, step / total) if total else 1.0}


def _zeros(parameter: Tensor, shape: Shape) -> Tensor:
    dtype = wide_dtype(parameter.dtype)
    if shape == tuple(parameter.shape) and shape:
        return torch.zeros_like(parameter.detach(), dtype=dtype)
    return torch.zeros(shape, dtype=dtype, device=parameter.device)


def _scalars(base: RuleGraph, states: States, group: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the scalar states of a group; all its parameters hold the same tensors."""
    known = next((states[p] for p in group["params"] if states.get(p)), {})
    names = [base.lifted.program.states[number] for number in base.shared]
    zero = torch.zeros((), dtype=torch.float64, device="cpu")
    return {name: known[name] if name in known else zero.clone() for name in names}


def share_scalars(base: RuleGraph, states: States, groups: Sequence[Mapping[str, Any]]) -> None:
    """Make the parameters of each group share their scalar states again, after loading."""
    for group in groups:
        for name, value in _scalars(base, states, group).items():
            shared = value.detach().to("cpu", torch.float64, copy=True)
            for parameter in group["params"]:
                if states.get(parameter):
                    states[parameter][name] = shared
