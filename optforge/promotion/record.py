"""The decisions of a funnel in its journal; a resumed funnel must come to the same ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from optforge.errors import RunError
from optforge.runs import Event, Journal

PREFIX = "funnel "  # of the kinds of events; deaths of workers are in the same journal


class Record:
    """Writes each decision once.

    The course of a funnel is a function of its settings and of measured losses, all of which are
    stored. So resuming is doing it again: what is in the journal already is compared, what is new
    is added.

    Args:
        journal: Journal of the funnel, open for writing.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._stored = [e for e in journal.events() if e.kind.startswith(PREFIX)]
        self._place = 0

    def note(self, kind: str, stage: int, detail: Mapping[str, Any]) -> None:
        """Write a decision, or check that it is the stored one.

        Args:
            kind: ``candidates``, ``tuned``, ``look`` or ``end``.
            stage: Number of the stage, from 0.
            detail: JSON-serializable values.

        Raises:
            RunError: If another decision is stored at this place.
        """
        event = Event(stage, PREFIX + kind, json.loads(json.dumps(dict(detail))))
        if self._place >= len(self._stored):
            self.journal.record(event)
        elif self._stored[self._place] != event:
            raise RunError(
                f"the funnel in {self.journal.path.parent} decided something else at this place "
                f"({kind}, stage {stage + 1}): it was made with another version of optforge or of "
                "torch, or its losses are damaged; start a new one with --out"
            )
        self._place += 1
