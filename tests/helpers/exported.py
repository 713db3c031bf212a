"""Exported files as modules: only tests ever execute an exported text."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from optforge.exporters import export
from optforge.exporters.origin import Origin
from optforge.language import Program


def module_of(program: Program, target: str, name: str = "rule") -> ModuleType:
    """Export a rule and run the file, alone."""
    module = ModuleType(f"exported_{target}")
    text = export(program, target, name)
    code = compile(text, f"<{name} for {target}>", "exec", dont_inherit=True)
    exec(code, vars(module))
    return module


def update_of(module: ModuleType, name: str = "rule") -> Any:
    """The pure update function of a module."""
    return getattr(module, f"{Origin(name, '').function}_update")


def optimizer_of(module: ModuleType, name: str = "rule") -> Any:
    """The optimizer's class (torch)."""
    return getattr(module, Origin(name, "").title)
