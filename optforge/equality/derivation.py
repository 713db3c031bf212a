"""The derivation of a simplification: steps that a reader can check one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from optforge.errors import ProgramError
from optforge.language import Program, parse

EXACT = "exact"
GUARDED = "exact up to a guard"
EMPIRICAL = "empirical"
KINDS = (EXACT, GUARDED, EMPIRICAL)


@dataclass(frozen=True)
class Link:
    r"""A state of the simpler form as ``scale`` times a state of the form before.

    Args:
        source: Number of the state before; None if the state is not a multiple of one.
        scale: The factor.
    """

    source: int | None
    scale: float = 1.0


@dataclass(frozen=True)
class DerivationStep:
    """A step of a derivation.

    Args:
        kind: ``exact``: equal over the real numbers wherever the form before is finite. ``exact up
            to a guard``: equal if the guard 1e-8 of a division is left out; ``why`` states the
            bound. ``empirical``: different, but not worse; ``figures`` say by how much.
        before: Text of the program.
        after: Text of the simpler program.
        why: The reason, for a reader.
        figures: Measurements: of the check for the first two kinds, of training for the last.

    Raises:
        ProgramError: If the kind is not one of the three.
    """

    kind: str
    before: str
    after: str
    why: str
    figures: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ProgramError(f"a step is {self.kind!r}; allowed are {', '.join(KINDS)}")

    def to_json(self) -> dict[str, Any]:
        """Return the content as JSON-serializable values."""
        parts = {"kind": self.kind, "before": self.before, "after": self.after, "why": self.why}
        return {**parts, "figures": dict(self.figures)}


@dataclass(frozen=True)
class Change:
    """The result of a pass: the program, the step that justifies it, and the links of its states.

    Args:
        program: The program after the step.
        step: The step.
        links: Link of each state to the states of the program before.
    """

    program: Program
    step: DerivationStep
    links: tuple[Link, ...]


class Pass(Protocol):
    """A way of simplifying a program; the extension point for further ways."""

    def apply(self, program: Program) -> Change | None:
        """Make one step, or return None if there is nothing to do."""
        ...


@dataclass(frozen=True)
class Derivation:
    """All steps from the given rule to the simple one.

    Args:
        start: Text of the given rule.
        steps: The steps in order; each begins where the previous one ended.

    Example:
        >>> text = "def train(w, g, lr):\\n    u = g * 0.1\\n    return u\\n"
        >>> Derivation(text, ()).end == text
        True
    """

    start: str
    steps: tuple[DerivationStep, ...]

    @property
    def end(self) -> str:
        """Text of the simple rule."""
        return self.steps[-1].after if self.steps else self.start

    def check(self) -> None:
        """Check that every text is a program and that the steps are connected.

        Raises:
            ProgramError: If a check fails; the message names the step.
        """
        text = parse(self.start).text
        for number, step in enumerate(self.steps, 1):
            if step.before != text:
                raise ProgramError(f"step {number} does not begin where the one before ended")
            text = parse(step.after).text

    def to_json(self) -> list[dict[str, Any]]:
        """Return the steps as JSON-serializable values."""
        return [step.to_json() for step in self.steps]

    @classmethod
    def from_json(cls, start: str, steps: Sequence[Mapping[str, Any]]) -> Derivation:
        """Read what :meth:`to_json` returned."""
        return cls(start, tuple(DerivationStep(**step) for step in steps))
