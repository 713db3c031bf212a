"""One row of the table of rewrites."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rewrite:
    """One row of the table: ``before`` may become ``after``.

    Args:
        before: The pattern.
        after: What replaces it.
        when: Conditions that all hold: comparisons of constants, ``nonnegative(x)``,
            ``positive(x)``.
        guard: For a row that is exact up to a guard: a bound of the absolute difference, in the
            language. None: equal over the real numbers wherever ``before`` is finite.
        grows: Whether it only opens ways for other rows; such rows run less often.
    """

    before: str
    after: str
    when: tuple[str, ...] = ()
    guard: str | None = None
    grows: bool = False

    @property
    def collapses(self) -> bool:
        """Return whether the result is a part of the pattern, or a constant: nothing is built."""
        return not self.grows and ("(" not in self.after and " " not in self.after)

    @property
    def name(self) -> str:
        """The row as a reader sees it."""
        conditions = f" if {' and '.join(self.when)}" if self.when else ""
        bound = f", up to {self.guard}" if self.guard else ""
        return f"{self.before} -> {self.after}{conditions}{bound}"


def rows_of(*pairs: tuple[str, ...], grows: bool = False) -> list[Rewrite]:
    """Return a row for each pattern, replacement and conditions."""
    return [Rewrite(pair[0], pair[1], pair[2:], grows=grows) for pair in pairs]
