"""A rule as stages for a device: runs of elementwise operations between what sees whole arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import NamedTuple

from optforge.language import Interpreter, Kind
from optforge.language.functions import EPSILON
from optforge.language.interpreter import Apply, Instruction

# What functions that look at arrays or matrices do to a single number per row or array.
_OF_NUMBERS: Mapping[str, str] = MappingProxyType(
    {
        "norm": "abs",
        "mean": "move",
        "rms": "abs",
        "row_mean": "move",
        "row_norm": "abs",
        "row_rms": "abs",
        "column_mean": "move",
        "column_norm": "abs",
        "column_rms": "abs",
        "orthogonalize": "sign",
    }
)


class Place(IntEnum):
    """Where a value lives while the stages of a rule run."""

    SCRATCH = 0  # of one tile, until the end of its run; 0 is the weight, 1 the gradient
    SLOT = 1  # in memory, for every row of the candidate: states, and what outlives a run
    STATIC = 2  # one number for all rows: a constant, or what the schedule decides


class Operand(NamedTuple):
    """A value, by where it lives, its number there and its kind."""

    place: Place
    number: int
    kind: int


class Operation(NamedTuple):
    """One elementwise operation of a run."""

    name: str
    target: Operand | None  # None: subtract it from the weight
    arguments: tuple[Operand, ...]


@dataclass
class Run:
    """Elementwise operations over all elements of a kind that has a shape.

    Args:
        kind: Whose elements they walk over.
        operations: In order.
    """

    kind: int
    operations: list[Operation] = field(default_factory=list)


@dataclass(frozen=True)
class Wide:
    """A computation that sees whole arrays, or all of them.

    Args:
        key: Equal for the same computation on values of the same kinds.
        apply: On ``[rows, width]`` of each argument.
        arguments: Slots and static values.
        target: A slot.
    """

    key: tuple[str, ...]
    apply: Apply
    arguments: tuple[Operand, ...]
    target: Operand


WEIGHT, GRADIENT = (Operand(Place.SCRATCH, number, int(Kind.TREE)) for number in (0, 1))


@dataclass(frozen=True)
class Lowered:
    """A rule as stages.

    Args:
        stages: In order; the last ones write the next states and the weights.
        slots: Kind of each slot; the first are the states.
        shadows: For states with one number per row or array, the slot of the next value, which
            replaces the present one when all elements have been walked over.
        constants: The first static values; the scheduled ones follow.
        scratch: How many scratch values a tile needs.
    """

    stages: tuple[Run | Wide, ...]
    slots: tuple[int, ...]
    shadows: Mapping[int, int]
    constants: tuple[float, ...]
    scratch: int


def lowered(rule: Interpreter) -> Lowered:
    """Return a rule as stages.

    Args:
        rule: Compiled for tensors.

    Example:
        >>> from optforge.analysis import state_kinds
        >>> from optforge.language import Layout, load_rule
        >>> lion = load_rule("lion")
        >>> stages = lowered(Interpreter(lion, state_kinds(lion), Layout((2,)))).stages
        >>> [type(stage).__name__ for stage in stages]
        ['Run']
    """
    return _Lowering(rule).result()


class _Lowering:
    """Values start as symbols; those that only their own run reads move to scratch at the end."""

    def __init__(self, rule: Interpreter) -> None:
        self.rule = rule
        self.stages: list[Run | Wide] = []
        self.slots = [int(kind) for kind in rule.kinds]
        self.constants: list[float] = []
        self.value: dict[int, Operand] = {0: WEIGHT, 1: GRADIENT}
        for number, kind in enumerate(rule.kinds):
            self.value[2 + number] = Operand(Place.SLOT, number, int(kind))
        self.scheduled = {value: number for number, value in enumerate(rule.scheduled)}
        self.shadows: dict[int, int] = {}

    def result(self) -> Lowered:
        for instruction in self.rule.instructions:
            self._add(instruction)
        self._finish()
        lasting = _lasting(self.stages, len(self.rule.kinds))
        new_number = {old: new for new, old in enumerate(sorted(lasting))}
        stages, scratch = _with_scratch(self.stages, lasting)
        return Lowered(
            tuple(_renumbered(stage, new_number, len(self.constants)) for stage in stages),
            tuple(self.slots[old] for old in sorted(lasting)),
            {state: new_number[shadow] for state, shadow in self.shadows.items()},
            tuple(self.constants),
            scratch,
        )

    def _add(self, instruction: Instruction) -> None:
        function, target = instruction.function, instruction.target
        if function is None:  # an operand of a smaller kind broadcasts by itself
            self.value[target] = self._operand(instruction.arguments[0])
            return
        kinds = tuple(self.rule.kind(a) for a in instruction.arguments)
        kind = self.rule.kind(target)
        elementwise = function.form in ("elementwise", "by_role") or function.name == "interp"
        if elementwise or (max(kinds) < Kind.TREE and function.name in _OF_NUMBERS):
            walked = max(Kind.TREE, kind)
            self.value[target] = self._elementwise(
                _OF_NUMBERS.get(function.name, function.name), instruction, walked, kind
            )
            return
        arguments = tuple(
            self._in_memory(a, k) for a, k in zip(instruction.arguments, kinds, strict=True)
        )
        self.value[target] = self._new_slot(kind)
        key = (function.name, *map(str, kinds))
        self.stages.append(Wide(key, instruction.apply, arguments, self.value[target]))

    def _elementwise(self, name: str, instruction: Instruction, walked: int, kind: int) -> Operand:
        arguments = instruction.arguments
        operands = [self._operand(a) for a in arguments]
        if name == "interp":  # the share that the first argument keeps is an argument too
            share = self.rule.constant(arguments[2])
            rest = (
                self._emit_new(walked, Kind.SCALAR, "subtract", self._constant(1.0), operands[2])
                if share is None
                else self._constant(1 - share)
            )
            operands.append(rest)
        divisor = self.rule.constant(arguments[1]) if name == "divide" else None
        if divisor is not None:
            name, operands[1] = "quotient", self._constant(divisor + EPSILON)
        return self._emit_new(walked, kind, name, *operands)

    def _operand(self, number: int) -> Operand:
        if number in self.value:
            return self.value[number]
        if number in self.scheduled:
            return Operand(Place.STATIC, ~self.scheduled[number], int(Kind.SCALAR))
        constant = self.rule.constant(number)
        assert constant is not None, "a value is read before it is computed"
        self.value[number] = self._constant(constant)
        return self.value[number]

    def _constant(self, value: float) -> Operand:
        self.constants.append(value)
        return Operand(Place.STATIC, len(self.constants) - 1, int(Kind.SCALAR))

    def _new_slot(self, kind: int) -> Operand:
        self.slots.append(int(kind))
        return Operand(Place.SLOT, len(self.slots) - 1, int(kind))

    def _emit_new(self, walked: int, kind: int, name: str, *arguments: Operand) -> Operand:
        target = self._new_slot(kind)
        self._emit(walked, Operation(name, target, arguments))
        return target

    def _emit(self, walked: int, operation: Operation) -> None:
        last = self.stages[-1] if self.stages else None
        if not isinstance(last, Run) or last.kind != walked:
            last = Run(int(walked))
            self.stages.append(last)
        last.operations.append(operation)

    def _in_memory(self, number: int, kind: int) -> Operand:
        """Return an argument of a wide computation: of its kind, in memory."""
        operand = self._operand(number)
        if operand.place == Place.STATIC and kind == Kind.SCALAR:
            return operand
        if operand.place == Place.SLOT and operand.kind == kind:
            return operand
        return self._emit_new(max(Kind.TREE, kind), kind, "move", operand)

    def _finish(self) -> None:
        """Update the weights and write next states; nothing that is still read is overwritten."""
        writes = []
        for number, output in enumerate(self.rule.outputs[1:]):
            target = Operand(Place.SLOT, number, self.slots[number])
            source = self._operand(output)
            if source == target:
                continue  # the state stays as it is
            walked = max(Kind.TREE, target.kind)
            if source.place == Place.SLOT and source.number < len(self.rule.kinds):
                source = self._emit_new(walked, target.kind, "move", source)
            if target.kind < Kind.TREE:
                target = self._new_slot(target.kind)
                self.shadows[number] = target.number
            writes.append((walked, Operation("move", target, (source,))))
        update = self._operand(self.rule.outputs[0])
        self._emit(Kind.TREE, Operation("subtract", None, (WEIGHT, update)))
        # Those that may read the old weight come first, while their run still holds it.
        for walked, operation in sorted(writes, key=lambda write: write[0]):
            self._emit(walked, operation)


def _with_scratch(stages: list[Run | Wide], lasting: set[int]) -> tuple[list[Run | Wide], int]:
    """Keep in scratch what is read in its own run alone."""
    scratch, result = 2, []  # weight and gradient
    for stage in stages:
        if isinstance(stage, Run):
            stage, needed = _run_with_scratch(stage, lasting)
            scratch = max(scratch, needed)
        result.append(stage)
    return result, scratch


def _lasting(stages: list[Run | Wide], states: int) -> set[int]:
    """Find the slots that outlive their run: states, and what another stage reads or writes."""
    written: dict[int, int] = {}
    lasting = set(range(states))
    for place, stage in enumerate(stages):
        for target, arguments in _accesses(stage):
            for operand in arguments:
                if operand.place == Place.SLOT and written.get(operand.number) != place:
                    lasting.add(operand.number)
            if target is not None:
                written[target.number] = place
                if isinstance(stage, Wide):
                    lasting.add(target.number)
    read = {
        operand.number
        for stage in stages
        for _, arguments in _accesses(stage)
        for operand in arguments
        if operand.place == Place.SLOT
    }
    return lasting | {number for number in written if number not in read}  # shadows


def _accesses(stage: Run | Wide) -> list[tuple[Operand | None, tuple[Operand, ...]]]:
    if isinstance(stage, Wide):
        return [(stage.target, stage.arguments)]
    return [(operation.target, operation.arguments) for operation in stage.operations]


def _run_with_scratch(run: Run, lasting: set[int]) -> tuple[Run, int]:
    """Assign scratch places to the values of one run; a place is reused after its last read."""
    last_use: dict[int, int] = {}
    for number, operation in enumerate(run.operations):
        for operand in operation.arguments:
            if operand.place == Place.SLOT:
                last_use[operand.number] = number
    free: list[int] = []
    place_of: dict[int, int] = {}
    needed = 2  # weight and gradient
    operations: list[Operation] = []
    for number, (name, target, arguments) in enumerate(run.operations):
        sources = tuple(_source(a, place_of) for a in arguments)
        for operand in {a for a in arguments if a.place == Place.SLOT}:
            if last_use[operand.number] == number and operand.number in place_of:
                free.append(place_of[operand.number])
        small = target is not None and target.kind < Kind.TREE
        if target is None or (target.number in lasting and not small):
            operations.append(Operation(name, target, sources))
            continue
        # A small value is read from scratch in its run: other tiles may not have written it yet.
        scratch = free.pop() if free else needed
        needed = max(needed, scratch + 1)
        place_of[target.number] = scratch
        inside = Operand(Place.SCRATCH, scratch, int(run.kind))
        operations.append(Operation(name, inside, sources))
        if target.number in lasting:
            operations.append(Operation("move", target, (inside,)))
        if target.number not in last_use:
            free.append(scratch)
    return Run(run.kind, operations), needed


def _source(operand: Operand, place_of: dict[int, int]) -> Operand:
    if operand.place == Place.SLOT and operand.number in place_of:
        return Operand(Place.SCRATCH, place_of[operand.number], operand.kind)
    return operand


def _renumbered(stage: Run | Wide, new_number: dict[int, int], constants: int) -> Run | Wide:
    """Number the slots that are left, and the scheduled values behind the constants."""

    def new(operand: Operand) -> Operand:
        if operand.place == Place.SLOT:
            return operand._replace(number=new_number[operand.number])
        if operand.place == Place.STATIC and operand.number < 0:
            return operand._replace(number=constants + ~operand.number)
        return operand

    if isinstance(stage, Wide):
        arguments = tuple(new(a) for a in stage.arguments)
        return Wide(stage.key, stage.apply, arguments, new(stage.target))
    operations = [
        Operation(name, target and new(target), tuple(new(a) for a in arguments))
        for name, target, arguments in stage.operations
    ]
    return Run(stage.kind, operations)
