"""The paper's programs with training on the default tasks: up to an hour each."""

from __future__ import annotations

import pytest

from optforge.ablation.rounding import digits
from optforge.api.simplification import simplify
from optforge.equality import EMPIRICAL
from optforge.language import parse

FAMILY = ("Lion", "Signum", "signSGD")  # short tasks may prefer no average at all
RATES = ("lr ", "weight_decay")  # re-tuned in few digits, and rounded once more at the end


def constants(text: str) -> list[float]:
    return [a for s in parse(text).statements for a in s.arguments if isinstance(a, float)]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ["program_8", "program_4"])
def test_the_papers_rule_is_found_in_the_sign_momentum_family(name: str) -> None:
    found = simplify(name)
    text = found.program.text
    assert "clip(" not in text and "arcsin(" not in text
    assert found.recognised.name is not None and found.recognised.family in FAMILY
    assert found.trained is not None
    if found.trained.ended == "nothing is left to remove":
        tried = [one for one in found.trained.roundings if not one.statement.startswith(RATES)]
        assert all(one.status in ("kept: worse", "kept: unresolved") for one in tried), tried
    steps = [step for step in found.simplified.derivation.steps if step.kind == EMPIRICAL]
    assert sum(map(digits, constants(text))) < sum(map(digits, constants(steps[0].after)))
    gone = {word: _when(word, [step.after for step in steps]) for word in ("arcsin(", "clip(")}
    assert gone["arcsin("] <= gone["clip("], "without clip, arcsin is NaN"

    rows = found.trained.effects.rows
    assert {row.status.split(":")[0] for row in rows} >= {"removed", "kept"}
    for row in rows:
        assert row.mean is not None and row.mean.low <= row.mean.mean <= row.mean.high
    removed = [row.change.split(" -> ")[0] for row in rows if row.status == "removed"]
    exact = [step for step in found.simplified.derivation.steps if step.kind != EMPIRICAL]
    assert any("arcsin(" in change for change in removed) or any(
        "arcsin(" in step.before and "arcsin(" not in step.after for step in exact
    )


def _when(word: str, texts: list[str]) -> int:
    return next(n for n, text in enumerate(texts) if word not in parse(text).text)
