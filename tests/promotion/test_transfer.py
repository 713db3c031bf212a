"""The transfer study: what it prints of cells, and that a stopped one goes on where it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest

from optforge.tasks import ladder_task_names


@pytest.fixture
def transfer(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "benchmarks"))
    import transfer  # pyright: ignore[reportMissingImports]

    return transfer


def cells(transfer: Any, agreement: float) -> list[Any]:
    """Twelve optimizers whose verdicts agree with the ladder so far."""
    random = numpy.random.default_rng(1)
    quality = random.normal(0, 0.1, 12)
    other = agreement * quality + (1 - agreement) * random.normal(0, 0.1, 12)
    made = []
    for number, values in enumerate(zip(quality, other, strict=True)):
        name = transfer.REFERENCE if number == 0 else f"rule {number}"
        places = ((ladder_task_names()[0], transfer.TUNED), ("mnist_mlp", transfer.RATES))
        for (task, way), value in zip(places, values, strict=True):
            logs = tuple((value + random.normal(0, 0.001, 10)).tolist())
            made.append(transfer.Measured(name, task, way, logs, 3, 0.5))
    return made


def test_agreement_is_told_from_chance(transfer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    transfer.show(cells(transfer, 1.0))
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if line.startswith("| rates | mnist_mlp")]
    assert len(rows) == 3 and all(
        "| 12 |" in row and " 0.9" in row or "1.00" in row for row in rows
    )
    by_key = {cell.key: cell for cell in cells(transfer, 0.0)}
    found = transfer.correlation(by_key, "rates", ("mnist_mlp",), 10, ladder_task_names()[:1])
    low, high = (float(x) for x in found[5].split("[")[1].rstrip("]").split(","))
    assert low < 0 < high


def test_what_searches_found_can_be_left_out(
    transfer: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for cell in cells(transfer, 1.0):
        find = cell.optimizer in ("rule 1", "rule 2")
        name = f"search/{cell.optimizer}/best.py" if find else cell.optimizer
        transfer.keep(replace(cell, optimizer=name), tmp_path / transfer.CELLS)
    monkeypatch.setattr(transfer, "RESAMPLES", 20)
    counts = []
    for words in ([], ["--kinds", "rules"], ["--ladder", ladder_task_names()[1]]):
        monkeypatch.setattr("sys.argv", ["transfer.py", "show", "--out", str(tmp_path), *words])
        transfer.main()
        rows = [line for line in capsys.readouterr().out.splitlines() if "| rates | mnist" in line]
        counts.append({row.split("|")[4].strip() for row in rows})
    assert counts == [{"12"}, {"10"}, set()]  # nothing was measured on that rung


def test_forty_optimizers_are_forty_structures(transfer: Any) -> None:
    names = transfer.optimizers(40)
    assert len(set(names)) == 40 and names[0] == "adamw"
    assert transfer.rule_of(names[-1]).states


def test_a_stopped_run_goes_on_from_its_cells(
    transfer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["transfer.py", "run", "--tasks", "digits_mlp@5", "--optimizers", "2"]
    words += ["--trials", "2", "--seeds", "2", "--out"]
    monkeypatch.setattr("sys.argv", [*words, str(tmp_path), "--minutes", "1e-9"])
    transfer.main()
    assert transfer.read(transfer.Measured, tmp_path / transfer.CELLS) == []
    monkeypatch.setattr("sys.argv", [*words, str(tmp_path)])
    transfer.main()
    first = transfer.read(transfer.Measured, tmp_path / transfer.CELLS)
    assert len({cell.key for cell in first}) == 2 * 3
    transfer.main()
    assert transfer.read(transfer.Measured, tmp_path / transfer.CELLS) == first
