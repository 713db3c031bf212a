"""What a step of a program works on: batches of parameters, and what is one number a group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from optforge.language import Kind
from optforge.optim.rules.graph import RuleGraph
from optforge.optim.rules.nodes import RuleNode
from optforge.optim.rules.primitives import PRIMITIVES, fitting
from optforge.optim.steps.batches import Batch
from optforge.optim.steps.layout import has_shape_only


@dataclass
class RuleBatch:
    """A batch of one group, in a step of a rule.

    Args:
        group: Number of the group.
        graph: What the rule computes for arrays of their role.
        dtype: In which updates and states are computed.
        maximize: Whether to climb.
        in_lists: Whether operations take all pieces at once.
        batch: What is stepped.
        values: Of the nodes that are known by now, by number: one tensor for each piece.
    """

    group: int
    graph: RuleGraph
    dtype: torch.dtype
    maximize: bool
    in_lists: bool
    batch: Batch
    values: dict[int, Any] = field(default_factory=dict)

    @property
    def weights(self) -> list[Tensor]:
        """Return the weights of all pieces."""
        return [piece.weight for piece in self.batch.pieces]

    def states(self, number: int) -> list[Any]:
        """Return one state of all pieces."""
        place = 1 + self.graph.stored.index(number)
        return [piece.values[place] for piece in self.batch.pieces]

    def operand(self, argument: Any, numbers: GroupNumbers) -> Any:
        """Return the value of an argument: a list of tensors, or what is one number as a float."""
        if isinstance(argument, RuleNode) and argument.kind != Kind.SCALAR:
            return self.values[argument.index]
        value = numbers.number(argument) if isinstance(argument, RuleNode) else argument
        return fitting(value, self.dtype)


@dataclass
class GroupNumbers:
    """What is one number a group: inputs of the rule, and all that follows from them.

    They are 0-d float64 tensors on the CPU, whatever the parameters are: a count of steps or
    0.999 ** count must not lose digits because the weights are narrow.

    Args:
        schedule: The value fed to the rule as ``lr``.
        hyperparameters: By name.
        states: Scalar states, by number.
        clock: What ``get_step`` and ``get_progress`` are, where the rule reads them.
    """

    schedule: float
    hyperparameters: Mapping[str, float]
    states: dict[int, Tensor]
    clock: Mapping[str, float] = field(default_factory=dict)
    values: dict[int, Tensor] = field(default_factory=dict)
    floats: dict[int, float] = field(default_factory=dict)

    def number(self, node: RuleNode) -> float:
        """Return a value that is known by now as a float."""
        if node.index not in self.floats:
            value = self.values[node.index]  # in a dry run any number will do
            self.floats[node.index] = 1.0 if has_shape_only(value) else value.item()
        return self.floats[node.index]

    def compute(self, node: RuleNode) -> None:
        """Compute one value from those before it."""
        if node.op == "state":
            self.values[node.index] = self.states[node.arguments[0]]
        elif node.op in ("schedule", "hyperparameter", "constant") or node.op in self.clock:
            self.values[node.index] = torch.tensor(
                self._given(node), dtype=torch.float64, device="cpu"
            )
        else:
            known = [self.values[a.index] if isinstance(a, RuleNode) else a for a in node.arguments]
            self.values[node.index] = PRIMITIVES[node.op](*known)

    def _given(self, node: RuleNode) -> float:
        if node.op == "schedule":
            return self.schedule
        if node.op in self.clock:
            return self.clock[node.op]
        (argument,) = node.arguments
        return self.hyperparameters[argument] if node.op == "hyperparameter" else argument

    def keep_states(self, graph: RuleGraph) -> None:
        """Write the next scalar states over the old ones."""
        following = {
            number: self.values[node.index].clone()
            for number, node in enumerate(graph.states)
            if node.kind == Kind.SCALAR
        }
        for number, value in following.items():
            self.states[number].copy_(value)


def compute_numbers(graph: RuleGraph, stage: int, numbers: Mapping[int, GroupNumbers]) -> None:
    """Compute what is one number a group and must be known before a stage."""
    for group_numbers in numbers.values():
        for node in graph.scalars(stage):
            group_numbers.compute(node)


def add_up(total: RuleNode, parts: Sequence[Tensor], numbers: Mapping[int, GroupNumbers]) -> None:
    """Return all groups the sum over the whole tree, which goes over all groups."""
    one = torch.ones((), dtype=torch.float64, device="cpu")
    parts = [one if part.is_meta else part for part in parts]
    value = torch.stack([part.cpu().double() for part in parts]).sum()
    for group_numbers in numbers.values():
        group_numbers.values[total.index] = value
