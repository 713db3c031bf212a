"""Outputs that outlast their readers, so that what a user's code prints fails nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TextIO


class LastingOutput:
    """An output that drops its text once nobody takes it.

    Args:
        stream: The output.
        dropped: Errors after which text is dropped; others are raised.

    Attributes:
        is_lost: Whether text was dropped.

    Example:
        >>> import io
        >>> class Closed(io.StringIO):
        ...     def write(self, text):
        ...         raise BrokenPipeError
        >>> output = LastingOutput(Closed())
        >>> print("nobody reads this", file=output)
        >>> output.is_lost
        True
    """

    def __init__(self, stream: TextIO, dropped: type[OSError] = OSError) -> None:
        self._stream, self._dropped = stream, dropped
        self.is_lost = False

    def write(self, text: str) -> int:
        """Write a text, or drop it."""
        try:
            return self._stream.write(text)
        except self._dropped:
            self.is_lost = True
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write what is held back."""
        try:
            self._stream.flush()
        except self._dropped:
            self.is_lost = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
