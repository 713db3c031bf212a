"""The words of exported Python files: headings, docstrings, descriptions of hyper-parameters."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable

from optforge.exporters.body import Body
from optforge.exporters.latex import formulas
from optforge.exporters.lines import definition
from optforge.exporters.origin import Origin
from optforge.exporters.plan import ExportPlan, Value
from optforge.language import Kind

ROLES = {  # by the name of a hyper-parameter without its number
    "beta": "Weight of the old value in a moving average.",
    "one_minus_beta": "Weight of the new value in a moving average.",
    "momentum": "Factor of the old momentum.",
    "weight_decay": "How strongly weights decay.",
    "eps": "Small number that keeps a root or a quotient away from zero.",
    "constant": "A constant of the rule.",
}


def describe(name: str) -> str:
    """Return a description of a hyper-parameter.

    Example:
        >>> describe("beta2"), describe("constant_7")
        ('Weight of the old value in a moving average.', 'A constant of the rule.')
    """
    return ROLES.get(re.sub(r"_?\d+$", "", name), ROLES["constant"])


HIDDEN = """
The rule treats hidden matrices, arrays that are multiplied with activations, differently
from other arrays. An array with two sides of more than one element counts as one,
dimensions after the first flattened. {how}
"""
STEPS = "Number of steps of the whole training."


def hidden_matrices(how: str) -> list[str]:
    """Write the paragraph on how an optimizer is told which arrays are hidden matrices."""
    return [*textwrap.wrap(HIDDEN.format(how=how).strip().replace("\n", " "), 84), ""]


def heading(origin: Origin, what: str, target: str) -> list[str]:
    """Write the docstring of a module."""
    return ['"""' + f"{origin.title}, {what}", "", *origin.lines(target), '"""', ""]


def update_function(
    plan: ExportPlan, body: Body, origin: Origin, array: str, number: str
) -> list[str]:
    """Write the pure update function.

    Args:
        plan: The rule.
        body: Body of the function.
        origin: Name of the rule.
        array: Name of the array type.
        number: Name of the type of hyper-parameters.
    """
    parameters = _parameters(plan, body, array, number)
    results = ", ".join(_type(plan, value, array) for value in plan.outputs)
    result = f"tuple[{results}]" if len(plan.outputs) > 1 else results
    if plan.tree_wide and len({_type(plan, v, array) for v in plan.outputs}) == 1 < len(results):
        result = result if len(plan.outputs) == 1 else f"tuple[list[{array}], ...]"
    lines = [*definition(f"{origin.function}_update", parameters, result)]
    lines += indented(_docstring(plan, body, origin))
    first = [""] if body.lines[0] == "" else []
    return [*lines, *first, *indented(body.lines[1:] if first else body.lines)]


def indented(lines: Iterable[str]) -> list[str]:
    """Return lines indented by four spaces; empty ones stay empty."""
    return [f"    {line}" if line else "" for line in lines]


def _type(plan: ExportPlan, value: Value, array: str) -> str:
    wide = plan.tree_wide and value.kind > Kind.SCALAR
    array = "bool" if value is plan.role else array
    return f"list[{array}]" if wide else array


def _parameters(plan: ExportPlan, body: Body, array: str, number: str) -> list[str]:
    written, keyword = [], False
    for value, name in body.parameters.items():
        if value in plan.constants:
            written += [] if keyword else ["*"]
            written.append(f"{name}: {number} = {plan.constants[value]!r}")
            keyword = True
        else:
            written.append(f"{name}: {number if value.plain else _type(plan, value, array)}")
    return written


def _docstring(plan: ExportPlan, body: Body, origin: Origin) -> list[str]:
    what = "for all arrays, which it sees as one tree" if plan.tree_wide else "for one array"
    lines = [f'r"""Compute one step of {origin.title} {what}.', "", ".. math::"]
    rows = [rf"{left} &\leftarrow {right}" for left, right in formulas(plan).assignments]
    for row in [rf"{row} \\" for row in rows[:-1]] + [rows[-1]]:
        lines += textwrap.wrap(
            row,
            84,
            initial_indent="    ",
            subsequent_indent="        ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    lines += ["", "Args:", *_arguments(plan, body), "", "Returns:"]
    names = [f"the next {state.wish}" for state in plan.states]
    text = "The update, to be subtracted from the weights"
    text += f"; {', '.join(names)}." if names else "."
    return [
        *lines,
        *textwrap.wrap(text, 80, initial_indent="    ", subsequent_indent="    "),
        '"""',
    ]


def _arguments(plan: ExportPlan, body: Body) -> list[str]:
    each = "each array" if plan.tree_wide else "an array"
    said: dict[Value | None, str] = {
        plan.weight: f"Weights of {each}.",
        plan.gradient: f"Their gradient{'s' if plan.tree_wide else ''}.",
        plan.rate: "Learning rate." if plan.product else "Peak of the learning rate.",
        plan.schedule: "Value of the learning rate's schedule, whose peak is 1.",
        plan.role: f"Whether {'each' if plan.tree_wide else 'it'} is a hidden matrix.",
        plan.step: "Number of the step, from 1.",
        plan.progress: "Share of all steps that are done after this one, up to 1.",
    }
    said |= {state: f"State of {_whose(state.kind)}; zero at first." for state in plan.states}
    said |= {value: describe(value.wish) for value in plan.constants}
    lines = []
    for value, name in body.parameters.items():
        lines += textwrap.wrap(
            f"{name}: {said[value]}", 84, initial_indent="    ", subsequent_indent="        "
        )
    return lines


def _whose(kind: int) -> str:
    return (
        "the whole rule, one number",
        "an array, one number",
        "the weights' shape",
        "[columns, rows] of a hidden matrix, otherwise of the weights' shape",
        "[rows, rows] of a hidden matrix, otherwise of the weights' shape",
        "[columns, columns] of a hidden matrix, otherwise of the weights' shape",
    )[kind]
