"""Where there is no difference, the p-values of the harness are uniform."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from scipy import stats


@pytest.fixture
def null_p_values(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[float]]]:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "benchmarks"))
    from measures.null import null_p_values  # pyright: ignore[reportMissingImports]

    yield null_p_values
    for name in [name for name in sys.modules if name.split(".")[0] == "measures"]:
        del sys.modules[name]


@pytest.mark.slow
def test_an_optimizer_against_itself_on_other_seeds(
    null_p_values: Callable[..., list[float]],
) -> None:
    """Two hundred comparisons; a sound harness fails this once in ten thousand changes."""
    values = null_p_values(200)
    assert stats.kstest(values, "uniform").pvalue > 1e-4
    assert stats.binomtest(sum(p < 0.05 for p in values), 200, 0.05).pvalue > 1e-4


def test_few_of_them_spread_over_the_whole_range(null_p_values: Callable[..., list[float]]) -> None:
    values = null_p_values(12, each=4)
    assert len(set(values)) == 12 and all(0 < p <= 1 for p in values)
    assert stats.kstest(values, "uniform").pvalue > 1e-4
