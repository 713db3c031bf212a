"""The files of a simplification: the rule, everything as JSON, and a page to read."""

from __future__ import annotations

import io
import json
import math
import textwrap
from collections.abc import Mapping
from typing import Any

from optforge.ablation.effects import SPLIT
from optforge.ablation.result import SimpleRule
from optforge.equality.picture import draw_update
from optforge.runs import RunDirectory
from optforge.statistics import Interval

SIMPLE, SIMPLE_JSON, SIMPLE_PAGE = "simple.py", "simplify.json", "simplify.md"
PICTURE = "update.png"


def rule_text(found: SimpleRule) -> str:
    """Write the simple rule as a file, with its name on top.

    Example:
        >>> from optforge.language import load_rule
        >>> from optforge.ablation import describe
        >>> from optforge.equality import simplify_exact
        >>> rule_text(describe(simplify_exact(load_rule("signum")))).splitlines()[1]
        'def train(weight, gradient, momentum, lr):'
    """
    lines = textwrap.wrap(found.recognised.sentence, 96)
    return "".join(f"# {line}\n" for line in lines) + found.program.text


def write_files(found: SimpleRule, directory: RunDirectory, picture: bool = True) -> None:
    """Write rule, JSON, page and (a second's work) the picture into the directory of a run."""
    directory.write_text(SIMPLE, rule_text(found))
    directory.write_text(SIMPLE_JSON, json_text(found) + "\n")
    directory.write_text(SIMPLE_PAGE, page(found))
    if picture:
        drawn = io.BytesIO()
        draw_update(found.program, drawn)
        directory.write_bytes(PICTURE, drawn.getvalue())


def json_text(found: SimpleRule) -> str:
    """Write everything as JSON; numbers that are not finite, which JSON has not, become null."""
    return json.dumps(_finite(found.to_json()), indent=2, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
    lines += ["", "## Properties", "", *_card(found), "", "## Derivation", ""]
    steps = found.simplified.derivation.steps
    for number, step in enumerate(steps, 1):
        before, after = (text.count(" = ") for text in (step.before, step.after))
        lines.append(f"{number}. *{step.kind}*, {before} -> {after} statements: {step.why}")
        if "effect" in step.figures:
            lines.append(f"   {figures_sentence(step.figures)}")
    if found.simplified.stops:
        lines += ["", stops_sentence(found)]
    lines += ["", "The rule as given:", "", "```python"]
    lines += [found.simplified.derivation.start.rstrip(), "```"]
    return "\n".join(lines) + "\n"


def stops_sentence(found: SimpleRule) -> str:
    """Say which limits may have hidden a simpler form."""
    return f"Not taken to the end: {'; '.join(found.simplified.stops)}. A simpler form may exist."


def _card(found: SimpleRule) -> list[str]:
    return [f"- {name}: {value}" for name, value in card_lines(found)]


def card_lines(found: SimpleRule) -> list[tuple[str, str]]:
    """Give the property card in words."""
    card = found.card
    lines = [
        ("scaling of gradients", card.gradient_scaling),
        ("scaling of weights and gradients", card.parameter_scaling),
        ("sign flips", f"{card.sign_flip}; element by element: {card.elementwise_flip}"),
        ("bound of the update at lr = 1", card.bound or "none known"),
        ("states", f"{card.states}, {card.state_bytes:g} bytes a parameter"),
    ]
    if card.learning_rates:
        low, high = card.learning_rates
        effective = f"{low:.3g} to {high:.3g} (update / gradient, gradients of 1e-4 to 100)"
        lines.append(("effective learning rate", effective))
    return lines


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
