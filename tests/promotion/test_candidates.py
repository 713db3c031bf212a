"""Where the candidates of a funnel come from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from optforge.analysis import fingerprint
from optforge.language import load_rule, parse
from optforge.promotion import FunnelCandidate, collect
from optforge.promotion.candidates import clustered
from optforge.runs import Event, Journal, Proposal, Verdict

SETTINGS = {"search": {"repeats": 2, "confirm": 0, "rescore_repeats": 2}}
SIGNUM = load_rule("signum").text
OTHER = SIGNUM.replace("0.9", "0.8")  # the same structure
SGD = "def train(w, g, lr):\n    update = g * lr\n    return update\n"


def write(path: Path, rules: list[tuple[str, float, tuple[float, float]]], *events: Event) -> None:
    proposals, verdicts = [], []
    for number, (text, fitness, (first, second)) in enumerate(rules):
        name = fingerprint(parse(text)) + str(number)
        scores = {"a": (first,), "b": (second,)}
        verdicts.append(
            Verdict(number, name, f"n{text}", fitness, 3, "judged", fitness, None, 4.0, 3,
                    scores, (), 10, 0.1)
        )  # fmt: skip
        proposals.append(Proposal(number, 0, "structure", None, "", text, name, number))
    with Journal.create(path, SETTINGS) as journal:
        journal.commit(0, proposals, verdicts, events)


def numbers(path: Path, count: int = 9, **options: object) -> list[int]:
    with Journal.open(path, write=False) as journal:
        return [c.number for c in collect(journal, count, **options)]  # type: ignore[arg-type]


def test_equal_numbers_and_equal_structures_are_one_candidate(tmp_path: Path) -> None:
    rules = [(SIGNUM, -0.1, (0.0, 0.0)), (OTHER, -0.2, (0.1, 0.0)), (SGD, 0.3, (0.0, 0.2)),
             (SGD, 0.2, (0.0, 0.1)), (SGD, float("inf"), (0.0, 0.1))]  # fmt: skip
    write(tmp_path / "journal.sqlite", rules)
    assert numbers(tmp_path / "journal.sqlite") == [1, 3]


def test_fresh_seeds_count_and_untrusted_programs_do_not(tmp_path: Path) -> None:
    rules = [(SIGNUM, -0.1, (0.0, 0.0)), (OTHER, -0.2, (0.1, 0.0))]
    lucky = Event(0, "rescore", {"fingerprint": fingerprint(parse(OTHER)) + "1", "fitness": 0.3})
    write(tmp_path / "journal.sqlite", rules, lucky)
    assert numbers(tmp_path / "journal.sqlite") == [0]
    assert numbers(tmp_path / "journal.sqlite", is_trusted=lambda n: n > 0) == [1]


def test_each_cluster_sends_its_fittest() -> None:
    def candidate(number: int, a: float, b: float) -> FunnelCandidate:
        return FunnelCandidate(number, SGD, number / 10, {"a": a, "b": b})

    alike = [candidate(0, -0.1, -0.1), candidate(1, -0.1, -0.09), candidate(2, -0.11, -0.1)]
    others = [candidate(3, -0.3, 0.2), candidate(4, 0.3, -0.3), candidate(5, 0.3, -0.31)]
    found = clustered([*alike, *others], 3)
    assert [(c.number, c.cluster_size) for c in found] == [(0, 3), (3, 1), (4, 2)]
    assert clustered(alike, 3) == alike
    assert replace(found[1], cluster_size=1) == others[0]
