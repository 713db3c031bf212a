"""The interpreter of programs, over rows of flat parameters.

A row is one model; a program runs on all given rows at once. Work that does not depend on the data
(chains of ``lr`` and constants) is done once for all steps. Small rows on the CPU use NumPy arrays,
whose calls cost half of torch's; both engines read the same table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy
import torch
from torch import Tensor

from optforge.errors import ProgramError
from optforge.language.computations import computation
from optforge.language.function import Apply, Function, Kind, mixes
from optforge.language.functions import FUNCTIONS
from optforge.language.instruction import Instruction, Product, Steps
from optforge.language.layout import Layout
from optforge.language.program import Program, Statement

Value = Any  # an array of the engine, or the Python float of a constant


class Interpreter:
    """A program that is ready to run on rows of one layout.

    Every statement of the program is computed, so remove dead statements first if speed matters.

    Args:
        program: A valid program.
        kinds: Kinds of its states, in order.
        layout: Layout of the arrays in a row.
        dtype: Type of weights, gradients and states.
        arrays: Whether rows are NumPy arrays instead of tensors.

    Raises:
        ProgramError: If a function does not accept the kinds of its arguments.

    Example:
        >>> from optforge.language import load_rule
        >>> rule = Interpreter(load_rule("signum"), (Kind.TREE,), Layout((2,)))
        >>> weights, gradients = torch.zeros(1, 2), torch.tensor([[0.5, -2.0]])
        >>> states = rule.initial_states(1)
        >>> update, states = rule.step(weights, gradients, states, rule.scalars(1.0))
        >>> update
        tensor([[ 0.0010, -0.0010]])
    """

    def __init__(
        self,
        program: Program,
        kinds: Sequence[int],
        layout: Layout,
        dtype: torch.dtype = torch.float32,
        arrays: bool = False,
    ) -> None:
        self.program, self.kinds, self.layout, self.dtype = program, tuple(kinds), layout, dtype
        self.arrays = arrays
        self._slots: list[Value] = []
        self._static: list[Instruction] = []
        self._dynamic: list[Instruction] = []
        self._clocks: dict[str, int] = {}
        self._compile()

    @property
    def has_products(self) -> bool:
        """Whether it computes with matrices, which :meth:`steps` leaves to its caller."""
        return any(instruction.product for instruction in self._dynamic)

    @property
    def instructions(self) -> Sequence[Instruction]:
        """All computations of a step, in order, except those that only the schedule decides.

        Values are numbered: weight, gradient, states, ``lr``, then the computed ones.
        """
        return self._dynamic

    @property
    def outputs(self) -> tuple[int, ...]:
        """Numbers of the values returned: the update, then the next state of each."""
        return tuple(self._outputs)

    @property
    def scheduled(self) -> tuple[int, ...]:
        """Numbers of the values in each row of :meth:`schedule`."""
        return tuple(self._static_slots)

    def kind(self, value: int) -> int:
        """Return the kind of a value, given its number."""
        return self._kind[value]

    def constant(self, value: int) -> float | None:
        """Return a constant, given its number; None for a value that is not constant."""
        return self._slots[value]

    def initial_states(self, rows: int) -> list[Any]:
        """Return zeros: ``[rows, 1]``, ``[rows, arrays]`` or ``[rows, elements]`` per state."""
        widths = [self.layout.width(kind) for kind in self.kinds]
        zeros = [
            torch.zeros(rows, width, dtype=self.dtype, device=self.layout.device)
            for width in widths
        ]
        return [z.numpy() for z in zeros] if self.arrays else zeros

    def scalars(self, lr: float, step: int = 0, total: int = 1) -> list[float]:
        """Compute all values that depend only on the schedule, for one step.

        Args:
            lr: Value of the schedule.
            step: Number of the step, from 0.
            total: Number of steps of the whole run.
        """
        return self.schedule([lr], step, total)[0]

    def schedule(
        self, lrs: Sequence[float], first: int = 0, total: int | None = None
    ) -> list[list[float]]:
        """Compute all values that depend only on the schedule, for all steps at once.

        Args:
            lrs: Value of the schedule in each step.
            first: Number of the first of these steps, from 0.
            total: Number of steps of the whole run; by default it ends with these steps.
        """
        slots = list(self._slots)
        steps = len(lrs)
        slots[self._lr] = self._column(torch.tensor(lrs, dtype=self.dtype))  # rows are steps
        done = torch.arange(first + 1, first + steps + 1, dtype=torch.float64)
        shares = {"get_step": done, "get_progress": done / (total or first + steps)}
        for name, slot in self._clocks.items():
            slots[slot] = self._column(shares[name].to(self.dtype))
        for apply, target, arguments, *_ in self._static:
            values = [slots[a] for a in arguments]
            if values and all(isinstance(value, float) for value in values):
                values = [self._column(torch.full((steps,), v, dtype=self.dtype)) for v in values]
            slots[target] = apply(*values)
        columns = [slots[i] for i in self._static_slots]
        rows = [c.flatten().tolist() if not isinstance(c, float) else [c] * steps for c in columns]
        return [list(row) for row in zip(*rows, strict=True)] if rows else [[]] * steps

    def _column(self, values: Tensor) -> Any:
        column = values.unsqueeze(1)
        return column.numpy() if self.arrays else column

    def step(
        self, weights: Any, gradients: Any, states: Sequence[Any], scalars: list[float]
    ) -> tuple[Any, list[Any]]:
        """Compute one update; no argument is changed.

        Args:
            weights: ``[rows, elements]``.
            gradients: ``[rows, elements]``.
            states: States from :meth:`initial_states` or the last step.
            scalars: This step's row of :meth:`schedule`.

        Returns:
            The update ``[rows, elements]``, to be subtracted from the weights, and next states.
        """
        slots = self._filled(weights, gradients, states, scalars)
        for apply, target, arguments, *_ in self._dynamic:
            slots[target] = apply(*[slots[a] for a in arguments])
        return self._results(slots, weights.shape[0])

    def steps(
        self, weights: Any, gradients: Any, states: Sequence[Any], scalars: list[float]
    ) -> Steps:
        """Compute one update as :meth:`step` does, but yield computations on matrices.

        Yields:
            A product with its arguments, whose value must be sent back. So the products of many
            programs can be computed in one call.
        """
        slots = self._filled(weights, gradients, states, scalars)
        for apply, target, arguments, product, _ in self._dynamic:
            values = [slots[a] for a in arguments]
            slots[target] = apply(*values) if product is None else (yield product, values)
        return self._results(slots, weights.shape[0])

    def _filled(
        self, weights: Any, gradients: Any, states: Sequence[Any], scalars: list[float]
    ) -> list[Value]:
        slots = self._slots.copy()
        slots[0], slots[1] = weights, gradients
        slots[2 : 2 + len(states)] = states
        for index, scalar in zip(self._static_slots, scalars, strict=True):
            slots[index] = scalar
        return slots

    def _results(self, slots: list[Value], rows: int) -> tuple[Any, list[Any]]:
        update, *rest = [slots[i] for i in self._outputs]
        for number, width in enumerate(self._widths):
            if isinstance(rest[number], float) or rest[number].shape != (rows, width):
                rest[number] = self._as_state(rest[number], (rows, width))
        return update, rest

    def _as_state(self, value: Value, shape: tuple[int, int]) -> Any:
        if self.arrays:
            return numpy.broadcast_to(value, shape).astype(self._array_type)
        tensor = torch.as_tensor(value, dtype=self.dtype, device=self.layout.device)
        return tensor.expand(shape)

    def _compile(self) -> None:
        program = self.program
        self._widths = [self.layout.width(kind) for kind in self.kinds]
        if self.arrays:  # NumPy has no bfloat16
            self._array_type = torch.zeros(0, dtype=self.dtype).numpy().dtype
        self._kind: list[int] = [Kind.TREE, Kind.TREE, *self.kinds, Kind.SCALAR]
        self._slots = [None] * len(program.parameters)
        self._lr = len(program.parameters) - 1
        self._is_static = [False] * self._lr + [True]
        slot_of = {name: i for i, name in enumerate(program.parameters)}
        for statement in program.statements:
            slot_of[statement.target] = self._instruction(statement, slot_of)
        outputs = [slot_of[name] for name in program.outputs]
        if self._kind[outputs[0]] != Kind.TREE:
            raise ProgramError("the update must be a tree, like the weights")
        self._outputs = [outputs[0]] + [
            self._spread(slot, kind) if kind >= Kind.TREE else slot
            for slot, kind in zip(outputs[1:], self.kinds, strict=True)
        ]
        read = {a for row in self._dynamic for a in row.arguments} | set(self._outputs)
        self._static_slots = [
            slot
            for slot, static in enumerate(self._is_static)
            if static and slot in read and self._slots[slot] is None
        ]

    def _instruction(self, statement: Statement, slot_of: dict[str, int]) -> int:
        arguments = [
            slot_of[a] if isinstance(a, str) else self._constant(a) for a in statement.arguments
        ]
        function = FUNCTIONS[statement.function]
        if function.form == "clock":
            return self._clock(statement.function)
        kinds = tuple(self._kind[a] for a in arguments)
        if not function.allows(kinds):
            raise ProgramError(_refusal(statement, function, kinds))
        kind = function.result(kinds)
        if max(kinds, default=0) >= Kind.TREE:
            arguments = [self._spread(a, max(kinds)) for a in arguments]
        apply = computation(self.layout, function, kinds, self.dtype, self.arrays)
        product = None
        if function.form in ("matrix", "product") and max(kinds) >= Kind.TREE:
            product = Product((function.name, *map(str, kinds)), apply)
        static = all(self._is_static[a] for a in arguments) and kind == Kind.SCALAR
        return self._emit(apply, kind, tuple(arguments), static, product, function)

    def _clock(self, name: str) -> int:
        """Return the slot of a value that depends on the number of the step."""
        if name not in self._clocks:
            self._slots.append(None)
            self._kind.append(Kind.SCALAR)
            self._is_static.append(True)
            self._clocks[name] = len(self._slots) - 1
        return self._clocks[name]

    def _spread(self, slot: int, kind: int) -> int:
        if self._kind[slot] != Kind.ARRAY:
            return slot
        return self._emit(self.layout.spread_to(kind, self.arrays), kind, (slot,), False)

    def _constant(self, value: float) -> int:
        if abs(value) > torch.finfo(self.dtype).max:  # torch would raise an overflow error
            value = math.copysign(math.inf, value)
        self._slots.append(value)
        self._kind.append(Kind.SCALAR)
        self._is_static.append(True)
        return len(self._slots) - 1

    def _emit(
        self,
        apply: Apply,
        kind: int,
        arguments: tuple[int, ...],
        static: bool,
        product: Product | None = None,
        function: Function | None = None,
    ) -> int:
        target = len(self._slots)
        self._slots.append(None)
        self._kind.append(kind)
        self._is_static.append(static)
        row = Instruction(apply, target, arguments, product, function)
        (self._static if static else self._dynamic).append(row)
        return target


def _refusal(statement: Statement, function: Function, kinds: tuple[int, ...]) -> str:
    if function.form in ("product", "transpose") or not mixes(kinds):
        shapes = ", ".join(Kind(kind).name.lower().replace("_", " ") for kind in kinds)
        return f"'{statement.text}': shapes that do not fit together ({shapes})"
    return f"'{statement.text}': the last argument must be a scalar"
