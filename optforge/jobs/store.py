"""The store of losses: results of training in a file, from which a derivation resumes."""

from __future__ import annotations

import math
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

import torch

from optforge.training import ProgramOrTrainee, Trainee

_CUT = "cut off"  # ends a line that a killed process left


class Source(Protocol):
    """What programs are trained on: a task, or anything else with a name and a content."""

    @property
    def name(self) -> str:
        """The name."""
        ...

    @cached_property
    def hash(self) -> str:
        """Digits that change when the same training would give other losses."""
        ...


class Store:
    """Log losses, keyed by all they depend on: rule, task, seed, split, and kind of kernels.

    A derivation requests the same measurements in the same order every time, so this file is enough
    to resume it. Lines are only appended, and a line that was cut off is ignored.

    Args:
        path: The file; None to keep everything in memory.
        compiled: Whether training kernels are compiled, which changes the last digits.
        device: Device on which models are trained, which changes them as well.

    Example:
        >>> from optforge.language import load_rule
        >>> from optforge.tasks import load_task
        >>> store = Store(None, compiled=False)
        >>> key = store.key(load_rule("lion"), load_task("digits_mlp"), 3, "validation")
        >>> store.put({key: -0.5}), store.get(key)
        (None, -0.5)
    """

    def __init__(self, path: Path | None, compiled: bool, device: str = "cpu") -> None:
        self.path = path
        place = "" if device == "cpu" else f"|{device}"
        self._machine = f"{torch.__version__}|{compiled}{place}"
        self._known, self._whole = ({}, True) if path is None else read_losses(path)

    def key(self, program: ProgramOrTrainee, task: Source, seed: int, split: str) -> str:
        """Return the key of a measurement: a digest of all it depends on."""
        how = ""
        if isinstance(program, Trainee):
            if program.schedule is not None or program.average:
                how = f"|{program.schedule}|{program.average}"
            program = program.program
        text = "|".join((program.text, task.name, task.hash, str(seed), split, self._machine)) + how
        return blake2b(text.encode(), digest_size=12).hexdigest()

    def get(self, key: str) -> float | None:
        """Return a log loss, or None if it is not known."""
        return self._known.get(key)

    def put(self, values: dict[str, float]) -> None:
        """Store log losses; if the file cannot be written, only resuming is lost."""
        self._known.update(values)
        if self.path is None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                # Marked, so that a number which was cut short is never read as one.
                file.write("" if self._whole else f" {_CUT}\n")
                self._whole = True
                file.write("".join(f"{key} {value!r}\n" for key, value in values.items()))
        except OSError:
            self.path = None


def read_losses(path: Path) -> tuple[dict[str, float], bool]:
    """Return the losses of a file, and whether its last line is complete."""
    known: dict[str, float] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError):
        return known, True
    for line in lines:
        words = line.split()
        if len(words) == 2 and len(words[0]) == 24 and line.endswith("\n"):
            try:
                value = float(words[1])
            except ValueError:
                continue
            if not math.isnan(value):
                known[words[0]] = value
    return known, not lines or lines[-1].endswith("\n")
