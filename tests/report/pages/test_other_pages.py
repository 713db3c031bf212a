"""The pages of funnels and simplifications: what they show is what was stored."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from optforge.ablation import describe
from optforge.analysis import fingerprint
from optforge.api.funnel_result import FunnelResult
from optforge.equality import simplify_exact
from optforge.equality.card import property_card
from optforge.equality.recognise import recognise
from optforge.errors import OptforgeError, ProgramError
from optforge.language import load_rule, parse
from optforge.report.pages.blocks import Block, Code, Facts, Page, Tree, Words
from optforge.report.pages.render import render
from optforge.report.pages.rule import update_figure
from optforge.report.pages.write import page_of, write_page
from tests.helpers.other_pages import HOSTILE, LION, PROGRAMS, make_funnel, make_simplification


def blocks(page: Page, section: str) -> list[Block]:
    return [block for s in page.sections if s.name == section for block in s.blocks]


def test_a_funnel_says_what_stopped_each_candidate(tmp_path: Path) -> None:
    page = page_of(make_funnel(tmp_path / "funnel"))
    assert page.state == "finished"
    (tree,) = [block for block in blocks(page, "candidates") if isinstance(block, Tree)]
    assert [step.title.split(",")[0] for step in tree.steps] == ["program 7", "program 31"]
    first, second = (step.note for step in tree.steps)
    assert first.startswith(f"{HOSTILE}: promoted at -7.7 %") and "; second: dropped" in first
    assert second.startswith(f"{HOSTILE}: dropped at +5.1 %") and "second" not in second
    for step, rule in zip(tree.steps, PROGRAMS.values(), strict=True):
        assert "\n".join(line for _, line in step.lines) == rule.text.rstrip()
    (figure,) = page.figures
    assert [(row["stage"], row["name"], row["program"]) for row in figure.rows] == [
        (HOSTILE, "promoted", "program 7"), (HOSTILE, "dropped", "program 31"),
        ("second", "dropped", "program 7"),
    ]  # fmt: skip
    effects = [100 * math.expm1(log) for log in (-0.08, 0.05, 0.01)]
    assert [row["mean"] for row in figure.rows] == pytest.approx(effects)


def test_a_funnel_that_has_only_begun_confirms_nothing(tmp_path: Path) -> None:
    page = page_of(make_funnel(tmp_path / "funnel", finished=False))
    words = [block.text for block in blocks(page, "summary") if isinstance(block, Words)]
    assert page.state == "not finished" and page.figures == ()
    assert words == ["No stage has been written yet; nothing here is confirmed."]


def test_a_simplification_shows_each_step_with_its_reason(tmp_path: Path) -> None:
    path = make_simplification(tmp_path / "simple")
    stored = json.loads((path / "simplify.json").read_text())
    page = page_of(path)
    assert page == page_of(path / "simplify.json")
    (tree,) = [block for block in blocks(page, "derivation") if isinstance(block, Tree)]
    assert [s.title for s in tree.steps] == [
        f"{number}. {step['kind']}: {step['why']}" for number, step in enumerate(stored["steps"], 1)
    ]
    codes = [block.text for block in blocks(page, "summary") if isinstance(block, Code)]
    assert codes == [stored["program"]]
    facts = [block for block in blocks(page, "properties") if isinstance(block, Facts)]
    shown = dict(row for block in facts for row in block.rows)
    assert shown["scaling of gradients"] == stored["card"]["gradient_scaling"]
    assert shown["bound of the update at lr = 1"] == stored["card"]["bound"]


def test_the_update_of_signum_is_a_sign() -> None:
    figure = update_figure(load_rule("signum"))
    for row in figure.rows:
        mean = 0.1 * row["gradient"] + 0.9 * row["state"]
        rate = 0.001  # signum's own
        assert abs(mean) < 1e-12 or row["update"] == pytest.approx(rate if mean > 0 else -rate)


def test_a_rule_without_state_has_a_curve() -> None:
    figure = update_figure(parse("def train(w, g, lr):\n    u = g * lr\n    return u\n"))
    assert all(row["update"] == pytest.approx(row["gradient"]) for row in figure.rows)


@pytest.mark.parametrize("name", ["adamw", "program_8", "momentum_sgd"])
def test_a_rule_has_a_page_with_its_properties(name: str) -> None:
    page = page_of(name)
    card = property_card(load_rule(name))
    facts = [block for block in blocks(page, "properties") if isinstance(block, Facts)]
    shown = dict(row for block in facts for row in block.rows)
    assert shown["scaling of gradients"] == card.gradient_scaling
    assert shown["live statements"] == str(card.statements)
    assert shown["fingerprint"] == fingerprint(load_rule(name))
    words = [block.text for block in blocks(page, "summary") if isinstance(block, Words)]
    assert words[0] == recognise(load_rule(name)).sentence
    assert [figure.name for figure in page.figures] == ["update"]


def test_a_page_of_a_rule_lies_beside_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plots: Any
) -> None:
    del plots
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text(LION.text)
    assert write_page(tmp_path / "mine.txt") == tmp_path / "mine.html"
    assert write_page("lion") == Path("lion.html")
    (tmp_path / "lion").mkdir()
    with pytest.raises(OptforgeError, match="holds no result"):
        write_page("lion")  # a directory comes before a name


def test_in_a_notebook_a_funnel_and_a_simple_rule_show_themselves_as_text() -> None:
    simple = describe(simplify_exact(load_rule("signum")))._repr_html_()
    assert simple.startswith("<p><b>Signum with beta = 0.9") and "<pre>def train(" in simple
    funnel = FunnelResult(Path("runs/x"), (), ("first",), "adamw", stopped=True)._repr_html_()
    assert funnel.startswith("<p><b>0 of 1 stages are finished") and "<table>" in funnel


def test_what_is_no_rule_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import os\n")
    with pytest.raises(ProgramError):
        page_of(tmp_path / "mine.py")


def test_figures_compile_and_markup_is_text(tmp_path: Path, plots: Any) -> None:
    for path in (make_funnel(tmp_path / "funnel"), make_simplification(tmp_path / "simple")):
        page = page_of(path)
        for drawn in page.figures:
            spec = {**drawn.spec, "data": {"values": [dict(row) for row in drawn.rows]}}
            picture = plots.vegalite_to_svg({**spec, "width": 600})
            assert "<svg" in picture and "<script" not in picture
        assert "<script>window.hacked" not in render(page)
        assert write_page(path).stat().st_size < 5 * 2**20
