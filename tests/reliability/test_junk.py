"""Values of a wrong kind for every option, from Python: an error of optforge, or they are taken."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import optforge
from optforge.api.budget_options import ResumeOptions
from optforge.api.comparison import CompareOptions
from optforge.api.explanation import ExplainOptions
from optforge.api.export import ExportOptions
from optforge.api.funnel_options import FunnelOptions
from optforge.api.search_options import SearchOptions
from optforge.api.simplification import SimplifyOptions
from optforge.errors import (
    CompareError,
    OptforgeError,
    SearchError,
    SimplifyError,
    StoppedError,
    TaskError,
)
from tests.helpers.searches import small, tiny_plan, train_search
from tests.helpers.tiny import Blobs

JUNK: tuple[Any, ...] = (
    5, -1, 0, 1.5, math.nan, math.inf, True, "", "x", "\0", "x" * 5000, b"x", None, [], [5], ["x"],
    [None], {"a": 5}, {"a": [1]}, object(), np.int64(3), np.float32("nan"), np.arange(3), Blobs,
    torch.optim.AdamW, Path("x"), 1 + 2j, 10**400,
)  # fmt: skip
# Protocols and functions of the caller's, which speak for themselves when they are called.
THEIRS = ("watch", "stop")
# Where processes start; `worker_count` is tried on all of these in tests/execution.
ELSEWHERE = ("workers", "cluster")
FEW = {"workers": 0, "stop": lambda: True}
COMPARED = {"tasks": [Blobs()], "optimizers": ["adamw", "lion"], "trials": 1, "seeds": 1, **FEW,
            "finalists": 1, "again": 0, "extensions": 0, "figures": False}  # fmt: skip
SEARCHED = {"tasks": [Blobs()], "held_out": [], "programs": 1, "trials": 1, "compile": False, **FEW}
VERBS: dict[str, tuple[Callable[..., Any], type, Mapping[str, Any]]] = {
    "search": (optforge.search, SearchOptions, SEARCHED),
    "resume": (optforge.resume, ResumeOptions, {"run": "run", "tasks": [Blobs()], **FEW}),
    "explain": (optforge.explain, ExplainOptions, {"run": "run", "tasks": [Blobs()], **FEW}),
    "simplify": (optforge.simplify, SimplifyOptions,
                 {"rule": "signum", "tasks": [Blobs()], **FEW}),
    "funnel": (optforge.funnel, FunnelOptions,
               {"run": "run", "ladder": [Blobs()], "trials": 1, "candidates": 1, **FEW}),
    "export": (optforge.export, ExportOptions, {"rule": "signum"}),
    "compare": (optforge.compare, CompareOptions, COMPARED),
}  # fmt: skip


def names(options: type, *without: str) -> list[str]:
    return [f.name for f in fields(options) if f.name not in (*THEIRS, *without)]  # pyright: ignore


@pytest.mark.parametrize("verb", list(VERBS))
def test_options_take_or_refuse_anything(verb: str) -> None:
    _, options, base = VERBS[verb]
    required = {
        field.name: base[field.name]
        for field in fields(options)  # pyright: ignore[reportArgumentType]
        if field.default is MISSING and field.default_factory is MISSING
    }
    for name in names(options):
        for value in JUNK:
            try:
                options(**{**required, name: value})
            except OptforgeError as error:
                assert len(str(error)) > 20
            except Exception as error:
                raise AssertionError(f"{name}={value!r}"[:200]) from error


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a small run."""
    folder = tmp_path_factory.mktemp("ground")
    train_search(folder / "run", tiny_plan(small(), [Blobs()]), 12)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("verb", list(VERBS))
def test_verbs_take_or_refuse_anything(
    verb: str, ground: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, options, base = VERBS[verb]
    for name in names(options, *ELSEWHERE):
        for number, value in enumerate(JUNK):
            place = tmp_path / f"{name} {number}"
            shutil.copytree(ground, place)
            monkeypatch.chdir(place)
            try:
                call(**{**base, name: value})
            except (OptforgeError, StoppedError) as error:
                assert str(error).strip() or isinstance(error, StoppedError)
            except Exception as error:
                raise AssertionError(f"{name}={value!r}"[:200]) from error
            monkeypatch.chdir(tmp_path)
            shutil.rmtree(place)


def test_classes_in_the_place_of_instances_are_told_what_to_give() -> None:
    with pytest.raises(CompareError, match="a mapping from names to classes"):
        optforge.compare([Blobs()], [torch.optim.AdamW])  # type: ignore[list-item]
    with pytest.raises(CompareError, match="5 is no optimizer"):
        optforge.compare([Blobs()], {"mine": 5})
    with pytest.raises(TaskError, match="5 is no task; give a name"):
        optforge.search([5])  # type: ignore[list-item]
    with pytest.raises(TaskError, match=r"Blobs.* is no task; make one of this class"):
        optforge.search([Blobs])  # type: ignore[list-item]


def test_two_tasks_have_two_files() -> None:
    tasks = [type("Blobs_", (Blobs,), {"name": name})() for name in ("a b", "a/b")]
    with pytest.raises(SearchError, match="a b, a/b.*two differ in signs"):
        optforge.search(tasks)


def test_numbers_of_numpy_become_plain() -> None:
    """The seed of a simplification was not, and its file was not written after the training."""
    options = SimplifyOptions(
        "lion", seed=np.int64(3), looks=np.array([2, 4]), margin=np.float32(0.5), repeats=np.int8(2)
    )  # type: ignore[arg-type]
    values = (options.seed, options.margin, options.repeats, *options.looks)
    assert values == (3, 0.5, 2, 2, 4) and [type(v) for v in values] == [int, float, *[int] * 3]
    for wrong in ({"margin": "a"}, {"looks": "24"}, {"looks": 4}, {"looks": [2.5]}, {"seed": 1.0}):
        with pytest.raises(SimplifyError, match=next(iter(wrong))):
            SimplifyOptions("lion", **wrong)
