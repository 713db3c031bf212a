"""Verbs that are killed: how each begins, goes on, and what it leaves in the end."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optforge.jobs.store import read_losses
from tests.helpers.searches import rows

TASK = """import torch
from optforge import Data, Split, Task


class Line(Task):
    steps, batch_size = 10, 8

    def data(self):
        x = torch.linspace(-1, 1, 90)[:, None]
        return Data(*(Split(x[i::3], 2 * x[i::3]) for i in range(3)))

    def model(self):
        return torch.nn.Linear(1, 1)

    def loss(self, output, targets):
        return ((output - targets) ** 2).mean() + 0.01

    def metric(self, output, targets):
        return -((output - targets) ** 2).mean()
"""
RULE = """def train(w, g, lr, m):
    m = interp(g, m, 0.9)
    step = sign(m)
    small = g * 1e-09
    step = step + small
    step = step * 0.01
    step = step * lr
    return step, m
"""
_OWN = ("--tasks", "mine.py:Line", "--workers", "{workers}")
_SEARCH = (
    *_OWN,
    "--held-out",
    "none",
    "--no-compile",
    "--population",
    "20",
    "--repeats",
    "1",
    "--confirm",
    "1",
    "--max-statements",
    "12",
)
_RUN = Path("run", "journal.sqlite")


@dataclass(frozen=True)
class Verb:
    """A verb with its arguments.

    Args:
        name: In the table.
        first: How it is called first.
        again: How a user calls it after it was killed; as at first if there is nothing yet.
        exists: The file that tells that there is something.
        needs: The verb that comes before.
    """

    name: str
    first: tuple[str, ...]
    again: tuple[str, ...] = ()
    exists: Path | None = None
    needs: str = ""

    def words(self, root: Path, workers: int) -> list[str]:
        """Return the arguments that a user gives now."""
        goes_on = self.exists is not None and (root / self.exists).exists()
        return [word.format(workers=workers) for word in (self.again if goes_on else self.first)]


def _search(name: str, programs: int, *more: str) -> Verb:
    budget = ("--programs", str(programs), *more)
    trials = "1" if not more else "8"
    first = ("search", *_SEARCH, "--start", "lion", "--out", "run", "--trials", trials, *budget)
    again = ("search", "--resume", "run", *_OWN, *budget)
    return Verb(name, first, again, _RUN)


_COMPARE = ("compare", "--task", "mine.py:Line", "--optimizers", "adamw,lion", "--trials", "2",
            "--seeds", "2", "--out", "out", "--workers", "{workers}")  # fmt: skip
_FUNNEL = ("funnel", "run", "--ladder", "mine.py:Line", "--trials", "2", "--candidates", "2",
           "--workers", "{workers}")  # fmt: skip
_FUNNEL_AGAIN = ("funnel", "run", "--resume", "--workers", "{workers}")
_SIMPLIFY = ("simplify", "rule.py", *_OWN, "-o", "simple.md", "--force")
VERBS = {
    verb.name: verb
    for verb in (
        _search("search", 40),
        _search("baselines", 3, "--no-simplify"),
        Verb("compare", _COMPARE, (*_COMPARE, "--resume"), Path("out", "cells.jsonl")),
        Verb("simplify", _SIMPLIFY),
        Verb("evolution", (*_SIMPLIFY, "--by", "evolution", "--programs", "30")),
        Verb("explain", ("explain", "run", *_OWN, "--trials", "1"), needs="search"),
        Verb("winner", ("simplify", "run", "--exact"), needs="search"),
        Verb("funnel", _FUNNEL, _FUNNEL_AGAIN, Path("run", "funnel", "journal.sqlite"), "search"),
        Verb("report", ("report", "run"), needs="search"),
        Verb("export", ("export", "rule.py", "--to", "torch", "-o", "torch_rule.py", "--force")),
    )
}


def prepare(root: Path) -> None:
    """Write what the verbs work on."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "mine.py").write_text(TASK)
    (root / "rule.py").write_text(RULE)


def end_state(root: Path) -> dict[str, Any]:
    """Return all that a verb has left, but for times, locks and what SQLite keeps for itself."""
    state: dict[str, Any] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if (
            path.is_file()
            and "__pycache__" not in name
            and not name.endswith(("-shm", "-wal", ".lock", ".part", ".pyc"))
        ):
            state[name] = _readers(path)(path)
    return state


def _readers(path: Path) -> Callable[[Path], Any]:
    if path.suffix == ".sqlite":
        return _journal
    if path.name.startswith("losses") or path.suffix == ".losses":
        return _losses
    if path.suffix in (".json", ".jsonl", ".md"):
        return _without_times
    if path.suffix == ".html":
        return _page
    return Path.read_bytes


def _journal(path: Path) -> dict[str, Any]:
    """Read a journal without the record that a worker died; what its job found must be the same."""
    found = rows(path)
    return {**found, "events": [e for e in found["events"] if e[1] != "worker_death"]}


class Kept(dict[str, float]):
    """Losses that were kept, so that nothing is trained twice.

    Those that a machine lost were trained again if they were needed again, so that some may be
    missing; what is there must be right.
    """

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, dict):
            return NotImplemented
        return all(other[key] == value for key, value in self.items() if key in other)

    __hash__ = None  # type: ignore[assignment]


def _losses(path: Path) -> Kept:
    return Kept(read_losses(path)[0])


def _without_times(path: Path) -> Any:
    """Read rows of JSON without what was measured with a clock."""
    if path.name == ".optforge.json":
        return sorted(json.loads(path.read_text()))
    if path.suffix == ".md":  # tables show times; all their figures stand in JSON beside them
        return path.name if path.stem in _TABLES else path.read_text()
    found = (
        [json.loads(line) for line in path.read_text().splitlines()]
        if path.suffix == ".jsonl"
        else [json.loads(path.read_text())]
    )
    plain = [_plain(row) for row in found]
    return sorted(plain, key=repr) if path.suffix == ".jsonl" else plain


def _page(path: Path) -> str:
    """Read a page without what depends on when its journal was last written to."""
    return _LAST_WRITE.sub("", path.read_text(encoding="utf-8"))


_LAST_WRITE = re.compile(r"[^<>]*, pauses included|, [\d.]+ a second")
_TABLES = ("table", "report")
# The frontier of loss and time is told from measured times as well.
_CLOCK = (
    *("seconds", "minutes", "microseconds", "_ms", "time", "created", "peak_mb", "memory"),
    *("session", "environment", "pareto"),
)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {k: _plain(v) for k, v in value.items() if not any(word in k for word in _CLOCK)}
        kept |= {"curve": [row[:3] for row in kept["curve"]]} if kept.get("curve") else {}
        return kept
    return [_plain(one) for one in value] if isinstance(value, list) else value
