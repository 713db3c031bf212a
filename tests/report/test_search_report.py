"""What is claimed of a table, in words and files: nothing that an interval does not back."""

from __future__ import annotations

import html
import json
import math
from dataclasses import replace

import pytest

from optforge.assessment.finish import Finish
from optforge.assessment.rows import ADAMW, CONSTANTS, FOUND, MUON, ONE_SETTING
from optforge.assessment.select import Finalist
from optforge.assessment.table import Row, Table, scaled
from optforge.language import parse
from optforge.report.search.files import search_files, search_json
from optforge.report.search.page import search_html, search_markdown
from optforge.report.search.verdict import verdict
from optforge.statistics import mean_interval_over_tasks, paired_interval
from optforge.tasks import Schedule
from optforge.training import Trainee

SGD = parse("def train(w, g, lr):\n    u = g * 0.1\n    u = u * lr\n    return u")
FINALIST = Finalist(SGD.text, 0.0, -0.1, -0.11, -0.09, 16, 8.0, 9, 0.1)


def a_table(
    found: list[float],
    constants: list[float] | None,
    held_out: bool = False,
    muon: list[float] | None = None,
) -> Table:
    """A table from log losses of one proxy; the reference is 0."""

    def row(name: str, logs: list[float]) -> Row:
        interval = paired_interval(logs)
        tasks = {"Blobs": interval} | ({"Sums": interval} if held_out else {})
        of = {task: tuple(logs) for task in tasks}
        rules = {task: Trainee(SGD) for task in tasks}
        return Row(name, tasks, mean_interval_over_tasks([logs]), 8.0, 0.001, "", of, rules)

    rows = [row(ADAMW, [0.0] * len(found))]
    rows += [] if constants is None else [row(CONSTANTS, constants)]
    rows.append(row(FOUND, found))
    rows += [] if muon is None else [row(MUON, muon)]
    return Table(tuple(rows), ("Blobs",), ("Sums",) if held_out else (), 4)


BETTER, LEVEL, WORSE = [-0.3, -0.31, -0.29, -0.3], [-0.3, 0.3, -0.2, 0.19], [0.3, 0.31, 0.29, 0.3]


@pytest.mark.parametrize(
    ("found", "constants", "beats", "loses"),
    [
        (BETTER, None, [ADAMW], []),
        (LEVEL, None, [], [ADAMW]),
        (WORSE, None, [], [ADAMW]),
        (BETTER, [0.0, 0.01, -0.01, 0.0], [ADAMW, CONSTANTS], []),
        (BETTER, [-0.3, -0.3, -0.3, -0.3], [ADAMW], [CONSTANTS]),
        (LEVEL, [2.0, 2.1, 2.2, 2.0], [CONSTANTS], [ADAMW]),
        (LEVEL, BETTER, [], [ADAMW, CONSTANTS]),
        ([math.inf, 0.0, 0.0, 0.0], BETTER, [], [ADAMW, CONSTANTS]),
        (BETTER[:1], BETTER[:1], [], [ADAMW, CONSTANTS]),
    ],
)
def test_a_claim_needs_an_interval_that_excludes_zero(
    found: list[float], constants: list[float] | None, beats: list[str], loses: list[str]
) -> None:
    if constants is not None and len(constants) != len(found):
        constants = constants[: len(found)]
    text = verdict(a_table(found, constants))
    claim, _, rest = text.partition("). ")
    if beats:
        claimed = f"The discovered rule, tuned for each task, beats {' and '.join(beats)} on fresh"
        assert claim.startswith(claimed)
        assert not loses or rest.startswith(f"It does not beat {' or '.join(loses)} (")
    else:
        nothing = f"Nothing was found that, tuned for each task, beats {' or '.join(loses)} ("
        assert text.startswith(nothing) and "discovered rule" not in text
    assert "[" in text and "%" in text, "every number carries its interval"


@pytest.mark.parametrize(
    ("muon", "beats", "loses"),
    [([0.1, 0.11, 0.09, 0.1], [ADAMW, MUON], []), ([-0.5, -0.51, -0.5, -0.5], [ADAMW], [MUON])],
)
def test_muon_has_to_be_beaten_as_well(
    muon: list[float], beats: list[str], loses: list[str]
) -> None:
    text = verdict(a_table(BETTER, None, muon=muon))
    assert text.startswith(
        f"The discovered rule, tuned for each task, beats {' and '.join(beats)} on fresh"
    )
    assert (f"It does not beat {MUON} (" in text) == bool(loses)


def test_the_claim_for_the_tuned_rule_is_not_lent_to_the_one_that_is_shipped() -> None:
    """Tuned for each task it wins, with its one setting it loses: the reader sees both."""
    made, shape = a_table(BETTER, None), Schedule(0.2, 0.5, 0.1)
    worse, given = a_table(WORSE, None).row(FOUND), {"Blobs": Trainee(scaled(SGD, 3.0), shape)}
    plain = replace(made.rows[0], name=ADAMW + ONE_SETTING)
    rows = (*made.rows[:-1], replace(made.rows[-1], trainees=given, trials="7 a task"), plain,
            replace(worse, name=FOUND + ONE_SETTING, trainees={"Blobs": Trainee(SGD)}))  # fmt: skip
    made = replace(made, rows=rows)
    text = verdict(made)
    assert text.startswith(f"The discovered rule, tuned for each task, beats {ADAMW} on fresh")
    shipped = "As in best.py, with one setting for all tasks: +35.0 % loss [+33.2, +36.8] against"
    assert f"{shipped} {ADAMW}{ONE_SETTING}." in text
    done = Finish((FINALIST,), made)
    files = search_files(done)
    best, tuned = files["best.py"], files["best_Blobs.py"]
    assert shipped in " ".join(best.replace("\n# ", " ").split()) and "best_Blobs.py" in best
    assert done.rule == Trainee(SGD) and parse(best) == SGD and parse(tuned) == scaled(SGD, 3.0)
    words = " ".join(tuned.replace("\n# ", " ").split())
    assert "tuned for Blobs" in words and "7 a task" in words and "-25.9 % loss" in words
    assert "warm-up over 20 % of the steps" in words and "the power 0.5" in words
    assert "ending at 0.1 of the peak" in words and "Schedule: that of the task." in best


def test_with_one_setting_the_others_have_one_too() -> None:
    """One setting against one setting: of AdamW, and of Muon if it is there."""
    made = a_table(BETTER, None, muon=LEVEL)
    one = [replace(row, name=row.name + ONE_SETTING) for row in made.rows]
    text = verdict(replace(made, rows=(*made.rows, *one)))
    assert f"all tasks: -25.9 % loss [-26.9, -24.9] against {ADAMW}{ONE_SETTING}; " in text
    assert f"against {MUON}{ONE_SETTING}." in text
    without = verdict(replace(made, rows=(*made.rows, one[1])))
    assert "one setting for all tasks: -25.9 % loss" in without


def test_held_out_tasks_are_reported_either_way() -> None:
    text = verdict(a_table(WORSE, None, held_out=True))
    assert f"Held out, Sums: +35.0 % loss [+33.2, +36.8] against {ADAMW}." in text


def test_the_control_claims_no_discovery() -> None:
    made = a_table(BETTER, BETTER)
    text = verdict(replace(made, rows=made.rows[:2]))
    given = "Constants alone, searched and tuned for each task, give -25.9 % loss"
    assert text.startswith(given)
    assert "beats" not in text


def test_files_hold_what_was_found_and_no_nan() -> None:
    made = a_table([math.inf, 0.0, 0.0, 0.0], BETTER, held_out=True)
    done = Finish((FINALIST, replace(FINALIST, fitness=math.inf)), made)
    texts = search_files(done)
    stored = json.loads(texts["table.json"], parse_constant=lambda word: pytest.fail(word))
    assert stored == search_json(done) and stored["explanation"] is None
    assert stored["rule"] == {"program": SGD.text, "schedule": None, "average": 0.0}
    assert stored["finalists"][1]["fitness"] is None
    assert [row["name"] for row in stored["table"]["rows"]] == [ADAMW, CONSTANTS, FOUND]
    assert parse(texts["best.py"]) == SGD and texts["best.py"].startswith("# ")
    assert texts["table.md"] == search_markdown(done)
    for part in (ADAMW, CONSTANTS, FOUND, "Sums (held out)", "def train", "Student-t 95 %"):
        assert part in texts["table.md"]


def test_a_notebook_shows_verdict_rule_and_table_with_markup_as_text() -> None:
    hostile = "<img src=x onerror=alert(1)>"
    table = replace(a_table(BETTER, None), notes=())
    found = replace(table.rows[-1], trials=hostile)
    finish = Finish((FINALIST,), replace(table, rows=(*table.rows[:-1], found)))
    shown = search_html(finish)
    assert verdict(finish.table) in html.unescape(shown)
    assert finish.rule.program.text.rstrip() in html.unescape(shown)
    assert shown.count("<tr>") == 1 + len(finish.table.rows)
    assert "<img" not in shown and html.escape(hostile) in shown
