"""Rules that ship as discovered: a committed search yields each, and nothing gave it away."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optforge.analysis import fingerprint, lift, live_program
from optforge.analysis.numeric import REALISTIC, probe_updates
from optforge.equality import EMPIRICAL, Derivation, simplify_exact
from optforge.evolution.redraw import redraw_run
from optforge.language import Program, discovered_names, load_rule, parse
from optforge.runs import Journal, Proposal

RESULTS = Path(__file__).parents[1] / "results" / "discovery"
pytestmark = pytest.mark.skipif(not RESULTS.is_dir(), reason="an installed package has no results")


def provenance(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / name / "provenance.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module", params=discovered_names())
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Name, journal and proposal of a discovered rule."""
    name: str = request.param
    path = tmp_path_factory.mktemp(name) / "journal.sqlite"
    with gzip.open(RESULTS / name / "journal.sqlite.gz") as packed, path.open("wb") as file:
        shutil.copyfileobj(packed, file)
    number = provenance(name)["proposal"]
    with Journal.open(path, write=False) as journal:
        proposals = list(journal.proposals())
    assert proposals[number].number == number
    return name, path, proposals[number]


def derivation(name: str, proposal: Proposal) -> Derivation:
    """The steps from a proposal to what ships, without any where they compute the same."""
    file = RESULTS / name / "derivation.json"
    steps = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    return Derivation.from_json(parse(proposal.program).text, steps)


def assert_computes(program: Program, other: Program) -> None:
    """The same updates within a thousandth: what was left out changes nothing more."""
    expected = probe_updates(live_program(other), REALISTIC)
    assert np.abs(expected).min() > 0
    np.testing.assert_allclose(probe_updates(live_program(program), REALISTIC), expected, rtol=1e-3)


def test_the_proposal_leads_to_the_rule(found: tuple[str, Path, Proposal]) -> None:
    """With its constants; a step that is not exact says by how much it changes the loss."""
    name, _, proposal = found
    program = parse(proposal.program)
    assert fingerprint(program) == proposal.fingerprint == provenance(name)["fingerprint"]
    simple = simplify_exact(program).program
    constants = {abs(a) for s in simple.statements for a in s.arguments if isinstance(a, float)}
    values = provenance(name)["values"]
    assert set(values.values()) <= constants
    derived = derivation(name, proposal)
    derived.check()
    for step in derived.steps:
        if step.kind == EMPIRICAL:
            assert step.figures["low"] <= step.figures["mean"] <= step.figures["high"] < 0.05
        else:
            assert_computes(parse(step.after), parse(step.before))
    assert_computes(lift(load_rule(name)).with_values(values), parse(derived.end))


def test_neither_the_start_nor_a_suggestion_has_what_was_found(
    found: tuple[str, Path, Proposal],
) -> None:
    name, path, _ = found
    with Journal.open(path, write=False) as journal:
        settings = journal.settings["search"]
    given = [parse(text) for text in (settings["start"], *settings["suggestions"])]
    functions = {s.function for program in given for s in program.statements}
    assert len(given) > 1
    assert {s.function for s in load_rule(name).statements} - functions


def test_the_search_is_drawn_again(found: tuple[str, Path, Proposal]) -> None:
    assert redraw_run(found[1], 300) >= 300


@pytest.mark.slow
def test_the_search_is_drawn_again_up_to_the_rule(found: tuple[str, Path, Proposal]) -> None:
    assert redraw_run(found[1]) > found[2].number
