"""What a comparison hands back from Python: settings, rows, a data frame, and how it prints."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from optforge.api.comparison import conduct
from optforge.api.comparison_result import ComparisonResult
from optforge.api.keywords import WorkOptions
from optforge.errors import CompareError, OptforgeError
from tests.helpers.comparisons import few

FEW: dict[str, Any] = {"trials": 2, "seeds": 2, "finalists": 1, "again": 0, "extensions": 0}


@pytest.fixture(scope="module")
def result() -> ComparisonResult:
    return conduct(few("adamw", "sgd", **FEW), machine=WorkOptions(workers=0))


def test_the_chosen_setting_is_found_by_name(result: ComparisonResult) -> None:
    (task,) = result.findings.tasks
    best = result.best_params("sgd", "Blobs")
    assert best == result.best_params("sgd") == dict(task.tuned["sgd"].best or ())
    assert best["lr"] > 0


def test_in_a_notebook_it_shows_its_verdicts(result: ComparisonResult) -> None:
    shown = result._repr_html_()
    assert shown.startswith("<table><caption>") and shown.count("<tr>") == 3
    assert [pair.verdict in shown for pair in result.pairs] == [True]


@pytest.mark.parametrize(("names", "what"), [(("adam",), "'adam' on Blobs"), (("sgd", "x"), "'x'")])
def test_an_unknown_name_is_refused_with_what_there_is(
    result: ComparisonResult, names: tuple[str, ...], what: str
) -> None:
    with pytest.raises(CompareError, match=f"{what}; .* Blobs .* adamw, sgd"):
        result.best_params(*names)


def test_the_former_name_of_the_findings_warns(result: ComparisonResult) -> None:
    with pytest.warns(DeprecationWarning, match="use result.findings"):
        assert result.found is result.findings


def test_every_row_is_one_optimizer_on_one_task(result: ComparisonResult) -> None:
    adamw, sgd = result.table
    assert (adamw["task"], adamw["optimizer"], adamw["verdict"]) == ("Blobs", "adamw", "baseline")
    assert sgd["test_loss_low"] <= sgd["test_loss"] <= sgd["test_loss_high"]
    assert sgd["log_ratio"] == result.pairs[0].test_loss.mean and adamw["log_ratio"] is None
    assert sgd["params_lr"] == result.best_params("sgd")["lr"]


def test_the_data_frame_holds_the_rows(result: ComparisonResult) -> None:
    pytest.importorskip("pandas")
    frame = result.to_frame()
    assert list(frame["optimizer"]) == ["adamw", "sgd"]
    assert frame["test_loss"][1] == result.table[1]["test_loss"]


def test_the_best_has_the_lowest_loss(result: ComparisonResult) -> None:
    losses = {row["optimizer"]: row["test_loss"] for row in result.table}
    assert result.best == {"Blobs": min(losses, key=lambda name: losses[name])}


def test_a_missing_pandas_is_named_with_the_command(
    result: ComparisonResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(OptforgeError, match=r"pip install 'optforge\[pandas\]'"):
        result.to_frame()


def test_it_prints_as_the_main_table(result: ComparisonResult) -> None:
    text = repr(result)
    assert text.startswith("ComparisonResult\nFresh seeds") and "too few seeds" in text
    assert [line.split(" | ")[1] for line in text.splitlines()[-2:]] == ["adamw", "sgd"]
