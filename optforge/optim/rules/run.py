"""One step of a program over many parameters: stage by stage, tensor by tensor or list by list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor

from optforge.language import Kind
from optforge.optim.rules.fused import run_fused
from optforge.optim.rules.graph import RuleGraph
from optforge.optim.rules.primitives import apply_each, apply_foreach, total
from optforge.optim.rules.values import GroupNumbers, StepBatch, add_up, compute_numbers
from optforge.optim.steps.layout import is_distributed
from optforge.optim.steps.packs import LISTS


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
    graph: RuleGraph, batches: Sequence[StepBatch], numbers: Mapping[int, GroupNumbers]
) -> None:
    """Compute one step: change the weights, and the states.

    Args:
        graph: The rule.
        batches: All parameters that have a gradient.
        numbers: Of each group that occurs in the batches.
    """
    for stage in range(graph.stages):
        compute_numbers(graph, stage, numbers)
        for batch in batches:
            own = numbers[batch.group]
            if batch.way in ("packed", "fused"):
                run_fused(stage, batch, own)
            else:
                _run(batch.graph, stage, batch, own)
        for node in graph.sums(stage):
            add_up(node, [batch.values.pop(node.index) for batch in batches], numbers)
    for own in numbers.values():
        own.keep_states(graph)


def _run(graph: RuleGraph, stage: int, batch: StepBatch, numbers: GroupNumbers) -> None:
    if stage == 0:
        _begin(graph, batch)
    apply = apply_foreach if batch.way == "foreach" else apply_each
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


def _begin(graph: RuleGraph, batch: StepBatch) -> None:
    """Bring weights and gradients to the dtype of the computation, without touching them."""
    gradients = [g.to(batch.dtype) for g in batch.gradients]
    if batch.maximize:
        gradients = list(LISTS._foreach_neg(gradients))
    for node in graph.inputs:
        if node.op == "weight":
            batch.values[node.index] = [w.to(batch.dtype) for w in batch.weights]
        else:
            own = node.op == "state"
            batch.values[node.index] = batch.states(node.arguments[0]) if own else gradients


def whole_sum(tensors: Sequence[Tensor]) -> Tensor:
    """Add up all elements of a list; of distributed tensors those of all ranks."""
    sums = [total(x) for x in tensors]
    return torch.stack([x.full_tensor() if is_distributed(x) else x for x in sums]).sum()


def _finish(graph: RuleGraph, batch: StepBatch) -> None:
    """Write the next states and the update; inputs that are returned are copied first."""
    results: list[tuple[int, list[Tensor]]] = []
    for number, node in enumerate(graph.states):
        if node.kind == Kind.SCALAR or (node.op == "state" and node.arguments[0] == number):
            continue
        values = batch.values[node.index]
        is_input = node.op in ("weight", "gradient", "state")
        results.append((number, [v.clone() for v in values] if is_input else values))
    update = batch.values[graph.update.index]
    if batch.way == "foreach":
        for number, values in results:
            LISTS._foreach_copy_(batch.states(number), values)
        LISTS._foreach_sub_(batch.weights, update)
    else:  # also distributed tensors, which lack some of the list operations
        for number, values in results:
            for state, value in zip(batch.states(number), values, strict=True):
                state.copy_(value)
        for weight, change in zip(batch.weights, update, strict=True):
            weight.sub_(change)
    batch.values.clear()
