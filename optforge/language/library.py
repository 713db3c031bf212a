"""Shipped rules by name, other rules by file."""

from __future__ import annotations

import os
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from optforge.errors import ProgramError
from optforge.files import is_file
from optforge.language.program import Program
from optforge.language.text import MAX_CHARACTERS, parse

_KNOWN = resources.files("optforge.language") / "rules"
_DISCOVERED = _KNOWN / "discovered"


def rule_names() -> tuple[str, ...]:
    """Return the names of the shipped rules.

    Example:
        >>> "lion" in rule_names()
        True
    """
    return tuple(sorted((*_names(_KNOWN), *discovered_names())))


def discovered_names() -> tuple[str, ...]:
    """Return the names of the shipped rules that searches of optforge found.

    Example:
        >>> set(discovered_names()) < set(rule_names())
        True
    """
    return _names(_DISCOVERED)


def _names(directory: Traversable) -> tuple[str, ...]:
    names = (file.name for file in directory.iterdir())
    return tuple(sorted(name.removesuffix(".txt") for name in names if name.endswith(".txt")))


def load_rule(name: str | Path) -> Program:
    """Load a rule: a shipped one by its name, any other by its file.

    Args:
        name: One of :func:`rule_names`, or the path of a text file.

    Raises:
        ProgramError: If there is no such rule, or its text is not a program.

    Example:
        >>> load_rule("lion").states
        ('momentum',)
    """
    return parse(rule_text(name))


def rule_text(name: str | Path) -> str:
    """Return the text of a rule's file, including comments."""
    if not isinstance(name, str | os.PathLike):
        raise ProgramError(f"{name!r} is no rule; give a name or a file")
    for directory in (_KNOWN, _DISCOVERED):
        if str(name) in _names(directory):
            return (directory / f"{name}.txt").read_text(encoding="utf-8")
    path = Path(name)
    if not is_file(path):
        raise ProgramError(
            f"no rule {str(name)[:200]!r}: neither a file nor one of {', '.join(rule_names())}"
        )
    return _file_text(path)


def _file_text(path: Path) -> str:
    try:
        with path.open("rb") as file:  # bounded, so that an endless file cannot fill the memory
            raw = file.read(4 * MAX_CHARACTERS + 1)
    except OSError as error:
        raise ProgramError(f"cannot read {path}: {error.strerror}") from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if len(raw) > 4 * MAX_CHARACTERS:
            raise ProgramError(f"{path} is too large to be a program") from None
        raise ProgramError(
            f"{path} is not a text file; a rule is plain text",
            raw.count(b"\n", 0, error.start) + 1,
        ) from None
