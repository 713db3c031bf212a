"""What a step of a program works on: buckets of parameters, and what is one number a group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from optforge.language import Kind
from optforge.optim.program_graph import Graph, Node
from optforge.optim.program_primitives import PRIMITIVES, fitting


@dataclass
class Bucket:
    """Parameters that are computed together: of one group and one dtype.

    Args:
        group: Number of the group.
        dtype: In which updates and states are computed.
        weights: Changed in place by the step.
        gradients: Never changed.
        states: For each state of the rule that is no scalar its tensors, by its number.
        maximize: Whether to climb.
        foreach: Whether to compute list by list.
        fused: Whether to run a compiled step.
    """

    group: int
    dtype: torch.dtype
    weights: list[Tensor]
    gradients: list[Tensor]
    states: dict[int, list[Tensor]]
    maximize: bool = False
    foreach: bool = False
    fused: bool = False
    values: dict[int, Any] = field(default_factory=dict)

    def operand(self, argument: Any, numbers: Numbers) -> Any:
        """Give the value of an argument: a list of tensors, or what is one number as a float."""
        if isinstance(argument, Node) and argument.kind != Kind.SCALAR:
            return self.values[argument.index]
        value = numbers.number(argument) if isinstance(argument, Node) else argument
        return fitting(value, self.dtype)


@dataclass
class Numbers:
    """What is one number a group: inputs of the rule, and all that follows from them.

    They are 0-d float64 tensors on the CPU, whatever the parameters are: a count of steps or
    0.999 ** count must not lose digits because the weights are narrow.

    Args:
        schedule: The value fed to the rule as ``lr``.
        hyperparameters: By name.
        states: Scalar states, by number.
    """

    schedule: float
    hyperparameters: Mapping[str, float]
    states: dict[int, Tensor]
    values: dict[int, Tensor] = field(default_factory=dict)
    floats: dict[int, float] = field(default_factory=dict)

    def number(self, node: Node) -> float:
        """Give a value that is known by now as a float."""
        if node.index not in self.floats:
            self.floats[node.index] = self.values[node.index].item()
        return self.floats[node.index]

    def compute(self, node: Node) -> None:
        """Compute one value from those before it."""
        if node.op == "state":
            self.values[node.index] = self.states[node.arguments[0]]
        elif node.op in ("schedule", "hyperparameter", "constant"):
            self.values[node.index] = torch.tensor(self._given(node), dtype=torch.float64)
        else:
            known = [self.values[a.index] if isinstance(a, Node) else a for a in node.arguments]
            self.values[node.index] = PRIMITIVES[node.op](*known)

    def _given(self, node: Node) -> float:
        if node.op == "schedule":
            return self.schedule
        (argument,) = node.arguments
        return self.hyperparameters[argument] if node.op == "hyperparameter" else argument

    def keep_states(self, graph: Graph) -> None:
        """Write the next scalar states over the old ones."""
        following = {
            number: self.values[node.index].clone()
            for number, node in enumerate(graph.states)
            if node.kind == Kind.SCALAR
        }
        for number, value in following.items():
            self.states[number].copy_(value)


def compute_numbers(graph: Graph, stage: int, numbers: Mapping[int, Numbers]) -> None:
    """Compute what is one number a group and must be known before a stage."""
    for own in numbers.values():
        for node in graph.scalars(stage):
            own.compute(node)


def add_up(total: Node, parts: Sequence[Tensor], numbers: Mapping[int, Numbers]) -> None:
    """Give all groups the sum over the whole tree, which goes over all groups."""
    value = torch.stack([part.cpu().double() for part in parts]).sum()
    for own in numbers.values():
        own.values[total.index] = value
