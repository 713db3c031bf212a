"""The written proof of a simplification: steps that a reader can check one by one."""

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
    r"""What a state of the simpler form is, in terms of the form before: ``scale`` times a state.

    Args:
        source: Number of the state before; None for a state that is no multiple of one.
        scale: The factor.
    """

    source: int | None
    scale: float = 1.0


@dataclass(frozen=True)
class DerivationStep:
    """One step of a derivation.

    Args:
        kind: ``exact``: equal over the real numbers wherever the form before is finite.
            ``exact up to a guard``: equal if the guard 1e-8 of a division is left out; ``why``
            states the bound. ``empirical``: different, but not worse; ``figures`` say by how much.
        before: Text of the program.
        after: Text of the simpler one.
        why: The reason, for a reader.
        figures: What was measured: of the check for the first two kinds, of training for the last.

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
    """What a pass did: the program it leaves, the step that says why, and what became of states.

    Args:
        program: The program after the step.
        step: The step.
        links: For each state of the program after, what it is of the program before.
    """

    program: Program
    step: DerivationStep
    links: tuple[Link, ...]


class Pass(Protocol):
    """One way of making a program simpler; the place where further ways plug in."""

    def apply(self, program: Program) -> Change | None:
        """Take one step, or None where there is nothing to do."""
        ...


@dataclass(frozen=True)
class Derivation:
    """All steps from the rule as given to the simple one.

    Args:
        start: Text of the rule as given.
        steps: In order; each begins where the one before ended.

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
        """Check that every text is a program and that the steps hang together.

        Raises:
            ProgramError: Naming the step.
        """
        text = parse(self.start).text
        for number, step in enumerate(self.steps, 1):
            if step.before != text:
                raise ProgramError(f"step {number} does not begin where the one before ended")
            text = parse(step.after).text

    def to_json(self) -> list[dict[str, Any]]:
        """Return the steps as plain values."""
        return [step.to_json() for step in self.steps]

    @classmethod
    def from_json(cls, start: str, steps: Sequence[Mapping[str, Any]]) -> Derivation:
        """Read what :meth:`to_json` gave."""
        return cls(start, tuple(DerivationStep(**step) for step in steps))
