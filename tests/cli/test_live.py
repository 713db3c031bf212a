"""The live view on a console that is no real terminal but behaves like one."""

from __future__ import annotations

import io
import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console
from rich.live import Live

import optforge
from optforge.cli.braille import plot
from optforge.cli.live import LiveDisplay
from optforge.cli.track import Counts, Track, clock, phase_words
from optforge.cli.view import frame
from optforge.evolution.budget import Budget
from optforge.evolution.history import History
from optforge.evolution.plan import SearchPlan
from optforge.evolution.tally import Tally
from optforge.report.words import duration
from optforge.runs import RunDirectory
from tests.helpers.searches import pretend, small
from tests.helpers.tiny import Blobs, Sums

SIZES = ((120, 40), (80, 24), (60, 50), (50, 18))


class Looking(LiveDisplay):
    """Keeps what is drawn, in several sizes, of every frame."""

    def __init__(self) -> None:
        stream = io.StringIO()
        super().__init__(Console(file=stream, force_terminal=True, width=120, height=40))
        self.stream = stream
        self.frames: dict[tuple[int, int], list[str]] = {size: [] for size in SIZES}

    def show(self, history: History) -> None:
        super().show(history)
        if self._live is None or self.track is None:
            return
        for (width, height), frames in self.frames.items():
            paper = Console(file=io.StringIO(), width=width, height=height)
            with paper.capture() as capture:
                paper.print(frame(self.track, history, self.changing, width, height))
            frames.append(capture.get())


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory) -> Looking:
    watcher = Looking()
    with watcher:
        optforge.search(
            [Blobs(), Sums()],
            held_out=[],
            programs=400,
            population=40,
            out=Path(tmp_path_factory.mktemp("runs")) / "run",
            workers=0,
            trials=4,
            fresh_seeds=3,  # what is looked at comes before the end
            compile=False,
            simplify=False,
            watch=watcher,
        )
    return watcher


def test_a_frame_says_what_a_person_wants_to_know(looked: Looking) -> None:
    last = looked.frames[120, 40][-1]
    for part in (
        "optforge  on Blobs, Sums",
        "gone",
        "left",
        "proposed",
        "new, evaluated",
        "judged in full",
        "known already",
        "best fitness",
        "on fresh seeds",
        "rejected at",
        "  probe ",
        "wrongly rejected",
        "restarts",
        "best program",
        "def train(w, g, ",
        "return update",
        "Ctrl-C",
    ):
        assert part in last, part
    assert re.search("[\u2801-\u28ff]", last)  # the plot


@pytest.mark.parametrize("size", SIZES)
def test_a_frame_fits_its_terminal(looked: Looking, size: tuple[int, int]) -> None:
    width, height = size
    for drawn in looked.frames[size]:
        lines = drawn.rstrip("\n").split("\n")
        assert len(lines) < height, drawn
        assert max(map(len, lines)) <= width


def test_the_terminal_is_left_in_order(looked: Looking) -> None:
    drawn = looked.stream.getvalue()
    assert drawn.count("\x1b[?25l") == drawn.count("\x1b[?25h") > 0  # the cursor is shown again
    assert "Tuning" in drawn or "Starting" in drawn
    assert "Measuring the table on test data" in drawn


def test_rates_follow_the_last_seconds() -> None:
    now = [0.0]
    plan, run = SearchPlan.__new__(SearchPlan), RunDirectory.__new__(RunDirectory)  # not looked at
    track = Track(plan, run, Budget(None, 1000), 1, lambda: now[0])
    history = History.__new__(History)
    history.phase_best = math.inf
    history.tally = Tally()
    for second in range(31):
        now[0] = 10.0 + second
        track.note(history)
        history.tally.proposals += 10 if second < 15 else 30
    fast, overall = track.rates("proposed")
    assert fast == pytest.approx(30, abs=1)
    assert overall == pytest.approx(20, abs=1.5)
    assert track.remaining(history) == pytest.approx((1000 - 630) / overall, rel=0.1)
    assert isinstance(track.samples[0], Counts)
    now[0] += 100  # nothing new for long: the present rate sinks
    assert track.rates("proposed")[0] < 5


def test_the_plot_fills_its_place() -> None:
    values = [math.inf, 3.0, 2.0, 2.0, math.inf, 1.0, 1.5]
    lines = plot(values, 20, 3)
    assert [len(line) for line in lines] == [20, 20, 20]
    assert plot([], 4, 2) == ["\u2800" * 4] * 2
    assert plot([1.0] * 1000, 4, 1) == ["\u28c0" * 4]


def test_times_are_printed_short() -> None:
    assert [clock(value) for value in (0, 59.9, 600, 3600, None, math.inf)] == [
        "0:00", "0:59", "10:00", "1:00:00", "?", "?",
    ]  # fmt: skip


def test_the_bar_of_the_baselines_ends_before_the_view_begins() -> None:
    """A terminal holds one live display; on tasks of one's own the bar comes first."""
    console = Console(file=io.StringIO(), force_terminal=True, width=120, height=40)
    watcher = LiveDisplay(console)
    with watcher:
        watcher.progress("Tuning AdamW", 3, 9, 75.0)
        watcher.begin(
            cast(Any, SimpleNamespace(settings=SimpleNamespace(compiled=False))),
            cast(Any, None),
            Budget(1.0, None),
            2,
        )
        with Live(console=console):
            pass
    output = console.file
    assert isinstance(output, io.StringIO)
    assert "Tuning AdamW" in output.getvalue() and f"{duration(75.0)} left" in output.getvalue()


def test_courses_are_counted_where_a_restart_begins_one(tmp_path: Path) -> None:
    several = pretend(tmp_path / "several", small(seed_sets=2, restart_after=60), 300).history
    assert several.tally.restarts >= 1
    words = phase_words(several)
    assert words == f"evolving structure, course {several.tally.restarts + 1}"
    one = pretend(tmp_path / "one", small(restart_after=60), 300).history
    assert one.tally.restarts >= 1 and phase_words(one) == "evolving structure"
