"""Former names of options go on working: silently as commands, with a warning from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import optforge
from optforge.ablation import Options
from optforge.api.search_options import SearchOptions
from optforge.api.simplification import SimplifyOptions
from optforge.cli.app import app
from optforge.errors import OptforgeError, SimplifyError
from optforge.jobs import Silent
from optforge.options import documented


def error(*words: str) -> str:
    done = CliRunner().invoke(app, words, env={"COLUMNS": "200"})
    assert done.exit_code in (1, 2)
    return done.stderr


def test_old_names_of_a_search_are_read_as_the_new_ones(tmp_path: Path) -> None:
    assert "no rule 'nosuch'" in error("search", "--from", "nosuch")
    (tmp_path / "file").write_text("mine")
    assert "is a file" in error("search", "--from=lion", "--run", str(tmp_path / "file"))


@pytest.mark.parametrize("words", [["--states", "5"], ["--states=5"]])
def test_a_former_number_of_states_is_read_as_its_bytes(words: list[str]) -> None:
    assert "max-state-bytes is 20" in error("search", *words)
    assert "--states" in error("search", "--states"), "without a number it is what was given"


def test_old_names_of_the_other_verbs_are_read_as_the_new_ones(tmp_path: Path) -> None:
    for verb, more in (("export", ()), ("simplify", ("--exact",))):
        out = tmp_path / f"{verb}.py"
        done = CliRunner().invoke(app, [verb, "signum", *more, "--output", str(out)])
        assert done.exit_code == 0 and "deprecated" not in done.output and out.exists()
    for name in ("--task", "--tasks", "-t"):
        assert "--optimizers is missing" in error("compare", name, "digits_mlp")


def test_a_verb_that_moved_says_where() -> None:
    done = CliRunner().invoke(app, ["train-image", "vit_b16", "--list"], env={"COLUMNS": "200"})
    assert done.exit_code == 2 and not done.stdout
    assert done.stderr.startswith("error: train-image is a script now")
    assert "python -m paper.images" in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert "train-image" not in CliRunner().invoke(app, ["--help"]).stdout


def test_the_help_shows_the_new_names_alone() -> None:
    text = CliRunner().invoke(app, ["search", "--help"], env={"COLUMNS": "200"}).stdout
    assert "--start" in text and "--out" in text and "--from" not in text and "--run " not in text


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"run": "file"}, "out="),
        ({"watcher": Silent(), "programs": 0}, "watch="),
        ({"states": 5}, "max_state_bytes="),
    ],
)
def test_old_keywords_of_a_search_warn_and_work(
    old: dict[str, Any], new: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("mine")
    with pytest.warns(DeprecationWarning, match=new), pytest.raises(OptforgeError):
        optforge.search(["digits_mlp"], **old)


def test_old_keywords_of_simplify_warn_and_work() -> None:
    said: list[str] = []

    class Heard(Silent):
        def say(self, text: str) -> None:
            said.append(text)

    old: Any = {"display": Heard()}
    with pytest.warns(DeprecationWarning, match="watch="):
        simple = optforge.simplify("signum", exact=True, **old)
    assert simple.recognised.family == "Signum" and said
    old = {"options": Options(margin=0.05, programs=50)}
    with (
        pytest.warns(DeprecationWarning, match="margin="),
        pytest.raises(SimplifyError, match="margin, programs"),
    ):
        optforge.simplify("program_8", exact=True, **old)


def test_an_unknown_keyword_is_a_type_error() -> None:
    wrong: Any = {"minuts": 3}
    with pytest.raises(TypeError, match="'minuts'"):
        optforge.search(**wrong)


@pytest.mark.parametrize("options", [SearchOptions, SimplifyOptions])
def test_every_option_is_documented_once_and_shown_by_help(options: Any) -> None:
    verb = {SearchOptions: optforge.search, SimplifyOptions: optforge.simplify}[options]
    names = [name for name in options.__dataclass_fields__ if name != "_"]
    texts = documented(options)
    assert sorted(texts) == sorted(names) and all(texts.values())
    assert all(f"    {name}: " in (verb.__doc__ or "") for name in names)


def test_options_can_be_kept_and_given_again() -> None:
    assert SimplifyOptions("lion", by="evolution").training.programs == 3000
    assert SimplifyOptions("lion", by="evolution", programs=7).training.programs == 7
    assert SearchOptions(programs=100).length is None and SearchOptions().length == 8.0
