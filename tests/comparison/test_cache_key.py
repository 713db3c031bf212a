"""An optimizer from Python is known by what it does: no two of them share finished cells."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from optforge import compare
from optforge.comparison import load_recipe
from optforge.comparison.recipes.cache_key import content_hash, identity_of, library_version
from optforge.errors import CompareError
from optforge.optim import Lion

SGD = torch.optim.SGD
SETTINGS: dict[str, Any] = {
    "trials": 1, "seeds": 2, "finalists": 1, "again": 0, "extensions": 0, "fixed": {"steps": 6},
    "workers": 0,
}  # fmt: skip


def factory(scale: float) -> Callable[..., torch.optim.Optimizer]:
    def make(parameters: Any, lr: float = 0.1) -> torch.optim.Optimizer:
        return SGD(parameters, lr=scale * lr)

    return make


def made(source: str, name: str = "Mine") -> Any:
    """What a module of that text defines, as if it were typed or edited now."""
    space: dict[str, Any] = {"__name__": "some_notebook"}
    exec(textwrap.dedent(source), space)
    return space[name]


CLASS = """
    import torch
    SHARE = {share}

    def turn(x):
        return {turn}

    class Mine(torch.optim.Optimizer):
        '''{doc}'''
        def __init__(self, params, lr={lr}):
            super().__init__(params, dict(lr=lr))

        @torch.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:  {comment}
                    p.sub_(turn(p.grad) * SHARE, alpha={sign}group["lr"])
"""
PLAIN = {"share": 1.0, "turn": "x", "doc": "", "lr": 0.1, "comment": "", "sign": ""}


def mine(**changes: Any) -> Any:
    return made(CLASS.format(**{**PLAIN, **changes}))


def test_two_lambdas_and_two_functions_of_one_factory_have_cells_of_their_own(
    tmp_path: Path,
) -> None:
    still, fast = (lambda p, lr=0.1: SGD(p, lr=0.0)), (lambda p, lr=0.1: SGD(p, lr=lr))  # noqa: E731
    asked = {"still": still, "fast": fast, "one": factory(1.0), "none": factory(0.0)}
    result = compare(["digits_mlp"], asked, out=tmp_path, tune=("lr",), **SETTINGS)
    losses = {name: tuned.finals for name, tuned in result.found.tasks[0].tuned.items()}
    assert losses["fast"][0].loss == losses["one"][0].loss < losses["still"][0].loss
    assert losses["still"][0].loss == losses["none"][0].loss
    assert len((tmp_path / "cells.jsonl").read_text().splitlines()) == 1 + 4 * 3


def test_an_edited_class_does_not_go_on_with_old_figures(tmp_path: Path) -> None:
    first = compare(["digits_mlp"], {"mine": mine()}, out=tmp_path, tune=("lr",), **SETTINGS)
    edited = {"mine": mine(sign="0.0 * ")}
    again = compare(["digits_mlp"], edited, out=tmp_path, resume=True, tune=("lr",), **SETTINGS)
    old, new = (r.found.tasks[0].tuned["mine"].finals for r in (first, again))
    assert all(a.loss < b.loss for a, b in zip(old, new, strict=True))


@pytest.mark.parametrize(
    "change",
    [{"share": 2.0}, {"turn": "x.sign()"}, {"lr": 0.2}, {"sign": "-"}],
    ids=["a constant of its module", "a function it calls", "a default", "its step"],
)
def test_every_edit_that_matters_is_seen(change: dict[str, Any]) -> None:
    assert identity_of(mine()) != identity_of(mine(**change))


def test_comments_docstrings_and_use_are_no_edits() -> None:
    used = mine()
    before = identity_of(used)
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = used([weight])
    weight.sum().backward()
    optimizer.step()  # torch has wrapped the class's step by now
    assert identity_of(used) == before
    assert identity_of(mine(comment="# all of them")) == before


def test_the_hash_is_the_same_in_another_process() -> None:
    script = "from tests.comparison.test_cache_key import *; print(*hashes())"
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.getcwd()}
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment
    )
    assert told.stdout.split() == hashes()


def hashes() -> list[str]:
    return [content_hash(factory(2.0)), content_hash(mine(share={1, 2, "a", "b"}))]


def test_what_is_bound_or_called_counts() -> None:
    class Maker:
        def __init__(self, scale: float) -> None:
            self.scale = scale

        def __call__(self, params: Any, lr: float = 0.1) -> torch.optim.Optimizer:
            return SGD(params, lr=lr * self.scale)

        def method(self, params: Any, lr: float = 0.1) -> torch.optim.Optimizer:
            return SGD(params, lr=lr * self.scale)

    several = [
        Maker(1.0), Maker(2.0), Maker(1.0).method, Maker(2.0).method,
        functools.partial(SGD, momentum=0.5), functools.partial(SGD, momentum=0.6),
        functools.partial(SGD, momentum=torch.tensor(0.5)), SGD, Lion,
    ]  # fmt: skip
    assert len({identity_of(one) for one in several}) == len(several)


def test_classes_of_libraries_carry_the_version() -> None:
    assert identity_of(SGD) == f"torch.optim.sgd.SGD {library_version('torch')}"
    for name, package in (("timm:lion", "timm"), ("pytorch_optimizer:lion", "pytorch_optimizer")):
        assert load_recipe(name).source.identity.endswith(f" {library_version(package)}")


def test_what_cannot_be_told_from_others_is_refused() -> None:
    lock = __import__("threading").Lock()
    with pytest.raises(CompareError, match="cannot be told from others"):
        content_hash(lambda p, lr=0.1: (lock, p))
