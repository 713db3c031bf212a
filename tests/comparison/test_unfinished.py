"""Runs without a result, because a worker died or took too long, decide nothing for good."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from torch import nn

from optforge.api.comparison import Destination, conduct
from optforge.api.keywords import WorkOptions
from optforge.comparison import CELLS, CellTable, Comparison
from optforge.errors import CompareError
from optforge.fitness.seeds import seeds
from tests.helpers.comparisons import few
from tests.helpers.displays import Heard
from tests.helpers.tiny import Blobs

FLAG = "OPTFORGE_TEST_TROUBLE"


class Troubled(Blobs):
    """With the seed of the first final run there is trouble, as long as the environment says so."""

    name = "Troubled"

    def prepare(self, model: nn.Module, seed: int) -> nn.Module:
        kind, _, file = os.environ.get(FLAG, "").partition(":")
        if kind and seed == seeds(0, self.name, "compare final", 1)[0]:
            with open(file, "a") as counter:
                counter.write("x")
            if kind == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)
        return model


ALONE = WorkOptions(workers=0)


def kept(path: Path) -> Destination:
    return Destination(path, resume=True, figures=False)


def asked() -> Comparison:
    return few("adamw", task=Troubled(), trials=1, seeds=3, finalists=1, again=0, extensions=0)


def test_a_run_whose_worker_dies_is_counted_apart_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = Heard()
    monkeypatch.setenv(FLAG, f"die:{tmp_path / 'count'}")
    first = conduct(asked(), kept(tmp_path / "a"), WorkOptions(workers=1, watch=heard))
    told = first.summaries[0]
    assert (tmp_path / "count").read_text() == "xx"
    assert (told.failed_runs, told.diverged_runs, told.runs) == (1, 0, 3)
    assert told.test_loss is not None and told.test_loss.count == 2
    assert "Runs without a result" in first.markdown
    assert any("--resume tries it again" in text for text in heard.said)
    with CellTable(tmp_path / "a" / CELLS, write=False) as table:
        assert len(table) == 3  # a trial and two of the three final runs

    monkeypatch.delenv(FLAG)
    again = conduct(asked(), kept(tmp_path / "a"), ALONE)
    whole = conduct(asked(), kept(tmp_path / "b"), ALONE)
    assert "Runs without a result" not in again.markdown
    assert again.summaries[0].test_loss == whole.summaries[0].test_loss


@pytest.mark.slow
def test_a_run_above_the_limit_is_ended_and_says_how_to_allow_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = Heard()
    monkeypatch.setenv(FLAG, f"wait:{tmp_path / 'count'}")
    found = conduct(asked(), kept(tmp_path / "a"), WorkOptions(workers=1, watch=heard), limit=4.0)
    assert found.summaries[0].failed_runs == 1
    assert any("no answer within 4 s; allow more with --limit" in text for text in heard.said)
    assert (tmp_path / "count").read_text() == "x"


def test_failed_rows_of_older_tables_are_computed_again(tmp_path: Path) -> None:
    rows = [{"key": "a", "loss": 0.5}, {"key": "b", "diverged": True, "failed": "died: -9"}]
    (tmp_path / CELLS).write_text("".join(json.dumps(row) + "\n" for row in rows))
    with CellTable(tmp_path / CELLS, write=False) as table:
        assert "a" in table and "b" not in table


@pytest.mark.parametrize("limit", [0.0, -1.0, float("nan")])
def test_a_limit_that_is_none_is_refused(limit: float, tmp_path: Path) -> None:
    with pytest.raises(CompareError, match="limit of a run is .*a number above 0"):
        conduct(asked(), kept(tmp_path), ALONE, limit=limit)
