"""Diffusion trainings: presets as in the paper, noise that belongs to a picture, the loop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from PIL import Image

from paper.diffusion import (
    LEVELS,
    PRESETS,
    DiffusionTraining,
    build_model,
    load_preset,
    main,
)
from paper.folder import CHECKPOINT, read_checkpoint
from paper.options import TrainingError
from paper.training import train

TINY: dict[str, Any] = {"batch_size": 4, "reduced": True, "steps": 4, "cpu": True, "workers": 0}


def start(place: str, name: str, optimizer: str = "adamw", **changes: Any) -> DiffusionTraining:
    config = load_preset(name, optimizer, data=place, **{**TINY, **changes})
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=config.accumulation)
    return DiffusionTraining(config, accelerator)


def test_settings_are_those_of_table_12() -> None:
    assert set(PRESETS) == {"imagenet_64", "imagenet_128", "imagenet_256"}
    for name in PRESETS:
        adamw, lion = load_preset(name, "adamw"), load_preset(name)
        assert (adamw.lr, adamw.weight_decay) == (3e-4, 0.01)
        assert (lion.lr, lion.weight_decay) == (3e-5, 0.1)
        assert lion.dropout == (0.1 if lion.image_size == 64 else 0.2)
        assert lion.batch_size == 2048 and lion.decay == "constant"


@pytest.mark.parametrize("name", PRESETS)
def test_full_size_models_are_as_large_as_those_of_the_improved_u_net(name: str) -> None:
    model = build_model(load_preset(name), 1000, device="meta")
    assert all(p.is_meta for p in model.parameters())
    count = sum(p.numel() for p in model.parameters()) / 1e6
    assert count == pytest.approx(PRESETS[name]["parameters"], rel=0.02)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_steps_evaluates_and_draws_at_reduced_width(
    name: str, place: str, tmp_path: Path
) -> None:
    out = tmp_path / name
    words = [name, "--data", place, "--out", str(out), "--reduced", "--steps", "1", "--cpu"]
    main([*words, "--batch-size", "2", "--workers", "0", "--samples", "3", "--sampling-steps", "2"])
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert 0.5 < lines[-1]["validation"]["loss"] < 2.5
    with Image.open(out / "samples-1.png") as picture:
        assert picture.size[0] >= 3 * 16


def test_a_model_that_says_nothing_costs_one(place: str) -> None:
    made = start(place, "imagenet_64")
    output: Any = made.model
    torch.nn.init.zeros_(output.conv_out.weight)
    torch.nn.init.zeros_(output.conv_out.bias)
    assert made.evaluate()["loss"] == pytest.approx(1.0, abs=0.1)


def test_noise_and_level_belong_to_the_picture(place: str) -> None:
    held = start(place, "imagenet_64").held
    first, again = held[0, 3][0], held[0, 3][0]
    assert torch.equal(first, again) and not torch.equal(first[3:6], held[0, 4][0][3:6])
    levels = [int(held[0, index][0][6, 0, 0]) for index in range(len(held))]
    assert levels == [index * LEVELS // len(held) for index in range(len(held))]
    share = held.scheduler.alphas_cumprod[levels[3]]
    picture = held.pictures[0, 3][0]
    expected = share.sqrt() * picture + (1 - share).sqrt() * first[3:6]
    torch.testing.assert_close(first[:3], expected)


def test_the_rate_stays(place: str) -> None:
    rates = [step["lr"] for step in start(place, "imagenet_64", warmup_steps=2).run(4)]
    assert rates == pytest.approx([1.5e-4, 3e-4, 3e-4, 3e-4])


def test_resuming_changes_no_bit(place: str, tmp_path: Path) -> None:
    def run(folder: str, **more: Any) -> None:
        common = {**TINY, "accumulation": 2, "ema": 0.5, "data": place}
        train(
            load_preset("imagenet_64", "lion", **common, out=str(tmp_path / folder), **more),
            DiffusionTraining,
        )

    run("whole")
    run("parts", stop_after=2)
    torch.manual_seed(77)
    run("parts", resume=True)
    first, second = (read_checkpoint(tmp_path / f / CHECKPOINT) for f in ("whole", "parts"))
    for part in ("model", "mean"):
        for key, value in first[part].items():
            assert torch.equal(value, second[part][key]), (part, key)


def test_a_size_that_cannot_be_halved_is_refused(place: str) -> None:
    with pytest.raises(TrainingError, match="image_size is 15; it must be a multiple of 2"):
        start(place, "imagenet_64", image_size=15)
