"""The files of a simplification: the rule, everything as JSON, and a page to read."""

from __future__ import annotations

from typing import Any

from optforge.ablation.decision import plain_interval
from optforge.ablation.effects import SPLIT, Effect, Effects
from optforge.ablation.result import SimpleRule
from optforge.ablation.train import TrainingEvidence
from optforge.report.json_values import json_text, plain
from optforge.report.search.files import commented
from optforge.report.simplify.page import simplify_markdown
from optforge.runs.file_names import SIMPLE
from optforge.statistics import Interval

SIMPLE_RULE, SIMPLE_JSON, SIMPLE_PAGE, PICTURE = SIMPLE


def simplify_files(rule: SimpleRule) -> dict[str, str]:
    """Return the texts of all files of a simplification, by file name."""
    return {
        SIMPLE_RULE: rule_text(rule),
        SIMPLE_JSON: json_text(simple_rule_json(rule)),
        SIMPLE_PAGE: simplify_markdown(rule),
    }


def rule_text(rule: SimpleRule) -> str:
    """Return the text of the simple rule's file, with its name at the top.

    Example:
        >>> from optforge.language import load_rule
        >>> from optforge.ablation import describe
        >>> from optforge.equality import simplify_exact
        >>> rule_text(describe(simplify_exact(load_rule("signum")))).splitlines()[1]
        'def train(weight, gradient, momentum, lr):'
    """
    return commented(rule.recognised.sentence, rule.program.text)


def simple_rule_json(rule: SimpleRule) -> dict[str, Any]:
    """Return a simple rule as JSON-serializable values: program, name, steps, card, training.

    Example:
        >>> from optforge.language import load_rule
        >>> from optforge.ablation import describe
        >>> from optforge.equality import simplify_exact
        >>> simple_rule_json(describe(simplify_exact(load_rule("signum"))))["states"]
        ['momentum']
    """
    known, derivation = rule.recognised, rule.simplified.derivation
    return plain(
        {
            "program": rule.program.text,
            "statements": len(rule.program.statements),
            "states": rule.program.states,
            "name": known.name,
            "nearest": {
                "family": known.family,
                "like": known.like,
                "distance_in_statements": known.distance,
            },
            "hyperparameters": known.hyperparameters,
            "start": derivation.start,
            "steps": derivation.to_json(),
            "stopped_by": rule.simplified.stops,
            "card": rule.card.to_json(),
            "training": _evidence(rule.trained) if rule.trained else None,
        }
    )


def _evidence(evidence: TrainingEvidence) -> dict[str, Any]:
    roundings = map(_effect, evidence.roundings)
    return {
        "effects": _effects(evidence.effects),
        "tasks": evidence.tasks,
        "margin": evidence.rule.margin,
        "alpha": evidence.rule.alpha,
        "looks": evidence.rule.looks,
        "keep": evidence.options.keep,
        "drop_unresolved": evidence.options.drop_unresolved,
        "comparisons": evidence.comparisons,
        "ended": evidence.ended,
        "seed": evidence.seed,
        "roundings": [
            {name: row[name] for name in ("change", "status", "deciding_effect")}
            for row in roundings
        ],
    }


def _effects(effects: Effects) -> dict[str, Any]:
    return {
        "rows": [_effect(row) for row in effects.rows],
        "total": _interval(effects.total),
        "total_by_task": {task: _interval(value) for task, value in effects.tasks.items()},
        "seeds_a_task": effects.seeds,
        "split": SPLIT,
    }


def _effect(row: Effect) -> dict[str, Any]:
    return {
        "statement": row.statement,
        "change": row.change,
        "status": row.status,
        "effect": _interval(row.mean),
        "tasks": {task: _interval(value) for task, value in row.tasks.items()},
        "deciding_effect": _interval(row.decision.effect if row.decision else None),
    }


def _interval(value: Interval | None) -> dict[str, float | None] | None:
    return None if value is None else plain_interval(value)
