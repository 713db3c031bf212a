"""Scratch places of a lowered rule: values read only in their own run leave memory."""

from __future__ import annotations

from optforge.language import Kind
from optforge.training.device_program import ElementwiseRun, Operand, Operation, Place, Wide


def with_scratch(
    stages: list[ElementwiseRun | Wide], lasting: set[int]
) -> tuple[list[ElementwiseRun | Wide], int]:
    """Move values that only their own run reads to scratch."""
    scratch, result = 2, []  # weight and gradient
    for stage in stages:
        if isinstance(stage, ElementwiseRun):
            stage, needed = _run_with_scratch(stage, lasting)
            scratch = max(scratch, needed)
        result.append(stage)
    return result, scratch


def lasting_slots(stages: list[ElementwiseRun | Wide], states: int) -> set[int]:
    """Return the slots that outlive their run: states, and those used by other stages."""
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


def _accesses(stage: ElementwiseRun | Wide) -> list[tuple[Operand | None, tuple[Operand, ...]]]:
    if isinstance(stage, Wide):
        return [(stage.target, stage.arguments)]
    return [(operation.target, operation.arguments) for operation in stage.operations]


def _run_with_scratch(run: ElementwiseRun, lasting: set[int]) -> tuple[ElementwiseRun, int]:
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
    return ElementwiseRun(run.kind, operations), needed


def _source(operand: Operand, place_of: dict[int, int]) -> Operand:
    if operand.place == Place.SLOT and operand.number in place_of:
        return Operand(Place.SCRATCH, place_of[operand.number], operand.kind)
    return operand


def renumbered(
    stage: ElementwiseRun | Wide, new_number: dict[int, int], constants: int
) -> ElementwiseRun | Wide:
    """Renumber the remaining slots, and the scheduled values after the constants."""

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
    return ElementwiseRun(stage.kind, operations)
