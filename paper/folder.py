"""The folder of a training: its checkpoint, which is never half there, and its log."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from optforge.files import replacing
from paper.options import TrainingError

CHECKPOINT, LOG = "checkpoint.pt", "log.jsonl"
DIGESTS = {
    "pictures": "saw other pictures: their names, sizes or classes differ",
    "initial": "did not begin from what is given now to begin from (--init)",
}


def save_checkpoint(folder: Path, plan: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Write a checkpoint that replaces the one before.

    Args:
        folder: The folder of the training.
        plan: What is trained; resuming compares it.
        state: Everything that the next step depends on.

    Raises:
        TrainingError: If it cannot be written; the one before is unchanged.
    """
    try:
        with replacing(folder / CHECKPOINT) as file:
            torch.save({"plan": dict(plan), **state}, file)
    except OSError as error:
        raise TrainingError(f"the checkpoint in {folder} cannot be written: {error}") from error


def load_checkpoint(folder: Path, plan: Mapping[str, Any]) -> dict[str, Any]:
    """Read the checkpoint of the same plan.

    Raises:
        TrainingError: If it cannot be read or is of another plan; the message names the difference.
    """
    content = read_checkpoint(folder / CHECKPOINT)
    old = content["plan"]
    for key in plan:
        if key in old and old[key] != plan[key]:  # earlier versions do not know every key
            reason = DIGESTS.get(key, f"has {key} = {old[key]!r}, asked for is {plan[key]!r}")
            raise TrainingError(
                f"the training in {folder} {reason}; resume with the same settings, or choose "
                "another folder"
            )
    return content


def resume(
    folder: Path, plan: Mapping[str, Any], wanted: bool, load: Callable[[dict[str, Any]], None]
) -> None:
    """Load the checkpoint of a folder if there is one, or make the folder.

    Args:
        folder: The folder of the training.
        plan: What is trained.
        wanted: Whether to continue a training that is there.
        load: Takes the state.

    Raises:
        TrainingError: If there is a training and ``wanted`` is false, or it cannot be continued.
    """
    if (folder / CHECKPOINT).is_file():
        if not wanted:
            raise TrainingError(
                f"{folder} has a training already; continue it (--resume), or choose another folder"
            )
        load(load_checkpoint(folder, plan))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"the folder {folder} cannot be made: {error.strerror}") from None


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read any checkpoint onto the CPU; nothing in it is executed.

    Raises:
        TrainingError: If it cannot be read or is not a checkpoint.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in many ways
        raise TrainingError(
            f"the checkpoint {path} cannot be read ({type(error).__name__}: {error})"
        ) from error
    if not isinstance(content, dict) or not {"plan", "model"} <= content.keys():
        raise TrainingError(f"{path} is not a checkpoint of these scripts")
    return content


def file_digest(path: Path) -> str:
    """Return a short hash of a file.

    Raises:
        TrainingError: If it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        reason = error.strerror or error
        raise TrainingError(f"the checkpoint {path} cannot be read: {reason}") from error


class Log:
    """A file with a line of JSON for each session, step and evaluation.

    Args:
        folder: The folder of the training; the file is ``log.jsonl`` in it.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOG

    def begin(self, step: int, **content: Any) -> None:
        """Begin a session after a step: later steps, which are done again, are removed.

        Raises:
            TrainingError: If the file cannot be read or written.
        """
        self._forget_after(step)
        self.add(**content)

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

    def _forget_after(self, step: int) -> None:
        """Remove the steps after a checkpoint, and a line that a kill cut."""
        if not self.path.exists():
            return
        try:
            with self.path.open(encoding="utf-8") as old, replacing(self.path) as new:
                new.writelines(f"{line.strip()}\n".encode() for line in old if _stays(line, step))
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> TrainingError:
        return TrainingError(
            f"the log {self.path} cannot be written: {error.strerror or error}; the last "
            "checkpoint is unchanged"
        )


def _stays(line: str, step: int) -> bool:
    try:
        return json.loads(line).get("number", 0) <= step
    except (ValueError, AttributeError, TypeError):
        return False
