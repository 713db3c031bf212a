"""The page of a simplification: rule, name, table of effects, properties, derivation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from optforge.ablation.effects import SPLIT
from optforge.ablation.result import SimpleRule
from optforge.ablation.train import TrainingEvidence
from optforge.equality.card import Card
from optforge.equality.derivation import DerivationStep
from optforge.report.text_table import TextTable
from optforge.report.words import log_difference
from optforge.statistics import Interval


def simplify_markdown(rule: SimpleRule) -> str:
    """Return rule, name, table, properties and derivation as one page of Markdown."""
    parts = [f"**{rule.recognised.sentence}**", _program(rule.program.text)]
    if rule.trained is not None:
        table = effect_table(rule.trained)
        parts += [table.title, table.markdown(), footnote(rule.trained)]
    properties = [f"- {name}: {value}" for name, value in card_lines(rule.card)]
    parts += ["## Properties", "\n".join(properties)]
    parts += ["## Derivation", "\n".join(derivation_lines(rule))]
    parts += [stops_sentence(rule)] if rule.simplified.stops else []
    parts += ["The rule as given:", _program(rule.simplified.derivation.start)]
    return "\n\n".join(parts) + "\n"


def _program(text: str) -> str:
    return f"```python\n{text.rstrip()}\n```"


def derivation_lines(rule: SimpleRule) -> list[str]:
    """Return the steps as Markdown, with the figures of those that rest on training."""
    lines = []
    for number, step in enumerate(rule.simplified.derivation.steps, 1):
        lines.append(f"{number}. *{step.kind}*, {step_sentence(step)}")
        if "effect" in step.figures:
            lines.append(f"   {figures_sentence(step.figures)}")
    return lines


def derivation_table(rule: SimpleRule) -> TextTable:
    """Return the derivation with a row for each step."""
    steps = rule.simplified.derivation.steps
    rows = [(step.kind, str(_statements(step.after)), step.why) for step in steps]
    title = f"From {_statements(rule.simplified.derivation.start)} statements to the simple rule."
    return TextTable(title, ("<kind", "statements", "<why"), tuple(rows))


def step_sentence(step: DerivationStep) -> str:
    """Return how many statements a step leaves and why the step is allowed."""
    return f"{_statements(step.before)} -> {_statements(step.after)} statements: {step.why}"


def _statements(text: str) -> int:
    return text.count(" = ")


def figures_sentence(figures: Mapping[str, Any]) -> str:
    """Return the evidence for a step that training decided.

    Args:
        figures: Figures of the step.
    """
    ends = {name: math.inf if x is None else x for name, x in figures["effect"].items()}
    known = all(map(math.isfinite, ends.values()))
    effect = log_difference(Interval(**ends, p_value=1.0, count=0)) if known else "unknown"
    return (
        f"Log loss {effect} (confidence {figures['confidence']:.5f}), "
        f"{figures['seeds a task']} seeds a task, look {figures['looks']}, margin "
        f"{figures['margin']:g}."
    )


def stops_sentence(rule: SimpleRule) -> str:
    """Return which limits may have hidden a simpler form."""
    return f"Not taken to the end: {'; '.join(rule.simplified.stops)}. A simpler form may exist."


def card_lines(card: Card) -> list[tuple[str, str]]:
    """Return the properties of a rule with their names."""
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


def effect_table(evidence: TrainingEvidence) -> TextTable:
    """Return the effect of each change, and of leaving out each statement that stays."""
    tasks, effects = evidence.tasks, evidence.effects
    rows: list[tuple[str, ...]] = [
        (
            f"`{row.change}`",
            row.status,
            log_difference(row.mean),
            *(log_difference(row.tasks.get(task)) for task in tasks),
            log_difference(row.decision.effect if row.decision else None),
        )
        for row in effects.rows
    ]
    total = map(log_difference, (effects.total, *(effects.tasks.get(task) for task in tasks)))
    rows.append(("**simple rule against the rule as given**", "", *total, ""))
    heads = ("change", "what became of it", "mean over tasks", *tasks, "when decided")
    return TextTable(caption(evidence), tuple(f"<{head}" for head in heads), tuple(rows))


def caption(evidence: TrainingEvidence) -> str:
    """Return what the numbers of the table mean."""
    if not evidence.effects.seeds:
        return "The time did not suffice for figures on fresh seeds."
    return (
        f"Change of the log loss on {SPLIT} data by each change, lower is better: mean and "
        f"Student-t 95 % interval of paired differences over {evidence.effects.seeds} fresh seeds "
        "a task, learning rate and decay re-tuned alike on both sides."
    )


def footnote(evidence: TrainingEvidence) -> str:
    """Return how the removals were decided."""
    rule = evidence.rule
    return (
        f"Decided on other seeds and validation data (last column), with a margin of "
        f"{rule.margin:g}, up to {rule.looks[-1]} seeds a task in {len(rule.looks)} looks, "
        f"{evidence.comparisons} comparisons, chance of any wrong claim {rule.alpha:g}. Ended "
        f"because {evidence.ended}."
    )
