"""From the parameters of a group to the batches that one step of a rule works on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from optforge.optim.compiler import kernels_of
from optforge.optim.precision.rounding import wide_dtype
from optforge.optim.rules.fused import RuleKernel, fuses
from optforge.optim.rules.graph import RuleGraph
from optforge.optim.rules.states import States, graph_of_parameter
from optforge.optim.rules.values import RuleBatch
from optforge.optim.steps.batches import WITHOUT_LIMIT, BatchSizes, batches_of
from optforge.optim.steps.layout import is_distributed, local
from optforge.optim.steps.piece import Piece, by_kind, flatten

CHUNK = 2**16  # elements computed at once on the CPU, so that what is in between stays in the cache
SMALL = 2**15  # elements up to which tensors are copied into one for a compiled step
COPIED = 2**13  # and for lists, where calls for single tensors cost more than two copies


def pieces_of(
    base: RuleGraph, states: States, group: Mapping[str, Any], active: Sequence[Tensor]
) -> dict[RuleGraph, list[Piece]]:
    """Return the parameters of a group as pieces, by what the rule computes for them."""
    fused, pieces = fuses(group), {}
    for parameter in active:
        graph = graph_of_parameter(base, parameter, group)
        piece = _piece(graph, parameter, states[parameter], fused)
        pieces.setdefault(graph, []).append(piece)
    return pieces


def _piece(graph: RuleGraph, parameter: Tensor, state: Mapping[str, Tensor], fused: bool) -> Piece:
    """Return a parameter as it is where it is small or its shape matters; else flat."""
    names = graph.lifted.program.states
    values = [parameter.detach(), *(state[names[number]] for number in graph.stored)]
    gradient: Any = parameter.grad
    if is_distributed(parameter):
        if graph.by_shape:  # replicated, so that this rank has all of it
            gradient = gradient.full_tensor() if is_distributed(gradient) else gradient
            return Piece([local(value) for value in values], gradient)
        return Piece(values, gradient)
    if graph.by_shape:
        has_kernel = fused and parameter.is_contiguous()
        return (
            flatten(values, gradient, keeps_shape=True) if has_kernel else Piece(values, gradient)
        )
    is_large = parameter.numel() > (1 if fused and graph.by_array else SMALL if fused else CHUNK)
    if is_large and (fused or (parameter.is_cpu and not graph.by_array)):
        return flatten(values, gradient.detach())
    return Piece(values, gradient.detach())


def rule_batches(
    pieces: Mapping[RuleGraph, Sequence[Piece]], group: Mapping[str, Any], number: int
) -> Iterator[RuleBatch]:
    """Divide the pieces of a group into batches.

    Args:
        pieces: From `pieces_of`.
        group: The group.
        number: Of the group.
    """
    maximize, fused = group["maximize"], fuses(group)
    for graph, members in pieces.items():
        for alike in by_kind(members):
            is_spread = is_distributed(alike[0].weight)  # which lacks some of the list operations
            in_lists = group["foreach"] is not False and not is_spread
            dtype = wide_dtype(alike[0].weight.dtype)
            has_kernel = partial(_has_kernel, graph, maximize) if fused else lambda _: False
            for batch in batches_of(alike, _sizes(alike[0], graph, in_lists), has_kernel):
                yield RuleBatch(number, graph, dtype, maximize, in_lists, batch)


def _has_kernel(graph: RuleGraph, maximize: bool, piece: Piece) -> bool:
    """Return whether the kernels that take a piece, or a pack, compile on this machine."""
    if is_distributed(piece.weight):
        return False
    if (graph.by_array and piece.count < 2) or not piece.weight.is_contiguous():
        return False
    return kernels_of(RuleKernel.of(piece, graph, maximize)) is not None


def _sizes(piece: Piece, graph: RuleGraph, in_lists: bool) -> BatchSizes:
    """Return how to cut and to group, so that what is in between fits the cache of a CPU."""
    on_cpu = piece.gradient.device.type == "cpu"
    cuts = on_cpu and not graph.by_array and not is_distributed(piece.weight)
    return BatchSizes(
        packed=0 if graph.by_array else SMALL,
        cut=CHUNK if cuts else WITHOUT_LIMIT,
        listed=(CHUNK if on_cpu else WITHOUT_LIMIT) if in_lists else 0,
        # Sums over the tree add up tensor by tensor.
        copied=COPIED if cuts and graph.stages == 1 else 0,
    )
