"""The extended ranges, and those extended for only some of the optimizers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from optforge.comparison import Findings
from optforge.report.text_table import TextTable

Range = tuple[float, float]


@dataclass(frozen=True)
class Uneven:
    """A range of a task that grew for some optimizers but not for others that also have it.

    Args:
        task: Label of the task.
        range: Name of the dimension.
        grew_for: Names of the optimizers for which it grew.
        not_for: Names of the optimizers for which it did not grow.
    """

    task: str
    range: str
    grew_for: tuple[str, ...]
    not_for: tuple[str, ...]


def final_ranges(findings: Findings) -> dict[tuple[str, str], dict[str, Range]]:
    """Return the final ranges by task and optimizer."""
    return {
        (result.variant.label, name): {d.name: (d.low, d.high) for d in tuned.space.dimensions}
        for result in findings.tasks
        for name, tuned in result.tuned.items()
    }


def range_text(ends: Range) -> str:
    """Return a range in words.

    Example:
        >>> range_text((3e-4, 0.1))
        '0.0003 to 0.1'
    """
    return f"{ends[0]:.3g} to {ends[1]:.3g}"


def uneven(findings: Findings) -> Iterator[Uneven]:
    """Yield each range, on each task, that grew for some optimizers but not for others."""
    for result in findings.tasks:
        names = dict.fromkeys(n for tuned in result.tuned.values() for n in tuned.space.names)
        for name in names:
            have = [
                (recipe, tuned)
                for recipe, tuned in result.tuned.items()
                if name in tuned.space.names
            ]
            grew = tuple(recipe for recipe, tuned in have if name in tuned.grown)
            others = tuple(recipe for recipe, tuned in have if name not in tuned.grown)
            if grew and others:
                yield Uneven(result.variant.label, name, grew, others)


def uneven_ranges(findings: Findings) -> TextTable | None:
    """Return the table of these ranges; None if there are none."""
    rows = tuple(
        (row.task, row.range, ", ".join(row.grew_for), ", ".join(row.not_for))
        for row in uneven(findings)
    )
    if not rows:
        return None
    return TextTable(
        "Ranges that grew for some optimizers and not for others: a hint that a range is "
        "misplaced, and that a change on that task says something of the tuning too",
        ("<task", "<range", "<grew for", "<not for"),
        rows,
    )
