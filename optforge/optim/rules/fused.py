"""The compiled path: one kernel for each stage of a rule, for tensors of any size.

What needs the rows and columns of an array has a kernel for each shape: its products are chosen by
the shape, and no run can then meet a shape that was not tried before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from optforge.language import Kind
from optforge.optim.compiler import has_compiler
from optforge.optim.precision.rounding import wide_dtype
from optforge.optim.rules.arrays import state_shape
from optforge.optim.rules.graph import RuleGraph
from optforge.optim.rules.nodes import RuleNode
from optforge.optim.rules.primitives import PRIMITIVES, VECTOR_FLOAT32, fitting, total
from optforge.optim.rules.values import GroupNumbers, Part, StepBatch
from optforge.optim.steps.packs import gather, scatter

Kernel = Callable[..., tuple[Tensor, ...]]


def fuses(group: Mapping[str, Any]) -> bool:
    """Return whether the parameters of a group are to run compiled, and can on this machine."""
    return bool(group["fused"]) and has_compiler()


def run_fused(stage: int, batch: StepBatch, numbers: GroupNumbers) -> None:
    """Run one stage of a batch by its compiled kernel; it changes weights and states in place."""
    if stage == 0:
        batch.values[LEAVES] = [_packed(batch)] if batch.way == "packed" else batch.parts
    parts: list[Part] = batch.values[LEAVES]
    graph = batch.graph
    kernels, wanted = _kernels(graph, stage, batch, parts)
    given = [fitting(numbers.number(node), batch.dtype) for node in wanted]
    scalars = torch.tensor(given, dtype=batch.dtype, device=parts[0].weight.device)
    results = [
        kernel(x.weight, x.gradient, *x.states.values(), scalars)
        for kernel, x in zip(kernels, parts, strict=True)
    ]
    for number, node in enumerate(graph.sums(stage)):
        batch.values[node.index] = torch.stack([sums[number] for sums in results]).sum()
    if stage == graph.stages - 1:
        if batch.way == "packed":
            _unpack(batch, parts[0])
        batch.values.clear()


def _kernels(
    graph: RuleGraph, stage: int, batch: StepBatch, parts: list[Part]
) -> tuple[list[Kernel], tuple[RuleNode, ...]]:
    """Return a kernel for each part, and the nodes whose numbers all of them read."""
    shapes = [tuple(x.weight.shape) if graph.by_shape else None for x in parts]
    form = graph, stage, batch.dtype, batch.maximize
    made = {shape: compiled_kernel(*form, shape) for shape in dict.fromkeys(shapes)}
    return [made[shape][0] for shape in shapes], made[shapes[0]][1]


LEAVES = -1  # where a batch keeps what its kernels run on, from stage to stage


def _packed(batch: StepBatch) -> Part:
    """Copy small parts into one."""
    states = {number: gather(batch.states(number)) for number in batch.parts[0].states}
    return Part(gather(batch.weights), gather(batch.gradients), states)


def _unpack(batch: StepBatch, packed: Part) -> None:
    """Copy what a kernel has changed back to where it is kept."""
    scatter(packed.weight, batch.weights)
    for number, flat in packed.states.items():
        scatter(flat, batch.states(number))


@lru_cache(256)
def try_kernels(
    graph: RuleGraph,
    maximize: bool,
    weight: torch.dtype,
    gradient: torch.dtype,
    device: torch.device,
    shape: tuple[int, ...] | None = None,
) -> None:
    """Compile all stages of a rule by a run on made-up parameters, before any real one is changed.

    Args:
        graph: The rule.
        maximize: Whether to climb.
        weight: Dtype of the weights.
        gradient: Dtype of the gradients.
        device: Where.
        shape: Of the parameter, for a kernel that needs it.
    """
    dtype = wide_dtype(weight)
    for stage in range(graph.stages):
        kernel, wanted = compiled_kernel(graph, stage, dtype, maximize, shape)
        trial = (TRIAL,) if shape is None else shape
        shapes = [state_shape(graph.kinds[n], trial, graph.of_matrices) for n in graph.stored]
        states = [torch.ones(one, dtype=dtype, device=device) for one in shapes]
        weights, gradients = (
            torch.ones(trial, dtype=one, device=device) for one in (weight, gradient)
        )
        scalars = torch.ones(len(wanted), dtype=dtype, device=device)
        kernel(weights, gradients, *states, scalars)


TRIAL = 70_001  # elements: the compiler uses all threads, and takes the number for no other


@lru_cache(1024)
def compiled_kernel(
    graph: RuleGraph,
    stage: int,
    dtype: torch.dtype,
    maximize: bool,
    shape: tuple[int, ...] | None = None,
) -> tuple[Kernel, tuple[RuleNode, ...]]:
    """Compile one stage of a rule; rates and other numbers are inputs, not parts of the kernel.

    Args:
        graph: The rule.
        stage: Which.
        dtype: Of states and of the computation.
        maximize: Whether to climb.
        shape: The only one that it is for; None: vectors of any length.

    Returns:
        The kernel, from weight, gradient, states and scalars to the sums of the stage; the last
        one writes weight and states. And the nodes whose numbers the scalars are, in order.
    """
    module, wanted = build_kernel(graph, stage, dtype, maximize)
    function: Any = type(module).forward  # bare: to call a module takes longer
    return partial(torch.compile(function, fullgraph=True, dynamic=shape is None), None), wanted


def build_kernel(
    graph: RuleGraph,
    stage: int,
    dtype: torch.dtype,
    maximize: bool,
    shape: tuple[int, ...] | None = None,
) -> tuple[torch.fx.GraphModule, tuple[RuleNode, ...]]:
    """As :func:`compiled_kernel`, not yet compiled."""
    return _KernelBuilder(graph, stage, dtype, maximize).build()


class _KernelBuilder:
    """Writes one stage as a graph of torch operations; earlier values are computed again."""

    def __init__(self, graph: RuleGraph, stage: int, dtype: torch.dtype, maximize: bool) -> None:
        self.graph, self.stage, self.dtype, self.maximize = graph, stage, dtype, maximize
        self.fx = torch.fx.Graph()
        self.weight, self.gradient = (self.fx.placeholder(n) for n in ("weight", "gradient"))
        self.states = {number: self.fx.placeholder(f"state_{number}") for number in graph.stored}
        self.scalars = self.fx.placeholder("scalars")
        self.wanted: list[RuleNode] = []
        self.values: dict[int, torch.fx.Node] = {}

    def build(self) -> tuple[torch.fx.GraphModule, tuple[RuleNode, ...]]:
        if self.stage == self.graph.stages - 1:
            self._write_results()
            self.fx.output(())
        else:
            sums = [self._value(node.parents[0]) for node in self.graph.sums(self.stage)]
            self.fx.output(tuple(self._call(total, x) for x in sums))
        return torch.fx.GraphModule({}, self.fx), tuple(self.wanted)

    def _write_results(self) -> None:
        """Compute everything before anything is written."""
        results = [(self.weight, self._call(torch.sub, *self._weight_and_update()))]
        for number, state in self.states.items():
            node = self.graph.states[number]
            if not (node.op == "state" and node.arguments[0] == number):
                results.append((state, self._kept(node)))
        for target, value in results:
            self.fx.call_method("copy_", (target, value))

    def _kept(self, node: RuleNode) -> torch.fx.Node:
        """Return a value that no write changes.

        The compiler drops a clone of an input and reads the input after it was written; the
        larger of a value and itself, bit by bit the same, it computes.
        """
        value = self._value(node)
        is_input = node.op in ("weight", "gradient", "state")
        return self._call(torch.maximum, value, value) if is_input else value

    def _weight_and_update(self) -> tuple[Any, Any]:
        return self._narrowed(self.weight), self._value(self.graph.update)

    def _call(self, function: Callable[..., Any], *arguments: Any) -> torch.fx.Node:
        return self.fx.call_function(function, arguments)

    def _narrowed(self, value: torch.fx.Node) -> torch.fx.Node:
        return self.fx.call_method("to", (value, self.dtype))

    def _value(self, node: Any) -> Any:
        if not isinstance(node, RuleNode):
            return fitting(node, self.dtype)
        if node.index not in self.values:
            self.values[node.index] = self._new(node)
        return self.values[node.index]

    def _new(self, node: RuleNode) -> torch.fx.Node:
        if node.kind == Kind.SCALAR:
            self.wanted.append(node)
            return self._call(torch.select, self.scalars, 0, len(self.wanted) - 1)
        if node.op == "weight":
            return self._narrowed(self.weight)
        if node.op == "gradient":
            gradient = self._narrowed(self.gradient)
            return self._call(torch.neg, gradient) if self.maximize else gradient
        if node.op == "state":
            return self.states[node.arguments[0]]
        primitive = PRIMITIVES[node.op]
        if self.dtype == torch.float32:
            primitive = VECTOR_FLOAT32.get(node.op, primitive)
        return self._call(primitive, *(self._value(a) for a in node.arguments))
