"""``optforge export``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from optforge.cli.app import app
from optforge.exporters import TARGETS, export
from optforge.language import load_rule


def call(*words: str) -> Result:
    return CliRunner().invoke(app, words, env={"COLUMNS": "200", "NO_COLOR": "1"})


@pytest.mark.parametrize("target", TARGETS)
def test_a_shipped_rule_is_printed(target: str) -> None:
    assert call("export", "lion", "--to", target).stdout == export(
        load_rule("lion"), target, "lion"
    )


def test_a_file_is_written_and_never_replaced_unasked(tmp_path: Path) -> None:
    file = tmp_path / "lion.py"
    words = ("export", "lion", "--to", "torch", "-o", str(file))
    done = call(*words)
    assert done.exit_code == 0 and done.stdout == "As a page: optforge report lion\n"
    text = file.read_text()
    assert "class Lion(Optimizer):" in text
    file.write_text("mine")
    refused = call(*words)
    assert refused.exit_code == 1 and "replace it with --force" in refused.stderr
    assert file.read_text() == "mine"
    assert call(*words, "--force").exit_code == 0 and file.read_text() == text
    assert "cannot write" in call(*words[:-1], str(tmp_path / "no" / "x.py")).stderr


def test_the_best_rule_of_a_run_is_found_in_its_directory(tmp_path: Path) -> None:
    run = tmp_path / "first"
    run.mkdir()
    assert "without best.py" in call("export", str(run)).stderr
    (run / "best.py").write_text(load_rule("signum").text)
    text = call("export", str(run), "--to", "optax").stdout
    assert "def best_of_first_update(" in text and "Rule: first/best.py" in text
    assert str(tmp_path) not in text


def test_wrong_words_are_refused_in_one_sentence() -> None:
    assert "allowed are torch, optax, latex" in call("export", "lion", "--to", "word").stderr
    assert "no rule 'nosuch'" in call("export", "nosuch").stderr


def test_a_written_file_runs_alone(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    assert call("export", "program_8", "--to", "torch", "-o", str(file)).exit_code == 0
    code = (
        "import sys; sys.modules['optforge'] = None; import torch, mine\n"
        "w = torch.nn.Parameter(torch.ones(2)); o = mine.Program8([w]); (w**2).sum().backward()\n"
        "o.step(); assert (w < 1).all()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
