"""The errors that optforge raises on purpose: what was received, what is allowed, what to do."""

from __future__ import annotations


class OptforgeError(Exception):
    """Base of every error a user can cause; the command line prints it as one plain sentence."""


class ProgramError(OptforgeError):
    """A program text or program that is not valid.

    Args:
        reason: What is wrong and what is allowed.
        line: The line of the text, counted from 1, where there is one.

    Example:
        >>> str(ProgramError("unknown function 'foo'", line=3))
        "line 3: unknown function 'foo'"
    """

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason if line is None else f"line {line}: {reason}")
        self.reason = reason
        self.line = line


class TaskError(OptforgeError):
    """A task that cannot be built, found or trained."""


class RunError(OptforgeError):
    """A run directory or journal that cannot be created, read, resumed or written."""


class SearchError(OptforgeError):
    """Settings of a search that contradict each other or the warm start."""


class OptimizerError(OptforgeError, ValueError):
    """Settings, gradients or states that an optimizer refuses; a `ValueError` too, as in torch."""


class NonFiniteError(OptimizerError):
    """A gradient with infinite or NaN elements, where the policy is to raise."""


class SimplifyError(OptforgeError):
    """A simplification whose check failed, or one that was asked for something it cannot do."""


class CompareError(OptforgeError):
    """A comparison, recipe or suite that cannot be read, run or resumed."""


class TrainingError(OptforgeError):
    """An image training that cannot be set up, resumed or go on."""


class StoppedError(Exception):
    """Leaves work when a stop is asked for; what was finished is kept where it is resumed from."""


class TimeIsUpError(Exception):
    """Leaves work when its time is used up; what was finished is kept."""
