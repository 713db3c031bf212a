"""A C++ compiler that is found but fails: said once, and the step goes on without it."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

from optforge.optim import Lion, ProgramOptimizer, compiler

pytestmark = pytest.mark.skipif(
    not compiler.find_compiler(), reason="without a compiler nothing is compiled"
)
SHAPES = ((130, 64), (7,), (), (400, 300))


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def train(make: Any, **options: Any) -> list[Tensor]:
    weights = [Parameter(draw(*shape)) for shape in SHAPES]
    optimizer = make(weights, **options)
    for step in range(3):
        for weight in weights:
            weight.grad = draw(*weight.shape, seed=step + 1)
        optimizer.step()
    return [weight.detach() for weight in weights]


MAKERS = {
    "lion": lambda w, **k: Lion(w, lr=0.25, **k),
    "lion in 8 bits": lambda w, **k: Lion(w, lr=0.25, momentum_dtype="8bit", **k),
    "a rule of one stage": lambda w, **k: ProgramOptimizer(w, "adamw", **k),
    "a rule of more": lambda w, **k: ProgramOptimizer(w, "program_8", **k),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_what_fails_to_compile_is_told_once_and_runs(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("CppCompileError: cannot execute\nand a long log")

    compiler.forget()
    monkeypatch.setattr(torch, "compile", lambda *_, **__: broken)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fused = train(MAKERS[kind], fused=True)
            again = train(MAKERS[kind], fused=True)
    finally:
        compiler.forget()
    messages = [str(w.message) for w in caught]
    assert len(messages) == 1 and "torch.compile failed: RuntimeError: CppComp" in messages[0]
    for one, two, three in zip(fused, again, train(MAKERS[kind], foreach=True), strict=True):
        assert torch.equal(one, three) and torch.equal(two, three)


SCRIPT = """
import torch, warnings
from optforge.optim import Lion, ProgramOptimizer
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for make in (lambda w: Lion([w], lr=0.5, fused=True),
                 lambda w: ProgramOptimizer([w], "adamw", lr=0.5, weight_decay=0.0, fused=True)):
        weight = torch.nn.Parameter(torch.ones(9000))
        optimizer = make(weight)
        for _ in range(2):
            weight.grad = torch.ones(9000)
            optimizer.step()
        assert bool((weight < 0.5).all()), weight
print(sum("torch.compile failed" in str(w.message) for w in caught))
"""


@pytest.mark.slow
def test_a_compiler_that_does_not_work_is_told_once(tmp_path: Path) -> None:
    environment = {**os.environ, "CXX": "/bin/false", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "1"
