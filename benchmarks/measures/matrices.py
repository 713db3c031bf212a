"""What one function on matrices costs a candidate: its time over that of the same rule without."""

from __future__ import annotations

from collections.abc import Callable

from optforge.language import Program, Statement, load_rule
from optforge.tasks import PROXY_TASKS
from optforge.training import train_population

from .cores import Core, together
from .machine import Spread, spread
from .training import stack_of, warm

FUNCTIONS = ("orthogonalize", "row_rms", "column_rms")
_SEEDS = (0, 1, 2)


def matrices(
    workers: int, repeats: int, quick: bool, compile: bool, say: Callable[[str], None]
) -> dict[str, dict[str, Spread]]:
    """Time AdamW with and without one statement more, in interleaved rounds.

    Returns:
        For each function and task the ratios of the rounds.
    """
    steps, candidates = (5, 2) if quick else (None, 24)
    times: dict[tuple[str, str], list[float]] = {}
    cores = [Core() for _ in range(workers)]
    try:
        for task in PROXY_TASKS:
            for core in cores:
                core.call(warm, task, steps, compile)
            for number in range(repeats + 1):  # the first round only warms up
                say(f"matrices: {task}, round {number} of {repeats}")
                for name in ("", *FUNCTIONS):
                    seconds, _ = together(cores, train_with, task, steps, name, candidates, compile)
                    if number:
                        times.setdefault((name, task), []).append(seconds)
    finally:
        for core in cores:
            core.__exit__()
    return {
        name: {
            task: spread([a / b for a, b in zip(times[name, task], times["", task], strict=True)])
            for task in PROXY_TASKS
        }
        for name in FUNCTIONS
    }


def train_with(task: str, steps: int | None, name: str, candidates: int, compile: bool) -> float:
    """Train copies of AdamW with a function applied to its update; mean loss."""
    rule = _with(load_rule("adamw"), name) if name else load_rule("adamw")
    trained = train_population(stack_of(task, steps, compile), [rule] * candidates, _SEEDS)
    return float(trained.losses.mean())


def _with(rule: Program, name: str) -> Program:
    """Insert ``update = function(update)`` where the update is first whole."""
    place = next(n for n, s in enumerate(rule.statements, 1) if s.target == "update")
    statement = Statement("update", name, ("update",))
    statements = (*rule.statements[:place], statement, *rule.statements[place:])
    return Program(rule.parameters, statements, rule.outputs)
