"""What is global in the caller's process is as before, whatever happened in between."""

from __future__ import annotations

import logging
import multiprocessing
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from torch._inductor import config

from optforge.api.process_state import preserved_process
from optforge.language import load_rule
from optforge.training import Stack, has_compiler, kernel, train_population
from tests.helpers.tiny import Blobs


def state() -> list[Any]:
    return [
        torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate(),
        torch.get_num_threads(), torch.get_default_dtype(), optuna.logging.get_verbosity(),
        logging.getLogger("torch.utils.cpp_extension").level, np.geterr(), os.getcwd(), [*sys.path],
        [*warnings.filters], signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM),
        dict(os.environ), sys.getrecursionlimit(),
        multiprocessing.get_start_method(allow_none=True), torch.get_default_device(),
        torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    ]  # fmt: skip


def spoil(folder: Path) -> None:
    torch.seed()
    np.random.seed()
    random.seed()
    torch.set_num_threads(torch.get_num_threads() + 1)
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.set_float32_matmul_precision("medium")
    torch.use_deterministic_algorithms(True, warn_only=True)
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    logging.getLogger("torch.utils.cpp_extension").setLevel(37)  # of nobody else
    np.seterr(all="log")
    os.chdir(folder)
    os.environ["OPTFORGE_ADDED"] = os.environ["OPTFORGE_CHANGED"] = "2"
    del os.environ["OPTFORGE_REMOVED"]
    sys.path.append("elsewhere")
    sys.setrecursionlimit(sys.getrecursionlimit() + 1)
    other = "spawn" if multiprocessing.get_start_method(allow_none=True) != "spawn" else "fork"
    multiprocessing.set_start_method(other, force=True)
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: None)


@pytest.mark.parametrize("fails", [False, True])
def test_all_is_as_before(fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPTFORGE_CHANGED", "OPTFORGE_REMOVED"):
        monkeypatch.setenv(name, "1")

    @preserved_process()
    def work() -> None:
        spoil(tmp_path)
        same = [number for number, (a, b) in enumerate(zip(state(), before, strict=True)) if a == b]
        assert not same, "all was changed"
        if fails:
            raise KeyboardInterrupt

    before = state()
    try:
        work()
    except KeyboardInterrupt:
        assert fails
    assert state() == before


def test_threads_of_the_compiler_are_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiler gets optforge's number while that compiles, and not in the caller's own work."""
    seen = list[int]()

    def compile(graph: Callable[..., Any], dynamic: bool) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            seen.append(config.compile_threads)
            return graph(*arguments)

        return run

    monkeypatch.setattr(torch, "compile", compile)
    monkeypatch.setattr(kernel, "_threads", lambda: 2)
    with config.patch(compile_threads=3):
        _ = Stack(Blobs(), compile=True).kernel_by_row
        assert (seen, config.compile_threads) == ([2], 3)


@pytest.mark.slow
@pytest.mark.skipif(not has_compiler(), reason="needs a C++ compiler")
def test_compiling_leaves_no_variable_and_no_thread() -> None:
    """The compiler names its cache in the environment, for processes that it starts."""
    before, threads = dict(os.environ), threading.enumerate()
    with preserved_process():
        train_population(Stack(Blobs(), compile=True), [load_rule("lion")], range(2))
    assert dict(os.environ) == before
    assert [thread.name for thread in threading.enumerate() if thread not in threads] == []


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_caller_without_gradients_may_train(mode: Callable[[], Any]) -> None:
    """The loss was said to depend on no parameter."""

    @preserved_process()
    def gradient() -> Any:
        weight = torch.ones(1, requires_grad=True)
        (weight * 3).sum().backward()
        return weight.grad

    with mode():
        assert gradient().item() == 3.0
        assert not torch.is_grad_enabled()
