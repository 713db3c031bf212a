"""A search leaves the simple form of its winner beside the rule as found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import optforge
import optforge.api.search
import optforge.api.winner
from optforge.ablation import winner
from optforge.api import simplification
from optforge.api.search_result import SearchResult
from optforge.equality import simplify_exact
from optforge.errors import SimplifyError
from optforge.fitness import seeds
from optforge.jobs import Silent, Store
from optforge.language import load_rule, parse
from optforge.runs import RunDirectory
from tests.helpers.tiny import Blobs

SMALL: dict[str, Any] = {
    "programs": 40, "workers": 0, "trials": 2, "compile": False, "population": 20, "held_out": (),
    "fresh_seeds": 3,
}  # fmt: skip


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> SearchResult:
    """A search that came to its end and left its winner as it is."""
    path = tmp_path_factory.mktemp("plain") / "run"
    return optforge.search(tasks=[Blobs()], out=path, simplify=False, **SMALL)


def ended_again(plain: SearchResult, path: Path, **more: Any) -> SearchResult:
    """Finish a copy of the search, which has used up its budget, once more."""
    run = shutil.copytree(plain.path, path)
    budget = SMALL["programs"]
    return optforge.resume(run, tasks=[Blobs()], programs=budget, workers=0, **more)


@pytest.mark.slow
def test_a_search_can_leave_its_winner_as_it_is(plain: SearchResult) -> None:
    assert plain.simple is None and plain.finish is not None
    assert not (plain.path / "simple.py").exists()


def test_a_search_leaves_both_rules_and_simplify_goes_on_from_there(
    plain: SearchResult, tmp_path: Path
) -> None:
    result = ended_again(plain, tmp_path / "run")
    assert result.simple is not None and result.best == plain.best
    raw = parse((tmp_path / "run" / "best.py").read_text())
    assert raw == result.best == parse(result.simple.simplified.derivation.start)
    assert parse((tmp_path / "run" / "simple.py").read_text()) == result.simple.program
    stored = json.loads((tmp_path / "run" / "simplify.json").read_text())
    assert stored["program"] == result.simple.program.text and stored["training"] is None

    few: dict[str, Any] = {"minutes": 0.03, "looks": (3, 6), "repeats": 3, "workers": 0}
    again = optforge.simplify(tmp_path / "run", tasks=[Blobs()], **few)
    assert again.trained is not None and again.trained.tasks == ("Blobs",)
    stored = json.loads((tmp_path / "run" / "simplify.json").read_text())
    assert stored["program"] == again.program.text and stored["training"]["tasks"] == ["Blobs"]
    assert (tmp_path / "run" / "losses").is_file()


@pytest.mark.slow
def test_with_time_the_winner_is_trained_and_the_time_holds(
    plain: SearchResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optforge.api.winner, "seconds_for", lambda searched: 20.0)
    shown: list[tuple[str, int, int]] = []

    class Watcher(Silent):
        def progress(self, what: str, done: int, total: int, left: float | None = None) -> None:
            shown.append((what, done, total))

    run = tmp_path / "run"
    result = ended_again(plain, run, watch=Watcher())
    assert result.simple is not None and result.simple.trained is not None
    assert "## Derivation" in (run / "simplify.md").read_text()
    # What was measured then is known when the run is simplified again, with nothing else given.
    place = simplification._Place.of(result.best, run, None)
    store = Store(place.losses, place.compiled)
    lean, task = simplify_exact(result.best).program, Blobs()
    (seed,) = seeds(place.seed, task.name, "simplify tune", 1)
    assert store.get(store.key(lean, task, seed, "validation")) is not None
    assert any(what == "Simplifying the winner" and total == 20 for what, _, total in shown)


def test_a_compiled_run_is_simplified_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"search": {"seed": 7, "compiled": True, "tasks": ["digits_mlp"]}}
    with RunDirectory.create(tmp_path / "run", settings):
        pass
    rule = load_rule("lion")
    for there in (True, False):
        monkeypatch.setattr(simplification, "has_compiler", lambda there=there: there)
        place = simplification._Place.of(rule, tmp_path / "run", None)
        assert (place.seed, place.compiled) == (7, there)
    assert simplification._Place.of(rule, tmp_path / "run", 3).seed == 3


def test_a_failed_check_costs_the_simple_rule_alone(
    plain: SearchResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise SimplifyError("the check of a step failed")

    monkeypatch.setattr(winner, "simplify_exact", fail)
    result = ended_again(plain, tmp_path / "run")
    assert result.simple is None and result.finish is not None
    assert not (tmp_path / "run" / "simple.py").exists()
