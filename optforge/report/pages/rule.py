"""The page of a rule, its property card: invariances, bounds, cost, update against gradient."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import numpy

from optforge.analysis import cost, fingerprint
from optforge.equality.card import property_card
from optforge.equality.picture import surface
from optforge.equality.recognise import recognise
from optforge.files import is_file
from optforge.language import Program, parse, rule_names, rule_text
from optforge.report.pages.blocks import Block, Code, Facts, Figure, Page, Section, Words
from optforge.report.pages.figures import Spec, encode, full_width, tooltip
from optforge.report.simplify.page import card_lines
from optforge.runs.directory import is_directory

_LIMIT = 0.98  # quantile of the updates at which colors end
CARD_WORDS = Words(
    "Scaling says what becomes of the update if all gradients, or weights and gradients, are "
    "multiplied: invariant, it stays; proportional, it is multiplied as well; neither of both. "
    "Sign flips: odd, the update changes its sign with weights and gradients; even, it stays."
)


def is_rule(path: str | Path) -> bool:
    """Return whether a path is the name of a shipped rule, or a file that may hold one.

    A directory of the same name comes first.

    Example:
        >>> is_rule("lion"), is_rule("runs")
        (True, False)
    """
    return is_file(path) or (str(path) in rule_names() and not is_directory(Path(path)))


def rule_page(rule: str | Path) -> Page:
    """Return the property card of a rule as a page; nothing is trained.

    Args:
        rule: Name of a shipped rule, or the file of a program.

    Raises:
        ProgramError: If there is no such rule, or the file is not a program.

    Example:
        >>> [section.name for section in rule_page("signum").sections]
        ['summary', 'properties', 'commands']
    """
    text = rule_text(rule)
    program = parse(text)
    sections = (
        Section("summary", "Summary", tuple(_summary(program, text))),
        Section("properties", "Properties", tuple(_properties(program))),
        Section("commands", "Commands", tuple(_commands(str(rule)))),
    )
    return Page(f"Rule {Path(rule).stem}", "property card", sections)


def _summary(program: Program, text: str) -> Iterator[Block]:
    known = recognise(program)
    yield Words(known.sentence, is_strong=True)
    comment = " ".join(_comment(text))
    if comment:
        yield Words(comment)
    yield Code(program.text)
    yield Facts(tuple((name, f"{value:g}") for name, value in known.hyperparameters.items()))


def _comment(text: str) -> Iterator[str]:
    """Yield the lines of the comment at the top of a rule's file."""
    lines = takewhile(lambda line: line.startswith("#"), text.lstrip().splitlines())
    return (line.lstrip("# ") for line in lines)


def _properties(program: Program) -> Iterator[Block]:
    costs = cost(program)
    work = f"{costs.operations} operations, {costs.traffic_bytes:g} bytes read and written"
    yield Facts(
        (
            *card_lines(property_card(program)),
            ("live statements", str(costs.statements)),
            ("work of a step for each parameter", work),
            ("passes over all parameters", str(costs.reductions)),
            ("fingerprint", fingerprint(program)),
        )
    )
    yield CARD_WORDS
    yield update_figure(program)


def _commands(rule: str) -> Iterator[Block]:
    yield Words("This page, the rule in its simplest form, and the rule as an optimizer of torch:")
    commands = (["report", rule], ["simplify", rule, "--exact"], ["export", rule, "--to", "torch"])
    yield Code("\n".join(shlex.join(["optforge", *words]) for words in commands))


def update_figure(program: Program) -> Figure:
    """Return the update against gradient and first state, or against the gradient alone."""
    axis, values = surface(program)
    if len(values) == 1:
        rows = [
            {"gradient": float(x), "update": float(y)} for x, y in zip(axis, values[0], strict=True)
        ]
        caption = (
            "The update at weight zero and a learning rate of 1. It is subtracted from the weight."
        )
        return Figure("update", "Update against gradient.", caption, _curve(), rows)
    state = program.states[0]
    rows = [
        {"gradient": float(axis[j]), "state": float(axis[i]), "update": float(values[i, j])}
        for i in range(len(axis))
        for j in range(len(axis))
    ]
    finite = numpy.abs(values[numpy.isfinite(values)])
    limit = float(numpy.quantile(finite, _LIMIT)) if finite.size else 1.0
    caption = (
        f"The update at weight zero and a learning rate of 1, against the gradient and {state}. "
        "It is subtracted from the weight. Further states, if the rule has any, hold the square of "
        "the gradient."
    )
    spec = _surface(state, limit or 1.0, float(axis[1] - axis[0]))
    return Figure("update", f"Update against gradient and {state}.", caption, spec, rows)


def _curve() -> Spec:
    x, y = (encode(name, "quantitative", name) for name in ("gradient", "update"))
    shown = {"x": x, "y": y, "tooltip": tooltip("gradient", "update")}
    return {**full_width(260), "mark": {"type": "line"}, "encoding": shown}


def _surface(state: str, limit: float, width: float) -> Spec:
    half, scale = 0.55 * width, {"scheme": "blueorange", "domain": [-limit, limit], "clamp": True}
    ends = {"x": "gradient", "y": "state"}
    transform = [
        {"calculate": f"datum.{column} {sign} {half}", "as": f"{axis}{end}"}
        for axis, column in ends.items()
        for sign, end in (("-", "1"), ("+", "2"))
    ]
    shown = {
        "x": encode("x1", "quantitative", "gradient", scale={"nice": False}), "x2": {"field": "x2"},
        "y": encode("y1", "quantitative", state, scale={"nice": False}), "y2": {"field": "y2"},
        "color": encode("update", "quantitative", "update", scale=scale),
        "tooltip": tooltip("gradient", "update", state=state),
    }  # fmt: skip
    return {**full_width(360), "transform": transform, "mark": "rect", "encoding": shown}
