"""``optforge simplify --exact`` from the outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from optforge.cli.app import app
from optforge.language import load_rule, parse

RUNNER = CliRunner()


def test_json_has_what_is_promised_and_the_file_is_the_rule(tmp_path: Path) -> None:
    out = tmp_path / "simple.py"
    result = RUNNER.invoke(app, ["simplify", "program_8", "--exact", "--json", "-o", str(out)])
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert found["statements"] == len(parse(found["program"]).statements) <= 9
    assert found["states"] == ["momentum"]
    assert found["name"].startswith("Lion with beta1 = 0.9, beta2 = 0.99822")
    assert all({"kind", "before", "after", "why"} <= set(step) for step in found["steps"])
    assert found["steps"][0]["before"] == load_rule("program_8").text
    assert found["steps"][-1]["after"] == found["program"]
    assert load_rule(out) == parse(found["program"])


def test_people_get_rule_name_steps_card_and_picture(tmp_path: Path) -> None:
    picture = tmp_path / "update.png"
    arguments = ["simplify", "signum", "--exact", "--picture", str(picture)]
    result = RUNNER.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "momentum = interp(gradient, momentum, 0.9)" in result.output
    assert "Signum with beta = 0.9" in result.output
    assert "scaling of gradients" in result.output and "invariant" in result.output
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert result.output.splitlines()[-1] == "As a page: optforge report signum"


def test_the_page_that_is_named_is_that_of_the_simple_rule(tmp_path: Path) -> None:
    for name, subject in (("simple.py", str(tmp_path / "simple.py")), ("simple.md", "signum")):
        words = ["simplify", "signum", "--exact", "-o", str(tmp_path / name)]
        result = RUNNER.invoke(app, words, env={"COLUMNS": "200"})
        assert result.output.splitlines()[-1] == f"As a page: optforge report {subject}"


def test_a_file_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = tmp_path / "missing" / "simple.py"
    result = RUNNER.invoke(app, ["simplify", "signum", "--exact", "-o", str(wrong)])
    assert result.exit_code == 1
    assert "cannot write" in result.output


@pytest.mark.parametrize("option", ["-o", "--picture"])
def test_a_file_that_is_there_is_replaced_with_force_only(tmp_path: Path, option: str) -> None:
    kept = tmp_path / "mine.py"
    kept.write_text("precious")
    arguments = ["simplify", "signum", "--exact", option, str(kept)]
    result = RUNNER.invoke(app, arguments)
    assert result.exit_code == 1 and "replace it with --force" in result.output
    assert kept.read_text() == "precious"
    assert RUNNER.invoke(app, [*arguments, "--force"]).exit_code == 0
    assert kept.read_bytes() != b"precious"


OWN = Path(__file__).parents[2] / "examples" / "own_task.py"


def trained(tmp_path: Path, *more: str) -> tuple[int, str, str]:
    rule = tmp_path / "rule.py"
    rule.write_text(RULE)
    arguments = ["simplify", str(rule), "--tasks", f"{OWN}:Spirals", "--workers", "0"]
    result = RUNNER.invoke(app, [*arguments, "--minutes", "0.05", *more])
    return result.exit_code, result.stdout, result.output


RULE = """
def train(w, g, lr):
    u = g + 1e-30
    u = u * lr
    u = u * 0.5
    return u
"""


@pytest.mark.slow
def test_training_takes_no_longer_than_it_may_and_says_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPTFORGE_CACHE", str(tmp_path / "cache"))
    code, out, output = trained(tmp_path, "--json")
    assert code == 0, output
    found = json.loads(out)
    assert found["training"]["tasks"] == ["Spirals"]
    assert found["training"]["ended"] in ("the time was up", "nothing is left to remove")
    assert found["steps"][0]["before"] == parse(RULE).text
    assert list((tmp_path / "cache" / "simplify").glob("*.losses")), "resuming needs the losses"
    page = tmp_path / "page.md"
    code, out, output = trained(tmp_path, "-o", str(page))
    assert code == 0, output
    assert "## Derivation" in page.read_text() and "comparisons" in " ".join(out.split())


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--margin", "-1"), "margin is -1.0"),
        (("--by", "magic"), "give 'statements' or 'evolution'"),
        (("--keep", "nobody"), "what can be kept is"),
    ],
)
def test_what_cannot_be_is_one_sentence(tmp_path: Path, more: tuple[str, ...], said: str) -> None:
    code, _, output = trained(tmp_path, *more)
    assert code != 0 and said in " ".join(output.split())


def test_a_directory_without_a_rule_is_one_sentence(tmp_path: Path) -> None:
    result = RUNNER.invoke(app, ["simplify", str(tmp_path), "--exact"])
    assert result.exit_code == 1 and "one of a run that finished" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--exact", "--keep", "sign", "--minutes", "3"], "keep, minutes would do nothing"),
        (["--exact", "--margin", "0.02"], "margin would do nothing"),
        (["--programs", "50"], "--by evolution"),
    ],
)
def test_options_that_would_be_ignored_are_refused(more: list[str], named: str) -> None:
    result = RUNNER.invoke(app, ["simplify", "signum", *more])
    assert result.exit_code == 1  # the options refuse it, whoever gives them
    assert named in " ".join(result.output.replace("│", " ").split())
