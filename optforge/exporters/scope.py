"""Names of values in one function while its lines are written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from optforge.exporters.names import Names
from optforge.exporters.plan import ExportPlan, ExportStep, Value
from optforge.language import Kind

NEVER = 10**6  # the last use of a name that stays


@dataclass
class Scope:
    """Names of one function while its lines are written.

    Args:
        names: Source of unused names.
        last_use: Number of the last step that reads each value.
        name_of: The name of each value.
        holder: Current value of each name.
        fixed: Names of hyper-parameters.
    """

    names: Names
    last_use: dict[Value, int]
    name_of: dict[Value, str] = field(default_factory=dict)
    holder: dict[str, Value] = field(default_factory=dict)
    fixed: set[str] = field(default_factory=set)

    def parameter(self, value: Value, wish: str) -> str:
        """Assign a value a name that no other value has."""
        name = self.names.fresh(wish)
        self.name_of[value], self.holder[name] = name, value
        return name

    def define(self, value: Value, now: int, wish: str = "") -> str:
        """Name a new value; it may reuse the name of a value that is not read any more."""
        wish = wish or value.wish
        wish = f"{wish}_term" if wish in self.fixed else wish
        before = self.holder.get(wish)
        if before and self.last_use.get(before, -1) <= now and _type(before) == _type(value):
            self.name_of[value], self.holder[wish] = wish, value
            return wish
        return self.parameter(value, wish)


def _type(value: Value) -> object:
    return value.plain, value.kind > Kind.SCALAR


def outer_scope(plan: ExportPlan, rate: str, taken: Iterable[str], wide: bool = False) -> Scope:
    """Name the inputs of a rule; hyper-parameters choose their names first.

    Args:
        plan: The rule.
        rate: Name of the learning rate.
        taken: Names that are not free.
        wide: Whether weights and gradients are lists.
    """
    scope = Scope(Names(taken), uses(plan.steps, plan.outputs))
    plural = "s" if wide else ""
    fixed = {plan.rate: rate, **{value: value.wish for value in plan.constants}}
    if plan.schedule:
        fixed[plan.schedule] = plan.schedule.wish
    fixed |= {value: value.wish for value in (plan.role, plan.step, plan.progress) if value}
    inputs = {plan.weight: f"weight{plural}", plan.gradient: f"gradient{plural}"}
    inputs |= {state: state.wish for state in plan.states}
    for value, wish in {**fixed, **inputs}.items():
        scope.parameter(value, wish)
    scope.last_use = {**scope.last_use, **dict.fromkeys(fixed, NEVER)}
    scope.fixed = {scope.name_of[value] for value in fixed}
    return scope


def uses(steps: Iterable[ExportStep], end: Iterable[Value]) -> dict[Value, int]:
    """Return the number of the last step that reads each value."""
    last: dict[Value, int] = {}
    number = -1
    for number, step in enumerate(steps):
        last |= dict.fromkeys(step.reads, number)
    return last | dict.fromkeys(end, number + 1)
