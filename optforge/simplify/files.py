"""The files of a simplification: the rule, everything as JSON, and a page to read."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from typing import Any

from optforge.simplify.effects import SPLIT, Effect
from optforge.simplify.result import SimpleRule
from optforge.statistics import Interval

SIMPLE, SIMPLE_JSON, SIMPLE_PAGE = "simple.py", "simplify.json", "simplify.md"


def rule_text(found: SimpleRule) -> str:
    """Write the simple rule as a file, with its name on top.

    Example:
        >>> from optforge.language import load_rule
        >>> from optforge.simplify import describe, simplify_exact
        >>> rule_text(describe(simplify_exact(load_rule("signum")))).splitlines()[1]
        'def train(weight, gradient, momentum, lr):'
    """
    lines = textwrap.wrap(found.recognised.sentence, 96)
    return "".join(f"# {line}\n" for line in lines) + found.program.text


def write_files(found: SimpleRule, write: Callable[[str, str], Any]) -> None:
    """Write rule, JSON and page with a function that takes name and text."""
    write(SIMPLE, rule_text(found))
    write(SIMPLE_JSON, json.dumps(found.to_json(), indent=2) + "\n")
    write(SIMPLE_PAGE, page(found))


def page(found: SimpleRule) -> str:
    """Write rule, name, table and derivation as Markdown."""
    lines = [
        f"**{found.recognised.sentence}**",
        "",
        "```python",
        found.program.text.rstrip(),
        "```",
    ]
    if found.trained is not None:
        lines += ["", *_table(found)]
    lines += ["", "## Derivation", ""]
    steps = found.simplified.derivation.steps
    for number, step in enumerate(steps, 1):
        before, after = (text.count(" = ") for text in (step.before, step.after))
        lines.append(f"{number}. *{step.kind}*, {before} -> {after} statements: {step.why}")
        if "effect" in step.figures:
            lines.append(f"   {figures_sentence(step.figures)}")
    lines += ["", "The rule as given:", "", "```python"]
    lines += [found.simplified.derivation.start.rstrip(), "```"]
    return "\n".join(lines) + "\n"


def _table(found: SimpleRule) -> list[str]:
    trained = found.trained
    assert trained is not None
    header = ["change", "what became of it", "mean over tasks", *trained.tasks, "when decided"]
    lines = [
        caption(found),
        "",
        "| " + " | ".join(header) + " |",
        "|" + "---|" * len(header),
    ]
    for row in trained.effects.rows:
        cells = [f"`{row.change}`", row.status, interval_text(row.mean)]
        cells += [interval_text(row.tasks.get(task)) for task in trained.tasks]
        cells.append(interval_text(row.deciding.effect if row.deciding else None))
        lines.append("| " + " | ".join(cells) + " |")
    effects = trained.effects
    cells = ["**simple rule against the rule as given**", "", interval_text(effects.total)]
    cells += [interval_text(effects.tasks.get(task)) for task in trained.tasks]
    lines.append("| " + " | ".join([*cells, ""]) + " |")
    return [*lines, "", footnote(found)]


def caption(found: SimpleRule) -> str:
    """Say what the numbers of the table are."""
    trained = found.trained
    assert trained is not None
    if not trained.effects.seeds:
        return "The time did not suffice for figures on fresh seeds."
    return (
        f"Change of the log loss on {SPLIT} data by each change, lower is better: mean and "
        f"Student-t 95 % interval of paired differences over {trained.effects.seeds} fresh seeds "
        "a task, learning rate and decay re-tuned alike on both sides."
    )


def footnote(found: SimpleRule) -> str:
    """Say how it was decided."""
    trained = found.trained
    assert trained is not None
    return (
        f"Decided on other seeds and validation data (last column), with a margin of "
        f"{trained.rule.margin:g}, up to {trained.rule.looks[-1]} seeds a task in "
        f"{len(trained.rule.looks)} looks, {trained.comparisons} comparisons, chance of any wrong "
        f"claim {trained.rule.alpha:g}. Ended because {trained.ended}."
    )


def figures_sentence(figures: Any) -> str:
    """Say in a line what a step of training rests on."""
    effect = figures["effect"]
    return (
        f"Log loss {_three(effect)} (confidence {figures['confidence']:.5f}), "
        f"{figures['seeds a task']} seeds a task, look {figures['looks']}, margin "
        f"{figures['margin']:g}."
    )


def _three(effect: dict[str, float | None]) -> str:
    mean, low, high = (effect[name] for name in ("mean", "low", "high"))
    if mean is None or low is None or high is None:
        return "unknown"
    return f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"


def interval_text(value: Interval | None) -> str:
    """Write an interval in a cell."""
    return f"{value.mean:+.3f} [{value.low:+.3f}, {value.high:+.3f}]" if value else "-"


def is_removed(row: Effect) -> bool:
    """Tell rows of changes that were made from those of statements that stay."""
    return not row.status.startswith("kept")
