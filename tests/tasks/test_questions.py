"""Fine-tuning of language models: what is asked, and what a model begins with."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

import optforge
from optforge.comparison.suite import recipe_from
from optforge.errors import TaskError
from optforge.tasks import initial_model
from optforge.tasks.data.pieces import learn_pieces
from optforge.tasks.data.python_questions import QUESTIONS
from optforge.tasks.data.python_source import file_names, library_folder, part_of
from optforge.tasks.language import LanguageTask, QuestionTask, finetune
from optforge.tasks.pretrained import pretrained
from optforge.training import evaluate_model, pretrain

pytest.importorskip("tokenizers", reason="needs the package tokenizers: optforge[language]")
pytest.importorskip("transformers", reason="needs the package transformers: optforge[language]")

ASKED = {"vocabulary": 384, "length": 24, "width": 32, "layers": 1, "heads": 2,
         "examples": (240, 120, 120), "steps": 30, "batch_size": 16}  # fmt: skip


def question(name: str, **changes: Any) -> QuestionTask:
    return QuestionTask(f"ask_{name}", question=name, checkpoint="scratch", **ASKED | changes)


@pytest.mark.parametrize("name", QUESTIONS)
def test_answers_are_equally_frequent_and_no_window_is_in_two_splits(name: str) -> None:
    splits = question(name).splits
    seen = {}
    for part, split in vars(splits).items():
        counts = torch.bincount(split.targets)
        assert len(counts) == (6 if name == "package" else 2) and len(set(counts.tolist())) == 1
        rows = split.inputs[:, : 12 if name == "coherent" else 24].tolist()
        seen[part] = set(map(tuple, rows))
    shared = seen["train"] & seen["test"]
    assert len(shared) < 0.1 * len(seen["test"])  # licences and imports are in many files


def rows(name: str) -> list[tuple[str, str, int]]:
    """Windows of training as text in two halves; with pieces of single bytes no vocabulary."""
    alphabet = learn_pieces([], 257)
    train = question(name, vocabulary=257, examples=(24, 12, 12)).splits.train
    return [
        (alphabet.decode(row[:12]), alphabet.decode(row[12:]), answer)
        for row, answer in zip(train.inputs.tolist(), train.targets.tolist(), strict=True)
    ]


def training_files() -> dict[str, str]:
    return {
        name: " " + (library_folder() / name).read_text(encoding="utf-8", errors="replace")
        for name in file_names()
        if part_of(name) == "train"
    }


def test_halves_follow_each_other_as_answered() -> None:
    whole = "\n".join(training_files().values())
    for first, second, answer in rows("order"):
        assert (first + second if answer else second + first) in whole
    follow = [(first + second in whole, answer) for first, second, answer in rows("coherent")]
    assert all(is_text for is_text, answer in follow if answer)
    assert sum(is_text for is_text, answer in follow if not answer) <= 1  # chance, or blanks


def test_windows_are_from_the_package_and_the_third_of_the_answer() -> None:
    files = training_files()
    possible: dict[int, set[str]] = {}
    for first, second, answer in rows("package"):
        packages = {name.split("/")[0] for name, text in files.items() if first + second in text}
        possible[answer] = possible.get(answer, packages) & packages
    assert sorted(possible) == list(range(6)) and all(possible.values())
    for first, second, answer in rows("place"):
        window = first + second
        thirds = [text[-len(text) // 3 - 24 :] if answer else text[: len(text) // 3 + 24]
                  for text in files.values()]  # fmt: skip
        assert any(window in third for third in thirds)


@pytest.mark.parametrize("architecture", ["bert", "t5"])
def test_a_question_begins_from_what_the_model_has_read(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = question("order", architecture=architecture)
    before = task.before()
    before.sequences, before.steps = (64, 16, 16), 2
    pretrain(before, lambda p: torch.optim.SGD(p, lr=0.1), 5, tmp_path / "{seed}.pt")
    weights = torch.load(tmp_path / "5.pt", weights_only=True)["model"]
    task.checkpoint = str(tmp_path / "{seed}.pt")
    model: Any = initial_model(task, 5)
    prefix = "model.bert." if architecture == "bert" else "model.encoder."
    for key, value in model.reader.state_dict().items():
        assert torch.equal(value, weights[prefix + key]), key
    x, y = task.splits.train.inputs[:8], task.splits.train.targets[:8]
    with torch.no_grad():
        hidden = model.reader(input_ids=x).last_hidden_state
        torch.testing.assert_close(model(x), model.head(hidden.mean(1)))
    task.loss(model(x), y).backward()
    assert all(p.grad is not None for p in model.parameters())
    wide = question("order", architecture=architecture, width=64)
    wide.checkpoint = task.checkpoint
    with pytest.raises(TaskError, match="of another architecture"):
        initial_model(wide, 5)
    asked: list[LanguageTask] = []
    monkeypatch.setattr(finetune, "pretrained", lambda task: (asked.append(task), weights)[1])
    task.checkpoint = ""
    first, second = (initial_model(task, 1).state_dict() for _ in range(2))
    assert all(torch.equal(value, second[key]) for key, value in first.items())
    assert asked[0].settings() == task.before().settings()


def test_what_is_pre_trained_here_has_learnt_something() -> None:
    task = question("order").before()
    task.sequences, task.steps, task.batch_size = (512, 64, 64), 40, 16
    weights = pretrained(task)
    model = task.model()
    model.load_state_dict(weights)
    assert evaluate_model(task, model, "test").loss < 0.95 * math.log(384)
    again = pretrained(task)
    assert all(torch.equal(value, again[key]) for key, value in weights.items())


def test_adamw_with_too_small_a_rate_loses() -> None:
    slow = recipe_from("slow", {"optimizer": "adamw", "space": {"lr": [1e-6, 1e-5]}})
    few: Any = {"trials": 2, "seeds": 3, "finalists": 1, "again": 0, "extensions": 0}
    result = optforge.compare([question("package")], ["adamw", slow], workers=0, **few)
    (row,) = (row for row in result.table if row["optimizer"] == "slow")
    assert row["runs"] == 3 and row["log_ratio_low"] > 0
