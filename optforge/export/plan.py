"""What an exported file will say, whatever its target: values, steps, hyper-parameters, stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from optforge.analysis import fingerprint, state_kinds
from optforge.analysis.hyperparameters import Lifted, lift
from optforge.export.names import AROUND, Names, identifier
from optforge.export.source import PLAIN
from optforge.language import FUNCTIONS, Kind, Program


@dataclass(frozen=True, eq=False)
class Value:
    """What a variable holds from one assignment to the next.

    Args:
        wish: The name that it should have.
        kind: One number, one per array, or one per element.
        plain: Whether it is a Python float.
    """

    wish: str
    kind: int
    plain: bool = False


Argument = Value | float


@dataclass(frozen=True)
class Step:
    """One statement over values instead of names."""

    target: Value
    function: str
    arguments: tuple[Argument, ...]

    @property
    def kinds(self) -> tuple[int, ...]:
        """The kinds of the arguments."""
        return tuple(a.kind if isinstance(a, Value) else Kind.SCALAR for a in self.arguments)

    @property
    def crosses(self) -> bool:
        """Whether it looks at several arrays at once."""
        form = FUNCTIONS[self.function].form
        looks = form == "whole" or self.function == "clip"
        return looks and max(self.kinds, default=0) > Kind.SCALAR


@dataclass(frozen=True)
class Plan:
    """A rule ready to be written.

    Args:
        program: Without dead statements and states.
        fingerprint: Of what the rule computes.
        weight: The weights.
        gradient: The gradients.
        states: The states in order.
        schedule: The schedule value; None if the program does not read it by itself.
        rate: The learning rate.
        product: Whether the rule reads nothing but schedule times rate, so that the rate here is
            that product: the learning rate of the step.
        constants: Other hyper-parameters and their values in the rule.
        rate_value: The learning rate of the rule as it is.
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
    steps: tuple[Step, ...]
    outputs: tuple[Value, ...]

    @cached_property
    def tree_wide(self) -> bool:
        """Whether a statement looks at several arrays at once."""
        return any(step.crosses for step in self.steps)

    @cached_property
    def read(self) -> frozenset[Value]:
        """All values that a step or the end reads."""
        read = {a for step in self.steps for a in step.arguments if isinstance(a, Value)}
        return frozenset(read | {*self.outputs})


class _Builder:
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
        inputs = (self.weight, self.gradient, *self.states, self.schedule)
        self.values: dict[str, Value] = dict(zip(program.parameters, inputs, strict=True))

    def _state(self, name: str, kind: int) -> Value:
        wish = self.names.fresh(identifier(name, "state"))
        self.wishes[name] = wish
        return Value(wish, kind)

    def build(self) -> Plan:
        steps = [self._step(number) for number in range(len(self.program.statements))]
        outputs = [self.values[name] for name in self.program.outputs]
        rate = self.hyper["lr"]
        if self.lifted.scale is None:
            update = Value("update", Kind.TREE)
            steps.append(Step(update, "multiply", (outputs[0], rate)))
            outputs[0] = update
        schedule: Value | None = self.schedule
        if product := _product(steps, outputs, self.schedule, rate):
            schedule, rate = None, product.target
            steps.remove(product)
        elif not any(self.schedule in step.arguments for step in steps):
            schedule = self.schedule if self.schedule in outputs else None
        values = self.lifted.values
        return Plan(
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
        )

    def _step(self, number: int) -> Step:
        statement = self.program.statements[number]
        arguments = tuple(
            self.values[a]
            if isinstance(a, str)
            else self.hyper[self.named[number, place]]
            if (number, place) in self.named
            else a
            for place, a in enumerate(statement.arguments)
        )
        row = FUNCTIONS[statement.function]
        kinds = tuple(a.kind if isinstance(a, Value) else Kind.SCALAR for a in arguments)
        plain = statement.function in PLAIN and all(
            a.plain for a in arguments if isinstance(a, Value)
        )
        wish = self.wishes.get(statement.target) or identifier(statement.target, "value")
        target = self.values[statement.target] = Value(wish, row.result(kinds), plain)
        return Step(target, statement.function, arguments)


def _product(steps: list[Step], outputs: list[Value], schedule: Value, rate: Value) -> Step | None:
    """Find the step schedule * rate, if nothing else reads either of the two."""
    readers = [step for step in steps if schedule in step.arguments or rate in step.arguments]
    if len(readers) != 1 or schedule in outputs or rate in outputs:
        return None
    (step,) = readers
    both = {*step.arguments} == {schedule, rate}
    return step if step.function == "multiply" and both else None


def plan(program: Program) -> Plan:
    """Prepare a rule: live statements, named hyper-parameters, safe names.

    Raises:
        ProgramError: If the program is not valid.

    Example:
        >>> from optforge.language import load_rule
        >>> found = plan(load_rule("program_8"))
        >>> found.tree_wide, found.schedule.wish, [state.wish for state in found.states]
        (True, 'schedule', ['v'])
    """
    return _Builder(lift(program)).build()
