"""The table of cells: whole lines, one writer, nothing lost by a killed process."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optforge.comparison import CELLS, Cell, CellResult, CellTable
from optforge.errors import CompareError

CELL = Cell("task", "adamw", (("lr", 0.1),), 3)
numbers = st.floats(allow_nan=True, allow_infinity=True)
outcomes = st.builds(
    CellResult,
    loss=numbers,
    metric=numbers,
    test_loss=numbers,
    diverged=st.booleans(),
    steps=st.integers(0, 10**6),
    curve=st.lists(st.tuples(st.integers(1, 9), numbers, numbers, numbers), max_size=3).map(tuple),
    optimizer_bytes=st.integers(0, 10**12),
    extras=st.dictionaries(st.text(max_size=5), numbers, max_size=2),
    failed=st.sampled_from(["", "died: signal SIGKILL"]),
)


def same(one: object, other: object) -> bool:
    return repr(one) == repr(other)  # NaN equals NaN here


@given(outcomes)
def test_an_outcome_survives_json_exactly(outcome: CellResult) -> None:
    text = json.dumps(outcome.to_json(), allow_nan=False)
    assert same(CellResult.from_json(json.loads(text)), outcome)


def filled(path: Path, count: int = 3) -> None:
    with CellTable(path) as table:
        table.describe({"torch": "1"})
        for n in range(count):
            table.add(f"k{n}", CELL, CellResult(loss=n / 3), "tuning")


def test_what_was_added_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "cells.jsonl"
    filled(path)
    with CellTable(path) as table:
        assert len(table) == 3 and "k2" in table
        assert table["k1"].loss == 1 / 3 and math.isnan(table["k1"].metric)
        assert table.sessions == [{"torch": "1"}]


@pytest.mark.parametrize("cut", range(2, 40, 3))
def test_a_half_written_line_is_cut_off_and_its_cell_repeated(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "cells.jsonl"
    filled(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    with CellTable(path) as table:
        assert "k1" in table and "k2" not in table
        table.add("k2", CELL, CellResult(loss=2 / 3), "tuning")
    assert path.read_bytes() == whole


def test_damage_in_the_middle_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "cells.jsonl"
    filled(path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], lines[2][:20], *lines[3:]]) + "\n")
    with pytest.raises(CompareError, match="line 3 of"):
        CellTable(path)


def test_only_one_may_write(tmp_path: Path) -> None:
    path = tmp_path / "cells.jsonl"
    with CellTable(path):
        with pytest.raises(CompareError, match="another process is writing"):
            CellTable(path)
        with CellTable(path, write=False) as reader:
            assert len(reader) == 0
    CellTable(path).close()


def test_what_a_killed_process_had_begun_is_removed(tmp_path: Path) -> None:
    leftover = tmp_path / ".report.md.0a1b2c3d.part"
    leftover.write_text("# Comp")
    CellTable(tmp_path / "cells.jsonl").close()
    assert not leftover.exists()


def test_the_first_outcome_of_a_key_stays(tmp_path: Path) -> None:
    path = tmp_path / "cells.jsonl"
    filled(path)
    size = path.stat().st_size
    with CellTable(path) as table:
        table.describe({"torch": "1"})
        table.add("k0", CELL, CellResult(loss=9.0))
        assert table["k0"].loss == 0.0
    assert path.stat().st_size == size


@pytest.mark.parametrize(
    "change",
    [{"setting": (("lr", 0.2),)}, {"seed": 4}, {"test": True}, {"curve": True}, {"until": 0.5},
     {"extras": ("flatness",)}],
)  # fmt: skip
def test_what_decides_a_run_is_in_its_key(change: dict) -> None:
    values = {"task": "t", "recipe": "r", "setting": (("lr", 0.1),), "seed": 3}
    assert Cell(**values).key("h", "i", 5) != Cell(**{**values, **change}).key("h", "i", 5)


def test_names_are_not_in_the_key_but_contents_are() -> None:
    one, other = Cell("a", "b", (), 1), Cell("c", "d", (), 1)
    assert one.key("h", "i", 5) == other.key("h", "i", 5)
    assert len({one.key("h", "i", 5), one.key("g", "i", 5), one.key("h", "j", 5)}) == 3
    assert one.key("h", "i", 5) == one.key("h", "i", 7)  # no curve: the period does not matter


def test_the_key_names_the_device_unless_it_is_the_processor() -> None:
    plain, first = CELL.key("task", "recipe", 5), CELL.key("task", "recipe", 5, "cuda")
    assert CELL.key("task", "recipe", 5, "cpu") == plain != first
    assert CELL.key("task", "recipe", 5, "cuda:1") == first
    assert CELL.key("task", "recipe", 5, "mps") not in (plain, first)


def one_cell(path: Path) -> bytes:
    with CellTable(path / CELLS) as table:
        table.describe({"torch": "1"})
        table.add("a", CELL, CellResult(loss=0.5))
    return (path / CELLS).read_bytes()


def test_a_whole_last_line_without_an_end_is_kept(tmp_path: Path) -> None:
    content = one_cell(tmp_path)
    (tmp_path / CELLS).write_bytes(content[:-1])
    with CellTable(tmp_path / CELLS, write=False) as table:
        assert "a" in table
    with CellTable(tmp_path / CELLS) as table:
        table.add("b", CELL, CellResult(loss=0.25))
        assert "a" in table
    lines = (tmp_path / CELLS).read_text().splitlines()
    assert [json.loads(line).get("key") for line in lines] == [None, "a", "b"]


@pytest.mark.parametrize("row", ["[1]", "7", "null", '"a"'])
def test_a_row_that_is_no_object_is_told(tmp_path: Path, row: str) -> None:
    one_cell(tmp_path)
    with (tmp_path / CELLS).open("a") as file:
        file.write(row + "\n")
    with pytest.raises(CompareError, match=r"line 3 of .* not a row of a comparison .*not an obj"):
        CellTable(tmp_path / CELLS)


@pytest.mark.parametrize(
    "wrong", [{"loss": [1.0]}, {"steps": 1.5}, {"curve": [[1, "x"]]}, {"extras": [1]}, {"key": 3}]
)
def test_a_value_of_another_kind_is_refused_by_its_line(
    wrong: dict[str, object], tmp_path: Path
) -> None:
    path = tmp_path / "cells.jsonl"
    rows = [{"key": "a", "loss": 0.5}, {"key": "b", "loss": 0.5, **wrong}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(CompareError, match="line 2 of .*is not a row of a comparison"):
        CellTable(path, write=False)
