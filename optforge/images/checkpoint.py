"""Checkpoints: everything that the next step depends on, in one file that is never half there."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import torch

from optforge.errors import TrainingError
from optforge.files import replacing
from optforge.images.plan import Plan

CHECKPOINT = "checkpoint.pt"
_VERSION = 1
_DIGESTS = {
    "data": "saw other pictures: their names, sizes or classes differ",
    "initial": "did not begin from what is given now to begin from (--init)",
}


def save(folder: Path, plan: Plan, step: int, state: dict[str, Any]) -> Path:
    """Write a checkpoint beside the old one, then put it in its place.

    Args:
        folder: Of the training.
        plan: What is trained.
        step: Steps done.
        state: States of model, optimizer and whatever else there is.

    Returns:
        The file.

    Raises:
        TrainingError: If it cannot be written; the old one is as it was.
    """
    path = folder / CHECKPOINT
    content = {"version": _VERSION, "plan": dataclasses.asdict(plan), "step": step, **state}
    try:
        with replacing(path) as file:
            torch.save(content, file)
    except OSError as error:
        raise TrainingError(f"the checkpoint cannot be written to {path}: {error}") from error
    return path


def load(folder: Path, plan: Plan) -> dict[str, Any]:
    """Read a checkpoint of the same plan.

    Raises:
        TrainingError: If it cannot be read, or another training made it; says what differs.
    """
    content = read(folder / CHECKPOINT)
    old, new = content["plan"], dataclasses.asdict(plan)
    # Checkpoints of earlier versions know nothing of some keys.
    different = [key for key in new if key in old and _plain(old[key]) != _plain(new[key])]
    if different:
        key = different[0]
        said = f"has {key} = {old[key]!r}, asked for is {new[key]!r}"
        raise TrainingError(
            f"the training in {folder} {_DIGESTS.get(key, said)}; "
            "resume with the same settings, or choose another folder"
        )
    return content


def digest(path: Path) -> str:
    """A short hash of a checkpoint's content.

    Raises:
        TrainingError: If it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise TrainingError(
            f"the checkpoint {path} cannot be read: {error.strerror or error}"
        ) from error


def read(path: Path) -> dict[str, Any]:
    """Read any checkpoint onto the CPU; nothing in it is executed.

    Raises:
        TrainingError: If it cannot be read or is none of ours.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in many ways
        raise TrainingError(
            f"the checkpoint {path} cannot be read ({type(error).__name__}: {error})"
        ) from error
    if not isinstance(content, dict) or content.get("version") != _VERSION:
        raise TrainingError(f"{path} is no checkpoint of this version of optforge")
    return content


def _plain(value: Any) -> Any:
    """Tuples come back as lists from some readers; they mean the same."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
