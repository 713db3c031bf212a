"""The origin of an exported file, as words that are safe in any file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from optforge.exporters.names import class_name, identifier


@dataclass(frozen=True)
class Origin:
    """The name of a rule and its fingerprint.

    Args:
        rule: Name of the rule: a shipped name, or a file; any text.
        fingerprint: Fingerprint of the rule.

    Example:
        >>> origin = Origin('runs/first/my rule.py', "0123456789abcdef")
        >>> origin.title, origin.function, origin.said
        ('MyRule', 'my_rule', 'first/my rule.py')
        >>> Origin("x' # evil", "").said
        'x? ? evil'
    """

    rule: str
    fingerprint: str

    @property
    def _stem(self) -> str:
        parts = [part for part in re.split(r"[/\\]", self.rule) if part]
        stem = parts[-1].rsplit(".", 1)[0] if parts else ""
        return stem if stem != "best" or len(parts) < 2 else f"best of {parts[-2]}"

    @property
    def title(self) -> str:
        """The name in the form of a class name."""
        return class_name(self._stem)

    @property
    def function(self) -> str:
        """The name in the form of a function name."""
        return identifier(self._stem, "rule", 40)

    @property
    def said(self) -> str:
        """The name without anything that could end a docstring or a comment."""
        near = "/".join(re.split(r"[/\\]", self.rule)[-2:])  # not where it lies on a machine
        return re.sub("[^A-Za-z0-9_./ -]", "?", near)[:60].strip() or "?"

    def lines(self, target: str) -> list[str]:
        """Return the lines that say where a file comes from."""
        return [
            f"Rule: {self.said}, fingerprint {self.fingerprint}.",
            f"Written by optforge {_version()}: optforge export {self.said} --to {target}",
        ]


@cache
def _version() -> str:
    try:
        return version("optforge")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "(not installed)"
