"""The report of a comparison: what it says of runs without a result, of ranges, of many names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from optforge.comparison import (
    CellResult,
    Comparison,
    ComparisonSettings,
    Findings,
    load_recipe,
    summaries,
    vary,
)
from optforge.comparison.result import TaskResult, Trial, TunedSetting
from optforge.report.comparison import page as report
from optforge.report.comparison import style as comparison_style
from optforge.report.comparison.figures import draw_figures
from optforge.report.comparison.page import write_report
from optforge.report.comparison.style import looks, new_figure, one_legend
from optforge.report.comparison.tables import (
    all_tables,
    best_of_axis,
    halves_table,
    uneven_ranges,
    verdicts,
)
from optforge.tuning import Space
from tests.helpers.tiny import Blobs

SPACE = load_recipe("adamw").space
SETTING = (("beta1", 0.9), ("beta2", 0.99), ("lr", 0.01), ("weight_decay", 0.1))
CURVE = tuple((step, 1.0 / step, 0.5, 0.1 * step) for step in (5, 10, 15, 20))
DEAD, LOST = CellResult(failed="its process died"), CellResult(diverged=True, steps=3)


@pytest.fixture(autouse=True)
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures that are quick to draw."""
    monkeypatch.setattr(comparison_style, "_DPI", 20)


def run(loss: float) -> CellResult:
    return CellResult(loss=loss, metric=0.5, test_loss=loss, test_metric=0.5, steps=20, curve=CURVE)


def tuned(
    name: str, finals: Sequence[CellResult], grown: Sequence[str] = (), space: Space = SPACE,
    trials: Sequence[CellResult] = (), best: Any = SETTING,
) -> TunedSetting:  # fmt: skip
    tried = tuple(Trial(SETTING, (one,)) for one in trials or [run(0.5), run(0.6)])
    points = tuple(
        Trial((("lr", lr), ("weight_decay", decay)), (finals[0],))
        for lr in (0.1, 0.2)
        for decay in (0.01, 0.1)
    )
    return TunedSetting(
        name, space, tried, tried, best, tuple(grown), (), tuple(finals), tried, points
    )


def along(rows: Sequence[Mapping[str, Sequence[CellResult]]], axis: str = "batch_size") -> Findings:
    results = (
        TaskResult(
            vary(Blobs(), {axis: 8 * 2**place}),
            {name: tuned(name, finals) for name, finals in row.items()},
        )
        for place, row in enumerate(rows)
    )
    return Findings(tuple(results), "adamw")


def comparison(found: Findings, *names: str) -> Comparison:
    variants = tuple(result.variant for result in found.tasks)
    recipes = tuple(replace(load_recipe("adamw"), name=name) for name in names)
    return Comparison(variants, recipes, ComparisonSettings(seeds=3))


GOOD = [run(0.5), run(0.52), run(0.55)]


@pytest.mark.parametrize(
    "bad",
    [
        [DEAD, LOST, GOOD[0]],
        [LOST] * 3,
        *(
            pytest.param(b, marks=pytest.mark.slow)
            for b in ([DEAD, *GOOD[1:]], [LOST, *GOOD[1:]], [DEAD] * 3)
        ),
    ],
)
def test_runs_without_a_result_never_break_the_report(
    tmp_path: Path, bad: list[CellResult]
) -> None:
    found = along([{"adamw": GOOD, "b": GOOD}, {"adamw": GOOD, "b": bad}, {"adamw": bad, "b": bad}])
    write_report(comparison(found, "adamw", "b"), found, [], tmp_path)
    assert (tmp_path / "axis-batch_size.png").read_bytes()[:4] == b"\x89PNG"
    text = (tmp_path / "report.md").read_text()
    assert "![axis-batch_size.png]" in text and "![curves.png]" in text and "not drawn" not in text


def test_a_figure_that_fails_costs_neither_the_tables_nor_the_other_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> bytes:
        raise ValueError("no ink")

    def figures(found: Findings) -> Any:
        assert (tmp_path / "report.md").exists() and (tmp_path / "report.json").exists()
        yield "a.png", broken
        yield "b.png", lambda: b"drawn"

    monkeypatch.setattr(report, "draw_figures", figures)
    found = along([{"adamw": GOOD}])
    write_report(comparison(found, "adamw"), found, [], tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "a.png was not drawn (ValueError: no ink)" in text
    assert "![b.png](b.png)" in text and (tmp_path / "b.png").read_bytes() == b"drawn"


def test_trials_that_never_ended_are_not_called_diverged() -> None:
    def said(trials: list[CellResult]) -> str:
        results = {"adamw": tuned("adamw", [DEAD], trials=trials, best=None)}
        found = Findings((TaskResult(vary(Blobs(), {}), results),), "adamw")
        table = verdicts(found, summaries(found), [])
        return table.rows[0][2]

    assert said([LOST, LOST]) == "all trials diverged"
    assert said([DEAD, DEAD]) == "no trial has a result"
    assert said([DEAD, LOST]) == "all trials diverged or have no result"


def test_every_report_says_what_its_intervals_leave_out(tmp_path: Path) -> None:
    found = along([{"adamw": GOOD, "b": GOOD}])
    made = comparison(found, "adamw", "b")
    text = report.to_markdown(made, found, [])
    assert "over seeds, given the chosen settings; the luck of the tuning itself is not in" in text
    write_report(made, found, [], tmp_path)
    assert (
        "trials.png shows how the best found depends on the number of trials"
        in (tmp_path / "report.md").read_text()
    )


def test_a_range_that_grew_for_some_and_not_for_others_is_marked(tmp_path: Path) -> None:
    wide = SPACE.extended({"lr": 1})
    results = {
        "adamw": tuned("adamw", GOOD, ["one_minus_beta1"], SPACE.extended({"one_minus_beta1": -1})),
        "b": tuned("b", GOOD, ["lr", "one_minus_beta1"], wide),
        "c": tuned("c", GOOD, ["one_minus_beta1"]),
    }
    found = Findings((TaskResult(vary(Blobs(), {}), results),), "adamw")
    table = uneven_ranges(found)
    assert table is not None and table.rows == (("Blobs", "lr", "b", "adamw, c"),)
    assert table in list(all_tables(found))
    told = report.to_json(comparison(found, "adamw", "b", "c"), found, [])
    assert told["uneven_ranges"] == [
        {"task": "Blobs", "range": "lr", "grew_for": ["b"], "not_for": ["adamw", "c"]}
    ]
    ends = {d.name: [d.low, d.high] for d in wide.dimensions}
    assert told["optimizers"][1]["ranges"] == ends
    low, high = ends["lr"]
    text = report.to_markdown(comparison(found, "adamw", "b", "c"), found, [])
    assert f"lr {low:.3g} to {high:.3g}" in text and "misplaced" in text


def test_ranges_that_grew_for_all_or_none_or_the_only_one_that_has_them_are_not_marked() -> None:
    only = Space(SPACE.dimensions[:1])
    for grown in ({"a": ["lr"], "b": ["lr"]}, {"a": [], "b": []}):
        results = {name: tuned(name, GOOD, which) for name, which in grown.items()}
        found = Findings((TaskResult(vary(Blobs(), {}), results),), "a")
        assert uneven_ranges(found) is None
    results = {"a": tuned("a", GOOD, ["weight_decay"]), "b": tuned("b", GOOD, (), only)}
    assert uneven_ranges(Findings((TaskResult(vary(Blobs(), {}), results),), "a")) is None


def test_the_luck_of_the_tuning_is_told_beside_the_differences() -> None:
    results = {
        "adamw": tuned("adamw", GOOD, trials=[run(x) for x in (0.5, 0.6, 0.7, 0.8)]),
        "b": tuned("b", GOOD, trials=[run(x) for x in (0.25, 0.9, 1.0, 1.1)]),
    }
    found = Findings((TaskResult(vary(Blobs(), {}), results),), "adamw")
    table = halves_table(found)
    assert table is not None and table in list(all_tables(found))
    # Half of the halves of b have 0.25, the best of the others is 0.9 or 1.0.
    assert table.rows[0][:2] == ("Blobs", "b") and table.rows[0][3] == "50 %"
    told = report.to_json(comparison(found, "adamw", "b"), found, [])
    assert [one["ahead"] for one in told["luck"]] == [pytest.approx(0.5)]
    assert halves_table(replace(found, tasks=())) is None
    by_metric = halves_table(replace(found, objective="metric"))
    assert by_metric is not None and "points" in by_metric.columns[2]


def test_two_dozen_optimizers_look_different_in_lines_and_in_dots() -> None:
    found = along([{f"o{n}": GOOD for n in range(24)}])
    made = looks(found).values()
    assert len({(one.color, one.line) for one in made}) == 24
    assert len({(one.color, one.mark) for one in made}) == 24


def test_figures_of_ten_optimizers_are_drawn() -> None:
    found = along([{f"o{n}": GOOD for n in range(10)}])
    assert all(draw()[:4] == b"\x89PNG" for _, draw in draw_figures(found))


def test_longer_runs_have_no_optimum(tmp_path: Path) -> None:
    rows = [{"adamw": [run(x), run(1.1 * x)]} for x in (0.7, 0.6, 0.5)]
    assert best_of_axis(along(rows, "steps")) is None
    told = report.to_json(comparison(along(rows, "steps"), "adamw"), along(rows, "steps"), [])
    assert told["optima"] == []
    table = best_of_axis(along(rows))
    assert table is not None and table.rows[0][:2] == ("Blobs", "adamw")


def test_an_optimum_at_the_end_of_its_axis_is_marked() -> None:
    rows = [{"adamw": [run(x), run(1.1 * x)]} for x in (0.7, 0.6, 0.5)]
    for table, end in ((best_of_axis(along(rows)), ">= 32"),
                       (best_of_axis(along(rows[::-1])), "<= 8")):  # fmt: skip
        assert table is not None and table.rows[0][2] == f"{end} (end of the axis)"
    middle = best_of_axis(along([rows[0], rows[2], rows[1]]))
    assert middle is not None and middle.rows[0][2] == "16"


@pytest.mark.parametrize("names", [["adamw", "lion"], [f"a_long_name_{n}" for n in range(12)]])
def test_a_legend_lies_within_its_figure(names: list[str]) -> None:
    figure, axes = new_figure(1, 1)
    for name in names:
        axes[0, 0].plot([1, 2], [1, 2], label=name)
    one_legend(figure, axes)
    figure.canvas.draw()
    box, (width, height) = figure.legends[0].get_window_extent(), figure.canvas.get_width_height()
    assert 0 <= box.x0 < box.x1 <= width and 0 <= box.y0 < box.y1 <= height
