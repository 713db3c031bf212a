"""A device that is not there is refused; the one that trains is told and timed."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any

import pytest
import torch

from optforge.comparison import (
    CellResult,
    Comparison,
)
from optforge.comparison.environment import environment
from optforge.errors import CompareError
from tests.helpers.comparisons import few
from tests.helpers.tiny import Blobs


@pytest.mark.parametrize("device", ["gpu", "meta", "cuda:99", "", 3])
def test_a_device_that_is_not_there_is_refused(device: Any) -> None:
    asked = few("adamw")
    with pytest.raises(CompareError, match="use cpu"):
        Comparison(asked.variants, asked.recipes, asked.settings, device=device)


def test_cuda_without_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(CompareError, match="'cuda' was asked for.*GPUs that torch sees here: 0"):
        replace(few("adamw"), device="cuda")


def test_the_device_told_is_the_one_that_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _=0: "a large one")
    assert environment(1)["device"] == "cpu"
    assert environment(1, device="cuda")["device"] == "a large one"


def test_a_plan_is_timed_on_the_device_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    cost = importlib.import_module("optforge.comparison.cost")
    seen: list[str] = []

    def noting(*arguments: Any) -> CellResult:
        seen.append(arguments[3])
        return CellResult(step_ms=1.0, seconds=1.0)

    monkeypatch.setattr(cost, "run_cell", noting)
    asked = few("adamw", task=Blobs())
    cost.estimate(asked.variants, asked.tuned_recipes, asked.settings, "cpu:0")
    assert seen == ["cpu:0", "cpu:0"]
