"""A funnel and a simplification made for the tests of their pages, with names that hold markup."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from optforge.ablation import describe
from optforge.promotion.candidates import FunnelCandidate
from optforge.promotion.decision import DROPPED, PROMOTED
from optforge.promotion.stage import default_numbers
from optforge.report.simplify.files import SIMPLE_JSON, simplify_files
from optforge.runs import Journal
from tests.helpers.derived import simple
from tests.helpers.page_runs import ADAMW, HOSTILE, LION

PROGRAMS = {7: LION, 31: ADAMW}
STAGES = (HOSTILE, "second")


def make_funnel(path: Path, finished: bool = True) -> Path:
    """Write a funnel: program 7 is promoted once and dropped in the second stage, 31 at once."""
    path.mkdir(parents=True)
    candidates = [
        asdict(FunnelCandidate(number, rule.text, -0.1, {}))
        for number, rule in PROGRAMS.items()
    ]  # fmt: skip
    settings = {
        "run": f"runs/{HOSTILE}", "baseline": "adamw", "alpha": 0.05, "seed": 0,
        "stages": [
            {"name": name, "place": name, **default_numbers(number), "trials": 4}
            for number, name in enumerate(STAGES)
        ],
        "candidates": candidates,
    }  # fmt: skip
    Journal.create(path / "journal.sqlite", {"funnel": settings}).close()
    if finished:
        stages = [
            _stage(STAGES[0], {7: (PROMOTED, -0.08), 31: (DROPPED, 0.05)}),
            _stage(STAGES[1], {7: (DROPPED, 0.01)}),
        ]
        stored = {"verdict": f"No candidate beats {HOSTILE}.", "stages": stages}
        (path / "funnel.json").write_text(json.dumps(stored))
    return path


def _stage(name: str, outcomes: dict[int, tuple[str, float]]) -> dict[str, Any]:
    def entry(number: int, outcome: str, mean: float) -> dict[str, Any]:
        effect = {"mean": mean, "low": mean - 0.02, "high": mean + 0.02, "p_value": 0.5, "count": 9}
        return {"number": number, "cluster_size": 1, "outcome": outcome, "effect": effect,
                "corrected_p_value": 0.001, "seeds": 9, "tuned": {}}  # fmt: skip

    candidates = [entry(number, *what) for number, what in outcomes.items()]
    return {"stage": name, "trials": 4, "baseline": {}, "candidates": candidates}


def make_simplification(path: Path, name: str = "program_8") -> Path:
    """Write what `optforge simplify` leaves of a shipped rule."""
    path.mkdir(parents=True)
    rule = describe(simple(name))
    (path / SIMPLE_JSON).write_text(simplify_files(rule)[SIMPLE_JSON])
    return path
