"""The file of losses survives what files go through."""

from __future__ import annotations

from pathlib import Path

import pytest

from optforge.jobs import Store
from optforge.language import load_rule
from tests.helpers.tiny import Blobs

TASK = Blobs()


def keys(store: Store) -> list[str]:
    rule = load_rule("lion")
    return [store.key(rule, TASK, seed, "validation") for seed in range(3)]


def test_what_was_put_is_there_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "losses"
    store = Store(path, compiled=False)
    first, second, third = keys(store)
    store.put({first: -0.25, second: float("inf")})
    store.put({third: 1 / 3})
    again = Store(path, compiled=False)
    assert [again.get(key) for key in (first, second, third)] == [-0.25, float("inf"), 1 / 3]


@pytest.mark.parametrize("rest", ["0123", "f" * 24 + " ", "f" * 24 + " 0.", "no number at all"])
def test_a_line_cut_off_is_left_out_and_the_next_one_is_whole(tmp_path: Path, rest: str) -> None:
    path = tmp_path / "losses"
    store = Store(path, compiled=False)
    first, second, _ = keys(store)
    store.put({first: 2.0})
    with path.open("a") as file:
        file.write(rest)
    damaged = Store(path, compiled=False)
    assert damaged.get("f" * 24) is None
    damaged.put({second: 3.0})
    again = Store(path, compiled=False)
    assert (again.get(first), again.get(second)) == (2.0, 3.0)


def test_a_folder_that_cannot_be_written_costs_only_the_resuming(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = Store(tmp_path / "file" / "losses", compiled=False)
    first, *_ = keys(store)
    store.put({first: 1.0})
    assert store.get(first) == 1.0


def test_another_seed_split_rule_or_way_of_computing_is_another_measurement() -> None:
    plain, compiled = Store(None, compiled=False), Store(None, compiled=True)
    rule, other = load_rule("lion"), load_rule("signum")
    found = {
        plain.key(rule, TASK, 0, "validation"),
        plain.key(rule, TASK, 1, "validation"),
        plain.key(rule, TASK, 0, "test"),
        plain.key(other, TASK, 0, "validation"),
        compiled.key(rule, TASK, 0, "validation"),
    }
    assert len(found) == 5


def test_a_number_that_was_cut_short_is_never_read_as_one(tmp_path: Path) -> None:
    path = tmp_path / "losses"
    store = Store(path, compiled=False)
    first, second, third = keys(store)
    store.put({first: 2.0})
    with path.open("a") as file:
        file.write(f"{second} 0.12")  # of 0.1234, when its process was killed
    Store(path, compiled=False).put({third: 3.0})
    again = Store(path, compiled=False)
    assert again.get(second) is None
    assert (again.get(first), again.get(third)) == (2.0, 3.0)
