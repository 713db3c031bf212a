"""The log of a training: a line of JSON for every session, step and evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from optforge.errors import TrainingError
from optforge.files import replacing

LOG = "log.jsonl"


class Log:
    """A file to which lines are added.

    Args:
        folder: Where it lies, as ``log.jsonl``.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOG

    def forget_after(self, step: int) -> None:
        """Drop the steps after a checkpoint, which are about to be done again.

        A line that a killed process did not finish is dropped too.

        Raises:
            TrainingError: If the file cannot be read or written.
        """
        if not self.path.exists():
            return
        try:
            with self.path.open(encoding="utf-8") as old, replacing(self.path) as new:
                lines = (f"{line.strip()}\n" for line in old if _belongs(line, step))
                new.writelines(line.encode() for line in lines)
        except OSError as error:
            raise self._failure(error) from error

    def add(self, **content: Any) -> None:
        """Add a line.

        Raises:
            TrainingError: If it cannot be written.
        """
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(content) + "\n")
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> TrainingError:
        return TrainingError(
            f"the log {self.path} cannot be written: {error.strerror or error}; the last "
            "checkpoint is as it was"
        )


def _belongs(line: str, step: int) -> bool:
    try:
        content = json.loads(line)
    except ValueError:
        return False
    number = content.get("number", 0) if isinstance(content, dict) else None
    return isinstance(number, int) and number <= step
