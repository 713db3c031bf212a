"""One step of a program over many parameters: stage by stage, tensor by tensor or list by list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor

from optforge.language import Kind
from optforge.optim.rules.fused import run_kernels
from optforge.optim.rules.graph import RuleGraph
from optforge.optim.rules.primitives import apply_each, apply_foreach, total
from optforge.optim.rules.values import GroupNumbers, RuleBatch, add_up, compute_numbers
from optforge.optim.steps.layout import is_distributed
from optforge.optim.steps.piece import LISTS


@contextmanager
def without_autocast(parameters: Iterable[Tensor]) -> Iterator[None]:
    """Compute in the dtypes that a rule names: autocast would narrow products of matrices."""
    kinds = {parameter.device.type for parameter in parameters}
    with ExitStack() as stack:
        for kind in kinds:
            if kind != "meta" and torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def run_step(
    graph: RuleGraph, batches: Iterable[RuleBatch], numbers: Mapping[int, GroupNumbers]
) -> None:
    """Compute one step: change the weights, and the states.

    Args:
        graph: The rule.
        batches: All parameters that have a gradient.
        numbers: Of each group that occurs in the batches.
    """
    if graph.stages > 1:
        batches = list(batches)  # else one after the other is packed and freed again
    for stage in range(graph.stages):
        compute_numbers(graph, stage, numbers)
        sums: dict[int, list[Tensor]] = {node.index: [] for node in graph.sums(stage)}
        for batch in batches:
            run_batch = run_kernels if batch.batch.is_compiled else _run
            run_batch(stage, batch, numbers[batch.group])
            for index, parts in sums.items():
                parts.append(batch.values.pop(index))
            if stage == graph.stages - 1:
                batch.values.clear()
                batch.batch.finish()
        for node in graph.sums(stage):
            add_up(node, sums[node.index], numbers)
    for group_numbers in numbers.values():
        group_numbers.keep_states(graph)


def _run(stage: int, batch: RuleBatch, numbers: GroupNumbers) -> None:
    graph = batch.graph
    if stage == 0:
        _begin(graph, batch)
    apply = apply_foreach if batch.in_lists else apply_each
    for node in graph.tensors(stage):
        operands = [batch.operand(a, numbers) for a in node.arguments]
        if node.op == "sum":
            batch.values[node.index] = whole_sum(operands[0])
        else:
            batch.values[node.index] = apply(node.op, operands)
        for index in graph.drops[node.index]:
            del batch.values[index]
    if stage == graph.stages - 1:
        _finish(graph, batch)


def _begin(graph: RuleGraph, batch: RuleBatch) -> None:
    """Convert weights and gradients to the dtype of the computation; they are not changed."""
    gradients = [piece.gradient.to(batch.dtype) for piece in batch.batch.pieces]
    if batch.maximize:
        gradients = list(LISTS._foreach_neg(gradients))
    for node in graph.inputs:
        if node.op == "weight":
            batch.values[node.index] = [w.to(batch.dtype) for w in batch.weights]
        else:
            is_state = node.op == "state"
            batch.values[node.index] = batch.states(node.arguments[0]) if is_state else gradients


def whole_sum(tensors: Sequence[Tensor]) -> Tensor:
    """Add up all elements of a list; of distributed tensors those of all ranks."""
    sums = [total(x) for x in tensors]
    return torch.stack([x.full_tensor() if is_distributed(x) else x for x in sums]).sum()


def _finish(graph: RuleGraph, batch: RuleBatch) -> None:
    """Write the next states and the update; inputs that are returned are copied first."""
    results: list[tuple[int, list[Tensor]]] = []
    for number, node in enumerate(graph.states):
        if node.kind == Kind.SCALAR or (node.op == "state" and node.arguments[0] == number):
            continue
        values = batch.values[node.index]
        is_input = node.op in ("weight", "gradient", "state")
        results.append((number, [v.clone() for v in values] if is_input else values))
    update = batch.values[graph.update.index]
    if batch.in_lists:
        for number, values in results:
            LISTS._foreach_copy_(batch.states(number), values)
        LISTS._foreach_sub_(batch.weights, update)
    else:  # also distributed tensors, which lack some of the list operations
        for number, values in results:
            for state, value in zip(batch.states(number), values, strict=True):
                state.copy_(value)
        for weight, change in zip(batch.weights, update, strict=True):
            weight.sub_(change)
