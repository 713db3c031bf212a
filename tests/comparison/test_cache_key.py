"""An optimizer of one's own is known by its files: no two of them share finished cells."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from optforge import compare
from optforge.comparison import load_recipe
from optforge.comparison.recipes.cache_key import checked_content_key, optimizer_key
from optforge.comparison.recipes.optimizer_source import find_source
from optforge.errors import CompareError
from optforge.optim import Lion
from optforge.tasks.source import library_version
from tests.helpers.displays import Heard

SGD = torch.optim.SGD
SETTINGS: dict[str, Any] = {
    "trials": 1, "seeds": 2, "finalists": 1, "again": 0, "extensions": 0, "fixed": {"steps": 6},
    "workers": 0,
}  # fmt: skip


def factory(scale: float) -> Callable[..., torch.optim.Optimizer]:
    def make(parameters: Any, lr: float = 0.1) -> torch.optim.Optimizer:
        return SGD(parameters, lr=scale * lr)

    return make


MINE = """
import torch

class Mine(torch.optim.Optimizer):
    def __init__(self, params, lr=0.1):
        super().__init__(params, dict(lr=lr))

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(p.grad, alpha=group["lr"])
"""


def typed(text: str = MINE) -> Any:
    """A class as a notebook has it, without a file."""
    space: dict[str, Any] = {"__name__": "some_notebook"}
    exec(text, space)
    return space["Mine"]


def test_two_lambdas_and_two_functions_of_one_factory_have_cells_of_their_own(
    tmp_path: Path,
) -> None:
    still, fast = (lambda p, lr=0.1: SGD(p, lr=0.0)), (lambda p, lr=0.1: SGD(p, lr=lr))  # noqa: E731
    asked = {"still": still, "fast": fast, "one": factory(1.0), "none": factory(0.0)}
    result = compare(["digits_mlp"], asked, out=tmp_path, tune=("lr",), **SETTINGS)
    losses = {name: tuned.finals for name, tuned in result.findings.tasks[0].tuned.items()}
    assert losses["fast"][0].loss == losses["one"][0].loss < losses["still"][0].loss
    assert losses["still"][0].loss == losses["none"][0].loss
    assert len((tmp_path / "cells.jsonl").read_text().splitlines()) == 1 + 4 * 3


def test_an_edited_class_does_not_go_on_with_old_figures(tmp_path: Path) -> None:
    file, out = tmp_path / "mine.py", tmp_path / "out"
    asked: dict[str, Any] = {"optimizers": {"mine": f"{file}:Mine"}, "out": out, "tune": ("lr",)}
    file.write_text(MINE)
    first = compare(["digits_mlp"], **asked, **SETTINGS)
    file.write_text(MINE.replace('alpha=group["lr"]', 'alpha=0.0 * group["lr"]'))
    again = compare(["digits_mlp"], **asked, resume=True, **SETTINGS)
    old, new = (r.findings.tasks[0].tuned["mine"].finals for r in (first, again))
    assert all(a.loss < b.loss for a, b in zip(old, new, strict=True))


def test_the_folder_of_a_file_decides_nothing_and_a_comment_does(tmp_path: Path) -> None:
    keys = []
    for place, text in (("a", MINE), ("b", MINE), ("c", MINE + "# a comment\n")):
        (tmp_path / place).mkdir()
        (tmp_path / place / "mine.py").write_text(text)
        keys.append(find_source(f"{tmp_path / place / 'mine.py'}:Mine").content_key)
    assert keys[0] == keys[1] != keys[2]


def test_an_optimizer_without_a_file_needs_a_cache_key() -> None:
    with pytest.raises(CompareError, match="Mine, which was imported from no file.*set cache_key"):
        optimizer_key(typed())
    one, same, other = typed(), typed(MINE + "# a comment\n"), typed()
    one.cache_key = same.cache_key = "one"
    other.cache_key = "two"
    assert optimizer_key(one) == optimizer_key(same) != optimizer_key(other)


def test_tables_of_an_earlier_optforge_are_told_once(tmp_path: Path) -> None:
    heard, asked = Heard(), {"tune": ("lr",), "out": tmp_path, "watch": None}
    optimizers = {"mine": factory(1.0)}
    compare(["digits_mlp"], optimizers, **{**asked, "watch": heard}, **SETTINGS)
    assert not [text for text in heard.said if "by other keys" in text]
    path = tmp_path / "cells.jsonl"
    head, *rows = path.read_text().splitlines()
    session = json.loads(head)
    del session["session"]["content_keys"]
    path.write_text("\n".join([json.dumps(session), *rows]) + "\n")
    for known in (["sgd"], optimizers):
        heard.said.clear()
        compare(["digits_mlp"], known, **{**asked, "watch": heard}, resume=True, **SETTINGS)
        sentences = [text for text in heard.said if "by other keys" in text]
        assert len(sentences) == (known is optimizers)
        path.write_text("\n".join([json.dumps(session), *rows]) + "\n")


def test_classes_of_one_factory_are_told_apart() -> None:
    def made(scale: float) -> type[torch.optim.SGD]:
        class Scaled(SGD):
            def step(self, closure: Any = None) -> Any:
                self.scale = scale
                return super().step(closure)

        return Scaled

    assert optimizer_key(made(1.0)) == optimizer_key(made(1.0)) != optimizer_key(made(2.0))


def test_the_hash_is_the_same_in_another_process() -> None:
    script = "from tests.comparison.test_cache_key import *; print(*hashes())"
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.getcwd()}
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment
    )
    assert told.stdout.split() == hashes()


def hashes() -> list[str]:
    return [checked_content_key(factory(2.0)), checked_content_key({1, 2, "a", "b"})]


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
    assert len({optimizer_key(one) for one in several}) == len(several)


def test_classes_of_libraries_carry_the_version() -> None:
    assert optimizer_key(SGD) == f"torch.optim.sgd.SGD {library_version('torch')}"
    for name, package in (("timm:lion", "timm"), ("pytorch_optimizer:lion", "pytorch_optimizer")):
        assert load_recipe(name).source.content_key.endswith(f" {library_version(package)}")


def test_what_has_no_readable_content_is_refused() -> None:
    lock = threading.Lock()
    with pytest.raises(CompareError, match="it uses a lock, whose content cannot be read"):
        checked_content_key(lambda p, lr=0.1: (lock, p))


def test_what_holds_itself_needs_a_key() -> None:
    """A function that calls itself recursed without end, and a comparison ended with code 70."""

    def build(parameters: Any, lr: float = 0.1) -> Any:
        return build if lr < 0 else SGD(parameters, lr)

    nested: list[Any] = []
    nested.append(nested)
    for held in (build, nested):
        with pytest.raises(CompareError, match="that holds itself; set cache_key"):
            checked_content_key(held)
