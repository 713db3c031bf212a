"""Data sets that the package `datasets` reads: of a hub, or of a folder of Parquet files."""

from __future__ import annotations

from typing import Any

from optforge.tasks.data.cache import require
from paper.options import TrainingError

HELD = ("validation", "val", "valid", "test")  # names of the part to evaluate on


def load_splits(name: str, *more: str) -> Any:
    """Load a data set and return its splits by name.

    Args:
        name: Its name on the hub, or a folder of Parquet files whose names begin with the split's.
        more: The name of one of its configurations, if it has several.

    Raises:
        OptforgeError: If the package is missing, or cannot load the data set.
    """
    package: Any = require("datasets", "datasets")
    try:
        return package.load_dataset(name, *more)
    except Exception as error:  # the package has many ways to fail
        raise TrainingError(
            f"the data set {' '.join((name, *more))} cannot be loaded "
            f"({type(error).__name__}: {error})"
        ) from error


def both_parts(name: str) -> tuple[Any, Any]:
    """Load a data set and return its rows to train on and those to evaluate on.

    Raises:
        OptforgeError: If it cannot be loaded, or has no such part.
    """
    splits = load_splits(name)
    held = next((part for part in HELD if part in splits), None)
    if "train" not in splits or held is None:
        raise TrainingError(
            f"the data set {name} has the splits {', '.join(splits)}; it needs train and one of "
            f"{', '.join(HELD)}"
        )
    return splits["train"], splits[held]


def columns(split: Any, kind: str) -> list[str]:
    """Return the columns of a split that hold a class of ``datasets``, as ``Image``."""
    return [key for key, feature in split.features.items() if type(feature).__name__ == kind]
