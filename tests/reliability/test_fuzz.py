"""Damaged suites, tasks, rules, journals, tables of cells and runs: a sentence, and nothing lost.

A few dozen of each; `make slow` tries a thousand of each.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from optforge.api.funnel_options import FunnelOptions
from optforge.api.funnel_settings import SETTINGS_KEY, new_settings
from optforge.assessment.rows import FOUND
from optforge.evolution import make_search
from optforge.evolution.plan import read_plan
from optforge.execution import InlineExecutor
from optforge.jobs import JobRunner, Silent
from optforge.language import rule_text
from optforge.report.pages.live import LivePage
from optforge.report.pages.write import page_of
from optforge.runs import RunDirectory
from optforge.tasks import load_task
from optforge.training import checked_device
from tests.helpers.other_pages import make_funnel, make_simplification
from tests.helpers.page_runs import finish_run
from tests.helpers.searches import small, tiny_plan, train_search
from tests.helpers.tiny import Blobs
from tests.helpers.whole_run import make_explanation
from tests.reliability.fuzz import change_settings, damaged, do, limited_memory, say, snapshot
from tests.reliability.verbs import TASK

SUITE = """\
title = "Rates"
claim = "lion is better"
optimizers = ["adamw", "lion", "mine"]
baseline = "adamw"
[settings]
trials = 4
seeds = 3
sensitivity = 3
extras = ["flatness"]
[axes]
batch_size = [16, 32]
[fixed]
samples = 960
[recipes.mine]
optimizer = "rule.py"
space = { lr = [1e-4, 1e-2] }
[[experiment]]
name = "one"
tasks = ["digits_mlp"]
"""
COMPARED = ("compare", "--task", "mine.py:Line", "--optimizers", "adamw,lion", "--trials", "2",
            "--seeds", "2", "--out", "out", "--workers", "0")  # fmt: skip
MISSING = ("settings.json", "start.py", "best.py", "table.json", "table.md", ".optforge.json",
           "journal.sqlite", "losses", "journal.sqlite.lock", "simplify.json",
           "explain.md")  # fmt: skip
LADDER = """\
[[stage]]
task = "mine.py:Line"
trials = 1
seeds = [2]
keep = 2
[[stage]]
script = "script.py:train"
trials = 1
seeds = [2, 3]
"""
SCRIPT = "def train(make, seed):\n    return 0.5\n"
# Results that have a page, and the files that it is made of.
RESULTS = {
    "run": ("table.json", "simplify.json", "explain.json", "journal.sqlite"),
    "out": ("cells.jsonl", "comparison.json"),
    "shown": ("funnel.json", "journal.sqlite"),
    "simple": ("simplify.json",),
}


class Ground:
    """A directory with one of everything, and how each thing is tried."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "mine.py").write_text(TASK)
        (folder / "rule.py").write_text(rule_text("adamw"))
        (folder / "suite.toml").write_text(SUITE)
        assert say(COMPARED) == ""
        self.plan = tiny_plan(small(), [Blobs()])
        train_search(folder / "run", self.plan, 12)
        with RunDirectory.open(folder / "run", write=True) as run:
            run.write_text("best.py", rule_text("lion"))
            run.write_text("explain.json", json.dumps(make_explanation()))
        self._finish()
        self._begin_funnel()

    def _finish(self) -> None:
        """Write what the verbs leave of a search, a funnel and a simplification."""
        make_simplification(self.folder / "simple")
        make_funnel(self.folder / "shown")
        finish_run(self.folder / "run", "Blobs")
        table = json.loads((self.folder / "run/table.json").read_text())
        table["table"]["rows"][1]["name"] = FOUND
        with RunDirectory.open(self.folder / "run", write=True) as run:
            run.claim(["table.json"], force=True)
            run.write_text("table.json", json.dumps(table))
            run.write_text("simplify.json", (self.folder / "simple/simplify.json").read_text())

    def _begin_funnel(self) -> None:
        (self.folder / "ladder.toml").write_text(LADDER)
        (self.folder / "script.py").write_text(SCRIPT)
        options = FunnelOptions("run", ladder="ladder.toml", candidates=2)
        settings = {SETTINGS_KEY: new_settings(options, Silent())}
        RunDirectory.create(self.folder / "funnel", settings).close()

    def suite(self, source: random.Random) -> str:
        return self._damage("suite.toml", source) or self._quiet(
            ("compare", "--suite", "suite.toml", "--plan", "--workers", "0")
        )

    def task(self, source: random.Random) -> str:
        return self._damage("mine.py", source) or self._quiet(
            (*COMPARED[:-4], "--plan", "--workers", "0")
        )

    def rule(self, source: random.Random) -> str:
        target = source.choice(("torch", "optax", "latex"))
        return (
            self._damage("rule.py", source)
            or self._quiet(("show", "rule.py"))
            or self._quiet(("export", "rule.py", "--to", target))
        )

    def cells(self, source: random.Random) -> str:
        name = source.choice(("cells.jsonl", "cells.jsonl", "comparison.json", ".optforge.json"))
        self._damage(f"out/{name}", source)
        stored = ("compare", "--resume", "--out", "out", "--plan", "--workers", "0")
        return self._quiet((*COMPARED, "--resume", "--plan")) or self._quiet(stored)

    def ladder(self, source: random.Random) -> str:
        self._damage(source.choice(("ladder.toml", "ladder.toml", "script.py")), source)
        words = ("funnel", "run", "--ladder", "ladder.toml", "--plan", "--workers", "0")
        return self._quiet(words)

    def funnel(self, source: random.Random) -> str:
        """Damage what a funnel has stored, and go on with it to its end."""
        name = source.choice(("journal.sqlite", "settings", "settings", "settings"))
        if name == "settings":
            change_settings(self.folder / "funnel/journal.sqlite", source)
        else:
            self._damage(f"funnel/{name}", source)
        before = snapshot(self.folder)
        wrong = say(("funnel", "run", "--resume", "--out", "funnel", "--workers", "0"))
        after = snapshot(self.folder)
        changed = [file for file in before if before[file] != after.get(file)]
        theirs = [file for file in changed if not file.startswith("funnel/")]
        return wrong or (f"{theirs} were changed" if theirs else "")

    def settings(self, source: random.Random) -> str:
        """Damage what a search has stored."""
        change_settings(self.folder / "run/journal.sqlite", source)
        return self._quiet(("runs", ".")) or do(self.read) or self._page("run")

    def page(self, source: random.Random) -> str:
        """Damage a result that has a page; its page is made once and live."""
        result = source.choice(list(RESULTS))
        self._damage(f"{result}/{source.choice(RESULTS[result])}", source)
        return self._page(result) or do(LivePage(self.folder / result).refresh)

    def _page(self, result: str) -> str:
        """Write the page of a result, and nothing else."""
        before = snapshot(self.folder)
        if wrong := say(("report", result)):
            return f"report {result}: {wrong}"
        after = snapshot(self.folder)
        ours = (f"{result}/report.html", f"{result}/.optforge.json")
        differing = {file for file in {**before, **after} if before.get(file) != after.get(file)}
        return f"{differing} were changed" if differing - {*ours} else ""

    def journal(self, source: random.Random) -> str:
        self._damage("run/journal.sqlite", source)
        return (
            self._quiet(("runs", ".", "--json"))
            or do(self.read)
            or self._quiet(("explain", "run", "--workers", "0"))
        )

    def run(self, source: random.Random) -> str:
        for name in source.sample(MISSING, source.randint(1, 4)):
            path = self.folder / "run" / name
            if source.random() < 0.5 or not path.is_file():
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(damaged(path.read_bytes(), source))
        verb = source.choice((("export", "run"), ("show", "run"), ("explain", "run")))
        return self._quiet(("runs", ".")) or self._quiet(verb)

    def read(self) -> None:
        """Read a whole run as resuming does."""
        with RunDirectory.open(self.folder / "run", write=True) as run:
            with run.journal.content():
                plan = read_plan(run.journal.settings, [Blobs()], [])
            checked_device(plan.settings.device)
            total = run.journal.counts()["proposals"]
            runner = JobRunner(InlineExecutor(lambda: None), run.journal)
            make_search(plan, runner).run(lambda history: history.tally.proposals >= total)

    def _damage(self, name: str, source: random.Random) -> str:
        path = self.folder / name
        path.write_bytes(damaged(path.read_bytes(), source))
        return ""

    def _quiet(self, words: tuple[str, ...]) -> str:
        """Call a verb that only looks; it must leave everything as it is."""
        before = snapshot(self.folder)
        wrong = say(words)
        if not wrong and snapshot(self.folder) != before:
            wrong = "files were changed"
        return wrong and f"{' '.join(words)}: {wrong}"


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ground")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Ground(folder)
    return folder


KINDS: dict[str, Callable[[Ground, random.Random], str]] = {
    "suite": Ground.suite,
    "task": Ground.task,
    "rule": Ground.rule,
    "cells": Ground.cells,
    "journal": Ground.journal,
    "run": Ground.run,
    "ladder": Ground.ladder,
    "funnel": Ground.funnel,
    "settings": Ground.settings,
    "page": Ground.page,
}
PAGES = ("settings", "page")  # which need the packages of pages


def try_many(kind: str, ground: Path, place: Path, seeds: range) -> list[str]:
    if kind in PAGES:
        pytest.importorskip("vl_convert", reason="needs pip install 'optforge[web]'")
        pytest.importorskip("jinja2", reason="needs pip install 'optforge[web]'")
    found = []
    for seed in seeds:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(ground, place)
        with pytest.MonkeyPatch.context() as patch, limited_memory():
            patch.chdir(place)
            there = Ground.__new__(Ground)
            there.folder = place
            wrong = KINDS[kind](there, random.Random(f"{kind} {seed}"))
        if wrong:
            found.append(f"{seed}: {wrong}")
    return found


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_dozen(kind: str, ground: Path, tmp_path: Path) -> None:
    assert try_many(kind, ground, tmp_path / "place", range(12)) == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_thousand(kind: str, ground: Path, tmp_path: Path) -> None:
    assert try_many(kind, ground, tmp_path / "place", range(100, 1100)) == []


def test_whole_results_have_pages(ground: Path, tmp_path: Path) -> None:
    """What is damaged above is whole before, so that each damage meets a reader."""
    pytest.importorskip("vl_convert", reason="needs pip install 'optforge[web]'")
    shutil.copytree(ground, tmp_path / "place")
    states = {name: page_of(tmp_path / "place" / name).state for name in RESULTS}
    assert states == {"run": "finished", "out": "finished", "shown": "finished",
                      "simple": "finished"}  # fmt: skip


def test_a_whole_funnel_comes_to_its_end(
    ground: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ground, tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place")
    assert say(("funnel", "run", "--resume", "--out", "funnel", "--workers", "0")) == ""
    assert Path("funnel/funnel.json").is_file()


def test_tasks_are_read_anew(ground: Path) -> None:
    """A task file that is damaged is not answered from an earlier import."""
    assert load_task(f"{ground / 'mine.py'}:Line").steps == 10
