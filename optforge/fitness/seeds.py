"""Seeds from content: they depend on run, task, purpose and repeat, never on a worker or clock."""

from __future__ import annotations

import hashlib


def seeds(run: int, task: str, purpose: str, count: int) -> tuple[int, ...]:
    """Return the seeds of a task for a purpose; different purposes share no seeds.

    Args:
        run: Seed of the run.
        task: Name of the task.
        purpose: For example ``search``, ``rescore``, ``select`` or ``report``.
        count: Number of seeds.

    Example:
        >>> len(set(seeds(0, "digits_mlp", "search", 3) + seeds(0, "digits_mlp", "report", 3)))
        6
    """
    texts = (f"{run}|{task}|{purpose}|{repeat}" for repeat in range(count))
    digests = (hashlib.sha256(text.encode()).digest() for text in texts)
    return tuple(int.from_bytes(digest[:4], "big") >> 1 for digest in digests)
