"""The rules of many candidates on a GPU: a few launches per step, however many statements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor

from optforge.language import Interpreter, Kind, Layout
from optforge.training.device_program import (
    ElementwiseRun,
    Lowered,
    Operand,
    Operation,
    Place,
    Wide,
)
from optforge.training.lowering import lowered
from optforge.training.rule_kernel import (
    FIELDS,
    OPCODES,
    SCALAR,
    SCRATCH,
    TO_WEIGHT,
    TREE,
    interpret,
)

TILE, WARPS = 512, 4
_BLOCKS_EACH = 16  # blocks of threads a multiprocessor holds at once
_NOTHING = (0, 0, SCALAR)


class _Launch(NamedTuple):
    """Runs of the same kind, of all candidates that are ready for one."""

    kind: int
    entries: Tensor  # int64 [entries, 3]


class _Batch(NamedTuple):
    """Equal wide computations, done for all candidates in one call."""

    stage: Wide
    arguments: list[tuple[Place, int, Tensor]]  # place, kind, numbers of slots or static values
    targets: Tensor


class DeviceRules:
    """The rules and states of all candidates, in place of one :class:`Interpreter` each.

    The values of all candidates are in one float32 heap: scratch of the thread blocks, slots by
    their kind ``[slots, seeds, width]``, static values of the current step. Stages advance in
    parallel: one launch for the runs of all candidates that are at a run, one call for each kind of
    computation on whole arrays.

    Args:
        rules: The rules, of one layout without empty arrays, in float32, compiled for tensors.
        schedules: Values of each rule's schedule in each step.
        seeds: Number of rows of each candidate.
        tile: Number of elements that a block processes at once, a power of two.
    """

    def __init__(
        self,
        rules: Sequence[Interpreter],
        schedules: Sequence[Sequence[float]],
        seeds: int,
        tile: int = TILE,
    ) -> None:
        self.layout: Layout = rules[0].layout
        self.device = torch.device(self.layout.device)
        self.seeds, self.tile = seeds, tile
        self.programs = [lowered(rule) for rule in rules]
        self._lay_out()
        self.table = self._static_table(rules, schedules)
        size = self.static + self.table.shape[1]
        self.heap = torch.zeros(size, dtype=torch.float32, device=self.device)
        self.code, self.bounds = self._encoded()
        self.segments = {kind: self.layout.segments_of(kind).to(torch.int32) for kind in self.kinds}
        self.roles = torch.tensor(self.layout.roles, dtype=torch.int32, device=self.device)
        self.plan: list[_Launch | _Batch] = []

    def place(self, left: Sequence[int], weights: Tensor, gradient: Tensor) -> None:
        """Plan the steps of the remaining candidates; states stay where they are.

        Args:
            left: Numbers of the remaining candidates.
            weights: ``[rows, elements]``, contiguous, in this order; updated in place.
            gradient: Gradients in the same layout, filled before each step.
        """
        self.weights, self.gradient = weights, gradient
        position = {number: 0 for number in left}
        place_of = {number: place for place, number in enumerate(left)}
        plan: list[_Launch | _Batch] = []
        while position:
            runs: dict[int, list[tuple[int, int, int]]] = {}
            for number in list(position):
                stage = self.programs[number].stages[position[number]]
                if isinstance(stage, ElementwiseRun):
                    first, end = self.bounds[number][position[number]]
                    runs.setdefault(stage.kind, []).append((place_of[number], first, end))
                    self._advance(position, number)
            plan += [_Launch(kind, self._numbers(rows)) for kind, rows in runs.items()]
            wide: dict[tuple[str, ...], list[tuple[int, Wide]]] = {}
            for number in list(position):
                stage = self.programs[number].stages[position[number]]
                if isinstance(stage, Wide):
                    wide.setdefault(stage.key, []).append((number, stage))
                    self._advance(position, number)
            plan += [self._batch(members) for members in wide.values()]
        self.plan = plan
        self.copies = self._copies(left)

    def step(self, step: int) -> None:
        """Update weights and states in place; steps count from 0."""
        self.heap[self.static : self.static + self.table.shape[1]] = self.table[step]
        for part in self.plan:
            if isinstance(part, _Launch):
                self._launch(part)
            else:
                self._compute(part)
        for kind, targets, sources in self.copies:
            self._slots(kind)[targets] = self._slots(kind)[sources]

    def state(self, candidate: int, number: int) -> Tensor:
        """Return a state of a candidate: ``[seeds, width of its kind]``."""
        kind = self.programs[candidate].slots[number]
        return self._slots(kind)[self.slot_of[candidate][number]]

    def _lay_out(self) -> None:
        """Assign each value a place in the heap."""
        tile, blocks = self.tile, 2  # interpreted: enough to go wrong where a GPU would
        if self.device.type == "cuda":
            blocks = torch.cuda.get_device_properties(self.device).multi_processor_count
            blocks *= _BLOCKS_EACH
        self.blocks = blocks
        self.scratch = max(program.scratch for program in self.programs) * tile
        counts: dict[int, int] = {}
        self.slot_of: list[list[int]] = []  # for each candidate the number of each slot, by kind
        for program in self.programs:
            numbers = []
            for kind in program.slots:
                numbers.append(counts.get(kind, 0))
                counts[kind] = numbers[-1] + 1
            self.slot_of.append(numbers)
        walked = (s.kind for p in self.programs for s in p.stages if isinstance(s, ElementwiseRun))
        self.kinds = sorted({int(Kind.TREE), *walked})
        self.start: dict[int, int] = {}
        end = blocks * self.scratch
        for kind, count in counts.items():
            self.start[kind], end = end, end + count * self.seeds * self.layout.width(kind)
        self.counts, self.static = counts, end

    def _static_table(
        self, rules: Sequence[Interpreter], schedules: Sequence[Sequence[float]]
    ) -> Tensor:
        """Build the static values of all candidates in each step, ``[steps, values]``."""
        columns = []
        for rule, program, lrs in zip(rules, self.programs, schedules, strict=True):
            scheduled = torch.tensor(rule.schedule(lrs), dtype=torch.float64)
            constants = torch.tensor(program.constants, dtype=torch.float64)
            columns.append(torch.cat([constants.expand(len(lrs), -1), scheduled], 1))
        self.static_of = [0, *accumulate(c.shape[1] for c in columns)]
        table = torch.cat(columns, 1).to(torch.float32)
        return table.to(self.device)

    def _encoded(self) -> tuple[Tensor, list[list[tuple[int, int]]]]:
        rows: list[list[int]] = []
        bounds = []
        for number, program in enumerate(self.programs):
            of_stage = []
            for stage in program.stages:
                first = len(rows)
                if isinstance(stage, ElementwiseRun):
                    rows += [
                        self._row(number, program, operation) for operation in stage.operations
                    ]
                of_stage.append((first, len(rows)))
            bounds.append(of_stage)
        return self._numbers(rows), bounds

    def _row(self, number: int, program: Lowered, operation: Operation) -> list[int]:
        row = [OPCODES[operation.name]]
        if operation.target is None:
            row += (0, 0, TO_WEIGHT)
        else:
            row += self._address(number, program, operation.target)
        arguments = [self._address(number, program, a) for a in operation.arguments]
        if len(arguments) == 1:
            arguments.append(arguments[0])  # read and not used
        for address in (*arguments, *[_NOTHING] * (4 - len(arguments))):
            row += address
        assert len(row) == FIELDS
        return row

    def _address(self, number: int, program: Lowered, operand: Operand) -> tuple[int, int, int]:
        """Return offset, stride of a row and mode of an operand."""
        if operand.place == Place.SCRATCH:
            return operand.number * self.tile, 0, SCRATCH
        if operand.place == Place.STATIC:
            return self.static + self.static_of[number] + operand.number, 0, SCALAR
        kind = program.slots[operand.number]
        width = self.layout.width(kind)
        start = self.start[kind] + self.slot_of[number][operand.number] * self.seeds * width
        return start, width, min(kind, TREE)  # Kind numbers scalars, arrays and trees as modes do

    def _slots(self, kind: int) -> Tensor:
        width = self.layout.width(kind)
        size = self.counts[kind] * self.seeds * width
        return self.heap[self.start[kind] : self.start[kind] + size].view(-1, self.seeds, width)

    def _batch(self, members: list[tuple[int, Wide]]) -> _Batch:
        arguments = []
        for column in zip(*(stage.arguments for _, stage in members), strict=True):
            if len({operand.place for operand in column}) == 1 and column[0].place == Place.SLOT:
                numbers = [
                    self.slot_of[n][a.number] for (n, _), a in zip(members, column, strict=True)
                ]
                arguments.append((Place.SLOT, column[0].kind, self._numbers(numbers)))
            else:  # scalars, of which some may be constants: by their place in the heap
                places = [
                    self._address(n, self.programs[n], a)[:2]
                    for (n, _), a in zip(members, column, strict=True)
                ]
                rows = [[o + s * stride for s in range(self.seeds)] for o, stride in places]
                arguments.append((Place.STATIC, int(Kind.SCALAR), self._numbers(rows)))
        targets = [self.slot_of[number][stage.target.number] for number, stage in members]
        return _Batch(members[0][1], arguments, self._numbers(targets))

    def _compute(self, batch: _Batch) -> None:
        values = []
        for place, kind, numbers in batch.arguments:
            operand = self._slots(kind)[numbers] if place == Place.SLOT else self.heap[numbers]
            values.append(operand.reshape(-1, operand.shape[-1] if place == Place.SLOT else 1))
        kind = batch.stage.target.kind
        result = batch.stage.apply(*values)
        self._slots(kind)[batch.targets] = result.reshape(-1, self.seeds, self.layout.width(kind))

    def _launch(self, launch: _Launch) -> None:
        elements, count = self.layout.width(launch.kind), len(launch.entries)
        blocks = min(self.blocks, count * self.seeds * math.ceil(elements / self.tile))
        launch_kernel: Any = interpret[(blocks,)]  # it takes options of the compiler too
        launch_kernel(
            self.heap,
            self.weights,
            self.gradient,
            self.code,
            launch.entries,
            self.segments[launch.kind],
            self.roles,
            count,
            self.seeds,
            elements,
            self.scratch,
            reads_weight=launch.kind == Kind.TREE,
            tile_size=self.tile,
            enable_fp_fusion=False,  # else a x + b rounds once where the oracle rounds twice
            num_warps=WARPS,
        )

    def _copies(self, left: Sequence[int]) -> list[tuple[int, Tensor, Tensor]]:
        """Plan the copies of next states with one number per row or array to the present ones."""
        pairs: dict[int, list[tuple[int, int]]] = {}
        for number in left:
            program, slots = self.programs[number], self.slot_of[number]
            for state, shadow in program.shadows.items():
                pairs.setdefault(program.slots[state], []).append((slots[state], slots[shadow]))
        return [
            (kind, self._numbers([a for a, _ in rows]), self._numbers([b for _, b in rows]))
            for kind, rows in pairs.items()
        ]

    def _advance(self, position: dict[int, int], number: int) -> None:
        position[number] += 1
        if position[number] == len(self.programs[number].stages):
            del position[number]

    def _numbers(self, values: Sequence[object]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64, device=self.device)
