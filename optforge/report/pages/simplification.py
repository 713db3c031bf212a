"""The page of a simplification: the rule, each step with its reason, its properties."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from optforge.equality.card import Card
from optforge.language import parse
from optforge.report.pages.blocks import Block, Code, Facts, Page, Section, Step, Tree, Words
from optforge.report.pages.lineage import difference
from optforge.report.pages.rule import CARD_WORDS, update_figure
from optforge.report.pages.run_data import stored_json
from optforge.report.simplify.files import SIMPLE_JSON
from optforge.report.simplify.page import card_lines, figures_sentence


def read_simplification(path: Path) -> Page:
    """Return the page of a simplification.

    Args:
        path: Its JSON file, or the directory that holds it.

    Raises:
        OptforgeError: If its rule cannot be read.
    """
    file = path / SIMPLE_JSON if path.is_dir() else path
    return simplification_page(stored_json(file), file.resolve().parent.name)


def simplification_page(stored: Mapping[str, Any], name: str) -> Page:
    """Return the page of a simplification.

    Args:
        stored: The simplification, as its file stores it.
        name: Name for the title.
    """
    sections = (
        Section("summary", "Summary", tuple(_summary(stored))),
        Section("derivation", "Derivation", tuple(_derivation(stored))),
        Section("properties", "Properties", tuple(_properties(stored))),
    )
    return Page(f"Simplified rule {name}", "finished", sections)


def _summary(stored: Mapping[str, Any]) -> Iterator[Block]:
    nearest, apart = stored["nearest"], stored["nearest"]["distance_in_statements"]
    near = f"nearest known rule: {nearest['family']}, {apart} statements apart"
    yield Words(stored["name"] or f"{nearest['like']}; {near}", is_strong=True)
    yield Code(stored["program"])
    values = stored["hyperparameters"]
    yield Facts(tuple((key, f"{value:g}") for key, value in values.items()))


def _derivation(stored: Mapping[str, Any]) -> Iterator[Block]:
    yield Words(
        f"The steps ({len(stored['steps'])}), each with the reason for which it is allowed. Open "
        "one to see what it changed (+ added, - removed)."
    )
    yield Tree(tuple(_step(number, step) for number, step in enumerate(stored["steps"], 1)))
    if stored["stopped_by"]:
        stops = "; ".join(stored["stopped_by"])
        yield Words(f"Not taken to the end: {stops}. A simpler form may exist.")
    yield Words("The rule as given:")
    yield Code(stored["start"])


def _step(number: int, step: Mapping[str, Any]) -> Step:
    before, after = (text.count(" = ") for text in (step["before"], step["after"]))
    note = f"{before} -> {after} statements"
    if "effect" in step["figures"]:
        note += f". {figures_sentence(step['figures'])}"
    lines = difference(step["before"], step["after"])
    return Step(f"{number}. {step['kind']}: {step['why']}", note, lines)


def _properties(stored: Mapping[str, Any]) -> Iterator[Block]:
    yield Facts(tuple(card_lines(Card(**stored["card"]))))
    yield CARD_WORDS
    yield update_figure(parse(stored["program"]))
