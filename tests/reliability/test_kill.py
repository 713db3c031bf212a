"""A few kills of each kind; `make kills` tries 200 over every verb, `make slow` three of each."""

from __future__ import annotations

import errno
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reliability import shim
from tests.reliability.kill import Bench, difference
from tests.reliability.verbs import VERBS

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shim.COMPILER is None, reason="needs Linux and a C compiler"
)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("kills"))
    yield made
    made.close()


@pytest.mark.parametrize(
    "kind", [*(pytest.param(kind, marks=pytest.mark.slow) for kind in ("call", "time")), "power"]
)
def test_what_is_killed_ends_alike(bench: Bench, kind: str) -> None:
    """Exporting and comparing are short; they write text files and a table that grows."""
    source = random.Random(f"short {kind}")
    assert any([bench.kill(VERBS[name], kind, source) for name in ("compare", "export")])


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["call", "time", "power"])
@pytest.mark.parametrize("name", list(VERBS))
def test_every_verb_ends_alike(bench: Bench, name: str, kind: str) -> None:
    for number in range(3):
        bench.kill(VERBS[name], kind, random.Random(f"{name} {kind} {number}"))


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("export", errno.EROFS),
        ("export", errno.ENOSPC),
        ("compare", errno.EROFS),
        pytest.param("compare", errno.ENOSPC, marks=pytest.mark.slow),
    ],
)
def test_a_disk_that_takes_nothing_is_a_sentence(bench: Bench, name: str, error: int) -> None:
    assert bench.fail(VERBS[name], error, 1)


@pytest.mark.slow
def test_a_disk_that_is_full_later_loses_nothing(bench: Bench) -> None:
    """A comparison ended with code 70: closing its table tried to write once more."""
    bench.whole(VERBS["compare"])
    calls, _ = bench.lengths["compare"]
    assert all([bench.fail(VERBS["compare"], errno.ENOSPC, calls * share // 8) for share in (3, 5)])


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", list(VERBS))
def test_no_verb_loses_anything_on_a_full_disk(bench: Bench, name: str) -> None:
    bench.whole(VERBS[name])
    calls, _ = bench.lengths[name]
    assert bench.fail(VERBS[name], errno.EROFS, 1)
    for number in range(6):
        moment = random.Random(f"full {name} {number}").randint(1, calls)
        bench.fail(VERBS[name], errno.ENOSPC, moment)


def test_a_machine_loses_what_was_not_synced(tmp_path: Path) -> None:
    root, before = tmp_path / "root", tmp_path / "before"
    root.mkdir(), before.mkdir()
    name = str(root / "a")
    calls = [
        shim.Call(shim.CREATE, name, 0, b""),
        shim.Call(shim.WRITE, name, 0, b"kept"),
        shim.Call(shim.SYNC, name, 0, b""),
        shim.Call(shim.WRITE, name, 4, b" lost"),
    ]
    found = set()
    for seed in range(20):
        shim.after_loss(before, root, calls, random.Random(seed))
        found.add((root / "a").read_text())
    assert found == {"kept", "kept lost"}


def test_a_new_name_without_a_sync_may_be_lost(tmp_path: Path) -> None:
    root, before = tmp_path / "root", tmp_path / "before"
    root.mkdir(), before.mkdir()
    (before / "a").write_text("old")
    new, name = str(root / ".a.part"), str(root / "a")
    calls = [
        shim.Call(shim.CREATE, new, 0, b""),
        shim.Call(shim.WRITE, new, 0, b"new"),
        shim.Call(shim.SYNC, new, 0, b""),
        shim.Call(shim.RENAME, new, 0, name.encode()),
    ]
    found = set()
    for seed in range(20):
        shim.after_loss(before, root, calls, random.Random(seed))
        found.add((root / "a").read_text())
    assert found == {"old", "new"}
    shim.after_loss(
        before, root, [*calls, shim.Call(shim.SYNC, str(root), 0, b"")], random.Random(0)
    )
    assert (root / "a").read_text() == "new"


def test_a_difference_names_its_place() -> None:
    assert difference({"a": [1, 2]}, {"a": [1, 2]}) is None
    assert difference({"a": [1, 2]}, {"a": [1, 3]}) == "/a/1: 3, not 2"
