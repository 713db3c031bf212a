"""A rule as LaTeX, one line per statement."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from optforge.exporters.latex_table import HIDDEN, LATEX, LEGEND
from optforge.exporters.origin import Origin
from optforge.exporters.plan import Argument, ExportPlan, Value
from optforge.exporters.scope import Scope, outer_scope

_SYMBOLS = {"weight": "w", "gradient": "g", "update": "u", "schedule": r"\sigma"}
_GREEK = {  # of hyper-parameters, by their names without a number
    "lr": r"\eta",
    "beta": r"\beta",
    "one_minus_beta": r"\alpha",
    "momentum": r"\mu",
    "weight_decay": r"\lambda",
    "eps": r"\epsilon",
    "constant_": "c",
}


@dataclass(frozen=True)
class Formulas:
    """The formulas of a rule.

    Args:
        assignments: Symbol and formula of each step, in order; the last one updates the weights.
        values: Symbol and value of each hyper-parameter; the learning rate comes first.
    """

    assignments: tuple[tuple[str, str], ...]
    values: tuple[tuple[str, str], ...]


def formulas(plan: ExportPlan) -> Formulas:
    r"""Write each statement of a rule as a formula.

    Example:
        >>> from optforge.exporters.plan import plan
        >>> from optforge.language import load_rule
        >>> formulas(plan(load_rule("lion"))).assignments[1]
        ('u', '\\operatorname{sign}(u)')
    """
    scope = outer_scope(plan, "lr", ())
    hyper = {scope.name_of[value] for value in (plan.rate, *plan.constants)}
    lines = []
    for now, step in enumerate(plan.steps):
        arguments = [_text(a, scope, hyper) for a in step.arguments]
        if step.function in ("power", "square", "cube", "transpose"):
            arguments[0] = _base(arguments[0])
        text = LATEX.rows[step.function].fill(arguments)
        lines.append((symbol(scope.define(step.target, now), hyper), text))
    lines.append(_end(plan, [symbol(scope.name_of[value], hyper) for value in plan.outputs], hyper))
    values = {plan.rate: plan.rate_value, **plan.constants}
    named = ((symbol(scope.name_of[value], hyper), number(v)) for value, v in values.items())
    return Formulas(tuple(lines), tuple(named))


def to_latex(plan: ExportPlan, origin: Origin) -> str:
    """Write a rule as an ``align*`` block with its hyper-parameters; this needs amsmath."""
    maths = formulas(plan)
    lines = [f"% {line}".rstrip() for line in (origin.title, *origin.lines("latex"))]
    lines += ["% It needs \\usepackage{amsmath}.", r"\begin{align*}"]
    rows = [rf"    {left} &\leftarrow {right}" for left, right in maths.assignments]
    lines += [rf"{row} \\" for row in rows[:-1]] + [rows[-1], r"\end{align*}"]
    values = ", ".join(f"${left} = {right}$" for left, right in maths.values)
    return "\n".join([*lines, f"with {values}{_legend(plan)}."]) + "\n"


def _legend(plan: ExportPlan) -> str:
    said = "; $w$ are the weights, $g$ their gradient"
    if plan.schedule:
        said += r", $\sigma$ the value of the schedule, whose peak is 1"
    if plan.step:
        said += r", $\mathrm{step}$ the number of the step, from 1"
    if plan.progress:
        said += r", $\mathrm{progress}$ the share of all steps that are done after this one"
    used = {step.function for step in plan.steps}
    more = [words for functions, words in LEGEND if used & {*functions}]
    more += [HIDDEN] if plan.role else []
    return ";\n".join([said, *more])


def _end(plan: ExportPlan, outputs: list[str], hyper: set[str]) -> tuple[str, str]:
    """Write the step of the weights, together with states that replace others."""
    states = [symbol(state.wish, hyper) for state in plan.states]
    pairs = [("w", f"w - {outputs[0]}")]
    pairs += [pair for pair in zip(states, outputs[1:], strict=True) if pair[0] != pair[1]]
    if len(pairs) == 1:
        return pairs[0]
    left, right = (", ".join(side) for side in zip(*pairs, strict=True))
    return f"({left})", f"({right})"


def _text(argument: Argument, scope: Scope, hyper: set[str]) -> str:
    if isinstance(argument, Value):
        return symbol(scope.name_of[argument], hyper)
    text = number(argument)
    return rf"\left({text}\right)" if text.startswith("-") else text


def _base(text: str) -> str:
    """Return the text below an exponent."""
    simple = re.fullmatch(r"\\?[a-z]+|[0-9.]+", text)
    return text if simple else rf"\left({text}\right)"


def symbol(name: str, hyper: Iterable[str] = ()) -> str:
    r"""Return the symbol of a plain name.

    Example:
        >>> symbol("weight_decay", ["weight_decay"]), symbol("v845"), symbol("sqrt_v")
        ('\\lambda', 'v_{845}', '\\mathrm{sqrt\\_v}')
    """
    if name in ("weight", "gradient", "update"):
        return _SYMBOLS[name]
    if name in hyper:
        match = re.fullmatch(r"([a-z_]+?)(\d*)", name)
        stem, count = match.groups() if match else (name, "")
        if stem in _GREEK:
            return f"{_GREEK[stem]}_{{{count}}}" if count else _GREEK[stem]
    if name == "schedule":
        return _SYMBOLS[name]
    if re.fullmatch("[a-z]", name) and name not in "wgu":
        return name
    if match := re.fullmatch(r"([a-z])(\d+)", name):
        return f"{match[1]}_{{{match[2]}}}"
    return rf"\mathrm{{{name.replace('_', chr(92) + '_')}}}"


def number(value: float) -> str:
    r"""Write a number.

    Example:
        >>> number(1e-08), number(2.5e-05), number(0.9), number(1.0)
        ('10^{-8}', '2.5 \\cdot 10^{-5}', '0.9', '1')
    """
    digits, _, exponent = repr(value).removesuffix(".0").partition("e")
    if not exponent:
        return digits
    power = f"10^{{{int(exponent)}}}"
    return power if digits == "1" else rf"{digits} \cdot {power}"
