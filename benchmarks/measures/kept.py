"""Rows of a study, one line of JSON each, so that a study that was stopped goes on."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

Row = TypeVar("Row")


def keep(row: Any, path: Path) -> None:
    """Append a row, a dataclass of plain values, to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(row)) + "\n")


def read(kind: type[Row], path: Path) -> list[Row]:
    """Return the rows of a file, none if there is no file; lists in them become tuples."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [kind(**{name: _frozen(value) for name, value in json.loads(line).items()})
            for line in lines]  # fmt: skip


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
