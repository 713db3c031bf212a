"""Rows of the step benchmark say what ran where it was not what their name says."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from optforge.optim import compiler
from optforge.optim.lion import Lion
from optforge.optim.program import ProgramOptimizer
from optforge.optim.rules import fused as program_fused
from optforge.optim.steps import paths


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "benchmarks"))
    from measures import steps  # pyright: ignore[reportMissingImports]

    yield steps
    for name in [name for name in sys.modules if name.split(".")[0] == "measures"]:
        del sys.modules[name]


def weights(*sizes: int) -> list[torch.nn.Parameter]:
    made = [torch.nn.Parameter(torch.ones(size)) for size in sizes]
    for weight in made:
        weight.grad = torch.ones_like(weight)
    return made


def test_without_a_compiler_rows_say_foreach(steps: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "has_compiler", lambda: False)
    monkeypatch.setattr(program_fused, "has_compiler", lambda: False)
    lion = Lion(weights(10_000, 10_000), lr=1e-2, fused=True)
    assert steps.ran_instead(lion) == "foreach for 2 of 2 tensors: no compiler"
    rule = ProgramOptimizer(weights(10_000), "lion", fused=True)
    assert steps.ran_instead(rule) == "foreach: no compiler"


@pytest.mark.skipif(not compiler.find_compiler(), reason="torch.compile needs a C++ compiler")
def test_what_kernels_do_not_take_runs_foreach_and_rows_say_so(steps: Any) -> None:
    lion = Lion(weights(64, 100, 128, 150), lr=1e-2, momentum_dtype="8bit", fused=True)
    assert steps.ran_instead(lion) == "foreach for 3 of 4 tensors: too small or blocks not full"
    assert steps.ran_instead(Lion(weights(10_000), lr=1e-2, fused=True)) == ""
    small = Lion(weights(10_000, 5), lr=1e-2, fused=True)
    assert steps.ran_instead(small) == "foreach for 1 of 2 tensors: too small or blocks not full"
    assert steps.ran_instead(Lion(weights(100), lr=1e-2, foreach=True)) == ""
