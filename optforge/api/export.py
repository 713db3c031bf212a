"""The public face of exporting: one function from a rule to a source file."""

from __future__ import annotations

from pathlib import Path

from optforge.exporters import export as export_program
from optforge.language import Program, load_rule
from optforge.runs.directory import rule_file


def export(rule: str | Path | Program, to: str = "torch", *, name: str | None = None) -> str:
    """Return a rule as a self-contained source file that needs no optforge.

    Args:
        rule: A shipped rule's name, a file, the directory of a run (its winner), or a program.
        to: ``torch``, ``optax`` or ``latex``.
        name: What the rule is called in the file; by default the name or file that was given.

    Returns:
        The text of the file.

    Raises:
        OptforgeError: If there is no such rule or target.

    Example:
        >>> import optforge
        >>> print(optforge.export("signum", to="latex").splitlines()[5])
            m &\\leftarrow (1 - \\beta_{1}) \\, g + \\beta_{1} \\, m \\\\
    """
    if isinstance(rule, Program):
        return export_program(rule, to, name or "rule")
    file = rule_file(rule)
    return export_program(load_rule(file), to, name or str(file))
