"""The verbs that only look, and what the command line says when something is wrong."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import optforge
from optforge.cli.app import app
from optforge.errors import RunError
from optforge.language import parse, rule_names, rule_text
from optforge.runs import RunDirectory
from optforge.tasks import task_names


def call(*words: str) -> Result:
    environment = {"COLUMNS": "200", "NO_COLOR": "1"}
    return CliRunner().invoke(app, words, env=environment, prog_name="optforge")


def sentence(result: Result, code: int) -> str:
    """The one line on the standard error; nothing else may be there."""
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


def test_the_version() -> None:
    result = call("--version")
    assert (result.exit_code, result.stdout) == (0, f"optforge {optforge.__version__}\n")


def test_help_lists_the_verbs_and_every_option_has_words() -> None:
    for verb in ("search", "show", "rules", "tasks", "runs"):
        assert verb in call("--help").stdout
    text = call("search", "--help").stdout
    options = (
        *("--start", "--tasks", "--held-out", "--minutes", "--programs", "--population"),
        *("--tournament", "--functions", "--max-state-bytes", "--max-statements", "--strategy"),
        *("--mutations", "--in-place", "--rescale"),
        *("--repeats", "--restart", "--restart-after", "--constants-programs", "--workers"),
        *("--seed", "--out", "--resume", "--compile", "--trials", "--debug"),
    )
    assert [option for option in options if option not in text] == []
    assert "Default: 1000." in text and "Default: adamw." in text


def test_show_knows_program_8() -> None:
    facts = json.loads(call("show", "program_8", "--json").stdout)
    assert facts["statements"] == 21
    assert facts["live_within_step"] == 13
    assert facts["live_across_steps"] == 12
    assert facts["states"] == ["m", "v"]
    assert facts["dead_states"] == ["m"]
    assert facts["state_bytes_per_parameter"] == 4
    assert re.fullmatch("[0-9a-f]{16}", facts["fingerprint"])
    assert facts["marks"].count("live") == 12
    assert facts["marks"].count("live within a step only") == 1


@pytest.mark.parametrize("name", rule_names())
def test_show_prints_every_shipped_rule(name: str) -> None:
    text = call("show", name).stdout
    for line in optforge.load_rule(name).text.splitlines():
        assert line.strip() in text


def test_show_keeps_the_digits_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("# Mine.\ndef train(w, g, lr):\n    u = g * 0.1234567890123\n    return u\n")
    facts = json.loads(call("show", str(file), "--json").stdout)
    assert parse(facts["program"]).statements[0].arguments == ("g", 0.1234567890123)
    assert "0.1234567890123" in call("show", str(file)).stdout


def test_rules_and_tasks_list_all_there_is() -> None:
    rules, tasks = call("rules").stdout, call("tasks").stdout
    assert [name for name in rule_names() if name not in rules] == []
    assert [name for name in task_names() if name not in tasks] == []
    assert re.search(r"names_cnn .* held-out", tasks)


def test_runs_lists_what_is_there(tmp_path: Path) -> None:
    RunDirectory.create(tmp_path / "first", {}).close()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "journal.sqlite").write_bytes(b"no database at all" * 100)
    found = json.loads(call("runs", str(tmp_path), "--json").stdout)
    assert {Path(run["path"]).name: run["status"] for run in found} == {
        "first": "stopped",
        "broken": "unreadable",
    }
    text = call("runs", str(tmp_path)).stdout
    assert "first" in text and "unreadable" in text


def test_no_runs_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("runs").exit_code == 0
    assert json.loads(call("runs", "--json").stdout) == []
    assert "is not a directory" in sentence(call("runs", "nowhere"), 1)


def broken_files(folder: Path) -> dict[str, Path]:
    """Files that are no rule."""
    texts = {"text": "import os\n", "kinds": "def train(w, g, lr):\n    return lr\n", "none": ""}
    for name, text in texts.items():
        (folder / name).write_text(text)
    (folder / "binary").write_bytes(bytes(range(256)))
    return {name: folder / name for name in (*texts, "binary")}


def test_show_refuses_what_is_no_rule(tmp_path: Path) -> None:
    for name, file in broken_files(tmp_path).items():
        assert len(sentence(call("show", str(file)), 1)) > 20, name
    assert "neither a file nor one of adabelief" in sentence(call("show", "adamv"), 1)
    assert sentence(call("show", str(tmp_path)), 1)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("--tasks nosuch", 1, "unknown task 'nosuch'; there are: mnist_mlp"),
        ("--tasks digits_mlp,digits_mlp", 1, "no name may occur twice"),
        ("--tasks ,", 1, "there is no task"),
        ("--held-out mnist_mlp", 1, "no name may occur twice"),
        ("--start nosuch", 1, "no rule 'nosuch'"),
        ("--strategy annealing", 1, "allowed are evolution, constants, random"),
        ("--restart worst", 1, "allowed are best, initial, none"),
        ("--population 0", 1, "population is 0; it must be at least 1"),
        ("--population 5 --tournament 6", 1, "tournament (6) is larger"),
        ("--max-state-bytes 17", 1, "allowed are 0 to 16"),
        ("--max-state-bytes -1", 1, "allowed are 0 to 16"),
        ("--max-state-bytes 4", 1, "give --max-state-bytes 8"),
        ("--functions paper,nonsense", 1, "'nonsense'"),
        ("--functions ,", 1, "no set of functions is given; there are paper, masks"),
        ("--max-statements 3", 1, "raise it"),
        ("--minutes 0", 1, "must be a"),
        ("--minutes nan", 1, "must be a"),
        ("--programs 0", 1, "must be a"),
        ("--workers -1", 1, "workers is -1"),
        ("--trials 0", 1, "trials is 0"),
        ("--mutations 1,-1,1", 1, "none may be negative"),
        ("--mutations 1,1,1,-1", 1, "none may be negative"),
        ("--mutations 1,1,1,1,1", 2, "give three or four numbers"),
        ("--mutations 1,1", 2, "give three or four numbers separated by commas"),
        ("--mutations a,b,c", 2, "give three or four numbers separated by commas"),
        ("--programs many", 2, "'--programs'"),
        ("--nonsense", 2, "'optforge search --help'"),
        ("--resume nowhere", 1, "is not a run: it does not exist"),
        ("--resume nowhere --start lion", 2, "--start cannot be given with --resume"),
        ("--resume nowhere --seed 3", 2, "--seed cannot be given with --resume"),
        ("--resume nowhere --no-compile", 2, "--compile cannot be given with --resume"),
        ("--resume nowhere --held-out none", 2, "--held-out cannot be given with --resume"),
    ],
)
def test_search_refuses_in_one_sentence(
    words: str, code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in sentence(call("search", *words.split()), code)
    assert list(tmp_path.iterdir()) == []  # nothing was left behind


def test_a_run_that_exists_is_not_overwritten(tmp_path: Path) -> None:
    RunDirectory.create(tmp_path / "run", {"mine": 1}).close()
    said = sentence(call("search", "--tasks", "digits_mlp", "--out", str(tmp_path / "run")), 1)
    assert "already holds a run" in said and "--resume" in said
    with RunDirectory.open(tmp_path / "run") as run:
        assert run.journal.settings == {"mine": 1}
    (tmp_path / "file").write_text("mine")
    assert "is a file" in sentence(call("search", "--out", str(tmp_path / "file")), 1)


def test_wrong_verbs_are_wrong_use() -> None:
    assert "'optforge --help'" in sentence(call("serach"), 2)
    assert "'rule'" in sentence(call("show"), 2)


def test_a_defect_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("optforge.cli.show.load_rule", fail)
    said = sentence(call("show", "lion"), 70)
    assert said.startswith("optforge failed unexpectedly (ZeroDivisionError: by zero); run again")
    assert "Traceback" in call("show", "lion", "--debug").stderr


def test_debug_shows_the_traceback_of_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise RunError("a\nreason")

    monkeypatch.setattr("optforge.cli.show.load_rule", fail)
    assert sentence(call("show", "lion"), 1) == "a reason"
    result = call("show", "lion", "--debug")
    assert result.exit_code == 1 and "Traceback" in result.stderr


def test_a_reader_that_goes_away_is_no_noise() -> None:
    command = f"{sys.executable} -m optforge rules | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120)
    assert done.stderr == "" and done.stdout.startswith("rule")


def test_own_tasks_are_names_for_every_verb(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the letters of one name."""
    given: list[object] = []

    def note(**arguments: object) -> None:
        given.append(arguments["tasks"])
        raise RunError("noted")

    for verb, function, words in (
        ("explain", "run_explain", ("run",)),
        ("search", "api_search", ()),
        ("search", "api_resume", ("--resume", "run")),
        ("simplify", "run", ("run",)),
    ):
        monkeypatch.setattr(f"optforge.cli.{verb}.{function}", note)
        call(verb, *words, "--tasks", "mine.py:Line,mine.py:Other")
    assert given == [["mine.py:Line", "mine.py:Other"]] * 4


@pytest.mark.parametrize("token", ["a b", "a&b", "ü", "50%", "#"])
def test_a_token_that_is_no_part_of_an_address_is_refused(token: str, tmp_path: Path) -> None:
    said = sentence(call("watch", str(tmp_path), "--token", token), 1)
    assert "use letters, digits, - and _" in said


def test_what_ends_the_process_of_a_task_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ended(BaseException):
        pass

    def fail(name: str) -> None:
        raise Ended("by hand")

    monkeypatch.setattr("optforge.cli.show.load_rule", fail)
    assert "ended the work by Ended: by hand" in sentence(call("show", "lion"), 1)


@pytest.mark.parametrize("host", ["x" * 70 + ".com", "ä" * 100, "no such host"])
def test_a_host_that_can_be_none_is_refused(host: str, tmp_path: Path) -> None:
    assert "an address of this machine" in sentence(call("watch", str(tmp_path), "--host", host), 1)


def test_a_file_whose_name_begins_with_a_dash_is_no_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("-rule.txt").write_text(rule_text("signum"))
    shown = call("show", "--", "-rule.txt")
    assert shown.exit_code == 0 and "optforge report ./-rule.txt" in shown.stdout


def test_two_outputs_are_two_files(tmp_path: Path) -> None:
    words = ("simplify", "signum", "--exact", "--force", "-o", f"{tmp_path}/x")
    said = sentence(call(*words, "--picture", f"{tmp_path}/./x"), 1)
    assert "give two files" in said and not list(tmp_path.iterdir())
