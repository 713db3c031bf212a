"""Lowering of a rule to stages: runs of elementwise operations between whole-array ones."""

from __future__ import annotations

from optforge.language import Interpreter, Kind
from optforge.language.functions import EPSILON, OF_NUMBER
from optforge.language.instruction import Instruction
from optforge.training.device_program import (
    GRADIENT,
    WEIGHT,
    ElementwiseRun,
    Lowered,
    Operand,
    Operation,
    Place,
    Wide,
)
from optforge.training.scratch import lasting_slots, renumbered, with_scratch

_REDUCING = ("per_array", "lines", "matrix")  # of a single number they leave it, or its magnitude


def lowered(rule: Interpreter) -> Lowered:
    """Return a rule as a sequence of stages.

    Args:
        rule: A rule compiled for tensors.

    Example:
        >>> from optforge.analysis import state_kinds
        >>> from optforge.language import Layout, load_rule
        >>> lion = load_rule("lion")
        >>> stages = lowered(Interpreter(lion, state_kinds(lion), Layout((2,)))).stages
        >>> [type(stage).__name__ for stage in stages]
        ['ElementwiseRun']
    """
    return _Lowering(rule).result()


class _Lowering:
    """Lowers a rule; values start as symbols, and those read only in their run move to scratch."""

    def __init__(self, rule: Interpreter) -> None:
        self.rule = rule
        self.stages: list[ElementwiseRun | Wide] = []
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
        lasting = lasting_slots(self.stages, len(self.rule.kinds))
        new_number = {old: new for new, old in enumerate(sorted(lasting))}
        stages, scratch = with_scratch(self.stages, lasting)
        return Lowered(
            tuple(renumbered(stage, new_number, len(self.constants)) for stage in stages),
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
        of_number = function.form in _REDUCING and max(kinds) < Kind.TREE
        if elementwise or of_number:
            walked = max(Kind.TREE, kind)
            name = OF_NUMBER.get(function.name, "move") if of_number else function.name
            self.value[target] = self._elementwise(name, instruction, walked, kind)
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
        if not isinstance(last, ElementwiseRun) or last.kind != walked:
            last = ElementwiseRun(int(walked))
            self.stages.append(last)
        last.operations.append(operation)

    def _in_memory(self, number: int, kind: int) -> Operand:
        """Return an argument of a wide computation in memory, expanded to its kind."""
        operand = self._operand(number)
        if operand.place == Place.STATIC and kind == Kind.SCALAR:
            return operand
        if operand.place == Place.SLOT and operand.kind == kind:
            return operand
        return self._emit_new(max(Kind.TREE, kind), kind, "move", operand)

    def _finish(self) -> None:
        """Update the weights and write next states; nothing that is read later is overwritten."""
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
