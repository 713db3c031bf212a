"""The records of a journal: proposals, verdicts and events, all of plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Proposal:
    """A program that a search proposed; cache hits are proposals too.

    Args:
        number: Its position in the run, counted from 0.
        batch: The batch in which it was drawn.
        phase: The part of the search, for instance `"constants"` or `"structure"`.
        parent: The number of the proposal it was mutated from; None for a warm start.
        mutation: Description of the change to the parent.
        program: The text of the program, including dead statements.
        fingerprint: Fingerprint of what the program computes.
        verdict: The id of its verdict, new or known; None if it has none.
        cached: Whether the verdict was already known.

    Example:
        >>> Proposal(7, 0, "structure", None, "start", "def train...", "a1", verdict=3).cached
        False
    """

    number: int
    batch: int
    phase: str
    parent: int | None
    mutation: str
    program: str
    fingerprint: str
    verdict: int | None
    cached: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of evaluating one fingerprint.

    Args:
        id: Number of its row in the journal.
        fingerprint: The functional fingerprint of the program.
        numeric_fingerprint: The fingerprint of its numbers on fixed inputs.
        fitness: Lower is better; infinite for a program that failed.
        stage: Number of looks it passed; the highest number is a full verdict.
        stage_name: The stage in words; it may have several looks.
        loss: The loss at which it was rejected or judged.
        audit_fitness: The fitness of a rejected program whose training continued for an audit.
        state_bytes: Bytes of optimizer state per parameter.
        live_statements: Number of live statements, across steps.
        scores: Log ratios to the baseline on each task, one per seed.
        trace: Losses at the checkpoints.
        steps: Number of training steps over all tasks and seeds.
        seconds: Seconds spent.

    Example:
        >>> verdict = Verdict(1, "a1", "n1", -0.1, 4, "full", 0.3, None, 8.0, 9,
        ...                   {"mlp": (-0.1, -0.12)}, (2.3, 0.3), 300, 0.2)
        >>> verdict.scores["mlp"]
        (-0.1, -0.12)
    """

    id: int
    fingerprint: str
    numeric_fingerprint: str
    fitness: float
    stage: int
    stage_name: str
    loss: float
    audit_fitness: float | None
    state_bytes: float
    live_statements: int
    scores: Mapping[str, tuple[float, ...]]
    trace: tuple[float, ...]
    steps: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened besides proposals: a restart, a time-out, the death of a worker.

    Args:
        batch: The batch to which it belongs.
        kind: One of a few words: `restart`, `timeout`, `worker_death`, `killer`, `rescore`, ...
        detail: JSON-serializable values.

    Example:
        >>> Event(12, "restart", {"from": "best"}).detail["from"]
        'best'
    """

    batch: int
    kind: str
    detail: Mapping[str, Any] = field(default_factory=dict)
