"""The public face: a search in a few lines, on a task of one's own."""

from __future__ import annotations

import importlib.util
import json
import shutil
import time
from html import escape
from pathlib import Path
from typing import Any

import pytest
import torch

import optforge
import optforge.api.search
from optforge.analysis import cost
from optforge.api.search import resume, search
from optforge.api.search_options import SearchOptions
from optforge.api.search_result import SearchResult
from optforge.assessment.rows import FOUND, ONE_SETTING, STRAIGHT
from optforge.errors import OptforgeError, ProgramError, RunError, SearchError, TaskError
from optforge.evolution import rescale
from optforge.execution import InlineExecutor
from optforge.fitness import evaluator, seeds
from optforge.jobs import Silent
from optforge.language import Program, functions_of, load_rule, parse
from optforge.runs import RunDirectory
from optforge.tasks import Task
from optforge.training import Stack
from tests.helpers.tiny import Blobs, Noise, Sums

EXAMPLE = Path(__file__).parents[1] / "examples" / "own_task.py"
SLOW = pytest.mark.slow
SMALL: dict[str, Any] = {
    "programs": 60, "workers": 0, "trials": 4, "compile": False, "population": 20, "held_out": (),
    "simplify": False, "fresh_seeds": 3,
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> SearchResult:
    """A search that came to its end, for the tests that change nothing in its directory."""
    return search(tasks=[Blobs()], out=tmp_path_factory.mktemp("whole") / "run", **SMALL)


class Line(optforge.Task):
    """Fifteen lines: what a user writes."""

    steps = 20

    def data(self) -> optforge.Data:
        x = torch.linspace(-1, 1, 90)[:, None]
        return optforge.Data(*(optforge.Split(x[i::3], 2 * x[i::3] + 1) for i in range(3)))

    def model(self) -> torch.nn.Module:
        return torch.nn.Linear(1, 1)

    def loss(self, output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return ((output - targets) ** 2).mean() + 1e-3


class Sentences(Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def say(self, text: str) -> None:
        self.sentences.append(text)


def test_a_search_on_a_task_of_ones_own(tmp_path: Path) -> None:
    options = {**SMALL, "simplify": True}
    result = optforge.search(tasks=[Line()], out=tmp_path / "run", **options)
    assert isinstance(result.best, Program) and not result.stopped
    assert result.simple is not None
    assert result.path == tmp_path / "run"
    assert [row.name for row in result.table.rows][0] == "tuned AdamW"
    assert result.table.proxies == ("Line",) and result.table.held_out == ()
    assert result.history.tally.proposals >= 60
    with result.journal as journal:
        assert journal.counts()["proposals"] == result.history.tally.proposals
        session = journal.session
    assert session is not None and session.ended is not None
    assert session.begun <= session.ended <= time.time()
    assert (session.minutes, session.programs) == (None, SMALL["programs"])
    files = {path.name for path in result.path.iterdir()}
    assert {"best.py", "table.json", "table.md", "start.py", "settings.json"} <= files
    assert {"simple.py", "simplify.json", "simplify.md"} <= files
    assert parse((result.path / "best.py").read_text()) == result.best
    stored = json.loads((result.path / "table.json").read_text())
    assert result.finish is not None and stored["verdict"] == result.verdict
    shown = result._repr_html_()  # in a notebook
    assert shown.startswith(f"<p><b>{escape(result.verdict)}</b></p><pre>def train(")
    assert shown.count("<tr>") == 1 + len(result.table.rows)
    counts = stored["counts"]
    assert counts["judged"] + sum(counts["rejected"].values()) == counts["new"]
    assert counts["programs"] == result.history.tally.proposals
    assert "What the search did" in (result.path / "table.md").read_text()


@pytest.mark.parametrize(("workers", "lag"), [(0, 3), (2, 3), (3, 5), (64, 127)])
def test_enough_batches_are_on_their_way_for_all_workers(workers: int, lag: int) -> None:
    rule = load_rule("adamw")
    assert SearchOptions(workers=workers).settings(rule, []).lag == lag
    assert SearchOptions(workers=workers, lag=7).settings(rule, []).lag == 7


def test_a_device_that_is_not_there_is_refused_before_any_work(tmp_path: Path) -> None:
    for device in ("cuda:99", "nowhere"):
        with pytest.raises(SearchError, match=device):
            search([Line()], out=tmp_path / "run", device=device, **SMALL)
    assert not (tmp_path / "run").exists()


def test_the_device_is_stored_and_every_worker_trains_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices: list[str] = []

    class Watched(Stack):
        def __init__(self, task: Task, *given: Any, device: str = "", **options: Any) -> None:
            devices.append(device)
            super().__init__(task, *given, device=device or "cpu", **options)

    for module in (evaluator, rescale):
        monkeypatch.setattr(module, "Stack", Watched)
    options = {**SMALL, "programs": 1, "constants_programs": 0}
    result = search([Line()], out=tmp_path / "run", device="cpu:0", **options)
    assert result.history.settings.device == "cpu:0"
    assert devices == ["cpu:0"] * 3  # for tuning, the sizes of updates, and the search


def test_workers_that_will_wait_are_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def inline(factory: Any, *_: Any) -> InlineExecutor:
        return InlineExecutor(factory)

    monkeypatch.setattr("optforge.execution.start.WorkerPool", inline)  # two processes to start
    display = Sentences()
    options = {**SMALL, "programs": 1, "workers": 2, "constants_programs": 0}
    search([Line()], out=tmp_path / "run", lag=1, watch=display, **options)
    (sentence,) = [text for text in display.sentences if "its lag" in text]
    assert "1 of 2 workers mostly wait" in sentence and "--lag" in sentence


@pytest.mark.slow
def test_a_short_resume_reads_all_that_was_done_before(whole: SearchResult, tmp_path: Path) -> None:
    run = shutil.copytree(whole.path, tmp_path / "run")
    again = resume(run, minutes=1e-6, workers=0, tasks=[Blobs()], simplify=False)
    assert again.history.tally.proposals >= whole.history.tally.proposals
    assert again.finish is not None


@pytest.mark.slow
def test_the_example_is_a_task_that_trains(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("own_task", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert len(EXAMPLE.read_text().splitlines()) < 40
    few: dict[str, Any] = SMALL | {"programs": 5}
    result = search(tasks=[module.Spirals()], out=tmp_path / "run", **few)
    reference = result.table.rows[0].logs["Spirals"]
    assert max(reference) < -0.8, "the tuned baseline learns the spirals"


def test_stopping_and_resuming_is_the_same_search(whole: SearchResult, tmp_path: Path) -> None:
    calls = [0]

    def stop() -> bool:
        calls[0] += 1
        return calls[0] > 5

    first = search(tasks=[Blobs()], out=tmp_path / "parts", stop=stop, **SMALL)
    assert first.stopped and first.finish is None
    with pytest.raises(SearchError, match="more time"):
        _ = first.best
    with pytest.raises(TaskError, match="'Blobs'"):
        resume(tmp_path / "parts", programs=60, workers=0)
    more: dict[str, Any] = {"programs": 60, "workers": 0, "simplify": False}
    second = resume(tmp_path / "parts", tasks=[Blobs()], **more)
    assert second.best == whole.best
    with second.journal as a, whole.journal as b:
        assert list(a.proposals()) == list(b.proposals())


@pytest.mark.parametrize(
    ("given", "sets", "size", "weight"),
    [
        ({}, ("paper", "masks", "rows", "matrices"), 8.0, 0.25),
        ({"start": "lion"}, ("paper", "masks", "rows", "matrices"), 8.0, 0.25),
        ({"functions": "paper, time,paper"}, ("paper", "time"), 8.0, 0.25),
        ({"functions": ["rows"], "max_state_bytes": 12}, ("rows",), 12.0, 0.25),
        ({"start": "adan"}, ("paper", "masks", "rows", "matrices"), 16.0, 0.25),
        ({"functions": "paper", "mutations": (1, 1, 1)}, ("paper",), 8.0, 0.0),
    ],
)
def test_the_space_is_what_was_asked_for(
    given: dict[str, Any], sets: tuple[str, ...], size: float, weight: float, tmp_path: Path
) -> None:
    arguments = dict(SMALL)
    arguments.update(given, stop=lambda: True)
    search(tasks=[Blobs()], out=tmp_path / "run", **arguments)
    stored = json.loads((tmp_path / "run" / "settings.json").read_text())["search"]
    assert tuple(stored["functions"]) == sets
    assert (stored["max_state_bytes"], stored["add_state"]) == (size, weight)


def test_whatever_is_proposed_is_of_the_space(tmp_path: Path) -> None:
    few = SMALL | {"programs": 260, "max_state_bytes": 8.0}
    few.update(functions=["rows", "time"], mutations=(1, 0.5, 0.5, 1), start="lion")
    result = search(tasks=[Blobs()], out=tmp_path / "run", **few)
    allowed = {*functions_of(["rows", "time"]), "interp"}
    allowed |= {s.function for s in load_rule("lion").statements}
    with result.journal as journal:
        programs = [parse(p.program) for p in journal.proposals()]
    used = {s.function for program in programs for s in program.statements}
    assert used <= allowed and {"row_mean", "get_step"} & used
    assert max(cost(program).state_bytes for program in programs) == 8.0


def test_what_is_in_flight_at_the_end_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is given as much time as a new worker takes to start, and not more."""
    dropped: list[tuple[int, float]] = []
    abandon = InlineExecutor.abandon

    def recorded(executor: InlineExecutor, seconds: float) -> None:
        dropped.append((executor.outstanding, seconds))
        abandon(executor, seconds)

    monkeypatch.setattr(InlineExecutor, "abandon", recorded)
    result = search(tasks=[Blobs()], out=tmp_path / "run", **SMALL)
    ((outstanding, seconds),) = dropped
    assert outstanding > 0 and seconds == 15.0 and result.finish is not None


@pytest.mark.parametrize("strategy", ["evolution", "random", pytest.param("constants", marks=SLOW)])
def test_each_strategy_ends_with_a_table(
    strategy: str, whole: SearchResult, tmp_path: Path
) -> None:
    result = whole
    if strategy != "evolution":  # which is the default
        result = search(tasks=[Blobs()], out=tmp_path / "run", strategy=strategy, **SMALL)
    names = [row.name for row in result.table.rows]
    assert names[0] == "tuned AdamW" and {"tuned Lion", "tuned Muon"} <= set(names)
    assert {row.trials.split(", ")[-1] for row in result.table.rows} == {"4 a task", "4 for all"}
    assert (STRAIGHT in names) == (strategy != "constants")
    assert ("discovered" in names) == (strategy != "constants")
    assert ("constants only" in names) == (strategy != "random")
    found = "discovered" if strategy != "constants" else "constants only"
    row = result.table.row(found + ONE_SETTING)
    stack = evaluator.Stack(Blobs())
    fresh = seeds(0, "Blobs", "report", 3)
    assert result.finish is not None and result.finish.rule.program == result.best
    trained = evaluator.train_population(stack, [result.finish.rule], fresh, split="test")
    assert row.logs["Blobs"] == pytest.approx(trained.losses.log()[0].tolist(), rel=1e-3)


def test_what_is_measured_on_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Test data and seeds of the report serve the table alone; held-out tasks are never judged."""
    used: set[tuple[str, str, int]] = set()
    real = evaluator.train_population

    def spy(stack: Any, programs: Any, chosen: Any, **rest: Any) -> Any:
        split = rest.get("split", "validation")
        used.update((stack.task.name, split, seed) for seed in chosen)
        return real(stack, programs, chosen, **rest)

    def create(*arguments: Any) -> RunDirectory:
        used.clear()  # what came before, for the baselines, may be answered by the user's cache
        return real_create(*arguments)

    real_create = RunDirectory.create
    monkeypatch.setattr(evaluator, "train_population", spy)
    monkeypatch.setattr(RunDirectory, "create", create)
    monkeypatch.setenv("OPTFORGE_CACHE", str(tmp_path / "cache"))
    settings = SMALL | {"held_out": [Sums()], "programs": 120, "simplify": True}
    search(tasks=[Blobs()], out=tmp_path / "run", **settings)
    # With so few trials the rates for a held-out task have two seeds in place of three.
    report, rescale = seeds(0, "Sums", "report", 3), seeds(0, "Sums", "rescale", 2)
    expected = {("Sums", "test", seed) for seed in report}
    expected |= {("Sums", "validation", seed) for seed in rescale}
    for purpose, count in (("fit, tune", 3), ("fit, tune again", 12)):  # rows of tuned baselines
        expected |= {("Sums", "validation", s) for s in seeds(0, "Sums", purpose, count)}
    assert {entry for entry in used if entry[0] == "Sums"} == expected
    blobs = {
        split: {s for t, p, s in used if (t, p) == ("Blobs", split)}
        for split in ("validation", "test")
    }
    assert blobs["test"] == set(seeds(0, "Blobs", "report", 3))
    fit = {"fit, tune": 3, "fit, tune again": 12}
    known = {"search": 6, "select 0": 2, "select 1": 3} | fit
    for purpose, count in known.items():
        assert set(seeds(0, "Blobs", purpose, count)) <= blobs["validation"]
    assert not blobs["test"] & blobs["validation"]
    allowed = {s for p, n in (known | {"rescore": 6}).items() for s in seeds(0, "Blobs", p, n)}
    assert blobs["validation"] <= allowed


def test_luck_on_noise_is_not_claimed(tmp_path: Path) -> None:
    """Where labels mean nothing, the claim follows the interval on fresh seeds, nothing else."""
    result = search(tasks=[Noise()], out=tmp_path / "run", **SMALL)
    assert result.finish is not None
    text, claim = result.verdict, result.verdict.split(" on fresh seeds")[0]
    against = {
        "tuned AdamW": result.table.row(FOUND).proxies,
        "constants only": result.table.difference(FOUND, "constants only"),
    }
    for name, interval in against.items():
        claimed = (
            claim.startswith("The discovered rule, tuned for each task, beats") and name in claim
        )
        assert claimed == (interval.high < 0), text


def test_a_start_without_constants_skips_their_phase(tmp_path: Path) -> None:
    earlier = tmp_path / "earlier"  # the directory of a run stands for its best rule
    earlier.mkdir()
    (earlier / "best.py").write_text("def train(w, g, lr):\n    u = g * lr\n    return u\n")
    few: dict[str, Any] = SMALL | {"programs": 20}
    result = search(tasks=[Blobs()], start=earlier, out=tmp_path / "run", **few)
    with result.journal as journal:
        assert {proposal.phase for proposal in journal.proposals()} == {"structure"}


@pytest.mark.parametrize(
    ("wrong", "kind", "message"),
    [
        ({"tasks": []}, SearchError, "at least one"),
        ({"tasks": ["nonsense"]}, TaskError, "'nonsense'"),
        ({"tasks": [Blobs(), Blobs()]}, SearchError, "twice"),
        ({"held_out": [Blobs()]}, SearchError, "twice"),
        ({"start": "nonsense"}, ProgramError, "'nonsense'"),
        ({"programs": 0}, SearchError, "must be a"),
        ({"minutes": -1.0}, SearchError, "must be a"),
        ({"minutes": float("nan")}, SearchError, "must be a"),
        ({"workers": -1}, SearchError, "workers"),
        ({"trials": 0}, SearchError, "trials"),
        ({"strategy": "luck"}, SearchError, "strategy"),
        ({"max_state_bytes": 4}, SearchError, "--max-state-bytes 8"),
        ({"max_state_bytes": 17}, SearchError, "0 to 16"),
        ({"functions": []}, SearchError, "no set of functions"),
        ({"functions": "rows,columns"}, SearchError, "'columns'"),
        ({"tournament": 50}, SearchError, "tournament"),
        ({"mutations": (0.0, 0.0, 0.0)}, SearchError, "weights"),
        ({"mutations": (1.0, 1.0)}, SearchError, "weights"),
        ({"mutations": (1.0, 1.0, 1.0, 1.0, 1.0)}, SearchError, "weights"),
        ({"mutations": (1.0, 1.0, 1.0, -1.0)}, SearchError, "weights"),
        ({"constants_programs": -1}, SearchError, "constants_programs"),
    ],
    ids=lambda value: str(value).split(" object at ")[0],  # the same in all test processes
)
def test_wrong_arguments_are_named(
    wrong: dict[str, Any], kind: type[OptforgeError], message: str, tmp_path: Path
) -> None:
    arguments = {"tasks": [Blobs()], "out": tmp_path / "run"} | SMALL | wrong
    with pytest.raises(kind, match=message):
        search(**arguments)
    assert not (tmp_path / "run").exists(), "nothing is left behind"


def test_a_run_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "journal.sqlite").write_text("something dear")
    with pytest.raises(RunError):
        search(tasks=[Blobs()], out=tmp_path / "run", **SMALL)
    assert (tmp_path / "run" / "journal.sqlite").read_text() == "something dear"


def test_a_task_that_does_not_work_is_named(tmp_path: Path) -> None:
    class Broken(Blobs):
        def model(self) -> torch.nn.Module:
            return torch.nn.Linear(5, 3)

    with pytest.raises(TaskError, match="Broken"):
        search(tasks=[Broken()], out=tmp_path / "run", **SMALL)


def test_what_a_notebook_needs_is_at_the_top() -> None:
    assert issubclass(Line, Task)
    assert optforge.search is search
