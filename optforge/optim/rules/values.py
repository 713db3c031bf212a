"""What a step of a program works on: batches of parameters, and what is one number a group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from optforge.language import Kind
from optforge.optim.checks import check_fits
from optforge.optim.rules.arrays import state_shape
from optforge.optim.rules.graph import RuleGraph
from optforge.optim.rules.nodes import RuleNode
from optforge.optim.rules.primitives import PRIMITIVES, fitting

Way = Literal["loop", "foreach", "packed", "fused"]


@dataclass
class Part:
    """A parameter, or a piece of one, in a step.

    Args:
        weight: Changed in place.
        gradient: Never changed.
        states: Those that are no scalars, by number; changed in place.
    """

    weight: Tensor
    gradient: Tensor
    states: dict[int, Tensor]

    def check_fits(self, graph: RuleGraph) -> None:
        """Refuse what has another shape or device than the weight: it would be read wrongly.

        Args:
            graph: What the rule computes for this array.

        Raises:
            OptimizerError: Says what was resized or moved, and what to do.
        """
        names, shape = graph.lifted.program.states, self.weight.shape
        rows = {
            names[n]: (state, state_shape(graph.kinds[n], shape, graph.of_matrices))
            for n, state in self.states.items()
        }
        check_fits(self.weight, self.gradient, rows)

    def flat(self) -> Part | None:
        """View all as vectors in the order of the weight's memory; None if it has gaps."""
        weight = self.weight.detach()
        order = sorted(range(weight.dim()), key=lambda i: (-weight.stride(i), i))
        if not weight.permute(order).is_contiguous():
            return None
        for state in self.states.values():
            if state.dim() and state.stride() != weight.stride():  # loaded from another layout
                state.data = torch.empty_like(weight, dtype=state.dtype).copy_(state)
        gradient = self.gradient.detach()
        if gradient.stride() != weight.stride():
            gradient = torch.empty_like(weight, dtype=gradient.dtype).copy_(gradient)
        states = {i: _flat(state) if state.dim() else state for i, state in self.states.items()}
        return Part(_flat(weight), _flat(gradient), states)

    def contiguous(self) -> Part:
        """View all in the order of their dimensions; the weight must be so already."""
        for state in self.states.values():
            if not state.is_contiguous():  # loaded from another layout
                state.data = state.contiguous()
        return Part(self.weight.detach(), self.gradient.detach().contiguous(), self.states)

    def cut(self, size: int) -> list[Part]:
        """Cut a flat part into pieces."""
        columns = [t.split(size) for t in (self.weight, self.gradient, *self.states.values())]
        return [
            Part(w, g, dict(zip(self.states, states, strict=True)))
            for w, g, *states in zip(*columns, strict=True)
        ]


def _flat(tensor: Tensor) -> Tensor:
    return tensor.as_strided((tensor.numel(),), (1,))


@dataclass
class StepBatch:
    """Leaves that are computed together: of one group, dtype and device.

    Args:
        group: Number of the group.
        dtype: In which updates and states are computed.
        parts: What is computed.
        graph: What the rule computes for arrays of their role.
        maximize: Whether to climb.
        way: One tensor after the other, by lists, compiled on copies in one, or compiled.
    """

    group: int
    dtype: torch.dtype
    parts: list[Part]
    graph: RuleGraph
    maximize: bool = False
    way: Way = "loop"
    values: dict[int, Any] = field(default_factory=dict)

    @property
    def weights(self) -> list[Tensor]:
        """All weights."""
        return [part.weight for part in self.parts]

    @property
    def gradients(self) -> list[Tensor]:
        """All gradients."""
        return [part.gradient for part in self.parts]

    def states(self, number: int) -> list[Tensor]:
        """One state of all parts."""
        return [part.states[number] for part in self.parts]

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
            self.floats[node.index] = self.values[node.index].item()
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
    for own in numbers.values():
        for node in graph.scalars(stage):
            own.compute(node)


def add_up(total: RuleNode, parts: Sequence[Tensor], numbers: Mapping[int, GroupNumbers]) -> None:
    """Return all groups the sum over the whole tree, which goes over all groups."""
    value = torch.stack([part.cpu().double() for part in parts]).sum()
    for own in numbers.values():
        own.values[total.index] = value
