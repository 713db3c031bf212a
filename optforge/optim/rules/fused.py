"""The compiled path: one kernel for each stage of a rule, for tensors of any size.

What needs the rows and columns of an array has a kernel for each shape: its products are chosen by
the shape, and no run can then meet a shape that was not tried before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from optforge.language import Kind
from optforge.optim.compiler import Kernel, has_compiler, kernels_of
from optforge.optim.precision.rounding import wide_dtype
from optforge.optim.rules.arrays import state_shape
from optforge.optim.rules.graph import RuleGraph
from optforge.optim.rules.nodes import RuleNode
from optforge.optim.rules.primitives import PRIMITIVES, VECTOR_FLOAT32, fitting, total
from optforge.optim.rules.values import GroupNumbers, RuleBatch
from optforge.optim.steps.piece import Piece

TRIAL = 70_001  # elements: the compiler uses all threads, and takes the number for no other


def fuses(group: Mapping[str, Any]) -> bool:
    """Return whether the parameters of a group are to run compiled, and can on this machine."""
    return bool(group["fused"]) and has_compiler()


class RuleKernel(NamedTuple):
    """What the compiled kernels of a rule, one for each stage, are specialised on.

    Args:
        graph: What the rule computes.
        maximize: Whether to climb.
        weight: Dtype of the weights.
        gradient: Dtype of the gradients.
        device: Where.
        shape: The only one that they are for; None: vectors of any length.
    """

    graph: RuleGraph
    maximize: bool
    weight: torch.dtype
    gradient: torch.dtype
    device: torch.device
    shape: tuple[int, ...] | None = None

    @staticmethod
    def of(piece: Piece, graph: RuleGraph, maximize: bool) -> RuleKernel:
        """Return what the kernels for a piece are specialised on."""
        shape = tuple(piece.weight.shape) if graph.by_shape else None
        gradient = piece.gradient
        return RuleKernel(
            graph, maximize, piece.weight.dtype, gradient.dtype, gradient.device, shape
        )

    @property
    def is_dynamic(self) -> bool:
        """Return whether the kernels are for any length."""
        return self.shape is None

    def sources(self) -> Iterator[tuple[Kernel, Sequence[Any]]]:
        """Yield the function of each stage, with made-up parameters of ones."""
        graph, dtype = self.graph, wide_dtype(self.weight)
        trial = (TRIAL,) if self.shape is None else self.shape
        shapes = [state_shape(graph.kinds[n], trial, graph.of_matrices) for n in graph.stored]

        def ones(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
            return torch.ones(shape, dtype=dtype, device=self.device)

        for stage in range(graph.stages):
            module, wanted = build_kernel(graph, stage, dtype, self.maximize)
            states = [ones(shape, dtype) for shape in shapes]
            tensors = [ones(trial, self.weight), ones(trial, self.gradient), *states]
            # The bare function, called with None for the module: to call a module takes longer.
            yield type(module).forward, (None, *tensors, ones((len(wanted),), dtype))


def run_kernels(stage: int, batch: RuleBatch, numbers: GroupNumbers) -> None:
    """Run one stage of a batch by its compiled kernels; they change weights and states in place."""
    graph, pieces = batch.graph, batch.batch.pieces
    _, wanted = build_kernel(graph, stage, batch.dtype, batch.maximize)
    scalar_values = [fitting(numbers.number(node), batch.dtype) for node in wanted]
    scalars = torch.tensor(scalar_values, dtype=batch.dtype, device=pieces[0].gradient.device)
    results = []
    for piece in pieces:
        kernels: Any = kernels_of(RuleKernel.of(piece, graph, batch.maximize))
        tensors = piece.weight, piece.gradient, *piece.values[1:]
        results.append(kernels[stage](None, *tensors, scalars))
    for number, node in enumerate(graph.sums(stage)):
        batch.values[node.index] = torch.stack([sums[number] for sums in results]).sum()


@lru_cache(1024)
def build_kernel(
    graph: RuleGraph, stage: int, dtype: torch.dtype, maximize: bool
) -> tuple[torch.fx.GraphModule, tuple[RuleNode, ...]]:
    """Build one stage of a rule; rates and other numbers are inputs, not parts of the kernel.

    Args:
        graph: The rule.
        stage: Which.
        dtype: Of states and of the computation.
        maximize: Whether to climb.

    Returns:
        The kernel, from weight, gradient, states and scalars to the sums of the stage; the last
        one writes weight and states. And the nodes whose numbers the scalars are, in order.
    """
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
        weight, update = self._narrowed(self.weight), self._value(self.graph.update)
        results = [(self.weight, self._call(torch.sub, weight, update))]
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
