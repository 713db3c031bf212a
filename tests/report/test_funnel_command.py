"""The command on the page of a funnel leads to the same stages and options again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from optforge.promotion import Stage
from optforge.promotion.stage import read_ladder
from optforge.report.promotion.command import LADDER_FILE, funnel_command, ladder_file


def settings(stages: Sequence[Stage]) -> dict[str, Any]:
    stored = [stage.stored() for stage in stages]
    rest = {"candidates": [{}] * 5, "baseline": "muon", "alpha": 0.01, "seed": 7}
    return {"run": "runs/a b", "stages": stored, **rest}


def options(words: list[str]) -> dict[str, str]:
    return dict(zip(words[3::2], words[4::2], strict=True))


@pytest.mark.parametrize(
    ("given", "trials", "shown"),
    [
        (None, None, {}),
        (None, 4, {"--trials": "4"}),
        (["digits_mlp", "mnist_autoencoder"], 8,
         {"--ladder": "digits_mlp,mnist_autoencoder", "--trials": "8"}),
    ],
)  # fmt: skip
def test_names_and_one_number_of_trials_are_options(
    given: list[str] | None, trials: int | None, shown: dict[str, str]
) -> None:
    stages = read_ladder(given, trials)
    words = funnel_command(settings(stages))
    rest = {"--candidates": "5", "--baseline": "muon", "--alpha": "0.01", "--seed": "7"}
    assert words[:3] == ["optforge", "funnel", "runs/a b"]
    assert options(words) == shown | rest
    assert ladder_file(settings(stages)["stages"]) == ""


@pytest.mark.parametrize(
    "extra", ["seeds = [3, 5]", "keep = 2", "trials = 5\n[[stage]]\ntask = 'letters_residual'"]
)
def test_other_numbers_are_a_file(tmp_path: Path, extra: str) -> None:
    (tmp_path / "given.toml").write_text(f"[[stage]]\ntask = 'digits_mlp'\n{extra}\n")
    stages = read_ladder(tmp_path / "given.toml")
    stored = settings(stages)
    assert options(funnel_command(stored))["--ladder"] == LADDER_FILE
    (tmp_path / LADDER_FILE).write_text(ladder_file(stored["stages"]))
    again = read_ladder(tmp_path / LADDER_FILE)
    assert [stage.stored() for stage in again] == stored["stages"]
