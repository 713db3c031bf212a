"""The examples run, with fewer trials, and the tasks in them can be given on the command line."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from optforge import compare, load_rule
from optforge.language import rule_text
from optforge.report.comparison import style as comparison_style
from optforge.tasks import load_task

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
LITTLE = {"trials": 2, "seeds": 2, "finalists": 1, "again": 0, "extensions": 0, "workers": 0}


def test_a_task_and_an_optimizer_of_ones_own() -> None:
    defined = runpy.run_path(str(EXAMPLES / "compare_own_task.py"))
    mine = {"adamw": "adamw", "mine": defined["MySignSGD"]}
    result = compare([defined["Spirals"]()], mine, fixed={"steps": 20}, **LITTLE)
    assert [pair.recipe for pair in result.pairs] == ["mine"]
    assert result.findings.tasks[0].tuned["mine"].finals[0].optimizer_bytes == 0
    assert "| Spirals | mine |" in result.markdown


@pytest.mark.slow
def test_a_model_and_an_optimizer_of_timm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("timm")
    monkeypatch.setattr(comparison_style, "_DPI", 20)  # figures that are quick to draw
    task = load_task(f"{EXAMPLES / 'compare_with_timm.py'}:TinyResNet")
    assert task.target == 0.3
    optimizers = ["adamw", "timm:lamb"]
    result = compare([task], optimizers, fixed={"steps": 4}, out=tmp_path / "timm", **LITTLE)
    assert result.findings.tasks[0].target == 0.3 and not result.findings.tasks[0].derived
    assert (tmp_path / "timm" / "report.md").exists()


def test_a_rule_and_a_rule_file_are_optimizers(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(rule_text("signum"))
    result = compare(
        ["digits_mlp"], ["lion", "rule=signum", str(tmp_path / "mine.py")],
        fixed={"steps": 10}, **LITTLE,
    )  # fmt: skip
    tuned = result.findings.tasks[0].tuned
    assert list(tuned) == ["lion", "rule", "mine.py"]
    assert [o.loss for o in tuned["rule"].finals] == [o.loss for o in tuned["mine.py"].finals]
    assert "beta1" in dict(tuned["rule"].best or ()) and load_rule("signum").states == ("m",)
