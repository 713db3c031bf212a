"""Diffusion from names: what a model is told, that it listens, and how well images show names."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from optforge.tasks import initial_model
from optforge.tasks.contrastive.pairs import WORDS, pairs
from optforge.tasks.diffusion.named import NamedDenoiser, NamedDiffusion

pytest.importorskip("diffusers", reason="needs the package diffusers: optforge[diffusion]")


def small(**changes: Any) -> NamedDiffusion:
    few = {"side": 16, "widths": (8, 8, 8), "copies": (1, 1, 1), "batch_size": 8, "steps": 6}
    return NamedDiffusion("small_named", **few | changes)


@pytest.mark.parametrize("enlarges", [False, True])
def test_a_model_is_given_the_name_and_the_small_image(enlarges: bool) -> None:
    task, arrays = small(enlarges=enlarges), pairs(16, (1, 1, 1))
    for part in ("train", "validation", "test"):
        inputs = getattr(task.splits, part).inputs
        assert inputs.shape[1] == (4 if enlarges else 3)
        names = torch.from_numpy(arrays[f"{part}_names"])
        assert torch.equal(inputs[:, 2].flatten(1)[:, :WORDS].short(), names)
        assert not inputs[:, 2].flatten(1)[:, WORDS:].any()
        if enlarges:
            images = torch.from_numpy(arrays[f"{part}_images"]).double() / 127.5 - 1
            means = images.reshape(-1, 8, 2, 8, 2).mean((2, 4))  # of four pixels each
            expected = means.repeat_interleave(2, 1).repeat_interleave(2, 2).float()
            torch.testing.assert_close(inputs[:, 3], expected)


def test_names_of_the_test_are_new_and_made_of_known_words() -> None:
    arrays = pairs(16, (1, 1, 1))
    known = {tuple(row) for row in arrays["train_names"].tolist()}
    assert not known & {tuple(row) for row in arrays["test_names"].tolist()}
    assert set(arrays["test_names"].flatten().tolist()) <= {word for row in known for word in row}


def test_noise_is_drawn_for_the_image_alone() -> None:
    task, generator = small(enlarges=True), torch.Generator().manual_seed(1)
    inputs, targets = task.splits.train.inputs[:16], task.splits.train.targets[:16]
    changed, noise = task.augment(inputs, targets, generator)
    assert torch.equal(changed[:, 2:], inputs[:, 2:])
    assert noise.shape == (16, 1, 16, 16) and not torch.equal(changed[:, :1], inputs[:, :1])


def test_a_model_reads_the_words_the_small_image_and_nothing_behind_the_last_word() -> None:
    task = small(enlarges=True)
    model: Any = initial_model(task, 0).eval()
    assert isinstance(model, NamedDenoiser)
    x = task.splits.test.inputs[:4].clone()
    with torch.no_grad():
        before = model(x)
        other, small_image = x.clone(), x.clone()
        other[:, 2, 0, 0] = x[:, 2, 0, 0].roll(1) + 1
        small_image[:, 3] = 0.0
        for changed in (other, small_image):
            assert (model(changed) - before).abs().amax((1, 2, 3)).min() > 1e-5
        model.embedding.weight[0] += 1.0
        torch.testing.assert_close(model(x), before)


@pytest.mark.slow
def test_images_show_their_own_names_more_than_others() -> None:
    pytest.importorskip("timm")
    task = small(copies=(2, 1, 1))
    images, rows = task.images()[2][:100], torch.arange(100)
    own, others = task.mismatch(images, rows), task.mismatch(images, rows.roll(37))
    assert own + 0.15 < others
    found = task.scores(initial_model(task, 0).eval(), 0)
    assert found["name_mismatch"] > own and len(found) == 3
