"""How much of a search's gain single changes explain: table, sentences and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optforge.assessment.explain import Explanation
from optforge.assessment.rows import ADAMW
from optforge.report.json_values import plain, stored_interval
from optforge.report.text_table import TextTable
from optforge.report.words import loss_change
from optforge.tuning import trainee_json


def explanation_json(explanation: Explanation) -> dict[str, Any]:
    """Return an explanation as JSON-serializable values; numbers not finite become None."""
    return plain(
        {
            "rule_against_tuned_adamw": explanation.whole,
            "straightened_rule": explanation.straight,
            "share_kept": explanation.kept,
            "repeats": explanation.repeats,
            "trials": explanation.trials,
            "rows": [
                {
                    "tuned": row.name,
                    "gain_over_rate_alone": row.gain,
                    "left_of_the_rule": row.left,
                    "rules": {task: trainee_json(t) for task, t in row.trainees.items()},
                }
                for row in explanation.rows
            ],
        }
    )


def explanation_table(explanation: Explanation) -> TextTable:
    """Return AdamW with each thing tuned, and what remains of the rule's gain over it."""
    return stored_explanation_table(explanation_json(explanation))


def stored_explanation_table(stored: Mapping[str, Any]) -> TextTable:
    """Return the same table of an explanation as the table file of a run stores it."""
    rows = [
        (
            row["tuned"],
            loss_change(stored_interval(row["gain_over_rate_alone"])),
            loss_change(stored_interval(row["left_of_the_rule"])),
        )
        for row in stored["rows"]
    ]
    return TextTable(
        "What single things explain that anybody may tune: AdamW with the rate and one more thing "
        f"tuned by {stored['trials']} trials a task, mean over the proxies, "
        f"{stored['repeats']} fresh seeds.",
        ("<AdamW with its rate and ... tuned", "<gain over the rate alone", "<left of the rule's"),
        tuple(rows),
    )


def explanation_markdown(explanation: Explanation) -> str:
    """Return an explanation as Markdown: the table, then its sentences."""
    table = explanation_table(explanation)
    parts = (table.title, table.markdown(), *explanation_sentences(explanation))
    return "\n\n".join(parts) + "\n"


def explanation_sentences(explanation: Explanation) -> list[str]:
    """Return an explanation in sentences, the verdict last."""
    verdict = explanation_verdict(explanation)
    if explanation.straight is None:
        return [verdict]
    straight, whole = loss_change(explanation.straight), loss_change(explanation.whole)
    return [
        "The rule with its schedule straightened, tuned alike: "
        f"{straight} against {ADAMW} (the rule: {whole}).",
        verdict,
    ]


def explanation_verdict(explanation: Explanation) -> str:
    """Return a sentence on what explains the gain, if anything does."""
    nearest = explanation.nearest
    if explanation.whole.high >= 0:
        return f"There is no gain over {ADAMW} to explain."
    if nearest.left.high >= 0:
        return f"The gain is explained by AdamW with {nearest.name} tuned: nothing certain is left."
    return (
        f"Nothing of these explains the gain: the nearest, {nearest.name}, leaves "
        f"{loss_change(nearest.left)}, {100 * explanation.kept:.0f} % of the gain over {ADAMW}."
    )
