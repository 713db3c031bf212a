"""From the parameter groups of an optimizer to what one step of a rule works on, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from optforge.errors import OptimizerError
from optforge.language import Kind
from optforge.optim.program_fused import can_fuse, fuses
from optforge.optim.program_graph import Graph
from optforge.optim.program_values import Bucket, Numbers

if TYPE_CHECKING:
    from optforge.optim.program import ProgramOptimizer

CHUNK = 2**18  # elements of a list on the CPU, so that what is in between stays in the cache


def check_parameter(parameter: Tensor) -> None:
    """Refuse what rules are not defined for.

    Raises:
        OptimizerError: For complex and integer parameters.
    """
    if parameter.is_complex() or not parameter.is_floating_point():
        raise OptimizerError(
            f"a parameter is of {parameter.dtype}; a rule runs on real floating-point parameters. "
            "Give complex weights as pairs of real ones (torch.view_as_real)"
        )


def check_gradient(gradient: Tensor) -> None:
    """Refuse sparse gradients.

    Raises:
        OptimizerError: Says what to do.
    """
    if gradient.layout != torch.strided:
        raise OptimizerError(
            f"a gradient has the layout {gradient.layout}; a rule needs dense ones: "
            "build the embedding with sparse=False"
        )


def dtype_of(parameter: Tensor) -> torch.dtype:
    """Give the dtype in which a parameter is computed and its states are kept."""
    return torch.float64 if parameter.dtype == torch.float64 else torch.float32


def numbers_of(
    optimizer: ProgramOptimizer, group: Mapping[str, Any], active: list[Tensor]
) -> Numbers:
    """Give the inputs of a step that are one number a group; missing states are made, as zeros."""
    program = optimizer.graph.lifted.program
    scalars = _scalar_states(optimizer, group)
    for parameter in active:
        state = optimizer.state[parameter]
        if len(state) < len(program.states):
            for name, kind in zip(program.states, optimizer.graph.kinds, strict=True):
                state[name] = scalars[name] if name in scalars else _zeros(parameter, kind)
    peak = group["peak_lr"]
    values = optimizer.graph.lifted.values
    constants = {name: float(group[name]) for name in values if name != "lr"}
    return Numbers(
        float(group["schedule"]) * (float(group["lr"]) / peak),
        {"lr": peak, **constants},
        {number: scalars[n] for number, n in enumerate(program.states) if n in scalars},
    )


def _zeros(parameter: Tensor, kind: int) -> Tensor:
    dtype = dtype_of(parameter)
    if kind == Kind.TREE:
        return torch.zeros_like(parameter.detach(), dtype=dtype)
    return torch.zeros((), dtype=dtype, device=parameter.device)


def _scalar_names(graph: Graph) -> list[str]:
    states = zip(graph.lifted.program.states, graph.kinds, strict=True)
    return [name for name, kind in states if kind == Kind.SCALAR]


def _scalar_states(optimizer: ProgramOptimizer, group: Mapping[str, Any]) -> dict[str, Tensor]:
    """Scalar states of a group; all its parameters hold the same tensors."""
    names = _scalar_names(optimizer.graph)
    known = next((optimizer.state[p] for p in group["params"] if optimizer.state.get(p)), {})
    return {name: known.get(name, torch.zeros((), dtype=torch.float64)) for name in names}


def share_scalars(optimizer: ProgramOptimizer) -> None:
    """Let the parameters of a group hold the same scalar states again, after loading."""
    names = _scalar_names(optimizer.graph)
    for group in optimizer.param_groups:
        states = [optimizer.state[p] for p in group["params"] if optimizer.state.get(p)]
        for name in names if states else ():
            shared = states[0][name].detach().to("cpu", torch.float64, copy=True)
            for state in states:
                state[name] = shared


def buckets_of(
    optimizer: ProgramOptimizer, number: int, active: list[Tensor]
) -> list[tuple[Bucket, list[Tensor]]]:
    """Divide parameters of a group that have gradients into buckets.

    Returns:
        Buckets, each with the parameters it is made of.
    """
    group = optimizer.param_groups[number]
    sorts: dict[tuple[Any, ...], list[Tensor]] = {}
    for parameter in active:
        assert parameter.grad is not None
        check_gradient(parameter.grad)
        fused = fuses(group) and can_fuse(parameter)
        foreach = group["foreach"] is not False and not isinstance(parameter, DTensor)
        key = (fused, foreach, parameter.dtype, parameter.grad.dtype, parameter.device)
        sorts.setdefault(key, []).append(parameter)
    return [
        (_bucket(optimizer, number, chunk, fused, foreach), chunk)
        for (fused, foreach, *_), parameters in sorts.items()
        for chunk in ([parameters] if fused else _chunks(parameters, foreach))
    ]


def _bucket(
    optimizer: ProgramOptimizer, number: int, parameters: list[Tensor], fused: bool, foreach: bool
) -> Bucket:
    graph = optimizer.graph
    names = enumerate(zip(graph.lifted.program.states, graph.kinds, strict=True))
    return Bucket(
        number,
        dtype_of(parameters[0]),
        [p.detach() for p in parameters],
        [p.grad.detach() for p in parameters if p.grad is not None],
        {i: [optimizer.state[p][n] for p in parameters] for i, (n, k) in names if k},
        optimizer.param_groups[number]["maximize"],
        foreach,
        fused,
    )


def _chunks(parameters: list[Tensor], foreach: bool) -> Iterator[list[Tensor]]:
    """Cut a list so that what is in between fits the cache of a CPU; other devices do not care."""
    chunk: list[Tensor] = []
    elements = 0
    for parameter in parameters:
        limit = CHUNK if parameter.device.type == "cpu" else float("inf")
        if chunk and (not foreach or elements + parameter.numel() > limit):
            yield chunk
            chunk, elements = [], 0
        chunk.append(parameter)
        elements += parameter.numel()
    yield chunk
