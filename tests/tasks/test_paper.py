"""The paper's proxies: their size as it states, their data from a few local files, a few steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import optforge
from optforge.errors import TaskError
from optforge.language import load_rule
from optforge.tasks import check_task, load_task
from optforge.tasks.paper.proxies import PaperLanguage, PaperVision
from optforge.training import Stack, train_population

pytest.importorskip("tokenizers", reason="needs the package tokenizers: optforge[language]")


class SmallVision(PaperVision):
    """The preset at reduced size."""

    steps, batch_size, width, shares = 30, 8, 24, (0.6, 0.2, 0.2)


class SmallLanguage(PaperLanguage):
    """The preset at reduced size."""

    steps, batch_size, width, length, vocabulary = 30, 8, 16, 8, 300
    sequences = (200, 16, 16)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three classes of a color each, and sentences, as the presets expect them."""
    from PIL import Image

    random = np.random.default_rng(0)
    for number, name in enumerate(("blue", "green", "red")):
        place = tmp_path / "imagenet" / "train" / name
        place.mkdir(parents=True)
        for picture in range(16):
            pixels = random.integers(0, 120, (70, 90, 3), dtype=np.uint8)
            pixels[:, :, 2 - number] += 120
            ending = "JPEG" if picture % 2 else "png"
            Image.fromarray(pixels).save(place / f"{picture}.{ending}")
    words = ["cat", "sat", "on", "a", "mat", "while", "dogs", "ran", "over", "hill", "birds"]
    lines = [" ".join(random.choice(words, 9)) for _ in range(1500)]
    (tmp_path / "lm1b").mkdir()
    for part in range(2):
        text = "\n".join(lines[part::2]) + "\n"
        (tmp_path / "lm1b" / f"news.en-0000{part}").write_text(text, encoding="utf-8")
    monkeypatch.setenv("OPTFORGE_DATA", str(tmp_path))
    monkeypatch.setenv("OPTFORGE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_models_have_the_sizes_of_the_paper() -> None:
    with torch.device("meta"):
        vision, language = PaperVision().model(), PaperLanguage().model()
    assert sum(p.numel() for p in vision.parameters()) == pytest.approx(0.51e6, rel=0.02)
    assert sum(p.numel() for p in language.parameters()) == pytest.approx(0.8e6, rel=0.03)
    assert (PaperVision.steps, PaperLanguage.steps) == (30_000, 20_000)
    assert PaperVision.batch_size == PaperLanguage.batch_size == 64
    assert PaperLanguage.length == 32 and PaperVision.side == 64


def test_pictures_are_small_squares_of_disjoint_files(folder: Path) -> None:
    task = SmallVision()
    check_task(task)
    parts = vars(task.splits).values()
    assert all(split.inputs.dtype == torch.uint8 for split in parts)
    assert all(split.inputs.shape[1:] == (3, 64, 64) for split in parts)
    assert sum(map(len, parts)) == 48
    for split in parts:  # of class 0, blue, the channel 2 is high, and so on
        brightest = split.inputs.float().mean((2, 3)).argmax(1)
        assert torch.equal(brightest, 2 - split.targets)


def test_sentences_are_cut_into_tokens_and_targets_follow(folder: Path) -> None:
    splits = SmallLanguage().splits
    for split in (splits.train, splits.validation, splits.test):
        assert split.inputs.shape[1] == 8 and int(split.inputs.max()) < 300
        assert torch.equal(split.inputs[:, 1:], split.targets[:, :-1])
    assert len(splits.train) == 200
    rows = [{tuple(row) for row in part.inputs.tolist()} for part in (splits.train, splits.test)]
    assert not rows[0] & rows[1]


@pytest.mark.parametrize("kind", [SmallVision, SmallLanguage])
def test_candidates_train_together_as_alone(kind: Any, folder: Path) -> None:
    task, rules = kind(), [load_rule("adamw"), load_rule("lion")]
    together, alone = Stack(task, batched=True), Stack(task, batched=False)
    losses = train_population(together, rules, [3, 4]).losses
    expected = train_population(alone, rules, [3, 4]).losses
    torch.testing.assert_close(losses, expected, rtol=2e-3, atol=0)
    untrained = torch.tensor(float({SmallVision: 1000, SmallLanguage: 300}[kind])).log()
    assert (losses[0] < untrained).all()


@pytest.mark.slow
def test_a_search_runs_on_both(folder: Path, tmp_path: Path) -> None:
    result = optforge.search(
        [SmallVision(), SmallLanguage()], out=tmp_path / "run", programs=20, trials=4,
        population=10, held_out=(), compile=False, simplify=False, workers=0, confirm=0, repeats=1,
        fresh_seeds=3,
    )  # fmt: skip
    assert result.table.proxies == ("SmallVision", "SmallLanguage")


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("OPTFORGE_DATA", raising=False)
    with pytest.raises(TaskError, match="OPTFORGE_DATA is not set"):
        check_task(load_task("paper_vision"))
    monkeypatch.setenv("OPTFORGE_DATA", str(tmp_path))
    with pytest.raises(TaskError, match="lm1b, which is not a folder"):
        check_task(load_task("paper_language"))
    (tmp_path / "imagenet" / "train" / "cat").mkdir(parents=True)
    with pytest.raises(TaskError, match="1 folders of classes"):
        check_task(load_task("paper_vision"))
    (tmp_path / "lm1b").mkdir()
    (tmp_path / "lm1b" / "a.txt").write_text("too short\n")
    with pytest.raises(TaskError, match="too little text"):
        check_task(load_task("paper_language"))
    (tmp_path / "imagenet" / "train" / "dog").mkdir()
    with pytest.raises(TaskError, match="no image for the train split"):
        check_task(load_task("paper_vision"))
    for name in ("cat", "dog"):
        for number in range(200):
            (tmp_path / "imagenet" / "train" / name / f"{number}.png").write_bytes(b"broken")
    with pytest.raises(TaskError, match="cannot read the image"):
        check_task(load_task("paper_vision"))
