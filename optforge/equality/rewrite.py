"""A row of the table of rewrites."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rewrite:
    """A row of the table: ``before`` may be replaced by ``after``.

    Args:
        before: The pattern.
        after: The replacement.
        when: Conditions that must all hold: comparisons of constants, ``nonnegative(x)``,
            ``positive(x)``.
        guard: Bound of the absolute difference, in the language, for a row that is exact up to a
            guard. None if both sides are equal over the real numbers wherever ``before`` is finite.
        grows: Whether it only makes other rows applicable; such rows run less often.
    """

    before: str
    after: str
    when: tuple[str, ...] = ()
    guard: str | None = None
    grows: bool = False

    @property
    def collapses(self) -> bool:
        """Return whether the result is a part of the pattern or a constant: nothing is built."""
        return not self.grows and ("(" not in self.after and " " not in self.after)

    @property
    def name(self) -> str:
        """The row as shown to a reader."""
        conditions = f" if {' and '.join(self.when)}" if self.when else ""
        bound = f", up to {self.guard}" if self.guard else ""
        return f"{self.before} -> {self.after}{conditions}{bound}"


def rows_of(*pairs: tuple[str, ...], grows: bool = False) -> list[Rewrite]:
    """Return a row for each triple of pattern, replacement and conditions."""
    return [Rewrite(pair[0], pair[1], pair[2:], grows=grows) for pair in pairs]
