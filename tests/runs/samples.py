"""Made-up records for the tests of the journal."""

from __future__ import annotations

from optforge.runs import Event, Proposal, Verdict

NAN = float("nan")
INF = float("inf")
TEXT = "def train(w, g, m, v, lr):\n" + "    m = interp(g, m, 0.9)\n" * 20 + "    return m, m, v\n"


def proposal(number: int, batch: int = 0, **changes: object) -> Proposal:
    values: dict[str, object] = {
        "number": number,
        "batch": batch,
        "phase": "structure",
        "parent": number - 1 if number else None,
        "mutation": "insert",
        "program": TEXT,
        "fingerprint": f"{number:032x}",
        "verdict": number,
        "cached": number % 3 == 0,
    }
    return Proposal(**(values | changes))  # type: ignore[arg-type]


def verdict(number: int, **changes: object) -> Verdict:
    values: dict[str, object] = {
        "id": number,
        "fingerprint": f"{number:032x}",
        "numeric_fingerprint": f"n{number}",
        "fitness": -0.1 / (number + 1),
        "stage": 4,
        "stage_name": "full",
        "loss": 0.1 + 0.2,
        "audit_fitness": None,
        "state_bytes": 8.0,
        "live_statements": 9,
        "scores": {"mlp": (-0.1, 0.25, 1 / 3), "vit": (0.5, -INF, NAN)},
        "trace": (2.3, 1.1, 0.4),
        "steps": 450,
        "seconds": 0.25,
    }
    return Verdict(**(values | changes))  # type: ignore[arg-type]


def batch(number: int, size: int = 5) -> tuple[list[Proposal], list[Verdict], list[Event]]:
    """Batch `number` of a made-up run: `size` proposals, as many verdicts, one event."""
    numbers = range(number * size, (number + 1) * size)
    return (
        [proposal(i, number) for i in numbers],
        [verdict(i) for i in numbers],
        [Event(number, "phase", {"name": "structure"})],
    )
