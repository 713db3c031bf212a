"""Division of a rule that reads the whole tree into passes over the arrays."""

from __future__ import annotations

from dataclasses import dataclass

from optforge.exporters.plan import ExportPlan, ExportStep, Value
from optforge.language import Kind


@dataclass(frozen=True)
class ArrayPass:
    """The steps before one pass over the arrays, and in it.

    Args:
        before: Steps on numbers and on the whole tree.
        steps: Steps of the pass, on one array at a time.
        takes: Values per array that the pass reads.
        gives: Values per array that are read after it.
    """

    before: tuple[ExportStep, ...]
    steps: tuple[ExportStep, ...]
    takes: tuple[Value, ...]
    gives: tuple[Value, ...]


def array_passes(plan: ExportPlan) -> list[ArrayPass]:
    """Divide the steps into as few passes as their dependencies allow; the last may be empty.

    A pass ends where a function needs all arrays at once, such as a norm of the whole tree.

    Example:
        >>> from optforge.exporters.plan import plan
        >>> from optforge.language import load_rule
        >>> [len(one.steps) for one in array_passes(plan(load_rule("program_8")))]
        [9]
    """
    outer, inner = _depths(plan)
    last = max([0, *outer.values(), *inner.values()])
    passes = []
    for number in range(last + 1):
        before = tuple(s for s in plan.steps if outer.get(s) == number)
        steps = tuple(s for s in plan.steps if inner.get(s) == number + 1)
        if before or steps:
            passes.append(ArrayPass(before, steps, _takes(plan, steps), _gives(plan, steps)))
    return passes


def _depths(plan: ExportPlan) -> tuple[dict[ExportStep, int], dict[ExportStep, int]]:
    """Return the number of passes before each step outside of passes; for others, their pass."""
    outer: dict[ExportStep, int] = {}
    inner: dict[ExportStep, int] = {}
    made_by = {step.target: step for step in plan.steps}
    for step in plan.steps:
        makers = [made_by[value] for value in step.reads if value in made_by]
        inside = max((inner[m] for m in makers if m in inner), default=0)
        outside = max((outer[m] for m in makers if m in outer), default=0)
        if step.crosses or step.target.kind == Kind.SCALAR:
            outer[step] = max(inside, outside)
        else:
            inner[step] = max(inside, outside + 1)
    return outer, inner


def _takes(plan: ExportPlan, steps: tuple[ExportStep, ...]) -> tuple[Value, ...]:
    targets = {step.target for step in steps}
    read = {value for step in steps for value in step.reads}
    inputs = (plan.weight, plan.gradient, *plan.states, *(step.target for step in plan.steps))
    inputs += (plan.role,) if plan.role else ()
    return tuple(v for v in inputs if v in read and v not in targets and v.kind > Kind.SCALAR)


def _gives(plan: ExportPlan, steps: tuple[ExportStep, ...]) -> tuple[Value, ...]:
    later = {value for step in plan.steps if step not in steps for value in step.reads}
    later |= {*plan.outputs}
    read_later = [step.target for step in steps if step.target in later]
    ends = dict.fromkeys(value for value in plan.outputs if value in read_later)
    return (*ends, *(value for value in read_later if value not in ends))
