"""The content of an exported file for any target: values, steps, hyper-parameters, stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from optforge.analysis import fingerprint, state_kinds
from optforge.analysis.hyperparameters import Lifted, lift
from optforge.exporters.names import AROUND, Names, identifier
from optforge.exporters.source import PLAIN
from optforge.language import FUNCTIONS, Function, Kind, Program
from optforge.language.functions import OF_NUMBER


@dataclass(frozen=True, eq=False)
class Value:
    """The content of a variable from one assignment to the next.

    Args:
        wish: Its preferred name.
        kind: One number, one per array, or one per element.
        plain: Whether it is a Python float.
    """

    wish: str
    kind: int
    plain: bool = False


Argument = Value | float


@dataclass(frozen=True)
class ExportStep:
    """One statement over values instead of names.

    Args:
        target: The assigned value.
        function: Name of the function.
        arguments: The arguments.
        also: Further inputs: whether the array is a hidden matrix, and last, if a result must take
            the shape of the weights again, a value of that shape.
    """

    target: Value
    function: str
    arguments: tuple[Argument, ...]
    also: tuple[Value, ...] = ()

    @property
    def reads(self) -> tuple[Value, ...]:
        """All values that it reads."""
        return (*(a for a in self.arguments if isinstance(a, Value)), *self.also)

    @property
    def kinds(self) -> tuple[int, ...]:
        """The kinds of the arguments."""
        return tuple(a.kind if isinstance(a, Value) else Kind.SCALAR for a in self.arguments)

    @property
    def crosses(self) -> bool:
        """Whether it reads several arrays at once."""
        form = FUNCTIONS[self.function].form
        looks = form == "whole" or self.function == "clip"
        return looks and max(self.kinds, default=0) > Kind.SCALAR


@dataclass(frozen=True)
class ExportPlan:
    """A rule that is ready to be written.

    Args:
        program: The program without dead statements and states.
        fingerprint: Fingerprint of the rule.
        weight: The weights.
        gradient: The gradients.
        states: The states in order.
        schedule: The schedule value; None if the program does not read it separately.
        rate: The learning rate.
        product: Whether the rule reads only schedule times rate, so that the rate here is that
            product: the learning rate of the step.
        role: Whether an array is a hidden matrix; None if the rule does not read it.
        step: The number of the step, from 1; None if the rule does not read it.
        progress: The share of the steps that are done after this one; None if the rule does not
            read it.
        constants: Other hyper-parameters and their values in the rule.
        rate_value: The learning rate in the rule itself.
        steps: The body.
        outputs: The update and the next states.
    """

    program: Program
    fingerprint: str
    weight: Value
    gradient: Value
    states: tuple[Value, ...]
    schedule: Value | None
    rate: Value
    product: bool
    constants: Mapping[Value, float]
    rate_value: float
    steps: tuple[ExportStep, ...]
    outputs: tuple[Value, ...]
    role: Value | None = None
    step: Value | None = None
    progress: Value | None = None

    @cached_property
    def tree_wide(self) -> bool:
        """Whether any statement reads several arrays at once."""
        return any(step.crosses for step in self.steps)

    @cached_property
    def stored(self) -> tuple[Value, ...]:
        """The states that each array has."""
        return tuple(state for state in self.states if state.kind > Kind.SCALAR)

    @cached_property
    def numbers(self) -> tuple[Value, ...]:
        """The states that are one number for the whole rule."""
        return tuple(state for state in self.states if state.kind == Kind.SCALAR)

    @cached_property
    def read(self) -> frozenset[Value]:
        """All values that a step or the end reads."""
        read = {value for step in self.steps for value in step.reads}
        return frozenset(read | {*self.outputs})

    def shares_memory(self, value: Value) -> bool:
        """Return whether a value may share memory with an input that changes in place."""
        if value in (self.weight, self.gradient, *self.states):
            return True
        makers = [step for step in self.steps if step.target is value]
        return any(
            step.function in _VIEWS and any(map(self.shares_memory, step.reads)) for step in makers
        )


_VIEWS = ("transpose", "where_matrix")
_OF_ROLES = ("matrix", "by_role", "transpose", "product")  # forms that ask for the role


class _PlanBuilder:
    def __init__(self, lifted: Lifted) -> None:
        program, kinds = lifted.program, state_kinds(lifted.program)
        self.lifted, self.program = lifted, program
        self.named = lifted.names()
        self.names = Names()
        self.hyper = {
            name: Value(self.names.fresh(identifier(name, "constant")), Kind.SCALAR, True)
            for name in lifted.values
        }
        self.wishes = {program.weight: "weight", program.gradient: "gradient", program.lr: "rate"}
        self.weight, self.gradient = Value("weight", Kind.TREE), Value("gradient", Kind.TREE)
        for name in ("weight", "gradient", "schedule", "update", *AROUND):
            self.names.fresh(name)
        self.states = tuple(
            self._state(name, kind) for name, kind in zip(program.states, kinds, strict=True)
        )
        self.schedule = Value("schedule", Kind.SCALAR, True)
        self.role = Value("is_matrix", Kind.ARRAY)
        self.clocks = {
            f"get_{name}": Value(name, Kind.SCALAR, True) for name in ("step", "progress")
        }
        inputs = (self.weight, self.gradient, *self.states, self.schedule)
        self.values: dict[str, Value] = dict(zip(program.parameters, inputs, strict=True))

    def _state(self, name: str, kind: int) -> Value:
        wish = self.names.fresh(identifier(name, "state"))
        self.wishes[name] = wish
        return Value(wish, kind)

    def build(self) -> ExportPlan:
        all_steps = [self._step(number) for number in range(len(self.program.statements))]
        steps = [step for step in all_steps if step]
        read = {value for step in steps for value in step.reads}
        outputs = [self.values[name] for name in self.program.outputs]
        read |= {*outputs}
        rate = self.hyper["lr"]
        if self.lifted.scale is None:
            update = Value("update", Kind.TREE)
            steps.append(ExportStep(update, "multiply", (outputs[0], rate)))
            outputs[0] = update
        schedule: Value | None = self.schedule
        if product := _product(steps, outputs, self.schedule, rate):
            schedule, rate = None, product.target
            steps.remove(product)
        elif not any(self.schedule in step.arguments for step in steps):
            schedule = self.schedule if self.schedule in outputs else None
        values = self.lifted.values
        clocks = [value if value in read else None for value in self.clocks.values()]
        return ExportPlan(
            program=self.program,
            fingerprint=fingerprint(self.program),
            weight=self.weight,
            gradient=self.gradient,
            states=self.states,
            schedule=schedule,
            rate=rate,
            product=product is not None,
            constants={v: values[name] for name, v in self.hyper.items() if name != "lr"},
            rate_value=values["lr"],
            steps=tuple(steps),
            outputs=tuple(outputs),
            role=self.role if self.role in read else None,
            step=clocks[0],
            progress=clocks[1],
        )

    def _step(self, number: int) -> ExportStep | None:
        """Return the step of a statement; None if its result exists already."""
        statement = self.program.statements[number]
        arguments = tuple(
            self.values[a]
            if isinstance(a, str)
            else self.hyper[self.named[number, place]]
            if (number, place) in self.named
            else a
            for place, a in enumerate(statement.arguments)
        )
        row, function = FUNCTIONS[statement.function], statement.function
        kinds = tuple(a.kind if isinstance(a, Value) else Kind.SCALAR for a in arguments)
        if row.form == "clock":
            self.values[statement.target] = self.clocks[function]
            return None
        if row.on_array and max(kinds) < Kind.TREE:
            function = OF_NUMBER.get(function, function)
            if function == statement.function and isinstance(arguments[0], Value):
                self.values[statement.target] = arguments[0]
                return None
        plain = function in PLAIN and all(a.plain for a in arguments if isinstance(a, Value))
        wish = self.wishes.get(statement.target) or identifier(statement.target, "value")
        target = self.values[statement.target] = Value(wish, row.result(kinds), plain)
        return ExportStep(
            target, function, arguments, self._also(row, kinds, target.kind, function)
        )

    def _also(
        self, row: Function, kinds: tuple[int, ...], kind: int, function: str
    ) -> tuple[Value, ...]:
        if row.form not in _OF_ROLES or function != row.name:
            return ()
        back = row.form == "transpose" and kind == Kind.TREE
        return (self.role, self.gradient) if back else (self.role,)


def _product(
    steps: list[ExportStep], outputs: list[Value], schedule: Value, rate: Value
) -> ExportStep | None:
    """Return the step schedule * rate if nothing else reads either of them."""
    readers = [step for step in steps if schedule in step.arguments or rate in step.arguments]
    if len(readers) != 1 or schedule in outputs or rate in outputs:
        return None
    (step,) = readers
    both = {*step.arguments} == {schedule, rate}
    return step if step.function == "multiply" and both else None


def plan(program: Program) -> ExportPlan:
    """Prepare a rule: live statements, named hyper-parameters, safe names.

    Raises:
        ProgramError: If the program is not valid.

    Example:
        >>> from optforge.language import load_rule
        >>> found = plan(load_rule("program_8"))
        >>> found.tree_wide, found.schedule.wish, [state.wish for state in found.states]
        (True, 'schedule', ['v'])
    """
    return _PlanBuilder(lift(program)).build()
