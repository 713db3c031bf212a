"""Paths over surfaces: those of torch's own optimizers, and pictures of any rule."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from optforge.cli.app import app
from optforge.language import load_rule, parse, rule_names
from optforge.report.surfaces import SURFACES, Surface, trajectory
from optforge.report.trajectories import draw_trajectories

STEPS = 40
TORCH = {
    "adamw_bias_correction": lambda p, lr: torch.optim.AdamW(p, lr, weight_decay=0.0),
    "momentum_sgd": lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9),
}
ALL = pytest.mark.parametrize("surface", SURFACES, ids=lambda surface: surface.name)


def way_of_torch(make: Any, surface: Surface, rate: float) -> torch.Tensor:
    weights = torch.nn.Parameter(torch.tensor([surface.start], dtype=torch.float64))
    optimizer, way = make([weights], rate), [weights.detach().clone()]
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 + math.cos(math.pi * step / STEPS)) / 2
        optimizer.zero_grad()
        surface.value(weights).sum().backward()
        optimizer.step()
        way.append(weights.detach().clone())
    return torch.cat(way)


@ALL
@pytest.mark.parametrize("rule", TORCH)
def test_a_path_is_that_of_torch(rule: str, surface: Surface) -> None:
    found = trajectory(load_rule(rule), surface, STEPS)
    expected = way_of_torch(TORCH[rule], surface, found.rate)
    torch.testing.assert_close(found.weights, expected, rtol=1e-6, atol=1e-8)


@ALL
def test_minima_are_zero_and_drawn(surface: Surface) -> None:
    for minimum in surface.minima:
        point = torch.tensor([minimum], dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(surface.value(point).sum(), point)
        assert surface.value(point).item() == pytest.approx(0.0, abs=1e-12)
        assert gradient.abs().max() < 1e-9
        for value, (low, high) in zip(minimum, surface.sides, strict=True):
            assert low < value < high


@ALL
def test_the_best_rate_is_chosen_and_decay_left_out(surface: Surface) -> None:
    """Lion with a strong decay ends where Lion without it does, far below where it began."""
    strong = parse(load_rule("lion").text.replace("weight * 0.1", "weight * 5.0"))
    way, same = trajectory(load_rule("lion"), surface), trajectory(strong, surface)
    assert torch.equal(way.weights, same.weights)
    assert way.values[-1] < 0.1 * way.values[0]


@pytest.mark.slow
@pytest.mark.parametrize("rule", rule_names())
def test_every_shipped_rule_has_a_path(rule: str) -> None:
    assert trajectory(load_rule(rule), SURFACES[3], STEPS).weights.shape == (STEPS + 1, 2)


def test_show_draws_a_picture_and_replaces_none(tmp_path: Path) -> None:
    file = tmp_path / "lion.png"
    words = ["show", "lion", "--picture", str(file)]
    assert CliRunner().invoke(app, words).exit_code == 0
    with Image.open(file) as picture:
        assert picture.format == "PNG" and min(picture.size) > 500
    before = file.read_bytes()
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 1 and "exists already" in again.output
    assert file.read_bytes() == before
    assert CliRunner().invoke(app, [*words, "--force"]).exit_code == 0


def test_a_rule_that_is_adamw_is_drawn_once() -> None:
    assert draw_trajectories(load_rule("adamw_bias_correction"), "mine").startswith(b"\x89PNG")
