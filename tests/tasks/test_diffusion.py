"""Diffusion tasks: noise at every level, as in DDPM, and who wins."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import linalg

from optforge.errors import TaskError
from optforge.tasks import family_task_names, initial_model, load_task
from optforge.tasks.diffusion.scores import (
    LEVELS,
    distances,
    draw,
    frechet_distance,
    kernel_distance,
    noise_errors,
)
from optforge.tasks.diffusion.task import GlyphDiffusion

pytest.importorskip("diffusers", reason="needs the package diffusers: optforge[diffusion]")


def small(**changes: Any) -> GlyphDiffusion:
    few = {"side": 8, "widths": (8, 8, 8), "copies": (1, 1, 1), "batch_size": 8, "steps": 6}
    return GlyphDiffusion("small_diffusion", **few | changes)


def signal(levels: torch.Tensor) -> torch.Tensor:
    """The share of an image that is left, from the definition: betas from 1e-4 to 0.02."""
    betas = torch.linspace(1e-4, 0.02, LEVELS, dtype=torch.float64)
    return (1 - betas).cumprod(0)[levels].reshape(-1, 1, 1, 1)


def test_noise_is_added_as_in_the_paper() -> None:
    task, generator = small(), torch.Generator().manual_seed(1)
    inputs, targets = task.splits.train.inputs[:64], task.splits.train.targets[:64]
    changed, noise = task.augment(inputs, targets, generator)
    levels, share = changed[:, 1, 0, 0].long(), signal(changed[:, 1, 0, 0].long())
    expected = share.sqrt() * inputs[:, :1] + (1 - share).sqrt() * noise
    torch.testing.assert_close(changed[:, :1], expected.float(), rtol=1e-4, atol=1e-5)
    assert (changed[:, 1] == levels.reshape(-1, 1, 1)).all()
    assert levels.min() >= 0 and levels.max() < LEVELS and len(levels.unique()) > 50
    assert noise.mean().abs() < 0.1 and abs(noise.std() - 1) < 0.1


def test_images_span_minus_one_to_one_and_are_left_alone() -> None:
    task = small()
    clean = task.splits.train.inputs
    assert clean[:, :1].min() == -1 and clean[:, :1].max() == 1 and (clean[:, 1] == 0).all()
    before = clean.clone()
    task.augment(clean, task.splits.train.targets, torch.Generator().manual_seed(0))
    assert torch.equal(clean, before)


def test_evaluation_has_fixed_noise_at_all_levels() -> None:
    first, second = small().splits, small().splits
    assert torch.equal(first.test.inputs, second.test.inputs)
    levels = first.test.inputs[:, 1, 0, 0]
    expected = torch.arange(len(levels)) * LEVELS // len(levels)
    assert torch.equal(levels.long(), expected) and levels.max() > 0.99 * (LEVELS - 1) - 2


def test_a_model_reads_the_level() -> None:
    model, x = small().model().eval(), torch.zeros(2, 2, 8, 8)
    x[1, 1] = 500.0
    with torch.no_grad():
        quiet, loud = model(x)
    assert quiet.shape == (1, 8, 8) and not torch.allclose(quiet, loud)


def test_predicting_nothing_costs_one() -> None:
    """The loss is the mean square of what is left of noise of variance one."""
    test = small().splits.test
    loss = small().loss(torch.zeros_like(test.targets), test.targets)
    assert loss.item() == pytest.approx(1.0, abs=5 / math.sqrt(test.targets.numel()))


@pytest.mark.parametrize("name", family_task_names("diffusion"))
def test_shipped_diffusion_tasks_have_the_side_of_their_name(name: str) -> None:
    task: Any = load_task(name)
    assert name.startswith("glyph_") and name.endswith(f"_{task.side}")
    row = task.splits.test.inputs[:1]
    with torch.no_grad():
        assert task.model()(row).shape == (1, 1, task.side, task.side)


@pytest.mark.parametrize(
    ("changes", "text"),
    [({"side": 20}, "must be multiples of 8"), ({"height": 3}, "no attribute 'height'")],
)
def test_what_is_not_allowed_is_named(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(TaskError, match=text):
        GlyphDiffusion("wrong", **changes)


def test_distances_are_those_of_gaussians_and_of_the_cubic_kernel() -> None:
    """Against scipy's root of a matrix, and against a double loop over different examples."""
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(40, 5, generator=generator, dtype=torch.float64)
    second = 1.5 * torch.randn(30, 5, generator=generator, dtype=torch.float64) + 0.3
    one, other = (np.cov(x.numpy().T) for x in (first, second))
    shift = ((first.mean(0) - second.mean(0)) ** 2).sum().item()
    root = np.trace(linalg.sqrtm(one @ other)).real
    expected = shift + np.trace(one) + np.trace(other) - 2 * root
    assert frechet_distance(first, second) == pytest.approx(expected)
    assert frechet_distance(first, first) == pytest.approx(0.0, abs=1e-9)

    def mean(a: torch.Tensor, b: torch.Tensor) -> float:
        pairs = [(x, y) for i, x in enumerate(a) for j, y in enumerate(b) if a is not b or i != j]
        return sum(((x @ y).item() / 5 + 1) ** 3 for x, y in pairs) / len(pairs)

    kernel = mean(first, first) + mean(second, second) - 2 * mean(first, second)
    assert kernel_distance(first, second) == pytest.approx(kernel)


def test_the_kernel_distance_of_one_distribution_is_zero_in_the_mean() -> None:
    """Also of few examples, where the estimate over all pairs is far above it."""
    generator = torch.Generator().manual_seed(1)
    draws = torch.randn(400, 2, 10, 4, generator=generator, dtype=torch.float64)
    found = torch.tensor([kernel_distance(first, second) for first, second in draws])
    assert abs(found.mean()) < 3 * found.std() / math.sqrt(len(found))
    assert found.min() < 0


def test_a_model_that_knows_the_images_draws_nearer_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the noise of one known image told exactly, that image is drawn."""
    pytest.importorskip("timm")
    monkeypatch.setattr("optforge.tasks.diffusion.task.DRAWN", 40)
    monkeypatch.setattr("optforge.tasks.diffusion.task.STEPS", 5)
    task = small(side=16)
    real = task.images()[2]

    class Knows(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.real = torch.nn.Parameter(real)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            share = signal(x[:, 1, 0, 0].long()).float()
            return (x[:, :1] - share.sqrt() * self.real[: len(x)]) / (1 - share).sqrt()

    drawn = draw(Knows(), 50, 16, 50, seed=1)
    assert (drawn - real[:50]).abs().mean() < 0.05
    near, far = (distances(real, x) for x in (drawn, torch.rand(50, 1, 16, 16) * 2 - 1))
    assert near.keys() == far.keys() and len(near) == 2
    for name, value in near.items():
        assert "letters_resnet" in name and value < 0.5 * far[name]
    found = task.scores(initial_model(task, 0).eval(), 0)
    assert found == task.scores(initial_model(task, 0).eval(), 0)
    assert found["frechet_distance_letters_resnet"] > near["frechet_distance_letters_resnet"]


def test_errors_of_noise_are_told_for_each_third_of_the_levels() -> None:
    """Of a model that knows the noise of every level below 333, and no other."""
    split = small(copies=(1, 1, 4)).splits.test

    class KnowsLittleNoise(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.share = torch.nn.Parameter(torch.tensor(1.0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            rows = (split.inputs[None] == x[:, None]).flatten(2).all(2).int().argmax(1)
            is_low = (x[:, 1, 0, 0] < LEVELS / 3).float().reshape(-1, 1, 1, 1)
            return split.targets[rows] * (is_low + 0.5 * (1 - is_low)) * self.share

    errors = noise_errors(KnowsLittleNoise(), split)
    levels = split.inputs[:, 1, 0, 0]
    middle = split.targets[(levels >= LEVELS / 3) & (levels < 2 * LEVELS / 3)].square().mean() / 4
    assert errors["noise_error_low"] == 0
    assert errors["noise_error_middle"] == pytest.approx(middle.item(), rel=1e-5)
    assert errors["noise_error_high"] == pytest.approx(0.25, abs=0.01)
