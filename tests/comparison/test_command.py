"""The command line: a suite from plan to figures, options, resuming, mistakes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from optforge.api.comparison import prepare
from optforge.cli import comparing
from optforge.cli.app import app
from optforge.cli.compare import _assignments
from optforge.cli.plain import PlainDisplay
from optforge.comparison.suite import read_suite
from optforge.errors import CompareError
from optforge.report.comparison import style as comparison_style
from tests.comparison.test_resume import TIMES
from tests.helpers.comparisons import few

SUITE = Path(__file__).with_name("smoke.toml")
COLUMNS = {"COLUMNS": "160"}
TINY = ["--trials", "2", "--seeds", "2", "--extensions", "0", "--fix", "steps=5", "--workers", "0"]


def call(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["compare", *arguments], env=COLUMNS)
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    path = tmp_path_factory.mktemp("suite") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison_style, "_DPI", 20)  # figures that are quick to draw
        return path, call("--suite", str(SUITE), "--out", str(path), "--workers", "2")


def test_the_smoke_suite_leaves_tables_and_figures(suite: tuple[Path, str]) -> None:
    path, printed = suite
    assert "digits_mlp[batch_size=16]" in printed and "baseline" in printed
    assert f"optforge report {path / 'batch'}" in printed.replace("\n", "")
    wanted = {"report.json", "report.md", "cells.jsonl", "comparison.json", "trials.png",
              "rates.png", "curves.png", "differences.png"}  # fmt: skip
    assert wanted <= {file.name for file in (path / "batch").iterdir()}
    assert (path / "batch" / "axis-batch_size.png").exists()
    everything = {file.name for file in (path / "everything").iterdir()}
    assert wanted | {"map-digits-mlp.png", "profiles.png"} <= everything
    assert all((path / "batch" / f).read_bytes()[:4] == b"\x89PNG" for f in wanted if "png" in f)


def test_the_report_says_what_it_was_made_with(suite: tuple[Path, str]) -> None:
    told = json.loads((suite[0] / "everything" / "report.json").read_text())
    assert {"torch", "threads", "workers", "commit"} <= told["sessions"][0].keys()
    task = told["tasks"]["digits_mlp"]
    assert len(task["seeds"]) == 3 and task["target"] > 0 and task["target_derived"]
    assert told["settings"]["trials"] == 4
    names = [one["recipe"] for one in told["optimizers"]]
    assert names == ["adamw", "rule.txt", "named"]
    assert all(one["optimizer_bytes"] > 0 and one["step_ms"] > 0 for one in told["optimizers"])
    assert set(told["time_to_target"]) == {"seconds", "steps"}
    assert [len(of) for of in task["map"].values()] == [4, 4, 2]
    point = task["map"]["adamw"][0]
    assert set(point["setting"]) >= {"lr", "weight_decay"} and len(point["loss"]) == 1
    assert [one["recipe"] for one in told["maps"]] == names
    rises = [one for one in told["measured"] if one["name"] == "rise_under_relative_noise_0.1"]
    assert [one["ratio"] is None for one in rises] == [True, False, False]
    assert {pair["verdict"] for pair in told["pairs"]} == {"too few seeds"}
    batch = json.loads((suite[0] / "batch" / "report.json").read_text())
    assert [one["axis"] for one in batch["optima"]] == ["batch_size"] * 2
    text = (suite[0] / "everything" / "report.md").read_text()
    assert f"Fresh seeds: digits_mlp: {task['seeds'][0]}, " in text
    assert "loss under relative noise" in text and "| adamw |" in text and "![curves.png]" in text


def test_resuming_a_suite_without_workers_gives_the_same_figures(
    suite: tuple[Path, str], tmp_path: Path
) -> None:
    """A table cut in half is completed by this process; two workers computed the whole."""
    out = tmp_path / suite[0].name  # as deep as the first, from which the rule's file is seen
    for name in ("batch", "everything"):
        again = out / name
        again.mkdir(parents=True)
        content = (suite[0] / name / "cells.jsonl").read_bytes()
        (again / "cells.jsonl").write_bytes(content[: len(content) // 2])
        shutil.copy(suite[0] / name / "comparison.json", again)
    call("--resume", "--out", str(out), "--workers", "0", "--no-figures")
    for name in ("batch", "everything"):
        assert figures(out / name) == figures(suite[0] / name)
        assert not (out / name / "curves.png").exists()


def test_a_directory_that_moved_without_its_files_says_so(
    suite: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = tmp_path / "far" / "away" / "everything"
    alone.mkdir(parents=True)
    shutil.copy(suite[0] / "everything" / "comparison.json", alone)
    monkeypatch.chdir(alone)  # or as many steps up as there are may end at the root, and find it
    printed = " ".join(call("--resume", "--out", str(alone), code=1).split())
    assert "was made with the file" in printed and "bring the file to that place" in printed


def test_a_directory_that_is_taken_is_refused_before_anything_runs(
    suite: tuple[Path, str],
) -> None:
    before = (suite[0] / "batch" / "cells.jsonl").read_bytes()
    printed = call("--suite", str(SUITE), "--out", str(suite[0]), code=1)
    assert "already holds a comparison" in " ".join(printed.split())
    assert (suite[0] / "batch" / "cells.jsonl").read_bytes() == before


def figures(path: Path) -> Any:
    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: strip(one) for name, one in value.items() if name not in TIMES}
        return [strip(one) for one in value] if isinstance(value, list) else value

    return strip(json.loads((path / "report.json").read_text()))


def test_a_plan_counts_and_trains_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    printed = call("--suite", str(SUITE), "--only", "batch", "--out", str(out), "--plan")
    # 4 trials and 2 beyond an edge, 2 finalists once more; 3 finals; 2 optimizers, 3 sizes.
    assert f"{(4 + 2 + 2 + 3) * 6} runs" in printed
    assert not out.exists()


def test_a_suite_has_one_bar_over_all_its_comparisons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int, float]] = []
    said: list[str] = []

    class Noting(PlainDisplay):
        def say(self, text: str) -> None:
            said.append(text)

        def progress(self, what: str, done: int, total: int, left: float | None = None) -> None:
            assert left is not None
            seen.append((done, total, left))

    monkeypatch.setattr(comparing, "make_display", lambda **_: Noting())
    asked = {name: (few("adamw", extensions=0, seeds=n), {}) for name, n in (("a", 3), ("b", 5))}
    comparing.conduct_all(asked, tmp_path, comparing.Manner(workers=0, figures=False, limit=60.0))
    runs = [6 + 2 * 1 + 3, 6 + 2 * 1 + 5]  # trials, finalists once more, fresh seeds
    assert {total for _, total, _ in seen} == {sum(runs)}
    done = [count for count, _, _ in seen]
    assert done == sorted(done) and (done[0], done[-1]) == (0, sum(runs))
    assert seen[-1][2] == 0.0 and all(left > 0 for count, _, left in seen if count < sum(runs))
    measured = [text for text in said if text.startswith("Measuring")]
    assert measured == [f"Measuring what a run costs ({n} of 2)" for n in (1, 2)]


def test_options_make_a_comparison_and_json_is_json(tmp_path: Path) -> None:
    printed = call("--task", "digits_mlp", "--optimizers", "adamw,twin=adamw", *TINY, "--json",
                   "--no-figures", "--tune", "lr,warmup", "--out", str(tmp_path / "a"))  # fmt: skip
    told = json.loads(printed)
    assert told["pairs"][0]["test_loss"]["mean"] == 0.0
    best = dict(told["optimizers"][0]["best"])
    assert set(best) == {"lr", "warmup"}


def test_options_change_a_suite() -> None:
    from optforge.cli.compare import _comparisons

    table = {"settings": {"trials": 9}, "optimizers": ["sgd"]}
    ((made, told),) = _comparisons(table, SUITE, "batch", None, False).values()
    assert made.settings.trials == 9 and made.settings.seeds == 3
    assert [recipe.name for recipe in made.recipes] == ["sgd"] and told["axes"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--task", "digits_mlp"], "--optimizers is missing"),
        (["--optimizers", "adamw"], "--tasks is missing"),
        (["--task", "digits_mlp", "-o", "adamw,adamw"], "two optimizers are called 'adamw'"),
        (
            ["--task", "digits_mlp", "-o", "adamw", "--axis", "wide=1,2"],
            "no plain attribute 'wide'",
        ),
        (["--task", "digits_mlp", "-o", "adamw", "--axis", "wide"], "sets nothing"),
        (["--task", "digits_mlp", "-o", "adamw", "--trials", "0"], "trials is 0"),
        (["--task", "digits_mlp", "-o", "adamw", "--tune", "beta"], "has 'beta' to tune"),
        (["--task", "digits_mlp", "-o", "adamw", "--baseline", "x"], "'x' is not among"),
        (["--task", "digits_mlp", "-o", "adamw", "--heat-map", "3"], "give two counts"),
        (["--task", "digits_mlp", "-o", "nothing"], "no optimizer 'nothing'"),
        (["--task", "digits_mlp", "-o", "adamw", "--extras", "x"], "no measurement 'x'"),
        (["--suite", "missing.toml"], "missing.toml cannot be read"),
        (["--suite", str(SUITE), "--only", "x"], "has no 'x'"),
        (["--resume", "--out", "nowhere"], "holds no readable comparison.json"),
        (["--resume", "--out", "x", "--trials", "3"], "is as it was stored, and --trials would"),
        (["--resume", "--out", "x", "--fix", "steps=3"], "is as it was stored, and --fix would"),
        (["--resume", "--task", "digits_mlp", "-o", "adamw"], "--resume needs the directory"),
        (["--task", "digits_mlp", "-o", "adamw", "--only", "x"], "give --suite FILE too"),
        (["--task", "digits_mlp", "-o", "adamw", "--fix", "steps=10,20"], "--axis steps=10,20"),
        (["--task", "digits_mlp", "-o", "adamw,torch:LBFGS", "--plan"], "needs a closure"),
    ],
)
def test_mistakes_are_told_in_one_sentence(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    printed = " ".join(call(*arguments, code=1).split())
    assert says in printed and "Traceback" not in printed


OWN_TASK = """
from tests.helpers.tiny import Blobs


class Mine(Blobs):
    steps = 5
"""
OWN_RULE = Path(__file__).with_name("rule.txt")


def own(folder: Path, *more: str) -> list[str]:
    (folder / "mine.py").write_text(OWN_TASK)
    (folder / "rule.txt").write_text(OWN_RULE.read_text())
    return ["--task", "mine.py:Mine", "-o", "adamw,r=rule.txt", "--trials", "1", "--seeds", "1",
            "--extensions", "0", "--workers", "0", "--no-figures", "--out", "out",
            *more]  # fmt: skip


def test_resuming_finds_files_from_any_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    call(*own(tmp_path))
    before = (tmp_path / "out" / "cells.jsonl").read_bytes()
    stored = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert stored["tasks"] == ["../mine.py:Mine"]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for _ in range(2):
        printed = call("--resume", "--out", str(tmp_path / "out"), "--no-figures", "--workers", "0")
        assert "Mine" in printed and (tmp_path / "out" / "cells.jsonl").read_bytes() == before


def test_an_attempt_that_failed_at_once_does_not_take_its_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    call(*own(tmp_path, "-o", "torch:LBFGS"), code=1)
    (tmp_path / "out" / "cells.jsonl").touch()
    call(*own(tmp_path))
    printed = " ".join(call(*own(tmp_path), code=1).split())
    assert "resume it: optforge compare --resume --out out" in printed


def test_a_directory_made_from_python_says_how_to_go_on_from_python(tmp_path: Path) -> None:
    (tmp_path / "cells.jsonl").write_text("{}\n")
    with pytest.raises(CompareError, match=r"a file of yours; .*compare\(..., resume=True\)"):
        prepare(tmp_path, False)
    assert (tmp_path / "cells.jsonl").read_text() == "{}\n"
    printed = call("--resume", "--out", str(tmp_path), code=1)
    assert "optforge.compare(..., resume=True)" in " ".join(printed.split())


def test_a_plan_takes_off_what_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = own(tmp_path, "--seeds", "3")
    count = 2 * (1 + 2 + 3)  # a trial, the finalist on two more seeds, three fresh ones
    assert f"all {count} runs" in " ".join(call(*asked, "--plan").split())
    call(*asked)
    printed = call("--resume", "--out", "out", "--plan")
    assert f"0 of {count} runs" in printed
    rows = (tmp_path / "out" / "cells.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "out" / "cells.jsonl").write_bytes(b"".join(rows[:-2]))
    assert f"2 of {count} runs" in call("--resume", "--out", "out", "--plan")


def test_a_stop_names_the_options_that_no_directory_keeps(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Stopped(comparing.Stopping):
        def __call__(self) -> bool:
            return True

    monkeypatch.setattr(comparing, "Stopping", Stopped)
    out = tmp_path / "out"
    asked = ["compare", "--task", "digits_mlp", "-o", "adamw", "--workers", "0", "--limit", "900",
             "--no-figures", "--out", str(out)]  # fmt: skip
    told = f"optforge compare --resume --out {out} --workers 0 --limit 900 --no-figures"
    printed = CliRunner().invoke(app, asked, env=COLUMNS)
    assert printed.exit_code == 130 and told in printed.stdout
    as_json = CliRunner().invoke(app, [*asked, "--json", "--resume"], env=COLUMNS)
    assert as_json.stdout == "" and f"{told} --json" in as_json.stderr


@pytest.mark.parametrize(
    ("text", "many", "value"),
    [
        ("steps=10", False, 10),
        ("hidden=[8, 8]", False, [8, 8]),
        ("kind=abc", False, "abc"),
        ("wide=1,2", True, [1, 2]),
        ("kind=a,b", True, ["a", "b"]),
        ("hidden=[[8,8],[16]]", True, [[8, 8], [16]]),
        ("share=0.5,true", True, [0.5, True]),
    ],
)
def test_values_are_those_of_toml(text: str, many: bool, value: Any) -> None:
    assert list(_assignments([text], many).values()) == [value]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tasks = 3", "a suite needs tasks"),
        ('tasks = ["digits_mlp"]\noptimizers = ["adamw"]\ncolour = 1', "unknown key 'colour'"),
        ('tasks = ["digits_mlp"]\noptimizers = ["adamw"]\n[settings]\ntrails = 1', "'trails'"),
        ("tasks = [", "is not TOML"),
    ],
)
def test_a_suite_with_a_mistake_is_refused_by_name(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "suite.toml").write_text(text)
    with pytest.raises(CompareError, match=says):
        read_suite(tmp_path / "suite.toml")


def test_an_experiment_with_a_comma_in_its_name_is_chosen(tmp_path: Path) -> None:
    suite = tmp_path / "suite.toml"
    shared = 'optimizers = ["adamw", "lion"]\ntasks = ["digits_mlp"]\n'
    names = ("lr, wd", "lr", "other")
    suite.write_text(shared + "".join(f'[[experiment]]\nname = "{name}"\n' for name in names))
    words = ("--suite", str(suite), *TINY, "--plan")
    assert "lr, wd" in call(*words, "--only", "lr, wd,other") and "All 2 comparisons" in call(
        *words, "--only", "lr, wd,other"
    )
    assert "All" not in call(*words, "--only", "lr")
    assert "has no 'wd'; it has lr, wd, lr, other" in call(*words, "--only", "lr,wd", code=1)


def test_a_file_that_is_a_value_keeps_its_commas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lr=0.1,wd=0.pt").write_text("")
    one = "checkpoint=lr=0.1,wd=0.pt"
    assert _assignments([one]) == {"checkpoint": "lr=0.1,wd=0.pt"}
    assert _assignments([f"{one},other.pt"], many=True) == {
        "checkpoint": ["lr=0.1,wd=0.pt", "other.pt"]
    }
    with pytest.raises(CompareError, match="gives several values"):
        _assignments(["checkpoint=lr=0.1,wd=1.pt"])
