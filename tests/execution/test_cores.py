"""The process is asked how many cores it may use, and not the machine."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from optforge.errors import CompareError, SearchError
from optforge.execution import choose_workers, cores, start, usable_cores, worker_count


def test_the_affinity_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    assert usable_cores() == worker_count(None) == 1


@pytest.mark.parametrize(
    ("files", "limits"),
    [
        ({"cpu.max": "250000 100000\n"}, [2]),
        ({"cpu.max": "50000 100000\n"}, [1]),
        ({"cpu.max": "max 100000\n"}, []),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, [3]),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, []),
        ({"cpu.max": "odd\n"}, []),
        ({}, []),
    ],
)
def test_quotas_of_cgroups_count(files: dict[str, str], limits: list[int], tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cores._quotas(tmp_path) == limits


@pytest.mark.parametrize(
    "line",
    ["0::/kubepods/pod1/cri-containerd:abc", "4:cpu,cpuacct:/kubepods/pod1/cri-containerd:abc"],
)
def test_a_group_with_colons_in_its_path_is_found(line: str, tmp_path: Path) -> None:
    """Those of containerd hold some, so that its quotas were not seen."""
    group = tmp_path / "groups" / "kubepods" / "pod1" / "cri-containerd:abc"
    group.mkdir(parents=True)
    (group / "cpu.max").write_text("300000 100000\n")
    (tmp_path / "membership").write_text(f"{line}\n")
    assert cores._quotas(tmp_path / "groups", tmp_path / "membership") == [3]


def test_a_quota_below_the_affinity_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(cores, "_quotas", lambda _: [3])
    assert usable_cores() == 3


def test_a_daemonic_process_is_told_what_to_give(monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = SimpleNamespace(daemon=True)
    monkeypatch.setattr(multiprocessing, "current_process", lambda: daemon)
    assert worker_count(None) == worker_count(0) == 0
    with pytest.raises(CompareError, match="daemonic.*give workers=0"):
        worker_count(2, CompareError)


def test_numbers_of_workers_are_plain_or_refused() -> None:
    assert worker_count(np.int64(2)) == 2 and type(worker_count(np.int64(2))) is int
    for wrong in (-1, 1.5, "2", True):
        with pytest.raises(SearchError, match="workers is .*; it must be a whole number"):
            worker_count(wrong)


def test_no_machine_is_filled_with_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "usable_cores", lambda: 2)
    assert choose_workers(128) == 128
    with pytest.raises(CompareError, match="workers is 129; here at most 128 may run"):
        choose_workers(129, wrong=CompareError)
