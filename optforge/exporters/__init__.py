"""Export of a rule as source text: PyTorch, optax, LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from optforge.errors import ProgramError
from optforge.exporters.latex import to_latex
from optforge.exporters.optax_file import to_optax
from optforge.exporters.origin import Origin
from optforge.exporters.plan import ExportPlan, plan
from optforge.exporters.torch_file import to_torch
from optforge.language import Program

Emitter = Callable[[ExportPlan, Origin], str]

TARGETS: Mapping[str, Emitter] = {"torch": to_torch, "optax": to_optax, "latex": to_latex}


def export(program: Program, target: str, name: str = "rule") -> str:
    """Write a rule as a self-contained source file that needs no optforge.

    Only live code is written. All text is generated from the checked program, and names are
    sanitized, so that text from an untrusted source never becomes code.

    Args:
        program: A valid program.
        target: One of ``TARGETS``: ``torch``, ``optax`` or ``latex``.
        name: Name of the rule.

    Returns:
        The text of the file.

    Raises:
        ProgramError: If there is no such target, or the program is not valid.

    Example:
        >>> from optforge.language import load_rule
        >>> print(export(load_rule("signum"), "latex", "signum").splitlines()[5])
            m &\\leftarrow (1 - \\beta_{1}) \\, g + \\beta_{1} \\, m \\\\
    """
    emitter = TARGETS.get(target)
    if emitter is None:
        raise ProgramError(f"unknown target {target!r}; allowed are {', '.join(TARGETS)}")
    export_plan = plan(program)
    return emitter(export_plan, Origin(name, export_plan.fingerprint))
