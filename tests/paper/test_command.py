"""The command line: from pictures to a checkpoint, and plain sentences for mistakes."""

from __future__ import annotations

import importlib
import json
import re
import shlex
from pathlib import Path

import pytest

import paper
from paper.images import PRESETS, main
from paper.pictures import write_digits

README = Path(__file__).parents[2] / "paper" / "README.md"
GIVEN = ["vit_b16", "--data", "PLACE", "--out", "OUT", "--cpu"]
TINY = [
    "--steps",
    "2",
    "--batch-size",
    "6",
    "--image-size",
    "32",
    "--reduced",
    "--workers",
    "0",
    "--cpu",
]


def test_it_trains_logs_stops_and_resumes(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["vit_s16", "--data", place, "--out", str(tmp_path / "run"), *TINY]
    main([*words, "--stop-after", "1"])
    said = capsys.readouterr().out
    assert "vit_s16: 0.08 M parameters, lr 0.001, steps 0 to 2" in said and "step 1: " in said
    main([*words, "--resume"])
    said = capsys.readouterr().out
    assert "steps 1 to 2" in said and "step 2: " in said and "top1" in said
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["number"] for line in log if "loss" in line] == [1, 2]
    assert log[0]["plan"]["weight_decay"] == 1.0


@pytest.mark.slow
def test_the_command_of_the_page_starts_every_preset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^python -m paper\.(.*)$", README.read_text(), re.MULTILINE)
    assert [command.split()[0] for command in commands[:2]] == ["pictures", "images"]
    write_digits(Path(commands[0].split()[1]))
    main(shlex.split(commands[1])[1:])
    done = sorted(file.parent.name for file in Path().rglob("checkpoint.pt"))
    assert done == sorted(PRESETS)


def test_the_list_names_every_preset(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--list"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(PRESETS)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nosuch", "--data", "PLACE", "--out", "OUT"], "unknown preset 'nosuch'; there are"),
        (["vit_b16", "--data", "OUT", "--out", "OUT", "--cpu"], "is not a folder"),
        ([*GIVEN, "--optimizer", "sgd"], "gives no learning rate and weight decay of sgd"),
        ([*GIVEN, "--optimizer", "nosuch"], "no optimizer 'nosuch'"),
        ([*GIVEN, "--accumulation", "0"], "accumulation is 0; it must be a whole number"),
        ([*GIVEN, "--betas", "1.5", "0.9"], "betas is 1.5"),
        ([*GIVEN, "--epochs", "nan"], "epochs is nan"),
    ],
)
def test_mistakes_are_one_sentence(words: list[str], said: str, place: str, tmp_path: Path) -> None:
    put = {"PLACE": place, "OUT": str(tmp_path / "out")}
    with pytest.raises(SystemExit, match="error: .*" + re.escape(said)):
        main([put.get(word, word) for word in words])


def test_an_interrupted_training_says_how_to_go_on(
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("paper.images.Training.run", interrupted)
    with pytest.raises(SystemExit, match="130"):
        main(["vit_s16", "--data", place, "--out", str(tmp_path / "run"), *TINY])
    assert "--resume continues from the last checkpoint" in capsys.readouterr().err


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"accelerate .*pip install 'optforge\[vision\]'"):
        importlib.reload(paper)


def test_missing_words_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["vit_b16"])
    assert "a preset, --data and --out must be given" in capsys.readouterr().err
