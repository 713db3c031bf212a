"""One step of a program over many parameters: stage by stage, tensor by tensor or list by list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from optforge.language import Kind
from optforge.optim.program_fused import run_fused
from optforge.optim.program_graph import Graph
from optforge.optim.program_primitives import FOREACH, apply_each, apply_foreach, total
from optforge.optim.program_values import Bucket, Numbers, add_up, compute_numbers


def run_step(graph: Graph, buckets: Sequence[Bucket], numbers: Mapping[int, Numbers]) -> None:
    """Compute one step: change the weights, and the states.

    Args:
        graph: The rule.
        buckets: All parameters that have a gradient.
        numbers: Of each group that occurs in the buckets.
    """
    for stage in range(graph.stages):
        compute_numbers(graph, stage, numbers)
        for bucket in buckets:
            own = numbers[bucket.group]
            if bucket.way in ("packed", "fused"):
                run_fused(stage, bucket, own)
            else:
                _run(bucket.graph, stage, bucket, own)
        for node in graph.sums(stage):
            add_up(node, [bucket.values.pop(node.index) for bucket in buckets], numbers)
    for own in numbers.values():
        own.keep_states(graph)


def _run(graph: Graph, stage: int, bucket: Bucket, numbers: Numbers) -> None:
    if stage == 0:
        _begin(graph, bucket)
    apply = apply_foreach if bucket.way == "foreach" else apply_each
    for node in graph.tensors(stage):
        operands = [bucket.operand(a, numbers) for a in node.arguments]
        if node.op == "sum":
            bucket.values[node.index] = whole_sum(operands[0])
        else:
            bucket.values[node.index] = apply(node.op, operands)
        for index in graph.drops[node.index]:
            del bucket.values[index]
    if stage == graph.stages - 1:
        _finish(graph, bucket)


def _begin(graph: Graph, bucket: Bucket) -> None:
    """Bring weights and gradients to the dtype of the computation, without touching them."""
    gradients = [g.to(bucket.dtype) for g in bucket.gradients]
    if bucket.maximize:
        gradients = list(FOREACH._foreach_neg(gradients))
    for node in graph.inputs:
        if node.op == "weight":
            bucket.values[node.index] = [w.to(bucket.dtype) for w in bucket.weights]
        else:
            own = node.op == "state"
            bucket.values[node.index] = bucket.states(node.arguments[0]) if own else gradients


def whole_sum(tensors: Sequence[Tensor]) -> Tensor:
    """Add up all elements of a list; of distributed tensors those of all ranks."""
    sums = [total(x) for x in tensors]
    return torch.stack([x.full_tensor() if isinstance(x, DTensor) else x for x in sums]).sum()


def _finish(graph: Graph, bucket: Bucket) -> None:
    """Write the next states and the update; inputs that are returned are copied first."""
    results: list[tuple[int, list[Tensor]]] = []
    for number, node in enumerate(graph.states):
        if node.kind == Kind.SCALAR or (node.op == "state" and node.arguments[0] == number):
            continue
        values = bucket.values[node.index]
        is_input = node.op in ("weight", "gradient", "state")
        results.append((number, [v.clone() for v in values] if is_input else values))
    update = bucket.values[graph.update.index]
    if bucket.way == "foreach":
        for number, values in results:
            FOREACH._foreach_copy_(bucket.states(number), values)
        FOREACH._foreach_sub_(bucket.weights, update)
    else:  # also distributed tensors, which lack some of the list operations
        for number, values in results:
            for state, value in zip(bucket.states(number), values, strict=True):
                state.copy_(value)
        for weight, change in zip(bucket.weights, update, strict=True):
            weight.sub_(change)
    bucket.values.clear()
