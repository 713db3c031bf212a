"""Damaged suites, tasks, rules, journals, tables of cells and runs: a sentence, and nothing lost.

A few dozen of each; `make slow` tries a thousand of each.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from optforge.evolution import make_search
from optforge.evolution.plan import read_plan
from optforge.execution import InlineExecutor
from optforge.jobs import JobRunner
from optforge.language import rule_text
from optforge.runs import RunDirectory
from optforge.tasks import load_task
from tests.helpers.searches import small, tiny_plan, train_search
from tests.helpers.tiny import Blobs
from tests.reliability.fuzz import damaged, do, say, snapshot
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
           "journal.sqlite", "losses", "journal.sqlite.lock")  # fmt: skip


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
            run.write_text("table.json", "{}")

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
        return self._quiet((*COMPARED, "--resume", "--plan"))

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
}


def try_many(kind: str, ground: Path, place: Path, seeds: range) -> list[str]:
    found = []
    for seed in seeds:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(ground, place)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(place)
            there = Ground.__new__(Ground)
            there.folder = place
            wrong = KINDS[kind](there, random.Random(f"{kind} {seed}"))
        if wrong:
            found.append(f"{seed}: {wrong}")
    return found


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_few_dozen(kind: str, ground: Path, tmp_path: Path) -> None:
    assert try_many(kind, ground, tmp_path / "place", range(24)) == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_thousand(kind: str, ground: Path, tmp_path: Path) -> None:
    assert try_many(kind, ground, tmp_path / "place", range(100, 1100)) == []


def test_tasks_are_read_anew(ground: Path) -> None:
    """A task file that is damaged is not answered from an earlier import."""
    assert load_task(f"{ground / 'mine.py'}:Line").steps == 10
