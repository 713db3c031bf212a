"""The memory of known programs is bounded, and the bound changes nothing."""

from __future__ import annotations

import copy
import gc
import math
import os
import pickle
import sqlite3
import sys
from pathlib import Path

import pytest

import optforge
from optforge.api.search_options import SearchOptions
from optforge.errors import RunError, SearchError
from optforge.evolution.candidate import Standing
from optforge.evolution.known import KnownPrograms
from tests.helpers.searches import pretend, rows, small

RANK = (0.0, 1.0, 0.1 + 0.2, math.inf, -5e-324)


def spilled() -> list[int]:
    """Sizes of the temporary files that this process has open and that have no name."""
    links = [Path(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
    files = [link for link in links if link.exists() or link.is_symlink()]
    return [f.stat().st_size for f in files if "etilqs" in os.readlink(f)]


def filled(memory: int, count: int) -> KnownPrograms:
    known = KnownPrograms(memory)
    for number in range(count):
        trace = [number / 7] * 30 if number % 2 else None
        known.add(f"fingerprint {number}", Standing(number, RANK, f"numeric {number % 100}"), trace)
    return known


def test_what_is_stored_is_read_to_the_last_bit() -> None:
    known = filled(10**6, 20)
    assert len(known) == 20 and "fingerprint 3" in known and "3" not in known
    assert known["fingerprint 3"] == Standing(3, RANK, "numeric 3")
    assert known.trace("fingerprint 3") == (3 / 7,) * 30
    assert known.trace("fingerprint 2") is None and known.trace("other") is None
    assert known.get("other") is None
    with pytest.raises(KeyError, match="other"):
        known["other"]
    known.rerank("fingerprint 3", (math.nan, 1.0, 2.0, 3.0, 4.0))
    assert math.isnan(known["fingerprint 3"].rank[0]) and known.trace("fingerprint 3")
    assert known.has_numbers("numeric 3", "another") and not known.has_numbers("numeric 77", "a")
    assert not known.has_numbers("numeric 3", "fingerprint 3"), "it is the only one"


def test_a_result_can_be_pickled_and_copied() -> None:
    known = filled(10**6, 20)
    for other in (pickle.loads(pickle.dumps(known)), copy.deepcopy(known)):
        assert len(other) == 20 and other["fingerprint 7"] == known["fingerprint 7"]
        assert other.trace("fingerprint 7") == known.trace("fingerprint 7")


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_beyond_its_bound_it_lies_in_a_file_without_a_name() -> None:
    inside = filled(10**8, 20_000)
    assert max(spilled(), default=0) == 0, "all of it fits"
    outside = filled(10**6, 20_000)
    assert max(spilled()) > 3 * 10**6
    for number in (0, 1, 9_999, 19_999):
        name = f"fingerprint {number}"
        assert inside[name] == outside[name] and inside.trace(name) == outside.trace(name)
    del outside
    gc.collect()
    assert max(spilled(), default=0) == 0, "it is removed at once"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_the_history_is_the_same_and_objects_are_few(tmp_path: Path) -> None:
    settings = small(population=20)
    wide = pretend(tmp_path / "wide", settings, 3000)
    narrow = pretend(tmp_path / "narrow", settings, 3000, memory=10_000)
    assert rows(tmp_path / "wide") == rows(tmp_path / "narrow")
    assert wide.history.tally == narrow.history.tally
    assert max(spilled()) > 10_000
    del wide
    gc.collect()
    standings = sum(type(thing) is Standing for thing in gc.get_objects())
    assert len(narrow.history.known) > 600 > 3 * standings, "no object for a known program"
    resumed = pretend(tmp_path / "narrow", settings, 3300, memory=10_000)
    whole = pretend(tmp_path / "wide", settings, 3300)
    assert rows(tmp_path / "wide") == rows(tmp_path / "narrow")
    assert resumed.history.tally == whole.history.tally


def test_a_full_disk_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    known = filled(10**6, 20)

    class Full:
        def execute(self, *_: object) -> object:
            raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(known, "_database", Full())
    with pytest.raises(RunError, match=r"disk is full.*SQLITE_TMPDIR.*max_memory"):
        known.add("new", Standing(1, RANK, ""), None)


@pytest.mark.parametrize("value", ["1kB", "0", "-1GB", "much", "1GiB", "inf", "nan", "", True, 3])
def test_a_bound_that_is_none_or_too_small_is_refused(value: object) -> None:
    with pytest.raises(SearchError, match=r"max_memory is .*at least 1MB.*500MB"):
        optforge.search(["digits_mlp"], max_memory=value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "count"), [("2GB", 2 * 10**9), ("1.5 mb", 1_500_000), ("2000000", 2_000_000)]
)
def test_amounts_of_memory(value: str, count: int) -> None:
    assert SearchOptions(max_memory=value).memory == count
