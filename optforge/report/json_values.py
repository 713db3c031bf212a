"""Conversion of results to JSON-serializable values."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from optforge.statistics import Interval


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it; numbers that are not finite become None.

    Dataclasses and mappings become dictionaries, sequences become lists, and infinite numbers and
    NaN, which JSON lacks, become None.

    Args:
        value: A result, nested to any depth.

    Example:
        >>> from optforge.statistics import Interval
        >>> plain({"seeds": (3, 4), "loss": Interval(0.1, -math.inf, math.inf, 1.0, 1)})["loss"]
        {'mean': 0.1, 'low': None, 'high': None, 'p_value': 1.0, 'count': 1}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value


def json_text(value: Any, indent: int = 2) -> str:
    """Return a result as the text of a JSON file.

    Args:
        value: A result that :func:`plain` accepts.
        indent: Number of spaces per level.

    Example:
        >>> json_text({"loss": math.nan})
        '{\\n  "loss": null\\n}\\n'
    """
    return json.dumps(plain(value), indent=indent, allow_nan=False) + "\n"


def stored_interval(stored: Mapping[str, Any]) -> Interval:
    """Return an interval as :func:`plain` made it plain; its unknown ends are infinite again.

    Example:
        >>> stored_interval({"mean": 0.1, "low": None, "high": 0.2, "count": 3}).low
        inf
    """
    mean, low, high = (
        math.inf if stored[end] is None else stored[end] for end in ("mean", "low", "high")
    )
    return Interval(mean, low, high, math.nan, stored["count"])
