"""The page of a funnel: promotions, and what stopped each candidate."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optforge.promotion.decision import PROMOTED
from optforge.report.json_values import stored_interval
from optforge.report.pages.blocks import (
    Block,
    Code,
    Facts,
    Figure,
    Grid,
    Page,
    Section,
    Step,
    Tree,
    Words,
)
from optforge.report.pages.figures import forest
from optforge.report.pages.run_data import stored_json
from optforge.report.promotion.command import LADDER_FILE, funnel_command, ladder_file
from optforge.report.promotion.page import FUNNEL_JSON
from optforge.report.text_table import TextTable
from optforge.report.words import loss_change, percent
from optforge.runs import Journal
from optforge.runs.file_names import JOURNAL

_LARGEST = 5.0  # log ratio beyond which a point is cut off


@dataclass(frozen=True)
class _Funnel:
    """What the page shows.

    Args:
        path: Directory of the funnel.
        settings: Its settings.
        stages: The finished stages, as their file stores them.
        verdict: What it found; empty while it runs.
    """

    path: Path
    settings: Mapping[str, Any]
    stages: Sequence[Mapping[str, Any]]
    verdict: str

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to do."""
        finished = len(self.stages) == len(self.settings["stages"])
        return finished or any(not _promoted(stage) for stage in self.stages)


def is_funnel(path: Path) -> bool:
    """Return whether the journal in a directory is that of a funnel."""
    with Journal.open(path / JOURNAL, write=False) as journal:
        return "funnel" in journal.settings


def read_funnel(path: Path) -> Page:
    """Return the page of the funnel in a directory; while it runs, without results.

    Raises:
        RunError: If its journal cannot be read.
    """
    with Journal.open(path / JOURNAL, write=False) as journal:
        settings = journal.settings["funnel"]
    results = stored_json(path / FUNNEL_JSON)
    stages, verdict = results.get("stages", []), results.get("verdict", "")
    return funnel_page(_Funnel(path, settings, stages, verdict))


def funnel_page(funnel: _Funnel) -> Page:
    """Return the page of a funnel."""
    sections = (
        Section("summary", "Summary", tuple(_summary(funnel))),
        Section("stages", "Stages", tuple(_stages(funnel))),
        Section("candidates", "Candidates", tuple(_candidates(funnel))),
        Section("settings", "Settings", tuple(_settings(funnel))),
    )
    state = "finished" if funnel.is_complete else "not finished"
    kept = tuple(section for section in sections if section.blocks)
    return Page(f"Funnel {funnel.path.resolve().name}", state, kept)


def _summary(funnel: _Funnel) -> Iterator[Block]:
    settings, planned = funnel.settings, len(funnel.settings["stages"])
    unknown = "No stage has been written yet; nothing here is confirmed."
    yield Words(funnel.verdict or unknown, is_strong=True)
    yield Facts(
        (
            ("of the search in", settings["run"]),
            ("to beat", f"{settings['baseline']}, tuned alike in every stage"),
            ("stages", f"{len(funnel.stages)} of {planned} finished"),
            ("candidates", str(len(settings["candidates"]))),
            ("chance of a wrong promotion in a stage", f"{settings['alpha']:g}"),
        )
    )


def _stages(funnel: _Funnel) -> Iterator[Block]:
    if not funnel.stages:
        return
    rows = [row for stage in funnel.stages for row in _forest_rows(stage)]
    names, outcomes = (list(dict.fromkeys(row[key] for row in rows)) for key in ("stage", "name"))
    baseline = funnel.settings["baseline"]
    title = ["change of loss", f"against tuned {baseline}, %"]
    spec = forest(title, outcomes, {"stage": names}, len(rows), label="program")
    caption = (
        "Each candidate against the baseline that was tuned alike, on fresh seeds, with 95 % "
        "intervals without the correction for their number; left of the line is better. The "
        "decision also corrects for the number of candidates."
    )
    yield Figure("stages", "What became of each candidate.", caption, spec, rows)
    yield Grid(stage_table(funnel.stages))


def _forest_rows(stage: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for entry in stage["candidates"]:
        effect = stored_interval(entry["effect"])
        if math.isfinite(effect.mean):
            words = f"{_words(entry)} ({loss_change(effect)}, {entry['seeds']} seeds)"
            yield {
                "row": f"{stage['stage']}: program {entry['number']}",
                "program": f"program {entry['number']}",
                "name": entry["outcome"], "stage": stage["stage"], "words": words,
                **{end: 100 * math.expm1(min(getattr(effect, end), _LARGEST))
                   for end in ("mean", "low", "high")},
            }  # fmt: skip


def stage_table(stages: Sequence[Mapping[str, Any]]) -> TextTable:
    """Return a table with a row for each stage: who entered, who was promoted, the best."""
    rows = []
    for stage in stages:
        entered, promoted = stage["candidates"], _promoted(stage)
        best = min(entered, key=lambda entry: stored_interval(entry["effect"]).mean, default=None)
        held = (
            "none"
            if best is None
            else f"{best['number']}: {percent(stored_interval(best['effect']))}"
        )
        rows.append(
            (stage["stage"], str(stage["trials"]), str(len(entered)), str(len(promoted)), held)
        )
    heads = ("<stage", "trials each", "entered", "promoted", "best program")
    title = (
        "The finished stages. The best program of a stage is the luckiest of several; the next "
        "stage trains it on fresh seeds."
    )
    return TextTable(title, heads, tuple(rows))


def _candidates(funnel: _Funnel) -> Iterator[Block]:
    if not funnel.settings["candidates"]:
        return
    yield Words(
        "What stopped each candidate, the fittest of the search first. Its value in the search is "
        "that of one of the best of many, so partly luck. Open a candidate to read its program."
    )
    yield Tree(tuple(_candidate(candidate, funnel) for candidate in funnel.settings["candidates"]))


def _candidate(candidate: Mapping[str, Any], funnel: _Funnel) -> Step:
    course = [
        f"{stage['stage']}: {_words(entry)}"
        for stage in funnel.stages
        for entry in stage["candidates"]
        if entry["number"] == candidate["number"]
    ]
    number = candidate["number"]
    title = f"program {number:,}, fitness {candidate['fitness']:+.4f} in the search"
    lines = tuple((" ", line) for line in candidate["text"].splitlines())
    return Step(title, "; ".join(course) or "not tried yet", lines, f"program-{number}")


def _words(entry: Mapping[str, Any]) -> str:
    p_value = entry["corrected_p_value"]
    sure = "" if p_value is None else f", corrected p-value {p_value:.2g}"
    return f"{entry['outcome']} at {percent(stored_interval(entry['effect']))}{sure}"


def _promoted(stage: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [entry for entry in stage["candidates"] if entry["outcome"] == PROMOTED]


def _settings(funnel: _Funnel) -> Iterator[Block]:
    settings, file = funnel.settings, ladder_file(funnel.settings["stages"])
    yield Words("The command that makes this funnel again:")
    yield Code(shlex.join(funnel_command(settings)))
    if file:
        yield Words(f"Its stages, as they stand in {LADDER_FILE}:")
        yield Code(file)
    yield Words(
        "Of each stage: trials for each rule; looks are the numbers of fresh seeds after which a "
        "candidate may be promoted or dropped; keep is the most that enter."
    )
    for stage in settings["stages"]:
        yield Facts(tuple((name, _shown(value)) for name, value in stage.items()))


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
