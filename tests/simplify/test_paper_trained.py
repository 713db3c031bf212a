"""The paper's programs with training on the default tasks: a quarter of an hour each."""

from __future__ import annotations

import pytest

from optforge.language import parse
from optforge.simplify import EMPIRICAL
from optforge.simplify.rounding import digits
from optforge.simplifying import simplify

FAMILY = ("Lion", "Signum")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["program_8", "program_4"])
def test_the_papers_rule_is_found_in_the_sign_momentum_family(name: str) -> None:
    found = simplify(name)
    text = found.program.text
    assert "clip(" not in text and "arcsin(" not in text
    assert found.recognised.name is not None and found.recognised.family in FAMILY
    constants = [a for s in found.program.statements for a in s.arguments if isinstance(a, float)]
    assert all(digits(value) <= 3 for value in constants), text

    steps = [step for step in found.simplified.derivation.steps if step.kind == EMPIRICAL]
    gone = {word: _when(word, [step.after for step in steps]) for word in ("arcsin(", "clip(")}
    assert gone["arcsin("] <= gone["clip("], "without clip, arcsin is NaN"

    assert found.trained is not None
    rows = found.trained.effects.rows
    assert {row.status.split(":")[0] for row in rows} >= {"removed", "kept"}
    for row in rows:
        assert row.mean is not None and row.mean.low <= row.mean.mean <= row.mean.high
    changes = [row.change for row in rows if row.status == "removed"]
    assert any("arcsin(" in change.split(" -> ")[0] for change in changes)


def _when(word: str, texts: list[str]) -> int:
    return next(n for n, text in enumerate(texts) if word not in parse(text).text)
