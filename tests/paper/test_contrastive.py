"""Image-text trainings: presets as in the paper, batches as a whole, locked towers, recall."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import GradientState
from torch.nn import functional

pytest.importorskip("open_clip", reason="needs the package open_clip_torch: optforge[contrastive]")

from paper import images
from paper.contrastive import (
    PRESETS,
    ContrastiveTraining,
    build_towers,
    clip_loss,
    load_preset,
    main,
)
from paper.folder import CHECKPOINT, read_checkpoint
from paper.options import TrainingError
from paper.pairs import open_pairs, recalls, write_digits
from paper.training import train

# Table 12: AdamW's (BASIC: Adafactor's) rate and decay, Lion's; the batch; whether it is locked.
EXPECTED = {
    "lit_b32_b": ((1e-3, 0.0, 3e-4, 0.0), 16_384, True),
    "lit_b16_b": ((1e-3, 0.0, 3e-4, 0.0), 16_384, True),
    "lit_g14_l": ((1e-3, 0.1, 2e-4, 0.5), 16_384, True),
    "basic_l": ((5e-4, 0.01, 2e-4, 0.1), 65_536, False),
}
# Millions of parameters of the image towers: ViT-B of Dosovitskiy et al. less its head, ViT-g of
# table 3, CoAtNet-5 of Dai et al., table 5.
TOWERS = {"lit_b32_b": 87.5, "lit_b16_b": 85.8, "lit_g14_l": 1040, "basic_l": 688}
README = Path(__file__).parents[2] / "paper" / "README.md"
TINY: dict[str, Any] = {"batch_size": 8, "reduced": True, "steps": 4, "cpu": True, "workers": 0}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Ninety pictures of digits with texts."""
    folder = tmp_path_factory.mktemp("pairs")
    write_digits(folder, 3, 1)
    return str(folder)


def start(place: str, name: str, optimizer: str = "lion", **changes: Any) -> ContrastiveTraining:
    GradientState._reset_state()  # accelerators of one process share it
    config = load_preset(name, optimizer, data=place, **{**TINY, **changes})
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=config.accumulation)
    return ContrastiveTraining(config, accelerator)


def test_settings_are_those_of_the_paper() -> None:
    assert PRESETS.keys() == EXPECTED.keys()
    for name, (rates, batch, locked) in EXPECTED.items():
        baseline = load_preset(name, next(iter(PRESETS[name]["optimizers"])))
        lion = load_preset(name)
        found = (baseline.lr, baseline.weight_decay, lion.lr, lion.weight_decay)
        assert (found, lion.batch_size, lion.locked) == (rates, batch, locked), name
        assert baseline.optimizer == ("adafactor" if name == "basic_l" else "adamw")
        if locked:
            assert load_preset(name).steps == round(1e9 / batch)


@pytest.mark.parametrize("name", PRESETS)
def test_full_size_towers_are_as_large_as_the_preset_says(name: str) -> None:
    towers = build_towers(load_preset(name), device="meta")
    assert all(p.is_meta for p in towers.parameters())
    count = sum(p.numel() for p in towers.parameters()) / 1e6
    assert count == pytest.approx(PRESETS[name]["parameters"], rel=0.005)
    image = sum(p.numel() for p in towers.image.parameters()) / 1e6
    assert image == pytest.approx(TOWERS[name], rel=0.005)
    assert any(p.requires_grad for p in towers.image.parameters()) is (name == "basic_l")


@pytest.mark.parametrize(
    "name",
    [next(iter(PRESETS)), *(pytest.param(n, marks=pytest.mark.slow) for n in [*PRESETS][1:])],
)
def test_every_preset_steps_evaluates_and_resumes_at_reduced_width(
    name: str, digits: str, tmp_path: Path
) -> None:
    words = [name, "--data", digits, "--out", str(tmp_path), "--reduced", "--steps", "2", "--cpu"]
    words += ["--batch-size", "6", "--workers", "0", "--accumulation", "2"]
    main([*words, "--stop-after", "1"])
    main([*words, "--resume", "--classify", digits, "--prompt", "a scan of the digit {}"])
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["number"] for line in lines if "loss" in line] == [1, 2]
    score = lines[-1]["validation"]
    assert abs(score["loss"] - math.log(10)) < 3 and 0 <= score["zero_shot"] <= 1
    assert score["image_to_text_10"] == score["text_to_image_10"] == 1.0  # of ten pairs


@pytest.mark.slow
def test_the_commands_of_the_page_start_every_preset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = README.read_text().replace("\\\n", "")
    (written,) = re.findall(r"^python -m paper\.pairs (.*)$", page, re.MULTILINE)
    (command,) = re.findall(r"^python -m paper\.contrastive (.*)$", page, re.MULTILINE)
    write_digits(Path(written), 2, 1)
    main(shlex.split(command))
    assert sorted(file.parent.name for file in Path().rglob("checkpoint.pt")) == sorted(PRESETS)


def test_the_loss_is_that_of_clip_over_the_whole_batch(digits: str) -> None:
    made = start(digits, "basic_l")
    some = [made.examples[0, i] for i in range(6)]
    x, y = (torch.stack(part) for part in zip(*some, strict=True))
    model: Any = made.model.eval()
    first, second = model.image(x), model.text(y)
    cosines = functional.cosine_similarity(first[:, None], second[None], dim=2) / 0.07
    expected = (
        functional.cross_entropy(cosines, torch.arange(6))
        + functional.cross_entropy(cosines.T, torch.arange(6))
    ) / 2
    torch.testing.assert_close(made.loss(x, y), expected, rtol=1e-4, atol=1e-5)


def test_accumulation_changes_nothing_but_rounding(digits: str) -> None:
    """A batch in four parts has the loss and the steps of a batch at once, temperature included."""
    more = {"lr": 0.5, "weight_decay": 0.0, "clip_norm": math.inf, "locked": True}
    runs = []
    for accumulation in (1, 4):
        made = start(digits, "lit_b32_b", "sgd", accumulation=accumulation, **more)
        runs.append(([step["loss"] for step in made.run(3)], made.model.state_dict()))
    (whole, weights), (parts, others) = runs
    assert whole == pytest.approx(parts, rel=1e-4) and len(set(whole)) == 3
    for key, value in weights.items():
        torch.testing.assert_close(value, others[key], rtol=1e-3, atol=1e-5)
    assert weights["log_scale"] != pytest.approx(math.log(1 / 0.07), abs=1e-5)


def test_a_locked_tower_stays_and_is_that_of_the_checkpoint(
    digits: str, place: str, tmp_path: Path
) -> None:
    changes = {"out": str(tmp_path), "data": place, "image_size": 64, **TINY, "steps": 1}
    train(images.load_preset("vit_b16", **changes), images.Training)
    weights = read_checkpoint(tmp_path / CHECKPOINT)["model"]
    made = start(digits, "lit_b16_b", init=str(tmp_path / CHECKPOINT))
    assert len(list(made.run(2))) == 2
    model: Any = made.model
    for key, value in model.image.state_dict().items():
        assert torch.equal(value, weights[key]), key
    assert "head.weight" in weights and not model.image.training and model.text.training
    assert made.plan()["initial"] is not None


def test_every_text_and_image_is_a_wrong_answer_to_the_others() -> None:
    directions = torch.eye(4).unsqueeze(1).expand(4, 2, 4)
    loss = clip_loss(directions, torch.tensor(2.0)).item()
    assert loss == pytest.approx(math.log(math.e**2 + 3) - 2)


def test_recall_asks_images_once_and_every_text() -> None:
    """Two texts of image 0; text 1 looks like image 1."""
    images_ = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    texts = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    found = recalls(torch.stack([images_, texts], 1), torch.tensor([0, 0, 1]))
    assert found["image_to_text_1"] == pytest.approx(1 / 2)  # image 1 finds text 1 of image 0
    assert found["text_to_image_1"] == pytest.approx(2 / 3)
    assert found["image_to_text_5"] == found["text_to_image_5"] == 1.0


def test_tables_and_parquet_files_hold_the_same_pairs(digits: str, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    table = open_pairs(digits)
    for part, rows in (("train", table.train), ("validation", table.validation)):
        content = {"image": [str(row[0]) for row in rows], "caption": [row[1] for row in rows]}
        features = datasets.Features(
            {"image": datasets.Image(), "caption": datasets.Value("string")}
        )
        made = datasets.Dataset.from_dict(content, features=features)
        made.to_parquet(str(tmp_path / f"{part}-0.parquet"))
    found = open_pairs(str(tmp_path))
    assert [row[1] for row in found.train] == [row[1] for row in table.train]
    assert found.train[0][1] == "a scan of the digit zero" and len(found.validation) == 10
    assert found.digest != table.digest
    (tmp_path / "alone").mkdir()
    (tmp_path / "train-0.parquet").rename(tmp_path / "alone" / "train-0.parquet")
    with pytest.raises(TrainingError, match="has the splits train; it needs train and one of"):
        open_pairs(str(tmp_path / "alone"))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"data": "nowhere"}, "nowhere needs a table train.csv"),
        ({"text_width": 33}, "text_width is 33 and text_heads is 2"),
        ({"reduced": False, "image_size": 32}, "it has to be trained before; give --init"),
    ],
)
def test_what_does_not_fit_is_a_sentence(changes: dict[str, Any], text: str, digits: str) -> None:
    with pytest.raises(TrainingError, match=text):
        start(changes.pop("data", digits), "lit_b32_b", **changes)


@pytest.mark.slow
def test_resuming_changes_no_bit(digits: str, tmp_path: Path) -> None:
    def run(name: str, **more: Any) -> None:
        common = {**TINY, "accumulation": 2, "data": digits, "ema": 0.5}
        train(
            load_preset("lit_b32_b", **common, out=str(tmp_path / name), **more),
            ContrastiveTraining,
        )

    run("whole")
    run("parts", stop_after=2)
    torch.manual_seed(77)
    run("parts", resume=True)
    first, second = (read_checkpoint(tmp_path / f / CHECKPOINT) for f in ("whole", "parts"))
    for part in ("model", "mean"):
        for key, value in first[part].items():
            assert torch.equal(value, second[part][key]), (part, key)


@pytest.mark.slow
def test_two_processes_agree_with_one_that_accumulates(digits: str, tmp_path: Path) -> None:
    """Whoever computes a micro-batch, its wrong answers are all the others of the batch."""
    words = ["lit_b32_b", "--data", digits, "--reduced", "--steps", "3", "--batch-size", "8"]
    # A sign, as Lion takes it, would be that of rounding for biases of keys, whose gradients are 0.
    words += ["--optimizer", "sgd", "--lr", "0.1", "--weight-decay", "0"]
    words += ["--workers", "0", "--cpu", "--classify", digits]
    main([*words, "--out", str(tmp_path / "one"), "--accumulation", "4"])
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    launch += ["--master-port", str(29_500 + os.getpid() % 2000), "-m", "paper.contrastive"]
    done = subprocess.run(
        [*launch, *words, "--out", str(tmp_path / "two"), "--accumulation", "2"],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=README.parents[1],
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = (read_checkpoint(tmp_path / f / CHECKPOINT) for f in ("one", "two"))
    assert first["plan"] == second["plan"]
    for key, value in first["model"].items():
        torch.testing.assert_close(value, second["model"][key], rtol=1e-4, atol=1e-6)
    logs = [(tmp_path / f / "log.jsonl").read_text().splitlines()[-1] for f in ("one", "two")]
    scores = [json.loads(line)["validation"] for line in logs]
    assert scores[0] == pytest.approx(scores[1], rel=1e-4)
