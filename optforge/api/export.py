"""The public function for exports: from a rule to a source file."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from optforge.api.keywords import keywords_of
from optforge.errors import RunError
from optforge.exporters import export as export_program
from optforge.language import Program, load_rule
from optforge.options import with_plain_fields
from optforge.runs.directory import rule_file
from optforge.runs.outputs import write_output


@dataclass(frozen=True)
class ExportOptions:
    """Options of an export.

    Args:
        rule: A shipped rule's name, a file, the directory of a run (its winner), or a program.
        to: Target: torch, optax or latex.
        name: Name of the rule in the file; by default the given name or file.
        out: File to write; none by default.
        force: Replace an existing file.
    """

    rule: str | Path | Program
    to: str = "torch"
    _: KW_ONLY
    name: str | None = None
    out: str | Path | None = None
    force: bool = False

    def __post_init__(self) -> None:
        with_plain_fields(self, RunError)


@keywords_of(ExportOptions, {"output": "out"})
def export(options: ExportOptions) -> str:
    """Return a rule as a self-contained source file that needs no optforge.

    Returns:
        The text of the file.

    Raises:
        OptforgeError: If there is no such rule or target, or the file cannot be written.

    Example:
        >>> import optforge
        >>> print(optforge.export("signum", to="latex").splitlines()[5])
            m &\\leftarrow (1 - \\beta_{1}) \\, g + \\beta_{1} \\, m \\\\
    """
    if isinstance(options.rule, Program):
        text = export_program(options.rule, options.to, options.name or "rule")
    else:
        file = rule_file(options.rule)
        text = export_program(load_rule(file), options.to, options.name or str(file))
    if options.out is not None:
        write_output(Path(options.out), text, options.force, RunError)
    return text
