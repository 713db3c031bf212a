"""From the parameter groups of an optimizer to what one step of a rule works on, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from optforge.errors import OptimizerError
from optforge.optim.compiler import compiles
from optforge.optim.precision.rounding import wide_dtype
from optforge.optim.rules.arrays import state_shape
from optforge.optim.rules.fused import fuses, try_kernels
from optforge.optim.rules.graph import RuleGraph
from optforge.optim.rules.roles import graph_for, role_of
from optforge.optim.rules.settings import reads_clock
from optforge.optim.rules.values import GroupNumbers, Part, StepBatch, Way
from optforge.optim.settings import as_float
from optforge.optim.steps.layout import is_distributed, local
from optforge.optim.steps.packs import WITHOUT_LIMIT, batched

States = Mapping[Tensor, dict[str, Tensor]]  # what an optimizer keeps
CHUNK = 2**16  # elements computed at once on the CPU, so that what is in between stays in the cache
SMALL = 2**15  # elements up to which tensors are copied into one for a compiled step
PACK = 2**18  # elements of such a copy


def check_step(
    base: RuleGraph, states: States, group: Mapping[str, Any], active: list[Tensor]
) -> None:
    """Refuse what a step cannot use, before anything is changed.

    Raises:
        OptimizerError: For gradients, states and shards that are refused.
    """
    for parameter in active:
        graph = graph_for(base, role_of(parameter, group["matrices"]))
        names = graph.lifted.program.states
        state = states.get(parameter) or {}
        assert parameter.grad is not None
        stored = {n: state[names[n]] for n in graph.stored if names[n] in state}
        Part(parameter, parameter.grad, stored).check_fits(graph)
        if graph.by_shape:
            check_whole(parameter)


def numbers_of(
    graph: RuleGraph, states: States, group: dict[str, Any], active: list[Tensor]
) -> GroupNumbers:
    """Return the inputs of a step that are one number a group, and make missing states."""
    program = graph.lifted.program
    scalars = _scalar_states(graph, states, group)
    for parameter in active:
        state = states[parameter]
        for name, shape in state_shapes(graph, parameter, group).items():
            if name not in state:
                state[name] = scalars[name] if shape is None else _zeros(parameter, shape)
            elif shape is not None and state[name].dtype is not wide_dtype(parameter.dtype):
                state[name] = state[name].to(wide_dtype(parameter.dtype))  # the parameter was cast
    peak = group["peak_lr"]
    values = graph.lifted.values
    constants = {name: as_float(group[name]) for name in values if name != "lr"}
    return GroupNumbers(
        as_float(group["schedule"]) * (as_float(group["lr"]) / peak),
        {"lr": peak, **constants},
        {number: scalars[program.states[number]] for number in graph.shared},
        _clock(graph, group),
    )


def _clock(graph: RuleGraph, group: dict[str, Any]) -> dict[str, float]:
    """Count a step of a group, where the rule reads the number or the share of the steps."""
    if not reads_clock(graph):
        return {}
    group["step"] = step = group["step"] + 1
    total = group["total_steps"]
    return {"get_step": step, "get_progress": min(1.0, step / total) if total else 1.0}


def state_shapes(
    graph: RuleGraph, parameter: Tensor, group: Mapping[str, Any]
) -> dict[str, tuple[int, ...] | None]:
    """Return the shape of each state of a parameter by name; None for what its group shares."""
    own = graph_for(graph, role_of(parameter, group["matrices"]))
    names = graph.lifted.program.states
    kept = sorted((*own.shared, *own.stored))
    shapes = {n: state_shape(own.kinds[n], parameter.shape, own.of_matrices) for n in own.stored}
    return {names[number]: shapes.get(number) for number in kept}


def _zeros(parameter: Tensor, shape: tuple[int, ...]) -> Tensor:
    dtype = wide_dtype(parameter.dtype)
    if shape == tuple(parameter.shape) and shape:
        return torch.zeros_like(parameter.detach(), dtype=dtype)
    return torch.zeros(shape, dtype=dtype, device=parameter.device)


def _scalar_names(graph: RuleGraph) -> list[str]:
    return [graph.lifted.program.states[number] for number in graph.shared]


def _scalar_states(graph: RuleGraph, states: States, group: Mapping[str, Any]) -> dict[str, Tensor]:
    """Scalar states of a group; all its parameters hold the same tensors."""
    names = _scalar_names(graph)
    known = next((states[p] for p in group["params"] if states.get(p)), {})
    return {
        name: known.get(name, torch.zeros((), dtype=torch.float64, device="cpu")) for name in names
    }


def share_scalars(graph: RuleGraph, states: States, groups: Sequence[Mapping[str, Any]]) -> None:
    """Let the parameters of a group hold the same scalar states again, after loading."""
    names = _scalar_names(graph)
    for group in groups:
        members = [states[p] for p in group["params"] if states.get(p)]
        for name in names if members else ():
            shared = members[0][name].detach().to("cpu", torch.float64, copy=True)
            for state in members:
                state[name] = shared


def batches_of(
    base: RuleGraph, states: States, group: Mapping[str, Any], number: int, active: list[Tensor]
) -> list[StepBatch]:
    """Divide the parameters of a group that have gradients into batches."""
    maximize = group["maximize"]
    fused, foreach = fuses(group), group["foreach"] is not False
    sorts: dict[tuple[Any, ...], list[Part]] = {}
    for parameter in active:
        graph = graph_for(base, role_of(parameter, group["matrices"]))
        part = _part(parameter, graph, states[parameter])
        way, parts = _way(part, fused and _is_compiled(part, graph, maximize), foreach, graph)
        weight = part.weight
        key = (way, graph, weight.dtype, part.gradient.dtype, weight.device)
        sorts.setdefault(key, []).extend(parts)
    return [
        StepBatch(number, wide_dtype(dtype), chunk, graph, maximize, _filled(way, chunk))
        for (way, graph, dtype, *_), parts in sorts.items()
        for chunk in _chunks(parts, way)
    ]


def _part(parameter: Tensor, graph: RuleGraph, state: Mapping[str, Tensor]) -> Part:
    """Gather what belongs to a parameter."""
    gradient = parameter.grad
    assert gradient is not None
    names = graph.lifted.program.states
    part = Part(parameter, gradient, {number: state[names[number]] for number in graph.stored})
    if graph.by_shape and is_distributed(parameter):
        return _whole(part)
    return part


def check_whole(parameter: Any) -> None:
    """Refuse a sharded parameter: a shard has other rows, columns and singular values.

    Raises:
        OptimizerError: Says what to do.
    """
    if is_distributed(parameter) and not all(p.is_replicate() for p in parameter.placements):
        raise OptimizerError(
            f"a parameter of shape {tuple(parameter.shape)} is sharded ({parameter.placements}), "
            "but this rule looks at whole rows, columns or matrices; keep the parameter replicated "
            "(DDP, or leave it out of fully_shard), or take a rule without such functions"
        )


def _whole(part: Part) -> Part:
    """View a replicated parameter as the tensor that this rank has of it."""
    gradient: Any = part.gradient
    whole = gradient.full_tensor() if is_distributed(gradient) else gradient
    return Part(local(part.weight.detach()), whole, {n: local(s) for n, s in part.states.items()})


def _is_compiled(part: Part, graph: RuleGraph, maximize: bool) -> bool:
    """Return whether the kernels that take one parameter, or a pack, compile on this machine."""
    weight = part.weight
    if is_distributed(weight):
        return False
    form = graph, maximize, weight.dtype, part.gradient.dtype, weight.device
    if not graph.by_shape:
        return compiles(try_kernels, *form)
    if weight.numel() < 2 or not weight.is_contiguous():
        return False
    return compiles(try_kernels, *form, tuple(weight.shape))


def _way(part: Part, fused: bool, foreach: bool, graph: RuleGraph) -> tuple[Way, list[Part]]:
    """Choose how a parameter is computed, and cut it if it is large and need not be whole."""
    if is_distributed(part.weight):
        return "loop", [part]
    if graph.by_shape and fused:
        return "fused", [part.contiguous()]
    if graph.by_shape:
        return ("foreach" if foreach else "loop"), [part]
    by_array = graph.by_array
    count, small = part.weight.numel(), SMALL if fused else CHUNK
    if count <= small and not (fused and by_array):
        return ("packed" if fused else "foreach" if foreach else "loop"), [part]
    flat = part.flat() if count > 1 else None
    if fused and flat:
        return "fused", [flat]
    way: Way = "foreach" if foreach else "loop"
    return way, [part] if by_array or not flat or not part.weight.is_cpu else flat.cut(CHUNK)


def _filled(way: Way, parts: list[Part]) -> Way:
    """A kernel for any size is not one for no or one element."""
    few = way == "packed" and sum(part.weight.numel() for part in parts) < 2
    return "foreach" if few else way


def _chunks(parts: list[Part], way: Way) -> Iterable[list[Part]]:
    """Cut a list so that what is in between fits the cache of a CPU; other devices do not care."""
    if way == "loop":
        return ([part] for part in parts)
    limit = PACK if way == "packed" else CHUNK
    size = limit if way != "fused" and parts[0].weight.is_cpu else WITHOUT_LIMIT
    return batched(parts, lambda part: part.weight.numel(), size)
