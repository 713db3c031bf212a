"""Counts of a search, for the display and the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from optforge.fitness import JUDGED


@dataclass
class Tally:
    """Counts for the display and the report."""

    proposals: int = 0
    cached: int = 0
    stages: Counter[str] = field(default_factory=Counter)
    audited: int = 0
    false_rejects: int = 0
    same_numbers: int = 0
    mismatches: int = 0
    training_seconds: float = 0.0
    restarts: int = 0
    overfitted: int = 0
    steps: int = 0

    @property
    def evaluated(self) -> int:
        """Number of new fingerprints that were evaluated."""
        return sum(self.stages.values())

    @property
    def judged(self) -> int:
        """Number of full verdicts."""
        return self.stages[JUDGED]

    def plain(self) -> dict[str, Any]:
        """Return the counts as JSON-serializable values, for the report."""
        rejected = stage_counts(self.stages)
        rejected.pop(JUDGED, None)
        return {
            "programs": self.proposals,
            "new": self.evaluated,
            "judged": self.judged,
            "rejected": rejected,
            "audited": self.audited,
            "wrongly_rejected": self.false_rejects,
            "same_fingerprint_other_numbers": self.mismatches,
            "same_numbers_other_fingerprint": self.same_numbers,
            "restarts": self.restarts,
            "meta_overfitted": self.overfitted,
            "training_seconds": round(self.training_seconds, 1),
        }


def stage_counts(counts: Mapping[str, int]) -> dict[str, int]:
    """Sum the rejections of the probe, for displays that show one line for it.

    Example:
        >>> stage_counts({"probe: frozen": 2, "probe: constant": 1, "judged": 4})
        {'probe': 3, 'judged': 4}
    """
    merged: Counter[str] = Counter()
    for name, count in counts.items():
        merged[name.split(":")[0]] += count
    return dict(merged)
